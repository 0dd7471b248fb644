//! What copies make, as tables: files of a context, an instruction, the resulting tree.

mod archives;
mod flags;
mod layers;
mod paths;

use expect_test::{Expect, expect};

use super::{as_layer, inline, make_directory, part_content};
use crate::build::tree::Tree;
use crate::build::world::{World, copied, key, listed, op, quiet, with, words};

/// Plays scenes whose context is [`TREE`].
fn check(scenes: Expect) {
    check_in(&|world| world.context("context", TREE), &scenes);
}

/// Plays scenes, and compares what comes of them with what they say. A blank line ends a scene:
///
/// ```text
/// # a note
/// over d x 755            what the base holds, as lines of `world`
/// COPY a.txt /x           instructions
///     0755 0:0 /x/        the tree that they make, or why they are refused
///     0644 0:0 /x/a.txt = a
/// ```
fn check_in(context: &dyn Fn(&World) -> Tree, scenes: &Expect) {
    let margin = |line: &str| line.len() - line.trim_start().len();
    let text = scenes.data().trim_start_matches('\n').trim_end();
    let least = text.lines().filter(|line| !line.is_empty()).map(margin).min().unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(|line| line.get(least..).unwrap_or_default()).collect();
    let played: Vec<String> = lines.split(|line| line.is_empty()).map(|scene| play(context, scene)).collect();
    scenes.assert_eq(&played.join("\n"));
}

/// A scene with what comes of it at present.
fn play(context: &dyn Fn(&World) -> Tree, scene: &[&str]) -> String {
    let (mut base, mut copies) = (String::new(), String::new());
    let given = scene.iter().filter(|line| !line.starts_with(' ')).map(|line| format!("{line}\n"));
    let given: Vec<String> = given.collect();
    for line in &given {
        match line.split_once(' ') {
            Some(("over", entry)) => base.push_str(entry),
            Some(("COPY" | "ADD", _)) => copies.push_str(line),
            Some(("#", _)) => {}
            _ => panic!("{line} is no line of a scene"),
        }
    }
    let world = World::new();
    let session = world.session();
    let tree = match base.as_str() {
        "" => Tree::empty(),
        base => copied(&session, &Tree::empty(), &world.context("base", base), "COPY . /").unwrap(),
    };
    let shown = match copied(&session, &tree, &context(&world), copies.trim_end()) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error),
    };
    given.into_iter().chain(shown.lines().map(|line| format!("    {line}\n"))).collect()
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
