//! A build that is killed at any moment, or the monitor of one of its programs, or both at once: nothing runs on, nothing is half
//! there, and the next one makes the same image and takes away what was left.
//!
//! The moments are all calls by which a build changes anything (`testkit::moments_of`). Here it is each kind of them once, or
//! some of those. `SKIFF_FAULT_MOMENTS=all` takes all, `2/3` the second third of them, for as many processes, `900-` those from there on,
//! and `list` only names them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

#[path = "../building/mod.rs"]
mod building;
mod everything;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use building::Workshop;
use everything::Everything;
use testkit::{
    Moment, Skiff, User, Victims, Whose, busybox, kill_those_at, moments_of, moments_of_threads, wait_until,
};

/// The variable that asks for more moments.
const ASKED: &str = "SKIFF_FAULT_MOMENTS";

/// How many moments are tried, unless the variable says otherwise.
#[derive(Clone, Copy)]
enum Extent {
    /// The first of each kind.
    EachKind,
    /// So many of those, evenly.
    Some(usize),
}

/// The moments of these that are tried.
fn chosen(moments: Vec<Moment>, extent: Extent) -> Vec<Moment> {
    match std::env::var(ASKED).ok().as_deref() {
        Some("all") => moments,
        Some(from) if from.ends_with('-') => {
            let from: usize = from.trim_end_matches('-').parse().unwrap();
            moments.into_iter().skip(from).collect()
        }
        Some(part) => {
            let (part, parts) = part.split_once('/').expect("all, a part as 2/3, or where to begin as 900-");
            let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
            moments.into_iter().skip(part - 1).step_by(parts).collect()
        }
        None => {
            let mut kinds = BTreeSet::new();
            let firsts: Vec<Moment> =
                moments.into_iter().filter(|moment| kinds.insert(coarse(moment))).collect();
            let step = match extent {
                Extent::EachKind => 1,
                Extent::Some(about) => firsts.len() / about + 1,
            };
            firsts.into_iter().step_by(step).collect()
        }
    }
}

/// A kind of call as coarse as it matters: its name, and where in the store it is, or that it is among the outputs.
fn coarse(moment: &Moment) -> (&'static str, String) {
    let mut names = moment.kind.place.split('/');
    let place = match (names.next(), names.next()) {
        (Some("root"), Some(second)) if second.starts_with("state.db") => "database".to_owned(),
        (Some("root"), Some(second)) => second.to_owned(),
        (first, _) => first.unwrap_or_default().to_owned(),
    };
    (moment.kind.call, place)
}

/// Kills `victims` at moments of `of`; each time from the beginning.
fn sweep(everything: &Everything, (victims, of, extent): (Victims, Whose, Extent)) {
    let words = everything.words();
    everything.begin(false);
    let mut moments = moments_of(&everything.workshop.skiff, &words);
    everything.workshop.forget();
    moments.retain(|moment| moment.kind.whose == of);
    let all = moments.len();
    if std::env::var(ASKED).is_ok_and(|asked| asked == "list") {
        #[allow(clippy::print_stderr, reason = "that is what was asked for")]
        moments.iter().for_each(|moment| eprintln!("{moment}"));
        return;
    }
    let moments = chosen(moments, extent);
    let mut kinds: BTreeMap<_, bool> = BTreeMap::new();
    for (nth, moment) in moments.iter().enumerate() {
        everything.begin(nth % 2 == 1);
        let came = kill_those_at(&everything.workshop.skiff, moment, victims, &words);
        *kinds.entry(coarse(moment)).or_default() |= came.came_to_it;
        let what = format!("{victims:?} killed at {moment}");
        // Shown by a test that fails.
        #[allow(clippy::print_stderr, reason = "the moment is what a reader of a failure needs first")]
        {
            eprintln!(
                "{nth} of {} of {all}: {what}{}",
                moments.len(),
                if came.came_to_it { "" } else { ": never" }
            );
        }
        if came.came_to_it && matches!(victims, Victims::Caller | Victims::Both) {
            assert!(!came.status.success(), "{what}");
        }
        everything.check(&came.containers, &what);
    }
    // Which of the threads does what is another each time, and so is how many calls each of them makes.
    let missed: Vec<_> = kinds.iter().filter(|(_, came)| !**came).map(|(kind, _)| kind).collect();
    assert!(!kinds.is_empty() && missed.len() * 8 <= kinds.len(), "never came: {missed:?}");
}

