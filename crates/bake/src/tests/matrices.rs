//! Matrices, references between blocks, and what is asked for by pattern.

use expect_test::expect;

use super::support::{check_error, load};

fn names(content: &str, targets: &[&str]) -> String {
    match load(&[("docker-bake.hcl", content)], &[], targets, &[]) {
        Ok(plan) => {
            let groups =
                plan.groups.iter().map(|(name, group)| format!("{name}: {}\n", group.targets.join(" ")));
            let targets = plan.targets.iter().map(|(name, target)| format!("{name} {:?}\n", target.args));
            groups.chain(targets).collect()
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn a_matrix_makes_a_target_of_each_combination_and_a_group_of_all() {
    let content = r#"
        versions = ["1.0", "2.0"]
        target "app" {
          name = "app-${tgt}-${replace(version, ".", "-")}-${item.kind}"
          matrix = {
            tgt = ["foo", "bar"]
            version = versions
            item = [{ kind = "x" }]
          }
          args = { VERSION = version, TGT = upper(tgt), OTHER = target.base.args.A }
        }
        target "base" {
          args = { A = "a" }
        }
    "#;
    expect![[r#"
        app: app-foo-1-0-x app-bar-1-0-x app-foo-2-0-x app-bar-2-0-x
        default: app
        app-bar-1-0-x {"OTHER": "a", "TGT": "BAR", "VERSION": "1.0"}
        app-bar-2-0-x {"OTHER": "a", "TGT": "BAR", "VERSION": "2.0"}
        app-foo-1-0-x {"OTHER": "a", "TGT": "FOO", "VERSION": "1.0"}
        app-foo-2-0-x {"OTHER": "a", "TGT": "FOO", "VERSION": "2.0"}
    "#]]
    .assert_eq(&names(content, &["app"]));
    expect![[r#"
        default: app-foo-1-0-x app-foo-2-0-x base
        app-foo-1-0-x {"OTHER": "a", "TGT": "FOO", "VERSION": "1.0"}
        app-foo-2-0-x {"OTHER": "a", "TGT": "FOO", "VERSION": "2.0"}
        base {"A": "a"}
    "#]]
    .assert_eq(&names(content, &["app-foo*", "ba[r-t]e"]));
    expect![[r#"error: could not find any target matching "nothing*""#]]
        .assert_eq(&names(content, &["nothing*"]));
    expect!["error: failed to find target nothing; there are app-foo-1-0-x, app-bar-1-0-x, app-foo-2-0-x, app-bar-2-0-x, base"].assert_eq(&names(content, &["nothing"]));
}

#[test]
fn a_matrix_that_makes_no_names_is_refused() {
    check_error(
        "target \"x\" {\n  matrix = { a = [1, 2] }\n}",
        expect![[r#"docker-bake.hcl:1,1: duplicate name "x""#]],
    );
    check_error("target \"x\" {\n  matrix = [1]\n}", expect!["docker-bake.hcl:2,12: matrix must be a map"]);
    check_error(
        "target \"x\" {\n  matrix = { a = 1 }\n}",
        expect!["docker-bake.hcl:2,12: matrix values must be a list"],
    );
    check_error("target \"x\" {\n  name = \"y\"\n}", expect!["docker-bake.hcl:2,10: name requires matrix"]);
    check_error(
        "target \"x\" {\n  name = \"a b\"\n  matrix = {}\n}",
        expect![[r#"docker-bake.hcl:2,10: invalid name "a b": only "[a-zA-Z0-9_-]+" are allowed"#]],
    );
    check_error(
        "group \"x\" {\n  name = \"y\"\n  targets = []\n}",
        expect!["docker-bake.hcl:2,10: name is not supported for groups"],
    );
    check_error(
        "group \"x\" {\n  matrix = {}\n  targets = []\n}",
        expect!["docker-bake.hcl:2,12: matrix is not supported for groups"],
    );
    check_error("group \"x\" {}", expect!["docker-bake.hcl:1,1: group x needs targets"]);
    check_error(
        "target \"x.y\" {}",
        expect![[r#"docker-bake.hcl:1,1: invalid name "x.y": only "[a-zA-Z0-9_-]+" are allowed"#]],
    );
}

#[test]
fn attributes_of_other_blocks_are_seen_as_the_block_says_them() {
    let content = r#"
        target "default" {
          dockerfile = "x"
          context = target.bar.context
          args = {
            own = target.default.dockerfile
            name = target.bar.name
            unset = target.bar.target
            cache = target.bar.cache-from[1].src
            out = target.bar.output[0].type
            key = target.bar.ssh[0].paths[0]
            group = join(" ", group.g.targets)
            renamed = target.xyz.dockerfile
          }
        }
        target "bar" {
          context = "yyy"
          cache-from = ["user/app", "type=local,src=c"]
          output = ["type=oci,dest=o"]
          ssh = ["k=/p"]
        }
        target "abc" {
          name = "xyz"
          matrix = {}
          dockerfile = "foo"
        }
        group "g" { targets = ["bar", "default"] }
    "#;
    expect![[r#"
        default: default
        default {"cache": "c", "group": "bar default", "key": "/p", "name": "bar", "out": "oci", "own": "x", "renamed": "foo"}
    "#]].assert_eq(&names(content, &[]));
    check_error(
        "target \"default\" {\n  context = target.nope.context\n}",
        expect![[
            r#"docker-bake.hcl:2,13: target does not have an attribute named "nope": there is no such target"#
        ]],
    );
    check_error(
        "target \"default\" {\n  context = target.default.nope\n}",
        expect![[r#"docker-bake.hcl:2,13: target default does not have an attribute named "nope""#]],
    );
    check_error(
        "target \"default\" {\n  context = target\n}",
        expect!["docker-bake.hcl:2,13: cannot access target as a variable"],
    );
}

#[test]
fn heredocs_directives_and_keys_are_read_as_hcl_says() {
    let content = r#"
        key = "computed"
        target "default" {
          args = {
            "quoted" : 1,
            (key) = 2
            plain = 3
            heredoc = <<-EOT
              a ${key}
                b
            EOT
            raw = <<EOT
  x
EOT
            list = <<-EOT
            %{~ for x in ["p", "q"] ~}
            ${x};
            %{~ endfor ~}
            EOT
          }
          resources = { memory = "1g", cpu-shares = 5 }
          no-such-attribute = "is left alone"
        }
    "#;
    expect![[r#"
        default: default
        default {"computed": "2", "heredoc": "a computed\n  b\n", "list": "p;q;", "plain": "3", "quoted": "1", "raw": "  x\n"}
    "#]].assert_eq(&names(content, &[]));
    check_error(
        "target \"default\" {\n  resources = { cpus = 1 }\n}",
        expect!["docker-bake.hcl:2,15: resources of target default: unknown resources key cpus"],
    );
    check_error(
        "target \"default\" {\n  args = { a = 1\n",
        expect!["read docker-bake.hcl:2,3: invalid block body; expected `}`, newline or identifier"],
    );
}
