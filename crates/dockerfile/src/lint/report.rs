//! What the checks say, as text, as JSON and as SARIF 2.1.0.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use oci::Digest;
use serde_json::{Value, json};

use super::{RULES, Warning};
use crate::source::{self, Diagnostic, Source, plain};

/// The checks' result.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    source: Source,
    /// What was found, in the file's order.
    pub warnings: Vec<Warning>,
    /// Why the file cannot be built, if it cannot.
    pub build_error: Option<Diagnostic>,
    /// Whether what was found is to fail the build (`error=true`).
    pub is_error: bool,
}

impl Report {
    pub(super) fn new(source: &Source, warnings: Vec<Warning>, is_error: bool) -> Self {
        Self { source: source.clone(), warnings, build_error: None, is_error }
    }

    /// With the error that ended the checks.
    #[must_use]
    pub fn with_error(self, error: Diagnostic) -> Self {
        Self { build_error: Some(error), ..self }
    }

    /// What `docker build --check` ends with: 1 if there is anything to say.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.warnings.is_empty() || self.build_error.is_some())
    }

    /// The words for `error=true`, if it fails the build.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        let mut names: Vec<&str> = self.warnings.iter().map(|warning| warning.rule.name).collect();
        names.sort_unstable();
        names.dedup();
        self.is_error.then(|| format!("lint violation found for rules: {}", names.join(", ")))
    }

    /// For people, as `docker build --check` prints it to standard output: in the file's order, each with the lines it
    /// is about. Of a file that cannot be built, what the checks found all the same; may be empty.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = match (self.warnings.len(), &self.build_error) {
            (0, None) => return "Check complete, no warnings found.\n".to_owned(),
            (0, Some(_)) => return String::new(),
            (1, _) => "Check complete, 1 warning has been found!\n".to_owned(),
            (count, _) => format!("Check complete, {count} warnings have been found!\n"),
        };
        for Warning { rule, message, span } in &self.warnings {
            let _ = write!(out, "\nWARNING: {} - {}\n{}\n", rule.name, rule.url, plain(message));
            out.push_str(&self.source.excerpt(*span));
        }
        out
    }

    /// For programs: the members that BuildKit's `format=json` has.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ranges = |span| source::ranges(&self.source, span);
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|warning| {
                json!({
                    "ruleName": warning.rule.name,
                    "description": warning.rule.description,
                    "url": warning.rule.url,
                    "detail": warning.message,
                    "location": { "ranges": ranges(warning.span) },
                })
            })
            .collect();
        let data = base64(self.source.shown().as_bytes());
        let sources = json!([{
            "filename": self.source.name(),
            "language": "Dockerfile",
            "definition": definition(),
            "data": data,
        }]);
        let mut report = json!({ "warnings": warnings, "sources": sources });
        if let Some(error) = &self.build_error {
            let location = error.span().map_or_else(|| json!({}), |span| json!({ "ranges": ranges(span) }));
            report["buildError"] = json!({ "message": error.message, "location": location });
        }
        report
    }
}

/// How BuildKit says where a Dockerfile came from: a graph of one operation, "the local source `dockerfile`", in its own protocol
/// buffers (`solver/pb/ops.proto`), and a last one that names it as the result.
fn definition() -> Value {
    // A field of bytes: number and kind, length, content. All of them are short.
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap_or(u8::MAX)], content].concat()
    };
    const INPUT: u8 = 1;
    const SOURCE: u8 = 3;
    let source = field(SOURCE, &field(1, b"local://dockerfile"));
    let digest = Digest::of(&source);
    let result = field(INPUT, &field(1, digest.as_str().as_bytes()));
    json!({
        "def": [base64(&source), base64(&result)],
        "metadata": {
            digest.as_str(): { "caps": { "source.local": true } },
            Digest::of(&result).as_str(): { "caps": { "constraints": true } },
        },
        "Source": {},
    })
}

/// Bytes in the alphabet of RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = group >> (18 - 6 * digit) & 63;
            let letter = if digit as usize <= chunk.len() { ALPHABET[index as usize] } else { b'=' };
            out.push(char::from(letter));
        }
    }
    out
}

/// Several reports as one document for code scanning: SARIF 2.1.0, columns in characters.
#[must_use]
pub fn sarif(reports: &[&Report], version: &str) -> Value {
    let index: BTreeMap<&str, usize> = RULES.iter().enumerate().map(|(at, rule)| (rule.name, at)).collect();
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({ "id": rule.name, "shortDescription": { "text": rule.description }, "helpUri": rule.url })
        })
        .collect();
    let region = |source: &Source, span: source::Span| {
        let (start, end) = (source.position(span.start), source.position(span.end));
        json!({
            "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column,
        })
    };
    let place = |source: &Source, span: Option<source::Span>| {
        let mut physical = json!({ "artifactLocation": { "uri": source.name() } });
        if let Some(span) = span {
            physical["region"] = region(source, span);
        }
        json!([{ "physicalLocation": physical }])
    };
    let mut results = Vec::new();
    for report in reports {
        for warning in &report.warnings {
            results.push(json!({
                "ruleId": warning.rule.name,
                "ruleIndex": index.get(warning.rule.name),
                "level": if report.is_error { "error" } else { "warning" },
                "message": { "text": warning.message },
                "locations": place(&report.source, Some(warning.span)),
            }));
        }
        if let Some(error) = &report.build_error {
            results.push(json!({
                "level": "error",
                "message": { "text": error.message },
                "locations": place(&report.source, error.span()),
            }));
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "skiff", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}
