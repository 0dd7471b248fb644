//! What `--call`, `--check` and `--format` ask for.

use super::super::csv;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::flags::parse::parse_bool;

/// What is asked for instead of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) struct Call {
    pub(super) method: Method,
    pub(super) format: Format,
    /// What is found makes no exit code.
    pub(super) ignore_status: bool,
}

impl Call {
    /// Whether people are to read what is found.
    pub(in crate::build) fn is_for_people(&self) -> bool {
        self.format == Format::Text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
    Describe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
    Sarif,
}

/// What `--call`, `--check` and `--format` ask for; nothing if that is a build.
pub(in crate::build) fn asked(parsed: &Parsed) -> Result<Option<Call>> {
    let call = parsed.value("call", call_of)?.flatten();
    let call = match parsed.on("check") {
        true if call.is_none() => {
            Some(Call { method: Method::Check, format: Format::Text, ignore_status: false })
        }
        _ => call,
    };
    let format = parsed.value("format", format_of)?;
    match (call, format) {
        (Some(call), Some(format)) => check_format(Call { format, ..call }).map(Some),
        (Some(call), None) => check_format(call).map(Some),
        (None, Some(_)) => Err(Error::Conflict("--format is for --check and --call")),
        (None, None) => Ok(None),
    }
}

fn check_format(call: Call) -> Result<Call> {
    match (call.method, call.format) {
        (Method::Outline | Method::Targets | Method::Describe, Format::Sarif) => {
            Err(Error::Conflict("only --check has results that SARIF can hold"))
        }
        _ => Ok(call),
    }
}

pub(super) fn call_of(text: &str) -> std::result::Result<Option<Call>, String> {
    let mut call = Call { method: Method::Check, format: Format::Text, ignore_status: false };
    let mut is_build = false;
    for field in csv::fields(text)? {
        match csv::pair(&field) {
            Err(_) => match field.as_str() {
                "" | "build" => is_build = true,
                "check" | "lint" => call.method = Method::Check,
                "outline" => call.method = Method::Outline,
                "targets" => call.method = Method::Targets,
                "subrequests.describe" => call.method = Method::Describe,
                _ => return Err(format!("no method {field:?}: build, check, outline or targets")),
            },
            Ok((key, value)) => match key.as_str() {
                "format" => call.format = format_of(&value)?,
                "ignorestatus" => {
                    call.ignore_status = parse_bool(&value).ok_or("ignorestatus: not a boolean")?;
                }
                _ => return Err(format!("unknown key {key:?}: format or ignorestatus")),
            },
        }
    }
    Ok((!is_build).then_some(call))
}

fn format_of(text: &str) -> std::result::Result<Format, &'static str> {
    match text {
        "text" | "default" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "sarif" => Ok(Format::Sarif),
        _ => Err("format must be one of \"text\", \"json\" or \"sarif\""),
    }
}
