//! The kernel's floor: the system calls that a container like Skiff's cannot do without, and nothing else. No image is
//! resolved, nothing is recorded, logged, supervised or checked, and no error is told well.
//!
//! Written apart from the runtime, so that the two can be compared. A small process of its own makes the rounds, for
//! the clone of a large one takes longer.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use linux::mount::{ATTR_IDMAP, ATTR_RDONLY, MountChange, change_mount};
use linux::process::{
    CStringArray, Clone, Cloned, NEW_CGROUP, NEW_IPC, NEW_NET, NEW_NS, NEW_PID, NEW_TIME, NEW_USER, NEW_UTS,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{WaitId, WaitIdOptions};

use crate::measure::monotonic;

/// First host id of the user namespace.
const FIRST_ID: u32 = 300_000;
/// Version 1 hierarchies in which Skiff makes a group for any container.
const HIERARCHIES: [&str; 4] = ["cpu", "memory", "devices", "pids"];
/// Paths that Docker hides, and those it makes read-only.
const MASKED: [&str; 9] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/scsi",
    "sys/firmware",
];
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// What the rounds are made with.
pub(crate) struct Floor {
    /// The index of an image with one layer, and that layer.
    pub(crate) index: PathBuf,
    pub(crate) layer: PathBuf,
    /// A compiled seccomp filter.
    pub(crate) filter: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Floor {
    /// Makes the rounds in a process of their own; the answer is a list of steps and times for each.
    pub(crate) fn measure(&self, rounds: usize) -> Result<Vec<Vec<(String, u64)>>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").args([&self.index, &self.layer, &self.filter, &self.folder]);
        let output = command.arg(rounds.to_string()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("the floor cannot be measured: {}", output.status);
        }
        let text = String::from_utf8(output.stdout)?;
        let mut all: Vec<Vec<(String, u64)>> = Vec::new();
        for line in text.lines() {
            let (at, step) = line.split_once(' ').context("a mark without a step")?;
            if step == "begun" {
                all.push(Vec::new());
            }
            all.last_mut().context("a mark before the first round")?.push((step.to_owned(), at.parse()?));
        }
        Ok(all)
    }

