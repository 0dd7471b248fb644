//! The marks of a start, in order. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::path::Path;

use common::*;
use runtime::plan::*;

#[test]
fn every_step_of_a_start_leaves_a_mark() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let own = folder.path().join("own");
    let writable =
        Writable { upper: own.join("upper"), work: own.join("work"), volatile: false, limit: None };
    std::fs::create_dir_all(&writable.upper).unwrap();
    std::fs::create_dir_all(&writable.work).unwrap();
    let mut plan = plan(Path::new("/"), &["true"]);
    plan.root.source = RootSource::Trees { layers: vec![root], writable: Some(writable) };
    plan.cgroup = Some(cgroup::Plan {
        path: format!("/{}", testkit::own_name("trace")).into(),
        ..cgroup::Plan::default()
    });
    let trace = folder.path().join("trace");
    let outcome = run_with(&folder, &with_user_namespace(plan), serde_json::json!({ "trace": trace }));
    assert_eq!(outcome.status(), 0, "{outcome:?}");
    let text = std::fs::read_to_string(&trace).unwrap();
    let mut marks: Vec<(u64, &str)> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(time, mark)| (time.parse().unwrap(), mark))
        .collect();
    marks.sort_unstable();
    let first = marks[0].0;
    for (time, mark) in &marks {
        println!("{:>8.3} ms  {mark}", (*time - first) as f64 / 1e6);
    }
    let at = |name: &str| {
        marks.iter().position(|(_, mark)| *mark == name).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let init =
        ["init cloned", "init namespaces", "init mounts made", "init root received", "init mounts attached"];
    let later = ["init paths masked", "init pivoted", "init settled", "init released", "init exec"];
    let order: Vec<usize> = init.iter().chain(&later).map(|name| at(name)).collect();
    assert!(order.is_sorted(), "{text}");
    assert!(
        at("supervisor clone") < at("init cloned") && at("supervisor served") > at("supervisor ids mapped")
    );
}
