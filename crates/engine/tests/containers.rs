//! Containers on the real kernel, from `create` to `rm`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use engine::info::Status;
use engine::request::{Create, Exec, List, Remove, Stop, WaitFor};
use engine::{Kind, Outcome};
use monitor::{AttachStdio, ExecStdio};

#[test]
fn a_container_runs_to_its_end_and_keeps_what_it_said() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("echo out; echo err >&2; exit 7");
    request.name = Some("web".to_owned());
    let started = engine.run(&request, None).unwrap();
    assert_eq!(engine.wait("web", WaitFor::NotRunning).unwrap(), 7);
    let info = engine.inspect("web").unwrap();
    assert_eq!((info.id, info.name.as_str()), (started.id.clone(), "web"));
    assert_eq!((info.state.status, info.state.exit_code, info.state.pid), (Status::Exited, 7, 0));
    assert!(info.state.started_at.unwrap() <= info.state.finished_at.unwrap());
    let mut lines = Vec::new();
    engine
        .logs("web", &Default::default(), &mut |line| {
            lines.extend(line.map(|line| (line.stderr, line.text.to_vec())));
            true
        })
        .unwrap();
    lines.sort();
    assert_eq!(lines, [(false, b"out\n".to_vec()), (true, b"err\n".to_vec())]);
    let listed = engine.list(&List { all: true, last: None }).unwrap();
    assert_eq!(listed[0].command, ["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert!(engine.list(&List::default()).unwrap().is_empty());
    engine.remove(&started.id.short()[..6], &Remove::default()).unwrap();
    assert_eq!(engine.inspect("web").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_a_container_writes_stays_its_own() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("cat /mark 2>/dev/null || echo none; echo here > /mark");
    request.name = Some("writer".to_owned());
    engine.run(&request, None).unwrap();
    engine.wait("writer", WaitFor::NotRunning).unwrap();
    engine.start("writer", None).unwrap().unwrap();
    engine.wait("writer", WaitFor::NotRunning).unwrap();
    assert_eq!(fixture.log("writer"), "none\nhere\n");
    assert_eq!(fixture.output(&Fixture::shell("cat /mark")).0, 1, "another container of the image");
}

#[test]
fn a_container_to_be_removed_is_gone_with_its_end() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let is_volatile = "grep -c '^overlay / .*volatile' /proc/mounts";
    assert_eq!(fixture.output(&Fixture::shell(is_volatile)), (1, "0\n".to_owned()));
    // What goes with its end need not outlive a loss of power.
    let mut request = Fixture::shell(&format!("sleep 0.2; {is_volatile} && exit 3"));
    request.host.auto_remove = true;
    // Waited for by the caller that started it …
    let mut started = engine.run(&request, Some(AttachStdio::default())).unwrap();
    let ended = started.running.wait_exit().unwrap();
    assert_eq!(engine.ended(&started.id, ended).unwrap().code, 3);
    assert_eq!(engine.inspect(started.id.as_str()).unwrap_err().kind(), Kind::NotFound);
    let directory = fixture.base.join("root/containers").join(started.id.as_str());
    eventually("its directory is gone", || !directory.exists());
    // … and by nobody.
    let id = engine.run(&request, None).unwrap().id;
    assert_eq!(engine.wait(id.as_str(), WaitFor::Removed).unwrap(), 3);
    eventually("its directory is gone", || !fixture.base.join("root/containers").join(id.as_str()).exists());
}

#[test]
fn a_program_that_cannot_be_started_has_dockers_code() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    for (program, code, words) in [
        ("nothing", 127, "executable file not found"),
        ("/bin/nothing", 127, "no such file or directory"),
        ("/bin/plain", 126, "permission denied"),
        ("/bin", 126, "is a directory"),
    ] {
        let mut request = Create { image: "busybox".to_owned(), ..Create::default() };
        request.process.command = vec![program.to_owned()];
        request.name = Some(format!("c{}", program.replace('/', "_")));
        let error = engine.run(&request, None).unwrap_err();
        assert_eq!(error.exit_code(), Some(code), "{program}: {}", chain(&error));
        let said = chain(&error).to_lowercase();
        assert!(said.contains(words) || said.contains("permission denied"), "{program}: {said}");
        let state = engine.inspect(request.name.as_ref().unwrap()).unwrap().state;
        assert_eq!((state.exit_code, state.status), (code, Status::Created), "{program}");
        assert!(!state.error.is_empty());
        request.name = None;
        request.host.auto_remove = true;
        let before = engine.list(&List { all: true, last: None }).unwrap().len();
        engine.run(&request, None).unwrap_err();
        assert_eq!(
            engine.list(&List { all: true, last: None }).unwrap().len(),
            before,
            "{program} with --rm"
        );
    }
}