    /// The process's own side; see [`Self::measure`].
    pub(crate) fn serve(arguments: &[String]) -> Result<()> {
        let [index, layer, filter, folder, rounds] = arguments else { bail!("five arguments are expected") };
        let floor =
            Self { index: index.into(), layer: layer.into(), filter: filter.into(), folder: folder.into() };
        let filter = std::fs::read(&floor.filter)?;
        // The flags stand before the program.
        let filter = filter.get(4..).context("an empty filter")?;
        for round in 0..rounds.parse()? {
            let (mut reader, writer) = std::io::pipe()?;
            let done = floor.round(round, filter, &OwnedFd::from(writer));
            let mut marks = String::new();
            reader.read_to_string(&mut marks)?;
            std::io::stdout().write_all(marks.as_bytes())?;
            done?;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    fn round(&self, round: usize, filter: &[u8], marks: &OwnedFd) -> Result<()> {
        let layers = self.folder.join(format!("floor-{round}"));
        for name in ["", "upper", "work"] {
            std::fs::create_dir(layers.join(name))?;
        }
        mark(marks, "begun");
        let name = format!("skiff-bench-floor-{}-{round}", std::process::id());
        let unified = Path::new("/sys/fs/cgroup/unified").join(&name);
        let legacy = HIERARCHIES.map(|hierarchy| Path::new("/sys/fs/cgroup").join(hierarchy).join(&name));
        for group in legacy.iter().chain([&unified]) {
            std::fs::create_dir(group)?;
        }
        std::fs::write(legacy[3].join("pids.max"), "4096")?;
        mark(marks, "control groups");
        let tasks = legacy.each_ref().map(|group| open(&group.join("tasks"), OFlags::WRONLY));
        let (near, far) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )?;
        let group = open(&unified, OFlags::RDONLY)?;
        let namespaces = NEW_USER | NEW_NS | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS;
        match linux::process::clone(Clone { namespaces, cgroup: Some(group.as_fd()), sibling: false })? {
            Cloned::Child => {
                let outcome = init(&far, &tasks, filter, marks);
                eprintln!("floor: {:#}", outcome.err().unwrap_or_else(|| anyhow::anyhow!("no program")));
                linux::process::exit_now(1)
            }
            Cloned::Parent { pid, pidfd } => {
                mark(marks, "clone");
                drop(far);
                for map in ["gid_map", "uid_map"] {
                    let path = format!("/proc/{}/{map}", pid.as_raw_nonzero());
                    std::fs::write(path, format!("0 {FIRST_ID} 65536"))?;
                }
                let user =
                    open(&PathBuf::from(format!("/proc/{}/ns/user", pid.as_raw_nonzero())), OFlags::RDONLY)?;
                let (Root { root, layers: below }, device_folder) =
                    (self.root(&layers, user.as_fd())?, devices()?);
                send(&near, &[root.as_fd(), device_folder.as_fd()])?;
                let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
                mark(marks, "program and exit");
                drop((root, below, device_folder));
                for group in legacy.iter().chain([&unified]) {
                    std::fs::remove_dir(group)?;
                }
                std::fs::remove_dir_all(&layers)?;
                mark(marks, "clean-up");
                match status.and_then(|status| status.exit_status()) {
                    Some(0) => Ok(()),
                    other => bail!("the program ended with {other:?}"),
                }
            }
        }
    }

    /// The index and a writable layer, both id-mapped, as an overlay.
    fn root(&self, layers: &Path, user: BorrowedFd<'_>) -> Result<Root> {
        let image = new_mount("erofs", &[("source", text(&self.index)?), ("device", text(&self.layer)?)])?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let writable = rustix::mount::open_tree(CWD, layers, flags)?;
        for mount in [&image, &writable] {
            let change =
                MountChange { set: ATTR_IDMAP, user_namespace: Some(user), ..MountChange::default() };
            change_mount(mount, change, false)?;
        }
        linux::process::set_file_owner(FIRST_ID, FIRST_ID)?;
        let mut sets = rustix::thread::capabilities(None)?;
        sets.effective = sets.permitted;
        rustix::thread::set_capabilities(None, sets)?;
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_fd(&context, "lowerdir+", image.as_fd())?;
        for (key, name) in [("upperdir", "upper"), ("workdir", "work")] {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&writable, name, flags, Mode::empty())?;
            rustix::mount::fsconfig_set_fd(&context, key, directory.as_fd())?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        let root = rustix::mount::fsmount(&context, flags, MountAttrFlags::empty())?;
        linux::process::set_file_owner(0, 0)?;
        Ok(Root { root, layers: [image, writable] })
    }
}

/// An overlay and its layers, whose closing before the end would wait for a grace period of the kernel.
struct Root {
    root: OwnedFd,
    layers: [OwnedFd; 2],
}

/// The container's side, up to its program.
fn init(
    link: &OwnedFd,
    tasks: &[Result<OwnedFd>],
    filter: &[u8],
    marks: &OwnedFd,
) -> Result<std::convert::Infallible> {
    for tasks in tasks.iter().flatten() {
        rustix::io::write(tasks, b"0")?;
    }
    let [root, dev] = receive(link)?;
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_thread_groups(&[])?;
    linux::process::unshare_namespaces(NEW_CGROUP | NEW_TIME)?;
    rustix::process::setsid()?;
    rustix::system::sethostname(b"floor")?;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    linux::process::bring_interface_up(socket.as_fd(), "lo")?;
    mark(marks, "namespaces, and the root from outside");
    mounts(&root, &dev)?;
    mark(marks, "mounts");
    hide(&root)?;
    mark(marks, "masks");
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    mark(marks, "pivot");
    confine(filter)?;
    mark(marks, "capabilities and seccomp");
    let arguments = CStringArray::new(["true"]).context("arguments")?;
    let environment = CStringArray::new::<&str>([]).context("environment")?;
    Err(linux::process::execute(c"/bin/true", &arguments, &environment).into())
}

fn mounts(root: &OwnedFd, dev: &OwnedFd) -> Result<()> {
    use rustix::mount::MountPropagationFlags as Propagation;
    rustix::mount::mount_change("/", Propagation::REC | Propagation::DOWNSTREAM)?;
    attach(root, CWD, "/")?;
    attach(&new_mount("proc", &[])?, root.as_fd(), "proc")?;
    attach(dev, root.as_fd(), "dev")?;
    attach(&new_mount("sysfs", &[])?, root.as_fd(), "sys")?;
    for folder in ["pts", "mqueue", "shm"] {
        rustix::fs::mkdirat(dev, folder, Mode::from_raw_mode(0o755))?;
    }
    for (target, link) in [("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("pts/ptmx", "ptmx")] {
        rustix::fs::symlinkat(target, dev, link)?;
    }
    let pts = new_mount("devpts", &[("ptmxmode", "0666"), ("mode", "0620")])?;
    attach(&pts, dev.as_fd(), "pts")?;
    attach(&new_mount("mqueue", &[])?, dev.as_fd(), "mqueue")?;
    attach(&new_mount("tmpfs", &[("size", "64m")])?, dev.as_fd(), "shm")?;
    // The hierarchies of version 1, as Docker and the bare runtimes show them.
    let groups = new_mount("tmpfs", &[("mode", "755")])?;
    attach(&groups, root.as_fd(), "sys/fs/cgroup")?;
    for hierarchy in ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"]
    {
        rustix::fs::mkdirat(&groups, hierarchy, Mode::from_raw_mode(0o755))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let group = rustix::mount::open_tree(CWD, format!("/sys/fs/cgroup/{hierarchy}"), flags)?;
        attach(&group, groups.as_fd(), hierarchy)?;
    }
    Ok(())
}

fn hide(root: &OwnedFd) -> Result<()> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    for path in READ_ONLY {
        let Some(target) = find(root, path)? else { continue };
        let mount = rustix::mount::open_tree(&target, "", clone | OpenTreeFlags::AT_EMPTY_PATH)?;
        change_mount(&mount, MountChange { set: ATTR_RDONLY, ..MountChange::default() }, false)?;
        attach_at(&mount, &target)?;
    }
    for path in MASKED {
        let Some(target) = find(root, path)? else { continue };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode);
        let mount = if kind == FileType::Directory {
            new_mount("tmpfs", &[("size", "0")])?
        } else {
            rustix::mount::open_tree(CWD, "/dev/null", clone)?
        };
        attach_at(&mount, &target)?;
    }
    Ok(())
}

