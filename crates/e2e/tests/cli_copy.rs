//! `cp`: both ways, into and out of containers that run and that do not, by Docker's rules; and containers that would have
//! it leave their file system.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Skiff, User, busybox};

const FILL: &str = "mkdir -p /data/sub /empty; echo one >/data/one; echo two >/data/sub/two; ln -s one /data/link; \
                    ln -s /data /way; chown 5:6 /data/one; chmod 4750 /data/one; touch -d @1000 /data/one; \
                    ln /data/sub/two /data/again; echo plain >/file; mknod /data/pipe p";

/// A container that runs, one that has ended, and one that never began, with a volume of the caller's at `/vol`.
fn containers(skiff: &Skiff) -> [&'static str; 3] {
    skiff.load(&busybox());
    std::fs::create_dir(skiff.folder().join("vol")).unwrap();
    let volume = format!("{}:/vol", skiff.folder().join("vol").display());
    if skiff.folder().join("skiff").exists() {
        // An ordinary user's.
        let owner = std::fs::metadata(skiff.folder()).unwrap();
        std::os::unix::fs::chown(skiff.folder().join("vol"), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let run = ["-v", &volume, "busybox", "sh", "-c"];
    let forever = format!("{FILL}; touch /ready; exec sleep 1000");
    skiff.ok(&[&["run", "-d", "--name", "runs"][..], &run, &[&forever]].concat());
    skiff.ok(&["exec", "runs", "sh", "-c", "while ! test -e /ready; do sleep 0.01; done; rm /ready"]);
    skiff.ok(&[&["run", "--name", "ended"][..], &run, &[FILL]].concat());
    skiff.ok(&[&["create", "--name", "new"][..], &run, &["true"]].concat());
    ["runs", "ended", "new"]
}

fn shell(folder: &Path, script: &str) -> String {
    let output = Command::new("bash").args(["-euc", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `find` says of a tree, by name.
fn tree(folder: &Path, name: &str) -> String {
    shell(folder, &format!("cd {name}; find . -printf '%P %y %l\\n' | sed 's/ *$//' | sort"))
}

const DATA: &str = " d\nagain f\nlink l one\none f\npipe p\nsub d\nsub/two f\n";

fn check(skiff: &Skiff, is_root: bool) {
    let folder = skiff.folder().to_owned();
    let own = std::fs::metadata(&folder).unwrap();
    for name in containers(skiff) {
        let out = format!("out-{name}");
        std::fs::create_dir(folder.join(&out)).unwrap();
        std::os::unix::fs::chown(folder.join(&out), Some(own.uid()), Some(own.gid())).unwrap();
        if name != "new" {
            check_out(skiff, name, &out);
        }
        check_in(skiff, name, &out);
        check_volumes(skiff, name, is_root);
        check_refusals(skiff, name);
    }
    skiff.ok(&["rm", "-f", "runs", "ended", "new"]);
    assert_eq!(skiff.left_by_containers(), "");
}

fn check_out(skiff: &Skiff, name: &str, out: &str) {
    let folder = skiff.folder();
    let at = |path: &str| format!("{name}:{path}");
    // A directory to a new name, into one that is there, and its content.
    skiff.ok(&["cp", &at("/data"), &format!("{out}/named")]);
    assert_eq!(tree(folder, &format!("{out}/named")), DATA);
    skiff.ok(&["cp", &at("/data/"), out]);
    assert_eq!(tree(folder, &format!("{out}/data")), DATA);
    shell(folder, &format!("mkdir {out}/content; chown --reference={out} {out}/content"));
    skiff.ok(&["cp", &at("/data/."), &format!("{out}/content")]);
    assert_eq!(tree(folder, &format!("{out}/content")), DATA);
    // A file to a name, onto a file, into a directory.
    skiff.ok(&["cp", &at("/data/one"), &format!("{out}/file")]);
    skiff.ok(&["cp", &at("/file"), &format!("{out}/file")]);
    assert_eq!(std::fs::read_to_string(folder.join(out).join("file")).unwrap(), "plain\n");
    skiff.ok(&["cp", &at("data/one"), &format!("{out}/")]);
    let one = std::fs::metadata(folder.join(out).join("one")).unwrap();
    let caller = std::fs::metadata(folder).unwrap();
    assert_eq!((one.uid(), one.gid()), (caller.uid(), caller.gid()), "whose it is");
    assert_eq!((one.mtime(), one.permissions().mode() & 0o7777), (1000, 0o750), "time, and no power");
    // Links: as they are, or what they lead to.
    skiff.ok(&["cp", &at("/way"), &format!("{out}/way")]);
    assert_eq!(std::fs::read_link(folder.join(out).join("way")).unwrap(), Path::new("/data"));
    skiff.ok(&["cp", "-L", &at("/way"), &format!("{out}/followed")]);
    assert_eq!(tree(folder, &format!("{out}/followed")), DATA);
    skiff.ok(&["cp", &at("/way/"), &format!("{out}/slash")]);
    assert_eq!(tree(folder, &format!("{out}/slash")), DATA);
    skiff.ok(&["cp", "-L", &at("/data/link"), &format!("{out}/one2")]);
    assert_eq!(std::fs::read_to_string(folder.join(out).join("one2")).unwrap(), "one\n");
    // A tar.
    let listed = |path: &str| {
        let mut child = skiff.start(&["cp", &at(path), "-"]);
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "-tv"]).stdin(child.stdout.take().unwrap());
        let listed = String::from_utf8(tar.output().unwrap().stdout).unwrap();
        assert!(child.wait().unwrap().success());
        listed
    };
    let tar = listed("/data");
    assert!(tar.contains(" 5/6 ") && tar.contains(" data/one\n") && tar.contains(" data/\n"), "{tar}");
    assert!(listed("/data/.").contains(" ./one\n"), "{}", listed("/data/."));
}

fn check_in(skiff: &Skiff, name: &str, out: &str) {
    let folder = skiff.folder();
    let at = |path: &str| format!("{name}:{path}");
    let make = "rm -rf tree; mkdir -p tree/sub; echo a >tree/a; echo b >tree/sub/b; ln -s a tree/link; chmod 640 tree/a; touch -d @2000 tree/a; \
                ln -sfn tree linked; chown -R --reference=. tree";
    shell(folder, make);
    let back = |path: &str, to: &str| skiff.ok(&["cp", "-a", &at(path), &format!("{out}/{to}")]);
    const TREE: &str = " d\na f\nlink l a\nsub d\nsub/b f\n";
    skiff.ok(&["cp", "tree", &at("/one")]);
    skiff.ok(&["cp", "tree", &at("/one")]);
    skiff.ok(&["cp", "tree/.", &at("/tmp")]);
    skiff.ok(&["cp", "linked", &at("/aslink")]);
    skiff.ok(&["cp", "-L", "linked", &at("/astree")]);
    back("/one", "one-back");
    assert_eq!(tree(folder, &format!("{out}/one-back/tree")), TREE);
    back("/tmp/sub/b", "b-back");
    back("/aslink", "link-back");
    assert_eq!(std::fs::read_link(folder.join(out).join("link-back")).unwrap(), Path::new("tree"));
    back("/astree", "tree-back");
    assert_eq!(tree(folder, &format!("{out}/tree-back")), TREE);
    // Root's inside, or whose they were; a link at the end of the destination is followed.
    skiff.ok(&["cp", "tree/a", &at("/plain")]);
    skiff.ok(&["cp", "-a", "tree/a", &at("/owned")]);
    let mut child = skiff.start(&["cp", &at("/plain"), "-"]);
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "-tv", "--full-time"]).stdin(child.stdout.take().unwrap());
    let listed = String::from_utf8(tar.output().unwrap().stdout).unwrap();
    child.wait().unwrap();
    assert!(listed.starts_with("-rw-r----- 0/0 ") && listed.contains("1970-01-01"), "{listed}");
    if name != "new" {
        skiff.ok(&["cp", "tree/a", &at("/data/link")]);
        back("/data/one", "through-link");
        assert_eq!(std::fs::read_to_string(folder.join(out).join("through-link")).unwrap(), "a\n");
    }
    // A tar, compressed too.
    for tar in ["tar -c -C tree .", "tar -cz -C tree ."] {
        let tar = Command::new("bash").args(["-c", tar]).current_dir(folder).output().unwrap().stdout;
        let copied = skiff.run_with_input(&["cp", "-", &at("/home")], &tar);
        assert_eq!(copied.code, 0, "{copied:?}");
    }
    back("/home/.", "home-back");
    assert_eq!(tree(folder, &format!("{out}/home-back")), TREE);
}

fn check_volumes(skiff: &Skiff, name: &str, is_root: bool) {
    let folder = skiff.folder();
    skiff.ok(&["cp", "tree/a", &format!("{name}:/vol/{name}")]);
    let copy = folder.join("vol").join(name);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "a\n");
    // Root inside is the caller; with root it is nobody whom the bound folder would know, but for the id map of the mount.
    let owner = if is_root { 0 } else { std::fs::metadata(folder).unwrap().uid() };
    assert_eq!(std::fs::metadata(&copy).unwrap().uid(), owner);
    skiff.ok(&["cp", &format!("{name}:/vol/{name}"), &format!("vol/{name}-again")]);
    assert_eq!(std::fs::read_to_string(folder.join("vol").join(format!("{name}-again"))).unwrap(), "a\n");
}

