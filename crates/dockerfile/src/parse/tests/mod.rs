//! Tables of Dockerfiles and what is read from them.

mod errors;
mod file;
mod instructions;
mod mounts;
mod properties;

use expect_test::{Expect, expect};

use super::*;
use crate::syntax::{Argument, CommandLine, DirectiveName, Healthcheck, Heredoc, Text};

fn source(text: &str) -> Source {
    Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap()
}

fn file(text: &str) -> Dockerfile {
    let source = source(text);
    parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)))
}

/// The instructions after `FROM x`.
fn kinds(text: &str) -> Vec<Kind> {
    let file = file(&format!("FROM x\n{text}"));
    file.stages[0].instructions.iter().map(|instruction| instruction.kind.clone()).collect()
}

fn kind(text: &str) -> Kind {
    let [one] = <[Kind; 1]>::try_from(kinds(text)).unwrap_or_else(|more| panic!("{text:?}: {more:?}"));
    one
}

/// An error's words and what its place holds.
fn error(text: &str) -> (String, String) {
    let source = source(text);
    let errors = parse(&source).err().unwrap_or_else(|| panic!("{text:?} is taken"));
    let first = errors.first();
    (first.message.clone(), first.span().map(|span| source.slice(span).to_owned()).unwrap_or_default())
}

fn rendered(text: &str, expected: Expect) {
    let source = source(text);
    expected.assert_eq(&parse(&source).unwrap_err().render(&source));
}

fn values(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.value.as_str()).collect()
}
