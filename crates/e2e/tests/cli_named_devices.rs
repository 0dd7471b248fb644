//! Devices by name (CDI), as containers and steps of builds have them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::fs::PermissionsExt;

use testkit::{Output, Skiff, User, busybox, wait_until};

/// What is in the file that a device mounts.
const LIBRARY: &str = "of the vendor\n";

/// A Skiff with busybox and specifications of devices.
struct Bench {
    skiff: Skiff,
}

impl Bench {
    fn new(skiff: Skiff) -> Bench {
        let bench = Bench { skiff };
        std::fs::create_dir_all(bench.skiff.settings().join("cdi")).unwrap();
        bench.write("library", LIBRARY);
        bench.specify("vendor.yaml", &bench.usual());
        bench
    }

    fn path(&self, name: &str) -> String {
        self.skiff.folder().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }

    fn specify(&self, name: &str, text: &str) {
        std::fs::write(self.skiff.settings().join("cdi").join(name), text).unwrap();
    }

    /// Two devices of a kind: `one` has all there is, `two` a variable.
    fn usual(&self) -> String {
        let library = self.path("library");
        format!(
            "cdiVersion: 0.7.0\n\
             kind: vendor.com/thing\n\
             containerEdits:\n\
             \x20 env: [THINGS=here]\n\
             devices:\n\
             - name: one\n\
             \x20 containerEdits:\n\
             \x20   env: [THING=one]\n\
             \x20   additionalGids: [4321]\n\
             \x20   deviceNodes:\n\
             \x20   - {{path: /dev/thing, hostPath: /dev/null}}\n\
             \x20   - {{path: /dev/things/zero, hostPath: /dev/zero, permissions: rw}}\n\
             \x20   mounts:\n\
             \x20   - {{hostPath: {library}, containerPath: /usr/lib/vendor/library, options: [ro, nosuid, nodev, bind]}}\n\
             - name: two\n\
             \x20 containerEdits: {{env: [THING=two]}}\n"
        )
    }

    fn build(&self, flags: &[&str], dockerfile: &str) -> Output {
        let context = self.skiff.folder().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let context = context.display().to_string();
        self.skiff.run(&[&["build", "--progress=plain", "-t", "made"], flags, &[&context]].concat())
    }

    fn built(&self, flags: &[&str], dockerfile: &str) -> Output {
        let output = self.build(flags, dockerfile);
        assert_eq!(output.code, 0, "{flags:?}: {}", output.stderr);
        output
    }

    fn refused(&self, flags: &[&str], step: &str, words: &str) {
        let output = self.build(flags, &format!("FROM busybox\n{step}\n"));
        assert_ne!(output.code, 0, "{flags:?} {step}: {}", output.stderr);
        assert!(output.stderr.contains(words), "{flags:?} {step}: no {words:?} in:\n{}", output.stderr);
    }
}

/// Prints what a program sees of the device `one`.
const LOOK: &str = "echo $THINGS $THING; cat /usr/lib/vendor/library; head -c 3 /dev/things/zero | od -An -tx1; \
    echo x > /dev/thing && test -c /dev/thing && echo written; id -G | grep -ow 4321; \
    echo y 2>/dev/null > /usr/lib/vendor/library || echo read-only";
const SEEN: &str = "here one\nof the vendor\n 00 00 00\nwritten\n4321\nread-only\n";

fn ordinary(user: &User) -> Bench {
    let skiff = Skiff::of(user);
    skiff.load(&busybox());
    let bench = Bench::new(skiff.that_builds());
    // It may look, and no more.
    let open = |path: &str| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    open(&bench.skiff.settings().display().to_string());
    open(&bench.skiff.settings().join("cdi").display().to_string());
    bench
}

#[test]
fn a_container_has_all_that_its_device_needs() {
    let bench = Bench::new(Skiff::with_busybox());
    let device = "--device=vendor.com/thing=one";
    for flags in [&["--rm"][..], &["--rm", "--privileged"], &["--rm", "--userns=host"]] {
        let seen = bench.skiff.ok(&[&["run"], flags, &[device, "busybox", "sh", "-c", LOOK]].concat());
        assert_eq!(seen, SEEN, "{flags:?}");
    }
    // Its owner has a word of its own on the variable, and the device the last one.
    let given = ["-e", "THING=mine", "--device", "vendor.com/thing=two", "--device=/dev/zero:/dev/nil"];
    let seen = bench.skiff.ok(&[
        &["run", "--name=cc"],
        &given[..],
        &["busybox", "sh", "-c", "echo $THING; test -c /dev/nil && echo nil"],
    ]
    .concat());
    assert_eq!(seen, "two\nnil\n");
    assert_eq!(
        bench.skiff.said("{{json .HostConfig.DeviceRequests}}", "cc"),
        r#"[{"Driver":"cdi","Count":0,"DeviceIDs":["vendor.com/thing=two"],"Capabilities":null,"Options":null}]"#
    );
    // A later run has what the specification says by then.
    bench.specify("vendor.yaml", &bench.usual().replace("THING=two", "THING=three"));
    assert_eq!(bench.skiff.ok(&["start", "-a", "cc"]), "three\nnil\n");
    bench.specify("vendor.yaml", "");
    let output = bench.skiff.run(&["start", "cc"]);
    assert!(
        output.code != 0
            && output.stderr.contains("unresolvable CDI devices vendor.com/thing=two; not taken: "),
        "{output:#?}"
    );
}

