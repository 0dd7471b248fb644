//! A stage whose name is the value of `SOURCE_DATE_EPOCH`: the time of what it fetches is that of all that is made.
//!
//! As in BuildKit (dockerfile 1.24) such a stage must be one that only fetches: `FROM scratch`, and one `ADD` of one source from elsewhere,
//! with `ARG`s. So nothing has to be built before it is known what times are.

use super::{Options, global_arguments};
use crate::expand::{Environment, Lexer};
use crate::lower::{GitSource, is_git, parse_git};
use crate::source::{Diagnostic, Result, Span};
use crate::syntax::{Add, Dockerfile, Kind, Stage, Text};

/// The argument.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Where a stage's files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A repository.
    Git(GitSource),
    /// A file of the web.
    Web(String),
}

/// What the stage of this name fetches; `None` if there is no such stage.
///
/// # Errors
/// If it does more than that.
pub fn fetched_by(file: &Dockerfile, options: &Options, name: &str) -> Result<Option<Fetched>> {
    let is_it = |stage: &&Stage| {
        stage.from.kind.name.as_ref().is_some_and(|own| own.value.eq_ignore_ascii_case(name))
    };
    let Some(stage) = file.stages.iter().find(is_it) else { return Ok(None) };
    let lexer = Lexer::new(file.escape);
    // Its own time is not known yet.
    let mut env = Environment::default();
    for (name, value) in global_arguments(file, options, "", true)?.iter().filter(|(name, _)| *name != EPOCH)
    {
        env.set(name, value);
    }
    let expanded = |text: &Text, env: &Environment| {
        let expanded = lexer.expand(&text.value, env);
        expanded.map(|found| found.text).map_err(|error| Diagnostic::error(error.to_string(), text.span))
    };
    let refuse = |why: &str, span: Span| {
        let message = format!("stage {name:?} cannot say what {EPOCH} is: {why}");
        Diagnostic::error(message, span)
            .with_help("such a stage is FROM scratch with one ADD of one repository or one file of the web")
    };
    let base = &stage.from.kind.base;
    if expanded(base, &env)? != "scratch" {
        return Err(refuse("it is not FROM scratch", stage.from.span));
    }
    let mut found = None;
    for instruction in &stage.instructions {
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let name = argument.name.value.as_str();
                    let given = options.arguments.get(name).filter(|_| name != EPOCH);
                    match (given, &argument.default) {
                        (Some(value), _) => env.set(name, value.as_str()),
                        (None, Some(default)) => {
                            let value = expanded(default, &env)?;
                            env.set(name, value);
                        }
                        (None, None) => {}
                    }
                }
            }
            Kind::Add(add) if found.is_none() => {
                let [path] = add.transfer.paths.as_slice() else {
                    return Err(refuse("its ADD has not exactly one source", instruction.span));
                };
                let path = expanded(path, &env)?;
                let checksum = add.checksum.as_ref().map(|text| expanded(text, &env)).transpose()?;
                let source =
                    source(add, &path, checksum.as_deref()).filter(|_| add.transfer.inline.is_empty());
                let source = source.ok_or_else(|| refuse("its ADD fetches nothing", instruction.span))?;
                found = Some(source.map_err(|message| Diagnostic::error(message, instruction.span))?);
            }
            Kind::Add(_) => return Err(refuse("it has more than one ADD", instruction.span)),
            Kind::Cmd(_)
            | Kind::Copy(_)
            | Kind::Entrypoint(_)
            | Kind::Env(_)
            | Kind::Expose(_)
            | Kind::Healthcheck(_)
            | Kind::Label(_)
            | Kind::Maintainer(_)
            | Kind::Onbuild(_)
            | Kind::Run(_)
            | Kind::Shell(_)
            | Kind::Stopsignal(_)
            | Kind::User(_)
            | Kind::Volume(_)
            | Kind::Workdir(_) => {
                let what = format!("it has {}", instruction.keyword.value.to_ascii_uppercase());
                return Err(refuse(&what, instruction.span));
            }
        }
    }
    found.map(Some).ok_or_else(|| refuse("it has no ADD", stage.from.span))
}

/// What an ADD fetches; `None` if it is a file of the context.
fn source(add: &Add, path: &str, checksum: Option<&str>) -> Option<std::result::Result<Fetched, String>> {
    if is_git(path) {
        return Some(parse_git(path, add.keep_git_dir, checksum).map(Fetched::Git));
    }
    let is_web = path.starts_with("http://") || path.starts_with("https://");
    is_web.then(|| Ok(Fetched::Web(path.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oci::Platform;

    use super::*;
    use crate::parse;
    use crate::source::Source;

    fn told(text: &str, name: &str) -> String {
        let source = Arc::new(Source::new("Dockerfile".to_owned(), text.as_bytes().to_vec()).unwrap());
        let file = parse::parse(&source).unwrap();
        let mut options = Options::new(Platform::host());
        options.arguments =
            [("V".to_owned(), "given".to_owned()), (EPOCH.to_owned(), name.to_owned())].into();
        match fetched_by(&file, &options, name) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Fetched::Web(url))) => url,
            Ok(Some(Fetched::Git(git))) => format!("{} {:?}", git.remote, git.reference),
            Err(error) => format!("! {}", error.message),
        }
    }

    #[test]
    fn a_stage_that_only_fetches_says_what_time_it_is() {
        for (text, want) in [
            ("FROM scratch AS src\nADD https://h/a.tar /\nFROM b", "https://h/a.tar"),
            ("FROM scratch AS Src\nADD https://h/a.git#v1 /", "https://h/a.git Some(\"v1\")"),
            (
                "ARG V=1\nARG B=scratch\nFROM $B AS src\nARG V\nARG H=h\nADD git@$H:$V.git /",
                "git@h:given.git None",
            ),
            ("FROM scratch AS src\nARG SOURCE_DATE_EPOCH\nADD http://h/$SOURCE_DATE_EPOCH. /", "http://h/."),
            ("FROM b AS other", "none"),
            ("FROM b AS src\nADD https://h/a /", "not FROM scratch"),
            ("FROM scratch AS src", "has no ADD"),
            ("FROM scratch AS src\nADD a /", "fetches nothing"),
            ("FROM scratch AS src\nADD https://h/a https://h/b /x/", "not exactly one source"),
            ("FROM scratch AS src\nADD https://h/a /\nADD https://h/b /", "more than one ADD"),
            ("FROM scratch AS src\nADD https://h/a /\nRUN x", "it has RUN"),
            ("FROM scratch AS src\nCOPY a /", "it has COPY"),
        ] {
            let told = told(text, "src");
            assert!(told == want || (told.starts_with("! ") && told.contains(want)), "{text:?}: {told}");
        }
    }
}
