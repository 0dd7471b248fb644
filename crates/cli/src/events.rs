//! `events`.

use engine::events::Event;
use engine::request::Events;
use oci::Timestamp;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::inspect::One;
use crate::output::{self, zone::Zone};
use crate::values::{filter::Filters, time};

const FILTERS: &[&str] =
    &["container", "daemon", "event", "image", "label", "network", "plugin", "scope", "type", "volume"];

/// `skiff events`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = One::parse(parsed.text("format"))?;
    let filters = Filters::new(parsed, FILTERS)?;
    let (now, zone) = (Timestamp::from(std::time::SystemTime::now()), Zone::local());
    let point = |flag| {
        let text = parsed.text(flag).filter(|text| !text.is_empty());
        let fail = |value: &str| Error::PointInTime { flag, value: value.to_owned() };
        text.map(|text| time::point(text, now, &zone).map_err(|_| fail(text))).transpose()
    };
    let request = Events {
        since: point("since")?,
        until: point("until")?,
        filters: filters.into_pairs(),
        reader: Some(rustix::stdio::stdout()),
    };
    let mut failed = None;
    context.engine()?.events(&request, &mut |event| {
        let shown = show(event, &format, &zone)
            .and_then(|line| output::write(line.as_bytes()).map_err(Error::output));
        failed = shown.err();
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error),
        None if output::reader_is_gone() => Err(Error::ReaderGone),
        None => Ok(0),
    }
}

fn show(event: &Event, format: &One, zone: &Zone) -> Result<String> {
    let document = || serde_json::to_value(event).unwrap_or_default();
    Ok(match format {
        One::Pretty => line(event, zone),
        One::Json => format!("{}\n", document()),
        One::Template(template) => template.execute(&document()).map_err(Error::Template)? + "\n",
    })
}

/// `<time> <type> <action> <id> (key=value, …)`.
fn line(event: &Event, zone: &Zone) -> String {
    let time = zone.rfc3339_nano(state::timestamp(event.time_nano));
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tail = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{time} {} {} {}{tail}\n", event.subject, event.action, event.actor.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_dockers() {
        let mut event = Event::new(
            "container",
            "die",
            "4f2c",
            &[("name", "web"), ("exitCode", "3"), ("image", "busybox")],
        );
        event.time_nano = 1_795_262_400_000_000_001;
        assert_eq!(
            line(&event, &Zone::UTC),
            "2026-11-21T12:00:00.000000001Z container die 4f2c (exitCode=3, image=busybox, name=web)\n"
        );
        let bare =
            Event { actor: state::Actor { id: "x".to_owned(), attributes: Default::default() }, ..event };
        assert_eq!(
            line(&bare, &Zone::named("CET-1")),
            "2026-11-21T13:00:00.000000001+01:00 container die x\n"
        );
    }
}
