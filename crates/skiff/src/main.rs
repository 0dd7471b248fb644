//! The `skiff` program.
fn main() {}
