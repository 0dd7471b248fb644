//! Targets, groups, inheritance, matrices and variables, and what is said of files that are wrong.

use crate::workshop::{DOCKERFILE, Workshop};

#[test]
fn hcl_with_groups_inheritance_matrices_and_variables() {
    let workshop = Workshop::new(&[
        ("app/Dockerfile", DOCKERFILE),
        (
            "docker-bake.hcl",
            r#"
variable "VERSION" { default = "1" }
variable "NAMES" {
  type = list(string)
  default = ["x", "y"]
}
function "tag" {
  params = [name]
  result = "${name}:${VERSION}"
}
group "default" { targets = ["app", "matrix"] }
target "_base" {
  context = "app"
  args = { VERSION = VERSION, WHO = "base" }
  labels = { "made.by" = "bake" }
  network = "none"
}
target "app" {
  inherits = ["_base"]
  args = { WHO = "app" }
  tags = [tag("app")]
}
target "matrix" {
  name = "matrix-${who}"
  inherits = ["_base"]
  matrix = { who = NAMES }
  args = { WHO = who }
  tags = [tag("matrix-${who}")]
}
target "other" {
  inherits = ["_base"]
  tags = ["other"]
}
"#,
        ),
    ]);
    let told = workshop.bake(&[]);
    assert_eq!(workshop.names(), ["app:1", "matrix-x:1", "matrix-y:1"]);
    assert_eq!(workshop.in_image("app:1", "cat /said"), "app 1\n");
    assert_eq!(workshop.in_image("matrix-y:1", "cat /said"), "y 1\n");
    assert_eq!(workshop.skiff.said("{{index .Config.Labels \"made.by\"}}", "matrix-x:1"), "bake");
    // All of them in one account, each by its name.
    for name in ["app", "matrix-x", "matrix-y"] {
        assert!(told.contains(&format!("[{name} 2/2] RUN echo")), "{told}");
        assert!(told.contains(&format!("[{name} internal] load build definition")), "{told}");
    }
    // The environment counts before the file, --var before that, and --set at the end.
    workshop.bake_with(&[("VERSION", "2")], &["app"]);
    assert_eq!(workshop.in_image("app:2", "cat /said"), "app 2\n");
    let given = ["--var", "VERSION=3", "--set", "app.args.WHO=set", "--set", "*.tags+=more:1", "app"];
    workshop.bake_with(&[("VERSION", "2")], &given);
    assert_eq!(workshop.in_image("app:3", "cat /said"), "set 3\n");
    assert_eq!(workshop.skiff.said("{{.Id}}", "app:3"), workshop.skiff.said("{{.Id}}", "more:1"));
    // A target alone has no prefix, and a pattern means several.
    let told = workshop.bake(&["other"]);
    assert!(told.contains("] RUN echo") && !told.contains("[other"), "{told}");
    workshop.bake_with(&[("NAMES_JSON", "[\"z\"]"), ("VERSION", "4")], &["matrix-*"]);
    assert!(workshop.names().contains(&"matrix-z:4".to_owned()), "{:?}", workshop.names());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let workshop = Workshop::new(&[]);
    workshop.fails(&[], &["couldn't find a bake definition"]);
    for (name, content, says) in [
        ("docker-bake.hcl", "target \"a\" {\n  tags = [\"x\"\n}\n", "docker-bake.hcl:3,"),
        ("docker-bake.hcl", "target \"a\" {\n  tags = [NONE]\n}\n", "docker-bake.hcl:2,11"),
        ("docker-bake.hcl", "target \"a\" {\n  args = 1\n}\n", "docker-bake.hcl:2,"),
        ("docker-bake.json", "{ \"target\": \n [ }", "docker-bake.json:2,"),
        ("docker-bake.hcl", "target \"b\" {}\n", "failed to find target a"),
    ] {
        workshop.write(name, content);
        workshop.fails(&["-f", name, "a"], &[says]);
    }
    workshop.write("docker-bake.hcl", "target \"a\" {}\n");
    workshop.fails(&["--set", "a.nonsense=1", "-f", "docker-bake.hcl", "a"], &["unknown key: nonsense"]);
    workshop.fails(&["-f", "none.hcl"], &["none.hcl"]);
}

#[test]
fn it_has_the_spelling_of_a_build_too() {
    let workshop = Workshop::new(&[
        ("Dockerfile", DOCKERFILE),
        ("docker-bake.hcl", "target \"default\" { tags = [\"made\"] }\n"),
    ]);
    workshop.skiff.ok(&["build", "bake", "--progress=quiet"]);
    assert_eq!(workshop.names(), ["made:latest"]);
    // The checks of a target's Dockerfile, without building it.
    let checked = workshop.try_with(&[], &["build", "bake", "--check"]);
    assert!(checked.stdout.contains("no warnings found"), "{} {}", checked.stdout, checked.stderr);
    // A folder of this name is a context, as it is for Docker.
    workshop.write("bake/Dockerfile", "FROM busybox\nRUN echo folder > /said\n");
    workshop.skiff.ok(&["build", "-q", "-t", "folder", "bake"]);
    assert_eq!(workshop.in_image("folder", "cat /said"), "folder\n");
    workshop.skiff.ok(&["build", "bake", "-q", "-t", "folder:2"]);
    assert!(workshop.names().contains(&"folder:2".to_owned()));
}
