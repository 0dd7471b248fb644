//! Commits, tags and trees (gitformat: `git help cat-file`, gitdatamodel). Pure.
//!
//! What must hold of a tree: a name is one that a directory may have and no way out of it, stands there once, and is nothing by which git would
//! take the place for a repository of its own. Git's own checks are the measure (`verify_path`, `fsck`).

use std::collections::HashSet;

use crate::error::{Error, Result, excerpt};
use crate::id::{Format, ObjectId};

/// The longest name that Linux has.
const NAME_LIMIT: usize = 255;

/// What is wanted of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    /// When it was committed, in seconds since 1970; 0 where it does not say.
    pub(crate) time: i64,
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Directory,
    File,
    Executable,
    Link,
    /// The commit of another repository.
    Submodule,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) mode: Mode,
    pub(crate) name: Vec<u8>,
    pub(crate) id: ObjectId,
}

/// Reads a commit.
pub(crate) fn commit(id: &ObjectId, bytes: &[u8]) -> Result<Commit> {
    let wrong = |reason: &str| Error::Object { id: id.to_string(), reason: reason.to_owned() };
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let tree = lines.next().and_then(|line| hex(line.strip_prefix(b"tree ")?, id.format()));
    let tree = tree.ok_or_else(|| wrong("it is a commit without a tree"))?;
    let head = lines.take_while(|line| !line.is_empty());
    let time = head.filter_map(|line| line.strip_prefix(b"committer ")).find_map(time_of);
    Ok(Commit { tree, time: time.unwrap_or(0) })
}

/// The seconds in `Name <address> seconds zone`.
fn time_of(line: &[u8]) -> Option<i64> {
    let end = line.iter().rposition(|byte| *byte == b'>')?;
    let text = std::str::from_utf8(&line[end + 1..]).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// What a tag is one of, and whether that is another tag.
pub(crate) fn tagged(id: &ObjectId, bytes: &[u8]) -> Result<(ObjectId, bool)> {
    let wrong = |reason: &str| Error::Object { id: id.to_string(), reason: reason.to_owned() };
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let object = lines.next().and_then(|line| hex(line.strip_prefix(b"object ")?, id.format()));
    let object = object.ok_or_else(|| wrong("it is a tag of nothing"))?;
    match lines.next().and_then(|line| line.strip_prefix(b"type ")) {
        Some(b"commit") => Ok((object, false)),
        Some(b"tag") => Ok((object, true)),
        _ => Err(wrong("it is a tag of something that is no commit")),
    }
}

fn hex(text: &[u8], format: Format) -> Option<ObjectId> {
    let id: ObjectId = std::str::from_utf8(text).ok()?.parse().ok()?;
    (id.format() == format).then_some(id)
}

/// Reads a tree.
pub(crate) fn tree(id: &ObjectId, bytes: &[u8]) -> Result<Vec<TreeEntry>> {
    let wrong = |reason: String| Error::Object { id: id.to_string(), reason };
    let mut entries: Vec<TreeEntry> = Vec::new();
    let mut names = HashSet::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = |at: u8, text: &[u8]| text.iter().position(|byte| *byte == at);
        let short = || wrong("it is a tree that ends in the middle".to_owned());
        let end = cut(b' ', rest).ok_or_else(short)?;
        let (mode, after) = (&rest[..end], &rest[end + 1..]);
        let end = cut(0, after).ok_or_else(short)?;
        let (name, after) = (&after[..end], &after[end + 1..]);
        let raw = after.get(..id.format().length()).ok_or_else(short)?;
        rest = &after[raw.len()..];
        let mode = mode_of(mode)
            .ok_or_else(|| wrong(format!("{:?} in it has the mode {:?}", excerpt(name), excerpt(mode))))?;
        if let Some(reason) = refusal(name, mode) {
            return Err(wrong(format!("{:?} in it {reason}", excerpt(name))));
        }
        if !names.insert(name) {
            return Err(wrong(format!("{:?} stands in it twice", excerpt(name))));
        }
        let object = ObjectId::from_bytes(id.format(), raw).ok_or_else(short)?;
        entries.push(TreeEntry { mode, name: name.to_vec(), id: object });
    }
    Ok(entries)
}

fn mode_of(text: &[u8]) -> Option<Mode> {
    Some(match text {
        b"40000" | b"040000" => Mode::Directory,
        // The second is what git wrote in 2005.
        b"100644" | b"100664" => Mode::File,
        b"100755" => Mode::Executable,
        b"120000" => Mode::Link,
        b"160000" => Mode::Submodule,
        _ => return None,
    })
}

/// Why a name is not taken.
fn refusal(name: &[u8], mode: Mode) -> Option<&'static str> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Some("is no name of a file");
    }
    if name.len() > NAME_LIMIT {
        return Some("is longer than a name may be");
    }
    if is_dot_git(name) {
        return Some("would be taken for a repository");
    }
    if mode == Mode::Link && is_same(name, b".gitmodules") {
        return Some("is a link, which could lead anywhere");
    }
    None
}

