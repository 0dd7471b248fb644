//! A context that comes as a stream: a tar, compressed or not, or a Dockerfile alone.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _};
use std::os::fd::OwnedFd;

use build::Cancel;
use image::tar::{self, Parser};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Result;
use crate::build::BuildError;
use crate::build::copy::CopyError;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::images::failed;

const ACTION: &str = "read the context";
/// What people know it as.
const NAME: &str = "-";
/// How long is waited for more between two looks at whether the build was cancelled.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What a stream was.
pub(in crate::build) enum Received {
    /// The files of a tar, as one layer.
    Tree(Tree),
    /// A Dockerfile, and no files.
    Dockerfile(Vec<u8>),
}

/// Reads a stream once, to its end. A Dockerfile has at most `limit` bytes.
pub(in crate::build) fn receive(
    session: &Session<'_>,
    stream: OwnedFd,
    limit: u64,
    cancel: &Cancel,
    progress: &dyn Fn(u64),
) -> Result<Received> {
    let mut stream = Patient { stream: File::from(stream), cancel };
    let mut plain = image::decompressed(NAME, &mut stream).map_err(failed(ACTION))?;
    let read = |source| failed(ACTION)(image::Error::Read { entry: NAME.to_owned(), source });
    let mut start = Vec::new();
    plain.by_ref().take(512).read_to_end(&mut start).map_err(read)?;
    if !tar::is_header(&start) && !is_empty_tar(&start) {
        let mut text = start;
        plain.take(limit.saturating_add(1)).read_to_end(&mut text).map_err(read)?;
        if text.len() as u64 > limit {
            return Err(BuildError::LargeDockerfile { name: NAME.to_owned(), limit }.into());
        }
        if text.contains(&0) {
            return Err(CopyError::Stream.into());
        }
        return Ok(Received::Dockerfile(text));
    }
    let mut layer = session.draft.layer().map_err(failed(ACTION))?;
    let refused = |source| failed(ACTION)(image::Error::Archive { entry: NAME.to_owned(), source });
    let mut parser = Parser::new(tar::Limits::default());
    let mut told = 0;
    let mut take = |bytes: &[u8]| -> Result<()> {
        use io::Write as _;
        parser.push(bytes, &mut |_| Ok::<(), tar::Error>(())).map_err(refused)?;
        let path = layer.path().to_owned();
        layer
            .write_all(bytes)
            .map_err(|source| failed(ACTION)(linux::file::Error { action: "write", path, source }.into()))?;
        if layer.size() >> 20 > told >> 20 {
            told = layer.size();
            progress(told);
        }
        if cancel.is_cancelled() { Err(BuildError::Cancelled.into()) } else { Ok(()) }
    };
    take(&start)?;
    loop {
        let bytes = match plain.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(read(source)),
        };
        if bytes.is_empty() {
            break;
        }
        take(bytes)?;
        let length = bytes.len();
        plain.consume(length);
    }
    parser.finish().map_err(refused)?;
    progress(layer.size());
    let layer = layer.finish().map_err(failed(ACTION))?;
    let tree = Tree::empty().with(layer);
    // What does not merge is found here, and not by the first step that looks.
    session.merged(&tree)?;
    Ok(Received::Tree(tree))
}

/// A stream that may fall silent: who waits for it sees the end of the build.
struct Patient<'c> {
    stream: File,
    cancel: &'c Cancel,
}

impl io::Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other(BuildError::Cancelled));
            }
            let mut watched = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut watched, Some(&TURN)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.stream.read(buffer),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn is_empty_tar(start: &[u8]) -> bool {
    start.len() == 512 && start.iter().all(|byte| *byte == 0)
}
