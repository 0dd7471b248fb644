//! The first pass: gives every inode its place, and thereby fixes every address.

use crate::chunks::Grid;
use crate::disk::{CHUNK_INDEX, DEVICE_SLOT, Layout, SLOT, SUPERBLOCK, inode_bytes, needs_extended};
use crate::xattr::Xattrs;
use crate::{BLOCK, Body, Error, Extent, Inode, Time, Tree, Volume, directory};
use std::collections::HashMap;

/// Index that tables and copies of sparse files may take altogether; a hostile map of holes could make
/// gigabytes of it from a few kilobytes.
const MOST_SCATTERED: u64 = 1 << 30;
/// The superblock holds the number of devices in 16 bits; mounts take far fewer.
const MOST_DEVICES: usize = 4096;

/// Where everything goes.
pub(crate) struct Plan {
    /// Inodes in the order in which they are written.
    pub(crate) order: Vec<u32>,
    /// By inode: its number in the index, which counts slots from the start of the inodes.
    pub(crate) nids: Vec<u32>,
    /// By inode: the directory that holds it; of interest for directories.
    pub(crate) parents: Vec<u32>,
    pub(crate) time: Time,
    pub(crate) xattrs: Xattrs,
    pub(crate) xattr_block: u32,
    pub(crate) meta_block: u32,
    pub(crate) data_block: u32,
    /// Of the whole index.
    pub(crate) blocks: u32,
}

/// How one inode is written; follows from the tree alone, so that both passes agree.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) extended: bool,
    pub(crate) layout: Layout,
    pub(crate) size: u64,
    pub(crate) xattr_bytes: u64,
    /// Bytes after the attributes: a chunk table, or data that may not cross a block boundary.
    pub(crate) tail: u64,
    /// Blocks of data in the index.
    pub(crate) data_blocks: u64,
    /// How a file with data is mapped.
    pub(crate) grid: Option<Grid>,
}

impl Plan {
    pub(crate) fn make(tree: &impl Tree, volume: &Volume<'_>) -> Result<Self, Error> {
        check_devices(volume)?;
        let (time, xattr_uses) = survey(tree);
        let xattrs = Xattrs::place(tree, &xattr_uses)?;
        let (order, parents) = breadth_first(tree);
        let header = SUPERBLOCK + DEVICE_SLOT * (1 + volume.devices.len() as u64);
        let xattr_block = header.div_ceil(BLOCK);
        let meta_block = xattr_block + (xattrs.shared.len() as u64).div_ceil(BLOCK);

        let mut nids = vec![0; order.len()];
        let mut extents = Vec::new();
        // Slot 0 stays empty: a directory entry with inode number 0 would pass for a deleted one.
        let (mut end, mut data_blocks, mut scattered) = (SLOT, 0, 0_u64);
        for &number in &order {
            let inode = tree.inode(number);
            let shape = Shape::of(tree, number, &inode, time, &xattrs, &mut extents);
            let start = shape.start(end);
            end = start + shape.bytes();
            data_blocks += shape.data_blocks;
            scattered = scattered.saturating_add(shape.grid.map_or(0, |grid| grid.cost() - CHUNK_INDEX));
            if scattered > MOST_SCATTERED {
                return Err(Error::Scattered { bytes: scattered, limit: MOST_SCATTERED });
            }
            nids[index(number)] = u32::try_from(start / SLOT).map_err(|_| Error::LargeIndex)?;
        }
        let data_block = meta_block + end.div_ceil(BLOCK);
        let block = |number| u32::try_from(number).map_err(|_| Error::LargeIndex);
        Ok(Self {
            order,
            nids,
            parents,
            time,
            xattrs,
            xattr_block: block(xattr_block)?,
            meta_block: block(meta_block)?,
            data_block: block(data_block)?,
            blocks: block(data_block + data_blocks)?,
        })
    }

    /// The number of an inode in the index.
    pub(crate) fn nid(&self, number: u32) -> u64 {
        u64::from(self.nids[index(number)])
    }
}

