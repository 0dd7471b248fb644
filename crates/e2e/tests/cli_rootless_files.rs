//! The files of an ordinary user's images and containers: owners inside, ids that are lent outside.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use testkit::{Entry, Output, Skiff, User, archive_of_layers, busybox, busybox_layer, layer};

/// `cap_net_bind_service=ep`, version 2.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// What `stat` says inside of what the layers hold.
const OWNERS: &str = "\
/home/app 1000:1000 750
/home/app/notes 1000:1000 600
/home/app/link 1000:1000 777
/var/mail 0:8 2775
/usr/bin/su 0:0 4755
/usr/bin/wall 0:5 2755
/usr/bin/both 1000:29 6711
/srv/shared 65534:65534 1777
/srv/last 65536:65536 444
/srv/locked 1000:1000 0
/cap/cat 0:0 755
";

fn layers() -> [Vec<u8>; 2] {
    let busybox = std::fs::read("/bin/busybox").expect("install busybox-static");
    let lower = busybox_layer(&[
        Entry::Of(7, 7, &Entry::Directory("home/app", 0o700)),
        Entry::Of(7, 7, &Entry::File("home/app/gone", 0o600, b"gone")),
        Entry::Directory("var", 0o755),
        Entry::Of(0, 8, &Entry::Directory("var/mail", 0o2775)),
        Entry::File("usr/bin/su", 0o4755, b"su"),
        Entry::Of(0, 5, &Entry::File("usr/bin/wall", 0o2755, b"wall")),
        Entry::Of(1000, 29, &Entry::File("usr/bin/both", 0o6711, b"both")),
        Entry::Directory("srv", 0o755),
        Entry::Of(65_534, 65_534, &Entry::Directory("srv/shared", 0o1777)),
        Entry::Of(65_536, 65_536, &Entry::File("srv/last", 0o444, b"last")),
        // Neither the caller nor anyone else may look into this one.
        Entry::Of(1000, 1000, &Entry::Directory("srv/locked", 0o700)),
        Entry::Of(1000, 1000, &Entry::File("srv/locked/deep", 0o600, b"deep")),
        Entry::Directory("cap", 0o755),
        Entry::With("security.capability", CAPABILITY, &Entry::File("cap/cat", 0o755, &busybox)),
    ]);
    let upper = layer(&[
        Entry::Of(1000, 1000, &Entry::Directory("home/app", 0o750)),
        Entry::File("home/app/.wh.gone", 0, b""),
        Entry::Of(1000, 1000, &Entry::File("home/app/notes", 0o600, b"notes\n")),
        Entry::Of(1000, 1000, &Entry::Symlink("home/app/link", "notes")),
        Entry::Of(1000, 1000, &Entry::Directory("srv/locked", 0)),
    ]);
    [lower, upper]
}

fn owners() -> Vec<u8> {
    let [lower, upper] = layers();
    archive_of_layers("owners:latest", &[&lower, &upper], json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }))
}

fn names_in(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.expect("a name").path()).collect()
}

