//! Lists and maps.

use std::collections::BTreeMap;

use super::arithmetic::same;
use super::{Host, Result, check_count, elements, entries, number, text, texts, whole};
use crate::eval;
use crate::number::Number;
use crate::value::{Type, Value, convert, unify};

/// A sequence of the kind that `like` is, or a list.
fn list(elements: Vec<Value>, like: &Value) -> Value {
    if matches!(like, Value::Tuple(_)) { Value::Tuple(elements) } else { Value::List(elements) }
}

pub(super) fn length(_: &mut Host, it: &[Value]) -> Result<Value> {
    let count = match (it[0].elements(), it[0].entries()) {
        (Some(elements), _) => elements.len(),
        (None, Some(entries)) => entries.len(),
        (None, None) => return Err(format!("a collection is required, not a {}", it[0].kind())),
    };
    Ok(Value::Number(Number::from(count)))
}

/// The element at an index that starts anew after the last.
pub(super) fn element(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (list, at) = (elements(&it[0])?, whole(&it[1])?);
    if list.is_empty() {
        return Err("cannot use element function with an empty list".to_owned());
    }
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let at = usize::try_from(at.rem_euclid(length)).unwrap_or_default();
    Ok(list[at].clone())
}

pub(super) fn index(_: &mut Host, it: &[Value]) -> Result<Value> {
    eval::index(&it[0], &it[1])
}

pub(super) fn has_index(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(eval::index(&it[0], &it[1]).is_ok()))
}

pub(super) fn index_of(_: &mut Host, it: &[Value]) -> Result<Value> {
    let list = elements(&it[0])?;
    if list.is_empty() {
        return Err("cannot search an empty list".to_owned());
    }
    let at = list.iter().position(|element| same(element, &it[1])).ok_or("item not found")?;
    Ok(Value::Number(Number::from(at)))
}

pub(super) fn contains(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(elements(&it[0])?.iter().any(|element| same(element, &it[1]))))
}

pub(super) fn lookup(_: &mut Host, it: &[Value]) -> Result<Value> {
    let key = text(&it[1])?;
    match (entries(&it[0])?.get(&key), it.get(2)) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(format!("there is no element of key {key:?}, and no default")),
    }
}

pub(super) fn keys(_: &mut Host, it: &[Value]) -> Result<Value> {
    let keys: Vec<Value> = entries(&it[0])?.keys().map(Value::text).collect();
    Ok(if matches!(it[0], Value::Object(_)) { Value::Tuple(keys) } else { Value::List(keys) })
}

pub(super) fn values(_: &mut Host, it: &[Value]) -> Result<Value> {
    let values: Vec<Value> = entries(&it[0])?.values().cloned().collect();
    Ok(if matches!(it[0], Value::Object(_)) { Value::Tuple(values) } else { Value::List(values) })
}

