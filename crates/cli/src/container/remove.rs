//! `rm` and `container prune`.

use engine::Kind;
use engine::info::Status;
use engine::request::{List, Remove};
use oci::Timestamp;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::zone::Zone;
use crate::output::{self, units};
use crate::values::filter::Filters;
use crate::values::time;

/// `skiff rm`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request =
        Remove { force: parsed.on("force"), volumes: parsed.on("volumes"), link: parsed.on("link") };
    let mut code = 0;
    // One that is missing is what `--force` wanted: it is told of, and no failure.
    let missing = |error: &Error| matches!(error, Error::Engine(inner) if inner.kind() == Kind::NotFound);
    let outcomes =
        super::outcomes(context, &parsed.arguments, |engine, name| Ok(engine.remove(name, &request)?))?;
    for (name, outcome) in parsed.arguments.iter().zip(outcomes) {
        match outcome {
            Ok(()) => output::print(&format!("{name}\n")),
            Err(error) => {
                if !(request.force && missing(&error)) {
                    code = 1;
                }
                output::complain(&error);
            }
        }
    }
    Ok(code)
}

/// `skiff container prune`.
pub(crate) fn prune(context: &Context, parsed: &Parsed) -> Result<u8> {
    let filters = Filters::to_prune(context, parsed, &["label", "label!", "until"])?;
    until(&filters)?;
    if !parsed.on("force")
        && !confirm(
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ",
        )
    {
        return Ok(0);
    }
    let pruned = prune_stopped(context, &filters)?;
    output::print(&pruned.text());
    output::print(&format!("Total reclaimed space: {}\n", units::size(pruned.reclaimed, 4)));
    Ok(pruned.code)
}

/// Containers that were removed.
pub(crate) struct PrunedContainers {
    removed: Vec<oci::ContainerId>,
    /// Bytes of their files.
    pub(crate) reclaimed: u64,
    /// The exit code: 1 where one could not be removed.
    pub(crate) code: u8,
}

impl PrunedContainers {
    /// As every prune prints them; nothing where there were none.
    pub(crate) fn text(&self) -> String {
        if self.removed.is_empty() {
            return String::new();
        }
        let ids: Vec<&str> = self.removed.iter().map(|id| id.as_str()).collect();
        format!("Deleted Containers:\n{}\n\n", ids.join("\n"))
    }
}

/// Removes the stopped containers that pass.
pub(crate) fn prune_stopped(context: &Context, filters: &Filters) -> Result<PrunedContainers> {
    let until = until(filters)?;
    let engine = context.engine()?;
    let mut removed = Vec::new();
    let mut reclaimed = 0;
    let mut code = 0;
    for container in engine.list(&List { all: true, last: None })? {
        let stopped = matches!(container.state.status, Status::Created | Status::Exited | Status::Dead);
        let old = until.is_none_or(|until| container.created < until);
        if !stopped || !old || !filters.labels(|key| container.labels.get(key).map(String::as_str)) {
            continue;
        }
        let size = super::size::written(engine, &engine.inspect(container.id.as_str())?);
        match engine.remove(container.id.as_str(), &Remove::default()) {
            Ok(()) => {
                reclaimed += size;
                removed.push(container.id);
            }
            // It started, or somebody else removed it: either way it is not ours to report.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            Err(error) => {
                code = 1;
                output::complain(&error.into());
            }
        }
    }
    engine.containers_pruned(reclaimed);
    Ok(PrunedContainers { removed, reclaimed, code })
}

/// The one `until` of a prune.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let now = Timestamp::from(std::time::SystemTime::now());
    let mut values = filters.values("until");
    let Some(value) = values.next() else { return Ok(None) };
    let fail = |reason| Error::FilterValue { name: "until", value: value.to_owned(), reason };
    if values.next().is_some() {
        return Err(fail("only one is possible"));
    }
    time::point(value, now, &Zone::local()).map(Some).map_err(fail)
}

/// Asks a question on the terminal; anything but yes is no, and so is the end of the input.
pub(crate) fn confirm(question: &str) -> bool {
    output::print(question);
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
