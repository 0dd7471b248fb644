//! JSON to a document, as HCL's own JSON form has it.
//!
//! Blocks are objects in objects, or lists of them; strings are templates; what is named `//` is a comment. Names may
//! occur more than once, which a map would lose.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::document::{Attribute, Block, Document, KINDS};
use crate::error::{Error, Fault, Place};
use crate::expr::{Expr, Kind, Spot};
use crate::hcl;
use crate::number::Number;
use crate::value::Value;

type Result<T> = std::result::Result<T, Fault>;

/// Reads a file.
pub(crate) fn parse(name: &str, text: &str, file: usize) -> Result<Document> {
    let root: Json = serde_json::from_str(text).map_err(|error| Error::Syntax {
        place: Place { file: name.to_owned(), position: Some((error.line(), error.column())) },
        reason: error.to_string(),
    })?;
    let at = Spot { file, offset: None };
    let mut document = Document::default();
    for body in bodies(&root, "the file", at)? {
        for (key, value) in body {
            if KINDS.contains(&key.as_str()) {
                for named in bodies(value, key, at)? {
                    for (label, value) in named.iter().filter(|(label, _)| label != "//") {
                        for body in bodies(value, label, at)? {
                            document.blocks.push(block(key, label, body, at)?);
                        }
                    }
                }
            } else if key != "//" {
                document.attributes.push(Attribute { name: key.clone(), value: expression(value, at)? });
            }
        }
    }
    Ok(document)
}

fn block(kind: &str, label: &str, body: &[(String, Json)], at: Spot) -> Result<Block> {
    let (mut attributes, mut blocks) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for (key, value) in body.iter().filter(|(key, _)| key != "//") {
        if kind == "variable" && key == "validation" {
            for body in bodies(value, key, at)? {
                blocks.push(block(key, "", body, at)?);
            }
            continue;
        }
        let value = match (kind, key.as_str()) {
            // Names and types, which are never evaluated.
            ("function", "params" | "variadic_params") | ("variable", "type") => names(value, at)?,
            _ => expression(value, at)?,
        };
        if !seen.insert(key) {
            return Err(Fault::at(at, format!("{kind} {label}: {key} is set twice")));
        }
        attributes.push(Attribute { name: key.clone(), value });
    }
    Ok(Block { kind: kind.to_owned(), label: label.to_owned(), attributes, blocks, at })
}

/// The objects that a block is written as: one, or a list of them.
fn bodies<'a>(json: &'a Json, name: &str, at: Spot) -> Result<Vec<&'a [(String, Json)]>> {
    let object = |json: &'a Json| match json {
        Json::Object(entries) => Ok(entries.as_slice()),
        _ => Err(Fault::at(at, format!("{name} must be an object"))),
    };
    match json {
        Json::Array(elements) => elements.iter().map(object).collect(),
        Json::Null => Ok(Vec::new()),
        _ => Ok(vec![object(json)?]),
    }
}

fn names(json: &Json, at: Spot) -> Result<Expr> {
    match json {
        Json::String(text) => hcl::parse_expression(text, at),
        Json::Array(elements) => {
            let elements = elements.iter().map(|element| names(element, at)).collect::<Result<_>>()?;
            Ok(Expr { kind: Kind::Tuple(elements), at })
        }
        _ => expression(json, at),
    }
}

fn expression(json: &Json, at: Spot) -> Result<Expr> {
    let kind = match json {
        Json::Null => Kind::Literal(Value::Null),
        Json::Bool(value) => Kind::Literal(Value::Bool(*value)),
        Json::Number(text) => {
            let number =
                Number::parse(text).ok_or_else(|| Fault::at(at, format!("number {text} is too large")))?;
            Kind::Literal(Value::Number(number))
        }
        Json::String(text) => return hcl::parse_template(text, at),
        Json::Array(elements) => {
            Kind::Tuple(elements.iter().map(|element| expression(element, at)).collect::<Result<_>>()?)
        }
        Json::Object(entries) => {
            let entries = entries.iter().filter(|(key, _)| key != "//");
            let entries =
                entries.map(|(key, value)| Ok((hcl::parse_template(key, at)?, expression(value, at)?)));
            Kind::Object(entries.collect::<Result<_>>()?)
        }
    };
    Ok(Expr { kind, at })
}

/// JSON in which objects keep all their entries. How deep it nests is bounded by the parser.
enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Json, E> {
        Ok(Json::Number(format!("{value:e}")))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }
}
