//! Writes an initial ramdisk: a cpio archive of the "newc" form, as the kernel unpacks it.
//!
//! Each entry is a header of 110 characters (a magic number and thirteen fields of eight hexadecimal digits), the
//! name with a NUL, and the content; name and content are padded to four bytes. `TRAILER!!!` ends the archive.

use std::collections::BTreeSet;
use std::io::{Result, Write};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written.
pub(super) struct Archive<W> {
    output: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, inode: 0, directories: BTreeSet::new() }
    }

    /// A directory, with those above it. Naming one twice is fine.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// A file, with the directories above it.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path.trim_start_matches('/'), FILE | mode, content)
    }

    /// A symbolic link, with the directories above it.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path.trim_start_matches('/'), LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.trim_matches('/').rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(std::io::Error::other)?;
        let links = 1;
        // inode, mode, uid, gid, links, time, size, device (2), special device (2), size of the name, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        fields.iter().for_each(|field| header.push_str(&format!("{field:08x}")));
        self.padded(&[header.as_bytes(), name.as_bytes(), b"\0"])?;
        self.padded(&[content])
    }

    /// Writes `pieces` and zeros up to a multiple of four bytes.
    fn padded(&mut self, pieces: &[&[u8]]) -> Result<()> {
        pieces.iter().try_for_each(|piece| self.output.write_all(piece))?;
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.output.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_system_s_cpio_lists_what_was_written() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/one", 0o755, b"12345").unwrap();
        archive.directory("a/b").unwrap();
        archive.link("a/two", "b/one").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let mut child = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests need the package cpio");
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let seen: Vec<(&str, &str, String)> =
            lines.iter().map(|words| (words[0], words[4], words[8..].join(" "))).collect();
        let expected = [
            ("drwxr-xr-x", "0", "a"),
            ("drwxr-xr-x", "0", "a/b"),
            ("-rwxr-xr-x", "5", "a/b/one"),
            ("lrwxrwxrwx", "5", "a/two -> b/one"),
        ];
        assert_eq!(seen, expected.map(|(mode, size, name)| (mode, size, name.to_owned())));
    }
}
