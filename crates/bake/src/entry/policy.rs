//! Entries of `policy`: which Rego decides over what a build may take from elsewhere.

use std::collections::BTreeMap;

use super::{Setting, fields, map, parse_bool, texts};
use crate::value::Value;

/// An entry of `policy`, and of `--policy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Files, relative to the context.
    pub files: Vec<String>,
    /// Whether what was said before is forgotten, that of the Dockerfile included.
    pub reset: bool,
    /// Whether nothing is evaluated at all.
    pub disabled: bool,
    /// Whether a builder that evaluates none is to refuse.
    pub strict: Option<bool>,
    /// How much is said of it.
    pub log_level: Option<String>,
}

impl Policy {
    /// Reads an entry (`filename=x.rego,strict=true`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut policy = Self::default();
        for field in fields(text)? {
            let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid value {field}"))?;
            policy.set(key, value)?;
        }
        Ok(policy)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        const LEVELS: &[&str] = &["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"];
        let invalid = || format!("invalid value {key}={value}");
        let flag = || parse_bool(value).ok_or_else(invalid);
        match key.to_lowercase().trim() {
            "filename" if !value.is_empty() => self.files.push(value.to_owned()),
            "reset" => self.reset = flag()?,
            "disabled" => self.disabled = flag()?,
            "strict" => self.strict = Some(flag()?),
            "log-level" if LEVELS.contains(&value.to_lowercase().as_str()) => {
                self.log_level = Some(value.to_lowercase());
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// As its fields have it.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut add = |key: &str, value: String| drop(all.insert(key.to_owned(), value));
        self.files.first().into_iter().for_each(|file| add("filename", file.clone()));
        for (key, flag) in [
            ("reset", self.reset.then_some(true)),
            ("disabled", self.disabled.then_some(true)),
            ("strict", self.strict),
        ] {
            flag.into_iter().for_each(|flag| add(key, flag.to_string()));
        }
        self.log_level.iter().for_each(|level| add("log-level", level.clone()));
        all
    }
}

impl std::fmt::Display for Policy {
    /// As a text that reads as the same entry.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = self.attributes();
        all.remove("filename");
        let files = self.files.iter().map(|file| format!("filename={file}"));
        let all: Vec<String> =
            files.chain(all.into_iter().map(|(key, value)| format!("{key}={value}"))).collect();
        let quoted = |field: &String| match field.contains([',', '"']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        };
        out.write_str(&all.iter().map(quoted).collect::<Vec<_>>().join(","))
    }
}

impl Setting for Policy {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_text(text)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let mut policy = Self::default();
        for (key, value) in texts(value)?.iter().filter(|(_, value)| !value.is_empty()) {
            policy.set(key, value)?;
        }
        Ok(policy)
    }

    fn to_value(&self) -> Value {
        map(&self.attributes(), &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_as_they_are_written() {
        for text in ["filename=a.rego", "\"filename=a,b\",filename=c,log-level=debug,reset=true,strict=false"]
        {
            assert_eq!(Policy::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(Policy::from_text("DISABLED=1").unwrap().to_string(), "disabled=true");
        for bad in ["x", "x=y", "filename=", "strict=maybe", "log-level=loud"] {
            assert!(Policy::from_text(bad).is_err(), "{bad}");
        }
    }
}
