//! Sets.

use super::{Host, Result, check_count, elements};
use crate::value::{Value, unify};

/// The elements of all sets, in one type, and how many each has.
fn alike(sets: &[Value]) -> Result<Vec<Vec<Value>>> {
    let mut all = Vec::new();
    for set in sets {
        all.extend(elements(set)?);
    }
    let mut all = unify(all)?.into_iter();
    sets.iter().map(|set| Ok(all.by_ref().take(elements(set)?.len()).collect())).collect()
}

fn has(set: &[Value], element: &Value) -> bool {
    set.binary_search_by(|known| known.order(element)).is_ok()
}

fn sorted(set: &[Value]) -> Vec<Value> {
    match Value::set(set.to_vec()) {
        Value::Set(elements) => elements,
        _ => Vec::new(),
    }
}

pub(super) fn has_element(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(elements(&it[0])?.contains(&it[1])))
}

pub(super) fn union(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::set(alike(it)?.concat()))
}

pub(super) fn intersection(_: &mut Host, it: &[Value]) -> Result<Value> {
    let sets: Vec<Vec<Value>> = alike(it)?.iter().map(|set| sorted(set)).collect();
    let (first, rest) = sets.split_first().ok_or("no sets")?;
    Ok(Value::set(first.iter().filter(|element| rest.iter().all(|set| has(set, element))).cloned().collect()))
}

pub(super) fn subtract(_: &mut Host, it: &[Value]) -> Result<Value> {
    let sets = alike(it)?;
    let without = sorted(&sets[1]);
    Ok(Value::set(sets[0].iter().filter(|element| !has(&without, element)).cloned().collect()))
}

pub(super) fn symmetric_difference(_: &mut Host, it: &[Value]) -> Result<Value> {
    let mut result: Vec<Value> = Vec::new();
    for set in alike(it)? {
        let (left, right) = (sorted(&result), sorted(&set));
        let only_left = left.iter().filter(|element| !has(&right, element));
        result = only_left.chain(right.iter().filter(|element| !has(&left, element))).cloned().collect();
    }
    Ok(Value::set(result))
}

/// All combinations; of lists a list in their order, of sets a set.
pub(super) fn product(_: &mut Host, it: &[Value]) -> Result<Value> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in it {
        let elements = elements(list)?;
        check_count(rows.len().checked_mul(elements.len()).and_then(|rows| rows.checked_mul(it.len())))?;
        rows = rows
            .iter()
            .flat_map(|row| {
                elements.iter().map(move |element| [row.as_slice(), std::slice::from_ref(element)].concat())
            })
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::Tuple).collect();
    let sets = it.iter().all(|list| matches!(list, Value::Set(_)));
    Ok(if sets { Value::set(rows) } else { Value::List(rows) })
}
