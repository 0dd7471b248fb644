//! What a stage begins with: an image, a context, nothing, or the stage before.

use oci::ImageConfig;

use super::name::place;
use super::stage::Done;
use super::state::State;
use super::{Graph, Inputs, Op};
use crate::lint::{self, Linter};
use crate::source::{Diagnostic, Result};
use crate::stage::{Base, Resolved};

/// The state of a stage, which has so many steps in all, before its first instruction.
pub(super) fn begin(
    graph: &mut Graph,
    inputs: &Inputs<'_>,
    done: &mut Done,
    (stage, total): (&Resolved, usize),
    linter: &mut Linter,
) -> Result<State> {
    let empty = || ImageConfig { platform: stage.platform.clone(), ..ImageConfig::default() };
    let (op, image) = match &stage.base {
        Base::Stage(base) => {
            let before = done.take(*base).ok_or_else(|| {
                Diagnostic::error(format!("stage {} is not made yet", stage.base_name), stage.span)
            })?;
            return Ok(before.continued());
        }
        Base::Scratch => {
            let mut image = empty();
            image.config.working_dir = "/".to_owned();
            (Op::Scratch, image)
        }
        Base::Image(key) => {
            let op = Op::Image { reference: key.reference.clone(), platform: key.platform.clone() };
            let image = inputs.images.get(key).inspect(|image| check_platform(stage, image, linter));
            (op, image.cloned().unwrap_or_else(empty))
        }
        Base::Context(context) => {
            let platform = stage.platform.to_string();
            let config = inputs.contexts.get(&(context.clone(), platform.clone()));
            let op = Op::Context { name: context.clone(), platform: config.map(|_| platform) };
            (op, config.cloned().unwrap_or_else(empty))
        }
    };
    let name = || {
        let base = match &stage.base {
            Base::Image(key) => key.reference.to_string(),
            Base::Stage(_) | Base::Scratch | Base::Context(_) => stage.base_name.clone(),
        };
        place(inputs, stage, "", (1, total)) + &format!("FROM {base}")
    };
    let node = graph.add(op, Vec::new(), name, Some(stage.span))?;
    Ok(State::upon(node, image))
}

/// An image for another platform than the stage's may be what is wanted, and seldom is.
fn check_platform(stage: &Resolved, image: &ImageConfig, linter: &mut Linter) {
    let (expected, actual) = (&stage.platform, &image.platform);
    if expected.os != actual.os || expected.architecture != actual.architecture {
        let (expected, actual) = (expected.normalized().to_string(), actual.normalized().to_string());
        let name = &stage.base_name;
        let message = format!(
            "Base image {name} was pulled with platform {actual:?}, expected {expected:?} for current build"
        );
        linter.warn(&lint::INVALID_BASE_IMAGE_PLATFORM, stage.span, message);
    }
}
