//! Writes members: plain ustar where everything fits, PAX records where something does not.
//!
//! ```text
//! [x header][records, padded]?   a long path or target, a large number, a fraction of a second, attributes, a sparse map
//! [header]                       [sparse map, padded]? [data, padded]
//! ```
//!
//! Equal members give equal bytes: there are no names of users, no times but that of modification, and records stand in a
//! fixed order.

use super::{BLOCK, Device, Time, Xattr};

/// What is written of a member before its data.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Relative, without a slash at its end; `.` is the root.
    pub path: &'a [u8],
    /// What it is.
    pub body: Body<'a>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// In the order in which they are written.
    pub xattrs: &'a [Xattr],
}

/// What a member is.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A file; so many bytes follow, then zeros up to a full block.
    File(u64),
    /// A file of `size` bytes of which only the pieces (offset and length, ascending) follow, one behind the other, then
    /// zeros up to a full block.
    Sparse {
        /// With its holes.
        size: u64,
        /// What is not a hole.
        pieces: &'a [(u64, u64)],
    },
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Symlink(&'a [u8]),
    /// Another name for an earlier member.
    Hardlink(&'a [u8]),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Two blocks of zeros, which end an archive.
pub const END: [u8; 1024] = [0; 1024];

/// The most that seven and eleven octal digits can say.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;
/// Bytes of a name in the header.
const NAME: usize = 100;

/// Appends all of a member but its data.
pub fn write_member(member: &Member<'_>, out: &mut Vec<u8>) {
    let mut path = member.path.to_vec();
    if matches!(member.body, Body::Directory) {
        path.push(b'/');
    }
    let (kind, size, link): (u8, u64, &[u8]) = match member.body {
        Body::File(size) => (b'0', size, b""),
        Body::Sparse { size, pieces } => {
            let stored: u64 = pieces.iter().map(|(_, length)| length).sum();
            (b'0', sparse_map(size, pieces).len() as u64 + stored, b"")
        }
        Body::Directory => (b'5', 0, b""),
        Body::Symlink(target) => (b'2', 0, target),
        Body::Hardlink(target) => (b'1', 0, target),
        Body::CharDevice(_) => (b'3', 0, b""),
        Body::BlockDevice(_) => (b'4', 0, b""),
        Body::Fifo => (b'6', 0, b""),
    };
    let records = records(member, &path, size, link);
    if !records.is_empty() {
        // Old readers unpack it as a file, whose name does not matter.
        header(&Fields { path: b"pax", mode: 0o644, size: records.len() as u64, ..Fields::of(b'x') }, out);
        out.extend_from_slice(&records);
        // What stands before all of this need not be whole blocks.
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    let (secs, device) = (u64::try_from(member.mtime.secs).unwrap_or(0), device(&member.body));
    let (uid, gid) = (u64::from(member.uid), u64::from(member.gid));
    // A number that does not fit stands in a record.
    let fit = |number: u64, most: u64| if number <= most { number } else { 0 };
    let fields = Fields {
        path: &path,
        mode: u64::from(member.mode & 0o7777),
        uid: fit(uid, OCTAL_7),
        gid: fit(gid, OCTAL_7),
        size: fit(size, OCTAL_11),
        mtime: fit(secs, OCTAL_11),
        link,
        device,
        ..Fields::of(kind)
    };
    header(&fields, out);
    if let Body::Sparse { size, pieces } = member.body {
        out.extend_from_slice(&sparse_map(size, pieces));
    }
}

/// Bytes of zeros that follow so many bytes of data.
#[must_use]
pub fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0)
}

fn device(body: &Body<'_>) -> Option<Device> {
    match body {
        Body::CharDevice(device) | Body::BlockDevice(device) => Some(*device),
        Body::File(_)
        | Body::Sparse { .. }
        | Body::Directory
        | Body::Symlink(_)
        | Body::Hardlink(_)
        | Body::Fifo => None,
    }
}

/// GNU's format 1.0: the count, then offset and length of each piece, a number a line, padded to a block. A hole at the end
/// shows as an empty piece behind it.
fn sparse_map(size: u64, pieces: &[(u64, u64)]) -> Vec<u8> {
    let end = pieces.last().map_or(0, |(offset, length)| offset + length);
    let hole = (size, 0);
    let last = (end < size).then_some(&hole);
    let mut map = format!("{}\n", pieces.len() + usize::from(last.is_some())).into_bytes();
    for (offset, length) in pieces.iter().chain(last) {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

fn records(member: &Member<'_>, path: &[u8], size: u64, link: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let number = |number: u64| number.to_string().into_bytes();
    if let Body::Sparse { size, .. } = member.body {
        record(b"GNU.sparse.major", b"1", &mut records);
        record(b"GNU.sparse.minor", b"0", &mut records);
        record(b"GNU.sparse.name", path, &mut records);
        record(b"GNU.sparse.realsize", &number(size), &mut records);
    }
    if path.len() > NAME {
        record(b"path", path, &mut records);
    }
    if link.len() > NAME {
        record(b"linkpath", link, &mut records);
    }
    if size > OCTAL_11 {
        record(b"size", &number(size), &mut records);
    }
    for (key, id) in [(&b"uid"[..], member.uid), (b"gid", member.gid)] {
        if u64::from(id) > OCTAL_7 {
            record(key, &number(u64::from(id)), &mut records);
        }
    }
    if needs_record(member.mtime) {
        record(b"mtime", time(member.mtime).as_bytes(), &mut records);
    }
    for xattr in member.xattrs {
        record(&[b"SCHILY.xattr.", &xattr.name[..]].concat(), &xattr.value, &mut records);
    }
    records
}

fn needs_record(time: Time) -> bool {
    time.nanos != 0 || u64::try_from(time.secs).map_or(true, |secs| secs > OCTAL_11)
}

/// Seconds with a fraction. Of a time before 1970 both count backwards from there.
fn time(Time { secs, nanos }: Time) -> String {
    let (sign, secs, nanos) = match (secs < 0, nanos) {
        (true, 1..) => ("-", secs.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (true, 0) => ("-", secs.unsigned_abs(), 0),
        (false, _) => ("", secs.unsigned_abs(), nanos),
    };
    if nanos == 0 {
        return format!("{sign}{secs}");
    }
    format!("{sign}{secs}.{nanos:09}").trim_end_matches('0').to_owned()
}

/// `LENGTH KEY=VALUE` and a newline, where the length counts itself.
fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

struct Fields<'a> {
    path: &'a [u8],
    kind: u8,
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    link: &'a [u8],
    device: Option<Device>,
}

impl Fields<'_> {
    fn of(kind: u8) -> Self {
        Self { path: b"", kind, mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, link: b"", device: None }
    }
}

fn header(fields: &Fields<'_>, out: &mut Vec<u8>) {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &fields.path[..fields.path.len().min(NAME)]);
    put(148, b"        ");
    put(156, &[fields.kind]);
    put(157, &fields.link[..fields.link.len().min(NAME)]);
    put(257, b"ustar\x0000");
    for (at, number) in [(100, fields.mode), (108, fields.uid), (116, fields.gid)] {
        octal(number, &mut block[at..at + 7]);
    }
    octal(fields.size, &mut block[124..135]);
    octal(fields.mtime, &mut block[136..147]);
    if let Some(Device { major, minor }) = fields.device {
        octal(u64::from(major), &mut block[329..336]);
        octal(u64::from(minor), &mut block[337..344]);
    }
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(sum, &mut block[148..154]);
    block[154] = 0;
    out.extend_from_slice(&block);
}

/// Octal digits in all of a field, zeros first; the field has room for the number.
fn octal(mut number: u64, field: &mut [u8]) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + number.to_le_bytes()[0] % 8;
        number /= 8;
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
