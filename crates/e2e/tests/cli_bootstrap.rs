//! Images straight from an archive of packages: what is trusted, what is refused, and what is in them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod packages;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use packages::{Archive, architecture, serve};
use testkit::{Output, Skiff};

const QUIET: [&str; 3] = ["-q", "--variant", "distroless"];

fn bootstrap(skiff: &Skiff, archive: &Archive, more: &[&str]) -> Output {
    skiff.run(&archive.arguments(&[&QUIET, more].concat()))
}

/// The id of the image.
fn made(skiff: &Skiff, archive: &Archive, more: &[&str]) -> String {
    let output = bootstrap(skiff, archive, more);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{more:?}");
    output.stdout.trim_end().to_owned()
}

#[test]
fn an_image_holds_what_is_named_and_what_that_needs_and_says_so() {
    let (archive, skiff) = (Archive::usual(), Skiff::new());
    let id = made(&skiff, &archive, &["tool", "-t", "example.test/tool:1"]);
    assert!(id.starts_with("sha256:"), "{id}");
    let run =
        |words: &[&str]| skiff.ok(&[&["run", "--rm", "example.test/tool:1", "/bin/busybox"], words].concat());
    assert_eq!(run(&["cat", "/lib/libthing.so.1"]), "thing");
    assert_eq!(run(&["cat", "/etc/os-release"]), "ID=test\nVERSION_CODENAME=test\n");
    assert_eq!(
        run(&["ls", "/var/lib/dpkg/status.d"]).lines().collect::<Vec<_>>(),
        ["base-files", "base-files.md5sums", "libthing1", "libthing1.md5sums", "tool", "tool.md5sums"]
    );
    let status = run(&["cat", "/var/lib/dpkg/status.d/tool"]);
    assert!(
        status.starts_with("Package: tool\nStatus: install ok installed\nVersion: 1:2.0-1\n"),
        "{status}"
    );
    assert_eq!(run(&["readlink", "/bin"]), "usr/bin\n");
    assert_eq!(run(&["stat", "-c", "%a %u:%g %Y", "/usr/bin/busybox"]), "4755 0:0 1700000000\n");
    assert_eq!(run(&["stat", "-c", "%a", "/tmp", "/etc/tool.conf"]), "1777\n640\n");
    assert!(run(&["cat", "/etc/passwd"]).contains("nonroot:x:65532:65532:"));
    let sbom = skiff.said("{{index .Config.Labels \"dev.skiff.sbom\"}}", "example.test/tool:1");
    let document: serde_json::Value = serde_json::from_str(&run(&["cat", &sbom])).unwrap();
    let locators: Vec<&str> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
        .collect();
    let own = architecture();
    assert_eq!(
        locators,
        [
            format!("pkg:deb/base-files@12.4?arch={own}"),
            format!("pkg:deb/libthing1@1.10?arch={own}"),
            format!("pkg:deb/tool@1:2.0-1?arch={own}"),
        ]
    );
    assert_eq!(document["packages"][1]["sourceInfo"], "built package from: thing 2.1");
    assert_eq!(skiff.said("{{.Created}}", &id), "2026-07-11T10:16:37Z");
}

#[test]
fn equal_inputs_give_an_equal_digest_wherever_and_however_often_they_are_read() {
    let archive = Archive::usual();
    let (one, other) = (Skiff::new(), Skiff::new());
    let first = made(&one, &archive, &["tool", "-t", "a"]);
    assert_eq!(made(&one, &archive, &["tool", "-t", "b"]), first);
    assert_eq!(made(&other, &archive, &["tool"]), first);
    assert_ne!(made(&one, &archive, &["tool", "libthing1=1.9"]), first);
    let epoch = |seconds: &str| {
        let mut command = one.command(&archive.arguments(&[&QUIET[..], &["tool"]].concat()));
        Output::of(command.env("SOURCE_DATE_EPOCH", seconds).output().unwrap())
    };
    let old = epoch("1600000000");
    assert_ne!(old.stdout.trim_end(), first);
    assert_eq!(one.said("{{.Created}}", old.stdout.trim_end()), "2020-09-13T12:26:40Z");
    let oldest =
        one.ok(&["run", "--rm", old.stdout.trim_end(), "/bin/busybox", "stat", "-c", "%Y", "/bin/busybox"]);
    assert_eq!(oldest, "1600000000\n");
    for (seconds, reason) in [("99999999999", "lie in the future"), ("soon", "wanted are seconds since 1970")]
    {
        let refused = epoch(seconds);
        assert!(refused.code != 0 && refused.stderr.contains(reason), "{refused:?}");
    }
}

