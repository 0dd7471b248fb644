//! The monitor, killed at any moment after its container runs: while it is asked to stop it, while it ends, while another
//! program starts in it. Until then `monitor/tests/life.rs` kills it.

use std::process::{Child, Command, Stdio};

use testkit::{Skiff, wait_until};

use crate::assert_sound;

/// System calls of a monitor that has something to do, each with how often it may come before it kills.
const CALLS: [(&str, u32); 14] = [
    ("recvmsg", 2),
    ("sendmsg", 2),
    ("poll,ppoll", 3),
    ("rename,renameat,renameat2", 2),
    ("pidfd_send_signal", 1),
    ("waitid,wait4", 2),
    ("openat", 6),
    ("write,pwrite64", 4),
    ("unlink,unlinkat", 4),
    ("rmdir", 2),
    ("close", 8),
    ("fcntl", 4),
    ("clone3,clone", 1),
    ("umount2", 1),
];

/// Kills the monitor when it makes `calls` for the `number`th time from now on. None when it cannot be traced any more.
fn kill_at(monitor: i32, calls: &str, number: u32) -> Child {
    let kill = format!("inject={calls}:signal=KILL:when={number}");
    let tracer = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &kill, "-p", &monitor.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs strace: install the package of that name");
    let status = format!("/proc/{monitor}/status");
    wait_until("the monitor is traced", || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        text.is_empty() || !text.contains("TracerPid:\t0")
    });
    tracer
}

/// Does `commands` one after another while the monitor is killed, at one call after another.
fn sweep(flags: &[&str], program: &[&str], commands: &[&[&str]]) {
    let skiff = Skiff::with_busybox();
    let mut killed = 0;
    for (calls, times) in CALLS {
        for number in 1..=times {
            let run = [&["run", "-d", "--name", "one"], flags, &["busybox"], program].concat();
            let id = skiff.ok(&run);
            let monitor = skiff.monitor_of(id.trim()).expect("a running container has a monitor");
            let mut tracer = kill_at(monitor, calls, number);
            for command in commands {
                // What it says depends on when; that it comes back is what counts.
                skiff.run(command);
            }
            skiff.assert_listing_is_true();
            // Where it was not killed it is traced no more.
            let _ended = tracer.kill();
            tracer.wait().unwrap();
            let state = skiff.run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"]).stdout;
            killed += u32::from(state == "exited 255\n");
            // Whatever it has come to, it can be used again.
            if !state.is_empty() && !flags.contains(&"--rm") {
                skiff.run(&["start", "one"]);
                assert_eq!(
                    skiff.ok(&["exec", "one", "echo", "up"]),
                    "up\n",
                    "after {calls} {number}: {state}"
                );
            }
            skiff.run(&["rm", "-f", "one"]);
            // What a monitor that was killed at it has not removed, the next command does.
            skiff.ok(&["ps", "-a"]);
            assert_eq!(skiff.left_by_containers(), "", "killed at {calls} number {number}");
        }
    }
    let stays = !flags.contains(&"--rm") && commands.iter().all(|command| command[0] != "rm");
    assert!(killed > 5 || !stays, "killed {killed} times only: the test shows little");
    assert_sound(&skiff);
}

const WILLING: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"];

#[test]
fn while_its_container_is_stopped() {
    sweep(&[], &WILLING, &[&["stop", "-t", "1", "one"]]);
}

#[test]
fn while_its_container_is_killed_and_goes() {
    sweep(&["--rm"], &["sleep", "1000"], &[&["kill", "one"]]);
}

#[test]
fn while_another_program_starts_and_the_container_is_frozen() {
    let commands: [&[&str]; 3] = [&["exec", "one", "echo", "x"], &["pause", "one"], &["unpause", "one"]];
    sweep(&[], &WILLING, &commands);
}

#[test]
fn while_its_container_is_removed_by_force() {
    sweep(&[], &["sleep", "1000"], &[&["rm", "-f", "one"]]);
}