#[test]
fn an_ordinary_user_has_devices_too() {
    let user = User::new();
    let bench = ordinary(&user);
    let seen = bench.skiff.ok(&["run", "--rm", "--device=vendor.com/thing=one", "busybox", "sh", "-c", LOOK]);
    assert_eq!(seen, SEEN);
    let step = format!("RUN --device=vendor.com/thing=one,required ({LOOK}) > /seen");
    bench.built(&["--allow=device"], &format!("FROM busybox\n{step}\n"));
    assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]), SEEN);
}

#[test]
fn names_that_nothing_has_are_refused_in_dockers_words() {
    let bench = Bench::new(Skiff::with_busybox());
    for (device, words) in [
        (
            "vendor.com/thing=three",
            "skiff: CDI device injection failed: unresolvable CDI devices vendor.com/thing=three\n",
        ),
        (
            "other.com/thing=one",
            "skiff: CDI device injection failed: unresolvable CDI devices other.com/thing=one\n",
        ),
        (
            "vendor.com/thing",
            "invalid argument \"vendor.com/thing\" for \"--device\" flag: invalid device specification",
        ),
    ] {
        let output = bench.skiff.run(&["run", "--name=cc", "--device", device, "busybox", "true"]);
        assert!(output.code == 125 && output.stderr.starts_with(words), "{device}: {output:#?}");
        assert_eq!(bench.skiff.ok(&["ps", "-aq"]), "", "nothing is made of it");
    }
    // Given by two files of one folder it is neither's.
    bench.specify("another.json", r#"{"cdiVersion":"0.5.0","kind":"vendor.com/thing","devices":[{"name":"two","containerEdits":{"env":["A=1"]}}]}"#);
    let output = bench.skiff.run(&["run", "--rm", "--device=vendor.com/thing=two", "busybox", "true"]);
    assert!(
        output.stderr.contains("vendor.com/thing=two (given by several: ") && output.code == 125,
        "{output:#?}"
    );
    bench.specify(
        "none.yaml",
        "cdiVersion: 0.5.0\nkind: vendor.com/none\ndevices: [{name: x, containerEdits: {deviceNodes: [{path: /dev/no-such}]}}]\n",
    );
    let output = bench.skiff.run(&["run", "--rm", "--device=vendor.com/none=x", "busybox", "true"]);
    assert!(output.code == 125 && output.stderr.contains("examine /dev/no-such"), "{output:#?}");
}

#[test]
fn hooks_run_around_a_container_with_their_own_environment() {
    let bench = Bench::new(Skiff::with_busybox());
    let mut hooks = String::new();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        // The last one but one before the program runs in the container, where this shell is busybox's.
        let file = match kind {
            "startContainer" => "/started".to_owned(),
            _ => bench.path(kind),
        };
        // The state comes in, and its own variables alone.
        let script = format!("cat > {file}; env | grep -c IMAGE >> {file}; echo $OWN >> {file}");
        let env = "[OWN=hook, 'PATH=/bin:/usr/bin']";
        hooks.push_str(&format!(
            "    - {{hookName: {kind}, path: /bin/sh, args: [sh, -c, '{script}'], env: {env}, timeout: 30}}\n"
        ));
        // Hooks in the container's user namespace are nobody on the host.
        std::fs::write(bench.path(kind), "").unwrap();
        std::fs::set_permissions(bench.path(kind), PermissionsExt::from_mode(0o666)).unwrap();
    }
    bench.specify(
        "hooked.yaml",
        &format!("cdiVersion: 0.5.0\nkind: vendor.com/hooked\ndevices:\n- name: x\n  containerEdits:\n    hooks:\n{hooks}"),
    );
    std::fs::set_permissions(bench.skiff.folder(), PermissionsExt::from_mode(0o711)).unwrap();
    let device = "--device=vendor.com/hooked=x";
    let seen = bench.skiff.ok(&["run", "--name=cc", "-e", "IMAGE=1", device, "busybox", "cat", "/started"]);
    assert!(seen.contains("\"status\":\"created\"") && seen.ends_with("}0\nhook\n"), "{seen}");
    let id = bench.skiff.said("{{.Id}}", "cc");
    for (kind, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let mut text = String::new();
        wait_until(&format!("{kind} was run"), || {
            text = std::fs::read_to_string(bench.path(kind)).unwrap();
            text.ends_with("0\nhook\n")
        });
        assert!(
            text.contains(&format!("\"id\":\"{id}\"")) && text.contains(&format!("\"status\":\"{status}\"")),
            "{kind}: {text}"
        );
    }
    // One that fails ends it all, and says why.
    bench.specify(
        "failing.yaml",
        "cdiVersion: 0.5.0\nkind: vendor.com/failing\ndevices:\n- name: x\n  containerEdits:\n    hooks:\n\
        \x20   - {hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'echo no card >&2; exit 3']}\n",
    );
    let output = bench.skiff.run(&["run", "--rm", "--device=vendor.com/failing=x", "busybox", "true"]);
    assert!(output.code != 0 && output.stderr.contains("no card"), "{output:#?}");
    let output = bench.build(&["--allow=device"], "FROM busybox\nRUN --device=vendor.com/failing=x true\n");
    assert!(output.code != 0 && output.stderr.contains("no card"), "{output:#?}");
}