fn of_root() -> Everything {
    Everything::new(Skiff::with_busybox().that_builds(), &[])
}

#[test]
fn a_build_may_be_killed_at_any_moment() {
    sweep(&of_root(), (Victims::Caller, Whose::Caller, Extent::Some(25)));
}

#[test]
fn a_monitor_of_a_build_may_be_killed_at_any_moment() {
    sweep(&of_root(), (Victims::Monitors, Whose::Monitor, Extent::EachKind));
}

#[test]
fn a_build_and_its_monitors_may_be_killed_at_once() {
    let everything = of_root();
    sweep(&everything, (Victims::Both, Whose::Monitor, Extent::Some(10)));
    sweep(&everything, (Victims::Both, Whose::Program, Extent::Some(6)));
}

#[test]
fn a_build_upon_trees_may_be_killed_at_any_moment() {
    let everything = Everything::new(Skiff::with_busybox().that_builds(), &["--snapshotter", "trees"]);
    sweep(&everything, (Victims::Caller, Whose::Caller, Extent::Some(10)));
    sweep(&everything, (Victims::Both, Whose::Monitor, Extent::Some(4)));
}

#[test]
fn a_build_of_an_ordinary_user_may_be_killed_at_any_moment() {
    let user = User::new();
    let skiff = Skiff::of(&user).that_builds();
    skiff.load(&busybox());
    let everything = Everything::new(skiff, &[]);
    sweep(&everything, (Victims::Caller, Whose::Caller, Extent::Some(10)));
    sweep(&everything, (Victims::Workers, Whose::Worker, Extent::Some(6)));
    sweep(&everything, (Victims::Both, Whose::Monitor, Extent::Some(4)));
}

/// What a name leads to is synced before the name, and so is the directory that it lies in: read off the system calls of a build that
/// nobody kills.
#[test]
fn what_is_named_was_synced_before() {
    let everything = of_root();
    everything.begin(false);
    let moments = moments_of_threads(&everything.workshop.skiff, &everything.words());
    everything.workshop.forget();
    let of_caller = |(_, moment): &&(i32, Moment)| moment.kind.whose == Whose::Caller;
    let calls: Vec<(i32, &str, &str)> = moments
        .iter()
        .filter(of_caller)
        .map(|(thread, moment)| (*thread, moment.kind.call, moment.kind.place.as_str()))
        .collect();
    let (mut layers, mut documents) = (0, 0);
    for (nth, (thread, call, place)) in calls.iter().enumerate() {
        let of_thread = |calls: &[(i32, &str, &str)]| -> Vec<String> {
            let own = calls.iter().filter(|(other, ..)| other == thread);
            own.map(|(_, call, place)| format!("{call} {place}")).collect()
        };
        let (before, after) = (of_thread(&calls[..nth]), of_thread(&calls[nth + 1..]));
        if *call == "linkat" && place.starts_with("root/layers/") {
            layers += 1;
            // The thread that links a layer has synced it last of all, syncs the directory next, and then writes the record.
            let last = before.last().map_or("", String::as_str);
            assert!(last.starts_with("fsync root/tmp/"), "a layer was linked after {last:?}");
            let next: Vec<&str> = after
                .iter()
                .map(String::as_str)
                .take_while(|call| *call != "pwrite64 root/state.db-wal")
                .collect();
            assert!(next.contains(&"fsync root/layers"), "a record was written after {next:?}");
        }
        let is_named =
            *call == "renameat2" && (place.starts_with("root/blobs/") || place.starts_with("root/images/"));
        if is_named {
            documents += 1;
            let folder = place.rsplit_once('/').unwrap().0;
            let next: Vec<&str> = after
                .iter()
                .map(String::as_str)
                .take_while(|call| *call != "fsync root/state.db-wal")
                .collect();
            assert!(next.contains(&format!("fsync {folder}").as_str()), "{place} was named after {next:?}");
            assert!(
                before.iter().any(|call| call.starts_with("fsync root/tmp/")),
                "{place} was renamed after {before:?}"
            );
        }
    }
    assert!(layers > 5 && documents > 3, "{layers} layers, {documents} documents in {calls:?}");
    // The name of the image comes last.
    let is_name = |(_, call, place): &(i32, &str, &str)| *call == "fsync" && *place == "root/state.db-wal";
    let name = calls.iter().position(is_name).expect("nothing was named for good");
    let puts = |(_, call, place): &(i32, &str, &str)| {
        matches!(*call, "linkat" | "renameat2") && place.starts_with("root/")
    };
    let late: Vec<_> = calls[name..].iter().filter(|call| puts(call)).collect();
    assert!(late.is_empty(), "{late:?} came after the name");
}