#[test]
fn files_have_the_owners_that_their_image_gives_them() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    let archive = owners();
    skiff.load(&archive);
    let paths: Vec<&str> = OWNERS.lines().filter_map(|line| line.split(' ').next()).collect();
    let stat = [&["run", "--rm", "owners", "stat", "-c", "%n %u:%g %a"], &paths[..]].concat();
    assert_eq!(skiff.ok(&stat), OWNERS);
    // Once unpacked, it stays.
    assert_eq!(skiff.ok(&stat), OWNERS);
    let gone = skiff.run(&["run", "--rm", "owners", "ls", "/home/app/gone"]);
    assert_eq!(gone.code, 1, "{gone:?}");

    // Outside they are the ids that were lent, and the capability is bound to the user.
    let (first, _) = user.lent()[0];
    let trees = names_in(&skiff.root().join("trees"));
    assert_eq!(trees.len(), 2, "{trees:?}");
    let notes = trees.iter().find_map(|tree| std::fs::metadata(tree.join("home/app/notes")).ok());
    let notes = notes.expect("an unpacked file");
    assert_eq!((notes.uid(), notes.gid()), (first + 999, first + 999));
    let capability = trees.iter().find_map(|tree| {
        let mut value = vec![0; 64];
        let length =
            rustix::fs::getxattr(tree.join("cap/cat"), "security.capability", &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    });
    let mut bound = CAPABILITY.to_vec();
    bound[3] = 3;
    bound.extend(user.uid().to_le_bytes());
    assert_eq!(capability, Some(bound));

    // The stored layers are what was loaded, and so is what is saved.
    let verified = skiff.run(&["image", "verify", "owners"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let file = skiff.folder().join("saved.tar");
    skiff.ok(&["save", "-o", &file.display().to_string(), "owners"]);
    let saved = std::fs::read(&file).expect("the archive");
    for layer in layers() {
        assert!(saved.windows(layer.len()).any(|window| window == layer), "a layer is not saved as it was");
    }
}

#[test]
fn users_of_a_container_are_who_they_are_in_its_files() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&owners());
    let script = "id -u && cat /home/app/notes && echo more > /home/app/new && echo more >> /home/app/notes \
                  && stat -c '%n %u:%g %a' /home/app/new /home/app/notes && mkdir /srv/shared/d && echo x > /var/none";
    let app = skiff.run(&["run", "--name", "app", "-u", "1000", "owners", "sh", "-c", script]);
    assert_eq!(
        app.stdout, "1000\nnotes\n/home/app/new 1000:1000 644\n/home/app/notes 1000:1000 600\n",
        "{app:?}"
    );
    assert!(app.stderr.contains("/var/none: Permission denied"), "{app:?}");
    assert_eq!(skiff.ok(&["rm", "app"]), "app\n");
    assert_eq!(
        skiff.ok(&["run", "--rm", "-u", "app", "owners", "sh", "-c", "id -u; cat /home/app/link"]),
        "1000\nnotes\n"
    );
    let other = skiff.run(&["run", "--rm", "-u", "1001", "owners", "cat", "/home/app/notes"]);
    assert!(other.code == 1 && other.stderr.contains("Permission denied"), "{other:?}");
    // Root inside has power over all of them, whoever they are outside.
    let root = skiff.ok(&[
        "run",
        "--rm",
        "owners",
        "sh",
        "-c",
        "cat /srv/locked/deep && rm -r /srv/locked && chown 5:6 /home/app && stat -c %u:%g /home/app",
    ]);
    assert_eq!(root, "deep5:6\n");
    // A program's capabilities are its own, unless privileges were given up.
    let effective = |more: &[&str]| {
        let capabilities = ["owners", "/cap/cat", "/proc/self/status"];
        let status = skiff.ok(&[&["run", "--rm", "-u", "1000"], more, &capabilities[..]].concat());
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t").map(str::to_owned));
        line.expect("a line of capabilities")
    };
    assert_eq!(effective(&["--security-opt", "no-new-privileges=false"]), "0000000000000400");
    assert_eq!(effective(&["--security-opt", "no-new-privileges"]), "0000000000000000");
}

