//! How much a container has written.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the files in the writable layer below a container's directory; a file with several names counts once.
/// What cannot be read counts as nothing: the container may be writing or going away meanwhile.
pub(crate) fn written(directory: &Path) -> u64 {
    let mut total = 0;
    let mut seen = HashSet::new();
    let mut pending = vec![directory.join("upper")];
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
