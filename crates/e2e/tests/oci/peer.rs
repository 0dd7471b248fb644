//! Engines that run `skiff oci`: what every one of them must be able to do with it.

use super::{Done, wait_until};

/// An engine with folders of its own and the image of busybox.
pub(crate) trait Peer {
    /// Its command line.
    fn run(&self, words: &[&str]) -> Done;

    /// Its `run` with options, the image and words.
    fn run_container(&self, options: &[&str], words: &[&str]) -> Done;

    /// Runs it and wants success.
    fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out
    }
}

/// Output, exit code, and a terminal.
pub(crate) fn runs_to_the_end(peer: &dyn Peer) {
    let done = peer.run_container(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 6"]);
    assert_eq!((done.code, done.out.as_str()), (6, "out\n"), "{done:?}");
    assert!(done.err.contains("err"), "{done:?}");
    assert_eq!(peer.run_container(&["--rm"], &["no-such-program"]).code, 127);
    let done = peer.run_container(&["--rm", "--tty"], &["tty"]);
    assert_eq!((done.code, done.out.trim()), (0, "/dev/pts/0"), "{done:?}");
}

/// What the options take away is gone, with `more` options and what they make `script` print behind it.
pub(crate) fn confines(peer: &dyn Peer, more: &[&str], script: &str, prints: &str) {
    let options = "--rm --read-only --cap-drop ALL --cap-add CHOWN --user 7:8 --memory 32m --pids-limit 33 \
        --security-opt no-new-privileges --tmpfs /t:size=1m --hostname dock";
    let options: Vec<&str> = options.split_whitespace().chain(more.iter().copied()).collect();
    let script = format!(
        "id -u; id -g; hostname; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
         touch /x 2>/dev/null || echo read-only; grep ' /t ' /proc/self/mountinfo | grep -c size=1024k; {script}"
    );
    let done = peer.run_container(&options, &["sh", "-c", &script]);
    let want = "7\n8\ndock\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\nread-only\n1\n";
    assert_eq!((done.code, done.out), (0, format!("{want}{prints}")), "{}", done.err);
}

/// From the start to the removal; `update` is what the engine's `update` is given.
pub(crate) fn leads_a_container_through_its_life(peer: &dyn Peer, update: &[&str]) {
    let script = "echo begun; trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done";
    let options = ["--detach", "--name", "box", "--memory", "64m"];
    let done = peer.run_container(&options, &["sh", "-c", script]);
    assert_eq!(done.code, 0, "{done:?}");
    wait_until("it has begun", || peer.ok(&["logs", "box"]) == "begun\n");
    assert_eq!(peer.run(&["exec", "box", "sh", "-c", "cat /proc/1/comm; exit 4"]).code, 4);
    let beside = ["exec", "--user", "3", "--workdir", "/tmp", "box", "sh", "-c", "id -u; pwd"];
    assert_eq!(peer.ok(&beside), "3\n/tmp\n");
    assert!(peer.run(&["exec", "box", "no-such-program"]).code != 0);
    let status = || peer.ok(&["inspect", "box", "--format", "{{.State.Status}}"]);
    peer.ok(&["pause", "box"]);
    assert_eq!(status(), "paused\n");
    peer.ok(&["unpause", "box"]);
    assert_eq!(status(), "running\n");
    peer.ok(&[&["update"], update, &["box"]].concat());
    assert!(peer.ok(&["top", "box"]).contains("sh -c"));
    peer.ok(&["stop", "--time", "10", "box"]);
    assert_eq!(peer.ok(&["inspect", "box", "--format", "{{.State.ExitCode}}"]), "9\n");
    assert_eq!(peer.ok(&["logs", "box"]), "begun\nbye\n");
    peer.ok(&["start", "box"]);
    peer.ok(&["restart", "--time", "1", "box"]);
    peer.ok(&["kill", "box"]);
    assert_eq!(peer.ok(&["wait", "box"]), "137\n");
    peer.ok(&["rm", "box"]);
    assert_eq!(peer.ok(&["ps", "--all", "--quiet"]), "");
}
