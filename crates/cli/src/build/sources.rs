//! Secrets, agents and contexts by name: what a build is given beside its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::request::{CallersSsh, Entitlement, NamedContext, Secret, SshProgram};

use super::csv;
use super::place::is_remote;
use crate::context::absolute;
use crate::values::environment;

/// The most bytes of a secret; BuildKit's number.
const SECRET_LIMIT: u64 = 500 << 10;

/// Looks up a variable of the caller.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a secret's value is.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    File(String),
    Variable(String),
}

/// `--secret id=…[,src=…|,env=…][,type=file|env]`. Of an id alone the variable of that name counts, then the file.
pub(super) fn secret(text: &str, lookup: Lookup<'_>) -> Result<(String, Secret), String> {
    let (id, origin) = secret_spec(text, lookup)?;
    let value = match origin {
        Origin::Variable(name) => lookup(&name).unwrap_or_default().into_bytes(),
        Origin::File(path) => linux::file::read_bounded(Path::new(&path), SECRET_LIMIT).map_err(|error| {
            match error.kind() == std::io::ErrorKind::FileTooLarge {
                true => format!("secret {id} too big. max size 500KB"),
                false => linux::chain(&error),
            }
        })?,
    };
    Ok((id, Secret::new(&value)))
}

fn secret_spec(text: &str, lookup: Lookup<'_>) -> Result<(String, Origin), String> {
    let (mut id, mut source, mut variable, mut kind) = (String::new(), None, None, String::new());
    for (key, value) in csv::pairs(text)? {
        match key.as_str() {
            "type" if matches!(value.as_str(), "file" | "env") => kind = value,
            "type" => return Err(format!("unsupported secret type {value:?}")),
            "id" => id = value,
            "source" | "src" => source = Some(value),
            "env" => variable = Some(value),
            _ => return Err(format!("unexpected key '{key}' in '{key}={value}'")),
        }
    }
    if kind == "env" && variable.is_none() {
        variable = source.take();
    }
    if id.is_empty() {
        return Err("secret missing ID".to_owned());
    }
    let origin = match (variable, source) {
        (Some(name), _) => Origin::Variable(name),
        (None, Some(path)) => Origin::File(path),
        (None, None) if kind == "env" || (kind != "file" && lookup(&id).is_some()) => {
            Origin::Variable(id.clone())
        }
        (None, None) => Origin::File(id.clone()),
    };
    Ok((id, origin))
}

/// `--ssh default|id[=socket]`: the socket of an agent. One that is not named is the caller's.
pub(super) fn agent(text: &str, lookup: Lookup<'_>) -> Result<(String, PathBuf), String> {
    let (id, path) = match text.split_once('=') {
        Some((id, path)) => (id, Some(path).filter(|path| !path.is_empty())),
        None => (text, None),
    };
    if id.is_empty() {
        return Err("it has no id".to_owned());
    }
    let caller = || lookup("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
    let socket = path.map(str::to_owned).or_else(caller);
    let socket = socket.ok_or("invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set")?;
    let found =
        rustix::fs::stat(socket.as_str()).map_err(|errno| format!("failed to stat {socket}: {errno}"))?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode) != rustix::fs::FileType::Socket {
        return Err(format!("{socket} is no socket of an agent: add keys to one by ssh-add"));
    }
    let socket = absolute(&socket).map_err(|error| error.chain())?;
    Ok((id.to_owned(), socket))
}

/// The caller's own ssh: the program that `git` would start for him, too.
pub(super) fn ssh(serves_contexts: bool) -> CallersSsh {
    let program = match (environment::caller("GIT_SSH_COMMAND"), environment::caller("GIT_SSH")) {
        (Some(command), _) if !command.is_empty() => SshProgram::Shell(command.into()),
        (_, Some(path)) if !path.is_empty() => SshProgram::Path(path.into()),
        _ => SshProgram::Ssh,
    };
    CallersSsh { program, serves_contexts }
}

/// `--build-context name=value`. Names of images are as they are shown, without `:latest`.
pub(super) fn context(text: &str) -> Result<(String, NamedContext), String> {
    let Some((name, value)) =
        text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
    else {
        return Err(format!("invalid context value: {text}, expected key=value"));
    };
    let name = context_name(name)?;
    let context = match value {
        target if target.starts_with("target:") => {
            return Err(format!("{target} is what another target makes: only bake files have targets"));
        }
        image if image.starts_with("docker-image://") => {
            let image = image.trim_start_matches("docker-image://");
            let parsed: Result<oci::Reference, _> = image.parse();
            parsed.map_err(|error| format!("invalid reference {image:?}: {error}"))?;
            NamedContext::Image(image.to_owned())
        }
        layout if layout.starts_with("oci-layout://") => {
            let (path, entry) = layout_entry(layout.trim_start_matches("oci-layout://"));
            let directory = absolute(path).map_err(|error| error.chain())?;
            NamedContext::Layout { directory, entry: entry.map(str::to_owned) }
        }
        url if is_remote(url) => NamedContext::Remote(url.to_owned()),
        path if Path::new(path).is_dir() => {
            NamedContext::Directory(absolute(path).map_err(|error| error.chain())?)
        }
        path => return Err(format!("failed to get build context path {path:?}: it is no directory")),
    };
    Ok((name, context))
}

