//! What service managers and engines ask of `exec`, `run` and `start`, under runc and under `skiff oci` alike: sockets
//! passed on, readiness told, groups below a container's group, paused containers.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use oci::{Done, Lab, require, run, wait_until};
use serde_json::{Value, json};

/// One of the two runtimes, in one place.
struct Peer<'a> {
    lab: &'a Lab,
    name: &'static str,
}

impl Peer<'_> {
    fn command(&self, words: &[&str]) -> Command {
        match self.name {
            "skiff" => self.lab.command(words),
            name => {
                require(name, name);
                let mut command = Command::new(name);
                command.arg("--root").arg(self.lab.path(name)).args(words);
                command
            }
        }
    }

    fn run(&self, words: &[&str]) -> Done {
        run(&mut self.command(words))
    }

    fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{} {words:?}: {done:?}", self.name);
        done.out
    }

    fn id(&self) -> String {
        self.lab.id(self.name)
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.ok(&["state", &self.id()])).unwrap()
    }

    /// A container of `bundle` whose output goes to the file `out`.
    fn create(&self, bundle: &Path, change: impl FnOnce(&mut Command)) {
        let mut command = self.command(&["create", "--bundle", bundle.to_str().unwrap(), &self.id()]);
        let out = std::fs::File::create(self.lab.path("out")).unwrap();
        command.stdin(Stdio::null()).stderr(out.try_clone().unwrap()).stdout(out);
        change(&mut command);
        assert!(command.status().unwrap().success(), "{}: {}", self.name, self.written());
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.lab.path("out")).unwrap()
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.run(&["delete", "--force", &self.id()]);
    }
}

/// Both, one after the other.
fn each(name: &str, test: impl Fn(&Peer<'_>)) {
    let lab = Lab::new(name);
    for point in ["proc", "sys", "dev", "run/notify"] {
        std::fs::create_dir_all(lab.path("rootfs").join(point)).unwrap();
    }
    for name in ["runc", "skiff"] {
        test(&Peer { lab: &lab, name });
    }
}

#[test]
fn sockets_of_an_activated_service_reach_the_first_process() {
    each("listen", |peer| {
        let lab = peer.lab;
        let said = |number: u32, prefix: &str, more: &str, script: &str| {
            let name = format!("b{number}-{}", peer.name);
            let bundle = lab.bundle(&name, &["sh", "-c", script], |_| {});
            let command = peer.command(&[]);
            let words: Vec<String> = std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(|word| word.to_str().unwrap().to_owned())
                .collect();
            let line = format!(
                "echo one > {0}/one; echo two > {0}/two; exec 3<{0}/one 4<{0}/two; {prefix} exec {1} run {more} --bundle {2} {3}",
                lab.base.display(),
                words.join(" "),
                bundle.display(),
                peer.id()
            );
            let done = run(Command::new("sh").args(["-c", &line]));
            assert_eq!(done.code, 0, "{}: {line}: {done:?}", peer.name);
            done.out
        };
        let script = "cat <&3; echo $LISTEN_FDS $LISTEN_PID $$; test -e /proc/self/fd/4 || echo no more";
        assert_eq!(
            said(1, "LISTEN_FDS=1 LISTEN_PID=$$", "", script),
            "one\n1 1 1\nno more\n",
            "{}",
            peer.name
        );
        // Further ones come behind them.
        let script = "cat <&3; cat <&4; echo $LISTEN_FDS";
        let both = said(2, "LISTEN_FDS=1 LISTEN_PID=$$", "--preserve-fds 1", script);
        assert_eq!(both, "one\ntwo\n1\n", "{}", peer.name);
        // Meant for another process: neither the descriptors nor the words are passed on.
        let script = "echo ${LISTEN_FDS-none} ${LISTEN_PID-none}; test -e /proc/self/fd/3 || echo no more";
        for prefix in ["LISTEN_FDS=1 LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_PID=$$"] {
            let number = 3 + u32::try_from(prefix.len()).unwrap();
            assert_eq!(said(number, prefix, "", script), "none none\nno more\n", "{} {prefix}", peer.name);
        }
    });
}

/// Everything that a socket has been sent.
fn received(socket: &UnixDatagram) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(count) = socket.recv(&mut buffer) {
        all.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
    }
    all
}

