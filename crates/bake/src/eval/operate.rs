//! Operators on values, and steps into them.

use crate::expr::Operator;
use crate::number::Number;
use crate::value::{Type, Value, convert};

type Result<T> = std::result::Result<T, String>;

/// The entry `name` of a map or an object.
pub(super) fn attribute(value: Value, name: &str) -> Result<Value> {
    match value {
        Value::Map(mut entries) | Value::Object(mut entries) => entries
            .remove(name)
            .ok_or_else(|| format!("this object does not have an attribute named {name:?}")),
        Value::Null => Err(format!("null has no attribute {name:?}")),
        other => Err(format!("a {} value does not have attributes, such as {name:?}", other.kind())),
    }
}

/// The element at `index`: a number for sequences, a name for maps.
pub(crate) fn index(value: &Value, index: &Value) -> Result<Value> {
    if index.is_null() {
        return Err("an index cannot be null".to_owned());
    }
    match value {
        Value::List(elements) | Value::Tuple(elements) => {
            let Value::Number(number) = convert(index, &Type::Number)? else {
                return Err("an index is a number".to_owned());
            };
            let at = number.to_i64().and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| elements.get(at).cloned())
                .ok_or_else(|| format!("the index {number} is not one of the {} elements", elements.len()))
        }
        Value::Map(entries) | Value::Object(entries) => {
            let Value::String(name) = convert(index, &Type::String)? else {
                return Err("a key is a string".to_owned());
            };
            entries.get(&name).cloned().ok_or_else(|| format!("there is no element of key {name:?}"))
        }
        Value::Set(_) => Err("elements of a set have no index".to_owned()),
        other => Err(format!("a {} value has no elements", other.kind())),
    }
}

pub(super) fn not(value: &Value) -> Result<Value> {
    flag(value).map(|flag| Value::Bool(!flag))
}

pub(super) fn negate(value: &Value) -> Result<Value> {
    number(value)?.negate().map(Value::Number).ok_or_else(too_large)
}

/// What `&&` and `||` are by their left side alone.
pub(super) fn decided(operator: Operator, left: &Value) -> Option<Value> {
    match (operator, flag(left)) {
        (Operator::And, Ok(false)) => Some(Value::Bool(false)),
        (Operator::Or, Ok(true)) => Some(Value::Bool(true)),
        _ => None,
    }
}

pub(super) fn binary(operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    let calculated = |calculate: fn(Number, Number) -> Option<Number>| {
        calculate(number(left)?, number(right)?).map(Value::Number).ok_or_else(too_large)
    };
    let compared =
        |holds: fn(&Number, &Number) -> bool| Ok(Value::Bool(holds(&number(left)?, &number(right)?)));
    match operator {
        Operator::Add => calculated(Number::add),
        Operator::Subtract => calculated(Number::subtract),
        Operator::Multiply => calculated(Number::multiply),
        Operator::Divide | Operator::Modulo if number(right)? == Number::ZERO => {
            Err("division by zero".to_owned())
        }
        Operator::Divide => calculated(Number::divide),
        Operator::Modulo => calculated(Number::modulo),
        Operator::And => Ok(Value::Bool(flag(left)? && flag(right)?)),
        Operator::Or => Ok(Value::Bool(flag(left)? || flag(right)?)),
        Operator::Equal => Ok(Value::Bool(left == right)),
        Operator::NotEqual => Ok(Value::Bool(left != right)),
        Operator::Less => compared(Number::lt),
        Operator::LessOrEqual => compared(Number::le),
        Operator::Greater => compared(Number::gt),
        Operator::GreaterOrEqual => compared(Number::ge),
    }
}

/// `taken` in a type that `other` could have too.
pub(super) fn alike(taken: Value, other: &Value) -> Result<Value> {
    if taken.is_null() || other.is_null() || taken.kind() == other.kind() {
        return Ok(taken);
    }
    let primitive = |value: &Value| matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_));
    let sequences = taken.elements().is_some() && other.elements().is_some();
    let maps = taken.entries().is_some() && other.entries().is_some();
    if sequences || maps {
        return Ok(taken);
    }
    if primitive(&taken)
        && primitive(other)
        && [&taken, other].into_iter().any(|value| matches!(value, Value::String(_)))
    {
        return convert(&taken, &Type::String);
    }
    Err(format!(
        "the true and false result expressions must have consistent types, not {} and {}",
        taken.kind(),
        other.kind()
    ))
}

fn flag(value: &Value) -> Result<bool> {
    match convert(value, &Type::Bool)? {
        Value::Bool(flag) => Ok(flag),
        _ => Err("a bool is required, but have null".to_owned()),
    }
}

fn number(value: &Value) -> Result<Number> {
    match convert(value, &Type::Number)? {
        Value::Number(number) => Ok(number),
        _ => Err("a number is required, but have null".to_owned()),
    }
}

fn too_large() -> String {
    "the number that this comes to is too large".to_owned()
}
