//! `rmi`, `image prune`, `tag` and `image verify`.

use engine::Kind;
use engine::info::{ImageRemoval, ImageSummary, Pruned};
use engine::request::RemoveImage;

use super::list::Selection;
use crate::container::remove::confirm;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, units};
use crate::values::filter::Filters;

fn line(removal: &ImageRemoval) -> String {
    match removal {
        ImageRemoval::Untagged(name) => format!("Untagged: {name}\n"),
        ImageRemoval::Deleted(id) => format!("Deleted: {id}\n"),
    }
}

/// `skiff rmi`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = RemoveImage { force: parsed.on("force") };
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
    let filters = Filters::to_prune(context, parsed, &["dangling", "label", "label!", "until"])?;
    let all = parsed.on("all") || filters.switch("dangling")? == Some(false);
    let question = match all {
        true => "WARNING! This will remove all images without at least one container associated to them.\n",
        false => "WARNING! This will remove all dangling images.\n",
    };
    if !parsed.on("force") && !confirm(&format!("{question}Are you sure you want to continue? [y/N] ")) {
        return Ok(0);
    }
    let pruned = prune_unused(context, &filters, all)?;
    output::print(&deleted(&pruned));
    output::print(&format!("Total reclaimed space: {}\n", units::size(pruned.reclaimed, 4)));
    Ok(0)
}

/// Removes images without a name, or `all` that no container uses, as far as they pass.
pub(crate) fn prune_unused(context: &Context, filters: &Filters, all: bool) -> Result<Pruned> {
    // `dangling` says which images are meant, which `all` has settled.
    let selection = Selection::new(filters, &[])?.without_dangling();
    let keep = |image: &ImageSummary| !selection.takes(image);
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
        let name = image.tags.first().unwrap_or(&image.id);
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