fn manager(lab: &Lab, name: &str) -> (UnixDatagram, PathBuf) {
    let path = lab.path(name);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    (socket, path)
}

const SERVICE: &str = "echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo there; exec sleep 1000";

#[test]
fn readiness_is_told_to_the_callers_manager_and_nothing_else() {
    each("notify", |peer| {
        let (socket, path) = manager(peer.lab, &format!("{}.sock", peer.name));
        let bundle = peer.lab.bundle(&format!("b-{}", peer.name), &["sh", "-c", SERVICE], |_| {});
        peer.create(&bundle, |command| {
            command.env("NOTIFY_SOCKET", &path);
        });
        let mut starting = peer.command(&["start", &peer.id()]).env("NOTIFY_SOCKET", &path).spawn().unwrap();
        wait_until("the program has its socket", || peer.written().contains("there"));
        assert_eq!(peer.written(), "/run/notify/notify.sock\nthere\n", "{}", peer.name);
        let pid = &peer.state()["pid"];
        let service = UnixDatagram::unbound().unwrap();
        let say = |words: &str| {
            let inside = format!("/proc/{pid}/root/run/notify/notify.sock");
            service.send_to(words.as_bytes(), inside).unwrap();
        };
        for words in ["STATUS=half way", "MAINPID=1", "STOPPING=1\nERRNO=5", "FDSTORE=1"] {
            say(words);
        }
        assert_eq!(received(&socket), Vec::<String>::new(), "{}", peer.name);
        assert_eq!(starting.try_wait().unwrap(), None, "start waits until the service is ready");
        say("READY=1\nSTATUS=up");
        wait_until("start has returned", || starting.try_wait().unwrap().is_some());
        assert!(starting.wait().unwrap().success());
        assert_eq!(received(&socket), ["READY=1\n".to_owned(), format!("MAINPID={pid}\n")], "{}", peer.name);
    });
}

#[test]
fn a_service_that_ends_without_a_word_ends_the_wait() {
    each("notify-end", |peer| {
        let (socket, path) = manager(peer.lab, &format!("{}.sock", peer.name));
        let bundle = peer.lab.bundle(&format!("b-{}", peer.name), &["sleep", "0.3"], |_| {});
        peer.create(&bundle, |command| {
            command.env("NOTIFY_SOCKET", &path);
        });
        let done = run(peer.command(&["start", &peer.id()]).env("NOTIFY_SOCKET", &path));
        assert_eq!(done.code, 0, "{}: {done:?}", peer.name);
        assert_eq!(received(&socket), Vec::<String>::new());
        // Without a manager there is nothing to wait for, and no socket.
        peer.ok(&["delete", "--force", &peer.id()]);
        let script = "echo ${NOTIFY_SOCKET-none}; exec sleep 1000";
        let bundle = peer.lab.bundle(&format!("c-{}", peer.name), &["sh", "-c", script], |_| {});
        peer.create(&bundle, |command| {
            command.env_remove("NOTIFY_SOCKET");
        });
        assert_eq!(run(peer.command(&["start", &peer.id()]).env_remove("NOTIFY_SOCKET")).code, 0);
        wait_until("it has spoken", || peer.written() == "none\n");
    });
}

