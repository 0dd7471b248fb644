//! `events`: what has happened, and what happens.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use state::nanoseconds;

pub use state::Event;

use crate::request::Events;
use crate::{Engine, Error, Result};

/// Actions that hold more than a word: a filter names them by how they begin.
const OPEN_ENDED: [&str; 3] = ["exec_create", "exec_start", "health_status"];

impl Engine {
    /// Tells that the stopped containers were removed of which a front end wanted to be rid, and how many bytes that gave.
    pub fn containers_pruned(&self, reclaimed: u64) {
        self.event("container", "prune", "", &[("reclaimed", &reclaimed.to_string())]);
    }

    /// Hands events to `each` as they happen, and before that those since `request.since`; ends at `request.until`, when
    /// `each` says so, or when the reader of `request.reader` is gone.
    pub fn events(&self, request: &Events<'_>, each: &mut dyn FnMut(&Event) -> bool) -> Result<()> {
        let mut reader = self.events.follow(request.since.is_some())?;
        let since = request.since.map_or(i64::MIN, nanoseconds);
        let until = request.until.map_or(i64::MAX, nanoseconds);
        loop {
            reader.acknowledge();
            let now = nanoseconds(state::now());
            let mut goes_on = true;
            reader.read(&mut |event| {
                let is_asked_for =
                    (since..=until).contains(&event.time_nano) && includes(&request.filters, &event);
                if goes_on && is_asked_for {
                    goes_on = each(&event);
                }
            })?;
            // What happened before the end was written before we looked at the clock.
            if !goes_on || now > until {
                return Ok(());
            }
            let left = request.until.map(|_| Duration::from_nanos((until - now).unsigned_abs()));
            let mut watched = vec![PollFd::new(&reader, PollFlags::IN)];
            watched.extend(request.reader.as_ref().map(|stream| PollFd::new(stream, PollFlags::empty())));
            let left = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            match rustix::event::poll(&mut watched, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::System {
                        action: "wait for",
                        path: "events".into(),
                        source: errno.into(),
                    });
                }
            }
            if watched
                .get(1)
                .is_some_and(|stream| stream.revents().intersects(PollFlags::ERR | PollFlags::HUP))
            {
                return Ok(());
            }
        }
    }
}

/// Whether an event passes filters: values of one name are alternatives, but labels must all be there.
fn includes(filters: &[(String, String)], event: &Event) -> bool {
    let attribute = |key: &str| event.actor.attributes.get(key).map_or("", String::as_str);
    let (id, name) = (event.actor.id.as_str(), attribute("name"));
    let any = |filter: &str, matches: &dyn Fn(&str) -> bool| {
        let mut values =
            filters.iter().filter(|(known, _)| known == filter).map(|(_, value)| value.as_str()).peekable();
        values.peek().is_none() || values.any(matches)
    };
    let subject = |filter: &str| {
        any(filter, &|value| event.subject == filter && (id.starts_with(value) || name.starts_with(value)))
    };
    let label = |value: &str| match value.split_once('=') {
        Some((key, value)) => event.actor.attributes.get(key).is_some_and(|found| found == value),
        None => event.actor.attributes.contains_key(value),
    };
    any("type", &|value| event.subject == value)
        && any("scope", &|value| event.scope == value)
        && any("event", &|value| is_action(value, &event.action))
        && any("image", &|value| is_image(value, event))
        && ["container", "volume", "network", "daemon", "plugin"].into_iter().all(subject)
        && filters.iter().filter(|(filter, _)| filter == "label").all(|(_, value)| label(value))
}

fn is_action(value: &str, action: &str) -> bool {
    action == value || (OPEN_ENDED.iter().any(|begin| value.starts_with(begin)) && action.starts_with(value))
}

/// An image is meant by its id or its name, with a tag or without, and so are its containers.
fn is_image(value: &str, event: &Event) -> bool {
    let key = if event.subject == "image" { "name" } else { "image" };
    let name = event.actor.attributes.get(key).map_or("", String::as_str);
    let without_tag = |name: &str| match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before == value,
        _ => false,
    };
    [event.actor.id.as_str(), name].into_iter().any(|name| name == value || without_tag(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_of_docker() {
        let container = Event::new(
            "container",
            "exec_start: sh -c true",
            "4f2c99",
            &[("image", "reg:5000/box:1"), ("name", "web1"), ("tier", "front"), ("empty", "")],
        );
        let image = Event::new("image", "untag", "sha256:77", &[("name", "busybox:latest")]);
        let volume = Event::new("volume", "mount", "data", &[("container", "4f2c99"), ("driver", "local")]);
        for (filters, want) in [
            (&[][..], [true, true, true]),
            (&["type=container"], [true, false, false]),
            (&["type=container", "type=image"], [true, true, false]),
            (&["event=exec_start"], [true, false, false]),
            (&["event=exec_start: sh"], [true, false, false]),
            (&["event=exec_create"], [false, false, false]),
            (&["event=unta"], [false, false, false]),
            (&["event=untag", "event=mount"], [false, true, true]),
            (&["container=web1"], [true, false, false]),
            (&["container=web"], [true, false, false]),
            (&["container=4f2c"], [true, false, false]),
            (&["container=eb1"], [false, false, false]),
            (&["image=reg:5000/box"], [true, false, false]),
            (&["image=reg:5000/box:1"], [true, false, false]),
            (&["image=busybox"], [false, true, false]),
            (&["image=sha256:77"], [false, true, false]),
            (&["image=busy"], [false, false, false]),
            (&["label=tier"], [true, false, false]),
            (&["label=tier=front", "label=empty"], [true, false, false]),
            (&["label=tier=front", "label=none"], [false, false, false]),
            (&["volume=data"], [false, false, true]),
            (&["network=x"], [false, false, false]),
            (&["scope=local"], [true, true, true]),
            (&["scope=swarm"], [false, false, false]),
            (&["type=image", "container=web1"], [false, false, false]),
        ] {
            let pairs: Vec<(String, String)> = filters
                .iter()
                .map(|filter| filter.split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(
                [&container, &image, &volume].map(|event| includes(&pairs, event)),
                want,
                "{filters:?}"
            );
        }
    }
}
