//! The directory `.git` of a checkout, as BuildKit's `--keep-git-dir` leaves it: the commit without its history, `HEAD` at the commit, the
//! branch or tag that was asked for, the remote without credentials, and an index. No hooks, and nothing that a repository has written but its
//! objects.
//!
//! ```text
//! .git/HEAD  config  shallow  packed-refs  index  refs/heads/  refs/tags/
//! .git/objects/pack/pack-<hash>.{pack,idx}          the pack as it came
//! .git/modules/<name>/…                             the same of each submodule, whose own .git is a file that leads there
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write};

use crate::budget::Budget;
use crate::checkout::{Checkout, Entry, EntryKind, Walk};
use crate::error::{Error, Result};
use crate::id::{Format, Hasher, ObjectId};
use crate::object::Mode;
use crate::part::Part;

/// The flag for a name that is longer than its field can say.
const LONG_NAME: usize = 0xfff;

/// Shows the directories of all repositories of a checkout.
pub(crate) fn visit<E: From<Error>>(
    checkout: &mut Checkout<'_>,
    budget: &mut Budget,
    visit: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for index in 0..checkout.parts.len() {
        let folder = folder(checkout, index);
        if index > 0 {
            let name = [&folder[..folder.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]].concat();
            // Each repository has one directory for all in it.
            let is_first = (0..index).all(|other| {
                let other = self::folder(checkout, other);
                other.iter().rposition(|byte| *byte == b'/').is_none_or(|end| other[..end] != name[..])
            });
            if is_first {
                directory(&name, visit)?;
            }
        }
        visit_one(checkout, index, &folder, budget, visit)?;
    }
    Ok(())
}

/// Shows the file that leads from a submodule to its directory.
pub(crate) fn visit_link<E: From<Error>>(
    checkout: &Checkout<'_>,
    index: usize,
    visit: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let part = &checkout.parts[index];
    let up = b"../".repeat(part.at.split(|byte| *byte == b'/').count());
    let text = [b"gitdir: ", &up[..], &folder(checkout, index), b"\n"].concat();
    file(&[&part.at, &b"/.git"[..]].concat(), &text, visit)
}

/// Where the directory of a repository lies.
fn folder(checkout: &Checkout<'_>, index: usize) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = index;
    while let Some((parent, name)) = &checkout.parts[at].parent {
        names.push(escaped(name));
        at = *parent;
    }
    let mut folder = b".git".to_vec();
    for name in names.into_iter().rev() {
        folder.extend_from_slice(b"/modules/");
        folder.extend_from_slice(name.as_bytes());
    }
    folder
}

