//! Skiff as root of a user namespace that is not the host's: with a whole range of ids, and with one alone.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::{Entry, Output, Skiff, User, archive, busybox, busybox_layer};

/// A user who may enter user namespaces.
struct Guest {
    user: User,
    skiff: Skiff,
}

impl Guest {
    fn new() -> Guest {
        let user = User::new();
        Guest { skiff: Skiff::of(&user).that_builds(), user }
    }

    /// Runs Skiff with these maps (`unshare`), and what it reads.
    fn run(&self, maps: &[&str], arguments: &[&str], input: Option<&std::path::Path>) -> Output {
        let own = self.skiff.command(arguments);
        let mut command = Command::new("unshare");
        command.args(maps).arg("--").arg(own.get_program()).args(own.get_args());
        command.env_clear().current_dir(self.skiff.folder());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(self.user.uid()).gid(self.user.gid());
        command.stdin(input.map_or_else(Stdio::null, |path| std::fs::File::open(path).unwrap().into()));
        Output::of(command.output().expect("start unshare"))
    }

    fn ok(&self, maps: &[&str], arguments: &[&str]) -> String {
        let output = self.run(maps, arguments, None);
        assert_eq!(output.code, 0, "{maps:?} {arguments:?}: {output:#?}");
        output.stdout
    }

    fn load(&self, maps: &[&str], archive: &[u8]) {
        let path = self.skiff.folder().join("archive.tar");
        std::fs::write(&path, archive).unwrap();
        let output = self.run(maps, &["load"], Some(&path));
        assert_eq!(output.code, 0, "{maps:?}: {output:#?}");
    }

    fn context(&self, dockerfile: &str) -> String {
        let context = self.skiff.folder().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(context.join("file"), "content\n").unwrap();
        context.display().to_string()
    }
}

/// An image with files of others.
fn peopled() -> Vec<u8> {
    let layer = busybox_layer(&[
        Entry::Directory("srv", 0o755),
        Entry::Of(1000, 29, &Entry::File("srv/theirs", 0o640, b"theirs")),
        Entry::Of(65_534, 65_534, &Entry::Directory("srv/nobodys", 0o700)),
    ]);
    archive("peopled:latest", &layer, json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }))
}

const ALL: &[&str] = &["--map-root-user", "--map-auto"];
const ONE: &[&str] = &["--map-root-user"];

/// Owners of files, its own, and those that an image brings.
const OWNERS: &str = "touch /own && chown 7:8 /own && stat -c '%u:%g' /own /srv/theirs /srv/nobodys && \
    mkdir -p /deep && chown 1000 /deep && chmod 700 /deep";
const DOCKERFILE: &str = "FROM peopled\nCOPY --chown=3:4 file /file\nRUN touch /made && chown 5:6 /made && \
    test \"$(stat -c %u:%g /srv/theirs)\" = 1000:29\nUSER 1000\nRUN --mount=type=cache,target=/c,uid=1000 id -u > /tmp/id && echo x > /c/x\n";

