//! The second pass: writes the index from start to end.

use crate::chunks::{Chunk, Grid};
use crate::disk::{
    HOLE, Layout, Placed, SLOT, Superblock, encode_device, entry_type, pad, put_inode, put16, put32,
};
use crate::plan::{Plan, Shape, index};
use crate::{BLOCK, Body, Error, Extent, Inode, ReadDevice, Tree, Volume, directory};
use std::io::Write;

/// Writes the index of `tree` to `out` and returns its size, a multiple of [`BLOCK`].
///
/// `read` is called for the little data that no chunk can point at: pieces of sparse files that do not start
/// or end at a block.
///
/// # Errors
/// When `out` or `read` fails, or the tree does not fit the format.
pub fn write(
    tree: &impl Tree,
    volume: &Volume<'_>,
    read: &mut ReadDevice<'_>,
    out: &mut impl Write,
) -> Result<u64, Error> {
    let plan = Plan::make(tree, volume)?;
    let mut output = Output { out, buffer: Vec::with_capacity(2 * FLUSH), written: 0 };
    let superblock = Superblock {
        uuid: volume.uuid,
        devices: volume.devices,
        root: u16::try_from(plan.nid(0)).map_err(|_| Error::LargeIndex)?,
        inodes: u64::from(tree.inodes()),
        time: plan.time,
        blocks: plan.blocks,
        meta_block: plan.meta_block,
        xattr_block: plan.xattr_block,
    };
    output.buffer.extend(superblock.encode());
    output.buffer.extend_from_slice(&plan.xattrs.shared);
    output.pad_block()?;
    let mut writer = Writer { tree, plan, extents: Vec::new(), next_block: 0 };
    writer.put_inodes(&mut output)?;
    writer.put_data(read, &mut output)?;
    output.flush()?;
    Ok(output.written)
}

struct Writer<'a, T> {
    tree: &'a T,
    plan: Plan,
    /// Those of the file at hand.
    extents: Vec<Extent>,
    /// The next free block of data.
    next_block: u32,
}

impl<T: Tree> Writer<'_, T> {
    fn put_inodes(&mut self, output: &mut Output<'_, impl Write>) -> Result<(), Error> {
        self.next_block = self.plan.data_block;
        let base = u64::from(self.plan.meta_block) * BLOCK;
        for short in 0..self.plan.order.len() {
            let number = self.plan.order[short];
            let inode = self.tree.inode(number);
            let shape = self.shape(number, &inode);
            let start = base + self.plan.nid(number) * SLOT;
            output.advance_to(start)?;
            let placed = Placed {
                extended: shape.extended,
                layout: shape.layout,
                size: shape.size,
                union: self.union(&inode, &shape),
                xattr_bytes: shape.xattr_bytes,
                // Counted from 1; more than 32 bits of inodes do not occur.
                short: u32::try_from(short + 1).unwrap_or(u32::MAX),
            };
            put_inode(&mut output.buffer, &inode, &placed);
            self.plan.xattrs.put(self.tree, inode.xattrs, &mut output.buffer);
            output.advance_to(start + shape.tail_offset())?;
            self.put_tail(number, &inode, &shape, output)?;
        }
        output.pad_block()
    }

    /// What the field means that every kind of inode uses for its own.
    fn union(&self, inode: &Inode<'_>, shape: &Shape) -> u32 {
        match (inode.body, shape.grid) {
            (Body::CharDevice(device) | Body::BlockDevice(device), _) => encode_device(device),
            // The size of chunks, and that the table's entries name devices.
            (_, Some(grid)) => grid.bits | 0x20,
            _ if shape.data_blocks > 0 => self.next_block,
            _ => 0,
        }
    }

    fn put_tail(
        &mut self,
        number: u32,
        inode: &Inode<'_>,
        shape: &Shape,
        output: &mut Output<'_, impl Write>,
    ) -> Result<(), Error> {
        match (inode.body, shape.grid) {
            (_, Some(grid)) => return self.put_table(shape.size, grid, output),
            (Body::Directory, _) if shape.layout == Layout::Inline => {
                let blocks = self.directory(number);
                output.buffer.extend_from_slice(&blocks[blocks.len() - usize_of(shape.tail)..]);
            }
            (Body::Symlink(target), _) if shape.layout == Layout::Inline => {
                output.buffer.extend_from_slice(target);
            }
            _ => {}
        }
        self.take_blocks(shape.data_blocks)
    }

    fn put_table(&mut self, size: u64, grid: Grid, output: &mut Output<'_, impl Write>) -> Result<(), Error> {
        let extents = std::mem::take(&mut self.extents);
        for chunk in grid.chunks(size, &extents) {
            let (device, block) = match chunk {
                Chunk::Hole => (0, HOLE),
                // Device 0 is the index itself.
                Chunk::Direct { device, source } => (device + 1, block_number(source / BLOCK)?),
                Chunk::Copied { length, .. } => {
                    let block = self.next_block;
                    self.take_blocks(length.div_ceil(BLOCK))?;
                    (0, block)
                }
            };
            put16(&mut output.buffer, 0);
            put16(&mut output.buffer, device);
            put32(&mut output.buffer, block);
            output.flush_if_full()?;
        }
        self.extents = extents;
        Ok(())
    }

    /// The blocks behind the inodes, in the order in which these have claimed them.
    fn put_data(
        &mut self,
        read: &mut ReadDevice<'_>,
        output: &mut Output<'_, impl Write>,
    ) -> Result<(), Error> {
        for at in 0..self.plan.order.len() {
            let number = self.plan.order[at];
            let inode = self.tree.inode(number);
            let shape = self.shape(number, &inode);
            if shape.data_blocks == 0 {
                continue;
            }
            match (inode.body, shape.grid) {
                (_, Some(grid)) => {
                    let extents = std::mem::take(&mut self.extents);
                    for chunk in grid.chunks(shape.size, &extents) {
                        if let Chunk::Copied { offset, length } = chunk {
                            copy(&extents, offset, length, read, output)?;
                        }
                    }
                    self.extents = extents;
                }
                (Body::Directory, _) => {
                    let blocks = self.directory(number);
                    let inline = usize_of(if shape.layout == Layout::Inline { shape.tail } else { 0 });
                    output.buffer.extend_from_slice(&blocks[..blocks.len() - inline]);
                }
                (Body::Symlink(target), _) => output.buffer.extend_from_slice(target),
                _ => {}
            }
            output.pad_block()?;
        }
        Ok(())
    }

    fn shape(&mut self, number: u32, inode: &Inode<'_>) -> Shape {
        Shape::of(self.tree, number, inode, self.plan.time, &self.plan.xattrs, &mut self.extents)
    }

    fn directory(&self, number: u32) -> Vec<u8> {
        let children = self.tree.children(number).map(|(name, child)| directory::Entry {
            name,
            nid: self.plan.nid(child),
            kind: entry_type(&self.tree.inode(child).body),
        });
        let parent = self.plan.parents[index(number)];
        let mut blocks = Vec::new();
        directory::encode(
            directory::with_dots(children, self.plan.nid(number), self.plan.nid(parent)),
            &mut blocks,
        );
        blocks
    }

    fn take_blocks(&mut self, blocks: u64) -> Result<(), Error> {
        self.next_block = block_number(u64::from(self.next_block) + blocks)?;
        Ok(())
    }
}

