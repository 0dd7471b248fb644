//! Lists of settings (`cache-from`, `output`, `secret`, …), whose entries are text (`type=local,dest=out`) or objects.

mod csv;
mod policy;

pub(crate) use csv::fields;
pub use policy::Policy;

use std::collections::BTreeMap;

use crate::value::{Type, Value, convert};

/// An entry with a type and attributes: of `cache-from`, `cache-to` and `output`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// `registry`, `local`, `image`, …: the attribute `type`.
    pub kind: String,
    /// The others; `dest` of an output too.
    pub attributes: BTreeMap<String, String>,
}

/// An entry of `attest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attest {
    /// `provenance` or `sbom`.
    pub kind: String,
    /// Whether it is turned off.
    pub disabled: bool,
    /// The others.
    pub attributes: BTreeMap<String, String>,
}

/// An entry of `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secret {
    /// By which name the build asks for it.
    pub id: String,
    /// The file that holds it.
    pub source: Option<String>,
    /// The environment variable that holds it.
    pub variable: Option<String>,
}

/// An entry of `ssh`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ssh {
    /// By which name the build asks for it.
    pub id: String,
    /// Keys or a socket; none: the agent of who calls.
    pub paths: Vec<String>,
}

/// What an entry of such a list can do.
pub(crate) trait Setting: Sized + PartialEq {
    /// From its text.
    fn parse(text: &str) -> Result<Self, String>;
    /// From an object.
    fn from_value(value: &Value) -> Result<Self, String>;
    /// For expressions that refer to it.
    fn to_value(&self) -> Value;

    /// From a text that may be several; only caches know such.
    fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        Ok(vec![Self::parse(text)?])
    }

    /// Whether a later one takes this one's place in a list.
    fn is_replaced_by(&self, other: &Self) -> bool {
        self == other
    }
}

/// All entries of a list of texts and objects.
pub(crate) fn from_list<T: Setting>(value: &Value) -> Result<Vec<T>, String> {
    let elements = match value {
        Value::List(elements) | Value::Tuple(elements) => elements,
        _ => return Err(format!("list required, but have {}", value.kind())),
    };
    let mut entries = Vec::new();
    for element in elements {
        match element {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => entries.extend(T::parse_all(text)?),
            Value::Null => return Err("null is no entry".to_owned()),
            _ => entries.push(T::from_value(element)?),
        }
    }
    Ok(entries)
}

/// All entries of texts, of which empty ones say nothing.
pub(crate) fn from_texts<T: Setting>(texts: &[String]) -> Result<Vec<T>, String> {
    let mut entries = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        entries.extend(T::parse_all(text)?);
    }
    Ok(entries)
}

/// The list without those that are there twice. The order that comes of it is the original's, which swaps.
pub(crate) fn without_doubles<T: PartialEq>(mut list: Vec<T>) -> Vec<T> {
    for first in (0..list.len().saturating_sub(1)).rev() {
        if let Some(double) = (first + 1..list.len()).find(|second| list[*second] == list[first]) {
            list.swap_remove(double);
        }
    }
    list
}

/// Attributes of an object, as strings.
fn texts(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Map(entries) = convert(value, &Type::Map(Box::new(Type::String)))? else {
        return Err("map of string required".to_owned());
    };
    let entries = entries.into_iter().map(|(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => Err(format!("{key} is null")),
    });
    entries.collect()
}

/// `key=value` fields.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let fields = fields(text)?.into_iter().map(|field| match field.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("invalid value {field}")),
    });
    fields.collect()
}

fn map(attributes: &BTreeMap<String, String>, more: &[(&str, &str)]) -> Value {
    let attributes = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all = attributes.chain(more.iter().copied());
    Value::Map(all.map(|(key, value)| (key.to_owned(), Value::text(value))).collect())
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Entry {
    fn from_attributes(mut attributes: BTreeMap<String, String>, what: &str) -> Result<Self, String> {
        match attributes.remove("type") {
            Some(kind) if !kind.is_empty() => Ok(Self { kind, attributes }),
            _ => Err(format!("type required for {what}")),
        }
    }
}

/// An entry of `cache-from` or `cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache(pub(crate) Entry);

impl Setting for Cache {
    fn parse(text: &str) -> Result<Self, String> {
        if let [field] = fields(text)?.as_slice()
            && !field.contains('=')
        {
            let attributes = BTreeMap::from([("ref".to_owned(), field.clone())]);
            return Ok(Self(Entry { kind: "registry".to_owned(), attributes }));
        }
        let attributes = pairs(text)?.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
        Entry::from_attributes(attributes, &format!("{text:?}")).map(Self)
    }

    fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        if text.contains('=') {
            return Ok(vec![Self::parse(text)?]);
        }
        // References alone: each field is one.
        fields(text)?.iter().filter(|field| !field.is_empty()).map(|field| Self::parse(field)).collect()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        Entry::from_attributes(texts(value)?, &value.to_json().to_string()).map(Self)
    }

    fn to_value(&self) -> Value {
        map(&self.0.attributes, &[("type", &self.0.kind)])
    }
}

/// An entry of `output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output(pub(crate) Entry);

impl Output {
    pub(crate) fn of_kind(kind: &str) -> Self {
        Self(Entry { kind: kind.to_owned(), attributes: BTreeMap::new() })
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.attributes.insert(key.to_owned(), value.to_owned());
        self
    }

