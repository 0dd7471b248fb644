//! Each attribute of a target, as the image, the container or the output shows it.

use serde_json::Value;

use crate::workshop::Workshop;

const FILE: &str = r#"
target "_base" {
  context = "."
  network = "none"
}
target "room" {
  inherits = ["_base"]
  dockerfile-inline = "FROM busybox\nRUN df -k /dev/shm | tail -n 1 > /shm; ulimit -n > /files; grep -w far /etc/hosts > /hosts; cat /sys/class/net/*/address | wc -l > /links\n"
  shm-size = "8m"
  ulimits = ["nofile=321:654"]
  extra-hosts = { far = "192.0.2.7" }
  tags = ["room"]
}
target "lent" {
  inherits = ["_base"]
  dockerfile-inline = "FROM busybox\nRUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=V cat /run/secrets/file > /lent; echo $V >> /lent\n"
  secret = [{ id = "file", src = "secret" }, { type = "env", id = "variable", env = "OUR_VARIABLE" }]
  tags = ["lent"]
}
target "stage" {
  inherits = ["_base"]
  dockerfile-inline = "FROM busybox AS first\nARG A=none\nRUN echo $A > /said\nFROM first AS second\nRUN echo second > /said\n"
  target = "first"
  args = { A = "given" }
  labels = { "a.b" = "c" }
  annotations = ["org.example.note=kept", "index:org.example.top=too"]
  attest = [{ type = "sbom", disabled = true }, { type = "provenance", mode = "min" }]
  output = [{ type = "oci", dest = "stage.tar", tar = "true" }, "type=image,name=stage"]
}
target "cached" {
  inherits = ["_base"]
  dockerfile-inline = "FROM busybox AS one\nRUN cat /proc/sys/kernel/random/uuid > /one\nFROM one AS two\nRUN cat /proc/sys/kernel/random/uuid > /two\n"
  cache-to = [{ type = "local", dest = "cache", mode = "max" }]
  cache-from = [{ type = "local", src = "cache" }]
  tags = ["cached"]
}
target "asks" {
  inherits = ["_base"]
  description = "what it can be told"
  dockerfile-inline = "FROM busybox AS thing\nARG KNOB=1\n"
  call = "outline"
}
"#;

#[test]
fn each_attribute_does_what_it_says() {
    let workshop = Workshop::new(&[("docker-bake.hcl", FILE), ("secret", "of a file\n")]);
    let environment = [("OUR_VARIABLE", "of a variable")];
    workshop.bake_with(&environment, &["room", "lent"]);
    for (image, script, want) in [
        ("room", "cut -c1-200 /shm | xargs | cut -d' ' -f2", "8192\n"),
        ("room", "cat /files /links", "321\n1\n"),
        ("room", "cut -f1 /hosts | cut -d' ' -f1", "192.0.2.7\n"),
        ("lent", "cat /lent", "of a file\nof a variable\n"),
    ] {
        assert_eq!(workshop.in_image(image, script), want, "{image}: {script}");
    }
    // What is said on the command line counts before the file; a pattern means several, += adds.
    let set = [
        "--set=*.args.A=set",
        "--set=st*.labels.x=y",
        "--set=stage.tags+=stage:more",
        "--set=stage.output+=type=local,dest=out",
    ];
    workshop.bake(&[&set[..], &["stage"]].concat());
    assert_eq!(workshop.read("out/said"), "set\n");
    // Tags are the names of all that is an image.
    assert_eq!(workshop.names(), ["lent:latest", "room:latest", "stage:more"]);
    assert_eq!(workshop.in_image("stage:more", "cat /said"), "set\n");
    assert_eq!(
        workshop.skiff.said("{{index .Config.Labels \"a.b\"}}{{.Config.Labels.x}}", "stage:more"),
        "cy"
    );
    let archive = workshop.skiff.folder().join("stage.tar");
    let (mut told, mut index) = (String::new(), Value::Null);
    for entry in tar::Archive::new(std::fs::File::open(archive).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut text).unwrap();
        if entry.path().unwrap().ends_with("index.json") {
            index = serde_json::from_slice(&text).unwrap();
        } else if text.len() < 1 << 16 {
            told.push_str(&String::from_utf8_lossy(&text));
        }
    }
    assert!(
        told.contains("\"org.example.note\":\"kept\"") && told.contains("\"org.example.top\":\"too\""),
        "{index:#}\n{told}"
    );
    assert!(told.contains("slsa.dev/provenance") && !told.contains("spdx.dev"), "{told}");
}

#[test]
fn caches_and_stages_that_are_made_anew() {
    let workshop = Workshop::new(&[("docker-bake.hcl", FILE)]);
    let once = |workshop: &Workshop| {
        let both = workshop.in_image("cached", "cat /one /two");
        let (one, two) = both.split_once('\n').unwrap();
        (one.to_owned(), two.to_owned())
    };
    workshop.bake(&["cached"]);
    let first = once(&workshop);
    workshop.bake(&["--set=cached.no-cache-filter=two", "cached"]);
    let second = once(&workshop);
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1, "the stage that is named is made anew");
    workshop.bake(&["--no-cache", "cached"]);
    assert_ne!(once(&workshop).0, first.0);
    // Another Skiff finds it in the cache that was kept.
    let third = once(&workshop);
    let other = Workshop::new(&[("docker-bake.hcl", FILE)]);
    let (from, to) = (workshop.skiff.folder().join("cache"), other.skiff.folder().join("cache"));
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
    let told = other.bake(&["cached"]);
    assert!(told.contains(" CACHED"), "{told}");
    assert_eq!(once(&other), third);
}

#[test]
fn a_call_is_answered_instead_of_a_build() {
    let workshop = Workshop::new(&[("docker-bake.hcl", FILE)]);
    let asked = workshop.try_with(&[], &["bake", "asks"]);
    assert!(asked.code == 0 && asked.stdout.contains("KNOB"), "{} {}", asked.stdout, asked.stderr);
    let targets = workshop.try_with(&[], &["bake", "--call=targets,format=json", "stage"]);
    let targets: Value =
        serde_json::from_str(&targets.stdout).unwrap_or_else(|_| panic!("{}", targets.stderr));
    assert_eq!(targets["targets"][0]["name"], "first");
    assert!(workshop.names().is_empty());
}
