//! What a container's first process sees, on the real kernel. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use common::*;

#[test]
fn every_namespace_is_its_own() {
    let folder = Folder::new();
    let script = "for kind in mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$kind; done";
    let plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    let outcome = run(&folder, &plan);
    for (line, kind) in outcome.output().lines().zip(["mnt", "pid", "net", "ipc", "uts", "cgroup", "time"]) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(line, ours.to_str().unwrap());
        assert!(line.starts_with(kind), "{line}");
    }
}
