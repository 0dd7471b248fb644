//! What is installed in a file tree, as package managers and compilers have written it down there.
//!
//! ```text
//! every file of the tree ─► Inventory::look ─► by its path: a database, a manifest, an archive   ─► packages ─► finish: sorted
//!                                           └► by what it is: a program that names its modules ─┘
//! ```
//!
//! | who | where |
//! |---|---|
//! | dpkg | `var/lib/dpkg/status`, `var/lib/dpkg/status.d/*` |
//! | apk | `lib/apk/db/installed`, `usr/lib/apk/db/installed` |
//! | rpm | `rpmdb.sqlite` with its log, `Packages.db` (ndb), `Packages` (Berkeley DB), in any of the folders that rpm has had |
//! | Python | `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `*.egg-info` |
//! | npm | `node_modules/**/package.json` |
//! | Go, Rust | programs: Go's build information, and what `cargo auditable` leaves |
//! | Java | archives (`.jar`, `.war`, …), also those that lie in others: `pom.properties`, manifests, names |
//! | Ruby, PHP, .NET | `specifications/*.gemspec`, `vendor/composer/installed.json`, `*.deps.json` |
//!
//! All of it is hostile. What must hold:
//! - Nothing is opened here: the caller shows files and reads them ([`File::read_at`]).
//! - Memory and work are bounded, whatever files say of themselves; nothing recurses deeper than a small number.
//! - What is not understood, or is too much, is passed over, and [`Found::passed_over`] names the file.
//! - Equal trees give equal lists, in whatever order files are shown.

mod binary;
mod bytes;
mod go;
mod java;
mod languages;
mod package;
mod rpm;
mod rust;
mod systems;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

pub use package::{Kind, Origin, Package, System};

/// The most packages that are listed.
const COUNT: usize = 200_000;
/// The most files that are named as passed over.
const PASSED_OVER: usize = 100;
/// The largest list of a package manager, and the largest document of one package.
const DATABASE: u64 = 64 << 20;
const DOCUMENT: u64 = 4 << 20;
/// The largest document of JSON: its values take up to fifty times their bytes in memory.
const JSON: u64 = 2 << 20;

/// A regular file of a tree.
#[derive(Clone, Copy)]
pub struct File<'f> {
    /// Where it lies, from the root on, without a slash before it.
    pub path: &'f str,
    /// Bytes.
    pub size: u64,
    /// Whether anybody may execute it.
    pub is_executable: bool,
    /// Reads bytes from an offset on, as many as there are and the buffer holds; fewer only at the end.
    pub read_at: &'f dyn Fn(u64, &mut [u8]) -> io::Result<usize>,
    /// The file at [`log_of`] its path, if there is one.
    pub log: Option<&'f File<'f>>,
}

/// Where a database keeps what it has not yet brought into its file; none if nothing of that path has such a log. It is to be shown
/// together with the file.
#[must_use]
pub fn log_of(path: &str) -> Option<String> {
    rpm::log_of(path)
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The distribution.
    pub system: System,
    /// Sorted, each once.
    pub packages: Vec<Package>,
    /// Files that look like something that tells of packages, and could not be read; the first hundred.
    pub passed_over: Vec<String>,
}

/// Collects packages while the files of a tree are shown to it.
#[derive(Debug, Default)]
pub struct Inventory {
    system: System,
    packages: Vec<Package>,
    passed_over: BTreeSet<String>,
}

/// What becomes of a file that looks like something.
enum Told {
    /// Packages, perhaps none.
    Packages(Vec<Package>),
    /// It is none of these.
    Nothing,
    /// It is not understood, or larger than it may be.
    Bad,
}

impl Inventory {
    /// Looks at a file.
    ///
    /// # Errors
    /// What [`File::read_at`] returns.
    pub fn look(&mut self, file: &File<'_>) -> io::Result<()> {
        if self.packages.len() >= COUNT {
            self.pass_over(file.path);
            return Ok(());
        }
        if matches!(file.path, "etc/os-release" | "usr/lib/os-release") {
            let text = file.text(DOCUMENT)?.unwrap_or_default();
            let system = System::parse(&text);
            // The first of the two is the other one's link, or says more.
            if !system.id.is_empty() && (self.system.id.is_empty() || file.path.starts_with("etc/")) {
                self.system = system;
            }
            return Ok(());
        }
        match self.told(file)? {
            Told::Packages(packages) => {
                let left = COUNT - self.packages.len();
                if packages.len() > left {
                    self.pass_over(file.path);
                }
                let fine = packages.into_iter().filter(Package::is_fine).take(left);
                let found = |package| Package { found: format!("/{}", file.path), ..package };
                self.packages.extend(fine.map(found));
            }
            Told::Nothing => {}
            Told::Bad => self.pass_over(file.path),
        }
        Ok(())
    }

    fn told(&self, file: &File<'_>) -> io::Result<Told> {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        for read in [systems::look, rpm::look, languages::look, java::look] {
            let told = read(file, name)?;
            if !matches!(told, Told::Nothing) {
                return Ok(told);
            }
        }
        if file.is_executable { binary::look(file) } else { Ok(Told::Nothing) }
    }

    fn pass_over(&mut self, path: &str) {
        if self.passed_over.len() < PASSED_OVER {
            self.passed_over.insert(format!("/{path}"));
        }
    }

    /// All that was found.
    #[must_use]
    pub fn finish(self) -> Found {
        let Self { system, mut packages, passed_over } = self;
        packages.sort();
        packages.dedup();
        Found { system, packages, passed_over: passed_over.into_iter().collect() }
    }
}

impl File<'_> {
    /// Bytes from an offset on, fewer only at the end of the file.
    fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut piece = vec![0; length.min(left)];
        let mut place = 0;
        while place < piece.len() {
            let read = (self.read_at)(offset + place as u64, &mut piece[place..])?;
            if read == 0 {
                break;
            }
            place += read;
        }
        piece.truncate(place);
        Ok(piece)
    }

    /// All of it; none if it is larger than that.
    fn all(&self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.size > limit {
            return Ok(None);
        }
        self.piece(0, usize::try_from(self.size).unwrap_or(usize::MAX)).map(Some)
    }

    /// All of it as text, with a mark for what is none; none if it is larger than that.
    fn text(&self, limit: u64) -> io::Result<Option<String>> {
        Ok(self.all(limit)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// What a parser makes of the text of a file.
fn of_text(
    file: &File<'_>,
    limit: u64,
    parse: impl FnOnce(&str) -> Option<Vec<Package>>,
) -> io::Result<Told> {
    let text = file.text(limit)?;
    Ok(text.and_then(|text| parse(&text)).map_or(Told::Bad, Told::Packages))
}
