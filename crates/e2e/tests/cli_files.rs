//! `diff`, `export` and `commit`: what containers have written, running or stopped, of root and of an ordinary user.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Skiff, User, busybox};

const CHANGE: &str =
    "echo new >/new; mkdir -p /made/deep; rm /bin/yes; echo x:x:7:7::/:/bin/sh >>/etc/passwd; chmod 700 /home
    touch /tmp/x; chown 5:6 /new; ln /new /second; ln -s new /link; mknod /made/pipe p";

const DIFF: &str = "C /bin\nD /bin/yes\nC /etc\nC /etc/passwd\nC /home\nA /link\nA /made\nA /made/deep\nA /made/pipe\n\
                    A /new\nA /second\nC /tmp\nA /tmp/x\n";

fn shell(folder: &Path, script: &str) -> String {
    let output = Command::new("bash").args(["-euc", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn check_verbs(skiff: &Skiff) {
    skiff.load(&busybox());
    skiff.ok(&["run", "--name", "stopped", "busybox", "sh", "-c", CHANGE]);
    let forever = format!("{CHANGE}; touch /done; exec sleep 1000");
    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "running",
        "-v",
        "/etc:/mnt/host",
        "--tmpfs",
        "/scratch",
        "busybox",
        "sh",
        "-c",
        &forever,
    ]);
    skiff.ok(&[
        "exec",
        "running",
        "sh",
        "-c",
        "while ! test -e /done; do sleep 0.01; done; rm /done; touch /scratch/memory",
    ]);
    skiff.ok(&["create", "--name", "new", "busybox", "sh"]);
    for name in ["stopped", "running"] {
        assert_eq!(skiff.ok(&["diff", name]), DIFF, "{name}");
        check_export(skiff, name);
        check_commit(skiff, name);
    }
    assert_eq!(skiff.ok(&["diff", "new"]), "");
    let table = skiff.ok(&["diff", "--format", "table", "stopped"]);
    assert!(table.starts_with("CHANGE TYPE   PATH\nC             /bin\n"), "{table}");
    assert!(
        skiff
            .ok(&["diff", "--format", "json", "stopped"])
            .starts_with("{\"Type\":\"C\",\"Path\":\"/bin\"}\n")
    );
    assert_eq!(skiff.run(&["diff", "none"]).stderr, "skiff: No such container: none\n");
    assert_eq!(skiff.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "running running\n");
    skiff.ok(&["rm", "-f", "stopped", "running", "new"]);
    assert_eq!(skiff.left_by_containers(), "");
}

const LIST: &str = "tar --numeric-owner -tvf all.tar | awk '{ print $1, $2, $6, $7, $8, $9, $10 }' | sed 's/ *$//' | sort -k3";

fn check_export(skiff: &Skiff, name: &str) {
    skiff.ok(&["export", "-o", "all.tar", name]);
    let listed = shell(skiff.folder(), LIST);
    for line in [
        "-rw-r--r-- 5/6 new",
        "lrwxrwxrwx 0/0 link -> new",
        "prw-r--r-- 0/0 made/pipe",
        "drwx------ 0/0 home/",
    ] {
        assert!(listed.lines().any(|found| found == line), "{name}: {line} in {listed}");
    }
    let second = listed.lines().find(|line| line.contains("second")).unwrap();
    assert!(second.contains("link to new"), "{second}");
    for not in ["bin/yes", "memory", "mnt/host/"] {
        assert!(
            !listed.lines().any(|line| line.contains(not) && !line.ends_with("mnt/host/")),
            "{not}: {listed}"
        );
    }
    // By a pipe it is the same, and a terminal gets none of it.
    let mut child = skiff.start(&["export", name]);
    let piped = std::fs::File::create(skiff.folder().join("piped.tar")).unwrap();
    std::io::copy(&mut child.stdout.take().unwrap(), &mut &piped).unwrap();
    assert!(child.wait().unwrap().success());
    shell(skiff.folder(), "cmp all.tar piped.tar; rm piped.tar");
}

fn check_commit(skiff: &Skiff, name: &str) {
    let id = skiff.ok(&[
        "commit",
        "-a",
        "Jane",
        "-m",
        "a note",
        "-c",
        "CMD [\"cat\", \"/new\"]",
        "-c",
        "ENV A=b",
        name,
        &format!("made/{name}:1"),
    ]);
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    let image = format!("made/{name}:1");
    let format = "{{.Author}} {{.Comment}} {{json .Config.Cmd}} {{len .RootFS.Layers}}";
    assert_eq!(
        skiff.ok(&["image", "inspect", "--format", format, &image]),
        "Jane a note [\"cat\",\"/new\"] 2\n"
    );
    let history = skiff.ok(&["history", "--format", "{{.Comment}}|{{.CreatedBy}}", "--no-trunc", &image]);
    assert!(history.starts_with("a note|sh -c echo new"), "{history}");
    assert_eq!(skiff.ok(&["run", "--rm", &image]), "new\n");
    let look = "stat -c '%n %u:%g %a %h' /new /home /second; ls /bin/yes /mnt/host /scratch 2>/dev/null; readlink /link; env | grep ^A=";
    assert_eq!(
        skiff.ok(&["run", "--rm", &image, "sh", "-c", look]),
        "/new 5:6 644 2\n/home 0:0 700 1\n/second 5:6 644 2\nnew\nA=b\n"
            .replace("/home 0:0 700 1", &format!("/home 0:0 700 {}", links(skiff, &image))),
    );
    assert_eq!(skiff.run(&["image", "verify", &image]).code, 0);
}

/// How many links a directory has depends on the file system.
fn links(skiff: &Skiff, image: &str) -> String {
    skiff.ok(&["run", "--rm", image, "stat", "-c", "%h", "/home"]).trim().to_owned()
}

#[test]
fn what_roots_containers_wrote_is_told_exported_and_committed() {
    check_verbs(&Skiff::new());
}

#[test]
fn what_an_ordinary_users_containers_wrote_is_too() {
    let user = User::new();
    check_verbs(&Skiff::of(&user));
}

#[test]
fn unpacked_layers_tell_the_same() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["--snapshotter", "trees", "run", "--name", "one", "busybox", "sh", "-c", CHANGE]);
    assert_eq!(skiff.ok(&["--snapshotter", "trees", "diff", "one"]), DIFF);
    skiff.ok(&["--snapshotter", "trees", "commit", "one", "made"]);
    assert_eq!(skiff.ok(&["--snapshotter", "trees", "run", "--rm", "made", "cat", "/new"]), "new\n");
    assert_eq!(skiff.ok(&["run", "--rm", "made", "cat", "/new"]), "new\n");
    skiff.ok(&["rm", "one"]);
}

