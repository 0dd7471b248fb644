//! `skiff image copy`.

use std::sync::Arc;

use engine::request::CopyImage;

use super::progress::Style;
use super::push::Display;
use super::registries;
use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;

/// `skiff image copy`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let style = Style::of(parsed)?;
    let request = CopyImage {
        source: parsed.arguments[0].clone(),
        target: parsed.arguments[1].clone(),
        all_tags: parsed.on("all-tags"),
        platform: parsed.text("platform").map(str::to_owned).filter(|platform| !platform.is_empty()),
        referrers: parsed.on("referrers"),
    };
    let display = Arc::new(Display::new(style));
    let hears = Arc::clone(&display);
    let client = registries::telling(context, move |notice| hears.notice(notice))?;
    // Nothing is stored here, so no engine is opened.
    let copied = engine::copy_image(&client, &request, &|event| display.show(event));
    display.finish();
    for image in copied? {
        if style == Style::Quiet {
            output::print(&format!("{}\n", image.reference));
        }
    }
    Ok(0)
}
