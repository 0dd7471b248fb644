//! Targets, groups, inheritance, matrices, overrides.

use expect_test::expect;

use super::support::{check_error, check_print, load};

#[test]
fn parents_merge_in_order_and_the_target_lies_over_them() {
    check_print(
        r#"
        variable "TAG" { default = "latest" }
        target "base" {
          args = { A = "1", B = "1" }
          tags = ["base"]
          cache-from = ["user/app:cache"]
        }
        target "more" {
          args = { B = "2" }
          platforms = ["linux/amd64"]
          output = [{ type = "image" }]
        }
        target "default" {
          inherits = ["base", "more"]
          context = "./dir/"
          args = { C = "<${TAG}>" }
          attest = ["type=provenance,mode=max", { type = "sbom", disabled = true }]
          secret = ["type=env,id=token", { id = "file", src = "/s" }]
          ssh = ["default", { id = "key", paths = ["/k"] }]
        }
        "#,
        expect![[r#"
            {
              "group": {
                "default": {
                  "targets": [
                    "default"
                  ]
                }
              },
              "target": {
                "default": {
                  "attest": [
                    {
                      "mode": "max",
                      "type": "provenance"
                    },
                    {
                      "disabled": true,
                      "type": "sbom"
                    }
                  ],
                  "context": "dir",
                  "dockerfile": "Dockerfile",
                  "args": {
                    "A": "1",
                    "B": "2",
                    "C": "\u003clatest\u003e"
                  },
                  "tags": [
                    "base"
                  ],
                  "cache-from": [
                    {
                      "ref": "user/app:cache",
                      "type": "registry"
                    }
                  ],
                  "secret": [
                    {
                      "id": "token"
                    },
                    {
                      "id": "file",
                      "src": "/s"
                    }
                  ],
                  "ssh": [
                    {
                      "id": "default"
                    },
                    {
                      "id": "key",
                      "paths": [
                        "/k"
                      ]
                    }
                  ],
                  "platforms": [
                    "linux/amd64"
                  ],
                  "output": [
                    {
                      "type": "image"
                    }
                  ]
                }
              }
            }"#]],
    );
}

#[test]
fn a_circle_is_named_with_the_way_it_takes() {
    check_error(
        "variable \"A\" {\n  default = B\n}\nvariable \"B\" {\n  default = A\n}",
        expect!["variable cycle not allowed: A -> B -> A"],
    );
    check_error(
        "target \"default\" {\n  inherits = [\"b\"]\n}\ntarget \"b\" {\n  inherits = [\"default\"]\n}",
        expect!["inheritance cycle not allowed: default -> b -> default"],
    );
    check_error(
        "group \"default\" {\n  targets = [\"b\"]\n}\ngroup \"b\" {\n  targets = [\"default\"]\n}",
        expect!["group cycle not allowed: default -> b -> default"],
    );
    check_error(
        "target \"default\" {\n  contexts = { x = \"target:b\" }\n}\ntarget \"b\" {\n  contexts = { y = \"target:default\" }\n}",
        expect!["context cycle not allowed: default -> b -> default"],
    );
    check_error(
        "function \"f\" {\n  params = [x]\n  result = f(x)\n}\nx = f(1)",
        expect!["function cycle not allowed: f() -> f()"],
    );
    check_error(
        "target \"default\" {\n  context = target.default.dockerfile\n  dockerfile = target.default.context\n}",
        expect![
            "reference cycle not allowed: target.default.context -> target.default.dockerfile -> target.default.context"
        ],
    );
}

#[test]
fn linked_targets_are_built_first() {
    let content = r#"
        target "app" {
          contexts = { base = "target:base", tools = "target:tools" }
        }
        target "tools" {
          contexts = { base = "target:base" }
        }
        target "base" { network = "host" }
    "#;
    let plan = load(&[("docker-bake.hcl", content)], &[], &["app"], &[]).unwrap();
    assert_eq!(plan.order, ["base", "tools", "app"]);
    assert_eq!(plan.targets["app"].entitlements, ["network.host"]);
    assert_eq!(plan.targets["base"].output[0].kind, "cacheonly");
}

/// The example at the head of the crate.
#[test]
fn variables_and_overrides_meet_in_a_target() {
    let content =
        "variable \"TAG\" { default = \"latest\" }\ntarget \"default\" { tags = [\"app:${TAG}\"] }\n";
    let plan = load(&[("docker-bake.hcl", content)], &[("TAG", "v1")], &[], &["*.args.VERSION=1"]).unwrap();
    assert_eq!(plan.order, ["default"]);
    assert_eq!(plan.targets["default"].tags, ["app:v1"]);
    assert_eq!(plan.targets["default"].args["VERSION"], "1");
}

#[test]
fn policies_are_read_and_shown() {
    let file = r#"
target "base" { policy = ["filename=base.rego"] }
target "default" {
  inherits = ["base"]
  policy = [{ filename = "own.rego", strict = true }, { reset = true }]
}
"#;
    let policies = |set: &[&str]| match load(&[("docker-bake.hcl", file)], &[], &[], set) {
        Ok(plan) => plan.targets["default"].policy.iter().map(|policy| format!("{policy}; ")).collect(),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(policies(&[]), "filename=base.rego; filename=own.rego,strict=true; reset=true; ");
    let plan = load(&[("docker-bake.hcl", file)], &[], &[], &[]).unwrap().to_json();
    assert!(plan.contains("\"filename\": \"own.rego\",\n          \"strict\": \"true\""), "{plan}");
    assert_eq!(policies(&["*.policy=disabled=true"]), "disabled=true; ");
    assert!(policies(&["default.policy+=log-level=debug"]).ends_with("reset=true; log-level=debug; "));
    assert!(policies(&["default.policy=level=x"]).contains("invalid value level=x"));
    for wrong in ["[{ nope = 1 }]", "[{ strict = \"x\" }]", "\"filename=x\"", "[null]"] {
        let file = format!("target \"default\" {{\n  policy = {wrong}\n}}");
        let error = load(&[("docker-bake.hcl", &file)], &[], &[], &[]).unwrap_err().to_string();
        assert!(error.starts_with("docker-bake.hcl:2,12: policy of target default: "), "{wrong}: {error}");
    }
}
