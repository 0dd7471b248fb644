//! `system df` and `system prune`.

use std::collections::BTreeSet;

use engine::build::{BuildCacheEntry, CacheLimits, PrunedBuildCache};
use engine::info::Status;
use engine::usage::{CachedFile, DiskUsage};
use oci::Timestamp;
use serde_json::{Map, Value, json};

use crate::builder::{self, filter::Selection};
use crate::container::list::status;
use crate::container::remove::{self, confirm};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::image;
use crate::inspect::One;
use crate::output::list::{Columns, Format};
use crate::output::{self, units};
use crate::values::filter::Filters;

const COLUMNS: Columns = Columns {
    headers: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
    raw: &[
        ("type", "Type"),
        ("total", "TotalCount"),
        ("active", "Active"),
        ("size", "Size"),
        ("reclaimable", "Reclaimable"),
    ],
};

/// `skiff system df`.
pub(crate) fn disk_free(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = parsed.text("format");
    let usage = context.engine()?.disk_usage()?;
    if parsed.on("verbose") {
        return verbose(&usage, One::parse(format.filter(|text| *text != "table"))?);
    }
    let default = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
    let format = Format::parse(format, default)?;
    output::print(&format.render(&COLUMNS, rows(&usage))?);
    Ok(0)
}

fn is_active(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Restarting)
}

fn rows(usage: &DiskUsage) -> Vec<Map<String, Value>> {
    let row = |kind: &str, (total, active): (usize, usize), size: u64, reclaimable: String| {
        let fields = [
            ("Active", active.to_string()),
            ("Reclaimable", reclaimable),
            ("Size", units::size(size, 4)),
            ("TotalCount", total.to_string()),
            ("Type", kind.to_owned()),
        ];
        fields.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect()
    };
    // Of nothing, nothing can be said in percent.
    let share = |part: u64, whole: u64| match (part * 100).checked_div(whole) {
        Some(percent) => format!("{} ({percent}%)", units::size(part, 4)),
        None => units::size(part, 4),
    };
    let containers = &usage.containers;
    let active = containers.iter().filter(|one| is_active(one.container.state.status)).count();
    let size: u64 = containers.iter().map(|one| one.size).sum();
    let idle =
        containers.iter().filter(|one| !is_active(one.container.state.status)).map(|one| one.size).sum();
    let used = usage.images.iter().filter(|one| one.image.containers > 0).count();
    let kept = usage.cache.len() + usage.build_cache.len();
    let in_use = usage.build_cache.iter().filter(|entry| entry.in_use).count();
    let volumes: u64 = usage.volumes.iter().map(|volume| volume.size).sum();
    vec![
        row(
            "Images",
            (usage.images.len(), used),
            usage.images_size,
            share(usage.images_reclaimable, usage.images_size),
        ),
        row("Containers", (containers.len(), active), size, share(idle, size)),
        // They go with their containers.
        row("Local Volumes", (usage.volumes.len(), usage.volumes.len()), volumes, share(0, volumes)),
        row("Build Cache", (kept, in_use), cached(usage, false), units::size(cached(usage, true), 4)),
    ]
}

/// Bytes of what builds have left and of what could be fetched again, without what images have, too; only what could go.
fn cached(usage: &DiskUsage, idle: bool) -> u64 {
    let packages: u64 = usage.cache.iter().map(|file| file.size).sum();
    let counts = |entry: &&BuildCacheEntry| !(entry.shared || idle && entry.in_use);
    packages + usage.build_cache.iter().filter(counts).map(|entry| entry.size).sum::<u64>()
}

