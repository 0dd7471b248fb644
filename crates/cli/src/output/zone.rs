//! The caller's time zone: what `TZ` names, else `/etc/localtime`, else UTC.
//!
//! `TZ` is the name of a file of the zone database, the path of such a file, or a rule (`CET-1CEST,M3.5.0,M10.5.0/3`), each
//! also behind a colon. What names nothing, or something that is no zone, is UTC, as for the Go programs whose
//! output this resembles. A file is read only if it is one, and small: a pipe would keep us waiting.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use jiff::tz::TimeZone;
use oci::Timestamp;
use rustix::fs::{FileType, Mode, OFlags};

/// Where zone databases lie.
const DATABASES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
/// The largest file of the database has 4 kB.
const FILE_LIMIT: u64 = 256 << 10;

/// A time zone.
#[derive(Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub(crate) const UTC: Zone = Zone(TimeZone::UTC);

    /// The caller's.
    #[allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]
    pub(crate) fn local() -> Zone {
        let zone = match std::env::var_os("TZ") {
            None => from_file(Path::new("/etc/localtime")),
            Some(name) => named(&name),
        };
        zone.map_or(Zone::UTC, Zone)
    }

    /// What a value of `TZ` means.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Zone {
        named(OsStr::new(name)).map_or(Zone::UTC, Zone)
    }

    /// How far ahead of UTC the zone is at `time`.
    pub(crate) fn offset_seconds(&self, time: Timestamp) -> i64 {
        let time = jiff::Timestamp::from_second(time.seconds());
        time.map_or(0, |time| i64::from(self.0.to_offset(time).seconds()))
    }

    /// `2006-01-02 15:04:05 -0700 MST`.
    pub(crate) fn date(&self, time: Timestamp) -> String {
        let (local, offset, name) = self.local_time(time);
        format!("{} {}{:02}{:02} {name}", local.replace('T', " "), offset.sign, offset.hours, offset.minutes)
    }

    /// RFC 3339, section 5.6: `2006-01-02T15:04:05-07:00`.
    pub(crate) fn rfc3339(&self, time: Timestamp) -> String {
        let (local, offset, _) = self.local_time(time);
        if (offset.hours, offset.minutes) == (0, 0) {
            return format!("{local}Z");
        }
        format!("{local}{}{:02}:{:02}", offset.sign, offset.hours, offset.minutes)
    }

    /// The same with nine digits of the second.
    pub(crate) fn rfc3339_nano(&self, time: Timestamp) -> String {
        let text = self.rfc3339(time);
        let (whole, zone) = text.split_at(text.len().min(19));
        format!("{whole}.{:09}{zone}", time.nanoseconds())
    }

    /// What the clock on the wall shows to the second, how far it is from UTC, and the name of that.
    fn local_time(&self, time: Timestamp) -> (String, Offset, String) {
        let shown = |seconds| {
            let time = Timestamp::new(seconds, 0)?.to_string();
            Some(time.trim_end_matches('Z').to_owned())
        };
        let moved = || {
            let info = self.0.to_offset_info(jiff::Timestamp::from_second(time.seconds()).ok()?);
            let seconds = info.offset().seconds();
            let name = info.abbreviation().to_string();
            Some((shown(time.seconds() + i64::from(seconds))?, Offset::of(seconds), name))
        };
        let utc = || (shown(time.seconds()).unwrap_or_default(), Offset::of(0), "UTC".to_owned());
        // At the edges of the calendar there is no other.
        moved().unwrap_or_else(utc)
    }
}

/// A distance from UTC, to the minute.
struct Offset {
    sign: char,
    hours: u32,
    minutes: u32,
}

impl Offset {
    fn of(seconds: i32) -> Offset {
        let minutes = seconds.unsigned_abs() / 60;
        Offset { sign: if seconds < 0 { '-' } else { '+' }, hours: minutes / 60, minutes: minutes % 60 }
    }
}

/// The zone that a value of `TZ` means.
fn named(name: &OsStr) -> Option<TimeZone> {
    let name = name.as_bytes();
    let name = name.strip_prefix(b":").unwrap_or(name);
    let path = Path::new(OsStr::from_bytes(name));
    if path.is_absolute() {
        return from_file(path);
    }
    if name.is_empty() || path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return None;
    }
    let found = DATABASES.iter().find_map(|database| from_file(&PathBuf::from(database).join(path)));
    found.or_else(|| TimeZone::posix(std::str::from_utf8(name).ok()?).ok())
}

fn from_file(path: &Path) -> Option<TimeZone> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut data = Vec::new();
    File::from(file).take(FILE_LIMIT).read_to_end(&mut data).ok()?;
    TimeZone::tzif("", &data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &str, time: &str) -> (String, String) {
        let zone = Zone::named(zone);
        let time = time.parse().unwrap();
        (zone.date(time), zone.rfc3339(time))
    }

    #[test]
    fn dates_are_those_of_the_zone() {
        for (zone, time, date, short) in [
            (
                "Europe/Berlin",
                "2024-05-01T10:00:00.9Z",
                "2024-05-01 12:00:00 +0200 CEST",
                "2024-05-01T12:00:00+02:00",
            ),
            (
                ":Europe/Berlin",
                "2024-12-31T23:30:00Z",
                "2025-01-01 00:30:00 +0100 CET",
                "2025-01-01T00:30:00+01:00",
            ),
            (
                "America/St_Johns",
                "2024-01-01T00:00:00Z",
                "2023-12-31 20:30:00 -0330 NST",
                "2023-12-31T20:30:00-03:30",
            ),
            (
                "America/Sao_Paulo",
                "2024-01-01T00:00:00Z",
                "2023-12-31 21:00:00 -0300 -03",
                "2023-12-31T21:00:00-03:00",
            ),
            (
                "/usr/share/zoneinfo/Asia/Tokyo",
                "2090-01-01T00:00:00Z",
                "2090-01-01 09:00:00 +0900 JST",
                "2090-01-01T09:00:00+09:00",
            ),
            (
                "CET-1CEST,M3.5.0,M10.5.0/3",
                "2024-05-01T10:00:00Z",
                "2024-05-01 12:00:00 +0200 CEST",
                "2024-05-01T12:00:00+02:00",
            ),
            ("UTC", "2024-05-01T10:00:00Z", "2024-05-01 10:00:00 +0000 UTC", "2024-05-01T10:00:00Z"),
            ("", "2024-05-01T10:00:00Z", "2024-05-01 10:00:00 +0000 UTC", "2024-05-01T10:00:00Z"),
            (
                "Asia/Tokyo",
                "0000-01-01T00:00:00Z",
                "0000-01-01 09:18:59 +0918 LMT",
                "0000-01-01T09:18:59+09:18",
            ),
            ("Asia/Tokyo", "9999-12-31T23:59:59Z", "9999-12-31 23:59:59 +0000 UTC", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(shown(zone, time), (date.to_owned(), short.to_owned()), "{zone} {time}");
        }
    }

    #[test]
    fn what_is_no_zone_is_utc() {
        let long = "A/".repeat(5000);
        for zone in [
            "Nowhere/Atlantis",
            "../../../etc/passwd",
            "/etc/passwd",
            "/",
            "/dev/zero",
            "/dev/stdin",
            "Europe",
            "Europe/../Europe/Berlin",
            "\u{1b}[31mred",
            "CET-1\u{1b}",
            "+",
            ":",
            "zone.tab",
            &long,
        ] {
            assert_eq!(shown(zone, "2024-05-01T10:00:00Z").0, "2024-05-01 10:00:00 +0000 UTC", "{zone}");
        }
    }
}