#[test]
fn a_service_in_the_foreground_or_detached_is_ready_too() {
    let lab = Lab::new("notify-run");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    for (name, user_namespace) in [("plain", false), ("mapped", true)] {
        for point in ["proc", "sys", "dev", "run/notify"] {
            std::fs::create_dir_all(lab.path("rootfs").join(point)).unwrap();
        }
        let (socket, path) = manager(&lab, &format!("{name}.sock"));
        let bundle = lab.bundle(name, &["sh", "-c", SERVICE], |config| {
            if user_namespace {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
                config["linux"]["uidMappings"] = map.clone();
                config["linux"]["gidMappings"] = map.clone();
            }
        });
        for detach in [false, true] {
            let id = lab.id(&format!("{name}-{detach}"));
            let mut words = vec!["run", "--bundle", bundle.to_str().unwrap(), &id];
            words.extend(detach.then_some("--detach"));
            let mut command = lab.command(&words);
            command.stdin(Stdio::null()).stdout(Stdio::null()).env("NOTIFY_SOCKET", &path);
            let mut child = command.spawn().unwrap();
            let inside = lab.path("state").join(&id).join("notify/notify.sock");
            wait_until("the container runs", || {
                inside.exists() && lab.oci(&["state", &id]).out.contains("running")
            });
            // Only once its program runs has it said so by itself; here, we say it.
            let service = UnixDatagram::unbound().unwrap();
            service.send_to(b"READY=1", &inside).unwrap();
            let state: Value = serde_json::from_str(&lab.ok(&["state", &id])).unwrap();
            let mut expected = vec!["READY=1\n".to_owned()];
            expected.extend(detach.then(|| format!("MAINPID={}\n", state["pid"])));
            assert_eq!(received(&socket), expected, "{id}");
            if detach {
                // The words were for the first process.
                wait_until("run has returned", || child.try_wait().unwrap().is_some());
                let further = lab.ok(&["exec", &id, "sh", "-c", "echo ${NOTIFY_SOCKET-none}"]);
                assert_eq!(further, "none\n");
            }
            lab.ok(&["kill", &id, "KILL"]);
            assert_eq!(child.wait().unwrap().code(), Some(if detach { 0 } else { 137 }), "{id}");
            lab.ok(&["delete", "--force", &id]);
        }
    }
}

/// The directories of a container's control group.
fn groups(id: &str) -> Vec<PathBuf> {
    let found = run(Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", id]));
    found.out.lines().map(PathBuf::from).collect()
}

#[test]
fn a_further_process_joins_a_group_below_the_containers() {
    each("below", |peer| {
        let id = peer.id();
        let bundle = peer.lab.bundle(&format!("b-{}", peer.name), &["sleep", "1000"], |_| {});
        peer.create(&bundle, |_| {});
        peer.ok(&["start", &id]);
        let directories = groups(&id);
        assert!(!directories.is_empty());
        for directory in &directories {
            std::fs::create_dir(directory.join("sub")).unwrap();
            // Nothing can join a group that has neither processors nor memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if directory.starts_with("/sys/fs/cgroup/cpuset") {
                    let of_parent = std::fs::read(directory.join(file)).unwrap();
                    std::fs::write(directory.join("sub").join(file), of_parent).unwrap();
                }
            }
        }
        let legacy = directories.iter().find(|path| path.starts_with("/sys/fs/cgroup/pids"));
        let place = |flags: &[&str], controller: &str| {
            let text = peer.ok(&[&["exec"][..], flags, &[&id, "cat", "/proc/self/cgroup"]].concat());
            let line = text.lines().find(|line| line.split(':').nth(1) == Some(controller));
            line.unwrap_or_else(|| panic!("{text}")).rsplit('/').next().unwrap().to_owned()
        };
        let controller = if legacy.is_some() { "pids" } else { "" };
        for path in ["sub", "/sub"] {
            assert_eq!(place(&["--cgroup", path], controller), "sub", "{} {path}", peer.name);
        }
        assert_ne!(place(&[], controller), "sub");
        if legacy.is_some() {
            assert_eq!(place(&["--cgroup", "pids:sub"], "pids"), "sub", "{}", peer.name);
            assert_ne!(place(&["--cgroup", "pids:sub"], "memory"), "sub", "{}", peer.name);
            let two = ["--cgroup", "pids,memory:sub"];
            assert_eq!((place(&two, "pids"), place(&two, "memory")), ("sub".into(), "sub".into()));
        }
        // What is not there, not below, or not clear.
        for flags in [
            &["--cgroup", "nowhere"][..],
            &["--cgroup", "../sub"],
            &["--cgroup", "pids:sub:x"],
            &["--cgroup", "nothing:sub"],
            &["--cgroup", "sub", "--cgroup", "sub"],
        ] {
            let done = peer.run(&[&["exec"][..], flags, &[&id, "true"]].concat());
            assert_eq!(done.code, 255, "{} {flags:?}: {done:?}", peer.name);
        }
    });
}

