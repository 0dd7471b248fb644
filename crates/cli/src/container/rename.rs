//! `rename`.

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;

/// `skiff rename`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    context.engine()?.rename(&parsed.arguments[0], &parsed.arguments[1])?;
    Ok(0)
}
