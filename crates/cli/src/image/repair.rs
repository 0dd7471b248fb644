//! `skiff image repair`.

use std::sync::Arc;

use super::progress::{Display, Out, Style};
use super::registries;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

/// `skiff image repair`. What is fetched is shown on standard error; standard output has what became of each fault.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let style = Style::of(parsed)?;
    let display = Arc::new(Display::new(Out::Stderr, style));
    let hears = Arc::clone(&display);
    let client = registries::telling(context, move |notice| hears.notice(notice))?;
    let repaired = context.engine()?.repair_images(&client, &parsed.arguments, &|event| display.show(event));
    display.finish();
    let mut is_left = false;
    for image in repaired? {
        let name = &image.name;
        for fault in &image.mended {
            output::print(&format!("{name}: repaired: {fault}\n"));
        }
        for left in &image.left {
            is_left = true;
            output::print(&format!("{name}: not repaired: {}\n", left.fault));
            for place in &left.tried {
                output::print(&format!("{name}:   looked for in {place}\n"));
            }
            if left.tried.is_empty() {
                output::print(&format!("{name}:   no place is known that has what is good\n"));
            }
        }
        if image.mended.is_empty() && image.left.is_empty() {
            output::print(&format!("{name}: good\n"));
        }
    }
    if is_left { Err(Error::Printed(1)) } else { Ok(0) }
}
