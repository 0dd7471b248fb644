//! `printf`: Go's format verbs, with its flags, widths, precisions and argument numbers, and its words for what does not fit.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use super::show::{float_text, inner, kind, quoted};

/// No width or precision is larger: it is padding that somebody will look at.
const MOST: usize = 1000;

/// One `%…`.
#[derive(Clone, Copy, Default)]
struct Spec {
    left: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// The arguments, and which one is next.
struct Arguments<'a> {
    values: &'a [Value],
    next: usize,
    /// Somebody chose one by its number: then not all of them need be used.
    chosen: bool,
    is_good: bool,
}

/// Fills `format` in.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = Arguments { values, next: 0, chosen: false, is_good: true };
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        arguments.is_good = true;
        let spec = Spec::read(&mut chars, &mut arguments, &mut out);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) if !arguments.is_good => {
                let _ = write!(out, "%!{verb}(BADINDEX)");
            }
            Some(verb) => match arguments.take() {
                Some(value) => out.push_str(&spec.apply(verb, value)),
                None => {
                    let _ = write!(out, "%!{verb}(MISSING)");
                }
            },
        }
    }
    let rest = values.get(arguments.next..).unwrap_or_default();
    if !arguments.chosen && !rest.is_empty() {
        let rest: Vec<String> = rest.iter().map(typed).collect();
        let _ = write!(out, "%!(EXTRA {})", rest.join(", "));
    }
    out
}

/// `int=7`, as complaints name an argument.
fn typed(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { format!("{}={}", kind(value), inner(value)) }
}

