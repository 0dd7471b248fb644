//! `ps`.

use std::collections::HashMap;

use engine::info::{ContainerInfo, ContainerState, ContainerSummary, HealthState, Status};
use engine::request::List;
use oci::Timestamp;
use serde_json::{Map, Value};

use super::size;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::zone::Zone;
use crate::output::{self, units};
use crate::values::filter::{Expressions, Filters};
use crate::values::integer;
use template::quoted;

const COLUMNS: Columns = Columns {
    headers: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("HealthStatus", "HEALTH STATUS"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
    raw: &[
        ("container_id", "ID"),
        ("image", "Image"),
        ("command", "Command"),
        ("created_at", "CreatedAt"),
        ("state", "State"),
        ("status", "Status"),
        ("names", "Names"),
        ("labels", "Labels"),
        ("ports", "Ports"),
    ],
};

const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network",
    "publish", "since", "status", "volume",
];

/// `skiff ps`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let filters = Filters::new(parsed, FILTERS)?;
    let last = match parsed.on("latest") {
        true => Some(1),
        false => parsed.value("last", integer::<i64>)?.and_then(|last| usize::try_from(last).ok()),
    };
    let all = parsed.on("all") || last.is_some() || filters.has("status");
    let engine = context.engine()?;
    // `before` and `since` name containers that need not run themselves.
    let relative = filters.has("before") || filters.has("since");
    let listed = engine.list(&List { all: all || relative, last: None })?;
    let selection = Selection::new(context, &filters, &listed)?;
    let mut shown: Vec<&ContainerSummary> =
        listed.iter().filter(|one| (all || one.state.status.is_running()) && selection.takes(one)).collect();
    shown.truncate(last.unwrap_or(usize::MAX));

    if parsed.on("quiet") {
        if parsed.text("format").is_some() {
            output::warn("WARNING: Ignoring custom format, because both --format and --quiet are set.\n");
        }
        let id = |one: &&ContainerSummary| match parsed.on("no-trunc") {
            true => format!("{}\n", one.id.as_str()),
            false => format!("{}\n", one.id.short()),
        };
        output::print(&shown.iter().map(id).collect::<String>());
        return Ok(0);
    }
    let mut default =
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}".to_owned();
    if parsed.on("size") {
        default.push_str("\t{{.Size}}");
    }
    let asked = context.format(parsed, "psFormat");
    let format = Format::parse(asked.as_deref(), &default)?;
    let sizes = parsed.on("size") || (format.uses("Size") && asked.as_deref() != Some("json"));
    let view = View {
        now: Timestamp::from(std::time::SystemTime::now()),
        zone: if format.uses("CreatedAt") { Zone::local() } else { Zone::UTC },
        full: parsed.on("no-trunc"),
    };
    let mut images = None;
    let mut rows = Vec::with_capacity(shown.len());
    for one in shown {
        let mut row = view.row(one);
        if sizes {
            let images = match &mut images {
                Some(images) => images,
                none => none.insert(image_sizes(context)?),
            };
            let written = size::written(engine, &engine.inspect(one.id.as_str())?);
            let image = images.get(&one.image_id).copied().unwrap_or(0);
            let text = format!("{} (virtual {})", units::size(written, 3), units::size(written + image, 3));
            row.insert("Size".to_owned(), Value::String(text));
        }
        rows.push(row);
    }
    output::print(&format.render(&COLUMNS, rows)?);
    Ok(0)
}

fn image_sizes(context: &Context) -> Result<HashMap<String, u64>> {
    Ok(context.engine()?.images()?.into_iter().map(|image| (image.id, image.size)).collect())
}

/// How rows are shown.
struct View {
    now: Timestamp,
    zone: Zone,
    /// Nothing is shortened.
    full: bool,
}

impl View {
    fn row(&self, one: &ContainerSummary) -> Map<String, Value> {
        let cut = |text: &str, limit| if self.full { text.to_owned() } else { units::ellipsis(text, limit) };
        let labels: Vec<String> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> = one.mounts.iter().map(|mount| cut(mount, 15)).collect();
        let image = match one.image.as_str() {
            "" => "<no image>".to_owned(),
            id if id.starts_with("sha256:") && !self.full => units::short_id(id).to_owned(),
            name => name.to_owned(),
        };
        let id = if self.full { one.id.as_str() } else { one.id.short() };
        let mut row = Map::new();
        let mut set = |field: &str, text: String| row.insert(field.to_owned(), Value::String(text));
        set("Command", quoted(&cut(&command(&one.command), 20)));
        set("CreatedAt", self.zone.date(one.created));
        set("HealthStatus", one.state.health.map_or_else(String::new, |health| health.as_str().to_owned()));
        set("ID", id.to_owned());
        set("Image", image);
        set("Labels", labels.join(","));
        set("LocalVolumes", one.volumes.len().to_string());
        set("Mounts", mounts.join(","));
        set("Names", one.name.to_string());
        set("Networks", one.network.clone());
        set("Platform", String::new());
        set("Ports", String::new());
        set("RunningFor", units::ago(one.created, self.now));
        set("Size", "0B".to_owned());
        set("State", one.state.status.as_str().to_owned());
        set("Status", status(&one.state, self.now));
        let labels = one.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        row.insert(template::method("Label"), Value::Object(labels.collect()));
        row
    }
}