/// Whether some file system takes a name for `.git`: one that ignores case, one that ignores characters without width (HFS+), one
/// with short names, streams, and blanks and dots at the end of names (NTFS).
fn is_dot_git(name: &[u8]) -> bool {
    let seen: Vec<u8> = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect::<String>()
        .into_bytes();
    let end = seen.iter().position(|byte| matches!(byte, b':' | b'\\')).unwrap_or(seen.len());
    let mut base = &seen[..end];
    while let Some(shorter) = base.strip_suffix(b" ").or_else(|| base.strip_suffix(b".")) {
        base = shorter;
    }
    is_same(base, b".git") || is_same(base, b"git~1")
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        "00".repeat(20).parse().unwrap()
    }

    fn read(entries: &[(&str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name) in entries {
            bytes.extend(format!("{mode} {name}\0").bytes());
            bytes.extend([7; 20]);
        }
        match tree(&id(), &bytes) {
            Ok(entries) => entries
                .iter()
                .map(|entry| format!("{:?} {} ", entry.mode, String::from_utf8_lossy(&entry.name)))
                .collect(),
            Err(error) => format!("! {}", error.to_string().split_once(": ").unwrap().1),
        }
    }

    #[test]
    fn trees_have_names_of_files_alone() {
        assert_eq!(
            read(&[("100644", "a"), ("100755", "b"), ("120000", "c"), ("160000", "d"), ("40000", "e")]),
            "File a Executable b Link c Submodule d Directory e "
        );
        assert_eq!(read(&[("100664", "a"), ("040000", ".github")]), "File a Directory .github ");
        for name in ["", ".", "..", "a/b", "/"] {
            assert_eq!(read(&[("100644", name)]), format!("! {name:?} in it is no name of a file"));
        }
        for name in [
            ".git",
            ".GIT",
            ".Git",
            "git~1",
            "GIT~1",
            ".git ",
            ".git...",
            ".git. ",
            ".git::$INDEX_ALLOCATION",
            ".git\\config",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".git:x",
        ] {
            let told = read(&[("40000", name)]);
            assert!(told.ends_with("would be taken for a repository"), "{name:?}: {told}");
        }
        for name in [".gitignore", ".gitmodules", "git", "git~2", "...", "a\\b", ".git2", "x.git"] {
            assert_eq!(read(&[("100644", name)]), format!("File {name} "));
        }
        assert!(read(&[("120000", ".gitmodules")]).contains("could lead anywhere"));
        assert!(read(&[("120000", ".GitModules")]).contains("could lead anywhere"));
        assert!(read(&[("100644", &"x".repeat(256))]).contains("longer"));
        // A link and a directory of one name: what is written through the one lands behind the other.
        assert!(read(&[("120000", "a"), ("100644", "a.b"), ("40000", "a")]).contains("twice"));
        for mode in ["", "0", "100600", "60000", "140000", "10644", "-1"] {
            assert!(read(&[(mode, "a")]).contains("has the mode"), "{mode}");
        }
    }

    #[test]
    fn commits_and_tags_say_what_they_hold() {
        let hex = "ab".repeat(20);
        let text = format!(
            "tree {hex}\nparent {hex}\nauthor A <a> 1 +0000\ncommitter > <x> 1700000000 +0100\n\ncommitter B <b> 5 +0000\n"
        );
        let found = commit(&id(), text.as_bytes()).unwrap();
        assert_eq!((found.tree.to_string(), found.time), (hex.clone(), 1_700_000_000));
        for bad in ["", "tree x\n", &format!("tree {}\n", "ab".repeat(32)), "parent x"] {
            assert!(commit(&id(), bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(commit(&id(), format!("tree {hex}\n").as_bytes()).unwrap().time, 0);
        assert!(
            tagged(&id(), format!("object {hex}\ntype commit\n").as_bytes()).is_ok_and(|(_, is_tag)| !is_tag)
        );
        assert!(
            tagged(&id(), format!("object {hex}\ntype tag\n").as_bytes()).is_ok_and(|(_, is_tag)| is_tag)
        );
        assert!(tagged(&id(), format!("object {hex}\ntype blob\n").as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_tree_does_harm(bytes: Vec<u8>, name in "\\PC{0,10}|[.gitGIT~1 :\\\\/]{1,8}") {
            drop(tree(&id(), &bytes));
            drop(commit(&id(), &bytes));
            drop(tagged(&id(), &bytes));
            let mut bytes = format!("100644 {name}\0").into_bytes();
            bytes.extend([1; 20]);
            if let Ok(entries) = tree(&id(), &bytes) {
                let name = &entries[0].name;
                proptest::prop_assert!(!name.contains(&b'/') && !name.eq_ignore_ascii_case(b".git") && name != b"..");
            }
        }
    }
}
