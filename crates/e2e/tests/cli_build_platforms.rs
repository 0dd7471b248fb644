//! Builds for several platforms: through all outputs, with an emulator that the kernel knows, and without one.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::{Output, Registry, RegistryOptions, Scratch, Skiff, require};

struct Workshop {
    skiff: Skiff,
    context: PathBuf,
}

impl Workshop {
    fn new(dockerfile: &str) -> Workshop {
        let skiff = Skiff::with_busybox().that_builds();
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        Workshop { skiff, context }
    }

    fn try_build(&self, flags: &[&str]) -> Output {
        let context = self.context.to_str().unwrap();
        self.skiff.run(&[&["build", "--progress=plain", "--network=none"], flags, &[context]].concat())
    }

    fn build(&self, flags: &[&str]) -> String {
        let output = self.try_build(flags);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }
}

fn skopeo(arguments: &[&str]) -> Value {
    let output = Command::new("skopeo").args(arguments).output().expect("run skopeo");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// The platforms of an index, but for what is attested.
fn platforms(index: &Value) -> BTreeSet<String> {
    let entries = index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]);
    let known = entries.filter(|platform| platform["os"] != "unknown");
    known
        .map(|platform| {
            format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap())
        })
        .collect()
}

/// Compiled here for each: only the last stage is another platform's, and nothing runs in it.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH
RUN echo $TARGETARCH > /out
FROM scratch
ARG TARGETPLATFORM
ENV FOR=$TARGETPLATFORM
COPY --from=build /out /out
";
const BOTH: &str = "--platform=linux/amd64,linux/arm64";

#[test]
fn cross_builds_need_no_emulator_and_go_through_all_outputs() {
    let workshop = Workshop::new(CROSS);
    let (folder, base) = (Scratch::new(), workshop.skiff.folder().to_path_buf());
    let wanted = BTreeSet::from(["linux/amd64".to_owned(), "linux/arm64".to_owned()]);
    let file = |name: &str| base.join(name).display().to_string();
    // The store: one name, an image each.
    let said = workshop.build(&[BOTH, "-t", "cross:1"]);
    for words in ["[linux/amd64 build 2/2]", "[linux/amd64->arm64 build 2/2]", "[linux/arm64 stage-1 1/1]"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let tree = workshop.skiff.ok(&["images", "--tree"]);
    assert!(tree.contains("linux/amd64") && tree.contains("linux/arm64"), "{tree}");
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let shown = [
            "image",
            "inspect",
            "--platform",
            &platform,
            "-f",
            "{{.Architecture}} {{.Config.Env}}",
            "cross:1",
        ];
        assert!(workshop.skiff.ok(&shown).starts_with(&format!("{architecture} [")), "{platform}");
    }
    // An archive of OCI's, whose blobs are all there.
    let oci = file("oci.tar");
    workshop.build(&[BOTH, "-t", "cross:1", "-o", &format!("type=oci,dest={oci}")]);
    let place = format!("oci-archive:{oci}:1");
    assert_eq!(platforms(&skopeo(&["inspect", "--raw", &place])), wanted);
    skopeo(&["copy", "-q", "--all", &place, &format!("dir:{}", file("copy"))]);
    // One of Docker's knows one image a name.
    let refused = workshop.try_build(&[
        BOTH,
        "-t",
        "cross:1",
        "-o",
        &format!("type=docker,dest={}", file("docker.tar")),
    ]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("docker exporter does not currently support exporting manifest lists"),
        "{}",
        refused.stderr
    );
    // File systems lie in a folder each.
    let local = file("local");
    workshop.build(&[BOTH, "-o", &local]);
    for architecture in ["amd64", "arm64"] {
        let said = std::fs::read_to_string(format!("{local}/linux_{architecture}/out")).unwrap();
        assert_eq!(said.trim(), architecture);
    }
    workshop.build(&[BOTH, "-o", &format!("type=tar,dest={}", file("files.tar"))]);
    let listed = Command::new("tar").args(["-tf", &file("files.tar")]).output().unwrap();
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        "linux_amd64/\nlinux_amd64/out\nlinux_arm64/\nlinux_arm64/out\n"
    );
    // A registry has an index under the tag, with what is attested of each.
    let registry = Registry::start(&folder, &RegistryOptions::default());
    let name = format!("{}/cross:1", registry.address());
    workshop.build(&[BOTH, "-t", &name, "--push"]);
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    assert_eq!((platforms(&raw), raw["manifests"].as_array().unwrap().len()), (wanted, 4));
    let metadata = file("metadata.json");
    workshop.build(&[BOTH, "--metadata-file", &metadata]);
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    for architecture in ["amd64", "arm64"] {
        assert!(metadata[format!("buildx.build.provenance/linux/{architecture}")].is_object(), "{metadata}");
    }
}