#[test]
fn steps_have_the_devices_that_a_build_was_allowed() {
    let bench = Bench::new(Skiff::with_busybox().that_builds());
    let step = format!("RUN --device=vendor.com/thing=one ({LOOK}) > /seen");
    bench.refused(
        &[],
        &step,
        "device vendor.com/thing=one is requested by the build but not allowed; --allow device=vendor.com/thing=one would allow it",
    );
    bench.refused(
        &["--allow=device=vendor.com/thing=two"],
        "RUN --device=vendor.com/thing=* true",
        "device vendor.com/thing=one is requested by the build but not allowed",
    );
    bench.refused(
        &["--allow=device"],
        "RUN --device=vendor.com/thing=three,required true",
        "required device \"vendor.com/thing=three\" is not registered",
    );
    bench.refused(&["--allow=device"], "RUN --device=thing true", "invalid device \"thing\"");
    let dockerfile = format!("FROM busybox\n{step}\n");
    for allow in
        ["--allow=device", "--allow=device=vendor.com/thing=one", "--allow=device=vendor.com/thing=*"]
    {
        bench.built(&["--no-cache", allow], &dockerfile);
        assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]), SEEN, "{allow}");
    }
    // Nothing of the device stays.
    let left = "ls -d /dev/thing /dev/things /usr/lib/vendor/library 2>/dev/null; echo $THING";
    assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "sh", "-c", left]), "\n");
    // The first of its kind, whatever stands in for it, and what every build may have.
    let dockerfile = "FROM busybox\nRUN --device=vendor.com/thing echo $THING > /seen\n";
    bench.built(&["--allow=device=vendor.com/thing"], dockerfile);
    assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]), "one\n");
    let aliased = "FROM busybox\nRUN --device=any.com/card=0 echo $THING > /seen\n";
    bench.built(&["--allow=device=vendor.com/thing=two,alias=any.com/card=0"], aliased);
    assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]), "two\n");
    let free = "annotations:\n  org.mobyproject.buildkit.device.autoallow: true\n";
    bench.specify("vendor.yaml", &format!("{}{free}", bench.usual()));
    bench.built(&[], "FROM busybox\nRUN --device=vendor.com/thing=two echo $THING free > /seen\n");
    assert_eq!(bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]), "two free\n");
}

#[test]
fn a_step_is_known_by_the_devices_that_it_gets() {
    let bench = Bench::new(Skiff::with_busybox().that_builds());
    let dockerfile = "FROM busybox\nRUN --device=vendor.com/later=x echo ${THING:-none} > /seen\n";
    let seen = || bench.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]);
    let is_cached = |output: &Output| output.stderr.contains("CACHED");
    // Who can do without gets none.
    bench.built(&["--allow=device"], dockerfile);
    assert_eq!(seen(), "none\n");
    assert!(is_cached(&bench.built(&["--allow=device"], dockerfile)));
    let spec = |value: &str| {
        format!(
            "cdiVersion: 0.5.0\nkind: vendor.com/later\ndevices: [{{name: x, containerEdits: {{env: [THING={value}]}}}}]\n"
        )
    };
    bench.specify("later.yaml", &spec("some"));
    assert!(!is_cached(&bench.built(&["--allow=device"], dockerfile)));
    assert_eq!(seen(), "some\n");
    // How the device is given is none of it: another driver is no other program.
    bench.specify("later.yaml", &spec("other"));
    assert!(is_cached(&bench.built(&["--allow=device=vendor.com/later=x"], dockerfile)));
    // What is known is nobody's who may not have it.
    bench.refused(&[], "RUN --device=vendor.com/later=x echo ${THING:-none} > /seen", "not allowed");
}
