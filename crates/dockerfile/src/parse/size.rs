//! Sizes as Docker writes them: `64m`, `1.5GiB`, `100 kb`; all units are powers of 1024.

/// Bytes. None if the text is no size.
pub(super) fn parse(text: &str) -> Option<u64> {
    let split = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        unit => {
            let (letter, suffix) = (unit.chars().next()?, unit.get(1..)?);
            if !matches!(suffix, "" | "b" | "ib") {
                return None;
            }
            1 + "kmgtp".find(letter)?
        }
    };
    let bytes = number * 1024f64.powi(i32::try_from(power).ok()?);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
    (bytes < i64::MAX as f64).then_some(bytes as u64)
}
