//! The memory that decoders may take: what a compressed stream asks for, and what all of them get together.
//!
//! A decoder keeps the last so many bytes of what it has written, its window, since later bytes may refer to
//! them. How large it is, the writer decides: 8 MiB at the levels that are in use, 64 MiB for `xz -9`, 128 MiB for
//! `zstd --long`, at most 2 and 4 GiB. A load takes at most 64 MiB in all, so not every window fits:
//!
//! | window | what happens |
//! |---|---|
//! | up to 8 MiB | any length, as many layers at once as there are workers |
//! | up to 32 MiB | any length, one at a time |
//! | above | as long as the content ends before it fills 32 MiB of the window; else it is refused |
//!
//! The last row is there because programs write the window of their level whatever the size of the content, and a
//! page of it that is never written to costs nothing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Compression;

/// A window that every decoder may have.
const SMALL: u64 = 8 << 20;
/// The largest window that is held.
pub(crate) const LARGE: u64 = 32 << 20;
/// Bytes of all windows together.
const TOTAL: u64 = LARGE + SMALL;
/// What an xz decoder needs beside its window.
const XZ_STATE: u64 = 1 << 20;

/// What one stream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// What it asks for, in bytes.
    asked: u64,
}

impl Window {
    /// What the first part of a stream asks for, as far as its first bytes tell. Later parts may ask for less,
    /// and for more only within the same row of the table above.
    pub(crate) fn of(compression: Compression, start: &[u8]) -> Self {
        let asked = match compression {
            Compression::None => Some(0),
            // The window of gzip has 32 KiB, the blocks of bzip2 take at most 3.6 MiB.
            Compression::Gzip => Some(32 << 10),
            Compression::Bzip2 => Some(4 << 20),
            Compression::Zstd => zstd(start),
            Compression::Xz => xz(start),
        };
        // What cannot be read is left to the decoder, which says what is wrong with it.
        Self { asked: asked.unwrap_or(0) }
    }

    /// In bytes.
    pub(crate) fn asked(self) -> u64 {
        self.asked
    }

    /// What is set aside for it.
    fn reserve(self) -> u64 {
        match self.asked {
            0..=0xffff => self.asked,
            _ if self.asked <= SMALL => SMALL,
            _ => LARGE,
        }
    }

    /// The largest window that libzstd may make, as a power of two.
    pub(super) fn zstd_log(self) -> u32 {
        match self.asked {
            _ if self.asked <= SMALL => SMALL.ilog2(),
            _ if self.asked <= LARGE => LARGE.ilog2(),
            // All that the format has; `most` keeps it within bounds.
            _ => 31,
        }
    }

    /// The most memory that liblzma may take, in bytes.
    pub(super) fn xz_memory(self) -> u64 {
        match self.most() {
            Some(_) => u64::MAX,
            None => self.reserve().max(SMALL) + XZ_STATE,
        }
    }

    /// How many bytes may come out of it; `None` for any number.
    pub(super) fn most(self) -> Option<u64> {
        (self.asked > LARGE).then_some(LARGE)
    }
}

/// The memory for the windows of one load.
#[derive(Debug)]
pub(crate) struct Windows {
    free: Mutex<Free>,
    freed: Condvar,
}

#[derive(Debug)]
struct Free {
    now: u64,
    /// When nothing is taken.
    most: u64,
}

/// Memory that is set aside for one window, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    windows: &'a Windows,
    bytes: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { free: Mutex::new(Free { now: TOTAL, most: TOTAL }), freed: Condvar::new() }
    }
}

impl Windows {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets memory aside for a layer, once others have given it back; an error is how much there could ever be.
    ///
    /// Whoever has some must not ask again, or two of them would wait for each other.
    pub(crate) fn reserve(&self, window: Window) -> Result<Reserved<'_>, u64> {
        let bytes = window.reserve();
        let mut free = self.free();
        if bytes > free.most {
            return Err(free.most);
        }
        while free.now < bytes {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        free.now -= bytes;
        Ok(Reserved { windows: self, bytes })
    }

    /// Sets memory aside for an archive whose layers are read while its own decoder is at work: what is left is all
    /// that they can have.
    pub(crate) fn reserve_for_archive(&self, window: Window) {
        let mut free = self.free();
        free.most -= window.reserve();
        free.now -= window.reserve();
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.windows.free().now += self.bytes;
        self.windows.freed.notify_all();
    }
}

