//! A container of the distribution's busybox, run by the real monitor binary in a folder of the test's own.

#![allow(
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "tests handle their own files; each uses its part of this"
)]

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use monitor::status::{self, Status};
use monitor::{AttachStdio, Connection, Exit, LogPlan, MonitorPlan, Running, StopPlan};
use runtime::plan::*;
use testkit::Scratch;

pub const MONITOR: &str = env!("CARGO_BIN_EXE_skiff-monitor");

/// A folder, gone at the end with everything that runs in it.
pub struct Harbour {
    pub path: PathBuf,
    pub id: String,
    pub cgroup: Option<PathBuf>,
    _folder: Scratch,
}

impl Harbour {
    pub fn new() -> Harbour {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes containers and needs root: run it as root"
        );
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Scratch::new();
        let path = folder.to_path_buf();
        let id = format!("{:032x}{:016x}{number:016x}", 0xb0a7, std::process::id());
        let harbour = Harbour { path, id, cgroup: None, _folder: folder };
        std::fs::create_dir(harbour.path.join("run")).unwrap();
        std::fs::create_dir_all(harbour.container_dir()).unwrap();
        harbour.busybox();
        harbour
    }

    fn busybox(&self) {
        let root = self.path.join("rootfs");
        for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("install busybox-static");
        for applet in [
            "sh", "cat", "echo", "sleep", "true", "false", "head", "stty", "yes", "printf", "kill", "dd",
            "tr", "seq", "od",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    }

    pub fn run_dir(&self) -> PathBuf {
        self.path.join("run").join(&self.id)
    }

    pub fn container_dir(&self) -> PathBuf {
        self.path.join("containers").join(&self.id)
    }

    pub fn log_path(&self) -> PathBuf {
        self.container_dir().join("log.json")
    }

    /// A plan for `sh -c script`.
    pub fn script(&self, script: &str) -> MonitorPlan {
        self.plan(&["sh", "-c", script])
    }

    pub fn plan(&self, args: &[&str]) -> MonitorPlan {
        MonitorPlan {
            id: self.id.clone(),
            launch: launch(&self.path.join("rootfs"), args),
            run_dir: self.run_dir(),
            container_dir: self.container_dir(),
            shm_dir: None,
            database: None,
            event_log: None,
            event_attributes: vec![("image".into(), "busybox".into())],
            log: Some(LogPlan::new(self.log_path())),
            drift: monitor::DriftMode::None,
            open_stdin: false,
            stdin_once: false,
            stop: StopPlan::default(),
            health: None,
            restart: monitor::RestartPolicy::No,
            peers: Vec::new(),
            auto_remove: false,
            ends_with_caller: false,
            trace: None,
        }
    }

    /// Gives the plan a control group of the test's own.
    pub fn with_cgroup(&mut self, plan: &mut MonitorPlan, limits: cgroup::Limits) {
        let path = PathBuf::from(format!("/skiff-monitor-test-{}", self.id));
        plan.launch.cgroup = Some(cgroup::Plan { path: path.clone(), limits });
        self.cgroup = Some(path);
    }

    pub fn start(&self, plan: &MonitorPlan) -> Running {
        self.start_attached(plan, None)
    }

    pub fn start_attached(&self, plan: &MonitorPlan, attach: Option<AttachStdio>) -> Running {
        monitor::spawn(Path::new(MONITOR), plan, attach).unwrap().wait_running().unwrap()
    }

    /// Runs to the end, with everything in the log.
    pub fn run(&self, plan: &MonitorPlan) -> Exit {
        let mut running = self.start(plan);
        running.wait_exit().unwrap().exit().clone()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.run_dir()).unwrap()
    }

    pub fn status(&self) -> Status {
        status::read(&self.run_dir()).unwrap().unwrap()
    }

    /// What a stream said, from the log.
    pub fn logged(&self, stream: &str) -> String {
        log_lines(&self.log_path()).into_iter().filter(|line| line.0 == stream).map(|line| line.1).collect()
    }

    /// Waits until the log says `text`.
    pub fn wait_logged(&self, text: &str) {
        wait_until(&format!("the log says {text:?}"), || {
            self.log_path().exists() && (self.logged("stdout") + &self.logged("stderr")).contains(text)
        });
    }

    /// Waits until the monitor has left.
    pub fn wait_vacated(&self) {
        wait_until("the run directory is gone", || !self.run_dir().exists());
    }
}