#[test]
fn a_program_of_a_build_ends_with_its_build_and_its_monitor() {
    let workshop =
        Workshop::new("FROM busybox\nRUN --mount=type=cache,target=/c touch /c/began; sleep 1000\n");
    let mut child = workshop.skiff.start(&workshop.words(&[]));
    let builds = workshop.skiff.run_folder().join("builds");
    let mut programs = Vec::new();
    wait_until("the step runs", || {
        let names = std::fs::read_dir(&builds).into_iter().flatten().flatten();
        programs = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
        programs.retain(|name| name.len() == 64);
        workshop.mark("began").is_some()
    });
    assert_eq!(programs.len(), 1);
    let monitor = workshop.skiff.monitor_of(&programs[0]).unwrap();
    for process in [i32::try_from(child.id()).unwrap(), monitor] {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(process).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    }
    child.wait().unwrap();
    assert_eq!(workshop.skiff.running_of_builds(&programs), "");
    // A build that runs no program takes away what was left, too.
    workshop.write("Dockerfile", "FROM busybox\nCOPY Dockerfile /\n");
    workshop.build(&[]);
    assert_eq!(workshop.skiff.left_by_builds(&programs), "");
}

#[test]
fn a_group_below_a_parent_goes_with_a_monitor_that_says_nothing() {
    let parent = format!("/skiff-killed-{}", std::process::id());
    let workshop = Workshop::new("FROM busybox\nRUN echo made > /made\n");
    let limits = ["--cgroup-parent", &parent, "--memory=64m"];
    let words = workshop.words(&limits);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let moments = moments_of(&workshop.skiff, &words);
    // Its group is made before its first process, and both before anybody is told.
    let ends = ["clone3", "clone"];
    let of_monitor: Vec<&Moment> =
        moments.iter().filter(|moment| moment.kind.whose == Whose::Monitor).collect();
    let first =
        of_monitor.iter().position(|moment| moment.kind.call.starts_with("mkdir")).expect("it makes a group");
    let last = of_monitor.iter().rposition(|moment| ends.contains(&moment.kind.call)).expect("it clones");
    let (mut killed, mut made) = (0, 0);
    for moment in of_monitor[first..=last].iter().step_by((last - first) / 12 + 1) {
        for victims in [Victims::Monitors, Victims::Both] {
            workshop.forget();
            let came = kill_those_at(&workshop.skiff, moment, victims, &words);
            let what = format!("{victims:?} killed at {moment}");
            killed += usize::from(came.came_to_it);
            made += came.containers.len();
            workshop.build(&limits);
            assert_eq!(workshop.skiff.left_by_builds(&came.containers), "", "{what}");
            for id in &came.containers {
                assert_eq!(groups_of(id), Vec::<std::path::PathBuf>::new(), "{what}");
            }
        }
    }
    assert!(killed > 6 && made > 6, "{killed} killed, {made} made: the test shows little");
    for group in groups_of(parent.trim_start_matches('/')) {
        // It is the caller's: nothing of ours takes it away.
        std::fs::remove_dir(&group).unwrap();
    }
}

/// The control groups of this name, wherever they are.
fn groups_of(name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str() == Some(name) {
                    found.push(entry.path());
                }
                pending.push(entry.path());
            }
        }
    }
    found
}
