//! `skiff oci` by itself: every command, in the order of a container's life, and out of order.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::path::Path;
use std::process::{Command, Stdio};

use oci::{Lab, run, wait_until};
use serde_json::{Value, json};

#[test]
fn a_container_lives_from_create_to_delete() {
    let lab = Lab::new("life");
    let id = lab.id("c");
    let bundle =
        lab.bundle("b", &["sh", "-c", "echo up; trap 'exit 3' TERM; while :; do sleep 0.05; done"], |_| {});
    let pid_file = lab.text("pid");
    let done = lab.create(&id, &bundle, &["--pid-file", &pid_file]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(lab.status(&id), "created");
    assert_eq!(lab.written(), "", "the program waits for start");
    let state: Value = serde_json::from_str(&lab.ok(&["state", &id])).unwrap();
    assert_eq!(state["pid"].to_string(), std::fs::read_to_string(&pid_file).unwrap());
    assert_eq!(state["bundle"], json!(bundle));

    let again = lab.create(&id, &bundle, &[]);
    assert!(again.code == 1 && again.err.contains("container with id exists"), "{again:?}");

    lab.ok(&["start", &id]);
    wait_until("the program has spoken", || lab.written() == "up\n");
    assert_eq!(lab.status(&id), "running");
    let twice = lab.oci(&["start", &id]);
    assert!(twice.code == 1 && twice.err.contains("it is running"), "{twice:?}");
    let early = lab.oci(&["delete", &id]);
    assert!(early.code == 1 && early.err.contains("it is running"), "{early:?}");

    lab.ok(&["pause", &id]);
    assert_eq!(lab.status(&id), "paused");
    let frozen = lab.oci(&["exec", &id, "true"]);
    assert!(frozen.code == 255 && frozen.err.contains("it is paused"), "{frozen:?}");
    lab.ok(&["resume", &id]);
    assert_eq!(lab.status(&id), "running");

    lab.ok(&["kill", &id, "TERM"]);
    wait_until("it has ended", || lab.status(&id) == "stopped");
    let late = lab.oci(&["kill", &id]);
    assert!(late.code == 1 && late.err.contains("container not running"), "{late:?}");
    lab.ok(&["delete", &id]);
    let gone = lab.oci(&["state", &id]);
    assert!(gone.code == 1 && gone.err.contains("container does not exist"), "{gone:?}");
    lab.ok(&["delete", "--force", &id]);
}

#[test]
fn exit_codes_are_the_programs() {
    let lab = Lab::new("codes");
    let table: [(&[&str], i32); 4] = [
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (&["true"], 0),
        (&["no-such-program"], 1),
    ];
    for (number, (args, code)) in table.iter().enumerate() {
        let id = lab.id(&number.to_string());
        let bundle = lab.bundle(&format!("b{number}"), args, |_| {});
        let done = lab.oci(&["run", "--bundle", bundle.to_str().unwrap(), &id]);
        assert_eq!(done.code, *code, "{args:?}: {done:?}");
    }
    assert_eq!(lab.ok(&["list", "--quiet"]), "");
}

#[test]
fn exec_joins_with_its_own_words_user_and_terminal() {
    let lab = Lab::new("exec");
    let id = lab.id("c");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    lab.ok(&["start", &id]);
    assert_eq!(lab.oci(&["exec", &id, "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(lab.oci(&["exec", &id, "sh", "-c", "kill -9 $$"]).code, 137);
    let words = ["exec", "--user", "12:34", "-g", "56", "--cwd", "/tmp", "--env", "A=b=c", &id, "sh", "-c"];
    let done = lab.oci(&[&words[..], &["id -u; id -g; pwd; echo $A; cat /proc/1/comm"]].concat());
    assert_eq!(done.out, "12\n34\n/tmp\nb=c\nsleep\n", "{done:?}");
    let missing = lab.oci(&["exec", "--tty", &id, "no-such-program"]);
    assert!(missing.code == 255 && missing.err.contains("executable file not found"), "{missing:?}");
    assert!(lab.ok(&["exec", "-t", &id, "tty"]).starts_with("/dev/pts/"));

    let process = lab.path("process.json");
    let document = json!({"args": ["sh", "-c", "id -u; echo $X"], "cwd": "/", "env": ["X=1", "PATH=/bin"],
        "user": {"uid": 7, "gid": 7}});
    std::fs::write(&process, document.to_string()).unwrap();
    assert_eq!(lab.ok(&["exec", "--process", process.to_str().unwrap(), &id]), "7\n1\n");

    let pids: Vec<i32> = serde_json::from_str(&lab.ok(&["ps", "--format", "json", &id])).unwrap();
    assert_eq!(pids.len(), 1);
    assert_eq!(lab.ok(&["ps", &id]).lines().count(), 2);
    lab.ok(&["kill", "--all", &id, "KILL"]);
    wait_until("it has ended", || lab.status(&id) == "stopped");
    lab.ok(&["delete", &id]);
}

#[test]
fn limits_change_while_it_runs_and_statistics_tell() {
    let lab = Lab::new("update");
    let id = lab.id("c");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    lab.ok(&["start", &id]);
    lab.ok(&["update", "--memory", "64m", "--pids-limit", "17", &id]);
    let stats: Value = serde_json::from_str(&lab.ok(&["events", "--stats", &id])).unwrap();
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], json!(64 << 20));
    assert_eq!(stats["data"]["pids"], json!({"current": 1, "limit": 17}));
    let resources = lab.path("resources.json");
    std::fs::write(&resources, r#"{"pids":{"limit":5}}"#).unwrap();
    lab.ok(&["update", "--resources", resources.to_str().unwrap(), &id]);
    let stats: Value = serde_json::from_str(&lab.ok(&["events", "--stats", &id])).unwrap();
    assert_eq!(stats["data"]["pids"]["limit"], json!(5));
    lab.ok(&["delete", "--force", &id]);
}

#[test]
fn hooks_run_in_order_with_the_state_on_standard_input() {
    let lab = Lab::new("hooks");
    let id = lab.id("c");
    let log = lab.text("log");
    let hook = |kind: &str| {
        let script =
            format!("read -r s; echo \"{kind} $(echo \"$s\" | grep -o '\"status\":\"[a-z]*\"')\" >> {log}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 5}])
    };
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let bundle = lab.bundle("b", &["true"], |config| {
        for kind in kinds {
            config["hooks"][kind] = hook(kind);
        }
        // This one runs inside, just before the program.
        config["root"]["readonly"] = json!(false);
        config["hooks"]["startContainer"] =
            json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo $0 $$ > /inside", "startContainer"]}]);
    });
    assert_eq!(lab.create(&id, &bundle, &[]).code, 0);
    lab.ok(&["start", &id]);
    wait_until("it has ended", || lab.status(&id) == "stopped");
    lab.ok(&["delete", &id]);
    let said = std::fs::read_to_string(&log).unwrap();
    let order: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(order, kinds, "{said}");
    assert!(said.contains("poststop \"status\":\"stopped\""), "{said}");
    let inside = std::fs::read_to_string(lab.path("rootfs/inside")).unwrap();
    assert!(inside.starts_with("startContainer "), "{inside}");

    let failing = lab.bundle("f", &["true"], |config| {
        config["hooks"]["createRuntime"] =
            json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 1"]}]);
    });
    let done = lab.create(&id, &failing, &[]);
    assert!(done.code == 1 && done.err.contains("createRuntime hook /bin/sh: exit status 1: no"), "{done:?}");
    assert!(lab.oci(&["state", &id]).err.contains("container does not exist"));
}

#[test]
fn descriptors_are_passed_on_and_missing_ones_refused() {
    let lab = Lab::new("fds");
    let file = lab.path("file");
    std::fs::write(&file, "through\n").unwrap();
    let bundle = lab.bundle("b", &["sh", "-c", "cat <&3; ls /proc/self/fd | wc -l"], |_| {});
    let line = |count: u32, name: &str| {
        let (runtime, state) = (lab.runtime.display(), lab.path("state"));
        let (state, bundle) = (state.display(), bundle.display());
        let id = lab.id(name);
        let script = format!(
            "exec 3<{}; exec {runtime} --root {state} run --preserve-fds {count} --bundle {bundle} {id}",
            file.display()
        );
        run(Command::new("sh").args(["-c", &script]))
    };
    let done = line(1, "one");
    assert!(done.code == 0 && done.out.starts_with("through\n"), "{done:?}");
    let done = line(9, "nine");
    assert!(done.code == 1 && done.err.contains("is to be passed on but is not open"), "{done:?}");
}

#[test]
fn the_log_is_what_engines_read() {
    let lab = Lab::new("log");
    let log = lab.text("log");
    let done = lab.oci(&["--log", &log, "--log-format", "json", "state", "nobody"]);
    assert_eq!(done.code, 1);
    let line: Value = serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], json!("error"));
    assert_eq!(line["msg"], json!("container does not exist: \"nobody\""));
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    for (words, expected) in [
        (&["checkpoint", "x"][..], "checkpoint is not supported"),
        (&["--systemd-cgroup", "run", "x"], "config.json"),
        (&["start", "../x"], "invalid container id"),
        (&["dance"], "there is no command"),
    ] {
        let done = lab.oci(words);
        assert!(done.code == 1 && done.err.contains(expected), "{words:?}: {done:?}");
    }
    let features: Value = serde_json::from_str(&lab.ok(&["features"])).unwrap();
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(true));
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
}

#[test]
fn whatever_a_killed_command_leaves_force_cleans() {
    let lab = Lab::new("killed");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    // From before the first trace to after the last one.
    for delay_us in (0..24_000).step_by(800) {
        let id = lab.id(&format!("k{delay_us}"));
        let mut command = lab.command(&["create", "--bundle", bundle.to_str().unwrap(), &id]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(delay_us));
        child.kill().unwrap();
        child.wait().unwrap();
        lab.ok(&["delete", "--force", &id]);
        assert!(!Path::new(&lab.text("state")).join(&id).exists(), "{id}");
    }
}

#[test]
fn an_ordinary_user_runs_a_container_of_his_own() {
    let lab = Lab::new("rootless");
    // Nobody's id on any machine.
    const USER: &str = "54321";
    let folder = lab.path("user");
    for name in ["", "state", "rootfs"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    let unpack =
        run(Command::new("tar").arg("-C").arg(folder.join("rootfs")).arg("-xf").arg(lab.path("rootfs.tar")));
    assert_eq!(unpack.code, 0, "{unpack:?}");
    std::fs::copy(&lab.runtime, folder.join("skiff-oci")).unwrap();
    assert_eq!(run(Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(&folder)).code, 0);
    let as_user = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
        command.arg(folder.join("skiff-oci")).arg("--root").arg(folder.join("state")).args(words);
        run(command.current_dir(&folder))
    };
    assert_eq!(as_user(&["spec", "--rootless"]).code, 0);
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "id -u; cat /proc/self/uid_map; hostname; exit 5"]);
    config["root"]["readonly"] = json!(false);
    std::fs::write(&path, config.to_string()).unwrap();
    let done = as_user(&["run", &lab.id("c")]);
    assert_eq!(done.code, 5, "{done:?}");
    let said: Vec<&str> = done.out.split_ascii_whitespace().collect();
    assert_eq!(said, ["0", "0", USER, "1", "skiff"], "{done:?}");
    // A limit that nobody enforces is an error, not a wish.
    config["linux"]["resources"] = json!({"memory": {"limit": 33_554_432}});
    std::fs::write(&path, config.to_string()).unwrap();
    let done = as_user(&["run", &lab.id("d")]);
    assert!(done.code == 1 && done.err.contains("not delegated"), "{done:?}");
}

