//! What the machine boots into.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::kernel::{Kernel, read_module};
use super::output;

/// One test executable, to be run in the machine.
pub(super) struct Run {
    /// For the reader.
    pub(super) name: String,
    /// Here.
    pub(super) executable: PathBuf,
    /// What it is given, with spaces between.
    pub(super) arguments: String,
}

/// What the ramdisk holds beside the system itself.
#[derive(Default)]
pub(super) struct Content {
    /// In order.
    pub(super) tests: Vec<Run>,
    /// Our own programs that the tests start, at the same path as here.
    pub(super) binaries: Vec<PathBuf>,
    /// This system's programs, by name.
    pub(super) programs: &'static [&'static str],
}

/// Disk, file systems, network devices: what Debian has as modules and the tests need. A checksum that ext4 finds by name is no
/// dependency in the modules' own list.
const MODULES: [&str; 12] = [
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "quota_v2",
    "xfs",
    "overlay",
    "erofs",
    "loop",
    "veth",
    "bridge",
    "tun",
];

/// The first program: loads the modules and moves from the ramdisk, on which `pivot_root` is forbidden, to the disk.
const INIT: &str = include_str!("init.sh");

/// The second: mounts what a system has and runs the tests.
const RUN: &str = include_str!("run.sh");

/// Accounts for tests that are an ordinary user, with a range of ids each.
const FILES: [(&str, &str); 8] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\ntester:x:1000:\nnogroup:x:65534:\n"),
    ("etc/subuid", "root:1000000:65536\ntester:100000:65536\n"),
    ("etc/subgid", "root:1000000:65536\ntester:100000:65536\n"),
    ("etc/shadow", "root:*:19000::::::\ntester:*:19000::::::\n"),
    ("etc/gshadow", "root:*::\ntester:!::\n"),
    ("etc/login.defs", "UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];

/// Writes it.
pub(super) fn write(path: &Path, kernel: &Kernel, content: &Content) -> Result<()> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for folder in ["dev", "proc", "sys", "run", "tmp", "root", "home/tester", "disk", "var/lib", "var/tmp"] {
        archive.directory(folder)?;
    }
    // As on every Debian of today, so that its programs find each other.
    for folder in ["bin", "sbin", "lib", "lib64"] {
        archive.directory(&format!("usr/{folder}"))?;
        archive.link(folder, &format!("usr/{folder}"))?;
    }
    archive.file("usr/bin/busybox", 0o755, &read(Path::new("/bin/busybox"))?)?;
    archive.link("usr/bin/sh", "busybox")?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("run", 0o755, RUN.as_bytes())?;
    for (name, text) in FILES {
        archive.file(name, 0o644, text.as_bytes())?;
    }

    let mut order = String::new();
    for module in kernel.module_files(&MODULES)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.trim_end_matches(".xz").trim_end_matches(".zst");
        archive.file(&format!("modules/{plain}"), 0o644, &read_module(&module)?)?;
        order.push_str(&format!("{plain}\n"));
    }
    archive.file("modules/order", 0o644, order.as_bytes())?;

    let mut list = String::new();
    for (number, test) in content.tests.iter().enumerate() {
        archive.file(&format!("tests/{number}"), 0o755, &read(&test.executable)?)?;
        list.push_str(&format!("{number}|{}|{}\n", test.arguments, test.name));
    }
    archive.file("tests/list", 0o644, list.as_bytes())?;
    let folder = content.binaries.first().and_then(|binary| binary.parent()).unwrap_or(Path::new("/"));
    let environment = format!("export SKIFF_TEST_PROGRAMS={}\n", folder.display());
    archive.file("tests/environment", 0o644, environment.as_bytes())?;
    let mut files: BTreeSet<PathBuf> = content.binaries.iter().cloned().collect();
    for program in content.programs {
        files.extend(with_libraries(program)?);
    }
    for file in files {
        let mode =
            file.metadata().with_context(|| format!("look at {}", file.display()))?.permissions().mode();
        archive.file(&file.to_string_lossy(), mode & 0o7777, &read(&file)?)?;
    }
    archive.finish().with_context(|| format!("write {}", path.display()))?;
    Ok(())
}

/// A program of this system, and the libraries that it is linked with, below `/usr`, where links to folders lead.
fn with_libraries(program: &str) -> Result<Vec<PathBuf>> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let path = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    let path =
        path.with_context(|| format!("{program} is not installed: run scripts/install-packages test"))?;
    // Lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let text = output(Command::new("ldd").arg(&path))?;
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    std::iter::once(path.as_path()).chain(libraries).map(without_linked_folders).collect()
}

fn without_linked_folders(path: &Path) -> Result<PathBuf> {
    let (folder, name) = (path.parent().context("a file at no place")?, path.file_name().context("no file")?);
    let folder = folder.canonicalize().with_context(|| format!("look at {}", folder.display()))?;
    Ok(folder.join(name))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}