#[test]
fn ids_beyond_those_that_are_lent_are_named() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    let far = busybox_layer(&[
        Entry::Of(70_000, 3, &Entry::Directory("far", 0o700)),
        Entry::Of(70_000, 3, &Entry::File("far/away", 0o600, b"far")),
    ]);
    skiff.load(&archive_of_layers("far:latest", &[&far], json!({ "Cmd": ["stat", "-c", "%u:%g", "/far"] })));
    let refused = skiff.run(&["run", "--rm", "far"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{refused:?}");
    let advice = "far/away belongs to user 70000, and the user ids here end at 65536 (/proc/self/uid_map): have more lent in /etc/subuid";
    assert!(refused.stderr.contains(advice), "{refused:?}");
    assert!(names_in(&skiff.root().join("tmp")).is_empty(), "half-done work is left");

    // With more ids it works, and with less again what was made with more can still be told apart.
    let (first, count) = (3_000_000_000, 10_000);
    user.lend(first, count);
    assert_eq!(skiff.ok(&["run", "--rm", "far"]), "70000:3\n");
    skiff.load(&busybox());
    assert_eq!(skiff.ok(&["run", "--rm", "busybox", "id", "-u"]), "0\n");
    user.take_back(first, count);
    assert_eq!(skiff.run(&["run", "--rm", "far"]).code, 125);
    assert_eq!(skiff.ok(&["run", "--rm", "busybox", "id", "-u"]), "0\n");

    // What belongs to ids that are gone stays until they are back; nothing else does.
    let stuck = skiff.run(&["rmi", "far"]);
    assert!(stuck.code != 0 && stuck.stderr.contains("trees/removed-"), "{stuck:?}");
    skiff.load(&busybox());
    assert_eq!(skiff.ok(&["run", "--rm", "busybox", "id", "-u"]), "0\n");
    user.lend(first, count);
    skiff.ok(&["image", "prune", "-af"]);
    assert!(names_in(&skiff.root().join("trees")).is_empty());
}

#[test]
fn without_lent_ids_every_file_is_the_callers() {
    let user = User::new();
    for (first, count) in user.lent() {
        user.take_back(first, count);
    }
    let skiff = Skiff::of(&user);
    skiff.load(&owners());
    let stat = [
        "run",
        "--rm",
        "owners",
        "stat",
        "-c",
        "%n %u:%g %a",
        "/home/app/notes",
        "/usr/bin/both",
        "/srv/locked",
    ];
    assert_eq!(skiff.ok(&stat), "/home/app/notes 0:0 600\n/usr/bin/both 0:0 6711\n/srv/locked 0:0 700\n");
    let info = skiff.run(&["info"]);
    assert!(format!("{}{}", info.stdout, info.stderr).contains("lends this user no ids"), "{info:?}");
    let refused = skiff.run(&["run", "--rm", "-u", "1000", "owners", "true"]);
    assert_ne!(refused.code, 0, "there is no user 1000: {refused:?}");
}

/// Runs Skiff where the programs that map lent ids are not installed: in a mount namespace whose `/usr/bin` lacks them.
fn run_without_helpers(skiff: &Skiff, user: &User, arguments: &[&str]) -> Output {
    let script = "mount -t tmpfs none \"$0\" && mkdir \"$0/upper\" \"$0/work\" && \
                  mount -t overlay -o \"lowerdir=/usr/bin,upperdir=$0/upper,workdir=$0/work\" none /usr/bin && \
                  rm /usr/bin/newuidmap /usr/bin/newgidmap && umount -l \"$0\" && \
                  uid=$1 && shift && exec /usr/bin/setpriv --reuid \"$uid\" --regid \"$uid\" --clear-groups \"$@\"";
    let place = skiff.folder().join("helpers");
    std::fs::create_dir_all(&place).expect("a place");
    let inner = skiff.command(arguments);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(place);
    command.arg(user.uid().to_string()).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Output::of(command.stdin(Stdio::null()).output().expect("start unshare"))
}

#[test]
fn without_the_programs_that_map_ids_every_file_is_the_callers() {
    let user = User::new();
    assert_eq!(user.uid(), user.gid(), "useradd gives a user a group of the same number");
    let skiff = Skiff::of(&user);
    skiff.load(&owners());
    let stat = ["run", "--rm", "owners", "stat", "-c", "%u:%g %a", "/home/app/notes"];
    let found = run_without_helpers(&skiff, &user, &stat);
    assert_eq!((found.code, found.stdout.as_str()), (0, "0:0 600\n"), "{found:?}");
    let info = run_without_helpers(&skiff, &user, &["info"]);
    assert!(
        format!("{}{}", info.stdout, info.stderr).contains("newuidmap or newgidmap is missing"),
        "{info:?}"
    );

    // What was unpacked while they were there cannot be removed until they are back, and that is said.
    assert_eq!(skiff.ok(&stat), "1000:1000 600\n");
    let stuck = run_without_helpers(&skiff, &user, &["rmi", "owners"]);
    assert!(stuck.code != 0 && stuck.stderr.contains("newuidmap or newgidmap is missing"), "{stuck:?}");
    skiff.ok(&["image", "prune", "-af"]);
    assert!(names_in(&skiff.root().join("trees")).is_empty());
}

/// Kills everything of the user's at any moment of an unpacking or a removal, and then asks for the same again.
#[test]
fn what_is_killed_on_the_way_leaves_only_garbage() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    let [lower, upper] = layers();
    let content = vec![b'x'; 40_000];
    let names: Vec<String> = (0..400).map(|number| format!("home/app/{number}")).collect();
    let files: Vec<Entry<'_>> = names.iter().map(|name| Entry::File(name, 0o600, &content)).collect();
    let owned: Vec<Entry<'_>> = files.iter().map(|file| Entry::Of(1000, 1000, file)).collect();
    let many = layer(&owned);
    let archive =
        archive_of_layers("owners:latest", &[&lower, &upper, &many], json!({ "Env": ["PATH=/bin"] }));
    skiff.load(&archive);
    let mut interrupted = [0, 0];
    for round in 0..24_u64 {
        let is_removal = round % 2 == 1;
        let arguments: &[&str] =
            if is_removal { &["rmi", "owners"] } else { &["run", "--rm", "owners", "true"] };
        let mut child = skiff.start(arguments);
        std::thread::sleep(Duration::from_micros(2_000 + round * 3_137 % 70_000));
        // Now and then the caller alone, whose worker must not go on for long.
        if round % 4 < 2 {
            kill_all_of(&user);
        } else {
            drop(child.kill());
        }
        interrupted[usize::from(is_removal)] += i32::from(!child.wait().expect("an end").success());
        skiff.load(&archive);
        let paths = ["/home/app/399", "/usr/bin/both"];
        let whole = [&["run", "--rm", "owners", "stat", "-c", "%s %u:%g"], &paths[..]].concat();
        assert_eq!(skiff.ok(&whole), "40000 1000:1000\n4 1000:29\n", "round {round}");
        if is_removal {
            let containers = skiff.ok(&["ps", "-aq"]);
            for container in containers.lines() {
                skiff.ok(&["rm", "-f", container]);
            }
            skiff.ok(&["image", "prune", "-af"]);
            for folder in ["containers", "layers", "tmp", "trees"] {
                let left = names_in(&skiff.root().join(folder));
                assert!(left.is_empty(), "round {round}: {left:?}");
            }
            skiff.load(&archive);
        }
    }
    assert!(interrupted[0] > 3 && interrupted[1] > 0, "too few were killed on the way: {interrupted:?}");
}

fn kill_all_of(user: &User) {
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        if let (Some(pid), Ok(status)) = (pid, std::fs::read_to_string(entry.path().join("status"))) {
            let own = format!("Uid:\t{}\t", user.uid());
            if status.lines().any(|line| line.starts_with(&own)) {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
