//! `builder prune`, `builder du`, and the same under `buildx`: what builds have left for later ones.
//!
//! `builder prune` says what it has done in the words of Docker's command, `buildx prune` in those of buildx; otherwise the two are one.

pub(crate) mod filter;

use engine::build::{BuildCacheEntry, CacheLimits, PruneBuildCache, PrunedBuildCache};
use engine::request::parse_bytes;
use oci::Timestamp;
use serde_json::{Map, Value, json};

use crate::container::remove::confirm;
use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::{self, table, units};
use filter::Selection;

const COLUMNS: Columns = Columns {
    headers: &[
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Description", "DESCRIPTION"),
        ("ID", "ID"),
        ("InUse", "IN USE"),
        ("LastUsedAt", "LAST ACCESSED"),
        ("LastUsedSince", "LAST ACCESSED"),
        ("Mutable", "MUTABLE"),
        ("Parents", "PARENTS"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Shared", "SHARED"),
        ("Size", "SIZE"),
        ("Type", "TYPE"),
        ("UsageCount", "USAGE COUNT"),
    ],
    raw: &[("id", "ID"), ("type", "Type"), ("size", "Size"), ("last_used", "LastUsedSince")],
};

/// `skiff builder du`, `skiff buildx du`.
pub(crate) fn disk_usage(context: &Context, parsed: &Parsed) -> Result<u8> {
    let selection = Selection::new(context, parsed, false)?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let mut entries = context.engine()?.build_cache()?;
    entries.retain(|entry| selection.takes(entry));
    let format = parsed.text("format");
    let is_verbose = parsed.on("verbose") || format == Some("pretty");
    let is_table = format.is_none_or(|format| matches!(format, "" | "table" | "pretty"));
    if !is_table {
        let rows = entries.iter().map(|entry| row(entry, now)).collect();
        let format = Format::parse(format, "")?;
        output::print(&format.render(&COLUMNS, rows)?);
        return Ok(0);
    }
    let text = if is_verbose { verbose(&entries, now) } else { listed(&entries, now) };
    output::print(&text);
    if selection.is_empty() {
        output::print(&summary(&entries));
    }
    Ok(0)
}

/// `skiff builder prune`.
pub(crate) fn prune(context: &Context, parsed: &Parsed) -> Result<u8> {
    let Some(pruned) = asked_prune(context, parsed)? else { return Ok(0) };
    let text = match parsed.on("verbose") {
        true => verbose(&pruned.removed, Timestamp::from(std::time::SystemTime::now())),
        false => deleted(&pruned),
    };
    output::print(&text);
    output::print(&format!("Total reclaimed space: {}\n", units::size(pruned.reclaimed, 4)));
    Ok(0)
}

/// `skiff buildx prune`.
pub(crate) fn prune_x(context: &Context, parsed: &Parsed) -> Result<u8> {
    let Some(pruned) = asked_prune(context, parsed)? else { return Ok(0) };
    let now = Timestamp::from(std::time::SystemTime::now());
    let text = match (parsed.on("verbose"), pruned.removed.is_empty()) {
        (true, _) => verbose(&pruned.removed, now),
        (false, true) => String::new(),
        (false, false) => listed(&pruned.removed, now),
    };
    output::print(&text);
    output::print(&pairs(&[("Total", units::size(pruned.reclaimed, 4))]));
    Ok(0)
}

/// Prunes as the flags say; none where somebody who was asked did not want it.
fn asked_prune(context: &Context, parsed: &Parsed) -> Result<Option<PrunedBuildCache>> {
    let all = parsed.on("all");
    let selection = Selection::new(context, parsed, true)?;
    let limit = |name| parsed.value(name, size);
    let limits = CacheLimits {
        reserved_space: limit("reserved-space")?,
        max_used_space: limit("max-used-space")?,
        min_free_space: limit("min-free-space")?,
    };
    let what = if all { "all build cache" } else { "all dangling build cache" };
    let question = format!("WARNING! This will remove {what}. Are you sure you want to continue? [y/N] ");
    if !parsed.on("force") && !confirm(&question) {
        return Ok(None);
    }
    prune_selected(context, &selection, all, limits).map(Some)
}

/// Removes what passes.
pub(crate) fn prune_selected(
    context: &Context,
    selection: &Selection,
    all: bool,
    limits: CacheLimits,
) -> Result<PrunedBuildCache> {
    let request = PruneBuildCache { all, limits, ..PruneBuildCache::default() };
    Ok(context.engine()?.prune_build_cache(&request, &|entry| !selection.takes(entry))?)
}

/// As every prune prints what is gone; nothing where nothing is.
pub(crate) fn deleted(pruned: &PrunedBuildCache) -> String {
    if pruned.removed.is_empty() {
        return String::new();
    }
    let ids = pruned.removed.iter().map(|entry| format!("{}\n", entry.id));
    format!("Deleted build cache objects:\n{}\n", ids.collect::<String>())
}

/// A size of a flag: none is no limit, as with Docker.
fn size(text: &str) -> std::result::Result<u64, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    u64::try_from(bytes).map_err(|_| "must not be negative".to_owned())
}

