//! Who waits for another build is told; cache mounts that are packed or filled: an interrupted build goes no further and leaves nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use std::path::PathBuf;
use std::process::Child;

use building::{Workshop, paths};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{Output, wait_until};

/// Enough for a moment in its middle to be found.
const LARGE: usize = 384 << 20;
/// What stands before the end of it.
const SOME: u64 = 1 << 20;
const DOCKERFILE: &str = "FROM busybox\nRUN --mount=type=cache,id=kept,target=/c touch /c/began\n";

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Interrupts a build at a moment of which `reached` says that it is in the middle of something.
fn interrupted(workshop: &Workshop, mut child: Child, reached: impl Fn() -> bool) {
    wait_until("it has come so far", || {
        assert!(child.try_wait().unwrap().is_none(), "it was too fast");
        kill_process(pid(&child), Signal::STOP).unwrap();
        let is_there = reached();
        if is_there {
            kill_process(pid(&child), Signal::INT).unwrap();
        }
        kill_process(pid(&child), Signal::CONT).unwrap();
        is_there
    });
    wait_until("the build ends", || child.try_wait().unwrap().is_some());
    let output = Output::of(child.wait_with_output().unwrap());
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert!(output.stderr.contains("build was cancelled"), "{}", output.stderr);
    assert!(!output.stderr.contains("begins empty"), "{}", output.stderr);
    assert_eq!(workshop.skiff.left_by_builds(&[]), "");
}

/// How long the layer is that a build is about to make.
fn begun(workshop: &Workshop) -> u64 {
    let tmp = workshop.skiff.root().join("tmp");
    let layers = paths(&tmp).into_iter().filter(|path| path.to_string_lossy().contains("/layer-"));
    let size = |path: PathBuf| tmp.join(path).symlink_metadata().map_or(0, |about| about.len());
    layers.map(size).max().unwrap_or(0)
}

fn in_its_middle(size: u64) -> bool {
    (SOME..LARGE as u64).contains(&size)
}

/// A workshop whose cache mount is large.
fn with_much() -> Workshop {
    let workshop = Workshop::new(DOCKERFILE);
    workshop.build(&[]);
    let noise: Vec<u8> = (0u32..).flat_map(u32::to_le_bytes).take(LARGE).collect();
    std::fs::write(workshop.wait_for_mark("began").with_file_name("much"), noise).unwrap();
    workshop.skiff.ok(&["rmi", "made"]);
    workshop
}

#[test]
fn interrupted_while_a_cache_mount_is_packed_or_filled_it_leaves_nothing() {
    let first = with_much();
    let kept = first.beside("kept");
    let to = format!("--cache-mounts-to=type=local,dest={kept},compression=uncompressed");
    let stored = first.stored();
    let child = first.skiff.start(&first.words(&["-t", "packed", &to]));
    interrupted(&first, child, || in_its_middle(begun(&first)));
    // The image was made, and what was half packed is gone.
    first.skiff.ok(&["rmi", "packed"]);
    assert_eq!(first.stored(), stored);
    assert!(
        !std::fs::exists(&kept).unwrap()
            || paths(kept.as_ref()).iter().all(|path| !path.ends_with("index.json"))
    );

    // The next one writes it, from which another machine takes.
    first.build(&[&to]);
    let from = format!("--cache-mounts-from=type=local,src={kept}");
    let second = Workshop::new(DOCKERFILE);
    let stored = second.stored();
    let child = second.skiff.start(&second.words(&["-t", "made", &from]));
    interrupted(&second, child, || in_its_middle(begun(&second)));
    assert_eq!(second.stored(), stored);
    let mounts = second.skiff.root().join("cache/mounts");
    assert_eq!(paths(&mounts), [] as [PathBuf; 0]);

    let child = second.skiff.start(&second.words(&["-t", "made", &from]));
    let half = || paths(&mounts).into_iter().find(|path| path.ends_with("data.tree/data/much"));
    interrupted(&second, child, || half().is_some());
    assert_eq!(paths(&mounts), [] as [PathBuf; 0]);
    // What a build has fetched goes with the next collection, as any layer without a name.
    second.skiff.ok(&["builder", "prune", "-af"]);
    assert_eq!(second.stored(), stored);

    second.build(&[&from]);
    assert_eq!(second.mark("much").unwrap().metadata().unwrap().len(), LARGE as u64);
}

