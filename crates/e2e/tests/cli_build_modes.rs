//! Builds of root, of ordinary users, and with either way to make root file systems: all of them make the same image.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use testkit::{Entry, Output, Scratch, Skiff, User, archive, busybox, busybox_layer};

/// `cap_net_bind_service=ep`, version 2.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Steps whose result depends on owners, modes, attributes, and on what is mounted.
const DOCKERFILE: &str = r#"
FROM base AS tools
RUN echo tool > /tool && chown 1000:29 /tool && chmod 4750 /tool
FROM base
ENV PATH=/bin:/usr/bin
WORKDIR /work/sub
COPY --chown=app:audio one /work/
COPY --chown=7:8 --chmod=640 tree /work/tree
COPY --from=tools /tool /usr/bin/tool
COPY --chmod=755 attributes /bin/attributes
RUN mkdir -p /srv/a /srv/b && echo f > /srv/a/f && chown -R 1000:29 /srv/a && chown 65534:65534 /srv/b \
 && chmod 2775 /srv/a && chmod 1777 /srv/b && echo own > /srv/b/own && chmod 6711 /srv/b/own
RUN rm /bin/yes && rm -r /home && mkdir /home && echo x > /home/new && ln /work/one /work/hard && ln -s nowhere /work/soft \
 && mknod /work/pipe p && chown -h 7:7 /work/soft
RUN touch /cap/cat && chmod 700 /var/deep && chown 1000 /var/deep/er && rm /var/deep/er/gone
RUN attributes /srv/a/f user.note here /srv/b user.of-a-directory there /usr/bin/tool security.capability -
RUN --mount=type=secret,id=key,uid=1000,mode=0440 --mount=type=cache,target=/c,uid=1000,gid=29,mode=0750 \
    --mount=type=ssh,uid=1000 --mount=type=tmpfs,target=/t,size=1m --mount=type=bind,source=tree,target=/b,rw \
    --mount=type=bind,from=tools,source=/tool,target=/bound --mount=type=cache,id=seeded,from=tools,source=/usr,target=/s \
    stat -c '%n %a %u:%g' /run/secrets/key /c $SSH_AUTH_SOCK /b/file /bound /s > /stats && echo lost > /b/lost \
 && echo lost > /t/lost && echo kept > /s/kept
USER app
RUN --mount=type=cache,target=/c,uid=1000,gid=29,mode=0750 --mount=type=secret,id=key,uid=1000,mode=0440 \
    id > /tmp/id && cat /run/secrets/key | wc -c > /tmp/size && echo x > /c/x && cat /c/x > /tmp/x
USER 12:34
WORKDIR /tmp/of-root
RUN umask 077 && echo twelve > /tmp/twelve
USER root
RUN cat <<one <<two > /heredoc
first
one
second
two
RUN <<END
#!/bin/sh
cat /proc/self/uid_map | wc -l > /dev/null
echo by a document > /document
END
CMD ["cat", "/stats"]
"#;

/// What the first of the two mounted steps sees.
const STATS: &str = "\
/run/secrets/key 440 1000:0
/c 750 1000:29
/run/buildkit/ssh_agent.0 600 1000:0
/b/file 644 0:0
/bound 4750 1000:29
/s 755 0:0
";

/// A context, a secret and an agent, which any user may read.
struct Input {
    folder: Scratch,
}

