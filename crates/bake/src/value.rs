//! Values of the expression language, and the types that they are converted to.
//!
//! Sequences and maps know whether they are of one type (list, set, map) or of a type for each element (tuple, object):
//! brackets make tuples and braces make objects, functions and declared types make the others. Elements of a set are
//! sorted and differ from each other.

mod convert;

pub(crate) use convert::{Field, Type, convert, unify};

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::number::Number;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Set(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A list of strings.
    pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// A set of these elements.
    pub(crate) fn set(mut elements: Vec<Self>) -> Self {
        elements.sort_by(Self::order);
        elements.dedup();
        Self::Set(elements)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The elements, where this is a sequence of any kind.
    pub(crate) fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) | Self::Tuple(elements) | Self::Set(elements) => Some(elements),
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::Map(_)
            | Self::Object(_) => None,
        }
    }

    /// The entries, where this is a map or an object.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(entries) | Self::Object(entries) => Some(entries),
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::List(_)
            | Self::Tuple(_)
            | Self::Set(_) => None,
        }
    }

    /// What the kind of this value is called.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Map(_) => "map",
            Self::Object(_) => "object",
        }
    }

    /// About how many bytes a copy takes.
    pub(crate) fn weight(&self) -> u64 {
        let inner = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.len() as u64,
            Self::List(elements) | Self::Tuple(elements) | Self::Set(elements) => {
                elements.iter().map(Self::weight).sum()
            }
            Self::Map(entries) | Self::Object(entries) => {
                entries.iter().map(|(key, value)| key.len() as u64 + value.weight()).sum()
            }
        };
        inner + 32
    }

    /// The order of elements of sets.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()).then_with(|| self.order_of_parts(other)),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::String(_) => 3,
            Self::List(_) => 4,
            Self::Tuple(_) => 5,
            Self::Set(_) => 6,
            Self::Map(_) => 7,
            Self::Object(_) => 8,
        }
    }

    fn order_of_parts(&self, other: &Self) -> Ordering {
        if let (Some(left), Some(right)) = (self.elements(), other.elements()) {
            let parts = left.iter().zip(right).map(|(left, right)| left.order(right));
            return parts.fold(Ordering::Equal, Ordering::then).then(left.len().cmp(&right.len()));
        }
        if let (Some(left), Some(right)) = (self.entries(), other.entries()) {
            let parts = left.iter().zip(right);
            let parts = parts.map(|(left, right)| left.0.cmp(right.0).then_with(|| left.1.order(right.1)));
            return parts.fold(Ordering::Equal, Ordering::then).then(left.len().cmp(&right.len()));
        }
        Ordering::Equal
    }

    /// As JSON, as `jsonencode` has it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => json_number(*number),
            Self::String(text) => text.as_str().into(),
            Self::List(elements) | Self::Tuple(elements) | Self::Set(elements) => {
                elements.iter().map(Self::to_json).collect()
            }
            Self::Map(entries) | Self::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
            }
        }
    }

    /// From JSON: lists become tuples, objects objects.
    pub(crate) fn from_json(json: &serde_json::Value) -> Option<Self> {
        Some(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(Number::parse(&number.to_string())?),
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(elements) => {
                Self::Tuple(elements.iter().map(Self::from_json).collect::<Option<_>>()?)
            }
            serde_json::Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| Some((key.clone(), Self::from_json(value)?)));
                Self::Object(entries.collect::<Option<_>>()?)
            }
        })
    }
}

fn json_number(number: Number) -> serde_json::Value {
    match number.to_i64() {
        Some(number) => number.into(),
        None => serde_json::Number::from_f64(number.to_f64()).map_or(serde_json::Value::Null, Into::into),
    }
}
