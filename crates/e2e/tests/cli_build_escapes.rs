//! Programs of builds that look for a way out: through their working directory, descriptors, devices, mounts, caches and ids.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod building;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use building::Workshop;
use serde_json::{Value, json};
use tar::EntryType::{self, Block, Char, Symlink};
use testkit::{Entry, Output, archive_of_layers, busybox_layer};

/// A folder with a file that nobody in a build may see, and an image `evil` of such members upon busybox.
fn workshop(members: &[(EntryType, &str, &str)], config: Value) -> Workshop {
    let workshop = Workshop::new("FROM evil\n");
    std::fs::create_dir(workshop.beside("victim")).unwrap();
    std::fs::write(Path::new(&workshop.beside("victim")).join("treasure"), "untouched\n").unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    for (kind, path, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o666);
        // The null device, and the first disk there may be.
        let device = if *kind == Block { (254, 0) } else { (1, 3) };
        header.set_device_major(device.0).unwrap();
        header.set_device_minor(device.1).unwrap();
        header.set_size(0);
        if *kind == Symlink {
            layer.append_link(&mut header, path, content).unwrap();
        } else {
            header.set_size(content.len() as u64);
            layer.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
    }
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let below = busybox_layer(&[Entry::Directory("data", 0o755), Entry::File("suid", 0o4755, &busybox)]);
    let layer = layer.into_inner().unwrap();
    workshop.skiff.load(&archive_of_layers("evil:latest", &[&below, &layer], config));
    workshop
}

/// Builds a Dockerfile anew; what it says.
fn tried(workshop: &Workshop, dockerfile: &str) -> Output {
    workshop.write("Dockerfile", dockerfile);
    workshop.try_build(&["--no-cache", "-t", "made"])
}

fn built(workshop: &Workshop, dockerfile: &str) -> String {
    let output = tried(workshop, dockerfile);
    assert_eq!(output.code, 0, "{dockerfile}\n{}", output.stderr);
    output.stderr
}

/// Nothing outside was changed, and nothing is left.
fn is_untouched(workshop: &Workshop) {
    let treasure = Path::new(&workshop.beside("victim")).join("treasure");
    assert_eq!(std::fs::read_to_string(treasure).unwrap(), "untouched\n");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn no_working_directory_leads_out() {
    let links = [
        (Symlink, "cwd", "/proc/self/cwd"),
        (Symlink, "init", "/proc/1/root"),
        (Symlink, "fds", "/proc/self/fd"),
        (Symlink, "thread", "/proc/thread-self/cwd/../.."),
    ];
    let numbers: Vec<String> = (0..24).map(|number| format!("/proc/self/fd/{number}")).collect();
    let others =
        ["/cwd", "/init", "/fds/7", "/thread", "/proc/1/root/../..", "/proc/self/root", "/cwd/../../../.."];
    let steps = "RUN ls -a . .. ../../../.. > /seen 2>&1; pwd >> /seen; ls -a / >> /seen; true\n";
    for place in numbers.iter().map(String::as_str).chain(others) {
        // What an image says, and what a Dockerfile says.
        let workshop = workshop(&links, json!({ "Cmd": ["sh"], "WorkingDir": place }));
        for dockerfile in [format!("FROM evil\n{steps}"), format!("FROM busybox\nWORKDIR {place}\n{steps}")] {
            let output = tried(&workshop, &dockerfile);
            if output.code == 0 {
                let seen = workshop.skiff.ok(&["run", "--rm", "--workdir=/", "made", "cat", "/seen"]);
                assert!(!seen.contains("treasure") && !seen.contains("victim"), "{place}: {seen}");
                assert!(!seen.contains("state.db") && !seen.contains("lost+found"), "{place}: {seen}");
            } else {
                assert!(output.stderr.contains("working directory"), "{place}: {}", output.stderr);
            }
        }
        is_untouched(&workshop);
    }
}

#[test]
fn a_program_of_a_build_has_nothing_of_its_callers() {
    let workshop = workshop(&[], json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }));
    workshop.write(
        "Dockerfile",
        "FROM evil\nRUN [\"sh\", \"-c\", \"exec ls /proc/self/fd > /fds\"]\nRUN [\"sh\", \"-c\", \"exec ls /proc/1/fd > /first\"]\n\
         RUN tr '\\0' '\\n' < /proc/1/environ > /env; env >> /env; cat /proc/1/cmdline > /words\n",
    );
    // The caller has a file and a directory open that every child of its gets, and a secret in its environment.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7<treasure 8<. && exec \"$@\"", "sh"]).current_dir(workshop.beside("victim"));
    let command = workshop.skiff.command(&workshop.words(&["-t", "made"]));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell
        .env("CALLERS_SECRET", "hunter2")
        .env("LD_PRELOAD", "/nothing")
        .env("HTTP_PROXY", "http://me:hunter2@x");
    let output = Output::of(shell.stdin(Stdio::null()).output().unwrap());
    assert_eq!(output.code, 0, "{}", output.stderr);
    // The fourth is the directory that `ls` reads.
    assert_eq!(workshop.in_image("cat /fds"), "0\n1\n2\n3\n");
    assert_eq!(workshop.in_image("cat /first"), "0\n1\n2\n3\n");
    for name in workshop.in_image("cut -d = -f 1 /env").lines() {
        assert!(
            ["HOME", "OLDPWD", "PATH", "PWD", "SHLVL"].contains(&name),
            "{}",
            workshop.in_image("cat /env")
        );
    }
    assert!(!workshop.in_image("cat /words /env").contains("hunter2"));
    is_untouched(&workshop);
}

