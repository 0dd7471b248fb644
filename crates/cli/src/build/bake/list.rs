//! `--list`: what could be built, and what it depends on, as a table or as JSON.

use ::bake::List as Found;
use serde_json::{Value, json};

use crate::build::csv;
use crate::output::table;

/// What is to be listed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    what: What,
    is_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Targets,
    Variables,
}

impl List {
    /// `targets`, `variables`, or `type=…[,format=table|json]`.
    pub(super) fn parse(text: &str) -> Result<List, String> {
        let (mut what, mut is_json) = (None, false);
        for field in csv::fields(text)? {
            let (key, value) = field.split_once('=').unwrap_or(("type", &field));
            match (key, value) {
                ("type", "targets") => what = Some(What::Targets),
                ("type", "variables") => what = Some(What::Variables),
                ("type", _) => return Err("must be targets or variables".to_owned()),
                ("format", "json") => is_json = true,
                ("format", "table") => is_json = false,
                _ => return Err(format!("unexpected {field:?}: a type, and format=table or format=json")),
            }
        }
        what.map(|what| List { what, is_json }).ok_or_else(|| "must be targets or variables".to_owned())
    }

    /// As it is printed.
    pub(super) fn show(self, found: &Found) -> String {
        match (self.what, self.is_json) {
            (What::Targets, false) => targets(found),
            (What::Variables, false) => variables(found),
            (What::Targets, true) => format!("{:#}\n", Value::Array(targets_json(found))),
            (What::Variables, true) => format!("{:#}\n", Value::Array(variables_json(found))),
        }
    }
}

fn targets(found: &Found) -> String {
    let mut rows = String::from("TARGET\tDESCRIPTION\n");
    for (name, group) in &found.groups {
        let about = group.description.clone().unwrap_or_else(|| group.targets.join(", "));
        rows.push_str(&format!("{name}\t{about}\n"));
    }
    for (name, about) in shown_targets(found) {
        rows.push_str(&format!("{name}\t{}\n", about.unwrap_or_default()));
    }
    table::compact(&rows, 3)
}

/// Those of names with `_` at their start are for files alone.
fn shown_targets(found: &Found) -> impl Iterator<Item = (&str, Option<&str>)> {
    let shown = found.targets.iter().filter(|(name, _)| !name.starts_with('_'));
    shown.map(|(name, about)| (name.as_str(), about.as_deref()))
}

fn variables(found: &Found) -> String {
    let mut rows = String::from("VARIABLE\tTYPE\tVALUE\tDESCRIPTION\n");
    for variable in &found.variables {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let value = variable.value.clone().unwrap_or_else(|| "<null>".to_owned());
        let (kind, about) = (text(&variable.kind), text(&variable.description));
        rows.push_str(&format!("{}\t{kind}\t{value}\t{about}\n", variable.name));
    }
    table::compact(&rows, 3)
}

fn targets_json(found: &Found) -> Vec<Value> {
    let entry = |name: &str, about: Option<&str>, is_group: bool| {
        let mut entry = json!({ "name": name, "default": name == "default", "group": is_group });
        if let Some(about) = about.filter(|about| !about.is_empty()) {
            entry["description"] = about.into();
        }
        entry
    };
    let groups = found.groups.iter();
    let groups = groups.map(|(name, group)| entry(name, group.description.as_deref(), true));
    groups.chain(shown_targets(found).map(|(name, about)| entry(name, about, false))).collect()
}

fn variables_json(found: &Found) -> Vec<Value> {
    let entry = |variable: &::bake::Variable| {
        let mut entry = json!({ "name": variable.name });
        for (key, text) in
            [("description", &variable.description), ("type", &variable.kind), ("value", &variable.value)]
        {
            if let Some(text) = text {
                entry[key] = text.as_str().into();
            }
        }
        entry
    };
    found.variables.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_has_a_type_and_a_form() {
        for (text, what, is_json) in [
            ("targets", What::Targets, false),
            ("type=variables", What::Variables, false),
            ("type=targets,format=json", What::Targets, true),
            ("variables,format=table", What::Variables, false),
        ] {
            assert_eq!(List::parse(text).unwrap(), List { what, is_json }, "{text}");
        }
        for text in ["", "groups", "format=json", "targets,format=xml", "targets,x=y"] {
            assert!(List::parse(text).is_err(), "{text}");
        }
    }
}
