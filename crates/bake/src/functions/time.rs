//! Times, as RFC 3339 writes them.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{SignedDuration, Timestamp};

use super::{Host, Result, number, text};
use crate::number::Number;
use crate::value::Value;

/// A local time and how many seconds it is ahead of UTC.
struct Moment {
    local: DateTime,
    offset: i32,
}

impl Moment {
    fn parse(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| format!("not a valid RFC3339 timestamp: {text:?}"))
    }

    fn read(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i16>().ok())?
        };
        let small = |from, to| i8::try_from(number(from, to)?).ok();
        let at = |at: usize| text.as_bytes().get(at).copied();
        let separated =
            at(4) == Some(b'-') && at(7) == Some(b'-') && at(13) == Some(b':') && at(16) == Some(b':');
        if !separated || !matches!(at(10), Some(b'T' | b't')) {
            return None;
        }
        let date = Date::new(number(0, 4)?, small(5, 7)?, small(8, 10)?).ok()?;
        let mut rest = text.get(19..)?;
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            nanoseconds = format!("{:0<9}", &fraction[..digits]).get(..9)?.parse().ok()?;
            rest = &fraction[digits..];
        }
        let time = Time::new(small(11, 13)?, small(14, 16)?, small(17, 19)?, nanoseconds).ok()?;
        let offset = match rest {
            "Z" | "z" => 0,
            _ => {
                let sign = match rest.as_bytes().first()? {
                    b'+' => 1,
                    b'-' => -1,
                    _ => return None,
                };
                let (hours, minutes) = rest[1..].split_once(':').filter(|_| rest.len() == 6)?;
                sign * (hours.parse::<u8>().ok().map(i32::from)? * 3600
                    + minutes.parse::<u8>().ok().map(i32::from)? * 60)
            }
        };
        Some(Self { local: date.to_datetime(time), offset })
    }

    /// `+01:00`, and `zero` for UTC.
    fn zone(&self, separator: &str, zero: &str) -> String {
        if self.offset == 0 {
            return zero.to_owned();
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs() / 60;
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }

    fn show(&self) -> String {
        let it = self.local;
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
            it.year(),
            it.month(),
            it.day(),
            it.hour(),
            it.minute(),
            it.second(),
            self.zone(":", "Z")
        )
    }
}

pub(super) fn timestamp(host: &mut Host, _: &[Value]) -> Result<Value> {
    let now = host.now.ok_or("nobody said what time it is")?;
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970".to_owned())?;
    from_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)).map(|moment| Value::String(moment.show()))
}

fn from_seconds(seconds: i64) -> Result<Moment> {
    let timestamp = Timestamp::from_second(seconds).map_err(|_| format!("{seconds} is no time"))?;
    Ok(Moment { local: jiff::tz::Offset::UTC.to_datetime(timestamp), offset: 0 })
}

/// What seconds since 1970 are as a date.
pub(super) fn unix_timestamp_parse(_: &mut Host, it: &[Value]) -> Result<Value> {
    let seconds = number(&it[0])?.to_i64().ok_or("a whole number of seconds is required")?;
    let moment = from_seconds(seconds)?;
    let local = moment.local;
    let iso = local.date().iso_week_date();
    let fields = [
        ("year", i64::from(local.year())),
        ("year_day", local.date().day_of_year().into()),
        ("month", local.month().into()),
        ("day", local.day().into()),
        ("hour", local.hour().into()),
        ("minute", local.minute().into()),
        ("second", local.second().into()),
        ("weekday", local.date().weekday().to_sunday_zero_offset().into()),
        ("iso_year", iso.year().into()),
        ("iso_week", iso.week().into()),
    ];
    let mut object: BTreeMap<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::Number(Number::from(value))))
        .collect();
    object.insert("rfc3339".to_owned(), Value::String(moment.show()));
    object.insert("month_name".to_owned(), Value::text(month(local.month())));
    object.insert("weekday_name".to_owned(), Value::text(weekday(local.date().weekday())));
    Ok(Value::Object(object))
}