#[test]
fn what_is_not_what_was_signed_is_refused() {
    let skiff = Skiff::new();
    let index = format!("dists/test/main/binary-{}/Packages.xz", architecture());
    // What is done to the archive after it was signed; then signed again or not; what is said.
    let replace = |path: &'static str, from: &'static str, to: &'static str| {
        move |archive: &Archive| {
            let path = archive.path("archive").join(path);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    let damage = |path: String| {
        move |archive: &Archive| {
            let path = archive.path("archive").join(&path);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    };
    let publish = |more: &'static str| move |archive: &Archive| archive.publish(more);
    type Change = Box<dyn Fn(&Archive)>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(replace("dists/test/InRelease", "Origin: Test", "Origin: Best")), "the text was changed"),
        (Box::new(damage(index.clone())), "does not match what is signed"),
        (Box::new(damage("pool/tool_1.2.0-1.deb".to_owned())), "does not match what is signed"),
        (Box::new(publish("Suite: other")), "is the Release file of other, not of test"),
        (Box::new(publish("Date: Sat, 11 Jul 2099 10:16:37 UTC")), "is from the future"),
        (
            Box::new(publish("Valid-Until: Sun, 12 Jul 2026 10:16:37 UTC")),
            "was valid until 2026-07-12T10:16:37Z",
        ),
        (
            Box::new(|archive| std::fs::remove_file(archive.path("archive/pool/tool_1.2.0-1.deb")).unwrap()),
            "is not there",
        ),
        (Box::new(|archive| std::fs::write(archive.keyring(), b"nothing").unwrap()), "it is no OpenPGP data"),
        (Box::new(|archive| std::fs::remove_file(archive.keyring()).unwrap()), "read the keyring"),
        (
            Box::new(|archive| {
                let folder = archive.path("archive/dists/test");
                let text = std::fs::read_to_string(folder.join("Release")).unwrap();
                std::fs::write(folder.join("Release"), text.replace("SHA256:", "MD5Sum:")).unwrap();
                archive.sign();
            }),
            "there is no field SHA256",
        ),
    ];
    for (change, reason) in cases {
        let archive = Archive::usual();
        change(&archive);
        let refused = bootstrap(&skiff, &archive, &["tool"]);
        assert!(refused.code == 1 && refused.stderr.contains(reason), "{reason}: {refused:?}");
        assert_eq!(skiff.ok(&["images", "-aq"]), "", "{reason}");
    }
    let archive = Archive::usual();
    archive.publish("Valid-Until: Sun, 12 Jul 2026 10:16:37 UTC");
    made(&skiff, &archive, &["tool", "--allow-expired"]);
    // Signed, but by a key that is not trusted.
    let other = Archive::usual();
    let refused = bootstrap(&skiff, &archive, &["tool", "--mirror", &other.url()]);
    assert!(refused.stderr.contains("is not in the keyring"), "{refused:?}");
}

#[test]
fn packages_that_do_not_fit_are_told_by_name() {
    let (archive, skiff) = (Archive::usual(), Skiff::new());
    for (packages, reason) in [
        (&["nothing"][..], "the archive has no package nothing"),
        (&["tool=7"], "the archive has no version 7 of tool, but 1:2.0-1"),
        (&["lost"], "lost=1 needs nothing (>= 3), which no package of the archive fulfils"),
        (
            &["libthing1=1.10", "against"],
            "against=1 conflicts with libthing1 (>= 1.10), which libthing1=1.10 fulfils",
        ),
        (&["clasher"], "both clasher and tool have the file /etc/tool.conf"),
        (&["under-link"], "/usr/bin/tool/x lies below what is no directory"),
    ] {
        let refused = bootstrap(&skiff, &archive, packages);
        assert!(refused.code == 1 && refused.stderr.contains(reason), "{packages:?}: {refused:?}");
    }
    let id = made(&skiff, &archive, &["replacer"]);
    assert_eq!(skiff.ok(&["run", "--rm", &id, "/bin/busybox", "cat", "/etc/tool.conf"]), "mine\n");
}