/// Writes `length` bytes of a file from `offset` on, with zeros where no extent has data.
fn copy(
    extents: &[Extent],
    offset: u64,
    length: u64,
    read: &mut ReadDevice<'_>,
    output: &mut Output<'_, impl Write>,
) -> Result<(), Error> {
    let end = offset + length;
    let start = output.position();
    let first = extents.partition_point(|extent| extent.offset + extent.length <= offset);
    for extent in extents[first..].iter().take_while(|extent| extent.offset < end) {
        let from = extent.offset.max(offset);
        let to = (extent.offset + extent.length).min(end);
        output.advance_to(start + (from - offset))?;
        let mut source = extent.source + (from - extent.offset);
        let mut left = to - from;
        while left > 0 {
            let piece = left.min(FLUSH as u64);
            let at = output.buffer.len();
            output.buffer.resize(at + usize_of(piece), 0);
            let failed =
                |error| Error::Read { device: extent.device, offset: source, length: piece, source: error };
            read(extent.device, source, &mut output.buffer[at..]).map_err(failed)?;
            output.flush_if_full()?;
            source += piece;
            left -= piece;
        }
    }
    output.advance_to(start + length)?;
    output.pad_block()
}

/// Collects small pieces. Its position counts from the start of the index.
struct Output<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    written: u64,
}

/// Enough for a system call to be worth its while.
const FLUSH: usize = 64 << 10;

impl<W: Write> Output<'_, W> {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Fills with zeros up to `position`, which is not behind.
    fn advance_to(&mut self, position: u64) -> Result<(), Error> {
        while self.position() < position {
            let gap = usize_of((position - self.position()).min(FLUSH as u64));
            self.buffer.resize(self.buffer.len() + gap, 0);
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn pad_block(&mut self) -> Result<(), Error> {
        self.flush_if_full()?;
        // What was flushed were whole blocks.
        pad(&mut self.buffer);
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<(), Error> {
        if self.buffer.len() < FLUSH {
            return Ok(());
        }
        let whole = self.buffer.len() / 512 * 512;
        self.out.write_all(&self.buffer[..whole]).map_err(Error::Write)?;
        self.written += whole as u64;
        self.buffer.drain(..whole);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.out.write_all(&self.buffer).map_err(Error::Write)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.out.flush().map_err(Error::Write)
    }
}

fn block_number(number: u64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::LargeIndex)
}

/// For lengths that are known to be small.
fn usize_of(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