fn check_refusals(skiff: &Skiff, name: &str) {
    let at = |path: &str| format!("{name}:{path}");
    let (none, way, into, file) = (at("/none"), at("/none/below/"), at("/none/"), at("/etc/passwd"));
    for (arguments, reason) in [
        ([none.as_str(), "x"], format!("Could not find the file /none in container {name}")),
        (["tree/a", &into], "no such directory".to_owned()),
        (["tree/a", &way], format!("Could not find the file /none/below/ in container {name}")),
        (["tree", &file], "cannot copy directory".to_owned()),
        (["nothing", &none], "nothing: no such file or directory".to_owned()),
        ([&file, "no/such/x"], "does not exist".to_owned()),
        ([&file, "tree/none/"], "no such directory".to_owned()),
        ([&at("/etc"), "tree/a"], "cannot copy directory".to_owned()),
        (["-", &file], format!("destination \"{name}:/etc/passwd\" must be a directory")),
        (["tree/a/", &none], "not a directory".to_owned()),
        ([&at("/etc/passwd/"), "x"], "not a directory".to_owned()),
        (["a", "b"], "must specify at least one container source".to_owned()),
        ([&none, &none], "copying between containers is not supported".to_owned()),
    ] {
        let output = skiff.run(&["cp", arguments[0], arguments[1]]);
        assert!(output.code == 1 && output.stderr.contains(&reason), "{arguments:?} {reason}: {output:?}");
    }
    // A file takes no directory's place, and the reverse.
    shell(skiff.folder(), "rm -rf other; mkdir -p other/a; chown -R --reference=. other");
    skiff.ok(&["cp", "tree/.", &at("/tmp")]);
    let output = skiff.run(&["cp", "other/.", &at("/tmp")]);
    assert!(output.stderr.contains("cannot overwrite non-directory with directory"), "{output:?}");
}