impl<'a> Arguments<'a> {
    fn take(&mut self) -> Option<&'a Value> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    /// `[n]`, from 1.
    fn choose(&mut self, chars: &mut Peekable<Chars<'_>>) {
        if chars.next_if_eq(&'[').is_none() {
            return;
        }
        self.chosen = true;
        let number = digits(chars);
        let closed = chars.next_if_eq(&']').is_some();
        match number.filter(|number| closed && (1..=self.values.len()).contains(number)) {
            Some(number) => self.next = number - 1,
            None => {
                self.is_good = false;
                // What stands between the brackets is no verb.
                if !closed {
                    for c in chars.by_ref() {
                        if c == ']' {
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl Spec {
    fn read(chars: &mut Peekable<Chars<'_>>, arguments: &mut Arguments<'_>, out: &mut String) -> Spec {
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        arguments.choose(chars);
        if chars.next_if_eq(&'*').is_some() {
            match arguments.take().and_then(Value::as_i64) {
                Some(width) => {
                    spec.left |= width < 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok().map(|width| width.min(MOST));
                }
                None => out.push_str("%!(BADWIDTH)"),
            }
        } else {
            spec.width = digits(chars);
        }
        if chars.next_if_eq(&'.').is_some() {
            arguments.choose(chars);
            if chars.next_if_eq(&'*').is_some() {
                match arguments.take().and_then(Value::as_i64) {
                    Some(precision) => {
                        spec.precision = usize::try_from(precision).ok().map(|number| number.min(MOST))
                    }
                    None => out.push_str("%!(BADPREC)"),
                }
            } else {
                spec.precision = Some(digits(chars).unwrap_or(0));
            }
        }
        arguments.choose(chars);
        spec
    }

    fn apply(&self, verb: char, value: &Value) -> String {
        match (verb, value) {
            ('T', value) => self.pad(kind(value).to_owned(), false),
            ('v', Value::Null) => self.pad("<nil>".to_owned(), false),
            (_, Value::Null) => format!("%!{verb}(<nil>)"),
            (_, Value::Bool(on)) if matches!(verb, 't' | 'v') => self.pad(on.to_string(), false),
            (_, Value::String(text)) => self.text(verb, text).unwrap_or_else(|| refuse(verb, value)),
            (_, Value::Number(number)) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(integer), ..) => self.integer(verb, integer < 0, integer.unsigned_abs()),
                (None, Some(integer), _) => self.integer(verb, false, integer),
                (None, None, Some(float)) => self.float(verb, float),
                (None, None, None) => None,
            }
            .unwrap_or_else(|| refuse(verb, value)),
            (_, Value::Array(items)) => {
                let items: Vec<String> = items.iter().map(|item| self.apply(verb, item)).collect();
                format!("[{}]", items.join(" "))
            }
            (_, Value::Object(entries)) => {
                let mut entries: Vec<_> = entries.iter().filter(|(key, _)| !key.starts_with('\0')).collect();
                entries.sort_by(|a, b| a.0.cmp(b.0));
                let entry = |(key, item): (&String, &Value)| {
                    format!("{}:{}", self.apply(verb, &Value::from(key.as_str())), self.apply(verb, item))
                };
                format!("map[{}]", entries.into_iter().map(entry).collect::<Vec<_>>().join(" "))
            }
            (_, Value::Bool(_)) => refuse(verb, value),
        }
    }

    fn text(&self, verb: char, text: &str) -> Option<String> {
        let cut: String = match self.precision {
            Some(limit) => text.chars().take(limit).collect(),
            None => text.to_owned(),
        };
        let bytes = |upper: bool| {
            let bytes = text.as_bytes();
            let bytes = &bytes[..self.precision.unwrap_or(bytes.len()).min(bytes.len())];
            let prefix = match (self.sharp, upper) {
                (true, true) => "0X",
                (true, false) => "0x",
                (false, _) => "",
            };
            let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            let words: Vec<String> = bytes.iter().map(digits).collect();
            match self.space {
                true => words.iter().map(|word| format!("{prefix}{word}")).collect::<Vec<_>>().join(" "),
                false if words.is_empty() => String::new(),
                false => format!("{prefix}{}", words.concat()),
            }
        };
        let shown = match verb {
            'v' if self.sharp => quoted(&cut),
            's' | 'v' => cut,
            'q' if self.sharp && !cut.contains(['`', '\n', '\r']) => format!("`{cut}`"),
            'q' => quoted(&cut),
            'x' => bytes(false),
            'X' => bytes(true),
            _ => return None,
        };
        Some(self.pad(shown, self.zero))
    }

    fn integer(&self, verb: char, negative: bool, size: u64) -> Option<String> {
        let (prefix, digits) = match verb {
            'd' | 'v' => ("", size.to_string()),
            'b' => (if self.sharp { "0b" } else { "" }, format!("{size:b}")),
            'o' => (if self.sharp { "0" } else { "" }, format!("{size:o}")),
            'O' => ("0o", format!("{size:o}")),
            'x' => (if self.sharp { "0x" } else { "" }, format!("{size:x}")),
            'X' => (if self.sharp { "0X" } else { "" }, format!("{size:X}")),
            'U' => return Some(self.pad(format!("U+{size:04X}"), false)),
            'c' | 'q' => {
                let letter = u32::try_from(size).ok().filter(|_| !negative).and_then(char::from_u32);
                let letter = letter.unwrap_or('\u{fffd}');
                return Some(self.pad(if verb == 'c' { letter.to_string() } else { rune(letter) }, false));
            }
            _ => return None,
        };
        if self.precision == Some(0) && size == 0 {
            return Some(self.pad(String::new(), false));
        }
        let sign = self.sign(negative);
        // Zeros fill the width, unless it is said how many digits there are to be.
        let wanted = match (self.precision, self.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.left => width.saturating_sub(sign.len() + prefix.len()),
            (None, _) => 0,
        };
        let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
        Some(self.pad(format!("{sign}{prefix}{zeros}{digits}"), false))
    }

    fn float(&self, verb: char, float: f64) -> Option<String> {
        let size = float.abs();
        let digits = match verb {
            'f' | 'F' => format!("{size:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => exponent(&format!("{size:.*e}", self.precision.unwrap_or(6))),
            'g' | 'G' | 'v' => {
                self.precision.map_or_else(|| float_text(size), |precision| general(size, precision))
            }
            _ => return None,
        };
        let digits = if verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
        let sign = self.sign(float.is_sign_negative());
        let zeros = match self.width.filter(|_| self.zero && !self.left) {
            Some(width) => "0".repeat(width.saturating_sub(sign.len() + digits.len())),
            None => String::new(),
        };
        Some(self.pad(format!("{sign}{zeros}{digits}"), false))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn pad(&self, text: String, zeros: bool) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        match (self.left, zeros) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => "0".repeat(missing) + &text,
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

fn refuse(verb: char, value: &Value) -> String {
    format!("%!{verb}({})", typed(value))
}

/// `'x'`.
fn rune(letter: char) -> String {
    let text = quoted(&letter.to_string());
    let within = text.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    match letter {
        '"' => "'\"'".to_owned(),
        '\'' => "'\\''".to_owned(),
        _ => format!("'{within}'"),
    }
}

/// Go's exponent has a sign, and two digits at least.
fn exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%.ng`: so many digits, without zeros at the end; with an exponent where it is small or larger than that.
fn general(size: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = format!("{size:.*e}", precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if size != 0.0 && (power < -4 || usize::try_from(power).is_ok_and(|power| power >= precision)) {
        let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", trim(digits)));
    }
    let decimals = i64::try_from(precision).unwrap_or(0) - 1 - i64::from(power);
    trim(&format!("{size:.*}", usize::try_from(decimals).unwrap_or(0)))
}

fn digits(chars: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let value = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
        number = Some((number.unwrap_or(0) * 10 + value).min(MOST));
    }
    number
}
