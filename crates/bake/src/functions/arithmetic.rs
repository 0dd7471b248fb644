//! Numbers, truths and comparisons.

use super::{Host, Result, elements, flag, number, text, whole};
use crate::number::Number;
use crate::value::Value;

fn result(number: Option<Number>) -> Result<Value> {
    number.map(Value::Number).ok_or_else(|| "the result is no number that can be held".to_owned())
}

pub(super) fn absolute(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.absolute())
}

pub(super) fn add(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.add(number(&it[1])?))
}

pub(super) fn subtract(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.subtract(number(&it[1])?))
}

pub(super) fn multiply(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.multiply(number(&it[1])?))
}

pub(super) fn divide(_: &mut Host, it: &[Value]) -> Result<Value> {
    if number(&it[1])? == Number::ZERO {
        return Err("division by zero".to_owned());
    }
    result(number(&it[0])?.divide(number(&it[1])?))
}

pub(super) fn modulo(_: &mut Host, it: &[Value]) -> Result<Value> {
    if number(&it[1])? == Number::ZERO {
        return Err("division by zero".to_owned());
    }
    result(number(&it[0])?.modulo(number(&it[1])?))
}

pub(super) fn negate(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.negate())
}

pub(super) fn ceil(_: &mut Host, it: &[Value]) -> Result<Value> {
    result(number(&it[0])?.ceil())
}

pub(super) fn floor(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Number(number(&it[0])?.floor()))
}

pub(super) fn int(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Number(number(&it[0])?.truncate()))
}

pub(super) fn signum(_: &mut Host, it: &[Value]) -> Result<Value> {
    let number = number(&it[0])?;
    Ok(Value::Number(Number::from(match number.cmp(&Number::ZERO) {
        std::cmp::Ordering::Less => -1i64,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    })))
}

pub(super) fn max(_: &mut Host, it: &[Value]) -> Result<Value> {
    let numbers = it.iter().map(number).collect::<Result<Vec<_>>>()?;
    result(numbers.into_iter().max())
}

pub(super) fn min(_: &mut Host, it: &[Value]) -> Result<Value> {
    let numbers = it.iter().map(number).collect::<Result<Vec<_>>>()?;
    result(numbers.into_iter().min())
}

pub(super) fn log(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (value, base) = (number(&it[0])?.to_f64(), number(&it[1])?.to_f64());
    result(Number::from_f64(value.ln() / base.ln()))
}

pub(super) fn pow(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (base, exponent) = (number(&it[0])?, number(&it[1])?);
    // Whole powers are exact as far as they fit.
    if let Some(times @ 0..=1024) = exponent.to_i64() {
        let power = (0..times).try_fold(Number::ONE, |power, _| power.multiply(base));
        if let Some(power) = power {
            return Ok(Value::Number(power));
        }
    }
    result(Number::from_f64(base.to_f64().powf(exponent.to_f64())))
}

pub(super) fn parse_int(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, base) = (text(&it[0])?, whole(&it[1])?);
    if !(2..=62).contains(&base) {
        return Err("base must be a whole number between 2 and 62 inclusive".to_owned());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let digit = |byte: u8| {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            // Up to base 36, both cases mean the same.
            b'A'..=b'Z' if base <= 36 => byte - b'A' + 10,
            b'A'..=b'Z' => byte - b'A' + 36,
            _ => return None,
        };
        (i64::from(value) < base).then_some(i128::from(value))
    };
    let invalid = || format!("cannot parse {text:?} as a base {base} integer");
    if digits.is_empty() {
        return Err(invalid());
    }
    let value = digits
        .bytes()
        .try_fold(0i128, |value, byte| value.checked_mul(base.into())?.checked_add(digit(byte)?));
    let value = value.ok_or_else(invalid)?;
    Ok(Value::Number(Number::from(if negative { -value } else { value })))
}

pub(super) fn and(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(flag(&it[0])? && flag(&it[1])?))
}

pub(super) fn or(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(flag(&it[0])? || flag(&it[1])?))
}

pub(super) fn not(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(!flag(&it[0])?))
}

pub(super) fn equal(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(same(&it[0], &it[1])))
}

pub(super) fn not_equal(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(!same(&it[0], &it[1])))
}

/// Equality, for which a list is also like a tuple of the same elements.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(_), Value::Tuple(_)) | (Value::Tuple(_), Value::List(_)) => {
            elements(left).ok() == elements(right).ok()
        }
        _ => left == right,
    }
}

pub(super) fn greater_than(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(number(&it[0])? > number(&it[1])?))
}

pub(super) fn greater_than_or_equal(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(number(&it[0])? >= number(&it[1])?))
}

pub(super) fn less_than(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(number(&it[0])? < number(&it[1])?))
}

pub(super) fn less_than_or_equal(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Bool(number(&it[0])? <= number(&it[1])?))
}
