//! Names of signals, as users and images write them.

use crate::{Error, Result};

/// Linux's names by number on the architectures that Skiff runs on; 0 has none.
const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// As C libraries number them: the kernel's first two are theirs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Reads a name with or without `SIG`, in either case, a number from 1 to 64, `RTMIN+n` or `RTMAX-n`.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::InvalidSignal { text: text.chars().take(80).collect() };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=RTMAX).contains(number)).ok_or_else(invalid);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = NAMES.iter().skip(1).position(|known| *known == name) {
        return i32::try_from(number + 1).map_err(|_| invalid());
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(*number);
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let realtime = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').map(|offset| RTMIN + offset)
    } else {
        name.strip_prefix("RTMAX").and_then(|rest| offset(rest, '-')).map(|offset| RTMAX - offset)
    };
    realtime.filter(|number| (RTMIN..=RTMAX).contains(number)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_offsets_are_read() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("hup", 1),
            ("SYS", 31),
            ("9", 9),
            ("64", 64),
            ("IOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for wrong in
            ["", "0", "65", "BOGUS", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX-31", "-9", "9 ", "99999999999"]
        {
            assert_eq!(parse(wrong).unwrap_err().to_string(), format!("Invalid signal: {wrong}"));
        }
    }
}
