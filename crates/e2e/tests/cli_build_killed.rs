//! A build that is killed at any moment, or the monitor of one of its programs, or both at once: nothing runs on, nothing is half
//! there, and the next one makes the same image and takes away what was left. Needs strace.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use std::path::Path;

use building::{EPOCH, Workshop, files};
use serde_json::Value;
use testkit::{Moment, Victims, Whose, kill_those_at, moments_of, wait_until};

/// Kills `victims` at about so many moments of `of`, evenly; each time from the beginning. `check` is told of the program ids.
fn sweep(
    (workshop, flags): (&Workshop, &[&str]),
    (victims, of, about): (Victims, Whose, usize),
    check: &dyn Fn(&[String], &str),
) {
    let words = workshop.words(flags);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    workshop.forget();
    let moments: Vec<Moment> =
        moments_of(&workshop.skiff, &words).into_iter().filter(|moment| moment.whose == of).collect();
    let (mut tried, mut killed) = (0, 0);
    for moment in moments.iter().step_by(moments.len() / about + 1) {
        workshop.forget();
        let came = kill_those_at(&workshop.skiff, moment, victims, &words);
        let what = format!("{victims:?} killed at {moment:?}");
        tried += 1;
        killed += usize::from(came.came_to_it);
        if came.came_to_it && victims != Victims::Monitors {
            assert!(!came.status.success(), "{what}");
        }
        assert_eq!(workshop.skiff.running_of_builds(&came.containers), "", "{what}");
        check(&came.containers, &what);
    }
    // Which of the threads does what is another each time, and so is how many calls each of them makes.
    assert!(killed * 2 >= tried && tried > about / 3, "{killed} of {tried}: the test shows little");
}

/// A build with all that a build may have a program do, and what is left of it.
const STEPS: &str = "FROM busybox AS tool\n\
    RUN --mount=type=cache,target=/c --mount=type=secret,id=key --mount=type=bind,source=one,target=/src/one \
    cat /src/one > /tool && wc -c < /run/secrets/key >> /tool && echo x >> /c/n\n\
    FROM busybox\n\
    WORKDIR /work\n\
    COPY one sub/ ./\n\
    COPY --from=tool /tool /usr/tool\n\
    RUN cat one deep/two /usr/tool > said\n";

struct Steps {
    workshop: Workshop,
    flags: Vec<String>,
    id: String,
    said: String,
    stored: Vec<std::path::PathBuf>,
}

impl Steps {
    /// Builds it once undisturbed.
    fn new() -> Steps {
        let workshop = Workshop::new(STEPS);
        workshop.write("one", "1\n");
        workshop.write("sub/deep/two", "2\n");
        std::fs::write(workshop.beside("key"), "secret").unwrap();
        std::fs::create_dir(workshop.beside("told")).unwrap();
        let flags = [
            format!("--secret=id=key,src={}", workshop.beside("key")),
            format!("--build-arg={EPOCH}"),
            "--sbom=true".to_owned(),
            "--provenance=mode=max".to_owned(),
            "-t=made".to_owned(),
            "-t=made:2".to_owned(),
            format!("--iidfile={}", workshop.beside("told/id")),
            format!("--metadata-file={}", workshop.beside("told/metadata")),
        ];
        let stored = workshop.stored();
        let mut steps =
            Steps { workshop, flags: flags.to_vec(), id: String::new(), said: String::new(), stored };
        steps.id = steps.build();
        steps.said = steps.workshop.in_image("cat said");
        assert_eq!(steps.said, "1\n2\n1\n6\n");
        steps
    }

    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    fn build(&self) -> String {
        let output = self.workshop.try_build(&self.flags());
        assert_eq!(output.code, 0, "{}", output.stderr);
        self.workshop.skiff.said("{{.Id}}", "made")
    }

    /// What holds whoever was killed.
    fn check(&self, programs: &[String], what: &str) {
        let (skiff, told) = (&self.workshop.skiff, Path::new(&self.workshop.beside("told")).to_owned());
        if let Ok(id) = std::fs::read_to_string(told.join("id")) {
            assert_eq!(id, self.id, "{what}");
        }
        if let Ok(text) = std::fs::read(told.join("metadata")) {
            assert!(serde_json::from_slice::<Value>(&text).is_ok(), "{what}");
        }
        // A name is one of a whole image.
        for name in ["made", "made:2"] {
            let found = skiff.run(&["inspect", "-f", "{{.Id}}", name]);
            if found.code == 0 {
                assert_eq!(found.stdout.trim_end(), self.id, "{what}");
                assert_eq!(skiff.run(&["image", "verify", name]).code, 0, "{what}");
            }
        }
        assert_eq!(skiff.run(&["system", "df"]).code, 0, "{what}");
        assert_eq!(skiff.run(&["builder", "du"]).code, 0, "{what}");
        // The next one does the rest, and takes away what was left.
        assert_eq!(self.build(), self.id, "{what}");
        assert_eq!(skiff.left_by_builds(programs), "", "{what}");
        let names: Vec<_> = files(&told).into_keys().collect();
        assert_eq!(names, [Path::new("id"), Path::new("metadata")], "{what}");
        assert_eq!(skiff.run(&["image", "verify", "made"]).code, 0, "{what}");
        self.workshop.forget();
        assert_eq!(self.workshop.stored(), self.stored, "{what}");
    }

