//! The Release file of a suite: what it is, until when it holds, and the sums of its indexes.

use std::collections::BTreeMap;

use crate::control;
use crate::date::{Seconds, parse_date};
use crate::error::{Error, Result};
use crate::{Sha256, parse_sha256};

/// What a Release file says. Only sums by SHA-256 count: MD5 and SHA-1 are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Who makes it, such as `Debian`; empty where it does not say.
    pub origin: String,
    /// Such as `stable`; empty where it does not say.
    pub suite: String,
    /// Such as `bookworm`; empty where it does not say.
    pub codename: String,
    /// When it was made.
    pub date: Seconds,
    /// Until when it holds; some suites do not say.
    pub valid_until: Option<Seconds>,
    /// Of all packages together.
    pub components: Vec<String>,
    /// Of all packages together.
    pub architectures: Vec<String>,
    /// Indexes can be had by their sums, too, so that none is fetched while it is being replaced.
    pub by_hash: bool,
    /// Packages for all architectures have an index of their own instead of being in that of each.
    pub splits_all: bool,
    files: BTreeMap<String, IndexFile>,
}

/// What a Release file says of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// In bytes.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

/// Debian's main archive lists about 1,500.
const FILES_LIMIT: usize = 100_000;

impl Release {
    /// Reads the (verified) text.
    ///
    /// # Errors
    /// Where a field is missing or wrong, or there are no sums by SHA-256.
    pub fn parse(text: &str) -> Result<Release> {
        let stanza = control::single(text)?;
        let text_of = |field| stanza.get(field).unwrap_or("").to_owned();
        let words =
            |field| stanza.get(field).unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect();
        let says =
            |field, word: &str| stanza.get(field).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let architectures: Vec<String> = words("Architectures");
        let joined =
            stanza.get("No-Support-for-Architecture-all").is_some_and(|what| what.contains("Packages"));
        Ok(Release {
            origin: text_of("Origin"),
            suite: text_of("Suite"),
            codename: text_of("Codename"),
            date: parse_date(stanza.require("Date")?)?,
            valid_until: stanza.get("Valid-Until").map(parse_date).transpose()?,
            // A component may be written with the path of its suite before it (`updates/main`).
            components: words("Components"),
            splits_all: architectures.iter().any(|name| name == "all") && !joined,
            architectures,
            by_hash: says("Acquire-By-Hash", "yes"),
            files: files(stanza.require("SHA256")?)?,
        })
    }

    /// What it says of an index, by its path below the folder of the suite (`main/binary-amd64/Packages.xz`).
    #[must_use]
    pub fn file(&self, path: &str) -> Option<IndexFile> {
        self.files.get(path).copied()
    }
}

/// Lines of sum, size and path.
fn files(text: &str) -> Result<BTreeMap<String, IndexFile>> {
    let mut files = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let wrong = |reason| Error::field("SHA256", line, reason);
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [sum, size, path] = words.as_slice() else {
            return Err(wrong("a line is no sum, size and path"));
        };
        let sha256 = parse_sha256(sum).ok_or(wrong("a sum has not 64 digits"))?;
        let size = size.parse().map_err(|_| wrong("a size is no number"))?;
        if files.len() >= FILES_LIMIT {
            return Err(wrong("there are too many files"));
        }
        let known = files.insert((*path).to_owned(), IndexFile { size, sha256 });
        if known.is_some_and(|known| known != IndexFile { size, sha256 }) {
            return Err(wrong("a file is there twice, with different sums"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n";

    #[test]
    fn a_release_names_its_files_by_sha256() {
        let sum = "ab".repeat(32);
        let text = format!(
            "{HEAD}Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
             No-Support-for-Architecture-all: Packages\nComponents: main contrib\nMD5Sum:\n 00 1 main/x\nSHA256:\n \
             {sum} 12 main/binary-amd64/Packages.xz\n"
        );
        let release = Release::parse(&text).unwrap();
        assert_eq!(release.valid_until.unwrap() - release.date, 7 * 86_400);
        assert!(release.by_hash && !release.splits_all && release.components == ["main", "contrib"]);
        let file = IndexFile { size: 12, sha256: [0xab; 32] };
        assert_eq!(release.file("main/binary-amd64/Packages.xz"), Some(file));
        assert_eq!(release.file("main/x"), None);
        assert!(Release::parse(&text.replace("No-Support", "X-Support")).unwrap().splits_all);
    }

    #[test]
    fn one_with_weak_sums_alone_or_without_a_date_is_refused() {
        let weak = format!("{HEAD}MD5Sum:\n 00 1 main/x\nSHA1:\n 00 1 main/x\n");
        assert_eq!(Release::parse(&weak), Err(Error::MissingField { field: "SHA256" }));
        let sum = "ab".repeat(32);
        for text in [
            format!("Suite: stable\nSHA256:\n {sum} 1 x\n"),
            format!("{HEAD}SHA256:\n {sum} x\n"),
            format!("{HEAD}SHA256:\n +{} 1 x\n", &sum[1..]),
            format!("{HEAD}SHA256:\n {sum} 1 x\n {sum} 2 x\n"),
            format!("{HEAD}Valid-Until: tomorrow\nSHA256:\n {sum} 1 x\n"),
        ] {
            assert!(Release::parse(&text).is_err(), "{text}");
        }
    }
}