/// The window of the first zstd frame that is not to be skipped (RFC 8878, 3.1.1.1 and 3.1.2).
fn zstd(mut start: &[u8]) -> Option<u64> {
    while let [0x50..=0x5f, 0x2a, 0x4d, 0x18, size @ ..] = start {
        let (size, rest) = size.split_first_chunk()?;
        start = rest.get(usize::try_from(u32::from_le_bytes(*size)).ok()?..)?;
    }
    let (descriptor, rest) = start.get(4..)?.split_first()?;
    let is_single = descriptor & 0x20 != 0;
    if !is_single {
        let window = rest.first()?;
        let base = 1_u64 << (10 + u32::from(window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The whole content is the window.
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary_id..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*size.first()?),
        1 => u64::from(u16::from_le_bytes(*size.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*size.first_chunk()?)),
        _ => u64::from_le_bytes(*size.first_chunk()?),
    })
}

/// The dictionary of the first xz block (The .xz File Format, 3.1 and 5.3.1).
fn xz(start: &[u8]) -> Option<u64> {
    const STREAM_HEADER: usize = 12;
    const LZMA2: u64 = 0x21;
    let block = start.get(STREAM_HEADER..)?;
    let (flags, mut rest) = block.get(1..)?.split_first()?;
    // Compressed and uncompressed size, where they are told.
    for told in [0x40, 0x80] {
        if flags & told != 0 {
            (_, rest) = xz_number(rest)?;
        }
    }
    for _ in 0..=flags & 3 {
        let (filter, properties) = xz_number(rest)?;
        let (length, properties) = xz_number(properties)?;
        let (properties, after) = properties.split_at_checked(usize::try_from(length).ok()?)?;
        if filter == LZMA2 {
            let bits = u32::from(*properties.first()? & 0x3f);
            return Some(if bits >= 40 {
                u64::from(u32::MAX)
            } else {
                u64::from(2 | bits & 1) << (bits / 2 + 11)
            });
        }
        rest = after;
    }
    None
}

/// Seven bits per byte, the lowest first.
fn xz_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = text.split_at(length);
    Some((number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn zstd_start(log: u32, size: Option<u64>) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.set_pledged_src_size(size).unwrap();
        let size = usize::try_from(size.unwrap_or(100_000)).unwrap();
        encoder.write_all(&vec![7; size]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_window_of_zstd_is_read_from_its_header() {
        let asked = |start: &[u8]| Window::of(Compression::Zstd, start).asked();
        for log in [10, 20, 23, 25, 27, 31] {
            assert_eq!(asked(&zstd_start(log, None)), 1 << log, "{log}");
        }
        for size in [1, 255, 256, 300, 65_535, 70_000] {
            assert_eq!(asked(&zstd_start(27, Some(size))), size);
        }
        // As pzstd writes.
        let skippable =
            [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &zstd_start(27, None)].concat();
        assert_eq!(asked(&skippable), 128 << 20);
        // 1 KiB and 7 eighths.
        assert_eq!(asked(&[0x28, 0xb5, 0x2f, 0xfd, 0, 7]), 1024 + 7 * 128);
    }

    #[test]
    fn the_window_of_xz_is_read_from_its_first_block() {
        for (level, mib) in [(1, 1), (6, 8), (7, 16), (8, 32), (9, 64)] {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), level);
            encoder.write_all(b"content").unwrap();
            let start = encoder.finish().unwrap();
            assert_eq!(Window::of(Compression::Xz, &start).asked(), mib << 20, "{level}");
        }
    }

    #[test]
    fn starts_that_tell_nothing_are_left_to_the_decoder() {
        let (zstd, mut xz) = (zstd_start(27, None), liblzma::write::XzEncoder::new(Vec::new(), 9));
        xz.write_all(b"content").unwrap();
        let xz = xz.finish().unwrap();
        for cut in 0..5 {
            assert_eq!(Window::of(Compression::Zstd, &zstd[..cut]).asked(), 0);
        }
        for cut in 0..16 {
            assert_eq!(Window::of(Compression::Xz, &xz[..cut]).asked(), 0, "{cut}");
        }
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Window::of(Compression::Zstd, &skippable).asked(), 0);
    }

    #[test]
    fn large_windows_wait_for_each_other_and_small_ones_do_not() {
        let (small, large) = (Window { asked: 2 << 20 }, Window { asked: 20 << 20 });
        let windows = Windows::default();
        let four: Vec<_> = (0..4).map(|_| windows.reserve(small).unwrap()).collect();
        drop(four);
        let first = windows.reserve(large).unwrap();
        let beside = windows.reserve(small).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| windows.reserve(large).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), Ok(()));
        });
        drop(beside);
        assert_eq!(windows.free().now, TOTAL);
        windows.reserve_for_archive(large);
        assert_eq!(windows.reserve(large).unwrap_err(), SMALL);
        assert!(windows.reserve(small).is_ok());
    }
}