impl Drop for Harbour {
    fn drop(&mut self) {
        // A failed test may leave a container behind: it must not outlive the test.
        if let Ok(mut connection) = Connection::open(&self.run_dir()) {
            let _killed = connection.signal(9);
            let _ended = connection.wait();
        }
        if std::thread::panicking() {
            let _reaped = monitor::reap_lost(&self.run_dir(), self.cgroup.as_deref());
        } else {
            self.wait_vacated();
        }
    }
}

/// Stream and text of each line of a log.
pub fn log_lines(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    // One that is being written waits for its end.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap().to_owned();
            assert!(field("time").ends_with('Z'), "{line}");
            (field("stream"), field("log"))
        })
        .collect()
}

/// Panics when `condition` does not come true within ten seconds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A pipe whose handed end the monitor accepts.
pub fn output_pipe() -> (std::fs::File, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    set_nonblocking(&writer);
    (std::fs::File::from(OwnedFd::from(reader)), writer)
}

/// The other way round.
pub fn input_pipe() -> (OwnedFd, std::fs::File) {
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = OwnedFd::from(reader);
    set_nonblocking(&reader);
    (reader, std::fs::File::from(OwnedFd::from(writer)))
}

fn set_nonblocking(descriptor: impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(&descriptor).unwrap();
    rustix::fs::fcntl_setfl(&descriptor, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
}

/// Reads to the end of a stream.
pub fn read_all(mut from: std::fs::File) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

/// Waits for the end of a container while it reads what that says on standard output, to the last byte.
pub fn read_to_exit(running: &mut Running, stdout: std::fs::File) -> (Exit, Vec<u8>) {
    let reader = std::thread::spawn(move || read_all(stdout));
    let ended = running.wait_exit().unwrap();
    let exit = ended.exit().clone();
    let mut said = reader.join().unwrap();
    // A reader that was slow gets the rest with the exit.
    if let Some(tail) = ended.into_tails().stdout {
        said.extend(read_all(tail.into()));
    }
    (exit, said)
}

/// As `assert_eq!`, for texts that nobody wants to see whole.
pub fn assert_same(left: &str, right: &str) {
    let at = left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count();
    let near = |text: &str| text.get(at.saturating_sub(20)..(at + 20).min(text.len())).map(str::to_owned);
    assert!(left == right, "they differ at {at}: {:?} and {:?}", near(left), near(right));
}

/// Whether a process of this number is alive (not a zombie).
pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

/// SIGKILL.
pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn mount(target: &str, fstype: &str, options: &[&str]) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::New {
            fstype: fstype.into(),
            source: fstype.into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            copy_up: false,
        },
        attributes: MountAttributes { nosuid: true, noexec: true, ..MountAttributes::default() },
        propagation: None,
        id_map: MountIdMap::None,
    }
}

pub fn process(args: &[&str]) -> ProcessPlan {
    ProcessPlan {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        create_cwd: false,
        user: User::Ids { uid: 0, gid: 0, groups: Vec::new() },
        umask: None,
        capabilities: Capabilities::default(),
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

fn launch(root: &Path, args: &[&str]) -> LaunchPlan {
    LaunchPlan {
        id: "test".into(),
        namespaces: Namespaces {
            user: Namespace::Inherit,
            mount: Namespace::New,
            pid: Namespace::New,
            network: Namespace::Inherit,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::Inherit,
            time: Namespace::Inherit,
        },
        id_maps: IdMaps::default(),
        root: Root {
            source: RootSource::Directory(root.to_owned()),
            readonly: false,
            propagation: Propagation::RecursivePrivate,
        },
        mounts: vec![
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["mode=755"]),
            mount("/dev/pts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]),
        ],
        devices: vec![Device {
            path: "/dev/zero".into(),
            kind: DeviceKind::Char,
            major: 1,
            minor: 5,
            mode: 0o666,
            uid: 0,
            gid: 0,
            source: "/dev/zero".into(),
        }],
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        hostname: None,
        domainname: None,
        sysctls: Vec::new(),
        time_offsets: None,
        cgroup: None,
        process: process(args),
        hooks: Hooks::default(),
        personality: None,
        memory_policy: None,
        loopback: false,
        new_session_keyring: false,
        no_pivot: false,
        start_gate: None,
        ends_with_supervisor: false,
    }
}
