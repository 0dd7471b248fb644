//! Types, and conversion of values to them.

use std::collections::BTreeMap;
use std::fmt;

use super::Value;
use crate::number::Number;

/// A type, as a variable declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Bool,
    Number,
    String,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    Object(BTreeMap<String, Field>),
}

/// An attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Type,
    /// Whether it may be missing, and what stands for it then.
    pub(crate) optional: Option<Value>,
}

impl Type {
    pub(crate) fn is_primitive(&self) -> bool {
        matches!(self, Self::Bool | Self::Number | Self::String)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("any"),
            Self::Bool => out.write_str("bool"),
            Self::Number => out.write_str("number"),
            Self::String => out.write_str("string"),
            Self::List(element) => write!(out, "list({element})"),
            Self::Set(element) => write!(out, "set({element})"),
            Self::Map(element) => write!(out, "map({element})"),
            Self::Tuple(elements) => {
                let elements: Vec<String> = elements.iter().map(ToString::to_string).collect();
                write!(out, "tuple([{}])", elements.join(","))
            }
            Self::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, field)| format!("{name}={}", field.kind)).collect();
                write!(out, "object({{{}}})", fields.join(","))
            }
        }
    }
}

/// `value` as `kind`. The error says what was wanted instead.
pub(crate) fn convert(value: &Value, kind: &Type) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match kind {
        Type::Any => Ok(value.clone()),
        Type::Bool => to_bool(value).map(Value::Bool).ok_or_else(|| mismatch(kind, value)),
        Type::Number => to_number(value).map(Value::Number).ok_or_else(|| mismatch(kind, value)),
        Type::String => to_text(value).map(Value::String).ok_or_else(|| mismatch(kind, value)),
        Type::List(element) => Ok(Value::List(sequence(value, kind, element)?)),
        Type::Set(element) => Ok(Value::set(sequence(value, kind, element)?)),
        Type::Map(element) => {
            let entries = value.entries().ok_or_else(|| mismatch(kind, value))?;
            let values = one_type(entries.values().collect(), element)?;
            Ok(Value::Map(entries.keys().cloned().zip(values).collect()))
        }
        Type::Tuple(kinds) => {
            let elements = match value {
                Value::Tuple(elements) | Value::List(elements) => elements,
                _ => return Err(mismatch(kind, value)),
            };
            if elements.len() != kinds.len() {
                return Err(format!("tuple of {} elements required", kinds.len()));
            }
            elements
                .iter()
                .zip(kinds)
                .map(|(element, kind)| convert(element, kind))
                .collect::<Result<_, _>>()
                .map(Value::Tuple)
        }
        Type::Object(fields) => object(value, kind, fields),
    }
}

fn mismatch(kind: &Type, value: &Value) -> String {
    let wanted = match kind {
        Type::Any => "any value",
        Type::Bool => "a bool",
        Type::Number => "a number",
        Type::String => "string",
        Type::List(_) => "list",
        Type::Set(_) => "set",
        Type::Map(_) => "map",
        Type::Tuple(_) => "tuple",
        Type::Object(_) => "object",
    };
    match value {
        Value::String(_) | Value::Bool(_) | Value::Number(_) if kind.is_primitive() => {
            format!("{wanted} is required, but have {}", value.kind())
        }
        _ => format!("{wanted} required, but have {}", value.kind()),
    }
}

fn sequence(value: &Value, kind: &Type, element: &Type) -> Result<Vec<Value>, String> {
    let elements = value.elements().ok_or_else(|| mismatch(kind, value))?;
    one_type(elements.iter().collect(), element)
}

fn one_type(values: Vec<&Value>, kind: &Type) -> Result<Vec<Value>, String> {
    match kind {
        Type::Any => unify(values),
        _ => values.into_iter().map(|value| convert(value, kind)).collect(),
    }
}

fn object(value: &Value, kind: &Type, fields: &BTreeMap<String, Field>) -> Result<Value, String> {
    let entries = value.entries().ok_or_else(|| mismatch(kind, value))?;
    let mut converted = BTreeMap::new();
    for (name, field) in fields {
        let value = match (entries.get(name), &field.optional) {
            (Some(Value::Null), Some(default)) | (None, Some(default)) => convert(default, &field.kind)?,
            (Some(value), _) => {
                convert(value, &field.kind).map_err(|reason| format!("attribute {name:?}: {reason}"))?
            }
            (None, None) => return Err(format!("attribute {name:?} is required")),
        };
        converted.insert(name.clone(), value);
    }
    Ok(Value::Object(converted))
}

/// Values of one type: where primitives differ and one of them is a string, all become strings.
pub(crate) fn unify(values: Vec<&Value>) -> Result<Vec<Value>, String> {
    let given: Vec<&&Value> = values.iter().filter(|value| !value.is_null()).collect();
    let alike = given.windows(2).all(|pair| pair[0].kind() == pair[1].kind());
    if alike {
        return Ok(values.into_iter().cloned().collect());
    }
    let primitive = |value: &&&Value| matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_));
    if given.iter().all(primitive) && given.iter().any(|value| matches!(value, Value::String(_))) {
        return values.into_iter().map(|value| convert(value, &Type::String)).collect();
    }
    if given.iter().all(|value| value.elements().is_some()) {
        return values.into_iter().map(|value| convert(value, &Type::List(Box::new(Type::Any)))).collect();
    }
    if given.iter().all(|value| value.entries().is_some()) {
        return Ok(values.into_iter().cloned().collect());
    }
    Err("all elements must have the same type".to_owned())
}

fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn to_number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(*number),
        Value::String(text) => Number::parse(text),
        _ => None,
    }
}

fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