    fn without_empty_destination(mut self) -> Self {
        if self.0.attributes.get("dest").is_some_and(String::is_empty) {
            self.0.attributes.remove("dest");
        }
        self
    }
}

impl Setting for Output {
    fn parse(text: &str) -> Result<Self, String> {
        if let [field] = fields(text)?.as_slice()
            && field == text
            && !text.starts_with("type=")
        {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(Self::of_kind(kind).with("dest", text));
        }
        let attributes =
            pairs(text)?.into_iter().map(|(key, value)| (key.to_lowercase().trim().to_owned(), value));
        Ok(Self(Entry::from_attributes(attributes.collect(), "output")?).without_empty_destination())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        Ok(Self(Entry::from_attributes(texts(value)?, "output")?).without_empty_destination())
    }

    fn to_value(&self) -> Value {
        // An output always has a destination to refer to.
        let mut attributes = self.0.attributes.clone();
        attributes.entry("dest".to_owned()).or_default();
        map(&attributes, &[("type", &self.0.kind)])
    }
}

impl Setting for Attest {
    fn parse(text: &str) -> Result<Self, String> {
        let mut attest = Self::default();
        for (key, value) in pairs(text)? {
            match key.to_lowercase().trim() {
                "type" => attest.kind = value,
                "disabled" => {
                    attest.disabled =
                        parse_bool(&value).ok_or_else(|| format!("invalid value {key}={value}"))?;
                }
                _ => {
                    attest.attributes.insert(key, value);
                }
            }
        }
        if attest.kind.is_empty() { Err("attestation type not specified".to_owned()) } else { Ok(attest) }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let mut attributes = texts(value)?;
        let kind = attributes.remove("type").unwrap_or_default();
        let disabled = match attributes.remove("disabled") {
            Some(text) => parse_bool(&text).ok_or_else(|| format!("invalid value disabled={text}"))?,
            None => false,
        };
        if kind.is_empty() {
            return Err("attestation type not specified".to_owned());
        }
        Ok(Self { kind, disabled, attributes })
    }

    fn to_value(&self) -> Value {
        let disabled = [("type", self.kind.as_str()), ("disabled", "true")];
        map(&self.attributes, if self.disabled { &disabled } else { &disabled[..1] })
    }

    fn is_replaced_by(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Secret {
    fn set(&mut self, key: &str, value: String) -> bool {
        let given = Some(value).filter(|value| !value.is_empty());
        match key {
            "id" => self.id = given.unwrap_or_default(),
            "src" | "source" => self.source = given,
            "env" => self.variable = given,
            _ => return false,
        }
        true
    }
}

impl Setting for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        let mut secret = Self::default();
        let mut kind = String::new();
        for field in fields(text)? {
            let Some((key, value)) = field.split_once('=') else {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            };
            let key = key.to_lowercase();
            if key == "type" {
                if value != "file" && value != "env" {
                    return Err(format!("unsupported secret type {value:?}"));
                }
                value.clone_into(&mut kind);
            } else if !secret.set(&key, value.to_owned()) {
                return Err(format!("unexpected key '{key}' in '{field}'"));
            }
        }
        if kind == "env" && secret.variable.is_none() {
            secret.variable = secret.source.take();
        }
        Ok(secret)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let entries = value.entries().ok_or_else(|| format!("object required, but have {}", value.kind()))?;
        let mut secret = Self::default();
        for key in ["id", "src", "env"] {
            if let Some(Value::String(text)) =
                entries.get(key).map(|value| convert(value, &Type::String)).transpose()?
            {
                secret.set(key, text);
            }
        }
        Ok(secret)
    }

    fn to_value(&self) -> Value {
        let source = self.source.as_deref().unwrap_or_default();
        let variable = self.variable.as_deref().unwrap_or_default();
        let pairs = [("id", self.id.as_str()), ("src", source), ("env", variable)];
        Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), Value::text(value))).collect())
    }
}

impl Setting for Ssh {
    fn parse(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let paths =
            if text.contains('=') { paths.split(',').map(str::to_owned).collect() } else { Vec::new() };
        Ok(Self { id: id.to_owned(), paths })
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let entries = value.entries().ok_or_else(|| format!("object required, but have {}", value.kind()))?;
        let mut ssh = Self::default();
        if let Some(Value::String(id)) = entries.get("id").map(|id| convert(id, &Type::String)).transpose()? {
            ssh.id = id;
        }
        if let Some(paths) = entries.get("paths") {
            let paths = convert(paths, &Type::List(Box::new(Type::String)))?;
            for path in paths.elements().unwrap_or_default() {
                match path {
                    Value::String(path) => ssh.paths.push(path.clone()),
                    _ => return Err("a path is null".to_owned()),
                }
            }
        }
        Ok(ssh)
    }

    fn to_value(&self) -> Value {
        Value::Object(BTreeMap::from([
            ("id".to_owned(), Value::text(self.id.as_str())),
            ("paths".to_owned(), Value::texts(self.paths.iter().cloned())),
        ]))
    }
}

/// Attestations with one of each type: the last, where the first stood.
pub(crate) fn last_of_each(attests: Vec<Attest>) -> Vec<Attest> {
    let mut kept: Vec<Attest> = Vec::new();
    for attest in attests {
        match kept.iter_mut().find(|kept| kept.is_replaced_by(&attest)) {
            Some(kept) => *kept = attest,
            None => kept.push(attest),
        }
    }
    kept
}
