//! The structures on disk. All numbers are little endian.

use crate::{BLOCK, Body, Device, Inode, Rdev, Time};

pub(crate) const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// The superblock carries a checksum.
const COMPAT_CHECKSUM: u32 = 0x1;
/// Inodes carry modification times.
const COMPAT_MTIME: u32 = 0x2;
const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
const INCOMPAT_DEVICE_TABLE: u32 = 0x8;

/// Bytes of a superblock, and of a device slot, which follow each other.
pub(crate) const DEVICE_SLOT: u64 = 128;
/// The unit of inode numbers.
pub(crate) const SLOT: u64 = 32;
/// Bytes of an entry of a chunk table.
pub(crate) const CHUNK_INDEX: u64 = 8;
/// Block number of a chunk that is a hole.
pub(crate) const HOLE: u32 = u32::MAX;

/// The checksum of the bytes that both of its ends know: magic, and four zeros in its own place.
const CHECKSUM_OFFSET: usize = 4;

/// What the superblock needs to know once everything is placed.
pub(crate) struct Superblock<'a> {
    pub(crate) uuid: [u8; 16],
    pub(crate) devices: &'a [Device],
    /// The root's inode number.
    pub(crate) root: u16,
    pub(crate) inodes: u64,
    /// The modification time that inodes of the compact form share.
    pub(crate) time: Time,
    /// Blocks of the index.
    pub(crate) blocks: u32,
    /// Where inodes start.
    pub(crate) meta_block: u32,
    /// Where shared attributes start.
    pub(crate) xattr_block: u32,
}

impl Superblock<'_> {
    /// Everything from the start of the index to the end of the device table, padded to whole blocks.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 1024];
        put32(&mut out, MAGIC);
        put32(&mut out, 0);
        put32(&mut out, COMPAT_CHECKSUM | COMPAT_MTIME);
        out.push(9);
        out.push(0);
        put16(&mut out, self.root);
        put64(&mut out, self.inodes);
        put64(&mut out, self.time.secs.cast_unsigned());
        put32(&mut out, self.time.nanos);
        put32(&mut out, self.blocks);
        put32(&mut out, self.meta_block);
        put32(&mut out, self.xattr_block);
        out.extend_from_slice(&self.uuid);
        out.extend_from_slice(&[0; 16]);
        put32(&mut out, INCOMPAT_CHUNKED_FILE | INCOMPAT_DEVICE_TABLE);
        put16(&mut out, 0);
        put16(&mut out, u16::try_from(self.devices.len()).unwrap_or(u16::MAX));
        put16(&mut out, 9);
        out.resize(1024 + 128, 0);
        for device in self.devices {
            out.extend_from_slice(&device.tag);
            // The plan has refused what does not fit.
            put32(&mut out, u32::try_from(device.bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX));
            out.resize(out.len() + 60, 0);
        }
        pad(&mut out);
        let checksum = crc32c(&out[1024..1024 + 512]);
        out[1024 + CHECKSUM_OFFSET..1024 + CHECKSUM_OFFSET + 4].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// How an inode's data is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In whole blocks.
    Plain = 0,
    /// In whole blocks, but for the last piece, which follows the inode.
    Inline = 2,
    /// By a table that follows the inode.
    Chunks = 4,
}

/// What an inode needs to know beside its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) extended: bool,
    pub(crate) layout: Layout,
    pub(crate) size: u64,
    /// First block of data, or format of the chunk table, or device number.
    pub(crate) union: u32,
    /// Bytes of attributes that follow.
    pub(crate) xattr_bytes: u64,
    /// A number for file systems with narrow inode numbers.
    pub(crate) short: u32,
}

/// Bytes of an inode without what follows it.
pub(crate) fn inode_bytes(extended: bool) -> u64 {
    if extended { 64 } else { 32 }
}

/// Whether the compact form cannot hold the inode.
pub(crate) fn needs_extended(inode: &Inode<'_>, size: u64, shared_time: Time) -> bool {
    inode.mtime != shared_time
        || u16::try_from(inode.uid).is_err()
        || u16::try_from(inode.gid).is_err()
        || u16::try_from(inode.links).is_err()
        || u32::try_from(size).is_err()
}

/// Appends an inode.
pub(crate) fn put_inode(out: &mut Vec<u8>, inode: &Inode<'_>, placed: &Placed) {
    let format = u16::from(placed.extended) | (placed.layout as u16) << 1;
    // Twelve bytes of header count as one, every four bytes after it as one more.
    let xattr_count = if placed.xattr_bytes == 0 { 0 } else { (placed.xattr_bytes - 12) / 4 + 1 };
    put16(out, format);
    put16(out, u16::try_from(xattr_count).unwrap_or(u16::MAX));
    put16(out, type_bits(&inode.body) | inode.mode & 0o7777);
    if placed.extended {
        put16(out, 0);
        put64(out, placed.size);
        put32(out, placed.union);
        put32(out, placed.short);
        put32(out, inode.uid);
        put32(out, inode.gid);
        put64(out, inode.mtime.secs.cast_unsigned());
        put32(out, inode.mtime.nanos);
        put32(out, inode.links);
        put64(out, 0);
        put64(out, 0);
    } else {
        // `needs_extended` has made sure that these fit.
        put16(out, u16::try_from(inode.links).unwrap_or(u16::MAX));
        put32(out, u32::try_from(placed.size).unwrap_or(u32::MAX));
        put32(out, 0);
        put32(out, placed.union);
        put32(out, placed.short);
        put16(out, u16::try_from(inode.uid).unwrap_or(u16::MAX));
        put16(out, u16::try_from(inode.gid).unwrap_or(u16::MAX));
        put32(out, 0);
    }
}

fn type_bits(body: &Body<'_>) -> u16 {
    match body {
        Body::Fifo => 0o010_000,
        Body::CharDevice(_) => 0o020_000,
        Body::Directory => 0o040_000,
        Body::BlockDevice(_) => 0o060_000,
        Body::File { .. } => 0o100_000,
        Body::Symlink(_) => 0o120_000,
        Body::Socket => 0o140_000,
    }
}

/// The type that a directory entry gives.
pub(crate) fn entry_type(body: &Body<'_>) -> u8 {
    match body {
        Body::File { .. } => 1,
        Body::Directory => 2,
        Body::CharDevice(_) => 3,
        Body::BlockDevice(_) => 4,
        Body::Fifo => 5,
        Body::Socket => 6,
        Body::Symlink(_) => 7,
    }
}

/// A device number in the kernel's 32-bit form: the low byte of the minor, the major, the rest of the minor.
pub(crate) fn encode_device(device: Rdev) -> u32 {
    device.minor & 0xff | (device.major & 0xfff) << 8 | (device.minor & 0xf_ff00) << 12
}

pub(crate) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Fills up to a block boundary.
pub(crate) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(512), 0);
}

/// CRC-32C without the customary final inversion, as EROFS wants it.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720, B.4: 32 bytes of zeros, and the customary check value.
        assert_eq!(!crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_device_number_is_split_as_the_kernel_does() {
        assert_eq!(encode_device(Rdev { major: 8, minor: 1 }), 0x801);
        assert_eq!(encode_device(Rdev { major: 0xabc, minor: 0x12345 }), 0x123a_bc45);
    }
}
