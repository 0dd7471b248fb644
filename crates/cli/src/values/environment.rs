//! `--env`, `--env-file`, `--label`, `--label-file`.
//!
//! Files hold one entry a line: blanks in front are cut, empty lines and those that begin with `#` are skipped,
//! nothing is quoted or expanded. A name alone takes the caller's value, or, in a file, is left out where the
//! caller has none.

use std::path::Path;

use crate::error::{Error, Result};

/// No file of variables is larger.
const FILE_LIMIT: u64 = 4 << 20;

/// The caller's environment.
#[allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]
pub(crate) fn caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// All of it that is text.
#[allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]
pub(crate) fn all() -> std::collections::BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The platform that the caller has set for all of Docker's commands.
pub(crate) fn default_platform() -> Option<String> {
    caller("DOCKER_DEFAULT_PLATFORM").filter(|platform| !platform.is_empty())
}

/// One `--env`: `NAME=value`, or `NAME` with the caller's value; a name the caller lacks is passed on alone and
/// takes the image's variable away.
pub(crate) fn variable(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> std::result::Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err("invalid environment variable: it has no name".to_owned()),
        None => Ok(lookup(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

/// Finds the caller's value of a name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The entries of a file.
pub(crate) fn read_file(path: &str, lookup: Option<Lookup<'_>>) -> Result<Vec<String>> {
    let content = linux::file::read_bounded(Path::new(path), FILE_LIMIT)?;
    parse_file(path, &content, lookup)
}

/// The entries of a file's content. Without `lookup` a name alone stays so, as labels want it.
fn parse_file(path: &str, content: &[u8], lookup: Option<Lookup<'_>>) -> Result<Vec<String>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut entries = Vec::new();
    for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let fail = |reason| Error::Line { path: path.to_owned(), line: number + 1, reason };
        let line = std::str::from_utf8(line).map_err(|_| fail("not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(fail("no name before the equals sign"));
        }
        if name.contains(char::is_whitespace) {
            return Err(fail("the name contains whitespace"));
        }
        match (line.contains('='), lookup) {
            (true, _) | (false, None) => entries.push(line.to_owned()),
            (false, Some(lookup)) => entries.extend(lookup(line).map(|value| format!("{line}={value}"))),
        }
    }
    Ok(entries)
}

/// `key=value` or `key`.
pub(crate) fn label(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("invalid label format: {text:?}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn a_name_alone_takes_the_callers_value() {
        for (text, want) in
            [("A=1", "A=1"), ("A=", "A="), ("A=b=c", "A=b=c"), ("HOME", "HOME=/root"), ("NOPE", "NOPE")]
        {
            assert_eq!(variable(text, lookup).unwrap(), want);
        }
        assert_eq!(variable("=x", lookup).unwrap_err(), "invalid environment variable: =x");
        assert!(variable("", lookup).is_err());
    }

    #[test]
    fn files_hold_an_entry_a_line() {
        let text = "\u{feff}# comment\n  A=1 # kept\n\nB=\"quoted\"\nHOME\nNOPE\nC=\r\n  \tD=4";
        assert_eq!(
            parse_file("f", text.as_bytes(), Some(&lookup)).unwrap(),
            ["A=1 # kept", "B=\"quoted\"", "HOME=/root", "C=", "D=4"]
        );
        assert_eq!(parse_file("f", b"a\nb=2", None).unwrap(), ["a", "b=2"]);
        for (text, want) in [
            (&b"A=1\nB C=2"[..], "f: line 2: the name contains whitespace"),
            (b"=x", "f: line 1: no name before the equals sign"),
            (b"A=1\n\n\xff=1", "f: line 3: not UTF-8"),
        ] {
            assert_eq!(parse_file("f", text, None).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn labels_may_lack_a_value() {
        assert_eq!(label("a.b=c=d").unwrap(), ("a.b".into(), "c=d".into()));
        assert_eq!(label("a").unwrap(), ("a".into(), String::new()));
        assert!(label("=v").is_err());
    }
}
