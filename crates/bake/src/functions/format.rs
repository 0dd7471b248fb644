//! `format` and `formatlist`: text with verbs, as C and Go have them.

use super::{Host, Result, check_count, check_length, flag, number, text};
use crate::number::Number;
use crate::value::{Type, Value, convert};

/// How wide a field may be.
const MAX_WIDTH: usize = 4096;

pub(super) fn format(_: &mut Host, it: &[Value]) -> Result<Value> {
    formatted(&text(&it[0])?, &it[1..]).map(Value::String)
}

/// The same for each element of lists of one length; what is no list is the same each time.
pub(super) fn format_list(_: &mut Host, it: &[Value]) -> Result<Value> {
    let form = text(&it[0])?;
    let lengths: Vec<usize> = it[1..].iter().filter_map(Value::elements).map(<[Value]>::len).collect();
    let count = lengths.first().copied().unwrap_or(1);
    if lengths.iter().any(|length| *length != count) {
        return Err("the lists have different lengths".to_owned());
    }
    check_count(Some(count))?;
    let mut all = Vec::with_capacity(count);
    let mut length = 0usize;
    for at in 0..count {
        let row: Vec<Value> =
            it[1..].iter().map(|value| value.elements().map_or(value, |list| &list[at]).clone()).collect();
        let text = formatted(&form, &row)?;
        length = length.saturating_add(text.len());
        check_length(Some(length))?;
        all.push(text);
    }
    Ok(Value::texts(all))
}

/// How a verb is to be shown.
#[derive(Default)]
struct Verb {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn formatted(form: &str, arguments: &[Value]) -> Result<String> {
    let mut result = String::new();
    let mut rest = form;
    let mut next = 0;
    let mut used = 0;
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            result.push('%');
            rest = after;
            continue;
        }
        let (verb, after) = verb(rest, &mut next)?;
        let mut characters = after.chars();
        let mode = characters.next().ok_or("unterminated format string")?;
        rest = characters.as_str();
        let argument = arguments.get(next).ok_or_else(|| {
            format!("not enough arguments for %{mode}: need {}, but have {}", next + 1, arguments.len())
        })?;
        next += 1;
        used = used.max(next);
        result.push_str(&padded(&shown(mode, argument, &verb)?, &verb, mode));
        check_length(Some(result.len()))?;
    }
    if used < arguments.len() {
        return Err(format!("too many arguments; only {used} used by format string"));
    }
    result.push_str(rest);
    check_length(Some(result.len()))?;
    Ok(result)
}

/// Flags, width, precision and `[n]`; and what follows.
fn verb<'t>(mut rest: &'t str, next: &mut usize) -> Result<(Verb, &'t str)> {
    let mut verb = Verb::default();
    while let Some(flag) = rest.chars().next() {
        match flag {
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            '#' => verb.sharp = true,
            ' ' => verb.space = true,
            '0' => verb.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (index, after) = digits(after)?;
        *next = index.and_then(|index| index.checked_sub(1)).ok_or("arguments are numbered from 1")?;
        rest = after.strip_prefix(']').ok_or("unterminated argument index")?;
    }
    let (width, after) = digits(rest)?;
    (verb.width, rest) = (width, after);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after)?;
        (verb.precision, rest) = (Some(precision.unwrap_or(0)), after);
    }
    Ok((verb, rest))
}

fn digits(text: &str) -> Result<(Option<usize>, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    match text[..end].parse() {
        Ok(number) if number <= MAX_WIDTH => Ok((Some(number), &text[end..])),
        _ => Err(format!("at most {MAX_WIDTH} is taken, not {}", &text[..end])),
    }
}

fn shown(mode: char, value: &Value, verb: &Verb) -> Result<String> {
    match mode {
        'v' if verb.sharp => Ok(value.to_json().to_string()),
        'v' => Ok(match value {
            Value::Null => "null".to_owned(),
            _ => match convert(value, &Type::String) {
                Ok(Value::String(text)) => text,
                _ => value.to_json().to_string(),
            },
        }),
        't' => flag(value).map(|flag| flag.to_string()),
        's' | 'q' => {
            let mut text = text(value)?;
            if let Some(precision) = verb.precision {
                text = text.chars().take(precision).collect();
            }
            Ok(if mode == 'q' { serde_json::Value::from(text).to_string() } else { text })
        }
        'd' | 'b' | 'o' | 'x' | 'X' => {
            let number = number(value)?;
            let whole = number.to_i128();
            let whole = whole.ok_or_else(|| format!("%{mode} takes an integer"))?;
            let digits = whole.unsigned_abs();
            let digits = match mode {
                'b' => format!("{digits:b}"),
                'o' if verb.sharp => format!("0{digits:o}"),
                'o' => format!("{digits:o}"),
                'x' if verb.sharp => format!("0x{digits:x}"),
                'x' => format!("{digits:x}"),
                'X' if verb.sharp => format!("0X{digits:X}"),
                'X' => format!("{digits:X}"),
                _ => digits.to_string(),
            };
            Ok(format!("{}{digits}", sign(whole < 0, verb)))
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' => float(mode, number(value)?, verb),
        _ => Err(format!("unrecognized format character {mode:?}")),
    }
}

fn sign(negative: bool, verb: &Verb) -> &'static str {
    match (negative, verb.plus, verb.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn float(mode: char, number: Number, verb: &Verb) -> Result<String> {
    let value = number.to_f64();
    let magnitude = value.abs();
    let exponential = |text: String| {
        // Two digits at least, and a sign: 1e5 is 1e+05.
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        format!("{mantissa}e{sign}{digits:0>2}")
    };
    let text = match mode {
        'f' | 'F' => format!("{magnitude:.*}", verb.precision.unwrap_or(6)),
        'e' | 'E' => exponential(format!("{magnitude:.*e}", verb.precision.unwrap_or(6))),
        _ => {
            let digits = verb.precision.map(|precision| precision.max(1));
            let scientific = digits
                .map_or_else(|| format!("{magnitude:e}"), |digits| format!("{magnitude:.*e}", digits - 1));
            let exponent: i32 =
                scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
            let limit = digits.and_then(|digits| i32::try_from(digits).ok()).unwrap_or(21);
            if exponent < -4 || exponent >= limit {
                exponential(without_zeros(&scientific))
            } else {
                let after = usize::try_from(limit - 1 - exponent).unwrap_or_default();
                let text = digits.map_or_else(|| format!("{magnitude}"), |_| format!("{magnitude:.after$}"));
                without_zeros(&text)
            }
        }
    };
    let text = if mode.is_ascii_uppercase() { text.to_uppercase() } else { text };
    Ok(format!("{}{text}", sign(value < 0.0, verb)))
}

/// Without the zeros at the end of the fraction.
fn without_zeros(text: &str) -> String {
    let (mantissa, exponent) = text.find('e').map_or((text, ""), |at| text.split_at(at));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}{exponent}")
}

fn padded(text: &str, verb: &Verb, mode: char) -> String {
    let length = text.chars().count();
    let Some(missing) = verb.width.and_then(|width| width.checked_sub(length)) else {
        return text.to_owned();
    };
    if verb.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if verb.zero && !matches!(mode, 's' | 'q' | 'v' | 't') {
        let signed = text.starts_with(['+', '-', ' ']);
        let (sign, digits) = text.split_at(usize::from(signed));
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    let pad = if verb.zero { "0" } else { " " };
    format!("{}{text}", pad.repeat(missing))
}
