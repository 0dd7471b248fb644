//! The library: one file per verb, composing the crates below.
