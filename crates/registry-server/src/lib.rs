//! Serves a store of its own over the distribution protocol (distribution-spec 1.1).

pub mod names;
pub mod store;
