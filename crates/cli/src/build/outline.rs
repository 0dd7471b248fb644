//! `--call=outline` and `--call=targets`: which parameters a Dockerfile takes, and which stages can be built.
//!
//! Pure. Columns and the members of the JSON are BuildKit's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dockerfile::expand::{Environment, Lexer};
use dockerfile::parse::resolve_mount;
use dockerfile::source::{Diagnostic, Source, Span, ranges};
use dockerfile::stage::{Options, Plan};
use dockerfile::syntax::{Argument, Dockerfile, Instruction, Kind, MountKind};
use serde_json::{Map, Value, json};

use crate::output::table;

/// The stages that can be built.
pub(super) fn targets(file: &Dockerfile, source: &Source, is_json: bool) -> String {
    let last = file.stages.len().saturating_sub(1);
    let mut rows = String::from("TARGET\tDESCRIPTION\n");
    let mut found = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let from = &stage.from.kind;
        let name = from.name.as_ref().map_or("", |name| name.value.as_str());
        let about = description(&stage.from.comments, name);
        // One without a name can be built if it is the last.
        if name.is_empty() && index != last {
            continue;
        }
        let shown = match (name, index == last) {
            ("", _) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        let _ = writeln!(rows, "{shown}\t{about}");
        let platform = from.platform.as_ref().map_or("", |platform| platform.value.as_str());
        let mut target = Map::new();
        let members =
            [("name", name), ("description", about), ("base", &from.base.value), ("platform", platform)];
        for (key, value) in members.into_iter().filter(|(_, value)| !value.is_empty()) {
            target.insert(key.to_owned(), value.into());
            if key == "name" && index == last {
                target.insert("default".to_owned(), true.into());
            }
        }
        if index == last {
            target.insert("default".to_owned(), true.into());
        }
        target.insert("location".to_owned(), location(source, stage.from.span));
        found.push(Value::Object(target));
    }
    match is_json {
        true => pretty(&json!({ "targets": found, "sources": [data(source)] })),
        false => table::compact(&rows, 1),
    }
}

/// What a target takes: arguments, secrets, agents and caches.
#[derive(Default)]
struct Outline {
    arguments: Vec<(String, String, String, Span)>,
    secrets: Vec<(String, bool, Span)>,
    agents: Vec<(String, bool, Span)>,
    caches: Vec<(String, Span)>,
    /// What is fetched: an argument may be the token of an address.
    addresses: Vec<String>,
}

/// The parameters of a target.
pub(super) fn outline(
    file: &Dockerfile,
    source: &Source,
    options: &Options,
    plan: &Plan,
    is_json: bool,
) -> String {
    let mut outline = Outline::default();
    let lexer = Lexer::new(file.escape);
    let used = globals_used(file, plan, lexer);
    for instruction in &file.arguments {
        for argument in instruction.kind.iter().filter(|argument| used.contains(&argument.name.value)) {
            let value = plan.globals.get(&argument.name.value).unwrap_or_default();
            outline.argument(argument, value.to_owned(), &instruction.comments, instruction.span);
        }
    }
    for stage in plan.stages.iter().filter(|stage| stage.needed) {
        let mut env = Environment::default();
        for step in stage.steps.iter().filter(|step| !step.triggered) {
            outline.instruction(&step.instruction, &mut env, (lexer, options, plan));
        }
    }
    outline.mask();
    outline.sort();
    let target = plan.stages.get(plan.target);
    let name = target.and_then(|target| target.name.as_deref()).unwrap_or_default();
    let comments = target.and_then(|target| file.stages.get(target.index?)).map(|stage| &stage.from.comments);
    let about = comments.map_or("", |comments| description(comments, name));
    match is_json {
        true => outline.to_json(name, about, source),
        false => outline.to_text(name, about),
    }
}

/// The variables that the FROM lines of needed stages use, and those that their defaults use.
fn globals_used(file: &Dockerfile, plan: &Plan, lexer: Lexer) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut note = |text: &str| {
        if let Ok(found) = lexer.expand(text, &plan.globals) {
            used.extend(found.matched.iter().chain(&found.unmatched).cloned());
        }
    };
    for stage in plan.stages.iter().filter(|stage| stage.needed) {
        let Some(stage) = stage.index.and_then(|index| file.stages.get(index)) else { continue };
        note(&stage.from.kind.base.value);
        stage.from.kind.platform.iter().for_each(|platform| note(&platform.value));
    }
    used
}

