//! Cache mounts through the program: what they begin as, who may have them at once, also after SIGKILL, and how they go.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::PathBuf;
use std::process::Child;

use rustix::process::{Pid, Signal};
use testkit::{Output, Skiff, wait_until};

struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new() -> Workshop {
        Workshop { skiff: Skiff::with_busybox().that_builds() }
    }

    /// A context of its own with this Dockerfile.
    fn context(&self, name: &str, dockerfile: &str) -> String {
        let context = self.skiff.folder().join(name);
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        context.display().to_string()
    }

    fn build(&self, flags: &[&str], dockerfile: &str) -> Output {
        let context = self.context("context", dockerfile);
        let usual = ["build", "--progress=plain", "--network=none", "-t", "made"];
        self.skiff.run(&[&usual, flags, &[&context]].concat())
    }

    fn ok(&self, flags: &[&str], dockerfile: &str) -> String {
        let output = self.build(flags, dockerfile);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    /// What a step left in `/seen`.
    fn seen(&self) -> String {
        self.skiff.ok(&["run", "--rm", "made", "cat", "/seen"])
    }

    fn start(&self, name: &str, dockerfile: &str) -> Child {
        let context = self.context(name, dockerfile);
        self.skiff.start(&["build", "--progress=plain", "--network=none", &context])
    }

    /// The folders of cache mounts.
    fn caches(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.skiff.root().join("cache/mounts"));
        let mut all: Vec<_> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        all.sort();
        all
    }

    /// What the only cache mount has in a file.
    fn in_cache(&self, name: &str) -> String {
        self.caches()
            .iter()
            .find_map(|folder| std::fs::read_to_string(folder.join("data").join(name)).ok())
            .unwrap_or_default()
    }
}

#[test]
fn a_cache_begins_as_what_it_is_made_from() {
    let workshop = Workshop::new();
    std::fs::create_dir_all(workshop.skiff.folder().join("named/deep")).unwrap();
    std::fs::write(workshop.skiff.folder().join("named/deep/file"), "named\n").unwrap();
    let named = format!("named={}", workshop.skiff.folder().join("named").display());
    let flags = ["--build-context", &named, "--no-cache"];
    let seed = "FROM busybox AS seed\nRUN mkdir -p /s/sub && echo SEED > /s/sub/f && chown -R 7:8 /s/sub && chmod 2750 /s/sub && ln /s/sub/f /s/sub/g && ln -s f /s/sub/l && ln -s s/sub /alias\n";
    let step =
        |mounts: &str, script: &str| format!("{seed}FROM busybox\nRUN {mounts} ({script}) > /seen 2>&1\n");
    let show = "cd /c; stat -c '%n %a %u:%g %h' . *; readlink l; cat f; echo more >> f";
    let first = ". 2750 7:8 2\nf 644 7:8 2\ng 644 7:8 2\nl 777 0:8 1\nf\n";
    workshop.ok(&flags, &step("--mount=type=cache,id=x,target=/c,from=seed,source=/s/sub", show));
    assert_eq!(workshop.seen(), format!("{first}SEED\n"));
    // It is kept, by whatever way it is named, and what it was made from stays as it was.
    workshop.ok(&flags, &step("--mount=type=cache,id=x,target=/c,from=seed,source=alias", "cat /c/f"));
    assert_eq!(workshop.seen(), "SEED\nmore\n");
    workshop.ok(&flags, &step("--mount=type=bind,target=/b,from=seed", "cat /b/s/sub/f"));
    assert_eq!(workshop.seen(), "SEED\n");
    // Other content, another owner, and another id are other caches; owner and mode are the directory's own.
    let changed = step("--mount=type=cache,id=x,target=/c,from=seed,source=/s/sub", "cat /c/f")
        .replace("SEED", "OTHER");
    workshop.ok(&flags, &changed);
    assert_eq!(workshop.seen(), "OTHER\n");
    workshop.ok(
        &flags,
        &step("--mount=type=cache,id=x,target=/c,from=seed,source=/s/sub,uid=5,gid=6,mode=0711", show),
    );
    assert_eq!(workshop.seen(), format!("{}SEED\n", first.replace(". 2750 7:8", ". 711 5:6")));
    workshop.ok(&flags, &step("--mount=type=cache,id=y,target=/c,from=seed,source=/s/sub", "cat /c/f"));
    assert_eq!(workshop.seen(), "SEED\n");
    assert_eq!(workshop.caches().len(), 4);
    // Of images, of contexts by name, and all of something.
    workshop.ok(
        &flags,
        &step("--mount=type=cache,target=/c,from=busybox,source=/etc", "cat /c/group | head -n 1"),
    );
    assert_eq!(workshop.seen(), "root:x:0:\n");
    workshop.ok(&flags, &step("--mount=type=cache,target=/c,from=named,source=deep", "cat /c/file"));
    assert_eq!(workshop.seen(), "named\n");
    workshop
        .ok(&flags, &step("--mount=type=cache,target=/c,from=seed", "cat /c/s/sub/f; ls -d /c/bin/busybox"));
    assert_eq!(workshop.seen(), "SEED\n/c/bin/busybox\n");
    for (source, word) in [("/nothing", "not found"), ("/s/sub/f", "is no directory")] {
        let mount = format!("--mount=type=cache,target=/c,from=seed,source={source}");
        let output = workshop.build(&flags, &step(&mount, "true"));
        assert!(output.code == 1 && output.stderr.contains(word), "{source}: {}", output.stderr);
    }
}

