//! How values look when they are printed: Go's `%v`, `%q` and number formats.

use std::fmt::Write as _;

use serde_json::Value;

/// `%v`, as an action prints it.
pub(super) fn plain(value: &Value) -> String {
    if value.is_null() { "<no value>".to_owned() } else { inner(value) }
}

fn inner(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => float_text(float),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inner).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", inner(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Go's shortest form: with an exponent below 1e-4 and from 1e6 on.
fn float_text(float: f64) -> String {
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    float.to_string()
}

/// `%q`: a Go string literal.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `printf`, with the verbs that make sense here.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            spec.left |= flag == '-';
            spec.plus |= flag == '+';
            spec.zero |= flag == '0';
        }
        spec.width = digits(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(digits(&mut chars));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                Some(value) => out.push_str(&spec.apply(verb, value)),
                None => {
                    let _ = write!(out, "%!{verb}(MISSING)");
                }
            },
        }
    }
    let rest: Vec<String> = arguments.map(|value| format!("{}={}", kind(value), inner(value))).collect();
    if !rest.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", rest.join(", "));
    }
    out
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> usize {
    let mut number = 0_usize;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        // A width is padding that somebody will look at.
        number = (number * 10 + digit as usize - '0' as usize).min(1000);
    }
    number
}

/// Go's name of a value's type.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn apply(&self, verb: char, value: &Value) -> String {
        let integer = value.as_i64();
        let float = value.as_f64();
        let text = match (verb, value) {
            ('v', value) => inner(value),
            ('s', Value::String(text)) => match self.precision {
                Some(limit) => text.chars().take(limit).collect(),
                None => text.clone(),
            },
            ('s', Value::Array(_) | Value::Object(_)) => inner(value),
            ('q', Value::String(text)) => quoted(text),
            ('d', _) if integer.is_some() => self.signed(integer.unwrap_or_default()),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('x', _) if integer.is_some() => format!("{:x}", integer.unwrap_or_default()),
            ('t', Value::Bool(on)) => on.to_string(),
            ('f', Value::Number(number)) if number.is_f64() => {
                format!("{:.*}", self.precision.unwrap_or(6), float.unwrap_or_default())
            }
            ('T', value) => kind(value).to_owned(),
            (verb, value) => format!("%!{verb}({}={})", kind(value), inner(value)),
        };
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            text + &" ".repeat(missing)
        } else if self.zero && matches!(verb, 'd' | 'x' | 'f') {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            " ".repeat(missing) + &text
        }
    }

    fn signed(&self, integer: i64) -> String {
        if self.plus { format!("{integer:+}") } else { integer.to_string() }
    }
}
