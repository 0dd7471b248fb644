//! A root file system of Debian's static busybox, a plan to run it with, and the program that does.

#![allow(
    clippy::disallowed_methods,
    dead_code,
    clippy::unwrap_used,
    reason = "tests handle their own files; each uses its part of this"
)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::plan::*;
use serde_json::{Value, json};
use testkit::Scratch;

/// A folder of the test's own, gone at its end.
pub(crate) struct Folder(Scratch);

impl Folder {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes containers and needs root: run it as root"
        );
        Self(Scratch::new())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A root file system at `name`.
    pub(crate) fn busybox(&self, name: &str) -> PathBuf {
        let root = self.0.join(name);
        for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "ls", "id", "echo", "sleep", "true", "stat", "mount", "readlink", "test", "env",
            "pwd", "ps", "hostname", "grep", "touch", "mkdir", "kill", "stty", "tty", "head", "umount",
            "mknod", "ip", "dd", "wc",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\nvideo:x:44:user\n").unwrap();
        root
    }
}

/// Docker's fourteen.
pub(crate) const DEFAULT_CAPABILITIES: u64 = 0xa80425fb;

fn mount(target: &str, fstype: &str, options: &[&str], attributes: MountAttributes) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::New {
            fstype: fstype.into(),
            source: fstype.into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            copy_up: false,
        },
        attributes,
        propagation: None,
        id_map: MountIdMap::None,
    }
}

pub(crate) fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Bind { source: source.to_owned(), recursive: true },
        attributes: MountAttributes::default(),
        propagation: Some(Propagation::RecursivePrivate),
        id_map: MountIdMap::Container,
    }
}

/// The mounts that Docker gives every container.
pub(crate) fn default_mounts() -> Vec<Mount> {
    let plain = MountAttributes { nosuid: true, nodev: true, noexec: true, ..MountAttributes::default() };
    let readonly = MountAttributes { readonly: true, ..plain };
    let dev = MountAttributes { nosuid: true, access_time: AccessTime::Strict, ..MountAttributes::default() };
    let pts = MountAttributes { nosuid: true, noexec: true, ..MountAttributes::default() };
    vec![
        mount("/proc", "proc", &[], plain),
        mount("/dev", "tmpfs", &["mode=755", "size=65536k"], dev),
        mount("/dev/pts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"], pts),
        mount("/sys", "sysfs", &[], readonly),
        Mount {
            target: "/sys/fs/cgroup".into(),
            kind: MountKind::Cgroup,
            attributes: readonly,
            propagation: None,
            id_map: MountIdMap::None,
        },
        mount("/dev/mqueue", "mqueue", &[], plain),
        mount("/dev/shm", "tmpfs", &["mode=1777", "size=67108864"], plain),
    ]
}

pub(crate) fn process(args: &[&str]) -> ProcessPlan {
    ProcessPlan {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        create_cwd: false,
        user: User::Ids { uid: 0, gid: 0, groups: Vec::new() },
        umask: None,
        capabilities: Capabilities {
            bounding: DEFAULT_CAPABILITIES,
            effective: DEFAULT_CAPABILITIES,
            permitted: DEFAULT_CAPABILITIES,
            ..Capabilities::default()
        },
        no_new_privileges: true,
        seccomp: None,
        rlimits: Vec::new(),
        oom_score_adj: None,
        terminal: None,
        reaper: false,
        io_priority: None,
        scheduler: None,
        cpu_affinity: CpuAffinity::default(),
        apparmor_profile: None,
        selinux_label: None,
        preserve_fds: 0,
    }
}

/// Everything but the user namespace new, as Docker has it by default.
pub(crate) fn plan(root: &Path, args: &[&str]) -> LaunchPlan {
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    LaunchPlan {
        id: "test".into(),
        namespaces: Namespaces {
            user: Namespace::Inherit,
            mount: Namespace::New,
            pid: Namespace::New,
            network: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
            time: Namespace::New,
        },
        id_maps: IdMaps::default(),
        root: Root {
            source: RootSource::Directory(root.to_owned()),
            readonly: false,
            propagation: Propagation::RecursivePrivate,
        },
        mounts: default_mounts(),
        devices: Vec::new(),
        masked_paths: paths(&[
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/timer_list",
            "/sys/firmware",
        ]),
        readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        hostname: Some("boat".into()),
        domainname: None,
        sysctls: Vec::new(),
        time_offsets: None,
        cgroup: None,
        process: process(args),
        hooks: Hooks::default(),
        personality: None,
        memory_policy: None,
        loopback: true,
        new_session_keyring: true,
        no_pivot: false,
        start_gate: None,
        ends_with_supervisor: false,
    }
}

/// A user namespace of the container's own, from host id 200000 on.
pub(crate) fn with_user_namespace(mut plan: LaunchPlan) -> LaunchPlan {
    let map = vec![IdMap { inside: 0, outside: 200_000, count: 65_536 }];
    plan.namespaces.user = Namespace::New;
    plan.id_maps = IdMaps { uid: map.clone(), gid: map };
    plan
}

/// What came of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Value,
}

impl Outcome {
    pub(crate) fn status(&self) -> u64 {
        self.report["status"].as_u64().unwrap_or_else(|| panic!("it did not run: {self:?}"))
    }

    pub(crate) fn error(&self) -> &str {
        self.report["error"].as_str().unwrap_or_else(|| panic!("it did not fail: {self:?}"))
    }

    /// The output of a program that succeeded.
    pub(crate) fn output(&self) -> &str {
        assert_eq!(self.status(), 0, "{self:?}");
        &self.stdout
    }
}

/// Starts `plan` and gives its whole output.
pub(crate) fn run(folder: &Folder, plan: &LaunchPlan) -> Outcome {
    run_with(folder, plan, json!({}))
}

pub(crate) fn run_with(folder: &Folder, plan: &LaunchPlan, more: Value) -> Outcome {
    let (child, report) = start(folder, plan, more);
    let output = child.finish();
    let report = std::fs::read(&report)
        .unwrap_or_else(|_| panic!("the driver died: {:?}", String::from_utf8_lossy(&output.stderr)));
    Outcome {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        report: serde_json::from_slice(&report).unwrap(),
    }
}

/// A running driver, which ends with its test.
pub(crate) struct Driver(Option<Child>);

impl Driver {
    /// Its output, once it and its container have ended.
    pub(crate) fn finish(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    /// Waits until its container is parked, as the scenario wants it; the report.
    pub(crate) fn wait_parked(&mut self, report: &Path) -> Value {
        while !report.exists() {
            assert!(self.0.as_mut().unwrap().try_wait().unwrap().is_none(), "the driver died");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The running driver, and where its report will be.
pub(crate) fn start(folder: &Folder, plan: &LaunchPlan, more: Value) -> (Driver, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (scenario, report) =
        (folder.path().join(format!("scenario{number}")), folder.path().join(format!("report{number}")));
    if let Some(uid) = more["uid"].as_u64().and_then(|uid| u32::try_from(uid).ok()) {
        // For the report.
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(uid)).unwrap();
    }
    let mut document = json!({ "plan": plan });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    std::fs::write(&scenario, document.to_string()).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_runtime-testrun"))
        .args([&scenario, &report])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (Driver(Some(child)), report)
}
