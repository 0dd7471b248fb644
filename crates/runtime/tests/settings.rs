//! Settings that few containers use, on the real kernel. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use common::*;
use runtime::plan::*;
use serde_json::json;

#[test]
fn a_further_process_runs_on_the_cpus_of_its_affinity() {
    let folder = Folder::new();
    let plan = plan(&folder.busybox("root"), &["sleep", "2"]);
    let allowed = |list: &str| {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(text.contains("Cpus_allowed_list:\t0-"), "this test needs two CPUs: {text}");
        format!("grep -qE '^Cpus_allowed_list:.{list}$' /proc/self/status")
    };
    let on = |initial: Option<&str>, r#final: Option<&str>, seen: &str| {
        let mut process = process(&["sh", "-c", &allowed(seen)]);
        process.cpu_affinity =
            CpuAffinity { initial: initial.map(Into::into), r#final: r#final.map(Into::into) };
        process
    };
    let exec = [
        on(Some("1"), None, "1"),
        // The supervisor itself is where it was.
        on(None, None, "0-[0-9]+"),
        on(Some("1"), Some("0"), "0"),
        on(None, Some("1"), "1"),
        on(Some("0-1"), Some("0,1"), "0-1"),
    ];
    let outcome = run_with(&folder, &plan, json!({ "exec": exec }));
    assert_eq!(outcome.report["exec"], json!([0, 0, 0, 0, 0]), "{outcome:?}");
    // The first process has none: the setting is for further ones (config.md, "Linux Process").
    let mut first = plan.clone();
    first.process = on(Some("1"), Some("1"), "0-[0-9]+");
    assert_eq!(run(&folder, &first).status(), 0);
    let outcome = run_with(&folder, &plan, json!({ "exec": [on(Some("900"), None, "1")] }));
    assert!(outcome.error().contains("set scheduling CPUs 900"), "{outcome:?}");
}

#[test]
fn memory_lies_where_the_policy_says() {
    let folder = Folder::new();
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", "cat /proc/self/numa_maps; sleep 1"]);
    assert!(!run(&folder, &plan).output().contains("bind"));
    plan.memory_policy = Some(MemoryPolicy { mode: 2 | 1 << 15, nodes: vec![1] });
    let exec = process(&["sh", "-c", "grep -q 'bind=static:0' /proc/self/numa_maps"]);
    let outcome = run_with(&folder, &plan, json!({ "exec": [exec] }));
    assert!(outcome.output().contains("bind=static:0"), "{outcome:?}");
    assert_eq!(outcome.report["exec"], json!([0]), "{outcome:?}");
    // A node that is not there.
    plan.memory_policy = Some(MemoryPolicy { mode: 2, nodes: vec![0, 1 << 63] });
    let outcome = run(&folder, &plan);
    assert!(outcome.error().contains("set memory policy mode 0x2: the mode does not fit"), "{outcome:?}");
}

#[test]
fn without_a_pivot_the_old_roots_kernel_files_give_nobody_new_ones() {
    let folder = Folder::new();
    // Whoever makes a user namespace may mount a new procfs where a whole one is in sight.
    let script = "ls / | head -n 1; busybox unshare -U -r -m -p -f busybox mount -t proc proc /tmp 2>/dev/null && echo mounted || echo refused";
    for user_namespace in [false, true] {
        let root = folder.busybox(if user_namespace { "inner" } else { "outer" });
        let mut plan = plan(&root, &["sh", "-c", script]);
        if user_namespace {
            plan = with_user_namespace(plan);
        }
        assert_eq!(run(&folder, &plan).output(), "bin\nrefused\n");
        plan.no_pivot = true;
        assert_eq!(run(&folder, &plan).output(), "bin\nrefused\n", "{user_namespace}");
        // A process that joins comes into the container's root too.
        plan.process.args = ["sleep", "1"].map(Into::into).to_vec();
        let exec = process(&["sh", "-c", "test -d /bin && test ! -e /usr && test -f /proc/self/stat"]);
        let outcome = run_with(&folder, &plan, json!({ "exec": [exec] }));
        assert_eq!(outcome.report["exec"], json!([0]), "{outcome:?}");
        // And where the container's own is whole, it is allowed: the kernel's rule is what is tested here.
        plan.process.args = ["sh", "-c", script].map(Into::into).to_vec();
        plan.masked_paths.clear();
        plan.readonly_paths.clear();
        assert_eq!(run(&folder, &plan).output(), "bin\nmounted\n", "{user_namespace}");
    }
}
