//! Folders of the tests' own.

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::abandoned::own_name;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An empty folder (mode 0755) below the folder for temporary files. Dropping it removes it with all it holds, layers
/// that are immutable too, and fails when something is mounted there.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    /// Makes one, under a name that no other test has.
    pub fn new() -> Scratch {
        Scratch::within(&std::env::temp_dir())
    }

    /// The same in memory, on a tmpfs.
    pub fn in_memory() -> Scratch {
        Scratch::within(Path::new("/dev/shm"))
    }

    fn within(folder: &Path) -> Scratch {
        let path = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(own_name(&number.to_string()));
            match std::fs::create_dir(&path) {
                Ok(()) => break path,
                // Left by one that was killed, whose number this process has now.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("make {}: {error}", path.display()),
            }
        };
        // Whatever the caller's mask.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set a mode");
        Scratch(path)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = linux::file::remove_tree(&self.0) {
            // A test that failed already has told its reason; what it left is its consequence.
            assert!(std::thread::panicking(), "remove the folder of the test: {error:?}");
        }
    }
}
