//! `rmi`, `image prune`, `tag` and `image verify`.

use std::collections::{BTreeMap, BTreeSet};

use engine::Kind;
use engine::info::{ImageRemoval, ImageSummary, Pruned};
use engine::request::RemoveImage;

use super::list::{Selection, split_tag};
use super::pressure;
use crate::container::remove::confirm;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, units};
use crate::values::filter::Filters;
use crate::values::integer;

fn line(removal: &ImageRemoval) -> String {
    match removal {
        ImageRemoval::Untagged(name) => format!("Untagged: {name}\n"),
        ImageRemoval::Deleted(id) => format!("Deleted: {id}\n"),
    }
}

/// `skiff rmi`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = RemoveImage {
        force: parsed.on("force"),
        platforms: parsed.list("platform").flat_map(|text| text.split(',')).map(str::to_owned).collect(),
    };
    let mut code = 0;
    for name in &parsed.arguments {
        match context.engine()?.remove_image(name, &request) {
            Ok(removals) => output::print(&removals.iter().map(line).collect::<String>()),
            Err(error) => {
                // Whoever forces wants it gone; that it is gone already is worth a word, not a failure.
                if !(request.force && error.kind() == Kind::NotFound) {
                    code = 1;
                }
                output::complain(&error.into());
            }
        }
    }
    Ok(code)
}

/// `skiff image prune`.
pub(crate) fn prune(context: &Context, parsed: &Parsed) -> Result<u8> {
    if parsed.on("auto") {
        let others =
            parsed.on("all") || ["filter", "until", "keep"].iter().any(|name| parsed.text(name).is_some());
        return match others {
            true => Err(Error::Conflict("--auto removes what gc.toml says, and nothing else")),
            false => pressure::prune(context),
        };
    }
    let mut filters = Filters::to_prune(context, parsed, &["dangling", "label", "label!", "until"])?;
    if let Some(until) = parsed.text("until") {
        filters.add("until", until);
    }
    let newest = parsed.value("keep", integer::<usize>)?;
    let all = parsed.on("all") || newest.is_some() || filters.switch("dangling")? == Some(false);
    let question = match (newest, all) {
        (Some(count), _) => format!(
            "WARNING! This will remove all images without at least one container associated to them, \
             except the {count} newest of each repository.\n"
        ),
        (None, true) => {
            "WARNING! This will remove all images without at least one container associated to them.\n"
                .to_owned()
        }
        (None, false) => "WARNING! This will remove all dangling images.\n".to_owned(),
    };
    if !parsed.on("force") && !confirm(&format!("{question}Are you sure you want to continue? [y/N] ")) {
        return Ok(0);
    }
    let kept = newest.map_or(Ok(BTreeSet::new()), |count| newest_of_each(context, count))?;
    let pruned = prune_unused(context, &filters, all, &kept)?;
    output::print(&deleted(&pruned));
    output::print(&format!("Total reclaimed space: {}\n", units::size(pruned.reclaimed, 4)));
    Ok(0)
}

/// The ids of the newest images of every repository, so many of each.
fn newest_of_each(context: &Context, count: usize) -> Result<BTreeSet<String>> {
    let mut kept = BTreeSet::new();
    let mut repositories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Newest first.
    for image in context.engine()?.images()? {
        for name in &image.tags {
            let of_it = repositories.entry(split_tag(name).0.to_owned()).or_default();
            if of_it.len() < count && of_it.insert(image.id.clone()) {
                kept.insert(image.id.clone());
            }
        }
    }
    Ok(kept)
}

/// Removes images without a name, or `all` that no container uses, as far as they pass and their ids are not among the `kept`.
pub(crate) fn prune_unused(
    context: &Context,
    filters: &Filters,
    all: bool,
    kept: &BTreeSet<String>,
) -> Result<Pruned> {
    // `dangling` says which images are meant, which `all` has settled.
    let selection = Selection::new(filters, &[])?.without_dangling();
    let keep = |image: &ImageSummary| kept.contains(&image.id) || !selection.takes(image);
    Ok(context.engine()?.prune_images(all, &keep)?)
}

/// As every prune prints them; nothing where there were none.
pub(crate) fn deleted(pruned: &Pruned) -> String {
    if pruned.removed.is_empty() {
        return String::new();
    }
    format!("Deleted Images:\n{}\n", pruned.removed.iter().map(lowercase_line).collect::<String>())
}

/// As `prune` writes it.
fn lowercase_line(removal: &ImageRemoval) -> String {
    match removal {
        ImageRemoval::Untagged(name) => format!("untagged: {name}\n"),
        ImageRemoval::Deleted(id) => format!("deleted: {id}\n"),
    }
}

/// `skiff tag`.
pub(crate) fn tag(context: &Context, parsed: &Parsed) -> Result<u8> {
    context.engine()?.tag(&parsed.arguments[0], &parsed.arguments[1])?;
    Ok(0)
}

/// `skiff image verify`.
pub(crate) fn verify(context: &Context, parsed: &Parsed) -> Result<u8> {
    let mut faulty = false;
    for image in context.engine()?.verify_images(&parsed.arguments)? {
        let name = &image.name;
        if image.faults.is_empty() {
            output::print(&format!("{name}: good\n"));
        }
        for fault in &image.faults {
            faulty = true;
            output::print(&format!("{name}: {fault}\n"));
        }
    }
    if faulty { Err(Error::Printed(1)) } else { Ok(0) }
}
