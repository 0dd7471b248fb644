//! `bake` with the real program: definitions of all three kinds become images, side by side and upon each other.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod repositories;

use serde_json::Value;
use testkit::{Output, Skiff};

use repositories::Repositories;

/// A Skiff whose folder has bake files.
struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new(files: &[(&str, &str)]) -> Workshop {
        let workshop = Workshop { skiff: Skiff::with_busybox().that_builds() };
        for (path, content) in files {
            workshop.write(path, content);
        }
        workshop
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.skiff.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.skiff.folder().join(path)).unwrap()
    }

    /// With these variables beside the usual.
    fn try_with(&self, environment: &[(&str, &str)], words: &[&str]) -> Output {
        let mut command = self.skiff.command(words);
        command.envs(environment.iter().copied()).stdin(std::process::Stdio::null());
        Output::of(command.output().unwrap())
    }

    fn bake(&self, words: &[&str]) -> String {
        self.bake_with(&[], words)
    }

    fn bake_with(&self, environment: &[(&str, &str)], words: &[&str]) -> String {
        let output = self.try_with(environment, &[&["bake", "--progress=plain"], words].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn fails(&self, words: &[&str], says: &[&str]) -> String {
        let output = self.try_with(&[], &[&["bake", "--progress=plain"], words].concat());
        assert_eq!(output.code, 1, "{}", output.stderr);
        for says in says {
            assert!(output.stderr.contains(says), "no {says:?} in:\n{}", output.stderr);
        }
        output.stderr
    }

    fn in_image(&self, image: &str, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", image, "sh", "-c", script])
    }

    fn names(&self) -> Vec<String> {
        let names = self.skiff.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut names: Vec<String> =
            names.lines().filter(|name| *name != "busybox:latest").map(str::to_owned).collect();
        names.sort();
        names
    }
}

const DOCKERFILE: &str = "FROM busybox\nARG WHO=nobody\nARG VERSION=0\nRUN echo $WHO $VERSION > /said\n";

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
fn what_a_file_asks_for_has_to_be_allowed() {
    let workshop = Workshop::new(&[
        (
            "work/Dockerfile",
            "FROM busybox\nARG T\nRUN --mount=type=secret,id=s : $T; cat /run/secrets/s > /said\n",
        ),
        ("secret", "secret\n"),
        (
            "work/docker-bake.hcl",
            "target \"host\" {\n network = \"host\"\n tags = [\"host\"]\n secret = [\"id=s,src=docker-bake.hcl\"]\n}\n\
             target \"secret\" {\n tags = [\"secret\"]\n args = { T = \"secret\" }\n secret = [\"id=s,src=../secret\"]\n}\n\
             target \"out\" {\n output = [\"type=local,dest=link/out\"]\n secret = [\"id=s,src=docker-bake.hcl\"]\n}\n",
        ),
    ]);
    let work = workshop.skiff.folder().join("work");
    std::os::unix::fs::symlink("..", work.join("link")).unwrap();
    let bake = |environment: &[(&str, &str)], words: &[&str]| {
        let mut command = workshop.skiff.command(&[&["bake", "--progress=plain"], words].concat());
        command.current_dir(&work).envs(environment.iter().copied()).stdin(std::process::Stdio::null());
        Output::of(command.output().unwrap())
    };
    let base = std::fs::canonicalize(workshop.skiff.folder()).unwrap();
    let secret = format!("fs.read={}", base.join("secret").display());
    let out = format!("fs.write={}", base.join("out").display());
    for (target, flag, wide) in [
        ("host", "network.host", "network.host"),
        ("secret", secret.as_str(), "fs=.."),
        ("out", out.as_str(), "fs.write=*"),
    ] {
        let refused = bake(&[], &[target]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        let wanted = format!("additional privileges requested by {target}: {flag}; pass --allow={flag}");
        assert!(refused.stderr.contains(&wanted), "no {wanted:?} in {}", refused.stderr);
        let refused = bake(&[], &["--allow=fs.read=/nonexistent", target]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        for allow in [flag, wide] {
            let allowed = bake(&[], &[&format!("--allow={allow}"), target]);
            assert_eq!(allowed.code, 0, "{}", allowed.stderr);
        }
    }
    assert_eq!(workshop.in_image("secret", "cat /said"), "secret\n");
    assert!(base.join("out/said").exists());
    assert_eq!(bake(&[("BUILDX_BAKE_ENTITLEMENTS_FS", "0")], &["secret"]).code, 0);
    assert_eq!(bake(&[], &["--allow=everything", "secret"]).code, 125);
}

#[test]
fn a_definition_from_a_repository_builds_what_is_there() {
    let repositories = Repositories::new();
    let hcl = r#"
variable "BAKE_CMD_CONTEXT" {}
target "default" { tags = ["there:1"] }
target "sub" {
  context = "sub"
  dockerfile = "Other"
  contexts = { more = "more" }
  tags = ["sub:1"]
}
target "here" {
  context = "cwd://here"
  tags = ["here:1"]
  args = { WHO = BAKE_CMD_CONTEXT }
}
target "outside" { context = "cwd://.." }
target "climbs" { context = "../x" }
"#;
    let url = repositories.commit(
        "project",
        &[
            ("docker-bake.hcl", hcl),
            ("Dockerfile", "FROM busybox\nCOPY file /said\n"),
            ("file", "there\n"),
            ("sub/Other", "FROM busybox\nCOPY file /said\nCOPY --from=more more /more\n"),
            ("sub/file", "sub\n"),
            ("more/more", "more\n"),
            ("other.hcl", "target \"default\" { tags = [\"there:2\"] }\n"),
        ],
    );
    let workshop = Workshop::new(&[
        ("here/Dockerfile", DOCKERFILE),
        ("local.hcl", "target \"default\" { labels = { local = \"yes\" } }\n"),
    ]);
    workshop.bake(&[&url]);
    assert_eq!(workshop.in_image("there:1", "cat /said"), "there\n");
    workshop.bake(&[&format!("{url}#main"), "sub"]);
    assert_eq!(workshop.in_image("sub:1", "cat /said /more"), "sub\nmore\n");
    workshop.bake(&[&url, "here"]);
    assert_eq!(workshop.in_image("here:1", "cat /said"), "cwd:// 0\n");
    workshop.bake(&[&url, &url, "here"]);
    assert_eq!(workshop.in_image("here:1", "cat /said"), format!("{url} 0\n"));
    workshop.bake(&["-f", "other.hcl", "-f", "cwd://local.hcl", &url]);
    assert_eq!(workshop.skiff.said("{{.Config.Labels.local}}", "there:2"), "yes");
    workshop.fails(&[&url, "outside"], &["target outside", "is outside of this folder"]);
    workshop.fails(&[&url, "climbs"], &["target climbs", "leads out of"]);
    workshop.fails(&["-f", "none.hcl", &url], &["has no bake file none.hcl"]);
    workshop.fails(&[&format!("{url}#none")], &["none"]);
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
