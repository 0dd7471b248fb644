//! Layer and blob store, merged tree of an image, archives, collection of garbage.

pub mod tar;
