//! Folders that something is built of.

use crate::Scratch;

/// A folder with this Dockerfile and a file `x` beside it, and its path.
pub fn build_context(dockerfile: &str) -> (Scratch, String) {
    let scratch = Scratch::new();
    for (name, content) in [("Dockerfile", dockerfile), ("x", "x\n")] {
        std::fs::write(scratch.join(name), content).expect("write a file of a context");
    }
    let path = scratch.to_str().expect("a path of text").to_owned();
    (scratch, path)
}