#[test]
fn a_step_is_done_again_when_what_its_cache_begins_as_has_changed() {
    let workshop = Workshop::new();
    let dockerfile = |text: &str, noise: &str| {
        format!(
            "FROM busybox AS seed\nRUN mkdir /s; echo {noise} > /noise; echo {text} > /s/f\nFROM busybox\nRUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/f > /seen\n"
        )
    };
    let cached = |said: &str| said.lines().filter(|line| line.ends_with(" CACHED")).count();
    workshop.ok(&[], &dockerfile("one", "x"));
    // What it begins as is told as known, and not even looked at.
    assert_eq!(cached(&workshop.ok(&[], &dockerfile("one", "x"))), 2);
    workshop.ok(&[], &dockerfile("two", "x"));
    assert_eq!(workshop.seen(), "two\n");
    assert_eq!(
        cached(&workshop.ok(&[], &dockerfile("two", "y"))),
        1,
        "what it does not begin as is of no account"
    );
}

#[test]
fn spaces_of_names_part_caches() {
    let workshop = Workshop::new();
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c ls /c > /seen; touch /c/there\n";
    let flags = ["--no-cache", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine"];
    workshop.ok(&["--no-cache"], dockerfile);
    workshop.ok(&flags, dockerfile);
    assert_eq!(workshop.seen(), "");
    workshop.ok(&flags, dockerfile);
    assert_eq!(workshop.seen(), "there\n");
}

#[test]
fn one_cache_that_is_mounted_twice_is_one_and_does_not_wait_for_itself() {
    let workshop = Workshop::new();
    for sharing in ["shared", "locked", "private"] {
        let mount =
            |target: &str| format!("--mount=type=cache,id={sharing},target={target},sharing={sharing}");
        let (a, b) = (mount("/a"), mount("/b"));
        workshop.ok(&[], &format!("FROM busybox\nRUN {a} {b} echo x > /a/x; cat /b/x > /seen\n"));
        assert_eq!(workshop.seen(), "x\n");
    }
    // Nor do two steps for each other that want the same two in another order.
    let stage = |name: &str, first: &str, second: &str| {
        let mount = |id: &str| format!("--mount=type=cache,id={id},target=/{id},sharing=locked");
        format!(
            "FROM busybox AS {name}\nRUN {} {} sleep 0.2; echo {name} > /made\n",
            mount(first),
            mount(second)
        )
    };
    let all = format!(
        "{}{}FROM scratch\nCOPY --from=one /made /1\nCOPY --from=two /made /2\n",
        stage("one", "a", "b"),
        stage("two", "b", "a")
    );
    workshop.ok(&["--parallel=2"], &all);
}

/// A step that holds a locked cache for ever, and says so over and over.
const HOLDER: &str = "FROM busybox\nRUN --mount=type=cache,id=l,target=/c,sharing=locked while :; do echo first >> /c/log; sleep 0.01; done\n";
/// One that looks for a while whether anybody else writes.
const SUCCESSOR: &str = "FROM busybox\nRUN --mount=type=cache,id=l,target=/c,sharing=locked echo second >> /c/log; sleep 1; grep -n . /c/log | tail -n 1 > /c/after\n";

/// The monitors of steps: whether each has started its step.
fn monitors(skiff: &Skiff) -> Vec<(Pid, bool)> {
    let entries = std::fs::read_dir(skiff.run_folder().join("builds")).into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| {
        let text = std::fs::read(entry.path().join("status")).ok()?;
        let status: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let pid = i32::try_from(status["monitor_pid"].as_i64()?).ok()?;
        Some((Pid::from_raw(pid)?, !status["started_at_ns"].is_null()))
    });
    all.collect()
}