/// A program of 64 bits for a machine: as an ELF file, loaded whole.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x10000;
    const START: u64 = 64 + 56;
    let size = START + code.len() as u64;
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend(2_u16.to_le_bytes());
    out.extend(machine.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    for word in [BASE + START, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    out.extend(5_u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 0x1000] {
        out.extend(word.to_le_bytes());
    }
    out.extend(code);
    out
}

/// A program for arm64 that writes `arm64` into `/made` and to its output.
fn for_arm64() -> Vec<u8> {
    let (path, text) = (b"/made\0\0\0", b"arm64\n");
    // `adr` names a place by its distance.
    let place = |from: usize, to: usize, register: u32| {
        let distance = u32::try_from(to - from).unwrap() * 4;
        0x1000_0000 | (distance & 3) << 29 | (distance >> 2) << 5 | register
    };
    const CODE: usize = 16;
    let number = |value: u32, register: u32| 0xd280_0000 | value << 5 | register;
    const CALL: u32 = 0xd400_0001;
    let code = [
        // openat(AT_FDCWD, path, O_WRONLY | O_CREAT, 0644)
        0x9280_0c60,
        place(1, CODE, 1),
        number(0x41, 2),
        number(0o644, 3),
        number(56, 8),
        CALL,
        // write(it, text, 6), write(1, text, 6)
        place(6, CODE + 2, 1),
        number(6, 2),
        number(64, 8),
        CALL,
        number(1, 0),
        CALL,
        // exit(0)
        number(0, 0),
        number(93, 8),
        CALL,
        CALL,
    ];
    let code: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    elf(183, &[&code[..], path, text].concat())
}

#[test]
fn without_an_emulator_it_is_said_what_to_install() {
    // Of a machine that no distribution has an emulator registered for.
    let workshop = Workshop::new("FROM scratch\nCOPY --chmod=755 program /bin/sh\nRUN echo x\n");
    std::fs::write(workshop.context.join("program"), elf(258, &[0; 16])).unwrap();
    let refused = workshop.try_build(&["--platform=linux/loong64"]);
    assert_eq!(refused.code, 1);
    for words in [
        "it is a program for loong64",
        "has no emulator for such",
        "qemu-user-static",
        "FROM --platform=$BUILDPLATFORM",
    ] {
        assert!(refused.stderr.contains(words), "no {words:?} in {}", refused.stderr);
    }
    // A script is as good as what runs it; what is no program at all is no question of machines.
    std::fs::write(workshop.context.join("script"), "#!/bin/sh\n").unwrap();
    std::fs::write(workshop.context.join("text"), "hello\n").unwrap();
    let dockerfile = "FROM scratch\nCOPY --chmod=755 program /bin/sh\nCOPY --chmod=755 script text /\n";
    for (run, is_foreign) in
        [("RUN [\"/script\"]", true), ("RUN [\"/text\"]", false), ("RUN [\"/none\"]", false)]
    {
        std::fs::write(workshop.context.join("Dockerfile"), format!("{dockerfile}{run}\n")).unwrap();
        let refused = workshop.try_build(&[]);
        assert_eq!(refused.code, 1);
        assert_eq!(refused.stderr.contains("emulator"), is_foreign, "{run}: {}", refused.stderr);
    }
}

/// An emulator for arm64 that the kernel knows as long as this lives; the host's, if it has one.
struct Emulator(Option<Child>);

impl Emulator {
    fn new() -> Emulator {
        require("qemu-aarch64-static", "qemu-user-static");
        let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap();
        assert!(filesystems.contains("binfmt_misc"), "this test needs a kernel with binfmt_misc");
        // What is registered goes when nobody has the file system mounted any more, which a namespace of its own has.
        let script = r#"
            cd /proc/sys/fs && { [ -e binfmt_misc/register ] || mount -t binfmt_misc none binfmt_misc; } && cd binfmt_misc || exit 1
            if ! grep -lqs 'magic 7f454c46020101.*b700$' * 2>/dev/null; then
                printf '%s' ':skiff-test-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$(command -v qemu-aarch64-static)"':F' > register || exit 1
                trap 'echo -1 > skiff-test-arm64' EXIT
            fi
            echo ready; read -r end; exit 0
        "#;
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "an emulator cannot be registered");
        Emulator(Some(child))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It ends with its input.
            drop(child.stdin.take());
            drop(child.wait());
        }
    }
}

#[test]
fn programs_of_another_platform_run_by_an_emulator() {
    let workshop = Workshop::new(
        "FROM scratch\nARG TARGETARCH\nCOPY busybox-$TARGETARCH /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"echo amd64 | /busybox tee /made\"]\nCMD [\"/busybox\", \"cat\", \"/made\"]\n",
    );
    std::fs::copy("/bin/busybox", workshop.context.join("busybox-amd64")).unwrap();
    let program = workshop.context.join("busybox-arm64");
    std::fs::write(&program, for_arm64()).unwrap();
    for name in ["busybox-amd64", "busybox-arm64"] {
        rustix::fs::chmod(workshop.context.join(name), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    }
    let emulator = Emulator::new();
    let out = workshop.skiff.folder().join("out");
    let said = workshop.build(&[BOTH, "-t", "emulated", "-o", "type=image", "-o", out.to_str().unwrap()]);
    assert!(said.lines().any(|line| line.ends_with(" arm64")), "{said}");
    for architecture in ["amd64", "arm64"] {
        let made = std::fs::read_to_string(out.join(format!("linux_{architecture}/made"))).unwrap();
        assert_eq!(made.trim(), architecture);
    }
    assert_eq!(workshop.skiff.ok(&["run", "--rm", "--platform=linux/arm64", "emulated"]), "arm64\n");
    drop(emulator);
}
