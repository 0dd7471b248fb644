//! What the parts of one build have in common.

use build::Cancel;
use image::Draft;

use crate::Engine;
use crate::request::Build;

/// One build, from its request to its outputs.
pub(super) struct Session<'e> {
    /// Where it happens.
    pub(super) engine: &'e Engine,
    /// What was asked for.
    pub(super) request: &'e Build,
    /// The layers that it makes and relies on: they stay as long as it lives.
    pub(super) draft: Draft<'e>,
    /// Whether it is to end.
    pub(super) cancel: &'e Cancel,
}
