//! An archive of packages of the test's own: built by `dpkg-deb`, signed by `gpg` with a key that the test makes, in a
//! folder that goes away with it.

#![allow(dead_code, reason = "not every test file uses every fixture")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::Scratch;

/// See the head of the file.
pub(crate) struct Archive {
    base: Scratch,
    packages: Vec<String>,
}

/// A file of a package: path, mode, content; a content that begins with `-> ` is a link.
pub(crate) type File<'a> = (&'a str, u32, &'a [u8]);

impl Archive {
    pub(crate) fn new() -> Archive {
        for (program, package) in [("gpg", "gnupg"), ("dpkg-deb", "dpkg"), ("xz", "xz-utils")] {
            testkit::require(program, package);
        }
        let archive = Archive { base: Scratch::new(), packages: Vec::new() };
        let home = archive.path("gnupg");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        for folder in ["archive/pool", "archive/dists/test"] {
            std::fs::create_dir_all(archive.path(folder)).unwrap();
        }
        archive.gpg(&["--quick-gen-key", "archive@test", "ed25519", "cert,sign", "0"]);
        std::fs::write(archive.keyring(), archive.gpg(&["--export"])).unwrap();
        archive
    }

    /// The archive that the tests begin with: a system, a tool that needs a library, and the library.
    pub(crate) fn usual() -> Archive {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok()).unwrap();
        let release = b"ID=test\nVERSION_CODENAME=test\n";
        let mut archive = Archive::new();
        archive.add(
            "base-files",
            "12.4",
            "Essential: yes\nPre-Depends: awk",
            &[("usr/lib/os-release", 0o644, release), ("etc/os-release", 0, b"-> ../usr/lib/os-release")],
        );
        archive.add(
            "tool",
            "1:2.0-1",
            "Depends: libthing1 (>= 1.5), debconf (>= 0.5) | debconf-2.0",
            &[
                ("bin/busybox", 0o4755, &busybox),
                ("bin/tool", 0, b"-> busybox"),
                ("etc/tool.conf", 0o640, b"x=1\n"),
            ],
        );
        archive.add("libthing1", "1.9", "", &[("lib/libthing.so.1", 0o644, b"old")]);
        archive.add("libthing1", "1.10", "Source: thing (2.1)", &[("lib/libthing.so.1", 0o644, b"thing")]);
        archive.add("clasher", "1", "Depends: tool", &[("etc/tool.conf", 0o644, b"mine\n")]);
        archive.add(
            "replacer",
            "1",
            "Depends: tool\nReplaces: tool (<< 1:3)",
            &[("etc/tool.conf", 0o644, b"mine\n")],
        );
        archive.add("against", "1", "Conflicts: libthing1 (>= 1.10)", &[]);
        archive.add("lost", "1", "Depends: nothing (>= 3)", &[]);
        archive.add("under-link", "1", "Depends: tool", &[("bin/tool/x", 0o644, b"")]);
        archive.publish("");
        archive
    }

    /// An archive with a base of its own, whose `dpkg` is a script: so that it is known what is asked of it, and nothing has to
    /// be fetched.
    pub(crate) fn with_dpkg(script: &str) -> Archive {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok()).unwrap();
        let mut archive = Archive::new();
        archive.add(
            "base-files",
            "12",
            "Essential: yes\nPre-Depends: awk",
            &[("etc/os-release", 0o644, b"ID=test\n")],
        );
        let tools =
            ["sh", "echo", "mkdir", "ls", "cat", "date", "stat", "touch"].map(|tool| format!("bin/{tool}"));
        let mut files: Vec<File<'_>> =
            tools.iter().map(|tool| (tool.as_str(), 0, &b"-> busybox"[..])).collect();
        files.push(("bin/busybox", 0o755, &busybox));
        archive.add("busybox", "1", "Essential: yes\nProvides: awk", &files);
        archive.add("dpkg", "1.22", "Essential: yes", &[("usr/bin/dpkg", 0o755, script.as_bytes())]);
        archive.add("apt", "2", "Depends: dpkg", &[]);
        archive.add("first", "1", "", &[]);
        archive.add("second", "1", "Pre-Depends: first", &[]);
        archive.publish("");
        archive
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Lets every user read it.
    pub(crate) fn open_to_all(&self) {
        std::fs::set_permissions(self.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Keys that sign it.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.path("keyring.gpg")
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path("archive").display())
    }

    /// Builds a package and lists it.
    pub(crate) fn add(&mut self, name: &str, version: &str, fields: &str, files: &[File<'_>]) {
        let tree = self.path("tree");
        for (path, mode, content) in files {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix(b"-> ") {
                Some(target) => {
                    std::os::unix::fs::symlink(std::str::from_utf8(target).unwrap(), &path).unwrap()
                }
                None => {
                    std::fs::write(&path, content).unwrap();
                    std::fs::set_permissions(&path, PermissionsExt::from_mode(*mode)).unwrap();
                }
            }
        }
        std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let mut control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: Test <t@test>\nDescription: a test\n",
            architecture()
        );
        if !fields.is_empty() {
            writeln!(control, "{fields}").unwrap();
        }
        std::fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        std::fs::write(tree.join("DEBIAN/md5sums"), format!("{:032x}  etc/{name}\n", 7)).unwrap();
        let filename = format!("pool/{name}_{}.deb", version.replace(':', "."));
        let deb = self.path("archive").join(&filename);
        let kind = if name.len().is_multiple_of(2) { "-Zgzip" } else { "-Zxz" };
        let built = Command::new("dpkg-deb")
            .args(["--root-owner-group", kind, "--build"])
            .args([&tree, &deb])
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        std::fs::remove_dir_all(&tree).unwrap();
        let (size, sum) = sum(&deb);
        self.packages.push(format!("{control}Filename: {filename}\nSize: {size}\nSHA256: {sum}\n"));
    }

    /// Writes the indexes and signs them. `more` are further fields of the Release file, or other values of those it has.
    pub(crate) fn publish(&self, more: &str) {
        let folder = self.path("archive/dists/test");
        let index = format!("main/binary-{}/Packages", architecture());
        std::fs::create_dir_all(folder.join(&index).parent().unwrap()).unwrap();
        std::fs::write(folder.join(&index), self.packages.join("\n")).unwrap();
        let packed = Command::new("xz").args(["-k", "-f"]).arg(folder.join(&index)).status().unwrap();
        assert!(packed.success());
        let mut release: Vec<(String, String)> = [
            ("Origin", "Test".to_owned()),
            ("Suite", "test".to_owned()),
            ("Date", "Sat, 11 Jul 2026 10:16:37 UTC".to_owned()),
            ("Architectures", architecture()),
            ("Components", "main".to_owned()),
        ]
        .map(|(field, value)| (field.to_owned(), value))
        .to_vec();
        for line in more.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            release.retain(|(known, _)| known != field);
            release.push((field.to_owned(), value.to_owned()));
        }
        let mut text: String = release.iter().map(|(field, value)| format!("{field}: {value}\n")).collect();
        text.push_str("SHA256:\n");
        for name in [index.clone(), format!("{index}.xz")] {
            let (size, sum) = sum(&folder.join(&name));
            writeln!(text, " {sum} {size} {name}").unwrap();
        }
        std::fs::write(folder.join("Release"), text).unwrap();
        self.sign();
    }

    /// Signs the Release file as it lies there.
    pub(crate) fn sign(&self) {
        let folder = self.path("archive/dists/test");
        let release = folder.join("Release");
        let release = release.to_str().unwrap();
        std::fs::write(folder.join("InRelease"), self.gpg(&["--clear-sign", "-o", "-", release])).unwrap();
        let detached = self.gpg(&["--armor", "--detach-sign", "-o", "-", release]);
        std::fs::write(folder.join("Release.gpg"), detached).unwrap();
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .env("GNUPGHOME", self.path("gnupg"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The arguments that make an image of this archive.
    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        let keyring = self.keyring();
        let mut all = ["image", "bootstrap", "own:test", "--keyring", keyring.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec();
        if !more.contains(&"--mirror") {
            all.extend(["--mirror".to_owned(), self.url()]);
        }
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Its agent would outlive the test.
        let mut command = Command::new("gpgconf");
        drop(command.args(["--kill", "all"]).env("GNUPGHOME", self.path("gnupg")).status());
    }
}

/// As dpkg calls this machine.
pub(crate) fn architecture() -> String {
    let output = Command::new("dpkg").arg("--print-architecture").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Names of the packages of which debootstrap would make a minimal system, in order.
pub(crate) fn debootstrapped(suite: &str, folder: &Path) -> Vec<String> {
    let output = Command::new("debootstrap")
        .args(["--print-debs", "--variant=minbase", suite])
        .arg(folder.join("debootstrap"))
        .arg("http://deb.debian.org/debian")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut names: Vec<String> =
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn sum(path: &Path) -> (u64, String) {
    let output = Command::new("sha256sum").arg(path).stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (std::fs::metadata(path).unwrap().len(), text.split(' ').next().unwrap().to_owned())
}

/// Serves a folder over HTTP on loopback for as long as the test runs, also as a proxy that has all hosts to itself. `answer` is
/// given what is asked for, and may say something else than the file.
pub(crate) fn serve(
    folder: PathBuf,
    answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, answer) = (folder.clone(), std::sync::Arc::clone(&answer));
            // A client that hangs up early has its reasons.
            std::thread::spawn(move || drop(respond(stream, &folder, &*answer)));
        }
    });
    address
}

fn respond(
    mut stream: TcpStream,
    folder: &Path,
    answer: &dyn Fn(&str) -> Option<String>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let target = first.split(' ').nth(1).unwrap_or("/");
    if let Some(text) = answer(target) {
        return stream.write_all(text.as_bytes());
    }
    // What a proxy is asked for begins with the host.
    let below = target.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let path = below.map_or(target, |(_, path)| path);
    let mut body = Vec::new();
    match std::fs::File::open(folder.join(path.trim_start_matches('/'))) {
        Ok(mut file) => {
            file.read_to_end(&mut body)?;
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        }
        Err(_) => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    stream.write_all(&body)
}
