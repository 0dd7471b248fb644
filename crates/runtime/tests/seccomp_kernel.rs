//! The kernel's own reading of compiled filters, by every entry point of x86.
//!
//! A small C program installs the filter and makes the calls, since nothing else can enter the kernel as a 32-bit
//! program does; it is built by the C compiler that links every Rust program.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use std::path::{Path, PathBuf};
use std::process::Command;

use runtime::seccomp::{Abi, Context, Profile, compile};
use testkit::Scratch;

fn probe(folder: &Path) -> PathBuf {
    let program = folder.join("probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/seccomp_probe.c");
    let status =
        Command::new("cc").args(["-static", "-no-pie", "-O1", "-o"]).arg(&program).arg(source).status();
    assert!(status.expect("a C compiler is needed").success());
    program
}

/// What the kernel answers to each call under `profile`.
fn answers(profile: &Profile, calls: &[&str]) -> Vec<String> {
    let folder = Scratch::new();
    let context = Context { arch: Abi::X86_64, capabilities: 0, kernel: (6, 1) };
    let filter = folder.join("filter");
    std::fs::write(&filter, compile(profile, &context).unwrap()).unwrap();
    let output = Command::new(probe(&folder)).arg(&filter).args(calls).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

const X32: u32 = 0x4000_0000;

#[test]
fn the_built_in_profile_holds_on_every_entry_point() {
    let x32_socket = format!("64:{}:38:5:0", X32 | 41);
    let x32_getpid = format!("64:{}:0:0:0", X32 | 39);
    let table: &[(&str, &str)] = &[
        ("64:39:0:0:0", "0"),            // getpid
        ("64:41:1:1:0", "0"),            // socket(unix, stream)
        ("64:41:38:5:0", "-1"),          // socket(alg): EPERM
        ("64:41:0x100000026:5:0", "-1"), // the same, hidden above the half the kernel looks at
        ("64:41:40:1:0", "-1"),          // socket(vsock)
        ("64:41:16:3:0", "0"),           // socket(netlink, raw, route)
        ("64:41:16:3:6", "-1"),          // socket(netlink, raw, xfrm)
        ("64:53:38:5:0", "-1"),          // socketpair(alg)
        ("64:425:1:0:0", "-1"),          // io_uring_setup
        ("64:165:0:0:0", "-1"),          // mount
        ("64:435:0:0:0", "-38"),         // clone3: ENOSYS
        ("64:272:0x10000000:0:0", "-1"), // unshare(user)
        ("64:135:0xffffffff:0:0", "0"),  // personality: which?
        ("64:135:0x0040000:0:0", "-1"),  // personality(ADDR_NO_RANDOMIZE)
        ("64:600:0:0:0", "-38"),         // no such call
        ("32:20:0:0:0", "0"),            // getpid
        ("32:359:1:1:0", "0"),           // socket(unix, stream)
        ("32:359:38:5:0", "-1"),         // socket(alg)
        ("sc:102:1:38:5", "-38"),        // socketcall(socket, alg): ENOSYS
        ("sc:102:1:1:1", "-38"),         // socketcall(socket, unix): nobody can look
        ("sc:102:13:99:0", "-9"),        // socketcall(shutdown) of no descriptor: EBADF from the kernel
        (&x32_socket, "-1"),
    ];
    let calls: Vec<&str> = table.iter().map(|(call, _)| *call).chain([x32_getpid.as_str()]).collect();
    let answers = answers(&Profile::builtin(), &calls);
    for ((call, expected), answer) in table.iter().zip(&answers) {
        assert_eq!(answer, expected, "{call}");
    }
    // Allowed by the filter, served only by kernels built for x32.
    assert!(["0", "-38"].contains(&answers[table.len()].as_str()), "{answers:?}");
}

#[test]
fn entry_points_that_a_profile_does_not_name_are_killed() {
    let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
        "syscalls":[{"names":["getppid"],"action":"SCMP_ACT_KILL_PROCESS"},
                    {"names":["getuid"],"action":"SCMP_ACT_ERRNO","errnoRet":77}]}"#;
    let x32 = format!("64:{}:0:0:0", X32 | 39);
    let calls = ["64:39:0:0:0", "64:102:0:0:0", "64:110:0:0:0", "32:20:0:0:0", &x32];
    let answers = answers(&Profile::parse(text).unwrap(), &calls);
    assert_eq!(answers, ["0", "-77", "signal 31", "signal 31", "signal 31"]);
}

#[test]
fn large_arguments_are_compared_whole() {
    // The second argument of lseek, on no descriptor: EBADF where allowed.
    let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["lseek"],"action":"SCMP_ACT_ERRNO","errnoRet":50,
            "args":[{"index":1,"value":4294967296,"op":"SCMP_CMP_GT"}]},
        {"names":["lseek"],"action":"SCMP_ACT_ERRNO","errnoRet":51,
            "args":[{"index":1,"value":15,"valueTwo":5,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    let calls = ["64:8:99:4294967295:0", "64:8:99:4294967296:0", "64:8:99:4294967297:0", "64:8:99:0x15:0"];
    let answers = answers(&Profile::parse(text).unwrap(), &calls);
    assert_eq!(answers, ["-9", "-9", "-50", "-51"]);
}