/// A time and a duration (`1h30m`) later or earlier.
pub(super) fn add(_: &mut Host, it: &[Value]) -> Result<Value> {
    let moment = Moment::parse(&text(&it[0])?)?;
    let duration = duration(&text(&it[1])?)?;
    let local = moment.local.checked_add(duration).map_err(|_| "the result is no time".to_owned())?;
    Ok(Value::String(Moment { local, ..moment }.show()))
}

fn duration(text: &str) -> Result<SignedDuration> {
    let invalid = || format!("invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let mut sum = Number::ZERO;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let amount = Number::parse(&rest[..digits]).ok_or_else(invalid)?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let nanoseconds: i64 = match &rest[..letters] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(invalid()),
        };
        rest = &rest[letters..];
        sum =
            amount.multiply(Number::from(nanoseconds)).and_then(|part| sum.add(part)).ok_or_else(invalid)?;
    }
    let nanoseconds = sum.truncate().to_i64().ok_or_else(invalid)?;
    Ok(SignedDuration::from_nanos(if negative { -nanoseconds } else { nanoseconds }))
}

/// A time by a form of letters, `'quoted'` for text.
pub(super) fn format_date(_: &mut Host, it: &[Value]) -> Result<Value> {
    formatted(&text(&it[0])?, &Moment::parse(&text(&it[1])?)?)
}

/// The same, for a time or for seconds since 1970.
pub(super) fn format_timestamp(_: &mut Host, it: &[Value]) -> Result<Value> {
    let moment = match &it[1] {
        Value::Number(seconds) => {
            from_seconds(seconds.to_i64().ok_or("a whole number of seconds is required")?)?
        }
        other => Moment::parse(&text(other)?)?,
    };
    formatted(&text(&it[0])?, &moment)
}

fn formatted(form: &str, moment: &Moment) -> Result<Value> {
    let mut result = String::new();
    let mut rest = form;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            rest = quote(quoted, &mut result)?;
            continue;
        }
        let run = rest.find(|c| c != first).unwrap_or(rest.len());
        let token = &rest[..run];
        rest = &rest[run..];
        if first.is_ascii_alphabetic() {
            result.push_str(&part(token, moment)?);
        } else {
            result.push_str(token);
        }
    }
    Ok(Value::String(result))
}

/// Takes quoted text, in which two quotes are one, and gives what follows.
fn quote<'t>(mut rest: &'t str, into: &mut String) -> Result<&'t str> {
    loop {
        let end = rest.find('\'').ok_or("unterminated literal '")?;
        into.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(after) => {
                into.push('\'');
                rest = after;
            }
            None => return Ok(rest),
        }
    }
}

fn part(token: &str, moment: &Moment) -> Result<String> {
    let it = moment.local;
    let hour = match it.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let afternoon = it.hour() >= 12;
    Ok(match token {
        "YY" => format!("{:02}", it.year().rem_euclid(100)),
        "YYYY" => format!("{:04}", it.year()),
        "M" => it.month().to_string(),
        "MM" => format!("{:02}", it.month()),
        "MMM" => month(it.month()).chars().take(3).collect(),
        "MMMM" => month(it.month()).to_owned(),
        "D" => it.day().to_string(),
        "DD" => format!("{:02}", it.day()),
        "EEE" => weekday(it.date().weekday()).chars().take(3).collect(),
        "EEEE" => weekday(it.date().weekday()).to_owned(),
        "h" => it.hour().to_string(),
        "hh" => format!("{:02}", it.hour()),
        "H" => hour.to_string(),
        "HH" => format!("{hour:02}"),
        "AA" => if afternoon { "PM" } else { "AM" }.to_owned(),
        "aa" => if afternoon { "pm" } else { "am" }.to_owned(),
        "m" => it.minute().to_string(),
        "mm" => format!("{:02}", it.minute()),
        "s" => it.second().to_string(),
        "ss" => format!("{:02}", it.second()),
        "Z" => moment.zone(":", "Z"),
        "ZZZ" => moment.zone("", "UTC"),
        "ZZZZ" => moment.zone("", "+0000"),
        "ZZZZZ" => moment.zone(":", "+00:00"),
        _ => return Err(format!("invalid date format verb {token:?}")),
    })
}

fn month(month: i8) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    usize::try_from(month - 1).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or_default()
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}
