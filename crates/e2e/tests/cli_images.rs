//! Images from the command line: what goes in, what is shown, what comes out.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use testkit::{Entry, Output, Skiff, archive, busybox, busybox_layer};

fn output(code: i32, stdout: &str, stderr: &str) -> Output {
    Output { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

#[test]
fn load_names_what_it_loaded_and_images_lists_it() {
    let skiff = Skiff::new();
    assert_eq!(skiff.ok(&["images"]), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
    assert_eq!(skiff.load(&busybox()), "Loaded image: busybox:latest\n");
    let id = skiff.ok(&["images", "-q", "--no-trunc"]);
    let id = id.trim_end();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(skiff.ok(&["images", "-q"]).trim_end(), &id[7..19]);
    let table = skiff.ok(&["images"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["busybox", "latest", &id[7..19]]);
    assert!(table.lines().nth(1).unwrap().contains(" ago "), "{table}");
    assert_eq!(
        skiff.ok(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]),
        format!("busybox:latest {}\n", &id[7..19])
    );
    assert_eq!(
        skiff.ok(&["image", "inspect", "-f", "{{.Id}} {{.Os}} {{.Config.Cmd}}", "busybox"]),
        format!("{id} linux [sh]\n")
    );
    // Loading the same again changes nothing.
    assert_eq!(skiff.load(&busybox()), "Loaded image: busybox:latest\n");
    assert_eq!(skiff.ok(&["images", "-q"]).lines().count(), 1);
    let path = skiff.folder().join("busybox.tar");
    std::fs::write(&path, busybox()).unwrap();
    assert_eq!(skiff.ok(&["load", "-i", "busybox.tar"]), "Loaded image: busybox:latest\n");
    let missing = skiff.run(&["load", "-i", "/no/such.tar"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("/no/such.tar"), "{missing:?}");
    let nonsense = skiff.run_with_input(&["load"], b"this is no archive");
    assert_eq!((nonsense.code, nonsense.stdout.as_str()), (1, ""), "{nonsense:?}");
}

#[test]
fn an_image_of_another_platform_is_loaded_where_it_is_asked_for() {
    let skiff = Skiff::new();
    std::fs::write(skiff.folder().join("busybox.tar"), busybox()).unwrap();
    let own = skiff.ok(&["version", "--format", "{{.Server.Arch}}"]);
    let own = format!("linux/{}", own.trim_end());
    let other = skiff.run(&["load", "-i", "busybox.tar", "--platform", "linux/s390x"]);
    assert_eq!((other.code, other.stdout.as_str()), (1, ""), "{other:?}");
    assert!(other.stderr.contains(&format!("no image for platform linux/s390x; it has {own}")), "{other:?}");
    assert_eq!(skiff.ok(&["images", "-q"]), "");
    let nonsense = skiff.run(&["load", "-i", "busybox.tar", "--platform", "a/b/c/d"]);
    assert!(nonsense.code == 1 && nonsense.stderr.contains("invalid platform a/b/c/d"), "{nonsense:?}");
    let several = skiff.run(&["load", "-i", "busybox.tar", "--platform", "linux/s390x,linux/arm64"]);
    assert!(several.code != 0 && several.stderr.contains("no image for platform linux/s390x"), "{several:?}");
    assert_eq!(
        skiff.ok(&["load", "-i", "busybox.tar", "--platform", &own]),
        "Loaded image: busybox:latest\n"
    );
    // The platform of a container: by flag, else what the caller has set for all of Docker's commands.
    let create = |words: &[&str]| {
        let mut command = skiff.command(&[&["create", "--pull=never"], words, &["busybox"]].concat());
        let output = command.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x").output().unwrap();
        Output::of(output)
    };
    let refused = create(&[]);
    assert!(refused.code == 1 && refused.stderr.contains("platform (linux/s390x)"), "{refused:?}");
    assert_eq!(create(&["--platform", &own]).code, 0);
}

#[test]
fn a_repository_without_a_tag_is_saved_with_all_of_its_tags() {
    let skiff = Skiff::with_busybox();
    let other = archive("other:1", &busybox_layer(&[Entry::File("new", 0o644, b"x")]), serde_json::json!({}));
    skiff.load(&other);
    for (source, target) in
        [("busybox", "app:1"), ("busybox", "app:2"), ("other:1", "app:3"), ("other:1", "app/x:4")]
    {
        skiff.ok(&["tag", source, target]);
    }
    skiff.ok(&["save", "-o", "app.tar", "app"]);
    skiff.ok(&["rmi", "app:1", "app:2", "app:3"]);
    let mut loaded: Vec<String> = skiff.ok(&["load", "-i", "app.tar"]).lines().map(str::to_owned).collect();
    loaded.sort();
    assert_eq!(loaded, ["Loaded image: app:1", "Loaded image: app:2", "Loaded image: app:3"]);
    // There is no app:latest, which everything but save means.
    assert_eq!(skiff.run(&["tag", "app", "x"]).code, 1);
    let missing = skiff.run(&["save", "-o", "no.tar", "nope"]);
    assert!(missing.code == 1 && missing.stderr.contains("No such image: nope"), "{missing:?}");
}

#[test]
fn a_name_moves_to_what_is_loaded_last() {
    let skiff = Skiff::with_busybox();
    let old = skiff.ok(&["images", "-q", "--no-trunc"]);
    let old = old.trim_end();
    let newer =
        archive("busybox:latest", &busybox_layer(&[Entry::File("new", 0o644, b"x")]), serde_json::json!({}));
    assert_eq!(
        skiff.load(&newer),
        format!(
            "The image busybox:latest already exists, renaming the old one with ID {old} to empty string\nLoaded image: busybox:latest\n"
        )
    );
    assert_eq!(skiff.ok(&["images", "--filter", "dangling=true", "-q", "--no-trunc"]).trim_end(), old);
    let rows = skiff.ok(&["images", "--format", "{{.Repository}} {{.Tag}}"]);
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, ["<none> <none>", "busybox latest"]);
    let pruned = skiff.ok(&["image", "prune", "-f"]);
    assert!(
        pruned.starts_with("Deleted Images:\n") && pruned.contains(&format!("deleted: {old}\n")),
        "{pruned}"
    );
    assert!(pruned.contains("\nTotal reclaimed space: "), "{pruned}");
    assert_eq!(skiff.ok(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn tags_are_added_and_removed() {
    let skiff = Skiff::with_busybox();
    let id = skiff.ok(&["images", "-q", "--no-trunc"]);
    let id = id.trim_end().to_owned();
    assert_eq!(skiff.ok(&["tag", "busybox", "other:1.0"]), "");
    assert_eq!(skiff.ok(&["image", "tag", &id[7..19], "reg.example:5000/team/box:v2"]), "");
    let names = |arguments: &[&str]| {
        let shown = skiff.ok(&[&["images", "--format", "{{.Repository}}:{{.Tag}}"], arguments].concat());
        let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(names(&[]), "busybox:latest other:1.0 reg.example:5000/team/box:v2");
    assert_eq!(names(&["other"]), "other:1.0");
    assert_eq!(names(&["--filter", "reference=*/team/*:v*"]), "reg.example:5000/team/box:v2");
    assert_eq!(
        names(&["--filter", "reference=b*", "--filter", "reference=other"]),
        "busybox:latest other:1.0"
    );
    assert_eq!(skiff.ok(&["rmi", "other:1.0"]), "Untagged: other:1.0\n");
    let several = skiff.run(&["rmi", &id]);
    assert_eq!(several.code, 1, "an image of two repositories went without force: {several:?}");
    skiff.ok(&["create", "--name", "user", "busybox", "true"]);
    let used = skiff.run(&["rmi", "-f", "reg.example:5000/team/box:v2"]);
    assert_eq!(used, output(0, "Untagged: reg.example:5000/team/box:v2\n", ""));
    let used = skiff.run(&["rmi", "busybox"]);
    assert_eq!(used.code, 1, "the last name of a used image went: {used:?}");
    skiff.ok(&["rm", "user"]);
    let gone = skiff.ok(&["rmi", "busybox"]);
    assert!(
        gone.starts_with("Untagged: busybox:latest\n") && gone.contains(&format!("Deleted: {id}\n")),
        "{gone}"
    );
    assert_eq!(skiff.ok(&["images", "-q"]), "");
    assert_eq!(skiff.run(&["rmi", "busybox"]).code, 1);
    assert_eq!(skiff.run(&["rmi", "-f", "busybox"]).code, 0);
    let wrong = skiff.run(&["tag", "busybox", "UPPER:x"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("UPPER"), "{wrong:?}");
}

#[test]
fn what_is_saved_can_be_loaded_again() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["tag", "busybox", "second:2"]);
    assert_eq!(skiff.ok(&["save", "-o", "out.tar", "busybox", "second:2"]), "");
    let piped = skiff.command(&["save", "busybox"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout.len() > 1_000_000);
    let id = skiff.ok(&["images", "-q", "--no-trunc", "busybox"]);
    let other = Skiff::new();
    let copy = std::fs::read(skiff.folder().join("out.tar")).unwrap();
    let mut loaded: Vec<String> = other.load(&copy).lines().map(str::to_owned).collect();
    loaded.sort();
    assert_eq!(loaded, ["Loaded image: busybox:latest", "Loaded image: second:2"]);
    assert_eq!(other.ok(&["images", "-q", "--no-trunc", "busybox"]), id);
    assert_eq!(other.ok(&["run", "--rm", "second:2", "echo", "it works"]), "it works\n");
    assert_eq!(other.load(&piped.stdout), "Loaded image: busybox:latest\n");
    let missing = skiff.run(&["save", "-o", "none.tar", "nosuch"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("nosuch") && !skiff.folder().join("none.tar").exists(), "{missing:?}");
    let mut left: Vec<_> =
        std::fs::read_dir(skiff.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["out.tar", "root", "run"], "a failed save left something");
}

#[test]
fn import_makes_an_image_of_a_root_file_system() {
    let skiff = Skiff::new();
    let layer = busybox_layer(&[]);
    let changes = [
        "import",
        "-c",
        "CMD [\"echo\", \"imported\"]",
        "-c",
        "ENV PATH=/bin A=1",
        "-m",
        "by hand",
        "-",
        "mine:1",
    ];
    let imported = skiff.run_with_input(&changes, &layer);
    assert_eq!((imported.code, imported.stderr.as_str()), (0, ""), "{imported:?}");
    let id = imported.stdout.trim_end();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(skiff.ok(&["run", "--rm", "mine:1"]), "imported\n");
    assert_eq!(
        skiff.ok(&["image", "inspect", "-f", "{{.Comment}} {{.Config.Env}}", "mine:1"]),
        "by hand [PATH=/bin A=1]\n"
    );
    std::fs::write(skiff.folder().join("root.tar"), &layer).unwrap();
    let second = skiff.ok(&["import", "root.tar"]);
    assert_eq!(
        skiff.ok(&["image", "inspect", "-f", "{{.Comment}}|{{.RepoTags}}", second.trim_end()]),
        "Imported from root.tar|[]\n"
    );
    let remote = skiff.run(&["import", "http://x/y.tar"]);
    assert_eq!(remote.code, 1);
    let wrong = skiff.run_with_input(&["import", "-c", "RUN x", "-"], &layer);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("RUN"), "{wrong:?}");
}

#[test]
fn history_shows_how_an_image_came_to_be() {
    let skiff = Skiff::with_busybox();
    let id = skiff.ok(&["images", "-q"]);
    let table = skiff.ok(&["history", "busybox"]);
    let (header, row) = table.trim_end().split_once('\n').unwrap();
    assert!(header.starts_with("IMAGE          CREATED"), "{table}");
    assert!(row.starts_with(id.trim_end()) && row.contains("COPY busybox /bin/"), "{table}");
    assert_eq!(
        skiff.ok(&["history", "--format", "{{.CreatedBy}}|{{.Comment}}", "busybox"]),
        "COPY busybox /bin/|\n"
    );
    assert_eq!(skiff.ok(&["image", "history", "-q", "busybox"]), id);
    let exact = skiff.ok(&["history", "-H=false", "--format", "{{.Size}} {{.CreatedAt}}", "busybox"]);
    let (size, created) = exact.trim_end().split_once(' ').unwrap();
    assert!(size.parse::<u64>().unwrap() > 500_000 && created == "2026-01-02T03:04:05Z", "{exact}");
}

#[test]
fn verify_finds_what_has_changed() {
    let skiff = Skiff::with_busybox();
    assert_eq!(skiff.ok(&["image", "verify"]), "busybox:latest: good\n");
    assert_eq!(skiff.ok(&["image", "verify", "busybox"]), "busybox:latest: good\n");
    let layers = skiff.root().join("layers");
    let layer = std::fs::read_dir(&layers).unwrap().next().unwrap().unwrap().path();
    let mut content = std::fs::read(&layer).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    // The store keeps layers from being changed; a disk that errs does not ask.
    let forged = skiff.folder().join("forged");
    std::fs::write(&forged, &content).unwrap();
    assert!(linux_unlink(&layer) && std::fs::rename(&forged, &layer).is_ok());
    let found = skiff.run(&["image", "verify"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.stdout.starts_with("busybox:latest: "), "{found:?}");
}

/// Removes a file that may be marked as immutable.
fn linux_unlink(path: &std::path::Path) -> bool {
    if let Ok(file) = std::fs::File::open(path) {
        let flags = rustix::fs::ioctl_getflags(&file);
        if let Ok(flags) = flags {
            rustix::fs::ioctl_setflags(&file, flags - rustix::fs::IFlags::IMMUTABLE).unwrap();
        }
    }
    std::fs::remove_file(path).is_ok()
}

#[test]
fn version_and_info_tell_facts() {
    let skiff = Skiff::with_busybox();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version = skiff.ok(&["version"]);
    assert!(
        version.starts_with("Client:\n Version:           ") && version.contains("\nServer: "),
        "{version}"
    );
    assert!(version.contains(&format!("  Kernel:           {kernel}")), "{version}");
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(
        skiff.ok(&["version", "--format", "{{.Client.Version}} {{.Server.Os}}"]),
        format!("{number} linux\n")
    );
    let json: serde_json::Value = serde_json::from_str(&skiff.ok(&["version", "-f", "json"])).unwrap();
    assert_eq!(json["Server"]["KernelVersion"], kernel.trim_end());

    skiff.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    skiff.ok(&["create", "busybox"]);
    let info = skiff.run(&["info"]);
    assert_eq!(info.code, 0);
    let mut rest = info.stdout.as_str();
    for line in [
        "Client:\n Version:    ",
        "\nServer:\n Containers: 2\n  Running: 1\n  Paused: 0\n  Stopped: 1\n Images: 1\n Server Version: ",
        "\n Storage Driver: ",
        "\n  Backing Filesystem: ",
        "\n Logging Driver: json-file\n Cgroup Driver: cgroupfs\n Cgroup Version: ",
        "\n Plugins:\n  Volume: local\n  Network: host null\n  Log: journald json-file local none syslog\n Swarm: inactive\n",
        "\n Security Options:\n  seccomp\n   Profile: builtin\n",
        "\n Kernel Version: ",
        "\n Operating System: ",
        "\n OSType: linux\n Architecture: ",
        "\n CPUs: ",
        "\n Total Memory: ",
        "\n Name: ",
        "\n ID: ",
        "\n Skiff Root Dir: ",
        "\n Debug Mode: false\n Experimental: false\n Live Restore Enabled: true\n Firewall Backend: none\n",
    ] {
        // In this order: what comes before the line is not looked at again.
        let found = rest.find(line.trim_start_matches('\n'));
        let at = found.unwrap_or_else(|| panic!("{line:?} is not next in {}", info.stdout));
        rest = &rest[at..];
    }
    let json: serde_json::Value = serde_json::from_str(&skiff.ok(&["info", "-f", "json"])).unwrap();
    for (field, want) in [
        ("/DriverStatus/0/0", serde_json::json!("Backing Filesystem")),
        ("/Swarm/LocalNodeState", "inactive".into()),
        ("/LiveRestoreEnabled", true.into()),
        ("/ClientInfo/Debug", false.into()),
        ("/CPUShares", true.into()),
        ("/Warnings", serde_json::json!([])),
    ] {
        assert_eq!(json.pointer(field), Some(&want), "{field}: {json}");
    }
    let id = json["ID"].as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'8', "{id}");
    assert_eq!(skiff.ok(&["info", "-f", "{{.ID}}"]), format!("{id}\n"), "another at every call");
    let elsewhere = ["--root", "other", "--run", "other-run", "info", "-f", "{{.ID}}"];
    assert_ne!(skiff.ok(&elsewhere), format!("{id}\n"), "the same for another root");
    let counts = skiff.run(&[
        "system",
        "info",
        "-f",
        "{{.Containers}} {{.ContainersRunning}} {{.Images}} {{.OSType}}",
    ]);
    assert_eq!(counts.stdout, "2 1 1 linux\n");
}
