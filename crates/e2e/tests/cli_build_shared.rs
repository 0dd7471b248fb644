//! Caches that builds hand on: what a build exports that ran nothing lets another machine build without running anything.
//!
//! Programs leave something that is never the same again, so an image of the same id says that none of them ran.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod building;

use building::Workshop;
use testkit::registry;

/// Stages side by side, of which the last one takes files by copies, a linked copy and a mount.
const STAGES: &str = "FROM busybox AS one
COPY a /a
RUN cat /proc/sys/kernel/random/uuid > /one
FROM busybox AS two
RUN cat /proc/sys/kernel/random/uuid > /two
WORKDIR /deep/er
COPY tree sub/
RUN cat sub/b /proc/sys/kernel/random/uuid > /late
FROM busybox
COPY --from=one /one /one
COPY --link --from=two /two /two
RUN --mount=from=two,target=/m --mount=target=/c cat /m/late /c/c /proc/sys/kernel/random/uuid > /three
COPY c /c
RUN cat /c /proc/sys/kernel/random/uuid > /four
";

struct Machines {
    workshop: Workshop,
    address: String,
    number: std::cell::Cell<u32>,
}

impl Machines {
    fn new(dockerfile: &str, address: &str) -> Machines {
        let workshop = Workshop::new(dockerfile);
        for name in ["a", "c", "tree/b"] {
            workshop.write(name, format!("content of {name}\n"));
        }
        Machines { workshop, address: address.to_owned(), number: std::cell::Cell::default() }
    }

    /// The flags by which a cache of a type and mode is written, and those by which it is read; each time another one.
    fn place(&self, kind: &str, mode: &str) -> (Vec<String>, String) {
        self.number.set(self.number.get() + 1);
        let number = self.number.get();
        match kind {
            "local" => {
                let place = self.workshop.beside(&format!("cache-{number}"));
                (
                    vec![format!("--cache-to=type=local,dest={place},mode={mode}")],
                    format!("type=local,src={place}"),
                )
            }
            "registry" => {
                let name = format!("{}/cache:{number}", self.address);
                (
                    vec![format!("--cache-to=type=registry,ref={name},mode={mode}")],
                    format!("type=registry,ref={name}"),
                )
            }
            _ => {
                let name = format!("{}/app:{number}", self.address);
                let flags = ["--cache-to=type=inline", "--push", "-t", &name].map(str::to_owned);
                (flags.to_vec(), format!("type=registry,ref={name}"))
            }
        }
    }