impl Input {
    fn new(dockerfile: &str) -> Input {
        let folder = Scratch::new();
        let context = folder.join("context");
        std::fs::create_dir_all(context.join("tree/sub")).unwrap();
        for (name, text) in [
            ("Dockerfile", dockerfile),
            ("one", "1\n"),
            ("tree/file", "2\n"),
            ("tree/sub/deep", "3\n"),
            ("../key", "a secret"),
        ] {
            std::fs::write(context.join(name), text).unwrap();
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/attributes.c");
        let mut compiler = Command::new("cc");
        let built = compiler
            .args(["-static", "-O1", "-s", "-o"])
            .arg(context.join("attributes"))
            .arg(source)
            .status();
        assert!(built.expect("a C compiler is needed").success());
        let socket = folder.join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        // Nobody asks it anything.
        std::mem::forget(listener);
        let all: &[PathBuf] = &[folder.to_path_buf(), context.clone(), context.join("tree"), socket];
        for path in all {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        for path in [context.join("one"), context.join("tree/file"), context.join("tree/sub/deep")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(context.join("tree/sub"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(context.join("tree"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Input { folder }
    }
}

/// A base with what only root could have made.
fn base() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("install busybox-static");
    let layer = busybox_layer(&[
        Entry::Directory("var", 0o755),
        Entry::Of(7, 7, &Entry::Directory("var/deep", 0o755)),
        Entry::Of(7, 7, &Entry::Directory("var/deep/er", 0o2755)),
        Entry::Of(1000, 29, &Entry::File("var/deep/er/gone", 0o600, b"gone")),
        Entry::Of(7, 1000, &Entry::File("var/deep/er/kept", 0o6755, b"kept")),
        Entry::Directory("cap", 0o755),
        Entry::With("security.capability", CAPABILITY, &Entry::File("cap/cat", 0o755, &busybox)),
    ]);
    archive("base:latest", &layer, json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }))
}

/// What a build has made: the image's id, the digests of its archives, and the names and contents of its files.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    id: String,
    oci: String,
    tar: String,
    local: String,
}

fn build(skiff: &Skiff, input: &Input, global: &[&str], flags: &[&str]) -> Output {
    let path = |name: &str| input.folder.join(name).display().to_string();
    let (secret, agent) = (format!("id=key,src={}", path("key")), format!("default={}", path("agent")));
    let usual = [
        "build",
        "--progress=plain",
        "--build-arg=SOURCE_DATE_EPOCH=1700000000",
        "--provenance=false",
        "--secret",
        &secret,
        "--ssh",
        &agent,
        "-t",
        "made",
    ];
    skiff.run(&[global, &usual, flags, &[&path("context")]].concat())
}

fn made(skiff: &Skiff, input: &Input, global: &[&str]) -> Made {
    let out = |name: &str| skiff.folder().join(name).display().to_string();
    let outputs = [
        "type=image".to_owned(),
        format!("type=oci,dest={}", out("made.oci")),
        format!("type=tar,dest={}", out("made.tar")),
        format!("type=local,dest={}", out("made")),
    ];
    let outputs: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    let output = build(skiff, input, global, &[&["--network=none"], &outputs[..]].concat());
    assert_eq!(output.code, 0, "{}", output.stderr);
    let id = skiff.run(&[global, &["inspect", "--format", "{{.Id}}", "made"]].concat());
    assert_eq!(id.code, 0, "{id:?}");
    Made {
        id: id.stdout,
        oci: digest(Path::new(&out("made.oci"))),
        tar: digest(Path::new(&out("made.tar"))),
        local: files(Path::new(&out("made"))),
    }
}

fn digest(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

/// Names, kinds and contents; owners are the caller's.
fn files(folder: &Path) -> String {
    let script =
        "cd \"$0\" && find . -printf '%y %p %l\\n' | sort && find . -type f -exec sha256sum {} + | sort";
    let output = Command::new("sh").args(["-c", script]).arg(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn of_root() -> Skiff {
    let skiff = Skiff::new().that_builds();
    skiff.load(&base());
    skiff
}

fn of(user: &User) -> Skiff {
    let skiff = Skiff::of(user).that_builds();
    skiff.load(&base());
    skiff
}

#[test]
fn an_image_is_the_same_whoever_builds_it_and_however_its_layers_are_mounted() {
    let input = Input::new(DOCKERFILE);
    let skiff = of_root();
    let first = made(&skiff, &input, &[]);
    assert_eq!(skiff.ok(&["run", "--rm", "made"]), STATS);
    let paths = "/work/one /work/tree/sub/deep /srv/a /srv/b /srv/b/own /tmp/twelve /tmp/of-root /usr/bin/tool /cap/cat";
    let stat = format!("stat -c '%n %a %u:%g' {paths}; cat /tmp/id /tmp/size /tmp/x /heredoc /document");
    let seen = skiff.ok(&["run", "--rm", "made", "sh", "-c", &stat]);
    assert!(
        seen.contains("/work/one 644 1000:29\n") && seen.ends_with("x\nsecond\nby a document\n"),
        "{seen}"
    );
    drop(skiff);

    let skiff = of_root();
    assert_eq!(made(&skiff, &input, &["--snapshotter", "trees"]), first, "trees");
    drop(skiff);

    let user = User::new();
    let skiff = of(&user);
    assert_eq!(made(&skiff, &input, &[]), first, "an ordinary user");
    assert_eq!(skiff.ok(&["run", "--rm", "made"]), STATS);
    assert_eq!(skiff.ok(&["run", "--rm", "made", "sh", "-c", &stat]), seen);
    // All of it is known the second time.
    let again = build(&skiff, &input, &[], &["--network=none"]);
    let cached = again.stderr.lines().filter(|line| line.ends_with(" CACHED")).count();
    assert_eq!((again.code, cached), (0, 17), "{}", again.stderr);
    // What lent ids own goes with the rest, caches too.
    skiff.ok(&["rmi", "made"]);
    assert_eq!(skiff.run(&["builder", "prune", "--all", "--force"]).code, 0);
    let left: Vec<_> = std::fs::read_dir(skiff.root().join("cache/mounts")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn without_lent_ids_a_build_has_one_owner_and_makes_what_root_makes_of_its_own() {
    let input = Input::new(
        "FROM base\nWORKDIR /w\nCOPY --chown=7:8 tree /tree\nRUN echo x > x && chmod 4711 x && rm /bin/yes && mkdir -m 700 /d\nRUN --mount=type=cache,target=/c,uid=1000 --mount=type=ssh,uid=7 test -S $SSH_AUTH_SOCK && echo y > /c/y && cat /c/y > y\n",
    );
    let first = made(&of_root(), &input, &[]);
    let user = User::new();
    for (first, count) in user.lent() {
        user.take_back(first, count);
    }
    let skiff = of(&user);
    assert_eq!(made(&skiff, &input, &[]), first);
    // What cannot be is said.
    std::fs::write(input.folder.join("context/Dockerfile"), "FROM base\nRUN chown 7 /tmp\n").unwrap();
    let refused = build(&skiff, &input, &[], &["--network=none"]);
    assert!(refused.code == 1 && refused.stderr.contains("exit code: 1"), "{refused:?}");
    std::fs::write(input.folder.join("context/Dockerfile"), "FROM base\nUSER app\nRUN true\n").unwrap();
    let refused = build(&skiff, &input, &[], &["--network=none"]);
    assert!(refused.code == 1 && refused.stderr.contains("could not be started"), "{refused:?}");
}

#[test]
fn an_ordinary_users_steps_have_the_hosts_network_unless_none_is_asked_for() {
    let user = User::new();
    let skiff = of(&user);
    let input = Input::new(
        "FROM base\nRUN cat /proc/net/dev | grep -c : > /default\nRUN --network=none cat /proc/net/dev | grep -c : > /none\nRUN ls /sys/class/net > /dev/null && echo nameserver >> /etc/resolv.conf\n",
    );
    let output = build(&skiff, &input, &[], &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!output.stderr.contains("WARNING"), "{}", output.stderr);
    // Limits that nobody has delegated are said to be without effect, where the step says what it says.
    let limited = build(&skiff, &input, &[], &["--memory=64m", "--no-cache"]);
    assert!(
        limited.code == 0 && limited.stderr.contains("WARNING: Limits have no effect"),
        "{}",
        limited.stderr
    );
    let hosts = std::fs::read_to_string("/proc/net/dev").unwrap().matches(':').count();
    assert_eq!(skiff.ok(&["run", "--rm", "made", "cat", "/default", "/none"]), format!("{hosts}\n1\n"));
}

#[test]
fn a_whole_tree_is_built_from_nothing_with_trees() {
    let skiff = Skiff::new().that_builds();
    skiff.load(&busybox());
    let input = Input::new(
        "FROM busybox AS shell\nFROM scratch\nCOPY --from=shell /bin/busybox /busybox\nRUN [\"/busybox\", \"echo\", \"hello\"]\nRUN [\"/busybox\", \"touch\", \"/made\"]\n",
    );
    let flags = ["--snapshotter", "trees"];
    let output = build(&skiff, &input, &flags, &["--network=none"]);
    assert!(output.code == 0 && output.stderr.contains("hello"), "{}", output.stderr);
    let seen =
        skiff.run(&[&flags[..], &["run", "--rm", "made", "/busybox", "ls", "/made", "/busybox"]].concat());
    assert_eq!(seen.stdout, "/busybox\n/made\n", "{seen:?}");
}