#[test]
fn files_go_where_docker_puts_them() {
    check(&Skiff::new(), true);
}

#[test]
fn an_ordinary_users_do_too() {
    let user = User::new();
    check(&Skiff::of(&user), false);
}

#[test]
fn a_read_only_container_takes_nothing() {
    let skiff = Skiff::with_busybox();
    std::fs::write(skiff.folder().join("f"), "x").unwrap();
    skiff.ok(&["run", "-d", "--read-only", "--name", "runs", "busybox", "sleep", "1000"]);
    skiff.ok(&["create", "--read-only", "--name", "new", "busybox"]);
    for name in ["runs", "new"] {
        let output = skiff.run(&["cp", "f", &format!("{name}:/f")]);
        assert!(output.code == 1 && output.stderr.contains("Read-only file system"), "{output:?}");
    }
    skiff.ok(&["rm", "-f", "runs", "new"]);
}

#[test]
fn copies_wait_for_each_other_and_a_start_for_them() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox", "sh", "-c", "ls /made"]);
    shell(skiff.folder(), "mkdir made; for i in $(seq 8); do echo $i >made/$i; done");
    skiff.ok(&["cp", "made", "one:/"]);
    std::thread::scope(|scope| {
        for number in 1..=8 {
            let skiff = &skiff;
            scope.spawn(move || {
                skiff.ok(&["cp", &format!("made/{number}"), &format!("one:/made/again-{number}")])
            });
        }
        scope.spawn(|| skiff.ok(&["start", "-a", "one"]));
    });
    assert_eq!(skiff.ok(&["start", "-a", "one"]).lines().count(), 16);
    assert_eq!(skiff.ok(&["rm", "one"]), "one\n");
    assert_eq!(skiff.left_by_containers(), "");
}

