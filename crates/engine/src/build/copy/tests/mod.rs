//! What copies make, as tables: files of a context, an instruction, the resulting tree.

mod archives;
mod flags;
mod layers;
mod paths;

use expect_test::{Expect, expect};

use super::{as_layer, inline, make_directory, part_content};
use crate::build::tree::Tree;
use crate::build::world::{World, copied, key, listed, op, quiet, with, words};

/// Copies of a context, over a base that is copied from another one.
fn check(base: &str, context: &str, copies: &str, expected: Expect) {
    let world = World::new();
    let session = world.session();
    let tree = if base.trim().is_empty() {
        Tree::empty()
    } else {
        copied(&session, &Tree::empty(), &world.context("base", base), "COPY . /").unwrap()
    };
    let context = world.context("context", context);
    let shown = match copied(&session, &tree, &context, copies) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error) + "\n",
    };
    expected.assert_eq(&shown);
}

const TREE: &str = "
    f a.txt 644 a
    f b.txt 600 b
    d dir 750
    f dir/run 755 run
    f dir/sub/deep 644 deep
    l dir/link ../a.txt
    l out /etc/hostname
    p dir/pipe
    h hard a.txt
";
