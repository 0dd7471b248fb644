//! Targets of one command: upon each other, side by side, and ended together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use testkit::{Peer, Reply};

use crate::workshop::Workshop;

#[test]
fn a_target_stands_upon_another() {
    let workshop = Workshop::new(&[
        (
            "base/Dockerfile",
            "FROM busybox\nENV GREETING=hello\nWORKDIR /work\nRUN cat /proc/sys/kernel/random/uuid > once\n",
        ),
        (
            "Dockerfile",
            "FROM nosuchimage AS base\nFROM base\nARG N\nRUN echo $GREETING $N > said; pwd >> said\nCOPY --from=base /work/once copied\n",
        ),
        (
            "docker-bake.hcl",
            r#"
group "default" { targets = ["one", "two"] }
target "base" {
  context = "base"
  tags = ["base:never"]
}
target "one" {
  contexts = { base = "target:base" }
  args = { N = "1" }
  tags = ["one"]
}
target "two" {
  contexts = { base = "target:middle" }
  args = { N = "2" }
  tags = ["two"]
}
target "middle" {
  dockerfile-inline = "FROM base\nENV GREETING=bye\n"
  contexts = { base = "target:base" }
}
"#,
        ),
    ]);
    workshop.bake(&[]);
    assert_eq!(workshop.names(), ["one:latest", "two:latest"], "what is only linked to is not exported");
    assert_eq!(workshop.in_image("one", "cat said"), "hello 1\n/work\n");
    assert_eq!(workshop.in_image("two", "cat said"), "bye 2\n/work\n");
    let once = workshop.in_image("one", "cat once copied");
    assert_eq!(once, workshop.in_image("two", "cat once copied"), "the base is made once");
    // Again everything is known; a change of the base is seen above it.
    let again = workshop.bake(&[]);
    assert!(again.matches(" CACHED\n").count() >= 6, "{again}");
    assert_eq!(workshop.in_image("one", "cat once copied"), once);
    workshop.write(
        "base/Dockerfile",
        "FROM busybox\nENV GREETING=changed\nWORKDIR /work\nRUN echo anew > once\n",
    );
    workshop.bake(&[]);
    assert_eq!(workshop.in_image("one", "cat said copied"), "changed 1\n/work\nanew\n");
    workshop
        .fails(&["--set", "one.contexts.base=target:one", "one"], &["context cycle not allowed: one -> one"]);
    workshop.fails(&["--set", "one.contexts.base=target:none", "one"], &["failed to find target none"]);
    // Only what bake makes has targets.
    let alone = workshop.skiff.run(&["build", "--build-context=base=target:base", "."]);
    assert!(alone.code != 0 && alone.stderr.contains("only bake files have targets"), "{}", alone.stderr);
}

#[test]
fn targets_share_work_and_run_side_by_side() {
    // Each waits for a file that the other makes: one after the other they would wait for ever.
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /once\nARG ME\nARG OTHER\n\
        RUN --mount=type=cache,id=meeting,target=/m touch /m/$ME; n=0; until [ -e /m/$OTHER ]; do n=$((n+1)); \
        [ $n -lt 600 ] || exit 3; sleep 0.1; done\n";
    let workshop = Workshop::new(&[
        ("Dockerfile", dockerfile),
        (
            "docker-bake.json",
            r#"{
  "group": { "default": { "targets": ["a", "b"] } },
  "target": {
    "a": { "args": { "ME": "a", "OTHER": "b" }, "tags": ["a"] },
    "b": { "args": { "ME": "b", "OTHER": "a" }, "tags": ["b"] }
  }
}"#,
        ),
    ]);
    workshop.bake(&[]);
    assert_eq!(workshop.in_image("a", "cat /once"), workshop.in_image("b", "cat /once"));
}

#[test]
fn the_first_failure_ends_all_and_has_its_targets_name() {
    let workshop = Workshop::new(&[
        ("Dockerfile", "FROM busybox\nARG CODE\nRUN [ $CODE = 0 ] && sleep 600 || exit $CODE\n"),
        (
            "docker-bake.hcl",
            "group \"default\" { targets = [\"long\", \"bad\"] }\n\
             target \"long\" { \n args = { CODE = 0 }\n tags = [\"long\"]\n }\n\
             target \"bad\" { \n args = { CODE = 9 }\n tags = [\"bad\"]\n }\n",
        ),
    ]);
    let told = workshop.fails(&["--metadata-file", "metadata"], &["   3 | >>> RUN [ $CODE = 0 ]"]);
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("ERROR: target bad: failed to solve: process \"/bin/sh -c"), "{last}");
    assert!(last.ends_with("did not complete successfully: exit code: 9"), "{last}");
    assert!(workshop.names().is_empty());
    assert!(!workshop.skiff.folder().join("metadata").exists());
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn programs_of_all_targets_share_their_places() {
    // Each fails if another one is there; the cache mount is common to all.
    let dockerfile = "FROM busybox\nARG ME\nRUN --mount=type=cache,id=room,target=/room \
        mkdir /room/busy && sleep 0.3 && rmdir /room/busy && echo $ME > /me\n";
    let target = |name: &str| {
        format!("target \"{name}\" {{\n args = {{ ME = \"{name}\" }}\n tags = [\"{name}\"]\n}}\n")
    };
    let group = "group \"default\" { targets = [\"a\", \"b\", \"c\", \"d\"] }\n";
    let file = format!("{group}{}", ["a", "b", "c", "d"].map(target).concat());
    let workshop = Workshop::new(&[("Dockerfile", dockerfile), ("docker-bake.hcl", &file)]);
    workshop.bake(&["--parallel=1"]);
    assert_eq!(workshop.names().len(), 4);
    assert_eq!(workshop.in_image("c", "cat /me"), "c\n");
}

