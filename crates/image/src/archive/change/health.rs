//! `HEALTHCHECK [--interval=…] [--timeout=…] [--start-period=…] [--start-interval=…] [--retries=…] CMD … |
//! NONE`.

use oci::Healthcheck;

use super::{Reason, words};

/// Parses the arguments; `command` makes the shell form of a command.
pub(super) fn parse(
    text: &str,
    command: impl Fn(&str) -> Result<Vec<String>, Reason>,
) -> Result<Healthcheck, Reason> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').ok_or(format!("--{option} needs a value"))?;
        match name {
            "interval" => check.interval = duration(value)?,
            "timeout" => check.timeout = duration(value)?,
            "start-period" => check.start_period = duration(value)?,
            "start-interval" => check.start_interval = duration(value)?,
            "retries" => {
                let retries =
                    value.parse::<u32>().map_err(|_| format!("--retries={value} is not a count"))?;
                check.retries = i64::from(retries);
            }
            _ => return Err(format!("HEALTHCHECK has no option --{name}")),
        }
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), rest) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("NONE", _) => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        ("CMD", "") => return Err("HEALTHCHECK CMD needs a command".to_owned()),
        ("CMD", text) => match words::json_list(text) {
            Some(list) => ["CMD".to_owned()].into_iter().chain(list).collect(),
            // The container's shell is added when it runs.
            None => vec!["CMD-SHELL".to_owned(), command(text)?.pop().unwrap_or_default()],
        },
        (other, _) => return Err(format!("HEALTHCHECK takes CMD or NONE, not {other:?}")),
    };
    Ok(check)
}

/// A duration as Go writes it (`1h2m3.5s`, `300ms`) in nanoseconds: 0, or at least a millisecond.
fn duration(text: &str) -> Result<i64, Reason> {
    let refuse = || format!("{text:?} is not a duration such as 30s or 1m30s");
    if text == "0" {
        return Ok(0);
    }
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        rest = after;
        let scale: i64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(refuse()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: i64 =
            if whole.is_empty() && !fraction.is_empty() { 0 } else { whole.parse().map_err(|_| refuse())? };
        let mut part = whole.checked_mul(scale).ok_or_else(refuse)?;
        let mut place = scale;
        for digit in fraction.chars() {
            place /= 10;
            part += i64::from(digit.to_digit(10).ok_or_else(refuse)?) * place;
        }
        total = total.checked_add(part).ok_or_else(refuse)?;
    }
    match total {
        0 if text.is_empty() => Err(refuse()),
        1..1_000_000 => Err(format!("{text} is less than a millisecond")),
        total => Ok(total),
    }
}