pub(super) fn merge(_: &mut Host, it: &[Value]) -> Result<Value> {
    let mut merged = BTreeMap::new();
    for map in it.iter().filter(|map| !map.is_null()) {
        merged.extend(entries(map)?.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let maps = it.iter().all(|map| matches!(map, Value::Map(_)));
    Ok(if maps && !it.is_empty() { Value::Map(merged) } else { Value::Object(merged) })
}

pub(super) fn zipmap(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (keys, values) = (texts(&it[0])?, elements(&it[1])?);
    if keys.len() != values.len() {
        return Err(format!(
            "number of keys ({}) does not match number of values ({})",
            keys.len(),
            values.len()
        ));
    }
    let entries = keys.into_iter().zip(values.iter().cloned()).collect();
    Ok(if matches!(it[1], Value::Tuple(_)) { Value::Object(entries) } else { Value::Map(entries) })
}

pub(super) fn concat(_: &mut Host, it: &[Value]) -> Result<Value> {
    let mut all = Vec::new();
    for list in it {
        all.extend(elements(list)?.iter().cloned());
    }
    check_count(Some(all.len()))?;
    let lists = it.iter().all(|list| matches!(list, Value::List(_)));
    Ok(if lists { Value::List(all) } else { Value::Tuple(all) })
}

pub(super) fn flatten(_: &mut Host, it: &[Value]) -> Result<Value> {
    fn gather(value: &Value, into: &mut Vec<Value>) {
        match value.elements() {
            Some(elements) => elements.iter().for_each(|element| gather(element, into)),
            None => into.push(value.clone()),
        }
    }
    let mut flat = Vec::new();
    elements(&it[0])?.iter().for_each(|element| gather(element, &mut flat));
    Ok(Value::Tuple(flat))
}

pub(super) fn distinct(_: &mut Host, it: &[Value]) -> Result<Value> {
    let all = elements(&it[0])?;
    let mut seen = std::collections::BTreeSet::new();
    let kept = all.iter().filter(|value| seen.insert(Ordered(value))).cloned().collect();
    Ok(Value::List(kept))
}

/// Values in the order of sets, so that finding one among many is quick.
struct Ordered<'a>(&'a Value);

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.order(other.0)
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered<'_> {}

pub(super) fn compact(_: &mut Host, it: &[Value]) -> Result<Value> {
    let kept =
        elements(&it[0])?.iter().filter(|value| !value.is_null()).map(text).collect::<Result<Vec<_>>>()?;
    Ok(Value::texts(kept.into_iter().filter(|text| !text.is_empty())))
}

pub(super) fn coalesce(_: &mut Host, it: &[Value]) -> Result<Value> {
    let all = unify(it.iter().collect())?;
    all.into_iter().find(|value| !value.is_null()).ok_or_else(|| "no non-null arguments".to_owned())
}

pub(super) fn coalescelist(_: &mut Host, it: &[Value]) -> Result<Value> {
    for list in it.iter().filter(|list| !list.is_null()) {
        if !elements(list)?.is_empty() {
            return Ok(list.clone());
        }
    }
    Err("no non-null arguments".to_owned())
}

pub(super) fn reverse_list(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(list(elements(&it[0])?.iter().rev().cloned().collect(), &it[0]))
}

pub(super) fn slice(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (all, start, end) = (elements(&it[0])?, whole(&it[1])?, whole(&it[2])?);
    if matches!(it[0], Value::Set(_)) {
        return Err("cannot slice a set, because its elements do not have indices".to_owned());
    }
    let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let part = bounds.filter(|(start, end)| start <= end).and_then(|(start, end)| all.get(start..end));
    let part = part.ok_or_else(|| format!("{start} to {end} are not within the {} elements", all.len()))?;
    Ok(list(part.to_vec(), &it[0]))
}

pub(super) fn sort(_: &mut Host, it: &[Value]) -> Result<Value> {
    let mut all = texts(&it[0])?;
    all.sort();
    Ok(Value::texts(all))
}

pub(super) fn chunklist(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (all, size) = (elements(&it[0])?, whole(&it[1])?);
    let size = usize::try_from(size).map_err(|_| "the size argument must be positive".to_owned())?;
    let size = if size == 0 { all.len().max(1) } else { size };
    Ok(Value::List(all.chunks(size).map(|chunk| Value::List(chunk.to_vec())).collect()))
}

/// Numbers from a start to before an end.
pub(super) fn range(_: &mut Host, it: &[Value]) -> Result<Value> {
    const MOST: usize = 1024;
    let numbers = it.iter().map(number).collect::<Result<Vec<_>>>()?;
    let (start, end) = if numbers.len() == 1 { (Number::ZERO, numbers[0]) } else { (numbers[0], numbers[1]) };
    let down = end < start;
    let step = match numbers.get(2) {
        Some(step) if *step == Number::ZERO => return Err("step must not be zero".to_owned()),
        Some(step) if step.is_negative() != down && start != end => {
            return Err(format!("a step of {step} never comes from {start} to {end}"));
        }
        Some(step) => *step,
        None => Number::from(if down { -1i64 } else { 1 }),
    };
    let mut all = Vec::new();
    let mut next = start;
    while if down { next > end } else { next < end } {
        if all.len() >= MOST {
            return Err(format!(
                "more than {MOST} values were generated; either decrease the difference between start and end or use a smaller step"
            ));
        }
        all.push(Value::Number(next));
        next = next.add(step).ok_or("a number is too large")?;
    }
    convert(&Value::List(all), &Type::List(Box::new(Type::Number)))
}
