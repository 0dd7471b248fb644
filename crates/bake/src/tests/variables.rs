//! Variables: types, defaults, what is given from outside, validation, lists of them.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::support::{environment, file, load};
use crate::Request;

/// What the argument `it` of the target `default` comes to.
fn check(rows: &[(&str, &[(&str, &str)])], expected: Expect) {
    let mut lines = String::new();
    for (content, given) in rows {
        let result = match load(&[("docker-bake.hcl", content)], given, &[], &[]) {
            Ok(plan) => format!("{:?}", plan.targets["default"].args.get("it")),
            Err(error) => format!("error: {error}"),
        };
        lines.push_str(&format!("{result}\n"));
    }
    expected.assert_eq(&lines);
}

fn typed(kind: &str, default: &str, value: &str) -> String {
    let default = if default.is_empty() { String::new() } else { format!("default = {default}\n") };
    format!(
        "variable \"FOO\" {{\ntype = {kind}\n{default}}}\ntarget \"default\" {{\nargs = {{ it = {value} }}\n}}\n"
    )
}

fn untyped(default: &str, value: &str) -> String {
    format!(
        "variable \"FOO\" {{\ndefault = {default}\n}}\ntarget \"default\" {{\nargs = {{ it = {value} }}\n}}\n"
    )
}