impl Outline {
    fn argument(&mut self, argument: &Argument, value: String, comments: &[String], span: Span) {
        let name = &argument.name.value;
        match self.arguments.iter_mut().find(|known| known.0 == *name) {
            // What one place leaves open another may say.
            Some(known) if known.1.is_empty() => known.1 = value,
            Some(_) => {}
            None => {
                let about = description(comments, name).to_owned();
                self.arguments.push((name.clone(), value, about, span));
            }
        }
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        env: &mut Environment,
        (lexer, options, plan): (Lexer, &Options, &Plan),
    ) {
        let expanded = |text: &str, env: &Environment| {
            lexer.expand(text, env).map(|found| found.text).unwrap_or_else(|_| text.to_owned())
        };
        if let Kind::Arg(arguments) = &instruction.kind {
            for argument in arguments {
                let name = &argument.name.value;
                let default = argument.default.as_ref().map(|default| expanded(&default.value, env));
                let given = options.arguments.get(name).cloned();
                let value = given.or(default).or_else(|| plan.globals.get(name).map(str::to_owned));
                let value = value.unwrap_or_default();
                env.set(name.as_str(), value.as_str());
                self.argument(argument, value, &instruction.comments, instruction.span);
            }
        }
        if let Kind::Env(pairs) = &instruction.kind {
            for pair in pairs {
                let value = expanded(&pair.value.value, env);
                env.set(pair.name.value.as_str(), value);
            }
        }
        if let Kind::Add(add) = &instruction.kind {
            self.addresses.extend(add.transfer.paths.iter().map(|path| expanded(&path.value, env)));
        }
        let Kind::Run(run) = &instruction.kind else { return };
        for flag in &run.mounts {
            let expand = |text: &str| Ok::<_, Diagnostic>(expanded(text, env));
            let Ok(mount) = resolve_mount(flag, expand) else { continue };
            match mount.kind {
                MountKind::Secret { id, required, .. } => self.secrets.push((id, required, instruction.span)),
                MountKind::Ssh { id, required, .. } => self.agents.push((id, required, instruction.span)),
                MountKind::Cache { id, .. } => {
                    let id = if id.is_empty() { mount.target } else { id };
                    self.caches.push((id, instruction.span));
                }
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => {}
            }
        }
    }

    /// Masks credentials in values, and values that are those of addresses.
    fn mask(&mut self) {
        let known = oci::KnownCredentials::of(self.addresses.iter().map(String::as_str));
        for (_, value, ..) in &mut self.arguments {
            *value = known.mask(value).into_owned();
        }
    }

    /// By their places, each once; one that is required anywhere is.
    fn sort(&mut self) {
        self.arguments.sort_by_key(|argument| argument.3.start);
        for list in [&mut self.secrets, &mut self.agents] {
            list.sort_by_key(|one| one.2.start);
            let required: BTreeSet<String> =
                list.iter().filter(|one| one.1).map(|one| one.0.clone()).collect();
            let mut seen = BTreeSet::new();
            list.retain(|one| seen.insert(one.0.clone()));
            list.iter_mut().for_each(|one| one.1 = required.contains(&one.0));
        }
        let mut seen = BTreeSet::new();
        self.caches.sort_by_key(|cache| cache.1.start);
        self.caches.retain(|cache| seen.insert(cache.0.clone()));
    }

    fn to_text(&self, name: &str, about: &str) -> String {
        let mut out = String::new();
        if !name.is_empty() || !about.is_empty() {
            let name = if name.is_empty() { "(default)" } else { name };
            let mut rows = format!("TARGET:\t{name}\n");
            if !about.is_empty() {
                let _ = writeln!(rows, "DESCRIPTION:\t{about}");
            }
            out += &format!("{}\n", table::compact(&rows, 1));
        }
        if !self.arguments.is_empty() {
            let mut rows = String::from("BUILD ARG\tVALUE\tDESCRIPTION\n");
            for (name, value, about, _) in &self.arguments {
                let _ = writeln!(rows, "{name}\t{value}\t{about}");
            }
            out += &format!("{}\n", table::compact(&rows, 3));
        }
        for (title, list) in [("SECRET", &self.secrets), ("SSH", &self.agents)] {
            if list.is_empty() {
                continue;
            }
            let mut rows = format!("{title}\tREQUIRED\n");
            for (name, required, _) in list {
                let _ = writeln!(rows, "{name}\t{}", if *required { "true" } else { "" });
            }
            out += &format!("{}\n", table::compact(&rows, 3));
        }
        out
    }

