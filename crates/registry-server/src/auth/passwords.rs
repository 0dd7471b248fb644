//! Passwords: a file of `user:bcrypt` lines, as `htpasswd -B` writes it.
//!
//! Checking one is slow by intent, so few are checked at a time, and what was right is remembered for some minutes as a
//! keyed hash: a client that sends its password with every request pays once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use linux::file::{self, Named as _};
use tokio::sync::Semaphore;

use super::token::Key;

/// Checks at once.
const AT_ONCE: usize = 2;
/// How long a password that was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// A file of a hundred thousand users.
const FILE_LIMIT: u64 = 8 << 20;

/// The users and their passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    users: Mutex<Users>,
    right: Mutex<HashMap<String, ([u8; 32], Instant)>>,
    key: Key,
    checks: Arc<Semaphore>,
    /// What is checked when nobody has the name, so that the time tells nothing.
    decoy: String,
}

#[derive(Debug, Default)]
struct Users {
    hashes: HashMap<String, String>,
    read: Option<(SystemTime, u64)>,
}

/// Why a file of passwords cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read the passwords")]
    File(#[from] file::Error),
    /// A line is not `user:$2y$…`.
    #[error("{}: line {line}: want USER:BCRYPT, as `htpasswd -B` writes it", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
    },
    /// No randomness or no bcrypt.
    #[error("prepare to check passwords: {0}")]
    Prepare(String),
}

impl Passwords {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let prepare = |error: &dyn std::fmt::Display| Error::Prepare(error.to_string());
        let passwords = Self {
            path: path.to_owned(),
            users: Mutex::default(),
            right: Mutex::default(),
            key: Key::random().map_err(|error| prepare(&error))?,
            checks: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: bcrypt::hash("nobody has this one", bcrypt::DEFAULT_COST)
                .map_err(|error| prepare(&error))?,
        };
        passwords.refresh()?;
        Ok(passwords)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file where it has changed.
    fn refresh(&self) -> Result<(), Error> {
        let found = std::fs::metadata(&self.path).named("examine", &self.path)?;
        let stamp = (found.modified().named("examine", &self.path)?, found.len());
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.read == Some(stamp) {
            return Ok(());
        }
        let content = file::read_bounded(&self.path, FILE_LIMIT)?;
        users.hashes = parse(&String::from_utf8_lossy(&content))
            .map_err(|line| Error::Line { path: self.path.clone(), line })?;
        users.read = Some(stamp);
        // Somebody may have lost a password.
        self.right.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Whether `password` is that of `user`.
    pub(crate) async fn check(self: Arc<Self>, user: String, password: String) -> bool {
        if let Err(error) = self.refresh() {
            // Those that were read before go on to count.
            tracing::error!(error = &error as &dyn std::error::Error, "the passwords were not read again");
        }
        let mark = self.key.mark(format!("{user}\n{password}").as_bytes());
        let remembered = self.right.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied();
        if remembered
            .is_some_and(|(right, since)| since.elapsed() < REMEMBERED && self.key.same(&right, &mark))
        {
            return true;
        }
        let hash = self.users.lock().unwrap_or_else(PoisonError::into_inner).hashes.get(&user).cloned();
        let Ok(_turn) = self.checks.clone().acquire_owned().await else { return false };
        let (known, hash) = (hash.is_some(), hash.unwrap_or_else(|| self.decoy.clone()));
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        let right = checked.await.unwrap_or(false) && known;
        if right {
            self.right.lock().unwrap_or_else(PoisonError::into_inner).insert(user, (mark, Instant::now()));
        }
        right
    }
}

/// The lines of a file; the number of the first that is none.
fn parse(text: &str) -> Result<HashMap<String, String>, usize> {
    let mut hashes = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, hash) = line.split_once(':').ok_or(number + 1)?;
        let is_bcrypt =
            ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|mark| hash.starts_with(mark)) && hash.len() == 60;
        if user.is_empty() || !is_bcrypt {
            return Err(number + 1);
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_users_with_bcrypt() {
        let hash = format!("$2y$05${}", "a".repeat(53));
        let users = parse(&format!("# comment\n\nalice:{hash}\nbob:{hash}\n")).unwrap();
        assert_eq!(users.len(), 2);
        for (bad, line) in [("alice", 1), (":x", 1), ("\nalice:$apr1$x$y", 2), ("a:{SHA}x", 1)] {
            assert_eq!(parse(bad), Err(line), "{bad}");
        }
    }
}
