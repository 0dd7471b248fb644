//! `--set`.

use expect_test::{Expect, expect};

use super::support::load;

const FILE: &str = r#"
    target "app" {
      tags = ["a"]
      args = { V = "1" }
      platforms = ["linux/amd64"]
      output = ["type=registry", "type=image"]
      cache-from = ["x"]
    }
    target "web" {
      inherits = ["app"]
    }
    target "base" {}
    group "default" { targets = ["app", "web"] }
"#;

fn check(set: &[&str], given: &[(&str, &str)], expected: Expect) {
    let shown = match load(&[("docker-bake.hcl", FILE)], given, &["app"], set) {
        Ok(plan) => {
            let json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
            json["target"]["app"].to_string()
        }
        Err(error) => format!("error: {error}"),
    };
    expected.assert_eq(&shown);
}

#[test]
fn values_replace_lists_or_with_a_plus_come_to_them() {
    check(
        &["app.tags=b", "app.tags=c", "app.platform+=linux/arm64", "*.args.V=2"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"2"},"tags":["b","c"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64","linux/arm64"],"output":[{"type":"registry"},{"type":"image"}]}"#
        ]],
    );
    check(
        &["app.tags+=b", "a*.labels.x=<y>", "app.cache-from+=type=local,src=y", "app.contexts.c=target:base"],
        &[],
        expect![[
            r#"{"context":".","contexts":{"c":"target:base"},"dockerfile":"Dockerfile","args":{"V":"1"},"labels":{"x":"<y>"},"tags":["a","b"],"cache-from":[{"ref":"x","type":"registry"},{"src":"y","type":"local"}],"platforms":["linux/amd64"],"output":[{"type":"registry"},{"type":"image"}]}"#
        ]],
    );
    check(&["app.contexts.c=target:web"], &[], expect!["error: context cycle not allowed: web -> web"]);
    check(
        &["app.no-cache=true", "app.pull=0", "app.shm-size=1g", "app.ulimits=nofile=1:2", "app.network=host"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"type":"registry"},{"type":"image"}],"pull":false,"no-cache":true,"network":"host","shm-size":"1g","ulimits":["nofile=1:2"],"entitlements":["network.host"]}"#
        ]],
    );
    check(
        &[
            "app.attest=type=sbom",
            "app.secrets=id=a,src=b",
            "app.ssh=k=/p,/q",
            "app.annotations=a=b",
            "app.call=check",
        ],
        &[],
        expect![[
            r#"{"annotations":["a=b"],"attest":[{"type":"sbom"}],"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"secret":[{"id":"a","src":"b"}],"ssh":[{"id":"k","paths":["/p","/q"]}],"platforms":["linux/amd64"],"output":[{"type":"registry"},{"type":"image"}],"call":"check"}"#
        ]],
    );
}

#[test]
fn an_argument_without_a_value_takes_that_of_the_environment() {
    check(
        &["app.args.V", "app.args.NONE"],
        &[("V", "given")],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"given"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"type":"registry"},{"type":"image"}]}"#
        ]],
    );
}

#[test]
fn push_and_load_change_outputs_as_they_are_by_then() {
    check(
        &["*.push=true"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"type":"registry"},{"push":"true","type":"image"}]}"#
        ]],
    );
    check(
        &["*.push=false"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"push":"false","type":"image"}]}"#
        ]],
    );
    check(
        &["*.load=true", "app.output=type=oci,dest=o.tar"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"dest":"o.tar","type":"oci"},{"type":"docker"}]}"#
        ]],
    );
    check(
        &["*.load=true", "app.output=out"],
        &[],
        expect![[
            r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"dest":"out","type":"local"}]}"#
        ]],
    );
}

#[test]
fn what_cannot_be_set_is_refused() {
    for (set, expected) in [
        ("app", expect![[r#"error: override "app": invalid override key app, expected target.name"#]]),
        ("app.tags", expect![[r#"error: override "app.tags": expected target.name=value"#]]),
        ("app.args=1", expect![[r#"error: override "app.args=1": invalid key args, args requires name"#]]),
        (
            "app.nope=1",
            expect![[
                r#"error: override "app.nope=1": unknown key: nope; known are annotations, attest, cache-from, cache-to, entitlements, no-cache-filter, output, platform, policy, secrets, ssh, tags, ulimits, call, context, description, dockerfile, dockerfile-inline, load, network, no-cache, pull, push, shm-size, target, args, contexts, extra-hosts, labels, resources"#
            ]],
        ),
        (
            "app.inherits=x",
            expect![[
                r#"error: override "app.inherits=x": unknown key: inherits; known are annotations, attest, cache-from, cache-to, entitlements, no-cache-filter, output, platform, policy, secrets, ssh, tags, ulimits, call, context, description, dockerfile, dockerfile-inline, load, network, no-cache, pull, push, shm-size, target, args, contexts, extra-hosts, labels, resources"#
            ]],
        ),
        ("nobody.tags=1", expect![[r#"error: could not find any target matching "nobody""#]]),
        (
            "app.pull=maybe",
            expect![[r#"error: override "app.pull=maybe": invalid value maybe for boolean key pull"#]],
        ),
        (
            "app.output=type",
            expect![[
                r#"{"context":".","dockerfile":"Dockerfile","args":{"V":"1"},"tags":["a"],"cache-from":[{"ref":"x","type":"registry"}],"platforms":["linux/amd64"],"output":[{"dest":"type","type":"local"}]}"#
            ]],
        ),
    ] {
        check(&[set], &[], expected);
    }
}

#[test]
fn overrides_of_a_parent_are_inherited() {
    let plan = load(&[("docker-bake.hcl", FILE)], &[], &["web"], &["app.args.V=9"]).unwrap();
    assert_eq!(plan.targets["web"].args["V"], "9");
}
