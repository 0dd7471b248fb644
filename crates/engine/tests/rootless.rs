//! Every verb as an ordinary user, without subordinate ids and without a control group.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::*;
use engine::info::Status;
use engine::request::{Exec, Import, List, LoadImages, NetworkMode, Remove, Stop, WaitFor};
use engine::{Archive, Config, Engine};
use monitor::ExecStdio;

/// An id that is nobody's here.
const USER: u32 = 54_321;

#[test]
fn an_ordinary_user_runs_containers() {
    // The child is this test again.
    if let Some(base) = std::env::var_os("SKIFF_ENGINE_TEST") {
        return child_is_an_ordinary_user(base.as_ref());
    }
    assert!(rustix::process::geteuid().is_root(), "this test needs root: it becomes another user");
    let base = testkit::Scratch::new();
    // The user may not walk to where the programs were built.
    std::fs::copy(std::env::current_exe().unwrap(), base.join("test")).unwrap();
    std::fs::copy(testkit::programs().join("skiff-monitor"), base.join("skiff-monitor"))
        .expect("build the monitor first: cargo build -p monitor");
    std::os::unix::fs::chown(&*base, Some(USER), Some(USER)).unwrap();
    let output = Command::new(base.join("test"))
        .args(["--exact", "--nocapture", "an_ordinary_user_runs_containers"])
        .env_clear()
        .env("SKIFF_ENGINE_TEST", &*base)
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all is well"), "{said}");
}

fn child_is_an_ordinary_user(base: &Path) {
    assert_eq!(rustix::process::geteuid().as_raw(), USER);
    let config = |name: &str| Config {
        root: base.join(name),
        run: base.join(format!("run-of-{name}")),
        monitor: base.join("skiff-monitor"),
        snapshotter: None,
        trace: None,
        cdi_folders: Vec::new(),
        kept_for: engine::KeptFor::default(),
    };
    let engine = Engine::open(config("root")).unwrap();
    let tar = busybox_tar();
    let import =
        Import { reference: Some("busybox".to_owned()), source: "-".to_owned(), ..Import::default() };
    engine.import(&mut &tar[..], &import).unwrap();
    let mut archive = Vec::new();
    engine.save(&["busybox".to_owned()], &[], &mut archive).unwrap();
    Engine::open(config("second"))
        .unwrap()
        .load(Archive::Stream(&mut &archive[..]), &LoadImages::default())
        .unwrap();

    let mut request =
        Fixture::shell("id -u; cat /proc/self/uid_map; echo x > /x; cat /x; hostname; sleep 1000");
    request.name = Some("web".to_owned());
    request.process.hostname = Some("box".to_owned());
    let started = engine.run(&request, None).unwrap_or_else(|error| panic!("{}", chain(&error)));
    drop(started);
    let log = || {
        let mut text = Vec::new();
        let read = engine.logs("web", &Default::default(), &mut |line| {
            line.inspect(|line| text.extend_from_slice(line.text));
            true
        });
        read.unwrap();
        String::from_utf8(text).unwrap()
    };
    eventually("it prints its name", || log().contains("box"));
    let lines: Vec<Vec<String>> =
        log().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(lines[0], ["0"]);
    assert_eq!(lines[1], ["0", &USER.to_string(), "1"]);
    assert_eq!(lines[2], ["x"]);
    assert_eq!(engine.list(&List::default()).unwrap()[0].state.status, Status::Running);

    let exec = Exec { command: ["sh", "-c", "exit 5"].map(str::to_owned).to_vec(), ..Exec::default() };
    assert_eq!(engine.exec("web", &exec, ExecStdio::default()).unwrap().handle.wait().unwrap(), 5);
    engine.stop("web", &Stop { timeout_secs: Some(0), ..Stop::default() }).unwrap();
    assert_eq!(engine.wait("web", WaitFor::NotRunning).unwrap(), 137);
    engine.remove("web", &Remove::default()).unwrap();

    let mut request = Fixture::shell("ls /sys/class/net");
    request.host.network_mode = NetworkMode::Host;
    request.host.resources.memory = 64 << 20;
    request.name = Some("host".to_owned());
    let started = engine.run(&request, None).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(started.warnings.len(), 1, "the limit has no effect: {:?}", started.warnings);
    assert_eq!(engine.wait("host", WaitFor::NotRunning).unwrap(), 0);
    engine.remove("host", &Remove::default()).unwrap();
    assert_eq!(std::fs::read_dir(base.join("root/containers")).unwrap().count(), 0);
    assert!(engine.info().unwrap().rootless);
    println!("all is well");
}
