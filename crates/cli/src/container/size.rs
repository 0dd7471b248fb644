//! How much a container has written.

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use engine::Engine;
use engine::info::ContainerInfo;

/// Bytes of the files in a container's writable layer; a file with several names counts once.
/// What cannot be read counts as nothing: the container may be writing or going away meanwhile.
pub(crate) fn written(engine: &Engine, info: &ContainerInfo) -> u64 {
    let in_file = engine.layer_in_file(&info.id).ok().flatten();
    let upper = match &in_file {
        Some(upper) => PathBuf::from(format!("/proc/self/fd/{}", upper.as_raw_fd())),
        None => info.directory.join("upper"),
    };
    let mut total = 0;
    let mut seen = HashSet::new();
    let mut pending = vec![upper];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            // The entry's own metadata: links are never followed.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                total += metadata.len();
            }
        }
    }
    total
}