#[test]
fn a_stop_is_obeyed_or_enforced() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut willing = Fixture::shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
    willing.name = Some("willing".to_owned());
    engine.run(&willing, None).unwrap();
    fixture.wait_for("willing", "ready");
    assert_eq!(engine.stop("willing", &Stop::default()).unwrap(), Outcome::Changed);
    assert_eq!(engine.inspect("willing").unwrap().state.exit_code, 5);
    assert_eq!(engine.stop("willing", &Stop::default()).unwrap(), Outcome::Unchanged);

    let mut deaf = Fixture::shell("echo ready; while :; do sleep 0.01; done");
    deaf.name = Some("deaf".to_owned());
    engine.run(&deaf, None).unwrap();
    fixture.wait_for("deaf", "ready");
    let start = Instant::now();
    engine.stop("deaf", &Stop { timeout_secs: Some(1), ..Stop::default() }).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(engine.inspect("deaf").unwrap().state.exit_code, 137);
}

#[test]
fn signals_reach_a_running_container_alone() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done");
    request.name = Some("web".to_owned());
    engine.create(&request).unwrap();
    let error = engine.kill("web", "TERM").unwrap_err();
    assert!(error.to_string().starts_with("cannot kill container: web: container "), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    engine.start("web", None).unwrap().unwrap();
    fixture.wait_for("web", "ready");
    assert_eq!(engine.kill("web", "BOGUS").unwrap_err().to_string(), "Invalid signal: BOGUS");
    assert!(engine.start("web", None).unwrap().is_none(), "it runs already");
    engine.kill("web", "SIGUSR1").unwrap();
    assert_eq!(engine.wait("web", WaitFor::NotRunning).unwrap(), 9);
}

#[test]
fn a_running_container_is_removed_by_force_alone() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("sleep 1000");
    request.name = Some("web".to_owned());
    engine.run(&request, None).unwrap();
    let error = engine.remove("web", &Remove::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot remove container \"web\": container is running: stop the container before removing or force remove"
    );
    let taken = engine.create(&request).unwrap_err();
    assert!(
        taken.to_string().starts_with("Conflict. The container name \"/web\" is already in use by"),
        "{taken}"
    );
    let pid = engine.inspect("web").unwrap().state.pid;
    engine.remove("web", &Remove { force: true, ..Remove::default() }).unwrap();
    eventually("its process is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    engine.create(&request).unwrap();
}

#[test]
fn a_paused_container_stands_still() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("while :; do echo x; sleep 0.01; done");
    request.name = Some("web".to_owned());
    engine.run(&request, None).unwrap();
    fixture.wait_for("web", "x");
    engine.pause("web").unwrap();
    assert_eq!(engine.inspect("web").unwrap().state.status, Status::Paused);
    assert!(engine.pause("web").unwrap_err().to_string().ends_with("is already paused"));
    let error =
        engine.exec("web", &Exec { command: vec!["true".into()], ..Exec::default() }, ExecStdio::default());
    assert!(error.unwrap_err().to_string().contains("is paused, unpause the container before exec"));
    std::thread::sleep(Duration::from_millis(50));
    let before = fixture.log("web").len();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(fixture.log("web").len(), before);
    engine.unpause("web").unwrap();
    eventually("it goes on", || fixture.log("web").len() > before);
}

