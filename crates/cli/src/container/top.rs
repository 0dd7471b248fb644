//! `top`.

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output::zone::Zone;
use crate::output::{self, table};

/// Columns of this table are no narrower.
const MINIMUM: usize = 20;

/// `skiff top`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let (name, options) = (&parsed.arguments[0], &parsed.arguments[1..]);
    let zone = Zone::local();
    let top = context.engine()?.top(name, options, &|time| zone.offset_seconds(time))?;
    let mut text = top.titles.join("\t") + "\n";
    for process in &top.processes {
        text.push_str(&process.join("\t"));
        text.push('\n');
    }
    output::print(&table::layout_from(&text, MINIMUM));
    Ok(0)
}
