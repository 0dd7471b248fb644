//! Looks at all that is below a directory, by all processors at once, before one thread walks through it in order.
//!
//! What is seen stays as it was seen, whoever has looked ([`Files::list`]); so the walk finds the same without a system call. What
//! cannot be listed is left to it, too: it meets the same failure again, in order.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::{Files, Item, Seen};
use crate::build::parallel::with_help;

/// Names that one thread has looked at before it has others help.
const FEW: usize = 1000;

/// Directories that nobody has listed yet.
#[derive(Default)]
struct Pending {
    directories: Mutex<Directories>,
    /// There is another one, or no more will come.
    more: Condvar,
}

#[derive(Default)]
struct Directories {
    waiting: Vec<Seen>,
    /// How many are being listed: each may have others in it.
    listed: usize,
}

impl Files {
    /// Lists a directory and all below it.
    pub(in crate::build) fn look_ahead(&self, top: &Seen) {
        let (mut waiting, mut names) = (vec![top.clone()], 0);
        while let Some(directory) = waiting.pop_if(|_| names < FEW) {
            names += self.look_into(&directory, &mut waiting);
        }
        if waiting.len() < 2 {
            // A handful more, or one long chain.
            while let Some(directory) = waiting.pop() {
                self.look_into(&directory, &mut waiting);
            }
            return;
        }
        let pending =
            Pending { directories: Mutex::new(Directories { waiting, listed: 0 }), ..Pending::default() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        with_help(threads - 1, &|| pending.work(self));
    }

    /// Lists one directory; how many names it has.
    fn look_into(&self, directory: &Item, found: &mut Vec<Seen>) -> usize {
        let Ok(names) = self.list(directory) else { return 0 };
        let directories = names.items().enumerate().filter(|(_, item)| item.kind == FileType::Directory);
        found.extend(directories.filter_map(|(at, _)| names.get(at)).map(|(_, seen)| seen));
        names.len()
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists directories until there are none left, and nobody could find another.
    fn work(&self, files: &Files) {
        let mut found = Vec::new();
        let mut directories = self.lock();
        loop {
            let Some(directory) = directories.waiting.pop() else {
                if directories.listed == 0 {
                    return;
                }
                directories = self.more.wait(directories).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            directories.listed += 1;
            drop(directories);
            files.look_into(&directory, &mut found);
            directories = self.lock();
            directories.listed -= 1;
            directories.waiting.append(&mut found);
            if directories.waiting.len() > 1 || directories.listed == 0 {
                self.more.notify_all();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use dockerfile::ignore::Matcher;

    use super::*;
    use crate::build::world::Remembered;

    fn open(path: &Path, ignored: &[&str]) -> Files {
        let ignored = Matcher::new(ignored).unwrap();
        Files::open(path, ("context", "nonce"), Some(&ignored), Arc::new(Remembered::default())).unwrap()
    }

    /// A directory with files, and as many in each of those below it.
    fn fill(path: &Path, directories: usize, depth: usize) {
        std::fs::create_dir(path).unwrap();
        (0..directories * 4).for_each(|file| std::fs::write(path.join(format!("f{file}")), "").unwrap());
        if depth > 0 {
            (0..directories).for_each(|inner| fill(&path.join(format!("d{inner}")), directories, depth - 1));
        }
    }

    /// Paths that are seen from a directory on.
    fn seen(files: &Files, directory: &Item, paths: &mut Vec<Vec<u8>>) {
        for item in files.list(directory).unwrap().items() {
            paths.push(item.path().to_owned());
            if item.kind() == FileType::Directory {
                seen(files, item, paths);
            }
        }
    }

    #[test]
    fn all_is_seen_once_and_nothing_that_is_left_out() {
        let folder = testkit::Scratch::new();
        for (name, directories, depth) in [("wide", 5, 4), ("deep", 1, 200), ("empty", 0, 0)] {
            let path = folder.join(name);
            fill(&path, directories, depth);
            let (files, walked) = (open(&path, &["**/d1/d0"]), open(&path, &["**/d1/d0"]));
            files.look_ahead(files.top());
            let mut expected = Vec::new();
            seen(&walked, walked.top(), &mut expected);
            // Nothing that was seen is looked for again.
            std::fs::remove_dir_all(&path).unwrap();
            let mut found = Vec::new();
            seen(&files, files.top(), &mut found);
            assert_eq!(found, expected);
            assert!(found.len() >= directories * depth && !found.iter().any(|path| path.ends_with(b"d1/d0")));
        }
    }

    #[test]
    fn what_cannot_be_listed_is_left_to_who_walks() {
        let folder = testkit::Scratch::new();
        let path = folder.join("context");
        fill(&path, 6, 3);
        let files = open(&path, &[]);
        let names = files.list(files.top()).unwrap();
        std::fs::remove_dir_all(path.join("d3")).unwrap();
        files.look_ahead(files.top());
        for item in names.items().filter(|item| item.name().starts_with(b"d")) {
            assert_eq!(files.list(item).is_err(), item.name() == b"d3");
        }
    }
}