#[test]
fn a_terminal_in_the_foreground_is_the_callers() {
    let lab = Lab::new("tty");
    let script = "stty size; read -r line; stty size; echo got $line; exit 4";
    let bundle = lab.bundle("b", &["sh", "-c", script], |config| config["process"]["terminal"] = json!(true));
    let id = lab.id("c");
    let bundle = bundle.to_str().unwrap();
    // A detached one needs somebody who takes the terminal.
    let refused = lab.oci(&["run", "--detach", "--bundle", bundle, &id]);
    assert!(refused.code == 1 && refused.err.contains("--console-socket"), "{refused:?}");
    let mut terminal = testkit::Terminal::start(&lab.command(&["run", "--bundle", bundle, &id]), 91, 33);
    terminal.expect("33 91");
    terminal.resize(70, 20);
    terminal.send(b"words\r");
    terminal.expect("20 70");
    let (code, said) = terminal.finish();
    assert!(code == 4 && said.contains("got words"), "{code} {said}");
}

#[test]
fn of_many_that_create_the_same_container_one_succeeds() {
    let lab = Lab::new("race");
    let bundle = lab.bundle("b", &["sleep", "1000"], |_| {});
    let id = lab.id("c");
    let words = ["create", "--bundle", bundle.to_str().unwrap(), &id];
    let children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = lab.command(&words);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let won = children.into_iter().map(|mut child| child.wait().unwrap().success());
    assert_eq!(won.filter(|won| *won).count(), 1);
    lab.ok(&["start", &id]);
    assert_eq!(lab.status(&id), "running");
    lab.ok(&["delete", "--force", &id]);
}