/// A submodule's name as that of one directory, whatever is in it: git has followed such names out of the repository, and into
/// the directories of others.
fn escaped(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut text = String::new();
    for (place, byte) in name.iter().enumerate() {
        // A name has 255 bytes at most; what follows is told apart by nothing but its hash.
        if text.len() > 160 {
            let mut hasher = Format::Sha256.hasher();
            hasher.update(name);
            let hash = hasher.finish().map(|hash| hash.to_string()).unwrap_or_default();
            text.push_str(&hash);
            return text;
        }
        if plain(*byte) || (*byte == b'.' && place > 0) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    if text.is_empty() { "%".to_owned() } else { text }
}

fn visit_one<E: From<Error>>(
    checkout: &mut Checkout<'_>,
    index: usize,
    folder: &[u8],
    budget: &mut Budget,
    visit: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let below = |name: &str| [folder, b"/", name.as_bytes()].concat();
    directory(folder, visit)?;
    let part = &checkout.parts[index];
    file(&below("HEAD"), format!("{}\n", part.commit_id).as_bytes(), visit)?;
    file(&below("config"), &config(checkout, part, folder), visit)?;
    if !part.shallow.is_empty() {
        let text: String = part.shallow.iter().map(|id| format!("{id}\n")).collect();
        file(&below("shallow"), text.as_bytes(), visit)?;
    }
    if let Some(text) = packed_refs(part) {
        file(&below("packed-refs"), text.as_bytes(), visit)?;
    }
    for name in ["refs", "refs/heads", "refs/tags", "objects", "objects/pack"] {
        directory(&below(name), visit)?;
    }
    let name = format!("objects/pack/pack-{}", part.pack.name());
    let (mut pack, size) = part.pack.raw();
    let kind = EntryKind::File { size, content: &mut pack };
    visit(Entry { path: &below(&format!("{name}.pack")), mode: 0o444, kind })?;
    let (mut content, size) = of_ours(checkout, |checkout, to| checkout.parts[index].pack.write_index(to))?;
    let kind = EntryKind::File { size, content: &mut content };
    visit(Entry { path: &below(&format!("{name}.idx")), mode: 0o444, kind })?;
    let (mut content, size) = of_ours(checkout, |checkout, to| write_index(checkout, index, budget, to))?;
    let kind = EntryKind::File { size, content: &mut content };
    visit(Entry { path: &below("index"), mode: 0o644, kind })
}

fn directory<E>(path: &[u8], visit: &mut impl FnMut(Entry<'_>) -> Result<(), E>) -> Result<(), E> {
    visit(Entry { path, mode: 0o755, kind: EntryKind::Directory })
}

fn file<E>(
    path: &[u8],
    mut text: &[u8],
    visit: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let size = text.len() as u64;
    visit(Entry { path, mode: 0o644, kind: EntryKind::File { size, content: &mut text } })
}

fn config(checkout: &Checkout<'_>, part: &Part, folder: &[u8]) -> Vec<u8> {
    let is_sha1 = part.commit_id.format() == Format::Sha1;
    let mut text = format!(
        "[core]\n\trepositoryformatversion = {}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n",
        if is_sha1 { 0 } else { 1 }
    )
    .into_bytes();
    if part.parent.is_some() {
        let up = b"../".repeat(folder.split(|byte| *byte == b'/').count());
        text.extend_from_slice(b"\tworktree = ");
        text.extend(quoted(&[&up[..], &part.at].concat()));
        text.push(b'\n');
    }
    if !is_sha1 {
        text.extend_from_slice(b"[extensions]\n\tobjectformat = sha256\n");
    }
    text.extend_from_slice(b"[remote \"origin\"]\n\turl = ");
    text.extend(quoted(part.remote.shown().as_bytes()));
    text.extend_from_slice(b"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
    for child in part.children.values().flatten().filter_map(|child| checkout.parts.get(*child)) {
        // What git could not name in its own configuration it is not told of.
        let name = child.parent.as_ref().map(|(_, name)| name).filter(|name| !name.contains(&b'\n'));
        if let Some(name) = name {
            text.extend_from_slice(b"[submodule ");
            text.extend(quoted(name));
            text.extend_from_slice(b"]\n\tactive = true\n\turl = ");
            text.extend(quoted(child.remote.shown().as_bytes()));
            text.push(b'\n');
        }
    }
    text
}

/// A value of a configuration, whatever is in it.
fn quoted(value: &[u8]) -> Vec<u8> {
    let mut text = b"\"".to_vec();
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(b"\\n"),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
    text
}

/// The reference that was asked for, if git would take its name.
fn packed_refs(part: &Part) -> Option<String> {
    let name = part.reference.as_deref().filter(|name| is_reference(name))?;
    let peeled = match part.id == part.commit_id {
        true => String::new(),
        false => format!("^{}\n", part.commit_id),
    };
    Some(format!("# pack-refs with: peeled fully-peeled sorted \n{} {name}\n{peeled}", part.id))
}

/// Whether git takes a name for that of a reference (git-check-ref-format), as far as harm could be done.
pub(crate) fn is_reference(name: &str) -> bool {
    name.starts_with("refs/")
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("@{")
        && !name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c))
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

/// A file that is written first, and then read.
fn of_ours<'g>(
    checkout: &mut Checkout<'g>,
    write: impl FnOnce(&mut Checkout<'g>, &mut Hashed) -> Result<()>,
) -> Result<(io::Take<File>, u64)> {
    let failed = |source| Error::Spool { doing: "write the directory .git", source };
    let file = (checkout.git.spool)().map_err(failed)?;
    let format = checkout.commit().format();
    let mut to = Hashed { file: BufWriter::new(file), hasher: format.hasher(), size: 0 };
    write(checkout, &mut to)?;
    let hash = to.hasher.clone().finish()?;
    to.put(hash.as_bytes())?;
    let size = to.size;
    let mut file = to.file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((file.take(size), size))
}

/// A file that ends with the hash of what comes before, as git's own do.
pub(crate) struct Hashed {
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
}

impl Hashed {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(|source| Error::Spool { doing: "write the directory .git", source })
    }
}

/// Writes an index (gitformat-index, version 2) that knows nothing of the files but their content, as `git read-tree` does.
fn write_index(
    checkout: &mut Checkout<'_>,
    index: usize,
    budget: &mut Budget,
    to: &mut Hashed,
) -> Result<()> {
    let mut count: u32 = 0;
    let mut walk = Walk::flat(checkout, index, &mut budget.clone())?;
    while let Some((_, entry)) = walk.next(checkout, budget)? {
        count += u32::from(entry.mode != Mode::Directory);
    }
    to.put(b"DIRC\0\0\0\x02")?;
    to.put(&count.to_be_bytes())?;
    let mut walk = Walk::flat(checkout, index, &mut budget.clone())?;
    let mut again = budget.clone();
    while let Some((_, entry)) = walk.next(checkout, &mut again)? {
        let mode: u32 = match entry.mode {
            Mode::Directory => continue,
            Mode::File => 0o100_644,
            Mode::Executable => 0o100_755,
            Mode::Link => 0o120_000,
            Mode::Submodule => 0o160_000,
        };
        put_index_entry(to, mode, &entry.id, &walk.path)?;
    }
    Ok(())
}

fn put_index_entry(to: &mut Hashed, mode: u32, id: &ObjectId, path: &[u8]) -> Result<()> {
    let mut head = [0; 40];
    head[24..28].copy_from_slice(&mode.to_be_bytes());
    to.put(&head)?;
    to.put(id.as_bytes())?;
    let length = u16::try_from(path.len().min(LONG_NAME)).unwrap_or(0);
    to.put(&length.to_be_bytes())?;
    to.put(path)?;
    // One zero at least, and as many as fill eight bytes.
    let written = 42 + id.as_bytes().len() + path.len();
    to.put(&[0; 8][..8 - written % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_submodules_become_one_directory_each() {
        for (name, want) in [
            ("lib", "lib"),
            ("a.b-c_d", "a.b-c_d"),
            ("../../hooks", "%2E.%2F..%2Fhooks"),
            (".git", "%2Egit"),
            ("a/modules/b", "a%2Fmodules%2Fb"),
            ("", "%"),
            ("%", "%25"),
        ] {
            assert_eq!(escaped(name.as_bytes()), want);
        }
        let (one, other) = (escaped(&[b'/'; 300]), escaped(&[b'/'; 301]));
        assert!(one != other && one.len() < 255);
    }

    #[test]
    fn references_are_named_as_git_names_them() {
        for (name, is_good) in [
            ("refs/heads/a-b/c", true),
            ("refs/heads/../../config", false),
            ("refs/heads/a\nb", false),
            ("refs/heads/.a", false),
            ("refs/heads/a.lock", false),
            ("refs//a", false),
            ("HEAD", false),
        ] {
            assert_eq!(is_reference(name), is_good, "{name}");
        }
    }
}