    /// Builds what is called `made`, or what has a name in a registry.
    fn build(&self, flags: &[String]) -> String {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let name = if flags.contains(&"--push") { &[][..] } else { &["-t", "made"] };
        let output = self.workshop.try_build(&[&["--provenance=false"], name, &flags[..]].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn id(&self) -> String {
        self.workshop.skiff.ok(&["image", "inspect", "--format", "{{.Id}}", "made"])
    }

    fn file(&self, name: &str) -> String {
        self.workshop.in_image(&format!("cat {name}"))
    }

    /// What the files are is the same, and nothing else.
    fn touch(&self) {
        for name in ["a", "c", "tree/b", "tree"] {
            let times = std::fs::FileTimes::new()
                .set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
            std::fs::File::open(self.workshop.context.join(name)).unwrap().set_times(times).unwrap();
        }
    }
}

/// All types and modes.
const KINDS: [(&str, &str); 5] =
    [("local", "min"), ("local", "max"), ("registry", "min"), ("registry", "max"), ("inline", "min")];

#[test]
fn what_a_build_exports_that_ran_nothing_lets_others_run_nothing() {
    let (registry, _folder) = registry();
    let machines = Machines::new(STAGES, &registry.address());
    for (kind, mode) in KINDS {
        machines.workshop.forget();
        machines.build(&[]);
        let (id, told) = (machines.id(), format!("{kind} {mode}"));
        machines.touch();
        let (to, from) = machines.place(kind, mode);
        machines.build(&to);
        // That of an image that goes to a registry has named nothing else.
        assert_eq!(machines.id(), id, "{told}");
        machines.workshop.forget();
        let progress = machines.build(&[format!("--cache-from={from}")]);
        assert_eq!(machines.id(), id, "{told}: {progress}");
        // And what that build exports is as good: it has heard of more than it has fetched.
        let (to, further) = machines.place(kind, mode);
        machines.workshop.forget();
        machines.build(&[&[format!("--cache-from={from}")], &to[..]].concat());
        machines.workshop.forget();
        let progress = machines.build(&[format!("--cache-from={further}")]);
        assert_eq!(machines.id(), id, "{told} of another: {progress}");
        if mode == "max" {
            check_changes(&machines, &further, &told);
        }
    }
}

/// With another file only the steps behind it run, in whichever stage they are.
fn check_changes(machines: &Machines, from: &str, told: &str) {
    let all = ["/one", "/two", "/three", "/four"];
    let before = all.map(|name| machines.file(name));
    for (changed, runs) in [
        ("a", &["/one", "/three", "/four"][..]),
        ("tree/b", &["/three", "/four"]),
        ("c", &["/three", "/four"]),
    ] {
        let path = machines.workshop.context.join(changed);
        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, "another content\n").unwrap();
        machines.workshop.forget();
        let progress = machines.build(&[format!("--cache-from={from}")]);
        for (name, before) in all.iter().zip(&before) {
            let is_same = machines.file(name) == *before;
            assert_eq!(is_same, !runs.contains(name), "{told}: {name} with another {changed}: {progress}");
        }
        std::fs::write(&path, content).unwrap();
    }
}

/// The second one of two Dockerfiles that begin alike, of which the first one's cache is all that is there.
#[test]
fn what_another_dockerfile_has_in_common_is_found() {
    let common = "FROM busybox AS base\nCOPY a /a\nRUN cat /proc/sys/kernel/random/uuid > /common\n";
    let (registry, _folder) = registry();
    let machines = Machines::new(&format!("{common}FROM base\nRUN echo 1 > /own\n"), &registry.address());
    for (kind, mode) in KINDS {
        machines.workshop.forget();
        machines.workshop.write("Dockerfile", format!("{common}FROM base\nRUN echo 1 > /own\n"));
        machines.build(&[]);
        let uuid = machines.file("/common");
        let (to, from) = machines.place(kind, mode);
        machines.build(&to);
        machines.workshop.forget();
        machines.workshop.write(
            "Dockerfile",
            format!("{common}FROM base\nRUN echo 2 > /own\nCOPY --from=base /common /again\n"),
        );
        machines.build(&[format!("--cache-from={from}")]);
        assert_eq!(
            (machines.file("/common"), machines.file("/again")),
            (uuid.clone(), uuid),
            "{kind} {mode}"
        );
        assert_eq!(machines.file("/own"), "2\n");
    }
}

/// An image that is its own cache has one for each of its platforms.
#[test]
fn each_platform_is_found_again() {
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH
COPY a /a
RUN echo $TARGETARCH $(cat /proc/sys/kernel/random/uuid) > /made
FROM scratch
COPY --from=build /made /
";
    let (registry, _folder) = registry();
    let machines = Machines::new(dockerfile, &registry.address());
    let both = "--platform=linux/amd64,linux/arm64".to_owned();
    for (kind, mode) in KINDS {
        machines.workshop.forget();
        machines.build(std::slice::from_ref(&both));
        let id = machines.id();
        let (to, from) = machines.place(kind, mode);
        machines.build(&[&to[..], std::slice::from_ref(&both)].concat());
        machines.workshop.forget();
        let progress = machines.build(&[both.clone(), format!("--cache-from={from}")]);
        assert_eq!(machines.id(), id, "{kind} {mode}: {progress}");
    }
}

/// The way of most users: built with its cache inside, and pushed later.
#[test]
fn an_image_that_is_pushed_after_its_build_is_its_own_cache() {
    let (registry, _folder) = registry();
    let machines = Machines::new(STAGES, &registry.address());
    let name = format!("{}/app:later", registry.address());
    machines.build(&["--cache-to=type=inline".to_owned()]);
    let id = machines.file("/four");
    machines.workshop.skiff.ok(&["tag", "made", &name]);
    machines.workshop.skiff.ok(&["push", &name]);
    machines.workshop.skiff.ok(&["rmi", &name]);
    machines.workshop.forget();
    let progress = machines.build(&[format!("--cache-from={name}")]);
    assert_eq!(machines.file("/four"), id, "{progress}");
}