#[test]
fn a_failure_ends_those_that_wait_for_the_network() {
    // One file is never sent to its end; the other is there once somebody waits for that.
    let (never, waits) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let peer = Peer::serve(move |seen| match (seen.path.as_str(), seen.method.as_str()) {
        ("/file", "GET") => {
            waits.store(true, Ordering::SeqCst);
            Reply::new(200, vec![0; 1 << 20]).held(1000, &never)
        }
        ("/waits", _) if !waits.load(Ordering::SeqCst) => Reply::new(404, "not yet"),
        _ => Reply::new(200, ""),
    });
    let address = peer.address();
    let slow = format!("FROM busybox\nADD http://{address}/file /file\n");
    let bad = format!(
        "FROM busybox\nRUN until busybox wget -q -O /dev/null http://{address}/waits; do sleep 0.1; done; exit 7\n"
    );
    let workshop = Workshop::new(&[
        ("slow/Dockerfile", &slow),
        ("bad/Dockerfile", &bad),
        (
            "docker-bake.hcl",
            "group \"default\" { targets = [\"slow\", \"bad\"] }\n\
             target \"slow\" { context = \"slow\" }\ntarget \"bad\" { context = \"bad\" }\n",
        ),
    ]);
    let told = workshop.fails(&[], &["ERROR: target bad: failed to solve: process"]);
    assert!(told.contains("exit code: 7"), "{told}");
    let asked = peer.lines().iter().filter(|line| *line == "GET /file").count();
    assert_eq!(asked, 1, "nobody asks again");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn provenance_tells_what_targets_below_are_made_of() {
    let (registry, _folder) = testkit::registry();
    let peer = Peer::serve(|_| Reply::new(200, "of the web"));
    let workshop = Workshop::new(&[
        (
            "base/Dockerfile",
            &format!(
                "FROM busybox\nADD http://{}/file /file\nRUN --network=none --mount=type=secret,id=below,required=true true\n",
                peer.address()
            ),
        ),
        ("secret", "secret"),
        (
            "docker-bake.hcl",
            &format!(
                r#"
target "base" {{
  context = "base"
  secret = [{{ id = "below", src = "secret" }}]
}}
target "middle" {{
  dockerfile-inline = "FROM base\nRUN --network=none true\n"
  contexts = {{ base = "target:base" }}
}}
target "top" {{
  dockerfile-inline = "FROM middle\nRUN --network=none echo top > /top\n"
  contexts = {{ middle = "target:middle" }}
  tags = ["{0}/top:1"]
  attest = [{{ type = "provenance", mode = "max" }}]
  output = ["type=registry", "type=local,dest=out"]
}}
target "alone" {{
  dockerfile-inline = "FROM middle AS unused\nFROM busybox\nRUN --network=none true\n"
  contexts = {{ middle = "target:middle" }}
  attest = ["type=provenance,mode=max"]
  output = ["type=local,dest=alone"]
}}
"#,
                registry.address()
            ),
        ),
    ]);
    workshop.bake(&["--metadata-file=metadata", "top", "alone"]);
    let told = |folder: &str| -> Value {
        let statement: Value =
            serde_json::from_str(&workshop.read(&format!("{folder}/provenance.json"))).unwrap();
        statement["predicate"].clone()
    };
    let uris = |told: &Value| -> Vec<String> {
        let all = told["buildDefinition"]["resolvedDependencies"].as_array().unwrap().iter();
        all.map(|one| one["uri"].as_str().unwrap().to_owned()).collect()
    };
    let top = told("out");
    let file = format!("http://{}/file", peer.address());
    assert!(uris(&top).contains(&file), "{top:#}");
    assert!(uris(&top).iter().any(|uri| uri.starts_with("pkg:docker/busybox")), "{top:#}");
    let dependencies = top["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let of_web = dependencies.iter().find(|one| one["uri"] == file.as_str()).unwrap();
    assert_eq!(of_web["digest"]["sha256"].as_str().map(str::len), Some(64));
    let request = &top["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["secrets"], json!([{ "id": "below" }]), "{request:#}");
    assert_eq!(request["args"]["context:middle"], "target:middle");
    // What no step takes from is not in it.
    let alone = told("alone");
    assert!(!uris(&alone).contains(&file), "{alone:#}");
    assert_eq!(alone["buildDefinition"]["externalParameters"]["request"].get("secrets"), None);
    let metadata: Value = serde_json::from_str(&workshop.read("metadata")).unwrap();
    assert_eq!(
        metadata["top"]["buildx.build.provenance"]["buildDefinition"]["resolvedDependencies"],
        top["buildDefinition"]["resolvedDependencies"]
    );
}
