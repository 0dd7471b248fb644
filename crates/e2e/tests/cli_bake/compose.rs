//! Compose files as definitions.

use crate::workshop::{DOCKERFILE, Workshop};

#[test]
fn compose_files_with_their_environment() {
    let workshop = Workshop::new(&[
        ("web/Dockerfile", DOCKERFILE),
        (
            "web/Special",
            "FROM base AS wanted\nARG VERSION\nRUN echo special $VERSION >> /said\nFROM scratch\n",
        ),
        (".env", "# for compose\nTAG=fromfile\nVERSION='1.5' # quoted\nexport BOTH=file\n"),
        (
            "compose.yaml",
            r#"
services:
  db:
    image: postgres
  web:
    image: "web:${TAG}"
    environment: { WHO: service }
    build:
      context: ./web
      args: { WHO: , VERSION: "${VERSION}" }
      network: none
      labels: { both: "${BOTH:-none}" }
  special:
    build:
      context: ./web
      dockerfile: Special
      target: wanted
      additional_contexts: { base: "service:web" }
      args: [ "VERSION=${MISSING:-2}" ]
      x-bake:
        tags: [ "special:1", "special:2" ]
"#,
        ),
    ]);
    workshop.bake_with(&[("BOTH", "environment")], &[]);
    assert_eq!(workshop.names(), ["special:1", "special:2", "web:fromfile"]);
    assert_eq!(workshop.in_image("web:fromfile", "cat /said"), "service 1.5\n");
    assert_eq!(workshop.in_image("special:2", "cat /said"), "service 1.5\nspecial 2\n");
    assert_eq!(workshop.skiff.said("{{.Config.Labels.both}}", "web:fromfile"), "environment");
    // The environment counts before the file, and a bake file lies over a Compose file.
    workshop.write("docker-bake.override.hcl", "target \"web\" {\n tags = [\"web:over\"]\n}\n");
    workshop.bake_with(&[("VERSION", "7")], &["web"]);
    assert_eq!(workshop.in_image("web:over", "cat /said"), "service 7\n");
    workshop.write(".env", "TAG=x\nBROKEN='\n");
    workshop.fails(&[], &[".env:2,1", "a quoted value has no end"]);
}

#[test]
fn compose_files_take_from_others() {
    let workshop = Workshop::new(&[
        ("sub/Dockerfile", DOCKERFILE),
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nservices:\n  far:\n    extends: { file: sub/base.yaml, service: base }\n    image: far\n",
        ),
        (
            "sub/compose.yaml",
            "services:\n  inner:\n    image: 'inner:${TAG}'\n    env_file: who.env\n    build: { context: ., network: none, args: [WHO, VERSION] }\n",
        ),
        (
            "sub/base.yaml",
            "services:\n  base:\n    env_file: [who.env]\n    build: { context: ., network: none, args: [WHO, 'VERSION=${TAG:-none}'] }\n",
        ),
        ("sub/.env", "TAG=sub\n"),
        ("sub/who.env", "WHO='of a file'\nVERSION=9\n"),
        ("over.yaml", "services: { inner: { build: { args: { WHO: over } } } }\n"),
    ]);
    workshop.bake(&[]);
    assert_eq!(workshop.names(), ["far:latest", "inner:sub"]);
    assert_eq!(workshop.in_image("inner:sub", "cat /said"), "of a file 9\n");
    assert_eq!(workshop.in_image("far", "cat /said"), "of a file none\n");
    workshop.bake_with(&[("TAG", "given")], &["-f", "compose.yaml", "-f", "over.yaml", "inner"]);
    assert_eq!(workshop.in_image("inner:given", "cat /said"), "over 9\n");
    std::fs::remove_file(workshop.skiff.folder().join("sub/who.env")).unwrap();
    workshop.fails(&["far"], &["target far: env file sub/who.env not found"]);
    workshop.write("compose.yaml", "include: [none.yaml]\n");
    workshop.fails(&[], &["compose.yaml: read none.yaml: there is no such file"]);
}