/// Program and arguments on one line; one that holds a blank is quoted.
fn command(words: &[String]) -> String {
    let shown: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| if at > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() })
        .collect();
    shown.join(" ")
}

/// Docker's sentence about a state: `Up 3 minutes`, `Exited (0) 2 hours ago`.
pub(crate) fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| units::duration(now.since(time.unwrap_or(now)));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let health = match state.health {
                None => "",
                Some(HealthState::Starting) => " (health: starting)",
                Some(HealthState::Healthy) => " (healthy)",
                Some(HealthState::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Removing => "Removal In Progress".to_owned(),
        // Docker shows one that never ran as created, whatever went wrong.
        Status::Exited if state.finished_at.is_none() => "Created".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Dead => "Dead".to_owned(),
    }
}

/// What a listing does not hold of a container.
#[derive(Default)]
struct Details {
    /// `80/tcp`.
    exposed: Vec<String>,
    /// Where something is mounted.
    targets: Vec<String>,
}

impl Details {
    fn of(found: &ContainerInfo) -> Details {
        Details {
            exposed: found.spec.process.exposed_ports.clone(),
            targets: found.spec.host.mounts.iter().map(|mount| mount.target.clone()).collect(),
        }
    }
}

/// `80`, `8000-8080/udp`: the first and the last port, and the protocol.
fn ports(text: &str) -> Option<(u16, u16, &str)> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && matches!(protocol, "tcp" | "udp" | "sctp")).then_some((first, last, protocol))
}

fn check_ports(name: &'static str, value: &str) -> Result<()> {
    let fail =
        || Error::FilterValue { name, value: value.to_owned(), reason: "want a port, or a range of ports" };
    ports(value).map(drop).ok_or_else(fail)
}

/// Whether a port is one of a filter's.
fn is_within(port: &str, filter: &str) -> bool {
    let (Some((low, high, of)), Some((first, last, protocol))) = (ports(port), ports(filter)) else {
        return false;
    };
    of == protocol && low <= last && high >= first
}

/// The filters of `ps`, with what they name looked up.
struct Selection<'a> {
    filters: &'a Filters,
    /// By id, where a filter asks for what a listing does not hold.
    details: HashMap<String, Details>,
    /// Ids of images, and of all that are meant by `ancestor`.
    ancestors: Vec<String>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    exited: Vec<i32>,
    ids: Expressions,
    names: Expressions,
    /// Services' tasks alone, of which there are none here.
    tasks: Option<bool>,
}

impl<'a> Selection<'a> {
    fn new(context: &Context, filters: &'a Filters, listed: &[ContainerSummary]) -> Result<Selection<'a>> {
        const STATES: [&str; 7] =
            ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
        const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
        if let Some(value) = filters.values("status").find(|value| !STATES.contains(value)) {
            let reason = "created, restarting, running, removing, paused, exited or dead";
            return Err(Error::FilterValue { name: "status", value: value.to_owned(), reason });
        }
        if let Some(value) = filters.values("health").find(|value| !HEALTH.contains(value)) {
            let reason = "none, starting, healthy or unhealthy";
            return Err(Error::FilterValue { name: "health", value: value.to_owned(), reason });
        }
        let exited = |value: &str| {
            let reason = "want an exit code";
            integer(value).map_err(|_| Error::FilterValue { name: "exited", value: value.to_owned(), reason })
        };
        let exited = filters.values("exited").map(exited).collect::<Result<_>>()?;
        let created = |filter: &'a str| -> Result<Option<Timestamp>> {
            let Some(name) = filters.values(filter).last() else { return Ok(None) };
            let named =
                |one: &&ContainerSummary| one.name.as_str() == name || one.id.as_str().starts_with(name);
            match listed.iter().find(named) {
                Some(one) => Ok(Some(one.created)),
                None => Ok(Some(context.engine()?.inspect(name)?.created)),
            }
        };
        let mut ancestors = Vec::new();
        for name in filters.values("ancestor") {
            // An image that is not there has no descendants.
            ancestors.extend(context.engine()?.image_inspect(name, None).map(|image| image.summary.id));
        }
        let mut details = HashMap::new();
        for port in filters
            .values("publish")
            .map(|port| ("publish", port))
            .chain(filters.values("expose").map(|port| ("expose", port)))
        {
            check_ports(port.0, port.1)?;
        }
        if filters.has("expose") || filters.has("volume") {
            for one in listed {
                // One that is gone meanwhile is not asked for.
                if let Ok(found) = context.engine()?.inspect(one.id.as_str()) {
                    details.insert(one.id.to_string(), Details::of(&found));
                }
            }
        }
        Ok(Selection {
            filters,
            details,
            ancestors,
            before: created("before")?,
            since: created("since")?,
            exited,
            ids: Expressions::new(filters.values("id").map(|start| format!("^(?:{start})"))),
            names: Expressions::new(filters.values("name")),
            tasks: filters.switch("is-task")?,
        })
    }