#[test]
fn a_commit_without_changes_adds_no_layer() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "one", "busybox", "true"]);
    skiff.ok(&["commit", "-m", "nothing", "one", "same"]);
    assert_eq!(skiff.ok(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", "same"]), "1\n");
    assert!(skiff.ok(&["history", "--format", "{{.Comment}}", "same"]).starts_with("nothing\n"));
    skiff.ok(&["create", "--name", "two", "busybox"]);
    skiff.ok(&["commit", "two", "same2"]);
    skiff.ok(&["rm", "one", "two"]);
}

#[test]
fn refusals_say_why_and_leave_nothing() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "one", "busybox", "touch", "/x"]);
    let before = skiff.ok(&["images", "-q"]);
    for (arguments, reason) in [
        (&["commit", "-c", "RUN x", "one"][..], "RUN"),
        (&["commit", "one", "Bad//Name"], "reference"),
        (&["commit", "none"], "No such container: none"),
        (&["export", "none"], "No such container: none"),
        (&["export", "-o", "/no/such/folder/x", "one"], "No such file"),
    ] {
        let output = skiff.run(arguments);
        assert!(output.code == 1 && output.stderr.contains(reason), "{arguments:?}: {output:?}");
    }
    assert_eq!(skiff.ok(&["images", "-q"]), before);
    let terminal = skiff.terminal(&["export", "one"], 80, 24);
    let (code, said) = terminal.finish();
    assert!(code == 1 && said.contains("cowardly refusing"), "{said}");
    skiff.ok(&["rm", "one"]);
}

