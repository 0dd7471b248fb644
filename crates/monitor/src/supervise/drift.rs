//! Programs that are not part of the image: told of, or refused.
//!
//! ```text
//! execve inside ─► waits ─► fanotify ─► of the image? ─ yes ─► goes on
//!                                            └─ no ─► `report`: goes on │ `block`: EPERM; then hashed ─► event `drift`
//! ```
//!
//! The file systems of the container's own are marked before its first program runs: the overlay with its writable
//! layer, through whatever mount a file on it is reached, and every tmpfs that the container was given. Seen is
//! every file that the kernel opens to execute it: a program, a script that is executed by its name, and the
//! loader that a program asks for. Not seen: what an interpreter or a loader merely reads (`sh script`, `ld.so
//! program`, a library), files on bind mounts and volumes, which the user has put there, memfds, which lie on no file
//! system that can be marked (with `block` and its own pid namespace, a kernel from 6.6 on lets the container execute none),
//! and what a container with `CAP_SYS_ADMIN` mounts itself.
//!
//! A file is of the image if the image has one at its path, with the same size and the same times of change. The
//! time of the inode's change is what no container can choose: the kernel sets it, and a file that is made, written,
//! linked, renamed or given other permissions comes into the writable layer, where that time is the present.
//!
//! An event tells of each, of at most [`crate::supervise::pace::A_SECOND`]: of the others `untold` of the next event says how many they were.
//!
//! What must hold: every request is answered in the turn in which it is read; hashing is done a portion a turn; a
//! monitor that ends lets every request go on, and nothing is guarded after that.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::fanotify::{ExecGuard, ExecRequest, path_of};
use runtime::plan::RootSource;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::error::{Error, Result};
use crate::plan::{DriftMode, MonitorPlan};
use crate::supervise::pace::Pace;
use crate::supervise::record::Records;

/// `statfs`'s number of overlayfs.
const OVERLAY: u64 = 0x794c_7630;
/// Bytes that are hashed in one turn.
const PORTION: usize = 512 << 10;
/// Findings that may wait to be hashed. Beyond that they are told of without a hash.
const QUEUE_LIMIT: usize = 64;
/// Files of the image that are known to be.
const KNOWN_LIMIT: usize = 512;
/// Hashes that are kept for files which are executed again and again.
const HASHED_LIMIT: usize = 64;
/// More than any container has mounts.
const MOUNTS_LIMIT: u64 = 8 << 20;

/// The guard of one run.
#[derive(Debug)]
pub(crate) struct Drift {
    guard: ExecGuard,
    mode: DriftMode,
    /// The image's own trees, uppermost first.
    image: Vec<OwnedFd>,
    /// Files that were found in them.
    known: VecDeque<Identity>,
    hashed: VecDeque<(Identity, String)>,
    findings: VecDeque<Finding>,
    pace: Pace,
    /// The last that was not told of.
    flooded: Option<Attributes>,
}