/// CVE-2018-15664: between lookup and use, the container puts a link in the place of a directory.
#[test]
fn a_container_that_relinks_meanwhile_gets_and_gives_its_own_files_alone() {
    let skiff = Skiff::with_busybox();
    let secret = skiff.folder().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("file"), "the host's").unwrap();
    std::fs::write(skiff.folder().join("payload"), "the caller's").unwrap();
    // The path is there inside too, with other content.
    let swap = format!(
        "mkdir -p {0} /a /b; echo inside >{0}/file; echo inside >/a/file; rm -rf /link; ln -s {0} /link; touch /ready; \
         while :; do mv /a /tmp/x; mv /link /a; mv /a /link; mv /tmp/x /a; done",
        secret.display()
    );
    skiff.ok(&["run", "-d", "--name", "evil", "busybox", "sh", "-c", &swap]);
    skiff.ok(&["exec", "evil", "sh", "-c", "while ! test -e /ready; do sleep 0.01; done"]);
    for turn in 0..60 {
        let out = skiff.folder().join(format!("out-{turn}"));
        let _copied = skiff.run(&["cp", "evil:/a/file", &out.display().to_string()]);
        if let Ok(content) = std::fs::read_to_string(&out) {
            assert_ne!(content, "the host's", "turn {turn}");
        }
        let _copied = skiff.run(&["cp", "payload", "evil:/a/file"]);
        skiff.run(&["exec", "evil", "sh", "-c", &format!("echo inside >{}/file", secret.display())]);
        skiff.run(&["exec", "evil", "sh", "-c", "echo inside >/a/file"]);
    }
    assert_eq!(std::fs::read_to_string(secret.join("file")).unwrap(), "the host's");
    skiff.ok(&["rm", "-f", "evil"]);
}

