//! Files that are made to hurt: they are refused, in little time and memory.

use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::support::load;

/// The error of a file, which must not take long to find. The time is generous: it tells minutes from milliseconds.
fn check(name: &str, content: &str, expected: Expect) {
    let start = Instant::now();
    let error = load(&[(name, content)], &[], &[], &[]).map(|_| ()).map_err(|error| error.to_string());
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let error = error.unwrap_err();
    expected.assert_eq(error.get(..200).unwrap_or(&error));
}

#[test]
fn doubling_and_nesting_end_at_the_limits() {
    let doubling: String = (1..40).map(|n| format!("x{n} = \"${{x{}}}${{x{}}}\"\n", n - 1, n - 1)).collect();
    check(
        "docker-bake.hcl",
        &format!("x0 = \"0123456789\"\n{doubling}"),
        expect!["steps of evaluation: at most 4194304 are taken"],
    );
    let calls: String = (1..40)
        .map(|n| format!("function \"f{n}\" {{\nparams = [x]\nresult = f{}(f{}(x))\n}}\n", n - 1, n - 1))
        .collect();
    let calls = format!("function \"f0\" {{\nparams = [x]\nresult = x\n}}\n{calls}y = f39(1)\n");
    check("docker-bake.hcl", &calls, expect!["steps of evaluation: at most 4194304 are taken"]);
    let chain: String = (1..5000).map(|n| format!("x{n} = x{}\n", n + 1)).collect();
    check(
        "docker-bake.hcl",
        &format!("{chain}x5000 = 1\n"),
        expect!["nesting of expressions: at most 200 are taken"],
    );
    check(
        "docker-bake.hcl",
        &format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000)),
        expect!["read docker-bake.hcl:1,70: invalid nesting depth; expected at most 64 nested levels"],
    );
    check(
        "docker-bake.hcl",
        &format!("x = 1{}", "+1".repeat(5000)),
        expect![
            "read docker-bake.hcl:1,262: invalid binary operation; expected at most 128 chained binary operators"
        ],
    );
    check(
        "docker-bake.hcl",
        &format!("y = {{}}\nx = y{}", ".a".repeat(5000)),
        expect!["steps of a traversal: at most 64 are taken"],
    );
    check(
        "docker-bake.hcl",
        &format!("x = {}1", "true ? 1 : ".repeat(2000)),
        expect!["read docker-bake.hcl:1,716: invalid nesting depth; expected at most 64 nested levels"],
    );
    check(
        "docker-bake.hcl",
        &format!("x = \"{}\"", "%{ if true }".repeat(2000)),
        expect!["read docker-bake.hcl:1,780: invalid nesting depth; expected at most 64 nested levels"],
    );
    check(
        "docker-bake.json",
        &format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        expect!["read docker-bake.json:1,128: recursion limit exceeded at line 1 column 128"],
    );
    check(
        "compose.yaml",
        &format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        expect!["read compose.yaml:1,256: recursion limit exceeded"],
    );
}

#[test]
fn many_entries_are_refused_before_they_are_compared_with_each_other() {
    let attributes: String = (0..300_000).map(|n| format!("a{n}=1\n")).collect();
    check("docker-bake.hcl", &attributes, expect!["entries of docker-bake.hcl: at most 32768 are taken"]);
    let object: String = (0..30_000).map(|n| format!("a{n}=1\n")).collect();
    check("docker-bake.hcl", &format!("x = {{\n{object}}}\n"), expect!["failed to find target default"]);
    let blocks: String = (0..17_000).map(|n| format!("target \"t{n}\" {{}}\n")).collect();
    check("docker-bake.hcl", &blocks, expect!["targets and groups: at most 16384 are taken"]);
    let services: String = (0..20_000).map(|n| format!("  s{n}: {{build: .}}\n")).collect();
    check(
        "compose.yaml",
        &format!("services:\n{services}  'x y': {{build: .}}\n"),
        expect![[r#"target x y: invalid name "x y": only "[a-zA-Z0-9_-]+" are allowed"#]],
    );
}

#[test]
fn a_try_does_not_get_over_a_limit() {
    let calls: String = (1..40)
        .map(|n| format!("function \"f{n}\" {{\nparams = [x]\nresult = f{}(f{}(x))\n}}\n", n - 1, n - 1))
        .collect();
    let calls = format!("function \"f0\" {{\nparams = [x]\nresult = x\n}}\n{calls}y = try(f39(1), 2)\n");
    check("docker-bake.hcl", &calls, expect!["steps of evaluation: at most 4194304 are taken"]);
}

#[test]
fn aliases_and_variables_of_compose_files_cannot_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let previous = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{previous}]\n"));
    }
    check(
        "compose.yaml",
        &format!("{bomb}services: {{}}\n"),
        expect!["read compose.yaml:6,15: at most 262144 nodes are taken, with what aliases repeat"],
    );
    let nested = format!("services:\n  a:\n    build: '{}x{}'\n", "${A:-".repeat(1000), "}".repeat(1000));
    check("compose.yaml", &nested, expect!["compose.yaml: at most 16 variables may be nested"]);
}

