//! What other runtimes fell to, against the command line itself.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::process::{Command, Stdio};

use oci::{Lab, run, wait_until};
use serde_json::json;

/// runc CVE-2019-5736: whoever opens `/proc/<pid>/exe` of a process that comes in holds the runtime's own program.
#[test]
fn the_runtimes_own_program_cannot_be_overwritten_from_inside() {
    let lab = Lab::new("own-program");
    // A copy that may be destroyed: the real one serves other tests.
    let program = lab.path("copy");
    std::fs::copy(&lab.runtime, &program).unwrap();
    std::fs::remove_file(&lab.runtime).unwrap();
    std::fs::rename(&program, &lab.runtime).unwrap();
    let before = std::fs::read(&lab.runtime).unwrap();

    // In a pid namespace of its own or in the host's, root inside is root.
    for (name, own_pids) in [("own", true), ("hosts", false)] {
        let script = "echo up; while :; do for exe in /proc/[0-9]*/exe; do \
            case $exe in /proc/$$/exe) ;; *) (echo evil >> $exe) 2>/dev/null;; esac; done; done";
        let bundle = lab.bundle(name, &["sh", "-c", script], |config| {
            config["root"]["readonly"] = json!(false);
            if !own_pids {
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|one| one["type"] != json!("pid"));
            }
        });
        let id = lab.id(name);
        assert_eq!(lab.create(&id, &bundle, &[]).code, 0, "{}", lab.written());
        lab.ok(&["start", &id]);
        wait_until("it is at work", || lab.written() == "up\n");
        for _ in 0..10 {
            // What is executed is the runtime itself, as far as the container can tell.
            let done = lab.oci(&["exec", &id, "/proc/self/exe", "--version"]);
            assert!(done.code == 0 || done.code == 255, "{done:?}");
            assert_eq!(lab.oci(&["exec", &id, "true"]).code, 0);
        }
        lab.ok(&["delete", "--force", &id]);
    }
    assert!(std::fs::read(&lab.runtime).unwrap() == before, "the program has changed");
}

/// runc CVE-2024-21626 by way of the command line: what the caller has open, and the folder that it stands in.
#[test]
fn neither_the_callers_descriptors_nor_its_folder_come_along() {
    let lab = Lab::new("leaks");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    let id = lab.id("c");
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    lab.ok(&["start", &id]);
    let from_root = |words: &[&str]| {
        let script = "exec 3</ 4</etc 5</proc 9</root; cd /; exec \"$@\"";
        let command = lab.command(words);
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        run(&mut shell)
    };
    let script = format!(
        "ls /proc/self/fd | tr '\\n' ' '; pwd; test -e /proc/self/cwd/..{} && echo out; true",
        lab.base.display()
    );
    let done = from_root(&["exec", &id, "sh", "-c", &script]);
    assert_eq!(done.out, "0 1 2 3 /\n", "the fourth is the folder that ls reads: {done:?}");
    for number in 3..12 {
        let cwd = format!("/proc/self/fd/{number}");
        let done = from_root(&["exec", "--cwd", &cwd, &id, "ls"]);
        assert!(done.code == 255 && done.err.contains("change to working directory"), "{number}: {done:?}");
        let name = format!("b{number}");
        let bundle = lab.bundle(&name, &["ls"], |config| config["process"]["cwd"] = json!(cwd));
        let done = from_root(&["run", "--bundle", bundle.to_str().unwrap(), &lab.id(&name)]);
        assert!(done.code == 1 && done.err.contains("change to working directory"), "{number}: {done:?}");
    }
    lab.ok(&["delete", "--force", &id]);
}

/// An id is a name of a folder; what a container's folder holds is nobody else's (runc CVE-2022-29162's class: what
/// the caller did not ask for).
#[test]
fn an_id_is_no_path_and_the_state_is_nobody_elses() {
    let lab = Lab::new("ids");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    for id in ["../x", "/x", ".", "..", "a/b", "a\nb", "", "\u{e4}"] {
        let done = lab.create(id, &bundle, &[]);
        assert!(done.code == 1 && done.err.contains("invalid container id"), "{id:?}: {done:?}");
    }
    let id = lab.id("c");
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(lab.path("state").join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode(&id)), (0o700, 0o700));
    // A caller's inheritable and ambient capabilities are not the container's (podman CVE-2022-27649).
    let sets = lab.ok(&["exec", &id, "grep", "-E", "^Cap(Inh|Amb)", "/proc/self/status"]);
    assert_eq!(sets, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n");
    lab.ok(&["delete", "--force", &id]);
}

/// containerd CVE-2020-15257: a socket without a file is reachable from every container in the host's network.
#[test]
fn no_socket_of_ours_is_abstract() {
    let lab = Lab::new("abstract");
    let bundle = lab.bundle("b", &["sleep", "1000"], |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != json!("network"));
    });
    let before = std::fs::read_to_string("/proc/net/unix").unwrap();
    let mut command = lab.command(&["run", "--bundle", bundle.to_str().unwrap(), &lab.id("c")]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("it runs", || lab.oci(&["state", &lab.id("c")]).out.contains("running"));
    let names = |text: &str| {
        text.lines()
            .filter_map(|line| line.split_once('@').map(|(_, name)| name.to_owned()))
            .collect::<Vec<_>>()
    };
    let (known, now) = (names(&before), names(&std::fs::read_to_string("/proc/net/unix").unwrap()));
    let ours: Vec<&String> = now
        .iter()
        .filter(|name| !known.contains(name) && (name.contains("skiff") || name.contains("oci")))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    lab.ok(&["kill", &lab.id("c"), "KILL"]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
}
