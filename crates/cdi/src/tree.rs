//! YAML to JSON values, whose fields are the specification's.
//!
//! A key that comes twice is an error. Plain scalars are what they look like; what takes text takes them all (`document::Text`).

use serde_json::{Number, Value};
use yaml::{Rules, Scalar, Yaml, scalar};

use crate::Error;

const RULES: Rules = Rules { depth: 32, nodes: 256 << 10, doubles: false, merges: false };

/// Reads the first document of a text.
pub(crate) fn parse(text: &str) -> Result<Value, Error> {
    let syntax = |error: yaml::YamlError| Error::Syntax {
        line: error.line,
        column: error.column,
        reason: error.reason,
    };
    yaml::parse(text, RULES).map(value).map_err(syntax)
}

/// No deeper than the rules allow.
fn value(node: Yaml) -> Value {
    match node {
        Yaml::Null | Yaml::Reset => Value::Null,
        Yaml::Scalar { text, plain: true } => match scalar(&text) {
            Scalar::Null => Value::Null,
            Scalar::Truth(truth) => truth.into(),
            Scalar::Integer(value) => value.into(),
            Scalar::Float(value) => Number::from_f64(value).map_or(Value::String(text), Value::Number),
            Scalar::Text => Value::String(text),
        },
        Yaml::Scalar { text, plain: false } => Value::String(text),
        Yaml::List(elements) => elements.into_iter().map(value).collect(),
        Yaml::Map(entries) => entries.into_iter().map(|(key, node)| (key, value(node))).collect(),
        Yaml::Override(inner) => value(*inner),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trees_become_values_and_faults_keep_their_place() {
        let text = "a: 0666\nb: 0x1F\nc: -12\nd: 0.6.0\ne: 1.5\nf: true\ng: ~\nh: '7'\nj: &x [1, 2]\nk: *x\n";
        let wanted = json!({
            "a": 0o666, "b": 31, "c": -12, "d": "0.6.0", "e": 1.5, "f": true, "g": null, "h": "7",
            "j": [1, 2], "k": [1, 2],
        });
        assert_eq!(parse(text).unwrap(), wanted);
        let told = parse("a: 1\nb: 2\na: 3\n").unwrap_err().to_string();
        assert!(told.contains("line 3") && told.contains("\"a\" comes twice"), "{told}");
        assert!(parse(&"[".repeat(100)).unwrap_err().to_string().contains("at most 32 levels"));
    }
}