#[test]
fn devices_of_a_base_are_opened_by_nobody() {
    let devices = [(Char, "null", ""), (Block, "disk", "")];
    let workshop = workshop(&devices, json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }));
    let script = |place: &str| {
        format!(
            "(test -c {place}/null && for device in null disk; do head -c 1 {place}/$device && exit 1; echo x > {place}/$device && exit 2; done; true)"
        )
    };
    built(&workshop, &format!("FROM evil\nRUN {}\n", script("")));
    built(&workshop, &format!("FROM evil\nRUN mknod /made c 1 3 && exit 1; {}\n", script("")));
    for mount in ["bind,from=evil,rw", "bind,from=evil", "cache,from=evil"] {
        built(&workshop, &format!("FROM busybox\nRUN --mount=type={mount},target=/m {}\n", script("/m")));
    }
    // What a cache began as lies on the host as what it is: nobody else walks there.
    let folder = workshop.skiff.root().join("cache/mounts");
    let caches: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!caches.is_empty());
    for cache in caches {
        let about = cache.metadata().unwrap();
        assert_eq!((about.uid(), about.permissions().mode() & 0o777), (0, 0o700), "{}", cache.display());
    }
    built(
        &workshop,
        "FROM busybox\nCOPY --from=evil /null /disk /copied/\nRUN head -c 1 /copied/null && exit 1; true\n",
    );
    is_untouched(&workshop);
}

#[test]
fn what_is_written_to_a_bind_goes_with_its_step() {
    let workshop = workshop(&[], json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }));
    workshop.write("kept/file", "the caller's\n");
    let write =
        "(echo changed > /m/file; echo new > /m/new; rm -rf /m/gone; chmod 777 /m; ln /m/file /m/hard)";
    built(
        &workshop,
        &format!(
            "FROM busybox AS made\nRUN mkdir -p /s/gone; echo original > /s/file\n\
             FROM busybox\nRUN --mount=type=bind,rw,from=made,source=/s,target=/m {write}; cat /m/file > /first\n\
             RUN --mount=type=bind,rw,source=kept,target=/m {write}\n\
             RUN --mount=type=bind,rw,from=evil,source=/data,target=/m {write}\n\
             RUN --mount=type=bind,from=made,source=/s,target=/m ls /m > /second; cat /m/file >> /second\n\
             RUN --mount=type=bind,source=kept,target=/m ls /m > /third; cat /m/file >> /third\n\
             COPY --from=made /s /fourth\nCOPY --from=evil /data /fifth\n"
        ),
    );
    assert_eq!(workshop.in_image("cat /first"), "changed\n");
    assert_eq!(workshop.in_image("cat /second"), "file\ngone\noriginal\n");
    assert_eq!(workshop.in_image("cat /third"), "file\nthe caller's\n");
    assert_eq!(
        workshop.in_image("ls /fourth /fifth; cat /fourth/file"),
        "/fifth:\n\n/fourth:\nfile\ngone\noriginal\n"
    );
    assert_eq!(workshop.in_image("ls -d /m 2> /dev/null; true"), "");
    assert_eq!(building::files(&workshop.context.join("kept")).len(), 1);
    is_untouched(&workshop);
}

