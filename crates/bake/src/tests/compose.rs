//! Compose files.

use expect_test::expect;

use super::support::load;

fn printed(files: &[(&str, &str)], given: &[(&str, &str)]) -> String {
    match load(files, given, &[], &[]) {
        Ok(plan) => plan.to_json(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn services_that_are_built_become_targets() {
    let file = r#"
services:
  db:
    image: postgres
    build: ./db/
  webapp.v1:
    image: "user/web:${TAG:-latest}"
    environment:
      FROM_SERVICE: yes
    build:
      context: ./web
      dockerfile: Dockerfile.alternate
      target: prod
      network: host
      args:
        A: 1.10
        B: true
        FROM_SERVICE:
        FROM_ENV:
        NOWHERE:
      labels: ["x=y", "empty"]
      cache_from: ["user/app:cache", "type=local,src=c"]
      cache_to: ["type=local,dest=c"]
      additional_contexts:
        base: service:db.x
        dir: ../dir
      ssh: ["default", "key=/path"]
      secrets:
        - token
        - source: file
      shm_size: 128m
      ulimits:
        nproc: 65535
        nofile: {soft: 1, hard: 2}
      extra_hosts:
        - "a:1.2.3.4"
        - "b=::1"
      platforms: [linux/amd64]
      provenance: mode=max
      sbom: true
      no_cache: true
      x-bake:
        tags: a b
        platforms: [linux/arm64]
        output: type=docker
        no-cache: false
        contexts: {more: target:db.x}
  db.x:
    build: {context: x}
  only-image:
    image: redis
secrets:
  token:
    environment: TOKEN
  file:
    file: ./secret
"#;
    expect![[r#"
        {
          "group": {
            "default": {
              "targets": [
                "db",
                "db_x",
                "webapp_v1"
              ]
            }
          },
          "target": {
            "db": {
              "context": "db",
              "dockerfile": "Dockerfile",
              "tags": [
                "postgres"
              ]
            },
            "db_x": {
              "context": "x",
              "dockerfile": "Dockerfile"
            },
            "webapp_v1": {
              "attest": [
                {
                  "type": "sbom"
                },
                {
                  "mode": "max",
                  "type": "provenance"
                }
              ],
              "context": "web",
              "contexts": {
                "base": "target:db_x",
                "dir": "../dir",
                "more": "target:db_x"
              },
              "dockerfile": "Dockerfile.alternate",
              "args": {
                "A": "1.1",
                "B": "true",
                "FROM_ENV": "env",
                "FROM_SERVICE": "yes"
              },
              "labels": {
                "empty": "",
                "x": "y"
              },
              "tags": [
                "a",
                "b"
              ],
              "cache-from": [
                {
                  "ref": "user/app:cache",
                  "type": "registry"
                },
                {
                  "src": "c",
                  "type": "local"
                }
              ],
              "cache-to": [
                {
                  "dest": "c",
                  "type": "local"
                }
              ],
              "target": "prod",
              "secret": [
                {
                  "id": "token",
                  "env": "TOKEN"
                },
                {
                  "id": "file",
                  "src": "secret"
                }
              ],
              "ssh": [
                {
                  "id": "default"
                },
                {
                  "id": "key",
                  "paths": [
                    "/path"
                  ]
                }
              ],
              "platforms": [
                "linux/amd64",
                "linux/arm64"
              ],
              "output": [
                {
                  "type": "docker"
                }
              ],
              "no-cache": false,
              "network": "host",
              "shm-size": "128MiB",
              "ulimits": [
                "nofile=1:2",
                "nproc=65535:65535"
              ],
              "entitlements": [
                "network.host"
              ],
              "extra-hosts": {
                "a": "1.2.3.4",
                "b": "::1"
              }
            }
          }
        }"#]]
    .assert_eq(&printed(&[("compose.yaml", file)], &[("FROM_ENV", "env"), ("TAG", "v2")]));
}

#[test]
fn later_compose_files_and_bake_files_lie_over_earlier_ones() {
    let files = [
        (
            "compose.yaml",
            "services:\n  app:\n    build:\n      context: a\n      args: [X=1, Y=1]\n      tags: [one]\n",
        ),
        (
            "override.yml",
            "services:\n  app:\n    build:\n      args: {Y: 2}\n      tags: !override [two]\n  gone:\n    build: !reset null\n",
        ),
        ("docker-bake.hcl", "target \"app\" {\n  args = { Z = 3 }\n}"),
    ];
    expect![[r#"
        {
          "group": {
            "default": {
              "targets": [
                "app"
              ]
            }
          },
          "target": {
            "app": {
              "context": "a",
              "dockerfile": "Dockerfile",
              "args": {
                "X": "1",
                "Y": "2",
                "Z": "3"
              },
              "tags": [
                "two"
              ]
            }
          }
        }"#]]
    .assert_eq(&printed(&files, &[]));
}

#[test]
fn anchors_merge_keys_and_extends_are_resolved() {
    let file = r#"
x-build: &build
  dockerfile: Common
  args: &args {A: a}
services:
  base:
    build:
      <<: *build
      args:
        <<: *args
        B: b
  app:
    extends: base
    build:
      target: app
"#;
    expect![[r#"
        {
          "group": {
            "default": {
              "targets": [
                "app",
                "base"
              ]
            }
          },
          "target": {
            "app": {
              "context": ".",
              "dockerfile": "Common",
              "args": {
                "A": "a",
                "B": "b"
              },
              "target": "app"
            },
            "base": {
              "context": ".",
              "dockerfile": "Common",
              "args": {
                "A": "a",
                "B": "b"
              }
            }
          }
        }"#]]
    .assert_eq(&printed(&[("compose.yaml", file)], &[]));
}

#[test]
fn variables_have_stand_ins() {
    let of = |text: &str| {
        let file = format!("services:\n  app:\n    build:\n      args:\n        V: '{text}'\n");
        match load(&[("compose.yaml", &file)], &[("SET", "set"), ("EMPTY", "")], &["app"], &[]) {
            Ok(plan) => format!("{text} = {}\n", plan.targets["app"].args["V"]),
            Err(error) => format!("{text}: {error}\n"),
        }
    };
    let rows = [
        "$SET ${SET} $$SET",
        "${NONE}",
        "${EMPTY:-d} ${EMPTY-d} ${NONE-d} ${NONE:-${SET}x}",
        "${SET:+alt} ${EMPTY:+alt} ${EMPTY+alt} ${NONE+alt}",
        "${NONE:?not given}",
        "${EMPTY?fine}",
        "${SET",
        "$1 a$ $ b",
        "${SET!}",
    ];
    expect![[r#"
        $SET ${SET} $$SET = set set $SET
        ${NONE} = 
        ${EMPTY:-d} ${EMPTY-d} ${NONE-d} ${NONE:-${SET}x} = d  d setx
        ${SET:+alt} ${EMPTY:+alt} ${EMPTY+alt} ${NONE+alt} = alt  alt 
        ${NONE:?not given}: compose.yaml: required variable NONE is missing a value: not given
        ${EMPTY?fine} = 
        ${SET: compose.yaml: invalid interpolation format: "${SET"; you may need to escape any $ with another $
        $1 a$ $ b = $1 a$ $ b
        ${SET!}: compose.yaml: invalid interpolation format: "${SET!}"; you may need to escape any $ with another $
    "#]].assert_eq(&rows.map(of).concat());
}

#[test]
fn what_is_no_compose_file_is_refused() {
    let refused = |content: &str| printed(&[("compose.yaml", content)], &[]) + "\n";
    let files = [
        "a: [",
        "version: '3'",
        "services:\n  a:\n    build: {nope: 1}",
        "services:\n  'a b':\n    build: .",
        "services:\n  a:\n    build:\n      secrets: [x]",
        "services:\n  a:\n    build:\n      secrets: [x]\nsecrets:\n  x: {external: true}",
        "services:\n  a:\n    extends: b\n  b:\n    extends: a",
        "services:\n  a:\n    extends: b\n",
        "services:\n  a:\n    extends: {file: other.yaml, service: b}",
        "include: [other.yaml]\nservices: {}",
        "include: other.yaml",
        "services:\n  a:\n    env_file: x\n    build: {args: [A]}",
        "services:\n  a:\n    build: .\n  a:\n    build: x",
        "services:\n  a:\n    build: {ulimits: {n: x}}",
        "services:\n  a:\n    build: {shm_size: large}",
    ];
    expect![[r#"
        error: read compose.yaml:2,1: while parsing a node, did not find expected node content
        error: compose.yaml: empty compose file
        error: target a: build has no "nope"
        error: target a b: invalid name "a b": only "[a-zA-Z0-9_-]+" are allowed
        error: target a: undefined secret x
        error: target a: unsupported external secret x
        error: extends cycle not allowed: a -> b -> a
        error: target a: it extends b, which compose.yaml does not define
        error: compose.yaml: other.yaml is another file, and nobody reads others here
        error: compose.yaml: .env is another file, and nobody reads others here
        error: compose.yaml: include must be a list
        error: target a: x is another file, and nobody reads others here
        error: compose.yaml: service a is defined twice
        error: target a: ulimits: n needs a number, or soft and hard
        error: target a: shm_size: "large" is no size
    "#]]
    .assert_eq(&files.map(refused).concat());
}
