//! What the tests of the merged tree share: layers made by GNU tar, mounts that nobody else sees, and listings
//! that tell everything about a tree.
//!
//! Root is needed, as owners, devices and mounts are at stake; without it the first call fails and says so.

#![allow(dead_code, reason = "every test file uses another part of this module")]

use image::index::Layer;
use oci::{DiffId, Digest};
use rustix::fs::XattrFlags;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of the test's own, removed with all it holds.
pub(crate) struct Scratch(testkit::Scratch);

impl Scratch {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount and make devices: run them as root");
        Self(testkit::Scratch::new())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a tree in an empty directory and packs it with GNU tar.
    pub(crate) fn layer(&self, source: &Source<'_>) -> Tar {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tree = self.join(format!("source-{number}"));
        fs::create_dir(&tree).unwrap();
        shell(&tree, source.script);
        for (path, name, value) in source.xattrs {
            rustix::fs::lsetxattr(tree.join(path), *name, value, XattrFlags::empty()).unwrap();
        }
        let path = self.join(format!("layer-{number}.tar"));
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sort=name", "--file"]).arg(&path).args(source.options);
        if !source.xattrs.is_empty() {
            tar.args(["--xattrs", "--xattrs-include=*"]);
        }
        run(tar.arg("--directory").arg(&tree).arg("."));
        fs::remove_dir_all(&tree).unwrap();
        Tar::open(path)
    }

    /// A layer of these bytes.
    pub(crate) fn raw_layer(&self, name: &str, bytes: &[u8]) -> Tar {
        let path = self.join(name);
        fs::write(&path, bytes).unwrap();
        Tar::open(path)
    }
}

/// What a layer is made of.
#[derive(Clone, Copy, Default)]
pub(crate) struct Source<'a> {
    /// Makes the tree; `set -eu` holds.
    pub(crate) script: &'a str,
    /// Path, name and value.
    pub(crate) xattrs: &'a [(&'a str, &'a str, &'a [u8])],
    /// Of GNU tar.
    pub(crate) options: &'a [&'a str],
}

impl<'a> Source<'a> {
    /// In PAX format, which keeps nanoseconds.
    pub(crate) fn script(script: &'a str) -> Self {
        Self { script, xattrs: &[], options: &["--format=pax"] }
    }
}

/// A layer's tar on disk.
pub(crate) struct Tar {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) diff_id: DiffId,
}

impl Tar {
    fn open(path: PathBuf) -> Self {
        let diff_id = DiffId::try_from(Digest::of(&fs::read(&path).unwrap())).unwrap();
        Self { file: File::open(&path).unwrap(), path, diff_id }
    }

    pub(crate) fn layer(&self) -> Layer<'_> {
        Layer { diff_id: &self.diff_id, tar: &self.file }
    }
}

pub(crate) fn layers(tars: &[Tar]) -> Vec<Layer<'_>> {
    tars.iter().map(Tar::layer).collect()
}

pub(crate) fn shell(directory: &Path, script: &str) {
    run(Command::new("bash").args(["-euc", script]).current_dir(directory));
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A mount that is in no namespace: it is reached through its descriptor and goes away with it.
pub(crate) struct Mount(OwnedFd);

impl Mount {
    pub(crate) fn erofs(index: &Path, devices: &[PathBuf]) -> Self {
        let mut options = vec![("source", index.as_os_str())];
        options.extend(devices.iter().map(|device| ("device", device.as_os_str())));
        Self::new("erofs", &options, &[])
    }

    /// `directories` has the uppermost layer first.
    pub(crate) fn overlay(directories: &[PathBuf], flags: &[&str]) -> Self {
        let options: Vec<(&str, &OsStr)> =
            directories.iter().map(|directory| ("lowerdir+", directory.as_os_str())).collect();
        Self::new("overlay", &options, flags)
    }

    /// With a layer to write to.
    pub(crate) fn writable(lower: &[PathBuf], upper: &Path, work: &Path) -> Self {
        let mut options: Vec<(&str, &OsStr)> =
            lower.iter().map(|directory| ("lowerdir+", directory.as_os_str())).collect();
        options.extend([("upperdir", upper.as_os_str()), ("workdir", work.as_os_str())]);
        options.push(("redirect_dir", OsStr::new("nofollow")));
        Self::with(("overlay", MountAttrFlags::empty()), &options, &[])
    }

    fn new(kind: &str, options: &[(&str, &OsStr)], flags: &[&str]) -> Self {
        Self::with((kind, MountAttrFlags::MOUNT_ATTR_RDONLY), options, flags)
    }

    fn with((kind, attributes): (&str, MountAttrFlags), options: &[(&str, &OsStr)], flags: &[&str]) -> Self {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let explain = |what: &str, error| -> ! {
            let mut log = vec![0; 4096];
            let length = rustix::io::read(&context, &mut *log).unwrap_or(0);
            panic!("{kind}: {what}: {error}: {}", String::from_utf8_lossy(&log[..length]))
        };
        for flag in flags {
            rustix::mount::fsconfig_set_flag(&context, *flag).unwrap();
        }
        for (key, value) in options {
            if let Err(error) = rustix::mount::fsconfig_set_string(&context, *key, *value) {
                explain(key, error);
            }
        }
        if let Err(error) = rustix::mount::fsconfig_create(&context) {
            explain("create", error);
        }
        Self(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap())
    }

    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.0.as_raw_fd()))
    }
}

