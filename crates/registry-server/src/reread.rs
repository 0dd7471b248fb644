//! What is made of files, and made anew when they change: whoever renews a certificate or changes a right does not have to
//! end the server for it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

type Made<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Make<T> = Box<dyn Fn(Option<&T>) -> Made<T> + Send + Sync>;

/// Something made of files. What cannot be used is said in the log, and what was there before stays in use.
pub(crate) struct Reread<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    /// Files that are looked at for what was made of the others.
    further: Option<fn(&T) -> Vec<PathBuf>>,
    make: Make<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    /// As the files were when they were read last.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

/// What tells one state of a file from another: device, inode, size, and when it was changed.
type Stamp = (u64, u64, i64, i64, i64);

impl<T> std::fmt::Debug for Reread<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {:?}", self.what, self.files)
    }
}

impl<T> Reread<T> {
    /// Makes it for the first time. `make` is given what there was before.
    pub(crate) fn new<E>(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(Option<&T>) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E>
    where
        E: Error + Send + Sync + 'static,
    {
        // Before they are read: what is changed meanwhile is read again.
        let stamps = stamps(files.iter());
        let current = Arc::new(make(None)?);
        let state = Mutex::new(State { current, stamps, looked: Instant::now() });
        let make = move |before: Option<&T>| make(before).map_err(Into::into);
        Ok(Self { what, files, further: None, make: Box::new(make), state })
    }

    /// Looks at the files, too, that what was made names.
    pub(crate) fn following(mut self, further: fn(&T) -> Vec<PathBuf>) -> Self {
        self.further = Some(further);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // They were read a moment ago, and may have changed since: they are read once more.
        if !further(&state.current).is_empty() {
            state.stamps.clear();
        }
        self
    }

    /// What the files say, as they were a second ago or later.
    pub(crate) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            self.look(&mut state, false);
        }
        state.current.clone()
    }

    /// Reads the files now, whether they look changed or not.
    pub(crate) fn refresh(&self) {
        self.look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), true);
    }

    fn look(&self, state: &mut State<T>, anyway: bool) {
        state.looked = Instant::now();
        let further = self.further.map_or_else(Vec::new, |further| further(&state.current));
        let stamps = stamps(self.files.iter().chain(&further));
        if stamps == state.stamps && !anyway {
            return;
        }
        state.stamps = stamps;
        match (self.make)(Some(&state.current)) {
            Ok(made) => {
                state.current = Arc::new(made);
                tracing::info!("{} read again", self.what);
            }
            Err(error) => {
                let error: &(dyn Error + 'static) = &*error;
                tracing::error!("{} not usable, the old stays in use: {}", self.what, reasons(error));
            }
        }
    }
}

/// An error with its causes.
pub(crate) fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn stamps<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let found = rustix::fs::stat(path).ok()?;
        Some((found.st_dev, found.st_ino, found.st_size, found.st_mtime, found.st_mtime_nsec.cast_signed()))
    };
    files.map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bad_leaves_what_was_good() {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("number");
        linux::file::write(&path, b"1").unwrap();
        let from = path.clone();
        let number = Reread::new("the number", vec![path.clone()], move |_: Option<&u32>| {
            let text = String::from_utf8_lossy(&linux::file::read_bounded(&from, 100).unwrap()).into_owned();
            text.parse::<u32>()
        })
        .unwrap();
        assert_eq!(*number.current(), 1);
        linux::file::write(&path, b"two").unwrap();
        number.refresh();
        assert_eq!(*number.current(), 1);
        linux::file::write(&path, b"2").unwrap();
        testkit::wait_until("the number is read again", || *number.current() == 2);
    }
}