impl Shape {
    /// Leaves the file's extents in `extents`.
    pub(crate) fn of(
        tree: &impl Tree,
        number: u32,
        inode: &Inode<'_>,
        time: Time,
        xattrs: &Xattrs,
        extents: &mut Vec<Extent>,
    ) -> Self {
        let xattr_bytes = xattrs.bytes(inode.xattrs);
        let size = match inode.body {
            Body::File { size } => size,
            Body::Directory => directory_size(tree, number),
            Body::Symlink(target) => target.len() as u64,
            Body::CharDevice(_) | Body::BlockDevice(_) | Body::Fifo | Body::Socket => 0,
        };
        let extended = needs_extended(inode, size, time);
        let plain = Self {
            extended,
            layout: Layout::Plain,
            size,
            xattr_bytes,
            tail: 0,
            data_blocks: size.div_ceil(BLOCK),
            grid: None,
        };
        // Where the tail can start at best, seen from a block boundary.
        let least = (inode_bytes(extended) + xattr_bytes) % SLOT;
        match inode.body {
            Body::File { size } if size > 0 => {
                tree.extents(number, extents);
                let grid = Grid::choose(size, extents);
                let tail = grid.chunks * CHUNK_INDEX;
                let data_blocks = grid.copied_blocks;
                Self { layout: Layout::Chunks, tail, data_blocks, grid: Some(grid), ..plain }
            }
            // The last, partial block of a directory fits behind its inode.
            Body::Directory if size % BLOCK > 0 && least + size % BLOCK <= BLOCK => {
                Self { layout: Layout::Inline, tail: size % BLOCK, data_blocks: size / BLOCK, ..plain }
            }
            // The kernel takes an inline link target as a whole or not at all.
            Body::Symlink(_) if least + size <= BLOCK => {
                Self { layout: Layout::Inline, tail: size, data_blocks: 0, ..plain }
            }
            Body::File { .. }
            | Body::Directory
            | Body::Symlink(_)
            | Body::CharDevice(_)
            | Body::BlockDevice(_)
            | Body::Fifo
            | Body::Socket => plain,
        }
    }

    /// Where the inode starts, if `end` is where the one before ends; both in bytes from the first inode.
    fn start(&self, end: u64) -> u64 {
        let mut start = end.next_multiple_of(SLOT);
        if self.layout == Layout::Inline {
            let tail = |start| (start + inode_bytes(self.extended) + self.xattr_bytes) % BLOCK;
            // Ends, as one of 16 successive slots puts the tail nearest to a block's start.
            while tail(start) + self.tail > BLOCK {
                start += SLOT;
            }
        }
        start
    }

    /// Bytes of the inode with all that follows it.
    fn bytes(&self) -> u64 {
        self.tail_offset() + self.tail
    }

    /// Where the tail starts, seen from the inode's start.
    pub(crate) fn tail_offset(&self) -> u64 {
        let end = inode_bytes(self.extended) + self.xattr_bytes;
        if self.layout == Layout::Chunks { end.next_multiple_of(CHUNK_INDEX) } else { end }
    }
}

/// An inode's place in a table.
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn check_devices(volume: &Volume<'_>) -> Result<(), Error> {
    if volume.devices.len() > MOST_DEVICES {
        return Err(Error::ManyDevices(volume.devices.len()));
    }
    match volume.devices.iter().position(|device| u32::try_from(device.bytes.div_ceil(BLOCK)).is_err()) {
        Some(device) => Err(Error::LargeDevice { device, bytes: volume.devices[device].bytes }),
        None => Ok(()),
    }
}

fn directory_size(tree: &impl Tree, number: u32) -> u64 {
    let entry = |(name, _)| directory::Entry { name, nid: 0, kind: 0 };
    directory::size(directory::with_dots(tree.children(number).map(entry), 0, 0).map(|entry| entry.name))
}

/// The most frequent modification time, which inodes of the compact form share, and how many inodes have
/// each set of attributes.
fn survey(tree: &impl Tree) -> (Time, Vec<u32>) {
    let mut times: HashMap<Time, u32> = HashMap::new();
    let mut uses = vec![0; index(tree.xattr_sets())];
    for inode in (0..tree.inodes()).map(|number| tree.inode(number)) {
        *times.entry(inode.mtime).or_default() += 1;
        if let Some(uses) = uses.get_mut(index(inode.xattrs)) {
            *uses += 1;
        }
    }
    // Of two equally frequent times the earlier, so that the result does not hang on the map's order.
    let most =
        times.into_iter().max_by(|(time, count), (other, others)| count.cmp(others).then(other.cmp(time)));
    (most.map_or_else(Time::default, |(time, _)| time), uses)
}

/// The inodes breadth first, and by inode the directory where it was first met.
fn breadth_first(tree: &impl Tree) -> (Vec<u32>, Vec<u32>) {
    let count = index(tree.inodes());
    let mut parents = vec![u32::MAX; count];
    let mut order = Vec::with_capacity(count);
    parents[0] = 0;
    order.push(0);
    let mut next = 0;
    while let Some(&directory) = order.get(next) {
        next += 1;
        if !matches!(tree.inode(directory).body, Body::Directory) {
            continue;
        }
        for (_, child) in tree.children(directory) {
            let parent = &mut parents[index(child)];
            if *parent == u32::MAX {
                *parent = directory;
                order.push(child);
            }
        }
    }
    (order, parents)
}