    fn to_json(&self, name: &str, about: &str, source: &Source) -> String {
        let filled = |members: Vec<(&str, Value)>| {
            let is_empty = |value: &Value| {
                value.as_str() == Some("")
                    || *value == json!(false)
                    || value.as_array().is_some_and(Vec::is_empty)
            };
            let kept = members.into_iter().filter(|(_, value)| !is_empty(value));
            Value::Object(kept.map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let arguments: Vec<Value> = self
            .arguments
            .iter()
            .map(|(name, value, about, span)| {
                filled(vec![
                    ("name", json!(name)),
                    ("description", json!(about)),
                    ("value", json!(value)),
                    ("location", location(source, *span)),
                ])
            })
            .collect();
        let named = |list: &[(String, bool, Span)]| -> Vec<Value> {
            let one = |(name, required, span): &(String, bool, Span)| {
                filled(vec![
                    ("name", json!(name)),
                    ("required", json!(required)),
                    ("location", location(source, *span)),
                ])
            };
            list.iter().map(one).collect()
        };
        let caches: Vec<Value> = self
            .caches
            .iter()
            .map(|(id, span)| json!({ "ID": id, "location": location(source, *span) }))
            .collect();
        let mut all = filled(vec![
            ("name", json!(name)),
            ("description", json!(about)),
            ("args", json!(arguments)),
            ("secrets", json!(named(&self.secrets))),
            ("ssh", json!(named(&self.agents))),
            ("cache", json!(caches)),
        ]);
        all["sources"] = json!([data(source)]);
        pretty(&all)
    }
}

/// What a comment above says of a name: `# name what it is`.
fn description<'c>(comments: &'c [String], name: &str) -> &'c str {
    let about = |comment: &'c String| comment.strip_prefix(name)?.strip_prefix(' ').map(str::trim);
    if name.is_empty() { "" } else { comments.iter().find_map(about).unwrap_or_default() }
}

fn location(source: &Source, span: Span) -> Value {
    json!({ "ranges": ranges(source, span) })
}

fn data(source: &Source) -> String {
    BASE64_STANDARD.encode(source.shown())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// What can be asked for.
pub(super) fn describe(is_json: bool) -> String {
    const ALL: [(&str, &str); 4] = [
        ("frontend.lint", "Lint a Dockerfile"),
        ("frontend.outline", "List all parameters current build target supports"),
        ("frontend.targets", "List all targets current build supports"),
        ("frontend.subrequests.describe", "List available subrequest types"),
    ];
    if is_json {
        let all: Vec<Value> = ALL
            .iter()
            .map(|(name, about)| json!({ "name": name, "version": "1.0.0", "type": "rpc", "description": about }))
            .collect();
        return pretty(&Value::Array(all));
    }
    let mut rows = String::from("NAME\tVERSION\tDESCRIPTION\n");
    for (name, about) in ALL {
        let _ = writeln!(rows, "{}\t1.0.0\t{about}", name.trim_start_matches("frontend."));
    }
    table::compact(&rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerfile::parse::parse;
    use dockerfile::stage::{Images, resolve};
    use expect_test::expect;

    const FILE: &str = "# GO version of the compiler\nARG GO=1.22\nARG UNUSED\n# build the program\n\
        FROM golang:${GO} AS build\n# MODE how it is built\nARG MODE=fast\nARG GO\n\
        RUN --mount=type=secret,id=npm,required --mount=type=cache,target=/c --mount=type=ssh true\n\
        FROM scratch AS test\nARG HIDDEN\n\nFROM scratch\nCOPY --from=build /x /\n";

    fn shown(is_json: bool) -> (String, String) {
        let source = Source::new("Dockerfile", FILE.as_bytes().to_vec()).unwrap();
        let file = parse(&source).unwrap();
        let mut options = Options::new("linux/amd64".parse().unwrap());
        options.arguments.insert("MODE".to_owned(), "slow".to_owned());
        let plan = resolve(&file, &options, &Images::new()).unwrap();
        (targets(&file, &source, is_json), outline(&file, &source, &options, &plan, is_json))
    }

    #[test]
    fn targets_and_outlines_for_people() {
        let (targets, outline) = shown(false);
        expect![[r#"
            TARGET    DESCRIPTION
            build     the program
            test      
            (default) 
        "#]]
        .assert_eq(&targets);
        expect![[r#"
            BUILD ARG   VALUE   DESCRIPTION
            GO          1.22    version of the compiler
            MODE        slow    how it is built

            SECRET   REQUIRED
            npm      true

            SSH       REQUIRED
            default   

        "#]]
        .assert_eq(&outline);
    }

    #[test]
    fn targets_and_outlines_for_programs() {
        let (targets, outline) = shown(true);
        let targets: Value = serde_json::from_str(&targets).unwrap();
        assert_eq!(targets["targets"][0]["name"], "build");
        assert_eq!(targets["targets"][0]["base"], "golang:${GO}");
        assert_eq!(targets["targets"][2]["default"], true);
        let outline: Value = serde_json::from_str(&outline).unwrap();
        assert_eq!(outline["args"][1]["value"], "slow");
        assert_eq!(outline["secrets"][0]["required"], true);
        assert_eq!(outline["cache"][0]["ID"], "/c");
        assert_eq!(outline["args"][0]["location"]["ranges"][0]["start"]["line"], 2);
    }
}