#[test]
fn what_lies_in_a_cache_is_no_way_out_and_gives_no_rights() {
    let workshop = workshop(&[], json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }));
    let victim = workshop.beside("victim");
    let cache = "--mount=type=cache,id=x,target=/c";
    built(
        &workshop,
        &format!(
            "FROM evil\nRUN {cache} cp /suid /c/suid && chmod 4777 /c/suid && ln -s {victim} /c/out && ln -s /proc/self/cwd /c/cwd \
             && mkdir /c/sub && mkfifo /c/pipe && chmod 777 /c && ! ln /c/suid /hard && ! ln /suid /c/hard\n"
        ),
    );
    // Its files keep their bits, which give nothing.
    let mounted = "grep -qE ' /c rw,nosuid,nodev' /proc/self/mountinfo";
    built(&workshop, &format!("FROM evil\nRUN {cache} test -u /c/suid && {mounted}\n"));
    // A part of it is another cache, never a path in this one.
    for source in ["out", "/out", "cwd", "../..", "sub/../out/treasure", "/proc/self/cwd"] {
        let dockerfile = format!("FROM evil\nRUN {cache},source={source} ls -A /c > /seen 2>&1; true\n");
        let output = tried(&workshop, &dockerfile);
        assert!(output.code != 0 || workshop.in_image("cat /seen").is_empty(), "{source}: {}", output.stderr);
    }
    // Nor does a mount inside it follow its links, or a target that one of them is.
    for target in ["/c/out", "/c/out/deep", "/c/cwd/x", "/c/sub", "/c/pipe"] {
        tried(
            &workshop,
            &format!("FROM evil\nRUN {cache} --mount=type=tmpfs,target={target} echo x > {target}/x; true\n"),
        );
        is_untouched(&workshop);
    }
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
}

#[test]
fn mounts_over_what_a_container_needs_change_nothing_outside() {
    // What an image has in the place of the kernel's files takes what is written for the kernel.
    let fake = [
        (EntryType::Regular, "fake/self/attr/exec", "x"),
        (EntryType::Regular, "fake/sys/kernel/hostname", "x"),
        (EntryType::Regular, "fake/1/oom_score_adj", "x"),
        (Symlink, "fake/self/fd", "/victim"),
        (Symlink, "fake/thread-self", "/"),
    ];
    let workshop = workshop(&fake, json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }));
    let names = ["kernel/hostname", "kernel/core_pattern", "vm/overcommit_memory"];
    let host = || names.map(|name| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap());
    let before = host();
    for target in [
        "/proc",
        "/proc/self",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/sys/kernel",
        "/proc/1",
        "/proc/kcore",
        "/sys",
        "/sys/fs/cgroup",
        "/sys/kernel",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/null",
        "/etc/resolv.conf",
        "/etc",
        "/run",
        "/.",
        "/proc/..",
        "/proc/1/root",
        "/proc/self/fd/5",
        "/dev/fd/6",
        "/dev/mqueue",
    ] {
        for mount in [
            "type=tmpfs",
            "type=cache",
            "from=evil,source=/fake",
            "from=evil,source=/fake,rw",
            "from=evil,source=/fake/self/attr/exec",
        ] {
            let script = "echo evil > /proc/sys/kernel/hostname; echo 2 > /proc/sys/vm/overcommit_memory; echo '|/x' > /proc/sys/kernel/core_pattern; true";
            let output = tried(
                &workshop,
                &format!("FROM evil\nRUN --mount={mount},target={target} ({script}) 2> /dev/null || true\n"),
            );
            assert!(matches!(output.code, 0 | 1), "{target} {mount}: {}", output.stderr);
        }
        assert_eq!(host(), before, "{target}");
        is_untouched(&workshop);
    }
}