#[test]
fn a_container_that_has_groups_of_its_own_takes_further_processes() {
    let lab = Lab::new("own-groups");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    let id = lab.id("c");
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    lab.ok(&["start", &id]);
    let unified = groups(&id).into_iter().find(|path| path.join("cgroup.subtree_control").exists()).unwrap();
    // As an engine or systemd inside does: all processes into one group, then controllers for all groups.
    std::fs::create_dir(unified.join("init")).unwrap();
    let state: Value = serde_json::from_str(&lab.ok(&["state", &id])).unwrap();
    std::fs::write(unified.join("init/cgroup.procs"), state["pid"].to_string()).unwrap();
    let has = std::fs::read_to_string(unified.join("cgroup.controllers")).unwrap();
    let controller = ["memory", "io", "hugetlb"].into_iter().find(|name| has.contains(name)).unwrap();
    std::fs::write(unified.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let place = lab.ok(&["exec", &id, "grep", "^0::", "/proc/self/cgroup"]);
    assert!(place.ends_with("/init\n"), "{place}");
    lab.ok(&["delete", "--force", &id]);
}

#[test]
fn a_process_may_be_put_into_a_paused_container_and_waits_there() {
    each("ignore-paused", |peer| {
        let id = peer.id();
        let bundle = peer.lab.bundle(&format!("b-{}", peer.name), &["sleep", "1000"], |_| {});
        peer.create(&bundle, |_| {});
        peer.ok(&["start", &id]);
        peer.ok(&["pause", &id]);
        assert_eq!(peer.run(&["exec", &id, "true"]).code, 255, "{}", peer.name);
        let mut command = peer.command(&["exec", "--ignore-paused", &id, "sh", "-c", "exit 7"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(child.try_wait().unwrap(), None, "{}", peer.name);
        peer.ok(&["resume", &id]);
        wait_until("it goes on", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(7), "{}", peer.name);
    });
}

#[test]
fn a_process_document_and_descriptors_reach_a_further_process() {
    each("exec-more", |peer| {
        let (id, lab) = (peer.id(), peer.lab);
        let bundle = lab.bundle(&format!("b-{}", peer.name), &["sleep", "1000"], |_| {});
        peer.create(&bundle, |_| {});
        peer.ok(&["start", &id]);
        let document = lab.path("process.json");
        let script = "cat <&3; test -e /proc/self/fd/4 || echo no more; id -u; id -g; pwd; echo $X; \
            grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status";
        let process = json!({"args": ["sh", "-c", script], "cwd": "/bin", "env": ["X=1", "PATH=/bin"],
            "user": {"uid": 7, "gid": 8}, "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "effective": [], "permitted": []}});
        std::fs::write(&document, process.to_string()).unwrap();
        let command =
            peer.command(&["exec", "--preserve-fds", "1", "--process", document.to_str().unwrap(), &id]);
        let words: Vec<&str> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        std::fs::write(lab.path("file"), "through\n").unwrap();
        let line = format!("exec 3<{0} 4<{0}; exec {1}", lab.text("file"), words.join(" "));
        let done = run(Command::new("sh").args(["-c", &line]));
        let expected = "through\nno more\n7\n8\n/bin\n1\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\n";
        assert_eq!((done.code, done.out.as_str()), (0, expected), "{}: {done:?}", peer.name);
    });
}
