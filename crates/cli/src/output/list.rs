//! Lists: a row is a set of named texts, shown as a table, as JSON, as raw lines or by a template.

use serde_json::{Map, Value};

use super::table;
use crate::error::{Error, Result};
use template::Template;

/// How rows of one kind can be shown.
pub(crate) struct Columns {
    /// Every field with its header, in the order of the JSON.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Keys of the raw form with their fields.
    pub(crate) raw: &'static [(&'static str, &'static str)],
}

/// What `--format` asks for.
pub(crate) enum Format {
    /// Columns, with a header; the text is the template of a row.
    Table(Template),
    /// One object a line.
    Json,
    /// `key: value` lines.
    Raw,
    /// One execution a row.
    Template(Template),
}

impl Format {
    /// Reads `--format`; without one, `default` is the template of a table's row.
    pub(crate) fn parse(given: Option<&str>, default: &str) -> Result<Format> {
        let parse = |text: &str| Template::parse(&unescape(text)).map_err(Error::ListTemplateSyntax);
        match given.unwrap_or("table").trim_end() {
            "" | "table" => Ok(Format::Table(parse(default)?)),
            "json" => Ok(Format::Json),
            "raw" => Ok(Format::Raw),
            text => match text.strip_prefix("table").and_then(|rest| rest.strip_prefix([' ', '\t', '\\'])) {
                Some(_) => {
                    let row = text.strip_prefix("table").unwrap_or_default();
                    Ok(Format::Table(parse(row.trim_start())?))
                }
                None => Ok(Format::Template(parse(given.unwrap_or_default())?)),
            },
        }
    }

    /// Whether a field will be looked at, so that one that costs something can be left out.
    pub(crate) fn uses(&self, field: &str) -> bool {
        match self {
            Format::Table(template) | Format::Template(template) => template.uses(field),
            Format::Json | Format::Raw => true,
        }
    }

    /// Renders `rows`. A row may have the method `Label`, the map behind `.Label "key"`.
    pub(crate) fn render(&self, columns: &Columns, rows: Vec<Map<String, Value>>) -> Result<String> {
        let mut out = String::new();
        match self {
            Format::Table(template) => {
                let headers =
                    columns.headers.iter().map(|(field, header)| ((*field).into(), Value::from(*header)));
                let mut headers: Map<String, Value> = headers.collect();
                headers.insert(template::method("Label"), Value::Object(Map::new()));
                let header =
                    template.execute_headers(&Value::Object(headers)).map_err(Error::ListTemplate)?;
                out.push_str(&header);
                out.push('\n');
                for row in rows {
                    out.push_str(&fill(template, row)?);
                    out.push('\n');
                }
                out = table::layout(&out);
            }
            Format::Template(template) => {
                for row in rows {
                    out.push_str(&fill(template, row)?);
                    out.push('\n');
                }
            }
            Format::Json => {
                for mut row in rows {
                    row.shift_remove(&template::method("Label"));
                    // A map of texts always serializes.
                    out.push_str(&Value::Object(row).to_string());
                    out.push('\n');
                }
            }
            Format::Raw => {
                for row in rows {
                    for (key, field) in columns.raw {
                        let value = row.get(*field).and_then(Value::as_str).unwrap_or_default();
                        out.push_str(format!("{key}: {value}").trim_end());
                        out.push('\n');
                    }
                    out.push('\n');
                }
            }
        }
        Ok(out)
    }
}

fn fill(template: &Template, row: Map<String, Value>) -> Result<String> {
    template.execute(&Value::Object(row)).map_err(Error::ListTemplate)
}

/// `\t` and `\n` as they are typed in a shell.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}
