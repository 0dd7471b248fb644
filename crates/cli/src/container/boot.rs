//! `system resume` and `system shutdown`.

use std::time::Duration;

use engine::Handled;

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;
use crate::values::integer;

/// `skiff system resume`.
pub(crate) fn resume(context: &Context, _: &Parsed) -> Result<u8> {
    Ok(report(context.engine()?.resume()?))
}

/// `skiff system shutdown`.
pub(crate) fn shut_down(context: &Context, parsed: &Parsed) -> Result<u8> {
    let at_most = parsed.value("timeout", integer::<u32>)?.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(report(context.engine()?.shut_down(at_most)?))
}

/// A name for each that was handled; 1 where one failed.
fn report(handled: Vec<Handled>) -> u8 {
    let mut code = 0;
    for Handled { name, outcome } in handled {
        match outcome {
            Ok(()) => output::print(&format!("{name}\n")),
            Err(error) => {
                code = 1;
                output::complain_of(&name, &error.into());
            }
        }
    }
    code
}