#[test]
fn with_a_whole_range_everything_is_as_without_a_namespace() {
    let guest = Guest::new();
    guest.load(ALL, &peopled());
    let owners = guest.ok(ALL, &["run", "--name=cc", "peopled", "sh", "-c", OWNERS]);
    assert_eq!(owners, "7:8\n1000:29\n65534:65534\n");
    assert_eq!(guest.ok(ALL, &["run", "--rm", "-u", "1000:29", "peopled", "cat", "/srv/theirs"]), "theirs");
    guest.ok(ALL, &["cp", "cc:/srv/theirs", "copied"]);
    assert_eq!(guest.ok(ALL, &["diff", "cc"]).lines().filter(|line| line.ends_with("/own")).count(), 1);
    guest.ok(ALL, &["rm", "cc"]);
    let context = guest.context(DOCKERFILE);
    let flags = ["build", "-q", "--no-cache", "--build-arg=SOURCE_DATE_EPOCH=0", "-t", "made"];
    let inside = guest.ok(ALL, &[&flags[..], &[&context]].concat());
    let listed = ["run", "--rm", "made", "stat", "-c", "%n %u:%g", "/file", "/made", "/tmp/id"];
    assert_eq!(guest.ok(ALL, &listed), "/file 3:4\n/made 5:6\n/tmp/id 1000:1000\n");
    // The same user outside makes the same image, and removes what is left.
    let outside = guest.skiff.ok(&[&flags[..], &[&context]].concat());
    assert_eq!(inside, outside);
    guest.ok(ALL, &["run", "-d", "--name=dd", "peopled", "sleep", "1000"]);
    assert_eq!(guest.ok(ALL, &["exec", "-u", "1000", "dd", "id", "-u"]), "1000\n");
    guest.ok(ALL, &["rm", "-f", "dd"]);
    assert_eq!(guest.skiff.ok(&["ps", "-aq"]), "");
    guest.ok(ALL, &["builder", "prune", "-af"]);
    guest.ok(ALL, &["rmi", "made", "peopled"]);
}

#[test]
fn with_one_id_images_of_root_alone_work_and_others_say_what_lacks() {
    let guest = Guest::new();
    guest.load(ONE, &busybox());
    assert_eq!(
        guest.ok(ONE, &["run", "--rm", "busybox", "sh", "-c", "id -u; echo x > /x && cat /x"]),
        "0\nx\n"
    );
    let context = guest.context("FROM busybox\nCOPY file /file\nRUN cat /file > /made\n");
    guest.ok(ONE, &["build", "-q", "-t", "made", &context]);
    assert_eq!(guest.ok(ONE, &["run", "--rm", "made", "cat", "/made"]), "content\n");
    guest.ok(ONE, &["run", "-d", "--name=dd", "busybox", "sleep", "1000"]);
    assert_eq!(guest.ok(ONE, &["exec", "dd", "id", "-u"]), "0\n");
    guest.ok(ONE, &["rm", "-f", "dd"]);
    guest.load(ONE, &peopled());
    let wanted = "and the user ids here end at 0 (/proc/self/uid_map): have more lent in /etc/subuid, \
        and map them all in a user namespace of your own (unshare --map-root-user --map-auto)";
    let context = guest.context(DOCKERFILE);
    for arguments in [&["run", "--rm", "peopled", "true"][..], &["build", &context]] {
        let output = guest.run(ONE, arguments, None);
        let said = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.code != 0 && said.contains(wanted), "{arguments:?}: {output:#?}");
    }
    // What is not run needs no owners.
    let context = guest.context("FROM peopled\nCOPY --chown=3:4 file /file\n");
    guest.ok(ONE, &["build", "-q", "-t", "copied", &context]);
    let output = guest.run(ONE, &["info"], None);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("/proc/self/uid_map and gid_map have no ids but root's"), "{said}");
}

#[test]
fn root_of_the_host_may_enter_a_namespace_too() {
    let skiff = Skiff::with_busybox();
    let own = skiff.command(&["--root", "other", "--run", "otherrun", "load", "-i", "archive.tar"]);
    std::fs::write(skiff.folder().join("archive.tar"), busybox()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .arg("-r")
            .arg("--")
            .arg(own.get_program())
            .args(["--root", "other", "--run", "otherrun"])
            .args(arguments);
        command.env_clear().current_dir(skiff.folder());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Output::of(command.stdin(Stdio::null()).output().unwrap())
    };
    let loaded = run(&["load", "-i", "archive.tar"]);
    assert_eq!(loaded.code, 0, "{loaded:#?}");
    let output = run(&["run", "--rm", "busybox", "cat", "/proc/self/uid_map"]);
    assert!(output.code == 0 && output.stdout.split_whitespace().eq(["0", "0", "1"]), "{output:#?}");
}