fn row(entry: &BuildCacheEntry, now: Timestamp) -> Map<String, Value> {
    let fields = json!({
        "CreatedAt": entry.created.to_string(),
        "CreatedSince": units::ago(entry.created, now),
        "Description": entry.description,
        "ID": entry.id,
        "InUse": entry.in_use,
        "LastUsedAt": entry.last_used.to_string(),
        "LastUsedSince": units::ago(entry.last_used, now),
        "Mutable": entry.mutable,
        "Parents": entry.parents,
        "Reclaimable": !entry.in_use,
        "Shared": entry.shared,
        "Size": units::size(entry.size, 4),
        "Type": entry.kind.as_str(),
        "UsageCount": entry.uses,
    });
    // An object is what was just written.
    fields.as_object().cloned().unwrap_or_default()
}

fn listed(entries: &[BuildCacheEntry], now: Timestamp) -> String {
    let star = |is: bool| if is { "*" } else { "" };
    let mut text = "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n".to_owned();
    for entry in entries {
        let (id, size) = (&entry.id, units::size(entry.size, 4));
        let (mutable, shared) = (star(entry.mutable), star(entry.shared));
        let used = units::ago(entry.last_used, now);
        text.push_str(&format!("{id}{mutable}\t{}\t{size}{shared}\t{used}\n", !entry.in_use));
    }
    table::layout(&text)
}

fn verbose(entries: &[BuildCacheEntry], now: Timestamp) -> String {
    let block = |entry: &BuildCacheEntry| {
        let mut lines = vec![("ID", entry.id.clone())];
        if !entry.parents.is_empty() {
            lines.push(("Parent", entry.parents.join(",")));
        }
        lines.extend([
            ("Created at", entry.created.to_string()),
            ("Mutable", entry.mutable.to_string()),
            ("Reclaimable", (!entry.in_use).to_string()),
            ("Shared", entry.shared.to_string()),
            ("Size", units::size(entry.size, 4)),
        ]);
        if !entry.description.is_empty() {
            lines.push(("Description", entry.description.clone()));
        }
        lines.extend([
            ("Usage count", entry.uses.to_string()),
            ("Last used", units::ago(entry.last_used, now)),
            ("Type", entry.kind.to_string()),
        ]);
        pairs(&lines) + "\n"
    };
    entries.iter().map(block).collect()
}

fn summary(entries: &[BuildCacheEntry]) -> String {
    let sum = |wanted: fn(&BuildCacheEntry) -> bool| -> u64 {
        entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.size).sum()
    };
    let (total, shared) = (sum(|_| true), sum(|entry| entry.shared));
    let mut lines = Vec::new();
    if shared > 0 {
        lines.extend([("Shared", units::size(shared, 4)), ("Private", units::size(total - shared, 4))]);
    }
    lines.push(("Reclaimable", units::size(sum(|entry| !entry.in_use), 4)));
    lines.push(("Total", units::size(total, 4)));
    pairs(&lines)
}

/// `Name:          value` lines.
fn pairs(lines: &[(&str, String)]) -> String {
    // A description may be anything that a Dockerfile says.
    let line = |(name, value): &(&str, String)| format!("{:<16}{}\n", format!("{name}:"), one_line(value));
    lines.iter().map(line).collect()
}

/// Without what would begin another line, or another column.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_not_negative() {
        assert_eq!(size("10gb"), Ok(10 << 30));
        assert_eq!(size("512"), Ok(512));
        assert!(size("-1").is_err() && size("much").is_err());
    }

    #[test]
    fn what_a_dockerfile_says_stays_on_one_line() {
        assert_eq!(
            pairs(&[("Description", "RUN a\nType: b\x1b[0m".to_owned())]),
            "Description:    RUN a Type: b [0m\n"
        );
    }
}
