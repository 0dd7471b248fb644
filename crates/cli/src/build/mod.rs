//! `skiff build`.
//!
//! ```text
//! words ─► place: context and Dockerfile ─┬─► call: checks, outlines; needs the Dockerfile alone
//!                                         └─► request ─► Engine::build ─► progress ─► files with the results
//! ```
//!
//! Results go to standard output, everything else to standard error. Exit codes are Docker's: 1 for whatever failed, also for
//! a check that found something; 130 after an interrupt.

mod call;
mod csv;
mod fault;
mod outline;
mod outputs;
mod place;
mod request;
mod sources;

pub(crate) use fault::Fault;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;

/// `skiff build`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let asked = call::asked(parsed)?;
    let place = place::locate(&parsed.arguments[0], parsed.text("file"))?;
    if let Some(asked) = asked {
        return call::run(context, parsed, &asked, &place);
    }
    let _request = request::request(context, parsed, place)?;
    Err(Error::CommandLater { path: parsed.path.clone(), with: "the solver" })
}