fn verbose(usage: &DiskUsage, format: One) -> Result<u8> {
    let now = Timestamp::from(std::time::SystemTime::now());
    let (images, containers, volumes) = details(usage, now);
    let cache = cache_details(usage, now);
    let document =
        || json!({ "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache });
    match format {
        One::Json => output::print(&format!("{}\n", document())),
        One::Template(template) => {
            output::print(&(template.execute(&document()).map_err(Error::Template)? + "\n"));
        }
        One::Pretty => {
            let section = |title: &str, fields: &[(&str, &str)], rows: &[Value]| {
                let header: Vec<&str> = fields.iter().map(|(_, header)| *header).collect();
                let mut text = header.join("\t") + "\n";
                for row in rows {
                    let cells = fields.iter().map(|(field, _)| row[field].as_str().unwrap_or_default());
                    text.push_str(&(cells.collect::<Vec<_>>().join("\t") + "\n"));
                }
                format!("{title}\n\n{}", output::table::layout(&text))
            };
            let parts = [
                section("Images space usage:", IMAGES, &images),
                section("Containers space usage:", CONTAINERS, &containers),
                section("Local Volumes space usage:", VOLUMES, &volumes),
                section(
                    &format!("Build cache usage: {}", units::size(cached(usage, false), 4)),
                    CACHE,
                    &cache,
                ),
            ];
            output::print(&parts.join("\n"));
        }
    }
    Ok(0)
}

const IMAGES: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const CONTAINERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const VOLUMES: &[(&str, &str)] = &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];
const CACHE: &[(&str, &str)] = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

/// Images, containers and volumes, each with the texts of its columns.
fn details(usage: &DiskUsage, now: Timestamp) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let none = || "<none>".to_owned();
    let images = usage.images.iter().map(|one| {
        let name = one.image.tags.first().and_then(|tag| tag.rsplit_once(':'));
        let (repository, tag) = name.map_or_else(|| (none(), none()), |(a, b)| (a.to_owned(), b.to_owned()));
        json!({
            "Repository": repository,
            "Tag": tag,
            "ID": units::short_id(&one.image.id),
            "CreatedSince": one.image.created.map_or_else(|| "N/A".to_owned(), |time| units::ago(time, now)),
            "Size": units::size(one.size, 4),
            "SharedSize": units::size(one.shared, 4),
            "UniqueSize": units::size(one.size - one.shared, 4),
            "Containers": one.image.containers.to_string(),
        })
    });
    let containers = usage.containers.iter().map(|one| {
        let container = &one.container;
        json!({
            "ID": units::short_id(container.id.as_str()),
            "Image": container.image,
            "Command": format!("\"{}\"", units::ellipsis(&container.command.join(" "), 20)),
            "LocalVolumes": container.volumes.len().to_string(),
            "Size": units::size(one.size, 4),
            "RunningFor": units::ago(container.created, now),
            "Status": status(&container.state, now),
            "Names": container.name.as_str(),
        })
    });
    let volumes = usage.volumes.iter().map(|volume| {
        json!({
            "Name": volume.name,
            "Links": volume.links.to_string(),
            "Size": units::size(volume.size, 4),
        })
    });
    (images.collect(), containers.collect(), volumes.collect())
}

/// What builds have left, and package files.
fn cache_details(usage: &DiskUsage, now: Timestamp) -> Vec<Value> {
    let row = |file: &CachedFile| {
        json!({
            "ID": units::short_id(&file.id),
            "CacheType": "package",
            "Size": units::size(file.size, 4),
            "CreatedSince": "",
            "LastUsedSince": units::ago(file.last_used, now),
            "UsageCount": "",
            "Shared": "true",
        })
    };
    let kept = |entry: &BuildCacheEntry| {
        let star = if entry.in_use { "*" } else { "" };
        json!({
            "ID": format!("{}{star}", units::short_id(&entry.id)),
            "CacheType": entry.kind.as_str(),
            "Description": entry.description,
            "Size": units::size(entry.size, 4),
            "CreatedSince": units::ago(entry.created, now),
            "LastUsedSince": units::ago(entry.last_used, now),
            "UsageCount": entry.uses.to_string(),
            "InUse": entry.in_use.to_string(),
            "Shared": entry.shared.to_string(),
        })
    };
    usage.build_cache.iter().map(kept).chain(usage.cache.iter().map(row)).collect()
}

/// `skiff system prune`.
pub(crate) fn prune(context: &Context, parsed: &Parsed) -> Result<u8> {
    let filters = Filters::to_prune(context, parsed, &["label", "label!", "until"])?;
    let (all, volumes) = (parsed.on("all"), parsed.on("volumes"));
    if volumes && filters.values("until").next().is_some() {
        return Err(Error::Conflict("the \"until\" filter is not supported with \"--volumes\""));
    }
    let typed: Vec<&str> = parsed.list("filter").collect();
    if !parsed.on("force") && !confirm(&question(all, volumes, &typed)) {
        return Ok(0);
    }
    let containers = remove::prune_stopped(context, &filters)?;
    output::print(&containers.text());
    let pruned = image::remove::prune_unused(context, &filters, all, &BTreeSet::new())?;
    output::print(&image::remove::deleted(&pruned));
    let kept = prune_build_cache(context, &filters, all)?;
    output::print(&builder::deleted(&kept));
    let packages = if all { context.engine()?.prune_packages()? } else { 0 };
    let total = units::size(containers.reclaimed + pruned.reclaimed + kept.reclaimed + packages, 4);
    output::print(&format!("Total reclaimed space: {total}\n"));
    Ok(containers.code)
}

/// Removes what builds have left: nothing of it has a label, so that none of it passes where one is asked for.
fn prune_build_cache(context: &Context, filters: &Filters, all: bool) -> Result<PrunedBuildCache> {
    if !filters.labels(|_| None) {
        return Ok(PrunedBuildCache::default());
    }
    let selection = Selection::before(remove::until(filters)?);
    builder::prune_selected(context, &selection, all, CacheLimits::default())
}

fn question(all: bool, volumes: bool, filters: &[&str]) -> String {
    let mut text = "WARNING! This will remove:\n  - all stopped containers\n  \
                    - all networks not used by at least one container\n"
        .to_owned();
    if volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(filters.iter().map(|filter| format!("  - {filter}\n")));
    }
    text + "\nAre you sure you want to continue? [y/N] "
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_goes() {
        let text = question(true, true, &["label=a"]);
        for line in [
            "  - all stopped containers",
            "  - all anonymous volumes not used by at least one container",
            "  - all images without at least one container associated to them",
            "  - label=a",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(
            question(false, false, &[]).contains("  - all dangling images\n  - unused build cache\n\nAre")
        );
    }
}
