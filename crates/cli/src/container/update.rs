//! `update`.

use std::sync::Mutex;

use engine::request::{Update, parse_restart};

use super::create;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

/// `skiff update`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let restart = parsed.text("restart").filter(|policy| !policy.is_empty());
    let request =
        Update { resources: create::resources(parsed)?, restart: restart.map(parse_restart).transpose()? };
    if request == Update::default() {
        return Err(Error::NothingToUpdate);
    }
    let warnings = Mutex::new(Vec::new());
    let code = super::each(context, &parsed.arguments, |engine, name| {
        let found = engine.update(name, &request)?;
        warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(found);
        Ok(())
    })?;
    for warning in warnings.into_inner().unwrap_or_default() {
        output::warn(&format!("WARNING: {warning}\n"));
    }
    Ok(code)
}