#[test]
fn the_environment_gives_values_of_the_type_that_the_default_has() {
    check(
        &[
            (&untyped("\"a\"", "FOO"), &[]),
            (&untyped("\"a\"", "FOO"), &[("FOO", "b")]),
            (&untyped("3", "FOO > 5 ? \"higher\" : \"lower\""), &[("FOO", "5.1")]),
            (&untyped("3", "FOO"), &[("FOO", "NaN")]),
            (&untyped("true", "FOO ? \"yes\" : \"no\""), &[("FOO", "0")]),
            (&untyped("true", "FOO"), &[("FOO", "maybe")]),
            (&untyped("null", "FOO"), &[]),
            (&untyped("null", "FOO"), &[("FOO", "bar")]),
            (&untyped("[]", "FOO"), &[("FOO", "bar")]),
            ("variable \"FOO\" {}\ntarget \"default\" {\nargs = { it = equal(FOO, \"\") }\n}", &[]),
            (
                "FOO = \"abc\"\ntarget \"default\" {\nargs = { it = FOO }\n}",
                &[("FOO", "env is for variables")],
            ),
            ("target \"default\" {\nargs = { it = NOPE }\n}", &[("NOPE", "1")]),
        ],
        expect![[r#"
            Some("a")
            Some("b")
            Some("higher")
            error: docker-bake.hcl:1,1: failed to parse FOO as number
            Some("no")
            error: docker-bake.hcl:1,1: failed to parse FOO as bool
            None
            Some("bar")
            error: docker-bake.hcl:1,1: unsupported type tuple for variable FOO
            Some("true")
            Some("abc")
            error: docker-bake.hcl:2,15: There is no variable named "NOPE"
        "#]],
    );
}

#[test]
fn a_declared_type_converts_the_default_and_what_is_given() {
    check(
        &[
            (&typed("number", "\"99\"", "FOO + 1"), &[]),
            (&typed("number", "\"oops\"", "FOO"), &[]),
            (&typed("list(number)", "[\"2\", \"3\"]", "join(\"\", [for v in FOO : v + 1])"), &[]),
            (&typed("list(string)", "", "equal(FOO, null)"), &[]),
            (&typed("list(string)", "", "join(\"-\", FOO)"), &[("FOO", "hi,\"the,re\"")]),
            (&typed("set(number)", "", "join(\"-\", [for v in sort(FOO) : v + 1])"), &[("FOO", "3,1,4,1")]),
            (&typed("map(number)", "", "join(\"-\", sort(values(FOO)))"), &[("FOO", "foo:1,bar:2")]),
            (&typed("map(number)", "", "FOO"), &[("FOO", "foo:1:1")]),
            (
                &typed("tuple([number, string])", "", "format(\"%d %s\", FOO[0], FOO[1])"),
                &[("FOO", "99,bottles")],
            ),
            (&typed("tuple([number, string])", "", "FOO"), &[("FOO", "99,100")]),
            (&typed("list(number)", "", "FOO"), &[("FOO", "1,1z")]),
            (&typed("list(list(number))", "", "FOO"), &[("FOO", "1,2")]),
            (&typed("list(string)", "", "FOO"), &[("FOO", "\"hello,world")]),
            (&typed("string", "", "FOO"), &[("FOO_JSON", "\"hello\"")]),
            (&typed("string", "", "FOO"), &[("FOO_JSON", "hello")]),
            (&typed("map(number)", "", "FOO"), &[("FOO_JSON", "{\"foo\": \"oops\"}")]),
            (
                &typed("object({messages = list(string)})", "", "join(\"-\", FOO.messages)"),
                &[("FOO_JSON", "{\"messages\": [\"hi\", \"there\"]}")],
            ),
            (&typed("list(number)", "", "length(FOO)"), &[("FOO", "1,2"), ("FOO_JSON", "[3,4,5]")]),
            (
                &typed("object({a = string, b = optional(number, 7)})", "{a = 1}", "\"${FOO.a} ${FOO.b}\""),
                &[],
            ),
            (&typed("boolean", "", "FOO"), &[]),
            (&typed("lower(\"bool\")", "", "FOO"), &[]),
        ],
        expect![[r#"
            Some("100")
            error: docker-bake.hcl:3,11: invalid type: FOO default value: a number is required, but have string
            Some("34")
            Some("true")
            Some("hi-the,re")
            Some("2-4-5")
            Some("1-2")
            error: docker-bake.hcl:1,1: failed to parse "foo:1:1" of FOO: expected one k/v pair
            Some("99 bottles")
            error: docker-bake.hcl:5,8: args of target default: string required, but have tuple
            error: docker-bake.hcl:1,1: failed to convert FOO from CSV: failed to parse element "1z" as number
            error: docker-bake.hcl:1,1: unsupported type list(list(number)) for variable FOO
            error: docker-bake.hcl:1,1: failed to convert FOO from CSV: a quote in "\"hello,world" is not closed
            Some("hello")
            error: docker-bake.hcl:1,1: failed to convert FOO from JSON: expected value at line 1 column 1
            error: docker-bake.hcl:1,1: failed to convert FOO from JSON: map(number) is required
            Some("hi-there")
            Some("3")
            Some("1 7")
            error: docker-bake.hcl:2,8: boolean is not a valid type
            error: docker-bake.hcl:2,8: lower(…) is not a valid type
        "#]],
    );
}

#[test]
fn what_the_command_line_gives_goes_before_the_environment() {
    let files =
        [file("docker-bake.hcl", &untyped("\"a\"", "\"${FOO} ${BAKE_CMD_CONTEXT} ${BAKE_LOCAL_PLATFORM}\""))];
    let request = Request {
        files: &files,
        environment: environment(&[("FOO", "environment")]),
        variables: environment(&[("FOO", "command line")]),
        local_platform: Some("linux/amd64".to_owned()),
        ..Request::default()
    };
    assert_eq!(request.load().unwrap().targets["default"].args["it"], "command line cwd:// linux/amd64");
}

#[test]
fn lookup_in_the_environment_can_be_turned_off() {
    let given = [("FOO", "b"), ("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "1")];
    check(
        &[(&untyped("\"a\"", "FOO"), &given)],
        expect![[r#"
        Some("a")
    "#]],
    );
}

#[test]
fn a_value_that_does_not_pass_validation_is_refused_with_the_message() {
    let content = r#"
        variable "PORT" {
          default = 80
          validation {
            condition = PORT > 1024
            error_message = "${PORT} is for root"
          }
        }
        target "default" {}
    "#;
    check(
        &[(content, &[]), (content, &[("PORT", "8080")])],
        expect![[r#"
        error: docker-bake.hcl:5,25: validation of PORT failed: 80 is for root
        None
    "#]],
    );
}

#[test]
fn variables_are_listed_with_what_they_are_and_secrets_without_their_value() {
    let files = [file(
        "docker-bake.hcl",
        r#"
        variable "A" {
          type = list(string)
          default = ["x"]
          description = "some"
        }
        variable "B" { default = null }
        variable "TOKEN" {
          default = "secret"
          sensitive = true
        }
        target "t" { description = "a target" }
        target "_hidden" {}
        group "g" { targets = ["t"] }
        "#,
    )];
    let list = Request { files: &files, ..Request::default() }.list().unwrap();
    expect![[r#"
        List {
            targets: {
                "_hidden": None,
                "t": Some(
                    "a target",
                ),
            },
            groups: {
                "g": Group {
                    description: None,
                    targets: [
                        "t",
                    ],
                },
            },
            variables: [
                Variable {
                    name: "A",
                    kind: Some(
                        "list(string)",
                    ),
                    value: Some(
                        "[\"x\"]",
                    ),
                    description: Some(
                        "some",
                    ),
                },
                Variable {
                    name: "B",
                    kind: None,
                    value: None,
                    description: None,
                },
                Variable {
                    name: "TOKEN",
                    kind: None,
                    value: None,
                    description: None,
                },
            ],
        }"#]]
    .assert_eq(&format!("{list:#?}"));
}

#[test]
fn later_files_lie_over_earlier_ones() {
    let files = [
        (
            "a.hcl",
            "variable \"ABC\" {\ndefault = \"foo\"\n}\nvariable \"DEF\" {\ndefault = \"\"\n}\ntarget \"one\" {\nargs = { a = \"pre-${ABC}\" }\n}\ntarget \"two\" {\nargs = { b = \"pre-${DEF}\" }\n}",
        ),
        (
            "b.json",
            r#"{"variable": {"DEF": {"default": "bar"}}, "target": {"one": {"args": {"a": "pre-${ABC}-${DEF}"}}}}"#,
        ),
        ("c.json", r#"{"ABC": "ghi", "DEF": "jkl", "target": [{"two": [{"tags": ["x"]}]}]}"#),
    ];
    let plan = load(&files, &[], &["one", "two"], &[]).unwrap();
    assert_eq!(plan.targets["one"].args, BTreeMap::from([("a".to_owned(), "pre-ghi-jkl".to_owned())]));
    assert_eq!(plan.targets["two"].args["b"], "pre-jkl");
    assert_eq!(plan.targets["two"].tags, ["x"]);
}

#[test]
fn json_has_functions_types_and_expressions_in_its_strings() {
    let content = r#"{
        "//": "a comment",
        "FOO": "abc",
        "variable": {"N": {"type": "list(number)", "default": [1, 2]}},
        "function": {"wrap": {"params": ["inp"], "variadic_params": "more", "result": "<${upper(inp)}-${FOO}-${length(more)}>"}},
        "target": {"default": {"args": {"${FOO}": "pre-${wrap(\"foo\", 1, 2)}", "n": "${N[1]}", "raw": "wrap(\"foo\")", "null": null}}}
    }"#;
    let plan = load(&[("docker-bake.json", content)], &[], &[], &[]).unwrap();
    expect![[r#"
        {
            "abc": "pre-<FOO-abc-2>",
            "n": "2",
            "raw": "wrap(\"foo\")",
        }"#]]
    .assert_eq(&format!("{:#?}", plan.targets["default"].args));
}
