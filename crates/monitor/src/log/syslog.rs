//! A syslog message, byte for byte as Docker's driver writes it.

use oci::Timestamp;

use super::entry::{Entry, Source};
use crate::plan::{SyslogFormat, SyslogPlan};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The message for `entry`, with a line feed at its end.
pub(crate) fn encode(entry: &Entry<'_>, plan: &SyslogPlan, pid: i32) -> Vec<u8> {
    let seconds = entry.time_ns.div_euclid(1_000_000_000);
    let offset = linux::clock::utc_offset(seconds);
    let mut message = header(entry, plan, pid, offset).into_bytes();
    message.extend_from_slice(entry.line());
    message.push(b'\n');
    message
}

fn header(entry: &Entry<'_>, plan: &SyslogPlan, pid: i32, offset: i32) -> String {
    let severity = match entry.source {
        Source::Stdout => 6,
        Source::Stderr => 3,
    };
    let priority = u32::from(plan.facility) << 3 | severity;
    let (tag, host) = (&plan.tag, &plan.hostname);
    match plan.format {
        SyslogFormat::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(entry.time_ns, offset)),
        SyslogFormat::Rfc3164 => {
            format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(entry.time_ns, offset))
        }
        SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
            let time = rfc3339(entry.time_ns, offset, plan.format == SyslogFormat::Rfc5424Micro);
            format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS` of a place `offset` seconds east of Greenwich.
fn local(time_ns: i64, offset: i32) -> String {
    let seconds = time_ns.div_euclid(1_000_000_000) + i64::from(offset);
    let text = Timestamp::new(seconds, 0).unwrap_or(Timestamp::ZERO).to_string();
    text.trim_end_matches('Z').to_owned()
}

/// RFC 3164, section 4.1.2: `Jan  2 15:04:05`.
fn stamp(time_ns: i64, offset: i32) -> String {
    let local = local(time_ns, offset);
    let month = local[5..7].parse::<usize>().unwrap_or(1);
    let day = local[8..10].trim_start_matches('0');
    format!("{} {day:>2} {}", MONTHS[(month - 1) % 12], &local[11..])
}

fn rfc3339(time_ns: i64, offset: i32, with_micros: bool) -> String {
    let micros =
        if with_micros { format!(".{:06}", time_ns.rem_euclid(1_000_000_000) / 1000) } else { String::new() };
    let zone = match offset {
        0 => "Z".to_owned(),
        _ => {
            let sign = if offset < 0 { '-' } else { '+' };
            let minutes = offset.unsigned_abs() / 60;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    format!("{}{micros}{zone}", local(time_ns, offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SyslogServer;

    #[test]
    fn messages_are_dockers_in_every_format_and_zone() {
        let entry = |source, time_ns| Entry { source, text: b"hi\n", part: None, time_ns };
        let out = entry(Source::Stdout, 1_770_001_505_123_456_789);
        for (format, offset, expected) in [
            (SyslogFormat::Unix, 0, "<30>Feb  2 03:05:05 tag[7]: "),
            (SyslogFormat::Rfc3164, 3600, "<30>Feb  2 04:05:05 host tag[7]: "),
            (SyslogFormat::Rfc5424, 0, "<30>1 2026-02-02T03:05:05Z host tag 7 tag - "),
            (SyslogFormat::Rfc5424, -16200, "<30>1 2026-02-01T22:35:05-04:30 host tag 7 tag - "),
            (SyslogFormat::Rfc5424Micro, 7200, "<30>1 2026-02-02T05:05:05.123456+02:00 host tag 7 tag - "),
        ] {
            let (tag, hostname) = ("tag".to_owned(), "host".to_owned());
            let plan = SyslogPlan { server: SyslogServer::Local, facility: 3, format, tag, hostname };
            assert_eq!(header(&out, &plan, 7, offset), expected);
            let err = header(&entry(Source::Stderr, 0), &plan, 7, offset);
            assert!(err.starts_with("<27>"), "{err}");
            assert!(encode(&out, &plan, 7).ends_with(b"hi\n"));
        }
    }
}