/// One line for every name below `root`, which tells all about it: type, mode, owner, links, device, size, time,
/// target, attributes, a hash of the content, and the first name of the same inode.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inodes = HashMap::new();
    list(root, Path::new("."), &mut inodes, &mut lines);
    lines
}

/// The link counts of directories, which an overlay does not tell.
pub(crate) fn directory_links(root: &Path) -> Vec<String> {
    let count = |line: String| {
        let (path, _) = line.split_once(" 4")?;
        Some(format!("{path} {}", fs::symlink_metadata(root.join(path)).ok()?.nlink()))
    };
    listing(root).into_iter().filter_map(count).collect()
}

fn list(root: &Path, path: &Path, inodes: &mut HashMap<(u64, u64), PathBuf>, lines: &mut Vec<String>) {
    let full = root.join(path);
    let meta = fs::symlink_metadata(&full).unwrap();
    let kind = meta.file_type();
    let mut line = format!(
        "{} {:o} {}:{} {}.{:09}",
        path.as_os_str().as_bytes().escape_ascii(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device={:x}", meta.rdev()).unwrap();
    }
    if kind.is_symlink() {
        write!(line, " -> {}", fs::read_link(&full).unwrap().as_os_str().as_bytes().escape_ascii()).unwrap();
    }
    if kind.is_file() {
        let mut hash = Sha256::new();
        std::io::copy(&mut File::open(&full).unwrap(), &mut Hashing(&mut hash)).unwrap();
        let hash = hash.finalize();
        write!(line, " {} bytes {:02x}{:02x}{:02x}{:02x}", meta.len(), hash[0], hash[1], hash[2], hash[3])
            .unwrap();
    }
    if !kind.is_dir() {
        write!(line, " links={}", meta.nlink()).unwrap();
        let first = inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| path.to_owned());
        if first != path {
            write!(line, " same={}", first.as_os_str().as_bytes().escape_ascii()).unwrap();
        }
    }
    for (name, value) in xattrs(&full) {
        write!(line, " {}={}", name.as_bytes().escape_ascii(), value.escape_ascii()).unwrap();
    }
    lines.push(line);
    if kind.is_dir() {
        let mut names: Vec<OsString> =
            fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            list(root, &path.join(name), inodes, lines);
        }
    }
}

struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All attributes but overlayfs's own and what the host's kernel adds, by name.
pub(crate) fn xattrs(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut found: Vec<(OsString, Vec<u8>)> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay."))
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            value.truncate(length);
            (OsStr::from_bytes(name).to_owned(), value)
        })
        .collect();
    found.sort();
    found
}

/// What GNU tar makes of the layers, one over the other, with deletions done by a routine of our own.
pub(crate) fn reference(scratch: &Scratch, tars: &[Tar]) -> PathBuf {
    let merged = scratch.join("reference");
    fs::create_dir(&merged).unwrap();
    for tar in tars {
        let marks = scratch.join("marks");
        fs::create_dir(&marks).unwrap();
        // Links into lower layers fail here, where these are not.
        drop(extract(&tar.path, &marks, &[]).output().unwrap());
        delete_marked(&marks, &merged);
        fs::remove_dir_all(&marks).unwrap();
        run(&mut extract(&tar.path, &merged, &["--exclude=.wh.*"]));
    }
    merged
}

fn extract(tar: &Path, directory: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("tar");
    command
        .args([
            "--extract",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "--preserve-permissions",
            "--file",
        ])
        .arg(tar)
        .args(options)
        .arg("--directory")
        .arg(directory);
    command
}

