//! `semvercmp`: whether a version is within a constraint, such as `>= 1.2, < 2`, `^1.2`, `~1.2.3`, `1.x` or `1 - 2`.

use std::cmp::Ordering;

use super::{Host, Result, text};
use crate::value::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: String,
}

/// A version of which parts may be left open, by their number.
struct Bound {
    version: Version,
    given: usize,
}

fn bound(text: &str) -> Option<Bound> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(text, _)| text);
    let (core, pre) = text.split_once('-').unwrap_or((text, ""));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !pre.bytes().all(allowed) || (pre.is_empty() && text.contains('-')) {
        return None;
    }
    let mut numbers = [0; 3];
    let mut given = 0;
    for (at, part) in core.split('.').enumerate() {
        if matches!(part, "x" | "X" | "*") {
            break;
        }
        *numbers.get_mut(at)? =
            part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        given = at + 1;
    }
    Some(Bound { version: Version { numbers, pre: pre.to_owned() }, given })
}

impl Version {
    fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => order_of_pre(&self.pre, &other.pre),
        })
    }
}

/// Part by part: numbers before words, and fewer parts before more.
fn order_of_pre(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match (left.parse::<u64>(), right.parse::<u64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => left.cmp(right),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Before which version everything lies that shares the first `kept` numbers; `None` where nothing is shared.
fn above(version: &Version, kept: usize) -> Option<Version> {
    let mut numbers = [0; 3];
    numbers[..kept].copy_from_slice(&version.numbers[..kept]);
    let last = numbers.get_mut(kept.checked_sub(1)?)?;
    *last = last.checked_add(1)?;
    Some(Version { numbers, pre: String::new() })
}

fn within(version: &Version, low: &Version, high: Option<&Version>) -> bool {
    version.order(low).is_ge() && high.is_none_or(|high| version.order(high).is_lt())
}

/// Whether a version fits one comparison.
fn fits(version: &Version, operator: &str, bound: &Bound) -> bool {
    // A version before a release is meant only by who names one.
    if !version.pre.is_empty() && bound.version.pre.is_empty() {
        return false;
    }
    let low = &bound.version;
    let open = bound.given < 3;
    let same = |kept: usize| within(version, low, above(low, kept).as_ref());
    match operator {
        "" | "=" | "==" if open => same(bound.given),
        "" | "=" | "==" => version.order(low).is_eq(),
        "!=" if open => !same(bound.given),
        "!=" => version.order(low).is_ne(),
        ">" if open => above(low, bound.given).is_some_and(|above| version.order(&above).is_ge()),
        ">" => version.order(low).is_gt(),
        ">=" | "=>" => version.order(low).is_ge(),
        "<" => version.order(low).is_lt(),
        "<=" | "=<" if open => above(low, bound.given).is_none_or(|above| version.order(&above).is_lt()),
        "<=" | "=<" => version.order(low).is_le(),
        "~" | "~>" => same(bound.given.min(2)),
        _ => {
            // `^`: up to the first number that is not zero.
            let first = low.numbers.iter().take(bound.given.max(1)).position(|number| *number != 0);
            same(first.map_or(bound.given, |first| first + 1))
        }
    }
}

/// Whether a version fits all of several comparisons.
fn fits_all(version: &Version, text: &str) -> Result<bool> {
    let invalid = || format!("improper constraint: {text}");
    let mut all = true;
    let text_with_ranges = ranges(text).ok_or_else(invalid)?;
    let mut rest = text_with_ranges.trim_start_matches([' ', ',']);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let end = rest.find(|c| !matches!(c, '=' | '!' | '<' | '>' | '~' | '^')).ok_or_else(invalid)?;
        let operator = &rest[..end];
        if !matches!(
            operator,
            "" | "=" | "==" | "!=" | ">" | "<" | ">=" | "=>" | "<=" | "=<" | "~" | "~>" | "^"
        ) {
            return Err(invalid());
        }
        rest = rest[end..].trim_start();
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        all &= fits(version, operator, &bound(&rest[..end]).ok_or_else(invalid)?);
        rest = rest[end..].trim_start_matches([' ', ',']);
    }
    Ok(all)
}

/// `1 - 2` as `>=1 <=2`.
fn ranges(text: &str) -> Option<String> {
    let mut words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    while let Some(at) = words.iter().position(|word| word == "-") {
        if at == 0 || at + 1 >= words.len() {
            return None;
        }
        words[at - 1].insert_str(0, ">=");
        words[at + 1].insert_str(0, "<=");
        words.remove(at);
    }
    Some(words.join(" "))
}

pub(super) fn semvercmp(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (version, constraint) = (text(&it[0])?, text(&it[1])?);
    let version = bound(&version)
        .filter(|bound| bound.given > 0)
        .ok_or_else(|| format!("invalid semantic version {version:?}"))?;
    let mut any = false;
    for part in constraint.split("||") {
        any |= fits_all(&version.version, part)?;
    }
    Ok(Value::Bool(any))
}