#[test]
fn links_of_a_container_lead_nowhere_but_inside() {
    let skiff = Skiff::with_busybox();
    let secret = skiff.folder().join("secret");
    std::fs::write(&secret, "the host's").unwrap();
    let script = format!(
        "ln -s {} /direct; ln -s ../../../../../../..{} /climbs; mkdir -p /d; ln -s / /d/up; ln -s /proc/1/root /magic; \
         ln -s loop /loop; test \"$1\" = stay && exec sleep 1000 || true",
        secret.display(),
        secret.display()
    );
    skiff.ok(&["run", "-d", "--name", "runs", "busybox", "sh", "-c", &script, "sh", "stay"]);
    skiff.ok(&["run", "--name", "ended", "busybox", "sh", "-c", &script]);
    skiff.ok(&["exec", "runs", "sh", "-c", "while ! test -L /loop; do sleep 0.01; done"]);
    let payload = skiff.folder().join("payload");
    std::fs::write(&payload, "the caller's").unwrap();
    for name in ["runs", "ended"] {
        for path in ["/direct", "/climbs", "/loop", &format!("/d/up{}", secret.display())] {
            let output = skiff.run(&["cp", "-L", &format!("{name}:{path}"), "stolen"]);
            assert!(output.code == 1 && !skiff.folder().join("stolen").exists(), "{name} {path}: {output:?}");
        }
        let output = skiff.run(&["cp", "-L", &format!("{name}:/magic/etc/passwd"), "stolen"]);
        assert_eq!(output.code, 1, "{output:?}");
        let _inside = skiff.run(&["cp", "payload", &format!("{name}:/direct")]);
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "the host's");
    }
    skiff.ok(&["rm", "-f", "runs", "ended"]);
}

/// CVE-2019-14271: the helper loads a library of the container's. Ours loads nothing, whatever lies there.
#[test]
fn nothing_of_the_container_is_loaded() {
    let skiff = Skiff::with_busybox();
    let plant = "mkdir -p /lib/x86_64-linux-gnu /etc /lib64; for l in libnss_files.so.2 libc.so.6 libnss_systemd.so.2; do \
                 echo junk >/lib/x86_64-linux-gnu/$l; done; echo /lib/evil.so >/etc/ld.so.preload; echo junk >/lib/evil.so; \
                 echo junk >/lib64/ld-linux-x86-64.so.2; echo 'passwd: evil' >/etc/nsswitch.conf; echo data >/data";
    skiff.ok(&["run", "-d", "--name", "evil", "busybox", "sh", "-c", &format!("{plant}; exec sleep 1000")]);
    skiff.ok(&["exec", "evil", "sh", "-c", "while ! test -e /data; do sleep 0.01; done"]);
    // Whatever the worker opens for reading inside is in the trace of its system calls.
    let mut command = skiff.command(&["cp", "evil:/data", "data"]);
    let trace = skiff.folder().join("trace");
    let program = command.get_program().to_owned();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=open,openat,openat2,execve", "-o"]).arg(&trace).arg(program);
    traced.args(["cp", "evil:/data", "data"]).current_dir(skiff.folder()).stdin(Stdio::null());
    for (key, value) in
        command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
    {
        traced.env(key, value);
    }
    command.stdin(Stdio::null());
    assert!(traced.status().expect("install strace").success());
    assert_eq!(std::fs::read_to_string(skiff.folder().join("data")).unwrap(), "data\n");
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("openat2"), "{trace}");
    for word in ["libnss", "ld.so.preload", "nsswitch", "libc.so", "ld-linux", "evil.so"] {
        assert!(!trace.contains(word), "{word}: {trace}");
    }
    skiff.ok(&["rm", "-f", "evil"]);
}

/// A tree that changes while it is copied out cannot make the unpacking side leave its directory.
#[test]
fn a_container_that_swaps_directories_for_links_reaches_no_file_of_the_caller() {
    let skiff = Skiff::with_busybox();
    let victim = skiff.folder().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let swap = format!(
        "mkdir -p /t/d; echo evil >/t/d/f; touch /ready; while :; do mv /t/d /t/x; ln -s {} /t/d; rm /t/d; mv /t/x /t/d; done",
        victim.display()
    );
    skiff.ok(&["run", "-d", "--name", "evil", "busybox", "sh", "-c", &swap]);
    skiff.ok(&["exec", "evil", "sh", "-c", "while ! test -e /ready; do sleep 0.01; done"]);
    for turn in 0..40 {
        // Onto what the last turn has left, a link perhaps.
        let _copied = skiff.run(&["cp", "evil:/t/.", if turn % 2 == 0 { "out" } else { "out/" }]);
    }
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    skiff.ok(&["rm", "-f", "evil"]);
}
