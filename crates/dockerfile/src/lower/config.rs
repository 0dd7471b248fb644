//! What instructions write into an image's config, and their words in its history, as Docker has them.

use std::fmt::Write as _;

use oci::{Healthcheck as Check, ImageConfig};

use crate::syntax::{CommandLine, Healthcheck};

/// Where programs are found if the base does not say.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The arguments of a text: the shell's, and the text.
pub(super) fn with_shell(image: &ImageConfig, text: String) -> Vec<String> {
    let shell: Vec<String> = match (image.config.shell.is_empty(), image.platform.os.as_str()) {
        (false, _) => image.config.shell.clone(),
        (true, "windows") => ["cmd", "/S", "/C"].map(str::to_owned).to_vec(),
        (true, _) => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
    };
    shell.into_iter().chain([text]).collect()
}

/// The arguments of a command line.
pub(super) fn arguments(image: &ImageConfig, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(arguments) => arguments.clone(),
        CommandLine::Shell(text) => with_shell(image, text.value.clone()),
    }
}

/// `["a" "b"]`, as Go shows quoted strings.
pub(super) fn quoted(strings: &[String]) -> String {
    let strings: Vec<String> = strings.iter().map(|string| go_quote(string)).collect();
    format!("[{}]", strings.join(" "))
}

/// `[a b]`, as Go shows strings.
pub(super) fn listed(strings: &[String]) -> String {
    format!("[{}]", strings.join(" "))
}

/// A string as Go quotes it.
fn go_quote(text: &str) -> String {
    quote_characters(text.chars(), '"')
}

/// A number as Go's `%q` shows it: the character of that number.
fn go_character(number: i64) -> String {
    let character = u32::try_from(number).ok().and_then(char::from_u32);
    quote_characters([character.unwrap_or(char::REPLACEMENT_CHARACTER)], '\'')
}

fn quote_characters(characters: impl IntoIterator<Item = char>, quote: char) -> String {
    let mut out = String::from(quote);
    for character in characters {
        match character {
            '\\' => out.push_str("\\\\"),
            character if character == quote => out.extend(['\\', quote]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            control if (control as u32) < 0x80 && control.is_control() => {
                let _ = write!(out, "\\x{:02x}", control as u32);
            }
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            character => out.push(character),
        }
    }
    out.push(quote);
    out
}

/// A health check as configs have it, and as the history shows it.
pub(super) fn healthcheck(check: &Healthcheck) -> (Check, String) {
    let check = match check {
        Healthcheck::None => Check { test: vec!["NONE".to_owned()], ..Check::default() },
        Healthcheck::Command { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandLine::Exec(arguments) => {
                    std::iter::once("CMD".to_owned()).chain(arguments.iter().cloned()).collect()
                }
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
            };
            Check {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    };
    let times = [check.interval, check.timeout, check.start_period, check.start_interval];
    let times = times.map(|time| go_quote(&duration(time))).join(" ");
    let words = format!("HEALTHCHECK &{{{} {times} {}}}", quoted(&check.test), go_character(check.retries));
    (check, words)
}

/// A length of time as Go shows it.
pub(super) fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, name: &str| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = format!("{rest:0width$}", width = unit.ilog10() as usize);
        let digits = digits.trim_end_matches('0');
        let dot = if digits.is_empty() || unit == 1 { "" } else { "." };
        let digits = if unit == 1 { "" } else { digits };
        format!("{whole}{dot}{digits}{name}")
    };
    let shown = match total {
        0 => return "0s".to_owned(),
        1..1_000 => fraction(total, 1, "ns"),
        1_000..1_000_000 => fraction(total, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => fraction(total, 1_000_000, "ms"),
        _ => {
            let seconds = fraction(total % 60_000_000_000, 1_000_000_000, "s");
            let minutes = total / 60_000_000_000;
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{shown}")
}

/// Names of signals, without `SIG`.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Whether a signal exists: a number from 1 to 64, or a name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix: &str, most: u8| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.get(1..).is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= most))
        })
    };
    SIGNALS.contains(&name) || real_time("RTMIN", 15) || real_time("RTMAX", 14)
}