    fn sweep(&self, victims: Victims, of: Whose, about: usize) {
        let check = |programs: &[String], what: &str| self.check(programs, what);
        sweep((&self.workshop, &self.flags()), (victims, of, about), &check);
    }
}

#[test]
fn a_build_may_be_killed_at_any_moment() {
    Steps::new().sweep(Victims::Caller, Whose::Caller, 40);
}

#[test]
fn a_monitor_of_a_build_may_be_killed_at_any_moment() {
    Steps::new().sweep(Victims::Monitors, Whose::Monitor, 25);
}

#[test]
fn a_build_and_its_monitors_may_be_killed_at_once() {
    let steps = Steps::new();
    steps.sweep(Victims::Both, Whose::Monitor, 20);
    steps.sweep(Victims::Both, Whose::Program, 10);
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
    let of_monitor: Vec<&Moment> = moments.iter().filter(|moment| moment.whose == Whose::Monitor).collect();
    let first =
        of_monitor.iter().position(|moment| moment.call.name.starts_with("mkdir")).expect("it makes a group");
    let last =
        of_monitor.iter().rposition(|moment| ends.contains(&moment.call.name.as_str())).expect("it clones");
    let (mut killed, mut made) = (0, 0);
    for moment in of_monitor[first..=last].iter().step_by((last - first) / 12 + 1) {
        for victims in [Victims::Monitors, Victims::Both] {
            workshop.forget();
            let came = kill_those_at(&workshop.skiff, moment, victims, &words);
            let what = format!("{victims:?} killed at {moment:?}");
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
    let mut pending = vec![Path::new("/sys/fs/cgroup").to_owned()];
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

/// All outputs that are files, and a cache.
const OUTPUTS: [&str; 6] = [
    "--output=type=oci,dest=out/oci.tar",
    "--output=type=docker,dest=out/docker.tar",
    "--output=type=tar,dest=out/tar.tar",
    "--output=type=local,dest=out/local",
    "--output=type=oci,tar=false,dest=out/layout",
    "--cache-to=type=local,dest=out/cache",
];

#[test]
fn outputs_are_whole_whenever_their_build_is_killed() {
    let workshop =
        Workshop::new("FROM scratch\nCOPY large /dir/large\nCOPY sub /sub\nCOPY --chmod=4755 one /one\n");
    workshop.write("large", [7; 300_000]);
    workshop.write("one", "1\n");
    workshop.write("sub/deep/two", "2\n");
    std::os::unix::fs::symlink("deep/two", workshop.context.join("sub/link")).unwrap();
    let arg = format!("--build-arg={EPOCH}");
    let flags = [&OUTPUTS[..], &["--provenance=false", &arg]].concat();
    let out = Path::new(&workshop.beside("out")).to_owned();
    std::fs::create_dir(&out).unwrap();
    let build = || {
        let output = workshop.try_build(&flags);
        assert_eq!(output.code, 0, "{}", output.stderr);
        files(&out)
    };
    let whole = build();
    assert!(whole.len() > 20, "{:?}", whole.keys());
    // Half of the runs begin with what others have put there.
    let old = |path: &Path| path.extension().is_some_and(|extension| extension == "tar");
    let begin = || {
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir_all(out.join("local/sub")).unwrap();
        for path in ["oci.tar", "docker.tar", "tar.tar", "local/one", "local/sub/link"] {
            std::fs::write(out.join(path), "old").unwrap();
        }
    };
    let check = |programs: &[String], what: &str| {
        for (path, (mode, content)) in files(&out) {
            let is_new = whole.get(&path).is_some_and(|(_, expected)| *expected == content);
            let is_before = (old(&path) || path.starts_with("local")) && content == b"old";
            let is_folder = mode & 0o170_000 == 0o040_000;
            let is_index = path.ends_with("index.json");
            // Between two names.
            let is_twice = path.to_string_lossy().contains(".skiff-")
                && whole.values().any(|(_, expected)| *expected == content);
            assert!(
                is_new || is_before || is_folder || is_index || is_twice,
                "{what}: {} is half a file",
                path.display()
            );
        }
        for layout in ["layout", "cache"] {
            assert_layout_is_whole(&out.join(layout), what);
        }
        let again = build();
        let names = |files: &std::collections::BTreeMap<_, _>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&again), names(&whole), "{what}");
        assert!(again == whole, "{what}: an output differs");
        assert_eq!(workshop.skiff.left_by_builds(programs), "", "{what}");
        begin();
    };
    begin();
    sweep((&workshop, &flags), (Victims::Caller, Whose::Caller, 40), &check);
}

/// Whatever the index of a layout leads to is there.
fn assert_layout_is_whole(folder: &Path, what: &str) {
    let Ok(index) = std::fs::read(folder.join("index.json")) else { return };
    let mut left: Vec<Value> = vec![serde_json::from_slice(&index).unwrap()];
    while let Some(document) = left.pop() {
        let listed = ["manifests", "layers"].iter().filter_map(|key| document[key].as_array()).flatten();
        for entry in listed.chain(document.get("config")) {
            let Some(digest) = entry["digest"].as_str() else { continue };
            let blob = std::fs::read(folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:")));
            let blob = blob.unwrap_or_else(|error| panic!("{what}: {digest}: {error}"));
            assert_eq!(oci::Digest::of(&blob).as_str(), digest, "{what}");
            left.extend(serde_json::from_slice::<Value>(&blob));
        }
    }
}
