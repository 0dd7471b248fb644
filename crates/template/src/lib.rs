//! Go's template language, as `--format` and `--log-opt tag` take it, over JSON values.
//!
//! ```text
//! text ──lex──► tokens ──parse──► nodes ──eval(data)──► text
//! ```
//!
//! What is there: actions with trim marks and comments; fields, variables, pipelines, parentheses; `if`, `with`,
//! `range` (with `break` and `continue`), `else if`, `define`, `template`, `block`; the language's own functions
//! (of which `call` has nothing to call), and Docker's (`json`, `split`, `join`, `title`, `lower`, `upper`, `pad`, `truncate`).
//! Go knows structs from maps and JSON does not: a field that is missing is an error, unless it is asked of one of
//! the [`MAPS`]. Nor does JSON know the types of what is nil: those of Docker's documents are told by their names,
//! so that a list that was never set prints `[]`, a map `map[]` and anything else `<nil>`. Nothing in here does I/O.

mod eval;
mod functions;
mod lex;
mod number;
mod parse;
mod printf;
mod show;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde_json::Value;

use parse::Node;
pub use show::quoted;

/// Fields whose value is a map, where a missing key has no value instead of being a mistake.
const MAPS: &[&str] = &[
    "Annotations",
    "Config.Labels",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Metadata",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields whose value is a list, also where it is nil.
const LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "Links",
    "Mounts",
    "OnBuild",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
    "Warnings",
];

/// The key of a field that takes an argument (`.Label "tier"`): in Go's terms a method. It is no part of the data, and not
/// shown with the whole of it.
pub fn method(name: &str) -> String {
    format!("\0{name}")
}

/// A template, parsed.
pub struct Template {
    root: Vec<Node>,
    named: HashMap<String, Vec<Node>>,
}

/// Why a template does not work.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is not in the language.
    #[error("template: :{line}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It does not fit the data.
    #[error("template: :{line}:{column}: executing \"\" at <{at}>: {reason}")]
    Execute {
        /// Line, from 1.
        line: usize,
        /// Byte within the line, from 0.
        column: usize,
        /// The part at fault.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let tokens = lex::lex(text)?;
        let (root, named) = parse::parse(tokens)?;
        Ok(Template { root, named })
    }

    /// Fills it in with `data`.
    pub fn execute(&self, data: &Value) -> Result<String, TemplateError> {
        eval::execute(&self.root, &self.named, data, false)
    }

    /// Fills it in with the headers of a table: functions that change text leave them alone.
    pub fn execute_headers(&self, headers: &Value) -> Result<String, TemplateError> {
        eval::execute(&self.root, &self.named, headers, true)
    }

    /// Whether it uses the field `name` anywhere.
    pub fn uses(&self, name: &str) -> bool {
        parse::uses(&self.root, name) || self.named.values().any(|nodes| parse::uses(nodes, name))
    }
}
