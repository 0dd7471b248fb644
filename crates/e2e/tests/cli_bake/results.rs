//! What is shown without a build, and what becomes of results.

use serde_json::Value;
use testkit::Skiff;

use crate::workshop::{DOCKERFILE, Workshop};

#[test]
fn plans_and_lists_are_shown_without_building() {
    let workshop = Workshop::new(&[(
        "docker-bake.hcl",
        r#"
variable "TAG" {
  default = "x"
  description = "The tag"
}
target "default" {
  description = "The one"
  tags = ["app:${TAG}"]
  args = { ID = uuidv4(), WHEN = timestamp() }
}
"#,
    )]);
    let output =
        workshop.try_with(&[("TAG", "y")], &["buildx", "bake", "--print", "--set", "*.platform=linux/amd64"]);
    let plan: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    assert_eq!(plan["target"]["default"]["tags"][0], "app:y");
    assert_eq!(plan["target"]["default"]["platforms"][0], "linux/amd64");
    assert_eq!(plan["group"]["default"]["targets"][0], "default");
    let id = plan["target"]["default"]["args"]["ID"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36, "{id}");
    let again: Value = serde_json::from_str(&workshop.skiff.ok(&["bake", "--print"])).unwrap();
    assert_ne!(again["target"]["default"]["args"]["ID"], id.as_str(), "random each time");
    let listed = workshop.skiff.ok(&["bake", "--list=targets"]);
    assert!(listed.contains("default") && listed.contains("The one"), "{listed}");
    let json = workshop.skiff.ok(&["bake", "--list", "type=variables,format=json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let tag = json.as_array().unwrap().iter().find(|variable| variable["name"] == "TAG").unwrap();
    assert_eq!((&tag["value"], &tag["description"]), (&"x".into(), &"The tag".into()));
    assert!(workshop.names().is_empty());
}

#[test]
fn results_are_pushed_kept_and_told() {
    let (registry, _folder) = testkit::registry();
    let workshop = Workshop::new(&[
        ("Dockerfile", DOCKERFILE),
        (
            "docker-bake.hcl",
            "variable \"REGISTRY\" {}\ngroup \"default\" { targets = [\"a\", \"b\"] }\n\
            target \"a\" {\n tags = [\"${REGISTRY}/a:1\"]\n args = { WHO = \"a\" }\n}\n\
            target \"b\" {\n tags = [\"${REGISTRY}/b:1\"]\n args = { WHO = \"b\" }\n output = [\"type=local,dest=out\"]\n}\n",
        ),
    ]);
    let address = registry.address();
    let environment = [("REGISTRY", address.as_str()), ("BUILDX_METADATA_PROVENANCE", "disabled")];
    workshop.bake_with(&environment, &["--push", "--metadata-file", "metadata", "a"]);
    let metadata: Value = serde_json::from_str(&workshop.read("metadata")).unwrap();
    assert_eq!(metadata["a"]["image.name"], format!("{address}/a:1"));
    assert!(metadata["a"].get("buildx.build.provenance").is_none(), "{metadata}");
    let digest = metadata["a"]["containerimage.digest"].as_str().unwrap().to_owned();
    let elsewhere = Skiff::new();
    elsewhere.ok(&["pull", "-q", &format!("{address}/a@{digest}")]);
    workshop.bake_with(&environment, &["--load", "b"]);
    assert_eq!(workshop.read("out/said"), "b 0\n");
    let quiet = workshop.try_with(&environment, &["bake", "-q", "--set", "b.output=type=docker"]);
    assert_eq!(quiet.code, 0, "{}", quiet.stderr);
    assert_eq!(
        quiet.stdout.lines().filter(|line| line.starts_with("sha256:")).count(),
        2,
        "{}",
        quiet.stdout
    );
    workshop.fails(&["--var", "REGISTRY=x", "--set", "*.output=type=tar,dest=-"], &["only one target"]);
}