#[test]
fn an_archive_is_read_over_http_with_redirects_and_a_detached_signature() {
    let (archive, skiff) = (Archive::usual(), Skiff::new());
    let local = made(&skiff, &archive, &["tool"]);
    std::fs::remove_file(archive.path("archive/dists/test/InRelease")).unwrap();
    let plain = serve(archive.path("archive"), |_| None);
    let target = plain.clone();
    let redirecting = serve(archive.path("archive"), move |path| {
        let moved = path.ends_with(".deb") || path.ends_with(".xz");
        moved.then(|| format!("HTTP/1.1 302 Found\r\nLocation: {target}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    });
    let circle = serve(archive.path("archive"), |path| {
        Some(format!(
            "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    });
    let long = serve(archive.path("archive"), |path| {
        path.ends_with(".xz")
            .then(|| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1 << 20)))
    });
    let asked = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&asked);
    let broken = serve(archive.path("archive"), move |_| {
        heard.fetch_add(1, Ordering::Relaxed);
        Some("HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned())
    });
    let layers = |id: &str| skiff.said("{{json .RootFS.Layers}}", id);
    for mirror in [&plain, &redirecting] {
        let other = Skiff::new();
        let id = made(&other, &archive, &["tool", "--mirror", mirror]);
        assert_eq!(other.said("{{json .RootFS.Layers}}", &id), layers(&local));
    }
    for (mirror, reason) in
        [(circle, "redirect"), (long, "is longer than"), (broken, "answers with status 503")]
    {
        let other = Skiff::new();
        std::fs::create_dir_all(other.settings()).unwrap();
        std::fs::write(other.settings().join("registries.toml"), "[patience]\nattempts = 2\n").unwrap();
        let refused = bootstrap(&other, &archive, &["tool", "--mirror", &mirror]);
        assert!(refused.code == 1 && refused.stderr.contains(reason), "{reason}: {refused:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "the patience that was set");
}

#[test]
fn an_archive_is_read_through_a_proxy_that_alone_knows_its_host() {
    let archive = Archive::usual();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let proxy = serve(archive.path("archive"), move |target| {
        heard.lock().unwrap().push(target.to_owned());
        None
    });
    let words = archive.arguments(&[&QUIET[..], &["tool", "--mirror", "http://archive.invalid"]].concat());
    let made = |skiff: &Skiff, variables: &[(&str, &str)]| {
        let mut command = skiff.command(&words);
        Output::of(command.envs(variables.iter().copied()).output().unwrap())
    };
    for name in ["http_proxy", "HTTP_PROXY"] {
        let skiff = Skiff::new();
        let output = made(&skiff, &[(name, &proxy)]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{name}");
        assert_eq!(output.stdout, skiff.ok(&["images", "-q", "--no-trunc"]));
    }
    let targets = asked.lock().unwrap().clone();
    assert!(targets.contains(&"http://archive.invalid/dists/test/InRelease".to_owned()), "{targets:?}");
    let refused = made(&Skiff::new(), &[("http_proxy", &proxy), ("no_proxy", "archive.invalid")]);
    assert!(refused.code == 1 && refused.stderr.contains("connect to http://archive.invalid"), "{refused:?}");
    assert_eq!(asked.lock().unwrap().len(), targets.len());
}

#[test]
fn a_transfer_that_breaks_off_is_begun_anew() {
    let archive = Archive::usual();
    let cuts = AtomicU32::new(0);
    let mirror = serve(archive.path("archive"), move |target| {
        let is_cut = target.ends_with(".deb") && cuts.fetch_add(1, Ordering::Relaxed) < 2;
        is_cut.then(|| "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nbegun".to_owned())
    });
    let skiff = Skiff::new();
    let words = archive.arguments(&[&QUIET[..], &["tool", "--mirror", &mirror]].concat());
    let output = skiff.run(&words);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let names = std::fs::read_dir(skiff.root().join("cache/debian")).unwrap();
    assert!(names.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with("partial-")));
}

#[test]
fn package_files_are_kept_and_one_that_was_damaged_is_fetched_again() {
    let (archive, skiff) = (Archive::usual(), Skiff::new());
    let id = made(&skiff, &archive, &["tool"]);
    let cache = skiff.root().join("cache/debian");
    let kept = || {
        let names = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some()).collect::<Vec<_>>()
    };
    assert_eq!(kept().len(), 3);
    std::fs::remove_dir_all(archive.path("archive/pool")).unwrap();
    assert_eq!(made(&skiff, &archive, &["tool"]), id);
    std::fs::write(&kept()[0], b"damaged").unwrap();
    let refused = bootstrap(&skiff, &archive, &["tool"]);
    assert!(refused.code == 1 && refused.stderr.contains("is not there"), "{refused:?}");
    let cached = || skiff.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
    assert!(cached().contains("Build Cache 3 "), "{}", cached());
    assert!(skiff.ok(&["system", "df", "-v"]).lines().any(|line| line.contains("  package ")));
    skiff.ok(&["system", "prune", "-f"]);
    assert_eq!(kept().len(), 3);
    skiff.ok(&["system", "prune", "-af"]);
    assert_eq!(kept().len(), 0);
    assert!(cached().contains("Build Cache 0 0B"), "{}", cached());
}

#[test]
fn the_distribution_s_own_archive_gives_an_image_without_a_shell() {
    testkit::require("debootstrap", "debootstrap");
    let skiff = Skiff::new();
    let words = ["image", "bootstrap", "debian:bookworm", "--mirror", "http://deb.debian.org/debian"];
    let id = skiff.ok(&[&words, &QUIET[..], &["ca-certificates", "busybox-static", "zlib1g"]].concat());
    let id = id.trim_end();
    let run = |words: &[&str]| skiff.ok(&[&["run", "--rm", "debian:bookworm", "busybox"], words].concat());
    assert!(run(&["cat", "/etc/os-release"]).contains("VERSION_CODENAME=bookworm"));
    let installed = run(&["ls", "/var/lib/dpkg/status.d"]);
    let installed: Vec<&str> = installed.lines().filter(|name| !name.ends_with(".md5sums")).collect();
    assert_eq!(
        installed,
        ["base-files", "busybox-static", "ca-certificates", "gcc-12-base", "libc6", "libgcc-s1", "zlib1g"]
    );
    assert!(
        run(&["grep", "-c", "BEGIN CERTIFICATE", "/etc/ssl/certs/ca-certificates.crt"])
            .trim()
            .parse::<u32>()
            .unwrap()
            > 100
    );
    assert_eq!(skiff.run(&["run", "--rm", id, "/bin/sh"]).code, 127);
    assert_eq!(skiff.run(&["run", "--rm", id, "/lib64/ld-linux-x86-64.so.2", "--version"]).code, 0);
}

/// Writes down what it is asked, and leaves what depends on the time and the host.
const DPKG: &str = "#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        --force*) ;;
        /*) [ -r $1 ] || exit 9; echo -n ' file' >> /var/lib/asked ;;
        --audit) exit 0 ;;
        *) echo -n \" $1\" >> /var/lib/asked ;;
    esac
    shift
done
echo >> /var/lib/asked
mkdir -p /var/log/apt
date +%N > /etc/passwd-
date +%N > /var/log/apt/term.log
date +%N > /var/log/dpkg.log
date +%N > /run/x
date +%N > /tmp/x
date +%N > /etc/machine-id
echo \"root:*:$(($(date +%s) / 86400)):0:99999:7:::\" > /etc/shadow
";

#[test]
fn a_minimal_system_is_configured_in_a_container_and_nothing_of_that_run_stays() {
    let (archive, skiff) = (Archive::with_dpkg(DPKG), Skiff::new());
    let make = |tag: &str| {
        let output = skiff.run(&archive.arguments(&["-q", "-t", tag, "second"]));
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        output.stdout
    };
    assert_eq!(make("a"), make("b"));
    let run = |words: &[&str]| skiff.ok(&[&["run", "--rm", "a"], words].concat());
    let asked = "\
--install file
 --install file
 --unpack file file file file
 --configure -a
 --unpack file
 --configure -a
 --unpack file
 --configure -a
 --configure -a
";
    assert_eq!(run(&["cat", "/var/lib/asked"]).trim_start(), asked);
    assert_eq!(run(&["cat", "/etc/machine-id"]), "");
    assert_eq!(run(&["cat", "/etc/shadow"]), "root:*:20645:0:99999:7:::\n");
    for (folder, holds) in
        [("/var/log", "apt\n"), ("/var/log/apt", ""), ("/tmp", ""), ("/run", "lock\n"), ("/var/cache", "")]
    {
        assert_eq!(run(&["ls", folder]), holds, "{folder}");
    }
    assert_eq!(skiff.run(&["run", "--rm", "a", "cat", "/etc/passwd-"]).code, 1);
    // What is installed later goes into layers: nothing that can be fetched again, and no service is started.
    assert!(run(&["cat", "/etc/apt/apt.conf.d/docker-clean"]).contains("Dir::Cache::pkgcache \"\";\n"));
    assert_eq!(run(&["cat", "/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"]), "force-unsafe-io\n");
    assert_eq!(skiff.run(&["run", "--rm", "a", "/usr/sbin/policy-rc.d"]).code, 101);
    assert_eq!(run(&["stat", "-c", "%Y", "/var/lib/asked"]), "1783764997\n");
    assert_eq!(skiff.said("{{json .Config.Cmd}}", "a"), "[\"sh\"]");
    // Neither the container nor the image of the way there.
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
    assert_eq!(skiff.ok(&["images", "-aq"]).lines().count(), 1);
}

#[test]
fn scripts_that_fail_are_quoted_and_leave_nothing() {
    let (archive, skiff) = (Archive::with_dpkg("#!/bin/sh\necho broken at $3\nexit 7\n"), Skiff::new());
    let failed = skiff.run(&archive.arguments(&["-q", "first"]));
    assert_eq!((failed.code, failed.stdout.as_str()), (1, ""));
    assert!(failed.stderr.contains("the scripts of packages ended with code 7"), "{failed:?}");
    assert!(failed.stderr.contains("broken at --force-depends"), "{failed:?}");
    assert_eq!((skiff.ok(&["ps", "-aq"]), skiff.ok(&["images", "-aq"])), (String::new(), String::new()));
    let platform = if architecture() == "amd64" { "linux/arm64" } else { "linux/amd64" };
    let foreign = skiff.run(&archive.arguments(&["-q", "--platform", platform, "first"]));
    assert!(foreign.code == 1 && foreign.stderr.contains("do not run on this host"), "{foreign:?}");
}

/// A `dpkg` that never comes to an end.
const ENDLESS: &str = "#!/bin/sh\necho waiting\ntouch /begun\nwhile :; do sleep 1000; done\n";

#[test]
fn scripts_that_do_not_end_are_ended() {
    let (archive, skiff) = (Archive::with_dpkg(ENDLESS), Skiff::new());
    let failed = skiff.run(&archive.arguments(&["-q", "--timeout", "1s", "first"]));
    assert_eq!((failed.code, failed.stdout.as_str()), (1, ""));
    assert!(failed.stderr.contains("have not ended within 1 s"), "{failed:?}");
    assert!(failed.stderr.ends_with("waiting\n"), "{failed:?}");
    assert_eq!((skiff.ok(&["ps", "-aq"]), skiff.ok(&["images", "-aq"])), (String::new(), String::new()));
}

#[test]
fn who_is_killed_takes_the_scripts_along() {
    let (archive, skiff) = (Archive::with_dpkg(ENDLESS), Skiff::new());
    let mut child = skiff.command(&archive.arguments(&["-q", "first"])).spawn().unwrap();
    testkit::wait_until("the scripts run", || {
        let id = skiff.ok(&["ps", "-q"]);
        !id.is_empty() && skiff.run(&["exec", id.trim(), "cat", "/begun"]).code == 0
    });
    child.kill().unwrap();
    child.wait().unwrap();
    testkit::wait_until("the container is gone", || skiff.ok(&["ps", "-aq"]).is_empty());
    // The image of the way there goes with the next.
    assert_eq!(skiff.ok(&["images", "-aq"]).lines().count(), 1);
    let other = skiff.run(&archive.arguments(&["-q", "--timeout", "1s", "first"]));
    assert!(other.stderr.contains("have not ended"), "{other:?}");
    assert_eq!(skiff.ok(&["images", "-aq"]), "");
    assert_eq!(std::fs::read_dir(skiff.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_makes_both_variants_the_same_as_root_does() {
    let archive = Archive::with_dpkg(DPKG);
    archive.open_to_all();
    let (root, user) = (Skiff::new(), testkit::User::new());
    let skiff = Skiff::of(&user);
    for variant in ["minbase", "distroless"] {
        let words = archive.arguments(&["-q", "--variant", variant, "-t", variant, "second"]);
        let made = skiff.run(&words);
        assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{variant}");
        assert_eq!(made.stdout, root.ok(&words), "{variant}");
    }
    assert_eq!(skiff.ok(&["run", "--rm", "minbase", "cat", "/etc/os-release"]), "ID=test\n");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn the_distribution_s_own_archive_gives_the_same_system_twice() {
    testkit::require("debootstrap", "debootstrap");
    let words = [
        "image",
        "bootstrap",
        "-q",
        "debian:bookworm",
        "--mirror",
        "http://deb.debian.org/debian",
        "netbase",
    ];
    let (one, other) = (Skiff::new(), Skiff::new());
    let id = one.ok(&words);
    assert_eq!(other.ok(&words), id);
    let run = |words: &[&str]| one.ok(&[&["run", "--rm", "debian:bookworm"], words].concat());
    assert!(run(&["dpkg", "-l", "netbase"]).contains("\nii  netbase "));
    assert_eq!(run(&["dpkg", "--audit"]), "");
    assert_eq!(run(&["sh", "-c", "cd / && cat /var/lib/dpkg/info/*.md5sums | md5sum -c --quiet"]), "");
    let mut installed: Vec<String> =
        run(&["dpkg-query", "-W", "-f", "${Package}\n"]).lines().map(str::to_owned).collect();
    installed.retain(|name| name != "netbase");
    installed.sort();
    let expected = packages::debootstrapped("bookworm", one.folder());
    assert_eq!(installed, expected);
}