fn confine(filter: &[u8]) -> Result<()> {
    use rustix::thread::CapabilitySet;
    // Docker's fourteen.
    let kept = CapabilitySet::from_bits_retain(0x0000_0000_a804_25fb);
    // Up to CAP_CHECKPOINT_RESTORE, the last.
    let all = (0..=40).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in all.filter(|capability| !kept.contains(*capability)) {
        rustix::thread::remove_capability_from_bounding_set(capability)?;
    }
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = kept;
    sets.permitted = kept;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::set_capabilities(None, sets)?;
    linux::process::install_seccomp_filter(filter, 0)?;
    Ok(())
}

/// `/dev` with its nodes, which root in a user namespace cannot make.
fn devices() -> Result<OwnedFd> {
    let ids = FIRST_ID.to_string();
    let dev = new_mount("tmpfs", &[("mode", "755"), ("uid", &ids), ("gid", &ids)])?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let mode = Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device)?;
    }
    Ok(dev)
}

fn new_mount(fstype: &str, options: &[(&str, &str)]) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, *value)?;
    }
    rustix::mount::fsconfig_create(&context).with_context(|| format!("make a {fstype}"))?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn find(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn attach(mount: &OwnedFd, at: BorrowedFd<'_>, path: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", at, path, flags).with_context(|| format!("attach {path}"))
}

fn attach_at(mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", target, "", flags)?)
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let opened = rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    opened.with_context(|| format!("open {}", path.display()))
}

fn send(link: &OwnedFd, all: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = rustix::net::SendAncillaryBuffer::new(&mut space);
    ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(all));
    let flags = rustix::net::SendFlags::NOSIGNAL;
    rustix::net::sendmsg(link, &[IoSlice::new(b"x")], &mut ancillary, flags)?;
    Ok(())
}

fn receive(link: &OwnedFd) -> Result<[OwnedFd; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(link, parts, &mut ancillary, rustix::net::RecvFlags::CMSG_CLOEXEC)?;
    let mut all = Vec::new();
    for message in ancillary.drain() {
        if let rustix::net::RecvAncillaryMessage::ScmRights(received) = message {
            all.extend(received);
        }
    }
    <[OwnedFd; 2]>::try_from(all).map_err(|_| anyhow::anyhow!("two mounts were expected"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

fn mark(marks: &OwnedFd, step: &str) {
    // A lost mark would be missed when the steps are put together.
    let _ = rustix::io::write(marks, format!("{} {step}\n", monotonic()).as_bytes());
}