const WAITING: &str = "waiting for cache mount kept, which another step has";

#[test]
fn who_waits_for_a_cache_mount_is_told_once_and_of_the_end_of_it() {
    let mount = "RUN --mount=type=cache,id=kept,target=/c,sharing=locked";
    let workshop = Workshop::new(&format!(
        "FROM busybox\n{mount} touch /c/began; until [ -e /c/over ]; do sleep 0.02; done\n"
    ));
    let holder = workshop.skiff.start(&workshop.words(&[]));
    let began = workshop.wait_for_mark("began");
    // Three more that want it for programs of their own, each of which tells in its own way.
    let words = |form: &str| {
        let file = workshop.beside(&format!("Dockerfile.{form}"));
        std::fs::write(&file, format!("FROM busybox\n{mount} echo {form}\n")).unwrap();
        let mut words = workshop.words(&["-f", &file]);
        words[1] = format!("--progress={form}");
        words
    };
    let told = |form: &str| std::fs::read_to_string(workshop.beside(form)).unwrap();
    let start = |form: &str| {
        let file = std::fs::File::create(workshop.beside(form)).unwrap();
        workshop.skiff.command(&words(form)).stderr(file).spawn().unwrap()
    };
    let forms = ["plain", "rawjson"];
    let children = forms.map(start);
    let mut screen = workshop.skiff.terminal(&words("tty"), 120, 24);
    for form in forms {
        wait_until("who waits is told", || told(form).contains(WAITING));
    }
    screen.expect(&format!("=> => {WAITING}"));
    std::fs::write(began.with_file_name("over"), "").unwrap();
    for (form, mut child) in forms.into_iter().zip(children) {
        assert!(child.wait().unwrap().success(), "{}", told(form));
    }
    let (code, shown) = screen.finish();
    assert_eq!(code, 0, "{shown}");
    let held = Output::of(holder.wait_with_output().unwrap());
    assert!(held.code == 0 && !held.stderr.contains("waiting for"), "{}", held.stderr);

    let plain = told("plain");
    let lines: Vec<&str> = plain.lines().filter(|line| line.contains("waiting for")).collect();
    let [begin, end] = lines[..] else { panic!("{plain}") };
    assert!(begin.ends_with(WAITING) && end.ends_with("s done"), "{plain}");
    let statuses: Vec<Value> = told("rawjson")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["statuses"][0].clone())
        .filter(|status| status["id"] == WAITING)
        .collect();
    assert!(statuses.len() == 2 && statuses[0].get("completed").is_none(), "{statuses:?}");
    assert!(statuses[1]["completed"].is_string(), "{statuses:?}");
}

/// What two builds have in common is done by one of them, and the other takes it.
#[test]
fn who_waits_for_the_same_step_of_another_build_is_told() {
    const WAITING: &str = "waiting for another build that does the same step";
    let workshop = Workshop::new(
        "FROM busybox\nRUN --mount=type=cache,id=kept,target=/c,sharing=shared \
         touch /c/began; until [ -e /c/over ]; do sleep 0.02; done\n",
    );
    let first = workshop.skiff.start(&workshop.words(&[]));
    let began = workshop.wait_for_mark("began");
    let file = std::fs::File::create(workshop.beside("second")).unwrap();
    let mut second = workshop.skiff.command(&workshop.words(&[])).stderr(file).spawn().unwrap();
    let told = || std::fs::read_to_string(workshop.beside("second")).unwrap();
    wait_until("who waits is told", || told().contains(WAITING));
    std::fs::write(began.with_file_name("over"), "").unwrap();
    assert!(second.wait().unwrap().success(), "{}", told());
    let first = Output::of(first.wait_with_output().unwrap());
    assert!(first.code == 0 && !first.stderr.contains(WAITING), "{}", first.stderr);
    let told = told();
    assert!(told.contains(&format!("{WAITING} ")) && told.contains(" CACHED"), "{told}");
}
