//! YAML to a tree, by the events of `saphyr-parser`.
//!
//! Scalars keep their text, for what they mean depends on where they stand. How deep a tree nests and how many nodes it
//! has is bounded, with what aliases repeat.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

const MAX_DEPTH: usize = 64;
pub(super) const MAX_NODES: usize = 256 << 10;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yaml {
    Null,
    /// Text, and whether it was written without quotes, so that it may be a number or a truth.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
    /// Marked as `!reset`: what is below it is not there.
    Reset,
    /// Marked as `!override`: it takes the place of what is below it.
    Override(Box<Yaml>),
}

/// Why a text is no YAML that is taken.
pub(super) struct YamlError {
    pub(super) position: Option<(usize, usize)>,
    pub(super) reason: String,
}

impl Yaml {
    pub(super) fn string(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), plain: false }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(entries) => entries.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets an entry of a map.
    pub(super) fn set(&mut self, key: &str, node: Self) {
        match self.get_mut(key) {
            Some(known) => *known = node,
            None => {
                if let Self::Map(entries) = self {
                    entries.push((key.to_owned(), node));
                }
            }
        }
    }

    /// What is marked, or the node itself if it is not.
    pub(super) fn inner_mut(&mut self) -> &mut Self {
        match self {
            Self::Override(inner) => inner.inner_mut(),
            node => node,
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let at = entries.iter().position(|(known, _)| known == key)?;
        Some(entries.remove(at).1)
    }

    /// A scalar as text: numbers as they are written from their value, `1.10` as `1.1`.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Scalar { text, plain: false } => Some(text.clone()),
            Self::Scalar { text, plain: true } => Some(plain_text(text)),
            _ => None,
        }
    }

    /// A scalar as a truth.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Scalar { text, .. } => match text.to_lowercase().as_str() {
                "true" | "y" | "yes" | "on" | "1" => Some(true),
                "false" | "n" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

fn plain_text(text: &str) -> String {
    if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") {
        return text.to_lowercase();
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return text.to_owned();
    }
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| i64::from_str_radix(digits.strip_prefix(prefix)?, base).ok());
    if let Some(value) = based {
        return if text.starts_with('-') { (-value).to_string() } else { value.to_string() };
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        // What begins with a zero is octal, as in YAML 1.1.
        return i64::from_str_radix(digits, 8).map_or_else(|_| text.to_owned(), |value| value.to_string());
    }
    if let Ok(value) = text.parse::<i64>() {
        return value.to_string();
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return text.to_owned();
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && (value == 0.0 || (1e-4..1e21).contains(&value.abs())) => {
            value.to_string()
        }
        _ => text.to_owned(),
    }
}

/// A node that is not finished.
struct Open {
    node: Yaml,
    /// The key whose value comes next.
    key: Option<String>,
    anchor: usize,
    tag: Option<Mark>,
    /// What `<<` brings, for keys that are not set otherwise.
    merged: Vec<(String, Yaml)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Reset,
    Override,
}

fn mark(tag: Option<&Tag>) -> Option<Mark> {
    let tag = tag.filter(|tag| tag.handle == "!")?;
    match tag.suffix.as_str() {
        "reset" => Some(Mark::Reset),
        "override" => Some(Mark::Override),
        _ => None,
    }
}

fn marked(node: Yaml, mark: Option<Mark>) -> Yaml {
    match mark {
        None => node,
        Some(Mark::Reset) => Yaml::Reset,
        Some(Mark::Override) => Yaml::Override(Box::new(node)),
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Yaml, usize)>,
    nodes: usize,
    root: Option<Yaml>,
}

/// Reads the first document.
pub(super) fn parse(text: &str) -> Result<Yaml, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            position: Some((error.marker().line(), error.marker().col() + 1)),
            reason: error.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event).map_err(|reason| YamlError {
            position: Some((span.start.line(), span.start.col() + 1)),
            reason,
        })?;
    }
    Ok(builder.root.unwrap_or(Yaml::Null))
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let null = plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let node = if null { Yaml::Null } else { Yaml::Scalar { text: text.into_owned(), plain } };
                self.finish(marked(node, mark(tag.as_deref())), anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Yaml::List(Vec::new()), anchor, mark(tag.as_deref()))
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Yaml::Map(Vec::new()), anchor, mark(tag.as_deref()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let mut node = open.node;
                if let Yaml::Map(entries) = &mut node {
                    let known: std::collections::HashSet<String> =
                        entries.iter().map(|(key, _)| key.clone()).collect();
                    entries.extend(open.merged.into_iter().filter(|(key, _)| !known.contains(key)));
                }
                self.finish(marked(node, open.tag), open.anchor, 1)
            }
            Event::Alias(anchor) => {
                let (node, size) = self.anchors.get(&anchor).ok_or("an alias of what is not finished")?;
                // Paid before it is copied.
                let size = *size;
                if self.nodes.saturating_add(size) > MAX_NODES {
                    return Err(format!("at most {MAX_NODES} nodes are taken, with what aliases repeat"));
                }
                let node = node.clone();
                self.finish(node, 0, size)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, node: Yaml, anchor: usize, tag: Option<Mark>) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("at most {MAX_DEPTH} levels are taken"));
        }
        self.open.push(Open { node, key: None, anchor, tag, merged: Vec::new() });
        Ok(())
    }

    fn finish(&mut self, node: Yaml, anchor: usize, size: usize) -> Result<(), String> {
        self.nodes += size;
        if self.nodes > MAX_NODES {
            return Err(format!("at most {MAX_NODES} nodes are taken, with what aliases repeat"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), count(&node)));
            self.nodes += count(&node);
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node {
            Yaml::List(elements) => elements.push(node),
            Yaml::Map(entries) => match open.key.take() {
                None => open.key = Some(key(&node)?),
                Some(key) if key == "<<" => open.merged.extend(merged(node)?),
                Some(key) => entries.push((key, node)),
            },
            _ => {}
        }
        Ok(())
    }
}

/// How many nodes a tree has.
pub(super) fn count(node: &Yaml) -> usize {
    match node {
        Yaml::Null | Yaml::Scalar { .. } | Yaml::Reset => 1,
        Yaml::List(elements) => 1 + elements.iter().map(count).sum::<usize>(),
        Yaml::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + count(value)).sum::<usize>(),
        Yaml::Override(inner) => count(inner),
    }
}

fn key(node: &Yaml) -> Result<String, String> {
    match node {
        Yaml::Null => Ok("null".to_owned()),
        _ => node.text().ok_or_else(|| "a key must be a scalar".to_owned()),
    }
}

/// What a merge key brings: of several maps, the first that has a key.
fn merged(node: Yaml) -> Result<Vec<(String, Yaml)>, String> {
    match node {
        Yaml::Map(entries) => Ok(entries),
        Yaml::List(maps) => {
            let mut all: Vec<(String, Yaml)> = Vec::new();
            let mut known = std::collections::HashSet::new();
            for map in maps {
                let Yaml::Map(entries) = map else { return Err("<< takes maps".to_owned()) };
                all.extend(entries.into_iter().filter(|(key, _)| known.insert(key.clone())));
            }
            Ok(all)
        }
        _ => Err("<< takes a map".to_owned()),
    }
}

/// The first key that a map has twice.
pub(super) fn double(entries: &[(String, Yaml)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    entries.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
}