/// Kills the builder of a step that has a locked cache, and its monitor if that is wanted, while another waits for the cache.
fn killed(monitor_too: bool) {
    let workshop = Workshop::new();
    let mut first = workshop.start("first", HOLDER);
    wait_until("the first one writes", || workshop.in_cache("log").contains("first"));
    let mut second = workshop.start("second", SUCCESSOR);
    // It waits: its monitor is there, and its step is not.
    wait_until("the second one waits", || monitors(&workshop.skiff).len() == 2);
    assert!(!workshop.in_cache("log").contains("second"));
    if monitor_too {
        let running = monitors(&workshop.skiff).into_iter().filter(|(_, has_begun)| *has_begun);
        for (monitor, _) in running {
            rustix::process::kill_process(monitor, Signal::KILL).unwrap();
        }
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    // From its first word on nobody else has written one.
    let log = workshop.in_cache("log");
    assert_eq!(log.split_once("second\n").map(|(_, after)| after), Some(""), "two had it at once");
    let lines = log.lines().count();
    assert_eq!(workshop.in_cache("after"), format!("{lines}:second\n"), "while it had it, too");
    workshop.ok(&[], "FROM busybox\nRUN true\n");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn a_locked_cache_has_one_writer_when_its_builder_is_killed() {
    killed(false);
}

#[test]
fn a_locked_cache_has_one_writer_when_builder_and_monitor_are_killed() {
    killed(true);
}

#[test]
fn a_bind_shows_a_part_of_a_tree_wherever_its_links_lead() {
    let workshop = Workshop::new();
    let seed = "FROM busybox AS seed\nRUN mkdir -p /s/sub && echo one > /s/sub/f && echo own > /etc/own && ln -s ../../../../../../etc up && \
                ln -s /s/sub /s/again && ln -s /proc/1/root/etc magic && ln -s /proc/self/cwd cwd && ln -s loop loop\n";
    let step = |source: &str, flags: &str, script: &str| {
        let mount = format!("--mount=type=bind,from=seed,source={source},target=/m{flags}");
        format!("{seed}FROM busybox\nRUN {mount} ({script}) > /seen 2>&1\n")
    };
    for (source, flags, script, want) in [
        ("/s/sub", "", "ls -A /m; cat /m/f; touch /m/x 2>/dev/null || echo refused", "f\none\nrefused\n"),
        ("s/again", "", "ls -A /m", "f\n"),
        ("/s/sub/f", "", "cat /m", "one\n"),
        ("/up", "", "cat /m/own", "own\n"),
        ("../../../s/../etc", "", "cat /m/own", "own\n"),
        ("/", "", "ls -d /m/s /m/bin/busybox; ls -A /m/proc 2>/dev/null; true", "/m/bin/busybox\n/m/s\n"),
        ("/s", ",rw", "rm /m/sub/f; echo two > /m/new; ls -A /m /m/sub", "/m:\nagain\nnew\nsub\n\n/m/sub:\n"),
        ("/s", ",rw", "ls -A /m/sub", "f\n"),
    ] {
        workshop.ok(&["--no-cache-filter=stage-1"], &step(source, flags, script));
        assert_eq!(workshop.seen(), want, "{source}{flags}");
        // The mount point is no part of the image.
        let left = workshop.skiff.run(&["run", "--rm", "made", "ls", "-d", "/m"]);
        assert_ne!(left.code, 0, "{left:?}");
    }
    for source in ["/magic", "/cwd", "/loop", "/s/sub/f/g", "/nothing"] {
        let output = workshop.build(&[], &step(source, "", "ls /m"));
        assert!(output.code == 1 && output.stderr.contains("ERROR"), "{source}: {}", output.stderr);
    }
}

/// All that is mounted as a part of something that belongs to nobody else: kernels before 6.15 do so in another way.
const PARTS: &str = r#"FROM busybox AS seed
RUN mkdir -p /s/sub && echo deep > /s/sub/f && echo alone > /s/file && ln -s ../s/sub /s/link
FROM busybox
RUN --mount=type=bind,from=seed,target=/whole --mount=type=bind,from=seed,source=/s/link,target=/part \
    --mount=type=bind,from=seed,source=/s/file,target=/file --mount=type=bind,from=seed,source=/s/sub,target=/written,rw \
    --mount=type=secret,id=key,uid=7,gid=8,mode=0440 --mount=type=secret,id=key,target=/root/plain \
    cat /whole/s/sub/f /part/f /file > /seen && stat -c '%a %u:%g' /run/secrets/key /root/plain >> /seen && \
    wc -c < /run/secrets/key >> /seen && echo more > /written/g && ls /written /part >> /seen && \
    if touch /part/x /whole/x 2>/dev/null; then exit 1; fi && \
    grep -c -e ' /whole ' -e ' /part ' -e ' /file ' -e ' /written ' -e ' /run/secrets/key ' -e ' /root/plain ' /proc/self/mounts >> /seen
RUN <<END
#!/bin/sh
echo by a document >> /seen
END
"#;

fn has_parts(skiff: &Skiff) {
    let context = skiff.folder().join("parts");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), PARTS).unwrap();
    std::fs::write(skiff.folder().join("key"), "secret").unwrap();
    let (context, secret) =
        (context.display().to_string(), format!("id=key,src={}", skiff.folder().join("key").display()));
    let output = skiff.run(&[
        "build",
        "--progress=plain",
        "--network=none",
        "--secret",
        &secret,
        "-t",
        "parts",
        &context,
    ]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let wanted = "deep\ndeep\nalone\n440 7:8\n400 0:0\n6\n/part:\nf\n\n/written:\nf\ng\n6\nby a document\n";
    assert_eq!(skiff.ok(&["run", "--rm", "parts", "cat", "/seen"]), wanted);
    let left = "ls -d /whole/s /part/f /written/g /run/secrets/key /root/plain 2>/dev/null; echo none";
    assert_eq!(skiff.ok(&["run", "--rm", "parts", "sh", "-c", left]), "none\n");
}

#[test]
fn parts_of_trees_and_files_in_memory_are_mounted_whoever_builds() {
    has_parts(&Skiff::with_busybox().that_builds());
    let user = testkit::User::new();
    let skiff = Skiff::of(&user).that_builds();
    skiff.load(&testkit::busybox());
    has_parts(&skiff);
}

/// A mount point inside a cache that another step has, and changes: whatever it is at any moment, it leads nowhere out.
#[test]
fn a_mount_point_that_another_step_swaps_for_a_link_leads_nowhere_out() {
    let workshop = Workshop::new();
    let victim = workshop.skiff.folder().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let swap = format!(
        "cd /c; mkdir -p real; ln -s {0} link; ln -s ../../../../../../../..{0} up; while :; do for it in link up; do \
         mv -T real x; mv -T x real; mv -T $it x; touch swapped; mv -T x $it; done; done",
        victim.display()
    );
    let attacker = format!("FROM busybox\nRUN --mount=type=cache,id=c,target=/c {swap}\n");
    let mut attacker = workshop.start("attacker", &attacker);
    wait_until("it swaps", || workshop.caches().iter().any(|folder| folder.join("data/swapped").exists()));
    let mut codes = std::collections::BTreeMap::new();
    for number in 0..30 {
        let dockerfile = format!(
            "FROM busybox\nRUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/x/made --mount=type=bind,target=/c/x/bound true {number}\n"
        );
        let output = workshop.build(&[], &dockerfile);
        *codes.entry(output.code).or_insert(0) += 1;
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        let left: Vec<_> = std::fs::read_dir(&victim).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(codes.contains_key(&0), "{codes:?}");
    assert!(attacker.try_wait().unwrap().is_none(), "it swaps to the end");
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    wait_until("its step has ended", || monitors(&workshop.skiff).is_empty());
    workshop.ok(&[], "FROM busybox\nRUN true\n");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn what_is_in_use_is_not_pruned_and_the_rest_is() {
    let workshop = Workshop::new();
    // Two private ones of one id at once are two directories, of which both are known.
    let stage = |name: &str, other: &str| {
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,id=meet,target=/meet --mount=type=cache,id=p,target=/p,sharing=private touch /meet/{name} /p/{name}; until [ -e /meet/{other} ]; do sleep 0.02; done; ls /p > /made\n"
        )
    };
    workshop.ok(
        &["--parallel=2"],
        &format!(
            "{}{}FROM busybox\nCOPY --from=one /made /1\nCOPY --from=two /made /2\n",
            stage("one", "two"),
            stage("two", "one")
        ),
    );
    assert_eq!(workshop.skiff.ok(&["run", "--rm", "made", "cat", "/1", "/2"]), "one\ntwo\n");
    assert_eq!(workshop.caches().len(), 3);
    let shown = || {
        let all = workshop.skiff.ok(&["builder", "du", "--verbose"]);
        all.lines().filter(|line| line.contains("cached mount")).count()
    };
    assert_eq!(shown(), 3);
    // What they take counts.
    workshop.ok(
        &[],
        "FROM busybox\nRUN --mount=type=cache,id=p,target=/p head -c 5000000 /dev/urandom > /p/large\n",
    );
    let sizes = workshop.skiff.ok(&["builder", "du", "--format", "{{.Size}}"]);
    assert!(sizes.lines().any(|size| size.starts_with('5') && size.ends_with("MB")), "{sizes}");
    let mut holder = workshop.start("first", HOLDER);
    wait_until("it writes", || workshop.caches().len() == 4 && workshop.in_cache("log").contains("first"));
    workshop.skiff.ok(&["builder", "prune", "--all", "--force"]);
    assert_eq!(workshop.caches().len(), 1, "the one that is in use");
    assert!(holder.try_wait().unwrap().is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("it goes, too", || {
        workshop.skiff.ok(&["builder", "prune", "--all", "--force"]);
        workshop.caches().is_empty()
    });
    assert_eq!(shown(), 0);
    workshop.ok(&[], "FROM busybox\nRUN true\n");
}