#[test]
fn a_further_program_joins_a_running_container() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("echo mark > /mark; echo ready; sleep 1000");
    request.name = Some("web".to_owned());
    request.process.env = vec!["A=1".to_owned()];
    engine.run(&request, None).unwrap();
    fixture.wait_for("web", "ready");
    let run = |script: &str, change: fn(&mut Exec)| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut exec = Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Exec::default() };
        change(&mut exec);
        let stdio = ExecStdio { stdout: Some(writer.into()), ..ExecStdio::default() };
        let mut handle =
            engine.exec("web", &exec, stdio).unwrap_or_else(|error| panic!("{}", chain(&error))).handle;
        let text = std::io::read_to_string(reader).unwrap();
        (handle.wait().unwrap(), text)
    };
    assert_eq!(run("cat /mark; exit 4", |_| ()), (4, "mark\n".to_owned()));
    assert_eq!(
        run("echo $A $B; pwd; id -u", |exec| {
            exec.env = vec!["B=2".to_owned()];
            exec.workdir = Some("/tmp".to_owned());
            exec.user = Some("app".to_owned());
        }),
        (0, "1 2\n/tmp\n1000\n".to_owned())
    );
    let missing = Exec { command: vec!["nothing".into()], ..Exec::default() };
    assert_eq!(engine.exec("web", &missing, ExecStdio::default()).unwrap_err().exit_code(), Some(127));
    engine.stop("web", &Stop { timeout_secs: Some(0), ..Stop::default() }).unwrap();
    let late = engine.exec("web", &missing, ExecStdio::default()).unwrap_err();
    assert!(late.to_string().ends_with("is not running"), "{late}");
}

#[test]
fn a_container_whose_monitor_died_does_not_look_alive() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("sleep 1000 & sleep 1000");
    request.name = Some("web".to_owned());
    engine.run(&request, None).unwrap();
    let info = engine.inspect("web").unwrap();
    let status = monitor::status::read(&fixture.base.join("run").join(info.id.as_str())).unwrap().unwrap();
    let monitor = rustix::process::Pid::from_raw(status.monitor_pid).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    eventually("the monitor is gone", || {
        !std::path::Path::new(&format!("/proc/{}", status.monitor_pid)).exists()
    });
    let listed = fixture.again().list(&List { all: true, last: None }).unwrap();
    assert_eq!((listed[0].state.status, listed[0].state.exit_code), (Status::Exited, 255));
    assert!(listed[0].state.error.contains("monitor died"), "{:?}", listed[0].state);
    eventually("its process is gone", || {
        !std::path::Path::new(&format!("/proc/{}", info.state.pid)).exists()
    });
    assert_eq!(engine.wait("web", WaitFor::NotRunning).unwrap(), 255);
    engine.start("web", None).unwrap().unwrap();
    assert_eq!(engine.inspect("web").unwrap().state.status, Status::Running);
}

#[test]
fn waiting_meets_the_next_end() {
    let fixture = Fixture::new();
    let mut request = Fixture::shell("exit 6");
    request.name = Some("web".to_owned());
    fixture.engine.create(&request).unwrap();
    assert_eq!(fixture.engine.wait("web", WaitFor::NotRunning).unwrap(), 0, "never started");
    let other = fixture.again();
    let waiting = std::thread::spawn(move || other.wait("web", WaitFor::NextExit).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    fixture.engine.start("web", None).unwrap().unwrap();
    assert_eq!(waiting.join().unwrap(), 6);
    let other = fixture.again();
    let waiting = std::thread::spawn(move || other.wait("web", WaitFor::Removed).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    fixture.engine.remove("web", &Remove::default()).unwrap();
    assert_eq!(waiting.join().unwrap(), 6);
}

#[test]
fn following_a_log_ends_with_the_container() {
    let fixture = Fixture::new();
    let mut request = Fixture::shell("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done");
    request.name = Some("web".to_owned());
    fixture.engine.run(&request, None).unwrap();
    let mut text = Vec::new();
    let follow = engine::request::Logs { follow: true, ..Default::default() };
    fixture
        .engine
        .logs("web", &follow, &mut |line| {
            line.inspect(|line| text.extend_from_slice(line.text));
            true
        })
        .unwrap();
    assert_eq!(text, b"1\n2\n3\n4\n5\n");
}

#[test]
fn what_an_interrupted_removal_left_is_swept() {
    let fixture = Fixture::new();
    let left = fixture.base.join("root/containers").join("ab".repeat(32));
    std::fs::create_dir_all(left.join("upper/x")).unwrap();
    let kept = fixture.engine.create(&Fixture::shell("true")).unwrap();
    let foreign = fixture.base.join("root/containers/not-an-id");
    std::fs::create_dir(&foreign).unwrap();
    fixture.engine.list(&List { all: true, last: None }).unwrap();
    assert!(!left.exists() && foreign.exists());
    std::fs::remove_dir(&foreign).unwrap();
    fixture.engine.inspect(kept.id.as_str()).unwrap();
}

#[test]
fn many_start_at_once() {
    let fixture = Fixture::new();
    let base = &fixture;
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let engine = base.again();
                for turn in 0..3 {
                    let mut request = Fixture::shell(&format!("exit {number}{turn}"));
                    request.host.auto_remove = true;
                    let mut started = engine.run(&request, Some(AttachStdio::default())).unwrap();
                    let ended = started.running.wait_exit().unwrap();
                    assert_eq!(engine.ended(&started.id, ended).unwrap().code, number * 10 + turn);
                }
            });
        }
    });
    assert!(fixture.engine.list(&List { all: true, last: None }).unwrap().is_empty());
}