#[test]
fn matrices_groups_and_functions_have_limits() {
    let axis = |name: char| format!("{name} = range(100)\n");
    let matrix: String = ('a'..='f').map(axis).collect();
    let matrix = format!("target \"default\" {{\nname = \"x\"\nmatrix = {{\n{matrix}}}\n}}");
    check("docker-bake.hcl", &matrix, expect!["targets of the matrix of default: at most 1024 are taken"]);
    for (expression, expected) in [
        (
            "format(\"%1000000000d\", 1)",
            expect!["docker-bake.hcl:1,5: call of format: at most 4096 is taken, not 1000000000"],
        ),
        (
            "range(100000)",
            expect![
                "docker-bake.hcl:1,5: call of range: more than 1024 values were generated; either decrease the difference between start and end or use a smaller step"
            ],
        ),
        (
            "setproduct(range(1000), range(1000), range(1000))",
            expect![
                "docker-bake.hcl:1,5: call of setproduct: the result would have more than 65536 elements"
            ],
        ),
        (
            "indent(1000000000, \"\\n\\n\")",
            expect!["docker-bake.hcl:1,5: call of indent: the result would be longer than 4194304 bytes"],
        ),
        (
            "pow(10, 1000000000)",
            expect!["docker-bake.hcl:1,5: call of pow: the result is no number that can be held"],
        ),
        (
            "9999999999 * 9999999999 * 9999999999 * 9999999999",
            expect!["docker-bake.hcl:1,5: the number that this comes to is too large"],
        ),
        (
            "regex(\"(a{1000}){1000}\", \"a\")",
            expect![
                "docker-bake.hcl:1,5: call of regex: invalid pattern: compiled regex exceeded size limit"
            ],
        ),
        (
            "bcrypt(\"x\", 31)",
            expect!["docker-bake.hcl:1,5: call of bcrypt: the cost must be between 4 and 12"],
        ),
    ] {
        check("docker-bake.hcl", &format!("x = {expression}\ntarget \"default\" {{}}"), expected);
    }
    let groups: String =
        (0..200).map(|n| format!("group \"g{n}\" {{\ntargets = [\"g{}\"]\n}}\n", n + 1)).collect();
    let groups = format!("{groups}group \"default\" {{\ntargets = [\"g0\"]\n}}\n");
    check("docker-bake.hcl", &groups, expect!["links in a chain of group: at most 128 are taken"]);
}

#[test]
fn groups_that_share_members_are_gone_through_once() {
    let mut content = String::new();
    for n in 0..60 {
        for half in ["a", "b"] {
            content.push_str(&format!(
                "group \"{half}{n}\" {{\ntargets = [\"a{}\", \"b{}\"]\n}}\n",
                n + 1,
                n + 1
            ));
        }
    }
    content.push_str("target \"a60\" {}\ntarget \"b60\" {}\n");
    let plan = load(&[("docker-bake.hcl", &content)], &[], &["a0"], &[]).unwrap();
    assert_eq!(plan.targets.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", name in "(docker-bake\\.hcl|docker-bake\\.json|compose\\.yaml|x)") {
        let _result = load(&[(&name, &text)], &[], &[], &[]);
    }

    #[test]
    fn no_mix_of_the_languages_words_makes_it_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "target", "group", "variable", "function", "\"a\"", "\"${", "}\"", "{", "}", "[", "]", "(", ")", "=", "\n",
                "for", "in", "if", ":", "?", ".", "*", "...", "=>", "a", "1", "-", "1.5e3", "\"", "%{ if a }", "%{ endif }",
                "<<-EOT\n", "EOT\n", "~", ",", "&&", "==", "null", "default", "inherits", "matrix", "name", "args", "tags",
                "&x", "*x", "<<:", "services:", "build:", "  ", "- ", "$", "${A:-", "!reset", "|", ">",
            ]),
            0..60,
        ),
        name in "(docker-bake\\.hcl|docker-bake\\.json|compose\\.yaml|x)",
    ) {
        let _result = load(&[(&name, &words.concat())], &[], &[], &[]);
        let _result = load(&[(&name, &words.join(" "))], &[("a", "1")], &["a*", "default"], &["*.args.a=1"]);
    }

    #[test]
    fn no_expression_makes_it_panic(
        name in prop::sample::select(crate::functions::NAMES.to_vec()),
        arguments in prop::collection::vec(
            prop::sample::select(vec![
                "1", "-1", "0", "1e20", "0.5", "\"\"", "\"a\"", "\"10.0.0.0/8\"", "\"::/0\"", "\"2006-01-02T15:04:05Z\"", "[]",
                "[1, 2]", "[\"a\", null]", "{}", "{ a = 1 }", "null", "true", "\"%d %s\"", "\"1.2.3\"", "\"é\\n\"", "\"YYYY\"",
                "170141183460469231731687303715884105727", "-170141183460469231731687303715884105728", "[[1], [2]]",
                "[{ a = 1 }]", "\"(.*)\"", "9223372036854775807", "-9223372036854775808",
            ]),
            0..4,
        ),
    ) {
        let content = format!("x = {name}({})\ntarget \"default\" {{}}", arguments.join(", "));
        let _result = load(&[("docker-bake.hcl", &content)], &[], &[], &[]);
        let _shown = super::support::evaluate(&format!("{name}({})", arguments.join(", ")));
    }
}
