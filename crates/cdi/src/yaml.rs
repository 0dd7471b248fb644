//! YAML, and JSON with it, to a tree of JSON values.
//!
//! How deep a tree nests and how many nodes it has is bounded, with what aliases repeat. A key that comes twice is an error. Plain
//! scalars are what they look like (`0666` is octal, as in YAML 1.1); what takes text takes them all (`document::Text`).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use crate::Error;

const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 256 << 10;

/// Reads the first document of a text.
pub(crate) fn parse(text: &str) -> Result<Value, Error> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Error::Syntax {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            reason: error.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        let at = |reason| Error::Syntax { line: span.start.line(), column: span.start.col() + 1, reason };
        builder.event(event).map_err(at)?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

/// A list or a map that is not finished.
struct Open {
    node: Value,
    /// The key whose value comes next.
    key: Option<String>,
    anchor: usize,
    /// Nodes that were there before it began.
    before: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// What has a name, and how many nodes it has.
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
    root: Option<Value>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let node = if is_plain { plain(&text) } else { Value::String(text.into_owned()) };
                self.pay(1)?;
                self.finish(node, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.start(Value::Array(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.start(Value::Object(Map::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let size = self.nodes - open.before;
                self.finish(open.node, open.anchor, size)
            }
            Event::Alias(anchor) => {
                let (_, size) = self.anchors.get(&anchor).ok_or("an alias of what is not finished")?;
                let size = *size;
                // Paid before it is copied.
                self.pay(size)?;
                let node = self.anchors.get(&anchor).map(|(node, _)| node.clone()).unwrap_or_default();
                self.finish(node, 0, size)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, node: Value, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("at most {MAX_DEPTH} levels are taken"));
        }
        let before = self.nodes;
        self.pay(1)?;
        self.open.push(Open { node, key: None, anchor, before });
        Ok(())
    }

    fn pay(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(format!("at most {MAX_NODES} nodes are taken, with what aliases repeat"));
        }
        Ok(())
    }

    fn finish(&mut self, node: Value, anchor: usize, size: usize) -> Result<(), String> {
        if anchor != 0 {
            // It is kept beside the tree.
            self.pay(size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node, open.key.take()) {
            (Value::Array(elements), _) => elements.push(node),
            (Value::Object(_), None) => open.key = Some(key(node)?),
            (Value::Object(entries), Some(key)) => {
                if entries.contains_key(&key) {
                    return Err(format!("key {key:?} comes twice"));
                }
                entries.insert(key, node);
            }
            _ => {}
        }
        Ok(())
    }
}

fn key(node: Value) -> Result<String, String> {
    match node {
        Value::String(text) => Ok(text),
        Value::Null => Ok("null".to_owned()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(_) | Value::Object(_) => Err("a key must be a scalar".to_owned()),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|character: char| character.is_ascii_digit()) {
        return Value::String(text.to_owned());
    }
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| i64::from_str_radix(digits.strip_prefix(prefix)?, base).ok());
    let is_octal =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let octal = || is_octal.then(|| i64::from_str_radix(digits, 8).ok()).flatten();
    if let Some(value) = based.or_else(octal) {
        return Value::from(sign * value);
    }
    if let Ok(value) = text.parse::<i64>() {
        return Value::from(value);
    }
    let is_float =
        digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let float = is_float.then(|| text.parse::<f64>().ok()).flatten().and_then(Number::from_f64);
    float.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(text: &str) -> Result<Value, String> {
        parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        let text =
            "a: 0666\nb: 0x1F\nc: -12\nd: 0.6.0\ne: 1.5\nf: true\ng: ~\nh: '7'\ni: 08\nj: &x [1, 2]\nk: *x\n";
        let wanted = json!({
            "a": 0o666, "b": 31, "c": -12, "d": "0.6.0", "e": 1.5, "f": true, "g": null, "h": "7", "i": 8,
            "j": [1, 2], "k": [1, 2],
        });
        assert_eq!(outcome(text).unwrap(), wanted);
        assert_eq!(outcome("{\"a\": [\"\\u0041\", {}]}").unwrap(), json!({"a": ["A", {}]}));
    }

    #[test]
    fn what_is_too_deep_too_large_or_twice_is_refused() {
        assert!(outcome(&"[".repeat(100)).unwrap_err().contains("at most 32 levels"));
        assert!(outcome("a: 1\nb: 2\na: 3\n").unwrap_err().contains("\"a\" comes twice"));
        assert!(outcome("[a]: 1\n").unwrap_err().contains("a key must be a scalar"));
        assert!(outcome("a: *nothing\n").is_err());
        let mut bomb = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let below = format!("*l{}", level - 1);
            bomb.push_str(&format!("l{level}: &l{level} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(outcome(&bomb).unwrap_err().contains("at most 262144 nodes"), "{bomb}");
        assert!(outcome(&format!("[{}]", "1,".repeat(300_000))).unwrap_err().contains("nodes are taken"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-c:\\[\\]{}&*,\\-\\n \"'#|>!0-9.]{0,60}|\\PC{0,40}") {
            drop(parse(&text));
        }
    }
}