#[test]
fn ids_that_are_none_are_refused_and_never_roots() {
    for user in [
        "4294967296",
        "4294967295",
        "-1",
        "2147483648",
        "99999999999999999999",
        "0x0",
        "+0",
        "1000:4294967296",
        "app:app:app",
    ] {
        let workshop = workshop(&[], json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"], "User": user }));
        for dockerfile in ["FROM evil\nRUN id\n".to_owned(), format!("FROM busybox\nUSER {user}\nRUN id\n")] {
            let output = tried(&workshop, &dockerfile);
            assert_eq!(output.code, 1, "{user}: {}", output.stderr);
            assert!(!output.stderr.contains("uid="), "{user}: {}", output.stderr);
        }
    }
}

#[test]
fn a_context_that_comes_as_a_stream_has_no_way_out() {
    let workshop = workshop(&[], json!({ "Cmd": ["sh"] }));
    let treasure = format!("{}/treasure", workshop.beside("victim"));
    let up = format!("{}{treasure}", "../".repeat(30));
    for (name, target) in [
        ("Dockerfile", &treasure),
        ("Dockerfile", &up),
        (".dockerignore", &treasure),
        ("x", &treasure),
        ("x", &up),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, target).unwrap();
        if name != "Dockerfile" {
            let text = b"FROM busybox\nCOPY x /x\n";
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, "Dockerfile", &text[..]).unwrap();
        }
        let output = workshop.skiff.run_with_input(
            &["build", "--progress=plain", "--network=none", "-"],
            &tar.into_inner().unwrap(),
        );
        assert_eq!(output.code, 1, "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("untouched"), "{name}: {}", output.stderr);
    }
    is_untouched(&workshop);
}

#[test]
fn a_device_or_a_pipe_that_is_written_to_stays_what_it_is() {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use std::os::unix::fs::FileTypeExt as _;
    let workshop = Workshop::new("FROM busybox\nCOPY x /x\n");
    workshop.write("x", "x");
    // As /dev has them.
    let (null, out) = (workshop.beside("null"), workshop.beside("stdout"));
    let everybody = Mode::from_raw_mode(0o666);
    mknodat(CWD, &null, FileType::CharacterDevice, everybody, makedev(1, 3)).unwrap();
    std::fs::set_permissions(&null, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/1", &out).unwrap();
    for place in [&null, &out] {
        for kind in ["tar", "oci", "docker"] {
            workshop.build(&["-o", &format!("type={kind},dest={place}")]);
        }
        workshop.build(&["--metadata-file", place, "--iidfile", place]);
        workshop.skiff.ok(&["save", "-o", place, "made"]);
        let container = workshop.skiff.ok(&["create", "made"]);
        workshop.skiff.ok(&["export", "-o", place, container.trim()]);
        workshop.skiff.ok(&["rm", container.trim()]);
        assert!(Path::new(&out).is_symlink());
        let about = std::fs::symlink_metadata(&null).unwrap();
        assert!(about.file_type().is_char_device() && about.mode() & 0o777 == 0o666, "{about:?}");
    }
    let id = workshop.try_build(&["-t", "made", "--iidfile", &out]);
    assert!(id.stdout.starts_with("sha256:"), "{id:?}");
}

#[test]
fn as_many_layers_as_can_be_mounted_are_built_and_one_more_is_refused_at_once() {
    let workshop = Workshop::new("");
    workshop.write("x", "x");
    // The base has one.
    let dockerfile = |count: usize| {
        let steps: String = (0..count).map(|number| format!("COPY x /d/{number}\n")).collect();
        format!("FROM busybox\n{steps}RUN test $(ls /d | wc -l) = {count}\n")
    };
    workshop.write("Dockerfile", dockerfile(998));
    workshop.build(&[]);
    assert_eq!(workshop.in_image("ls /d | wc -l"), "998\n");
    workshop.write("Dockerfile", dockerfile(999));
    let said = workshop.fails(&[], &["the image would have more than 1000 layers"]);
    assert!(!said.contains("COPY x /d/5"), "{said}");
}