/// What Dockerfiles know a context as: the name of an image as it is shown, without `:latest`.
pub(super) fn context_name(name: &str) -> Result<String, String> {
    let named: oci::Reference =
        name.to_lowercase().parse().map_err(|error| format!("invalid context name {name}: {error}"))?;
    let familiar = named.familiar();
    Ok(familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned())
}

/// The folder of a layout, and what stands behind it: `:tag` without its colon, `@digest`, or both.
fn layout_entry(text: &str) -> (&str, Option<&str>) {
    let name = text.rfind('/').map_or(0, |slash| slash + 1);
    let end = text[name..].find([':', '@']).map(|at| name + at);
    match end {
        None => (text, None),
        Some(end) => {
            (&text[..end], Some(text[end..].trim_start_matches(':')).filter(|entry| !entry.is_empty()))
        }
    }
}

/// `--allow`.
pub(super) fn entitlement(text: &str) -> Result<Entitlement, String> {
    match text {
        "network.host" => Ok(Entitlement::NetworkHost),
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        "device" => Ok(Entitlement::Device(String::new())),
        _ => match text.strip_prefix("device=") {
            Some(name) => Ok(Entitlement::Device(name.to_owned())),
            None => Err(format!("invalid entitlement: {text}")),
        },
    }
}

/// `NAME=value`, or `NAME` with the caller's value; a name that the caller lacks is none.
pub(super) fn argument(text: &str, lookup: Lookup<'_>) -> Result<Option<(String, String)>, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid key-value pair {text:?}: empty key")),
        None if text.is_empty() => Err(format!("invalid key-value pair {text:?}: empty key")),
        Some((name, value)) => Ok(Some((name.to_owned(), value.to_owned()))),
        None => Ok(lookup(text).map(|value| (text.to_owned(), value))),
    }
}

/// Each with what a Dockerfile calls it; of equal names the last counts.
pub(super) fn by_name<T>(pairs: Vec<(String, T)>) -> BTreeMap<String, T> {
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "t".to_owned())
    }

    #[test]
    fn secrets_are_files_or_variables() {
        let file = |path: &str| Origin::File(path.to_owned());
        let variable = |name: &str| Origin::Variable(name.to_owned());
        for (text, want) in [
            ("id=a,src=/b", file("/b")),
            ("id=a,source=b", file("b")),
            ("id=a,env=B", variable("B")),
            ("id=a,type=env", variable("a")),
            ("type=env,id=a,src=B", variable("B")),
            ("id=a", file("a")),
            ("id=TOKEN", variable("TOKEN")),
            ("id=TOKEN,type=file", file("TOKEN")),
            ("\"id=a\",\"src=/x,y\"", file("/x,y")),
        ] {
            assert_eq!(secret_spec(text, &lookup).unwrap().1, want, "{text}");
        }
        for (text, want) in [
            ("src=/b", "secret missing ID"),
            ("id=a,type=x", "unsupported secret type \"x\""),
            ("id=a,foo=x", "unexpected key 'foo' in 'foo=x'"),
            ("a", "invalid field 'a' must be a key=value pair"),
        ] {
            assert_eq!(secret_spec(text, &lookup).unwrap_err(), want, "{text}");
        }
        assert!(secret("id=a,src=/no/such", &lookup).unwrap_err().contains("/no/such"));
    }

    #[test]
    fn contexts_have_the_names_of_images() {
        let named = |text: &str| context(text).map(|(name, context)| format!("{name} {context:?}"));
        for (text, want) in [
            ("Base=docker-image://alpine:3", "base Image(\"alpine:3\")"),
            ("docker.io/library/a:latest=https://h/x.git", "a Remote(\"https://h/x.git\")"),
            ("a:1=oci-layout:///x:1", "a:1 Layout { directory: \"/x\", entry: Some(\"1\") }"),
            ("a=oci-layout:///x:y/z", "a Layout { directory: \"/x:y/z\", entry: None }"),
            ("a=oci-layout:///x@sha256:1", "a Layout { directory: \"/x\", entry: Some(\"@sha256:1\") }"),
            ("root=/", "root Directory(\"/\")"),
        ] {
            assert_eq!(named(text).unwrap(), want, "{text}");
        }
        assert_eq!(named("x").unwrap_err(), "invalid context value: x, expected key=value");
        assert!(named("x=target:y").unwrap_err().contains("bake"));
        assert!(named("x=/no/such").unwrap_err().contains("no directory"));
        assert!(named("x=docker-image://A B").is_err());
    }

    #[test]
    fn a_name_alone_takes_the_callers_value() {
        assert_eq!(argument("A=b=c", &lookup).unwrap(), Some(("A".into(), "b=c".into())));
        assert_eq!(argument("TOKEN", &lookup).unwrap(), Some(("TOKEN".into(), "t".into())));
        assert_eq!(argument("NOPE", &lookup).unwrap(), None);
        assert_eq!(argument("=x", &lookup).unwrap_err(), "invalid key-value pair \"=x\": empty key");
        assert!(entitlement("security.insecure").is_ok() && entitlement("all").is_err());
    }

    #[test]
    fn an_agent_is_a_socket() {
        let unset = |_: &str| None;
        assert!(agent("default", &unset).unwrap_err().contains("SSH_AUTH_SOCK"));
        assert!(agent("x=/etc/passwd", &unset).unwrap_err().contains("ssh-add"));
        assert!(agent("x=/no/such", &unset).unwrap_err().starts_with("failed to stat"));
    }
}