type Attributes = Vec<(&'static str, String)>;

/// What tells one state of a file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

/// A program that is not part of the image.
#[derive(Debug)]
struct Finding {
    file: File,
    identity: Identity,
    hasher: Sha256,
    attributes: Attributes,
}

impl Drift {
    /// Marks what the container may bring programs into. `pid` is its first process, which has its mounts and has
    /// executed nothing yet; `image` is the mount of its index.
    pub(crate) fn begin(
        plan: &MonitorPlan,
        pid: i32,
        image: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Drift>> {
        let mode = plan.drift;
        if mode == DriftMode::None {
            return Ok(None);
        }
        let guard = ExecGuard::new().map_err(Error::system("make a guard of programs"))?;
        let image = trees(&plan.launch.root.source, image)?;
        mark(&guard, pid)?;
        let (known, hashed, findings) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Ok(Some(Drift { guard, mode, image, known, hashed, findings, pace: Pace::default(), flooded: None }))
    }

    /// Answers those who wait.
    pub(crate) fn serve(&mut self, records: &Records) {
        let Drift { guard, mode, image, known, .. } = self;
        // What cannot be read was let go on, or refused, by the kernel.
        let Ok(requests) = guard.requests() else { return };
        let mut found = Vec::new();
        for request in requests {
            let Some((identity, is_overlay)) = request.file().and_then(examine) else { continue };
            if is_overlay && known.contains(&identity) {
                drop(request.allow());
                continue;
            }
            let path = request.file().and_then(|file| path_of(file).ok()).unwrap_or_default();
            if is_overlay && is_in(image, &path, identity) {
                known.push_back(identity);
                if known.len() > KNOWN_LIMIT {
                    known.pop_front();
                }
                drop(request.allow());
                continue;
            }
            found.extend(Finding::answer(request, *mode, identity, &path));
        }
        for finding in found {
            self.note(finding, records);
        }
    }

    /// Whether something is still to be hashed.
    pub(crate) fn is_busy(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Hashes a portion, and tells of what is done.
    pub(crate) fn work(&mut self, records: &Records) {
        let Some(finding) = self.findings.front_mut() else { return };
        let mut portion = vec![0; PORTION];
        let read = finding.file.read(&mut portion);
        if let Ok(length @ 1..) = read {
            finding.hasher.update(&portion[..length]);
            return;
        }
        let Some(Finding { identity, hasher, attributes, .. }) = self.findings.pop_front() else { return };
        // What cannot be read to its end has no hash.
        let hash = read.is_ok().then(|| hex(&hasher.finalize()));
        if let Some(hash) = &hash {
            self.hashed.push_back((identity, hash.clone()));
            if self.hashed.len() > HASHED_LIMIT {
                self.hashed.pop_front();
            }
        }
        tell(records, &attributes, hash.as_deref());
    }

    /// Tells of everything that is found, before the container's end is told.
    pub(crate) fn finish(&mut self, records: &Records) {
        self.serve(records);
        // A large file is not waited for.
        for _ in 0..QUEUE_LIMIT {
            self.work(records);
        }
        for finding in self.findings.drain(..) {
            tell(records, &finding.attributes, None);
        }
        // Of a flood that nothing has followed, the last one tells.
        if let Some((mut attributes, untold)) = self.flooded.take().zip(self.pace.take_untold()) {
            attributes.push(("untold", (untold - 1).to_string()));
            tell(records, &attributes, None);
        }
    }

    fn note(&mut self, mut finding: Finding, records: &Records) {
        if !self.pace.admits(clock::monotonic_ms()) {
            self.flooded = Some(finding.attributes);
            return;
        }
        self.flooded = None;
        if let Some(untold) = self.pace.take_untold() {
            finding.attributes.push(("untold", untold.to_string()));
        }
        let known = self.hashed.iter().find(|(identity, _)| *identity == finding.identity);
        if known.is_some() || self.findings.len() >= QUEUE_LIMIT {
            tell(records, &finding.attributes, known.map(|(_, hash)| hash.as_str()));
        } else {
            self.findings.push_back(finding);
        }
    }
}

impl AsFd for Drift {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.guard.as_fd()
    }
}

impl Finding {
    /// Answers by `mode`. Who it is that waits is looked up before they can go on and be somebody else.
    fn answer(request: ExecRequest<'_>, mode: DriftMode, identity: Identity, path: &Path) -> Option<Finding> {
        let pid = request.pid;
        let parent = parent_of(pid);
        let attributes = vec![
            ("path", path.display().to_string()),
            ("pid", pid.to_string()),
            ("comm", comm(pid)),
            ("exe", exe(pid)),
            ("parentPid", parent.to_string()),
            ("parentComm", comm(parent)),
            ("parentExe", exe(parent)),
            ("outcome", if mode == DriftMode::Block { "blocked" } else { "reported" }.to_owned()),
        ];
        let file = if mode == DriftMode::Block { request.deny() } else { request.allow() };
        file.map(|file| Finding { file: file.into(), identity, hasher: Sha256::new(), attributes })
    }
}

fn tell(records: &Records, attributes: &[(&'static str, String)], hash: Option<&str>) {
    let mut all: Vec<(&str, &str)> = attributes.iter().map(|(key, text)| (*key, text.as_str())).collect();
    all.extend(hash.map(|hash| ("sha256", hash)));
    records.event("drift", &all);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Identity {
    fn of(stat: &Stat) -> Identity {
        #[allow(clippy::useless_conversion, reason = "these differ between architectures")]
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.into(),
            changed: (stat.st_ctime.into(), i64::try_from(stat.st_ctime_nsec).unwrap_or(-1)),
        }
    }
}

/// What a file is, and whether it is on an overlay: everything else that is marked is a tmpfs.
fn examine(file: BorrowedFd<'_>) -> Option<(Identity, bool)> {
    let stat = rustix::fs::fstat(file).ok()?;
    let system = rustix::fs::fstatfs(file).ok()?;
    Some((Identity::of(&stat), u64::try_from(system.f_type).ok()? == OVERLAY))
}

/// Whether the image's own file at `path` is the one with this identity; the device is the overlay's.
fn is_in(image: &[OwnedFd], path: &Path, identity: Identity) -> bool {
    let text = path.to_string_lossy();
    // It may have lost its name since it was opened.
    let named = text.strip_suffix(" (deleted)").map_or(path, Path::new);
    [path, named].iter().any(|path| {
        let found = image.iter().find_map(|tree| look_up(tree, path));
        found.is_some_and(|found| (found.size, found.changed) == (identity.size, identity.changed))
    })
}

fn look_up(tree: &OwnedFd, path: &Path) -> Option<Identity> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(tree, path, flags, Mode::empty(), resolve).ok()?;
    rustix::fs::fstat(&file).ok().map(|stat| Identity::of(&stat))
}

/// The trees below the writable layer.
fn trees(root: &RootSource, image: Option<BorrowedFd<'_>>) -> Result<Vec<OwnedFd>> {
    let unknown =
        |message: &str| Error::Remote { attempt: "guard programs".to_owned(), message: message.to_owned() };
    match root {
        RootSource::Erofs { .. } => {
            // Detached mounts can be cloned since 6.15; before, none is left of the image alone.
            let image =
                image.ok_or_else(|| unknown("this kernel cannot look into an image beside its container"))?;
            Ok(vec![rustix::io::fcntl_dupfd_cloexec(image, 3).map_err(Error::system("keep an image"))?])
        }
        RootSource::Trees { layers, .. } => layers
            .iter()
            .map(|layer| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(layer, flags, Mode::empty()).map_err(Error::system("open a layer"))
            })
            .collect(),
        RootSource::Directory(_) => Err(unknown("a root that is a directory has no image")),
    }
}

/// Marks every file system that is the container's own: those that are mounted in here too are the host's.
fn mark(guard: &ExecGuard, pid: i32) -> Result<()> {
    let host = mounts(Path::new("/proc/self/mountinfo"))?;
    let root = rustix::fs::open(
        format!("/proc/{pid}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Error::system("open the container's root"))?;
    for mount in mounts(Path::new(&format!("/proc/{pid}/mountinfo")))? {
        let is_guarded = mount.kind == "overlay" || mount.kind == "tmpfs";
        if !is_guarded || host.iter().any(|other| other.device == mount.device) {
            continue;
        }
        let path = mount.point.strip_prefix("/").unwrap_or(&mount.point);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        match place {
            Ok(place) => guard
                .mark_file_system(place.as_fd())
                .map_err(Error::system("guard a file system of the container"))?,
            // Another mount lies over it.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(Error::System { attempt: "open a mount of the container", errno }),
        }
    }
    Ok(())
}

/// A line of `mountinfo`.
struct MountLine {
    device: String,
    point: PathBuf,
    kind: String,
}

fn mounts(path: &Path) -> Result<Vec<MountLine>> {
    let text = linux::file::read_bounded(path, MOUNTS_LIMIT).map_err(Error::File)?;
    let line = |line: &str| {
        let (mount, system) = line.split_once(" - ")?;
        let mut words = mount.split(' ');
        let (device, point) = (words.nth(2)?, words.nth(1)?);
        let kind = system.split(' ').next()?;
        Some(MountLine { device: device.to_owned(), point: unescape(point), kind: kind.to_owned() })
    };
    Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(code.map_or('\\', char::from));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    path.push_str(rest);
    PathBuf::from(path)
}

/// What a process calls itself.
fn comm(pid: i32) -> String {
    let text = linux::file::read_bounded(Path::new(&format!("/proc/{pid}/comm")), 64).unwrap_or_default();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// What a process executes, as the container names it.
fn exe(pid: i32) -> String {
    rustix::fs::readlink(format!("/proc/{pid}/exe"), Vec::new())
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn parent_of(pid: i32) -> i32 {
    let text = linux::file::read_bounded(Path::new(&format!("/proc/{pid}/stat")), 4096).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // The name in parentheses may hold anything, the fields behind it do not.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(1).and_then(|parent| parent.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_unescaped() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescape(r"/plain\"), PathBuf::from(r"/plain\"));
    }

    #[test]
    fn who_asks_is_read_from_proc() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
        assert_eq!(parent_of(pid), parent);
        assert!(!comm(pid).is_empty() && exe(pid).starts_with('/'));
    }
}