#[test]
fn what_runs_without_a_record_is_ended() {
    let fixture = Fixture::new();
    let started = fixture.engine.run(&Fixture::shell("sleep 1000"), None).unwrap();
    let pid = started.running.pid;
    // As when it is removed while it is being started, by a caller that is killed before it notices.
    state::State::open(&fixture.base.join("root")).unwrap().remove_container(&started.id).unwrap();
    drop(started);
    assert!(fixture.engine.list(&List { all: true, last: None }).unwrap().is_empty());
    eventually("its process is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    eventually("its directory is gone", || {
        drop(fixture.engine.list(&List { all: true, last: None }));
        std::fs::read_dir(fixture.base.join("root/containers")).unwrap().count() == 0
    });
}

#[test]
fn a_removal_sits_on_the_seat_of_a_monitor_to_come() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let id = engine.create(&Fixture::shell("sleep 1000")).unwrap().id;
    // A caller was killed after it had made the run directory.
    let run = fixture.base.join("run").join(id.as_str());
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("hosts"), "").unwrap();
    engine.remove(id.as_str(), &Remove::default()).unwrap();
    assert!(!run.exists());
}

#[test]
fn a_thousand_containers_are_listed_at_once() {
    let fixture = Fixture::new();
    let image = fixture.engine.images().unwrap()[0].id.parse().unwrap();
    let one = fixture.engine.create(&Fixture::shell("true")).unwrap();
    let state = state::State::open(&fixture.base.join("root")).unwrap();
    let record = state.container(&one.id).unwrap().unwrap();
    for number in 0..1000_u32 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let id = engine::ContainerId::from_bytes(bytes);
        let new = state::NewContainer {
            id: &id,
            name: &format!("c{number}").parse().unwrap(),
            image: &image,
            created: state::now(),
            pool: Some(state::IdPool::DEFAULT),
            summary: &record.head.summary,
            spec: &record.spec,
        };
        state.create_container(&new).unwrap();
    }
    let start = Instant::now();
    let listed = fixture.engine.list(&List { all: true, last: None }).unwrap();
    let took = start.elapsed();
    println!("a thousand containers in {took:?}");
    assert_eq!(listed.len(), 1001);
    assert_eq!(fixture.engine.list(&List { all: false, last: Some(3) }).unwrap().len(), 3);
    // Loose, for a debug build on a loaded machine: a configuration read for each would take longer.
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn containers_of_an_image_share_its_mount() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let offers = || {
        let links = std::fs::read_dir(fixture.base.join("run/images")).into_iter().flatten();
        let links = links.map(|link| std::fs::read_link(link.unwrap().path()).unwrap());
        links.map(|link| link.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let run = || {
        let started = engine.run(&Fixture::shell("cat /bin/busybox | wc -c; sleep 1000"), None).unwrap();
        fixture.wait_for(started.id.as_str(), "\n");
        assert_ne!(fixture.log(started.id.as_str()), "0\n");
        started.id
    };
    let first = run();
    eventually("the first offers its mount", || offers().len() == 1);
    let offer = offers();
    let second = run();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(offers(), offer, "the second took it, or it would offer its own");
    // The mount outlives its maker in those that share it, but cannot be had any more.
    engine.remove(first.as_str(), &Remove { force: true, ..Remove::default() }).unwrap();
    eventually("the offer is taken back", || offers().is_empty());
    let exec = Exec { command: vec!["sh".into(), "-c".into(), "exit 4".into()], ..Exec::default() };
    let mut handle = engine.exec(second.as_str(), &exec, ExecStdio::default()).unwrap().handle;
    assert_eq!(handle.wait().unwrap(), 4);
    run();
    eventually("the next to mount offers", || offers().len() == 1 && offers() != offer);
}