/// A container that counts, so that it shows when it does not.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/dev/shm/count; done";

fn count(skiff: &Skiff) -> String {
    let pid = skiff.ok(&["inspect", "--format", "{{.State.Pid}}", "one"]);
    std::fs::read_to_string(format!("/proc/{}/root/dev/shm/count", pid.trim())).unwrap_or_default()
}

fn counts(skiff: &Skiff) -> bool {
    let first = count(skiff);
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let now = count(skiff);
        if now != first && !now.is_empty() {
            return true;
        }
    }
    false
}

#[test]
fn a_container_stands_still_while_it_is_committed_and_goes_on_whatever_happens() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "one", "busybox", "sh", "-c", COUNT]);
    assert!(counts(&skiff));
    skiff.ok(&["commit", "one"]);
    assert!(counts(&skiff), "after a commit");
    skiff.ok(&["exec", "one", "sh", "-c", "dd if=/dev/urandom of=/big bs=1M count=200 2>/dev/null"]);
    let mut seen = false;
    for _ in 0..20 {
        let mut child = skiff.start(&["commit", "one"]);
        let end = Instant::now() + Duration::from_secs(20);
        while !seen && child.try_wait().unwrap().is_none() && Instant::now() < end {
            seen = skiff.ok(&["ps", "--format", "{{.State}}"]) == "paused\n";
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if seen {
            break;
        }
    }
    assert!(seen, "no commit was seen to pause");
    assert!(counts(&skiff), "after a commit that was killed");
    assert_eq!(skiff.ok(&["ps", "--format", "{{.State}}"]), "running\n");

    // Who was paused before stays so.
    let state = |wanted: &str| assert_eq!(skiff.ok(&["ps", "--format", "{{.State}}"]), format!("{wanted}\n"));
    if skiff.run(&["pause", "one"]).code == 0 {
        skiff.ok(&["commit", "one"]);
        state("paused");
        skiff.ok(&["unpause", "one"]);
    }
    skiff.ok(&["commit", "--no-pause", "one"]);
    skiff.ok(&["commit", "--no-pause", "one"]);
    skiff.ok(&["rm", "-f", "one"]);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn a_committed_image_is_what_others_take() {
    let skiff = Skiff::with_busybox();
    let write = "busybox truncate -s 3M /holes; echo end >>/holes; echo x >/file; touch -d @1 /file; rm /bin/yes; mkdir /d; echo y >/d/y";
    skiff.ok(&["run", "--name", "one", "busybox", "sh", "-c", write]);
    skiff.ok(&["commit", "one", "made:1"]);
    skiff.ok(&["save", "-o", "made.tar", "made:1"]);
    // skopeo checks every digest, and its unpacker is another one.
    let script = "skopeo copy --quiet docker-archive:made.tar oci:layout:made; \
        blob=$(jq -r '.layers[1].digest' layout/blobs/sha256/$(jq -r '.manifests[0].digest' layout/index.json | cut -d: -f2) | cut -d: -f2); \
        tar -tzf layout/blobs/sha256/$blob | sort; tar -xOzf layout/blobs/sha256/$blob holes | wc -c";
    let script = if Path::new("/usr/bin/jq").exists() {
        script.to_owned()
    } else {
        "skopeo copy --quiet docker-archive:made.tar dir:layout; for f in layout/*; do tar -tzf $f 2>/dev/null | sort; done; \
         for f in layout/*; do tar -xOzf $f holes 2>/dev/null | wc -c; done"
            .to_owned()
    };
    let listed = shell(skiff.folder(), &script);
    for name in ["bin/.wh.yes", "d/y", "file", "holes"] {
        assert!(listed.lines().any(|line| line == name), "{name} in {listed}");
    }
    assert!(listed.lines().any(|line| line.trim() == "3145732"), "{listed}");
    skiff.ok(&["rm", "one"]);
}

#[test]
fn reading_stops_when_nobody_wants_it() {
    let skiff = Skiff::with_busybox();
    let write = "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null";
    skiff.ok(&["run", "--name", "one", "busybox", "sh", "-c", write]);
    let mut command = skiff.command(&["export", "one"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(!output.status.success());
    skiff.ok(&["rm", "one"]);
}
