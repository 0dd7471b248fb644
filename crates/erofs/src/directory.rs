//! Directory blocks: entries sorted by name, their names after them.
//!
//! ```text
//! [entry 0][entry 1]...[entry n-1][name 0][name 1]...[name n-1][zeros]      entry: 12 bytes
//! ```
//! An entry names its inode, its type, and where its name starts; the first name's start also tells how many
//! entries there are. A name ends where the next one starts. `.` and `..` are entries among the others, at
//! the place where their names sort.

use crate::disk::{put16, put64};

const ENTRY: usize = 12;
const BLOCK: usize = 512;

/// A name, its inode's number and type.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) nid: u64,
    pub(crate) kind: u8,
}

/// Adds `.` and `..` to names in ascending order, at their places.
pub(crate) fn with_dots<'a>(
    children: impl Iterator<Item = Entry<'a>>,
    own: u64,
    parent: u64,
) -> impl Iterator<Item = Entry<'a>> {
    let mut dots = [(&b"."[..], own), (b"..", parent)]
        .into_iter()
        .map(|(name, nid)| Entry { name, nid, kind: 2 })
        .peekable();
    let mut children = children.peekable();
    std::iter::from_fn(move || match (dots.peek(), children.peek()) {
        (Some(dot), Some(child)) if child.name < dot.name => children.next(),
        (Some(_), _) => dots.next(),
        (None, _) => children.next(),
    })
}

/// Bytes that a directory takes: all blocks but the last are full blocks.
pub(crate) fn size<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut blocks, mut used) = (0_u64, 0);
    for name in names {
        let takes = ENTRY + name.len();
        if used + takes > BLOCK {
            blocks += 1;
            used = 0;
        }
        used += takes;
    }
    blocks * BLOCK as u64 + used as u64
}

/// Appends a directory's blocks to `out`; the last one is not padded.
pub(crate) fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>, out: &mut Vec<u8>) {
    let mut block = Vec::new();
    let mut used = 0;
    for entry in entries {
        let takes = ENTRY + entry.name.len();
        if used + takes > BLOCK {
            let end = out.len() + BLOCK;
            encode_block(&block, out);
            out.resize(end, 0);
            block.clear();
            used = 0;
        }
        used += takes;
        block.push(entry);
    }
    encode_block(&block, out);
}

fn encode_block(entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let mut name_at = entries.len() * ENTRY;
    for entry in entries {
        put64(out, entry.nid);
        // Within a block of 512 bytes.
        put16(out, u16::try_from(name_at).unwrap_or(u16::MAX));
        out.extend_from_slice(&[entry.kind, 0]);
        name_at += entry.name.len();
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(children: &'a [&'a [u8]]) -> impl Iterator<Item = Entry<'a>> {
        with_dots(children.iter().map(|&name| Entry { name, nid: 9, kind: 1 }), 1, 2)
    }

    #[test]
    fn dots_stand_where_they_sort() {
        let sorted: Vec<&[u8]> = names(&[b"!", b"-", b"...", b".a", b"a"]).map(|entry| entry.name).collect();
        assert_eq!(sorted, [&b"!"[..], b"-", b".", b"..", b"...", b".a", b"a"]);
        assert_eq!(names(&[]).count(), 2);
    }

    #[test]
    fn the_size_foretells_the_encoding() {
        for count in [0, 1, 20, 30, 31, 32, 500] {
            let long: Vec<Vec<u8>> = (0..count).map(|at| format!("file-{at:05}").into_bytes()).collect();
            let children: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
            let mut out = Vec::new();
            encode(names(&children), &mut out);
            assert_eq!(out.len() as u64, size(names(&children).map(|entry| entry.name)), "{count}");
        }
    }
}
