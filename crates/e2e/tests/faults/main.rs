//! What may go wrong around a container, each with the real program: after every fault nothing is left that cannot be
//! removed, what is listed is what the kernel knows, and the next command works.
//!
//! The table of what is tried stands in `docs/faults.md`. All of it needs root.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod behaviour;
mod database;
mod disk;
mod monitor;
mod power;

use testkit::Skiff;

/// After a fault: the listing is true, a container can be made, run and removed, and nothing is left of any.
fn assert_sound(skiff: &Skiff) {
    skiff.assert_listing_is_true();
    let ids = skiff.ok(&["ps", "-aq", "--no-trunc"]);
    let ids: Vec<&str> = ids.lines().collect();
    skiff.run(&[&["rm", "-f"], &ids[..]].concat());
    assert_eq!(skiff.ok(&["ps", "-aq"]), "", "not all could be removed");
    assert_eq!(skiff.ok(&["run", "--rm", "busybox", "echo", "well"]), "well\n");
    assert_eq!(skiff.left_by_containers(), "");
}
