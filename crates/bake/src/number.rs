//! Numbers of the expression language: decimal, exact, of bounded size.
//!
//! A number is `mantissa / 10^scale`, with no zero at the end of a fraction. Sums and products are exact or fail; a
//! quotient that does not end is cut after [`DIGITS`] digits. The original counts with 512 bits of binary fraction and
//! prints the shortest decimal that stands for them, so that all that ends within these digits prints alike.

use std::cmp::Ordering;
use std::fmt;

/// How many digits may follow the point.
const DIGITS: u32 = 28;

/// A decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    mantissa: i128,
    scale: u32,
}

impl Number {
    pub(crate) const ZERO: Self = Self { mantissa: 0, scale: 0 };
    pub(crate) const ONE: Self = Self { mantissa: 1, scale: 0 };

    fn new(mut mantissa: i128, mut scale: u32) -> Self {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// Reads `[+-]digits[.digits][e[+-]digits]`; `None` for anything else, and for what is too large to hold.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match rest.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (mut mantissa, mut scale) = (0i128, 0i32);
        for (after_point, digit) in
            whole.bytes().map(|digit| (false, digit)).chain(fraction.bytes().map(|digit| (true, digit)))
        {
            if !digit.is_ascii_digit() {
                return None;
            }
            if after_point && scale >= DIGITS.cast_signed() {
                continue;
            }
            mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
            scale += i32::from(after_point);
        }
        if negative {
            mantissa = -mantissa;
        }
        Self::scaled(mantissa, scale.checked_sub(exponent)?)
    }

    /// `mantissa / 10^scale`, for a scale of any sign; digits beyond [`DIGITS`] are cut.
    fn scaled(mut mantissa: i128, mut scale: i32) -> Option<Self> {
        while scale < 0 && mantissa != 0 {
            mantissa = mantissa.checked_mul(10)?;
            scale += 1;
        }
        while scale > DIGITS.cast_signed() && mantissa != 0 {
            mantissa /= 10;
            scale -= 1;
        }
        let scale = if mantissa == 0 { 0 } else { u32::try_from(scale).ok()? };
        Some(Self::new(mantissa, scale))
    }

    /// The nearest decimal of a binary number, `None` where there is none.
    pub(crate) fn from_f64(value: f64) -> Option<Self> {
        if value.is_finite() { Self::parse(&format!("{value:e}")) } else { None }
    }

    pub(crate) fn to_f64(self) -> f64 {
        // The shortest text is exact enough, and rounds as one division would not.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The value, where it is whole and fits.
    pub(crate) fn to_i64(self) -> Option<i64> {
        if self.scale == 0 { i64::try_from(self.mantissa).ok() } else { None }
    }

    /// The value, where it is whole.
    pub(crate) fn to_i128(self) -> Option<i128> {
        (self.scale == 0).then_some(self.mantissa)
    }

    pub(crate) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Both as mantissas over the same scale.
    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let lift = |number: Self| number.mantissa.checked_mul(10i128.checked_pow(scale - number.scale)?);
        Some((lift(self)?, lift(other)?, scale))
    }

    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self::new(left.checked_add(right)?, scale))
    }

    pub(crate) fn subtract(self, other: Self) -> Option<Self> {
        self.add(other.negate()?)
    }

    pub(crate) fn negate(self) -> Option<Self> {
        Some(Self { mantissa: self.mantissa.checked_neg()?, ..self })
    }

    pub(crate) fn absolute(self) -> Option<Self> {
        if self.is_negative() { self.negate() } else { Some(self) }
    }

    pub(crate) fn multiply(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Self::scaled(mantissa, i32::try_from(self.scale + other.scale).ok()?)
    }

    /// `None` also for a division by nothing.
    pub(crate) fn divide(self, other: Self) -> Option<Self> {
        let (mut left, right, _) = self.aligned(other)?;
        if right == 0 {
            return None;
        }
        let mut quotient = left.checked_div(right)?;
        left = left.checked_rem(right)?;
        let mut scale = 0;
        while left != 0 && scale < DIGITS {
            // Digit by digit, as one learns it at school: no step can lose what a later one needs.
            let Some(lifted) = left.checked_mul(10) else { break };
            let digit = lifted / right;
            let Some(next) = quotient.checked_mul(10).and_then(|quotient| quotient.checked_add(digit)) else {
                break;
            };
            (quotient, left, scale) = (next, lifted % right, scale + 1);
        }
        Some(Self::new(quotient, scale))
    }

    /// What is left of a division that is cut towards zero.
    pub(crate) fn modulo(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        if right == 0 { None } else { Some(Self::new(left.checked_rem(right)?, scale)) }
    }

    pub(crate) fn floor(self) -> Self {
        let unit = 10i128.pow(self.scale);
        Self::new(self.mantissa.div_euclid(unit), 0)
    }

    pub(crate) fn ceil(self) -> Option<Self> {
        self.negate()?.floor().negate()
    }

    /// Cut towards zero.
    pub(crate) fn truncate(self) -> Self {
        Self::new(self.mantissa / 10i128.pow(self.scale), 0)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self { mantissa: value.into(), scale: 0 }
    }
}

impl From<i128> for Number {
    fn from(value: i128) -> Self {
        Self { mantissa: value, scale: 0 }
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self { mantissa: i128::try_from(value).unwrap_or(i128::MAX), scale: 0 }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Some((left, right, _)) => left.cmp(&right),
            // Only numbers of very different size cannot be aligned.
            None => self.to_f64().total_cmp(&other.to_f64()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let scale = self.scale as usize;
        if self.mantissa < 0 {
            out.write_str("-")?;
        }
        if scale == 0 {
            return out.write_str(&digits);
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(out, "{whole}.{fraction}")
    }
}
