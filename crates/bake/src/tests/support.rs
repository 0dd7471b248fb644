//! What the tables here share.

use std::collections::BTreeMap;

use expect_test::Expect;

use crate::{Error, File, Plan, Request, Result};

pub(super) fn file(name: &str, content: &str) -> File {
    File { name: name.to_owned(), content: content.to_owned() }
}

pub(super) fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn load(
    files: &[(&str, &str)],
    environment_of: &[(&str, &str)],
    targets: &[&str],
    set: &[&str],
) -> Result<Plan> {
    let files: Vec<File> = files.iter().map(|(name, content)| file(name, content)).collect();
    crate::load(&files, &environment(environment_of), &strings(targets), &strings(set))
}

/// What `--print` shows of a file.
pub(super) fn check_print(content: &str, expected: Expect) {
    expected.assert_eq(&load(&[("docker-bake.hcl", content)], &[], &[], &[]).unwrap().to_json());
}

/// Why a file is refused.
pub(super) fn check_error(content: &str, expected: Expect) {
    expected.assert_eq(&refused(content).to_string());
}

pub(super) fn refused(content: &str) -> Error {
    load(&[("docker-bake.hcl", content)], &[], &[], &[]).unwrap_err()
}

/// What an expression is as an argument, in JSON; or why it is nothing.
pub(super) fn evaluate(expression: &str) -> String {
    let content =
        format!("value = jsonencode({expression})\ntarget \"default\" {{\n  args = {{ it = value }}\n}}\n");
    let files = [file("docker-bake.hcl", &content)];
    let request = Request {
        files: &files,
        now: Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)),
        seed: Some([7; 32]),
        environment: environment(&[("HOME", "/home/me")]),
        ..Request::default()
    };
    match request.load() {
        Ok(plan) => plan.targets["default"].args["it"].clone(),
        Err(error) => format!("error: {error}"),
    }
}

/// A table of expressions and what they come to.
pub(super) fn check_values(expressions: &[&str], expected: Expect) {
    let lines = expressions.iter().map(|expression| format!("{expression} = {}\n", evaluate(expression)));
    expected.assert_eq(&lines.collect::<String>());
}