    fn takes(&self, one: &ContainerSummary) -> bool {
        let filters = self.filters;
        let name = one.name.as_str();
        let stopped = one.state.status == Status::Exited;
        let none = Details::default();
        let details = self.details.get(one.id.as_str()).unwrap_or(&none);
        self.ids.take(one.id.as_str())
            && (self.names.take(name) || self.names.take(&format!("/{name}")))
            && filters.any("status", |value| one.state.status.as_str() == value)
            && filters.any("ancestor", |value| {
                self.ancestors.contains(&one.image_id) || one.image == value || one.image_id == value
            })
            && filters.any("network", |value| one.network == value)
            && filters.any("volume", |value| {
                one.mounts.iter().chain(&one.volumes).chain(&details.targets).any(|mount| mount == value)
            })
            && filters.any("expose", |value| details.exposed.iter().any(|port| is_within(port, value)))
            && filters.any("health", |value| one.state.health.map_or("none", HealthState::as_str) == value)
            && self.tasks != Some(true)
            && !filters.has("publish")
            && (self.exited.is_empty() || (stopped && self.exited.contains(&one.state.exit_code)))
            && self.before.is_none_or(|before| one.created < before)
            && self.since.is_none_or(|since| one.created > since)
            && filters.labels(|key| one.labels.get(key).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_dockers_words() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let state = |status, code, started: Option<&str>, finished: Option<&str>| ContainerState {
            status,
            pid: 0,
            exit_code: code,
            oom_killed: false,
            error: String::new(),
            started_at: started.map(|time| time.parse().unwrap()),
            finished_at: finished.map(|time| time.parse().unwrap()),
            restarts: 0,
            log_lines_lost: 0,
            health: None,
        };
        for (state, text) in [
            (state(Status::Created, 0, None, None), "Created"),
            (state(Status::Running, 0, Some("2026-11-21T11:57:00Z"), None), "Up 3 minutes"),
            (state(Status::Paused, 0, Some("2026-11-21T11:00:00Z"), None), "Up About an hour (Paused)"),
            (
                state(Status::Exited, 137, Some("2026-11-21T08:00:00Z"), Some("2026-11-21T10:00:00Z")),
                "Exited (137) 2 hours ago",
            ),
            (
                state(Status::Restarting, 1, Some("2026-11-21T08:00:00Z"), Some("2026-11-21T11:59:55Z")),
                "Restarting (1) 5 seconds ago",
            ),
            (state(Status::Dead, 0, None, None), "Dead"),
            (
                ContainerState {
                    health: Some(HealthState::Starting),
                    ..state(Status::Running, 0, Some("2026-11-21T11:57:00Z"), None)
                },
                "Up 3 minutes (health: starting)",
            ),
        ] {
            assert_eq!(status(&state, now), text);
        }
    }

    #[test]
    fn ports_lie_within_ranges() {
        for (port, filter, want) in [
            ("80/tcp", "80", true),
            ("80/tcp", "80/tcp", true),
            ("80/tcp", "80/udp", false),
            ("53/udp", "50-60/udp", true),
            ("80/tcp", "81-90", false),
            ("8000-8010/tcp", "8005", true),
        ] {
            assert_eq!(is_within(port, filter), want, "{port} {filter}");
        }
        for wrong in ["", "x", "90-80", "80/x", "70000", "80-"] {
            assert!(check_ports("expose", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_quote_words_with_blanks() {
        let words = ["sh", "-c", "echo hi there", "x"].map(str::to_owned);
        assert_eq!(command(&words), "sh -c 'echo hi there' x");
        assert_eq!(quoted(&units::ellipsis(&command(&words), 20)), "\"sh -c 'echo hi ther…\"");
    }
}