/// Removes from `merged` what the marks in a layer, unpacked at `marks`, name, and what GNU tar would not replace.
fn delete_marked(marks: &Path, merged: &Path) {
    for entry in fs::read_dir(marks).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let below = merged.join(&name);
        let was_directory = fs::symlink_metadata(&below).is_ok_and(|meta| meta.is_dir());
        let is_directory = entry.file_type().unwrap().is_dir();
        match name.as_bytes().strip_prefix(b".wh.") {
            Some(b".wh..opq") => {
                for child in fs::read_dir(merged).into_iter().flatten().map(Result::unwrap) {
                    remove(&child.path());
                }
            }
            Some(hidden) => remove(&merged.join(OsStr::from_bytes(hidden))),
            None if is_directory && was_directory => delete_marked(&entry.path(), &below),
            None if is_directory != was_directory => remove(&below),
            None => {}
        }
    }
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// A listing with the places that every container has something mounted on, where the image lacks them.
pub(crate) fn with_mount_points(listing: &[String]) -> Vec<String> {
    let empty = "100644 0:0 0.000000000 0 bytes e3b0c442 links=1";
    let directory = "40755 0:0 0.000000000";
    let mark = "100755 0:0 0.000000000 0 bytes e3b0c442 links=1";
    let points = [
        ("./.dockerenv", mark),
        ("./dev", directory),
        ("./etc", directory),
        ("./etc/hostname", empty),
        ("./etc/hosts", empty),
        ("./etc/resolv.conf", empty),
        ("./proc", directory),
        ("./sys", directory),
    ];
    let line_of = |path: &str| listing.iter().find(|line| line.split(' ').next() == Some(path));
    let has_etc = line_of("./etc").is_none_or(|line| line.starts_with("./etc 40"));
    let is_missing = |path: &str| line_of(path).is_none() && (has_etc || !path.starts_with("./etc/"));
    let missing = points.into_iter().filter(|(path, _)| is_missing(path));
    let mut all = listing.to_vec();
    all.extend(missing.map(|(path, what)| format!("{path} {what}")));
    all
}

/// Fails with the lines that differ, and only those.
pub(crate) fn assert_same(expected: &[String], found: &[String]) {
    let missing: Vec<&String> = expected.iter().filter(|line| !found.contains(line)).collect();
    let surplus: Vec<&String> = found.iter().filter(|line| !expected.contains(line)).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "expected only: {missing:#?}\nfound only: {surplus:#?}"
    );
    assert_eq!(expected.len(), found.len());
}

/// A member of a hand-made archive.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) data: &'a [u8],
    pub(crate) mode: u32,
}

pub(crate) fn directory(name: &str) -> Member<'_> {
    Member { name: name.as_bytes(), kind: b'5', link: b"", data: b"", mode: 0o755 }
}

pub(crate) fn file<'a>(name: &'a str, data: &'a str) -> Member<'a> {
    Member { name: name.as_bytes(), kind: b'0', link: b"", data: data.as_bytes(), mode: 0o644 }
}

pub(crate) fn symlink<'a>(name: &'a str, target: &'a str) -> Member<'a> {
    Member { name: name.as_bytes(), kind: b'2', link: target.as_bytes(), data: b"", mode: 0o777 }
}

pub(crate) fn hardlink<'a>(name: &'a str, target: &'a str) -> Member<'a> {
    Member { name: name.as_bytes(), kind: b'1', link: target.as_bytes(), data: b"", mode: 0o600 }
}

/// An extended header with one record for the member that follows.
pub(crate) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let mut length = key.len() + value.len() + 3;
    length += (length + length.to_string().len()).to_string().len();
    let record = [format!("{length} {key}=").as_bytes(), value, b"\n"].concat();
    member(&Member { name: b"pax", kind: b'x', link: b"", data: &record, mode: 0o644 })
}

/// The blocks of one member. Everything is at time 1,000,000,000 and root's.
pub(crate) fn member(member: &Member<'_>) -> Vec<u8> {
    let mut block = [0; 512];
    block[..member.name.len()].copy_from_slice(member.name);
    let mut field = |at: usize, text: String| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(100, format!("{:07o}", member.mode));
    field(108, "0000000".into());
    field(116, "0000000".into());
    field(124, format!("{:011o}", member.data.len()));
    field(136, format!("{:011o}", 1_000_000_000));
    field(257, "ustar\u{0}00".into());
    block[156] = member.kind;
    block[157..157 + member.link.len()].copy_from_slice(member.link);
    seal(&mut block);
    let mut blocks = block.to_vec();
    blocks.extend_from_slice(member.data);
    blocks.resize(blocks.len().next_multiple_of(512), 0);
    blocks
}

/// Sets a header's checksum.
pub(crate) fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A whole archive.
pub(crate) fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(member).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
