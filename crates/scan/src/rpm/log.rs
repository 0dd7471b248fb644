//! The write-ahead log of a database of SQLite 3 (sqlite.org, "WAL-mode File Format"): pages that are newer than those of the file.
//!
//! ```text
//! head, 32 bytes:  magic, version, page size, number, salt 1, salt 2, sum 1, sum 2
//! frame, 24 bytes: page, pages of the database after a commit or 0, salt 1, salt 2, sum 1, sum 2; then the page
//! ```
//!
//! A frame counts if it has the salts of the head and if the sum is right, which goes on from frame to frame; the first that does not
//! ends the log, for what is behind it is left from an earlier round. Of those that count, the ones behind the last commit do not: nobody
//! has ever seen them. That is what SQLite makes of a log after a crash, and so it is here, however the log came about.

use std::io;

use crate::File;
use crate::bytes::{Order, index};

/// The last bit tells in which order the sums take the bytes.
const MAGIC: u32 = 0x377f_0682;
/// The one version that there is.
const VERSION: u32 = 3_007_000;
const HEAD: u64 = 32;
const FRAME: usize = 24;
const BIG: Order = Order::Big;

/// What a log holds.
pub(super) struct Log<'b, 'f> {
    file: &'b File<'f>,
    /// Bytes of a page.
    pub(super) page: usize,
    /// Pages of the database.
    pub(super) pages: u32,
    /// Pages with the frames that hold them last; sorted.
    frames: Vec<(u32, u32)>,
}

/// What there is to say of a log.
pub(super) enum Found<'b, 'f> {
    /// It changes the database.
    Log(Log<'b, 'f>),
    /// There is nothing in it that counts.
    Nothing,
    /// SQLite would not open the database with it.
    Unknown,
}

impl<'b, 'f> Log<'b, 'f> {
    pub(super) fn read(file: &'b File<'f>) -> io::Result<Found<'b, 'f>> {
        let head = file.piece(0, 32)?;
        let word = |at: usize| BIG.u32(&head, 4 * at).unwrap_or_default();
        let order = if word(0) & 1 == 1 { Order::Big } else { Order::Little };
        let page = index(word(2)).filter(|page| (512..=1 << 16).contains(page) && page.is_power_of_two());
        let (Some(page), MAGIC) = (page, word(0) & !1) else { return Ok(Found::Nothing) };
        let mut sum = Sum::default();
        if head.len() < 32 || sum.add(order, &head[..24]).is_none() || sum != Sum(word(6), word(7)) {
            return Ok(Found::Nothing);
        }
        if word(1) != VERSION {
            return Ok(Found::Unknown);
        }
        let mut log = Log { file, page, pages: 0, frames: Vec::new() };
        let mut committed = 0;
        for number in 0_u32.. {
            let frame = file.piece(log.place(number), FRAME + page)?;
            let word = |at: usize| BIG.u32(&frame, 4 * at).unwrap_or_default();
            let is_ours = frame.len() == FRAME + page && head[16..24] == frame[8..16] && word(0) != 0;
            if !is_ours
                || sum.add(order, &frame[..8]).is_none()
                || sum.add(order, &frame[FRAME..]).is_none()
                || sum != Sum(word(4), word(5))
            {
                break;
            }
            log.frames.push((word(0), number));
            if word(1) != 0 {
                log.pages = word(1);
                committed = log.frames.len();
            }
        }
        log.frames.truncate(committed);
        log.frames.sort_unstable();
        // The last of each page counts.
        log.frames.reverse();
        log.frames.dedup_by_key(|(page, _)| *page);
        log.frames.reverse();
        Ok(if committed == 0 { Found::Nothing } else { Found::Log(log) })
    }

    /// A page, if it is here.
    pub(super) fn get(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        let Ok(at) = self.frames.binary_search_by_key(&number, |(page, _)| *page) else { return Ok(None) };
        let (_, frame) = self.frames[at];
        self.file.piece(self.place(frame) + FRAME as u64, self.page).map(Some)
    }

    fn place(&self, frame: u32) -> u64 {
        HEAD + u64::from(frame) * (FRAME + self.page) as u64
    }
}

/// The sum over all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    /// Goes on over bytes, in pairs of words.
    fn add(&mut self, order: Order, bytes: &[u8]) -> Option<()> {
        for pair in bytes.chunks(8) {
            self.0 = self.0.wrapping_add(order.u32(pair, 0)?).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(order.u32(pair, 4)?).wrapping_add(self.0);
        }
        Some(())
    }
}
