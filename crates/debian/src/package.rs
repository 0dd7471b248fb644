//! Packages as indexes list them.

use std::collections::HashMap;

use crate::control::{Stanza, stanzas};
use crate::error::{Error, Result};
use crate::relation::parse_relations;
use crate::version::Version;
use crate::{Sha256, parse_sha256};

/// How important a package is, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the archive's")]
pub enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

/// One version of a package.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: Version,
    /// `all`, or that of the index.
    pub architecture: &'a str,
    /// Nothing works without it.
    pub essential: bool,
    /// How important it is.
    pub priority: Priority,
    /// Where its file lies, below the archive's folder.
    pub filename: &'a str,
    /// Of its file, in bytes.
    pub size: u64,
    /// Of its file.
    pub sha256: Sha256,
    /// Which of the sources it comes from, in the order in which they were added.
    pub source: usize,
    /// Everything the index says of it.
    pub stanza: Stanza<'a>,
}

/// All packages that there are to choose from.
#[derive(Clone, Debug, Default)]
pub struct Universe<'a> {
    packages: Vec<Package<'a>>,
    /// Newest first; of equal versions the one that was added first.
    by_name: HashMap<&'a str, Vec<usize>>,
    /// Who provides a name, and in which version.
    provided: HashMap<&'a str, Vec<(usize, Option<Version>)>>,
}

/// Debian's main archive has about 65,000 for an architecture.
const PACKAGES_LIMIT: usize = 1_000_000;

impl<'a> Universe<'a> {
    /// Adds the packages of an index that are for `architecture` or for all. `source` is kept with each.
    ///
    /// # Errors
    /// The first stanza that is none of a package.
    pub fn add(&mut self, index: &'a str, architecture: &str, source: usize) -> Result<()> {
        for stanza in stanzas(index) {
            let stanza = stanza?;
            let name = stanza.require("Package")?;
            let within =
                |error| Error::Package { package: name.chars().take(80).collect(), source: Box::new(error) };
            let package = Package::parse(stanza, source).map_err(within)?;
            if package.architecture != architecture && package.architecture != "all" {
                continue;
            }
            let at = self.packages.len();
            if at >= PACKAGES_LIMIT {
                return Err(Error::field("Package", name, "there are too many packages"));
            }
            for (name, version) in package.provides().map_err(within)? {
                self.provided.entry(name).or_default().push((at, version));
            }
            let (packages, versions) = (&self.packages, self.by_name.entry(package.name).or_default());
            let place = versions.partition_point(|known| packages[*known].version >= package.version);
            versions.insert(place, at);
            self.packages.push(package);
        }
        Ok(())
    }

    /// All of them; what else names packages does it by their place here.
    #[must_use]
    pub fn packages(&self) -> &[Package<'a>] {
        &self.packages
    }

    /// All versions of a package, newest first.
    pub(crate) fn versions(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Who provides a name, and in which version.
    pub(crate) fn providers(&self, name: &str) -> &[(usize, Option<Version>)] {
        self.provided.get(name).map_or(&[], Vec::as_slice)
    }

    /// The newest version of each package.
    pub(crate) fn newest(&self) -> impl Iterator<Item = usize> {
        self.by_name.values().filter_map(|versions| versions.first().copied())
    }
}

impl<'a> Package<'a> {
    fn parse(stanza: Stanza<'a>, source: usize) -> Result<Package<'a>> {
        let name = stanza.require("Package")?;
        if !is_package_name(name) {
            return Err(Error::field("Package", name, "it is no name of a package"));
        }
        let architecture = stanza.require("Architecture")?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !architecture.bytes().all(plain) {
            return Err(Error::field("Architecture", architecture, "it is no name of an architecture"));
        }
        let filename = stanza.require("Filename")?;
        let sum = stanza.require("SHA256")?;
        let size = stanza.require("Size")?;
        Ok(Package {
            name,
            version: stanza.require("Version")?.parse()?,
            architecture,
            essential: stanza.get("Essential").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            priority: match stanza.get("Priority").unwrap_or("") {
                "required" => Priority::Required,
                "important" => Priority::Important,
                "standard" => Priority::Standard,
                "extra" => Priority::Extra,
                // What the policy no longer knows counts as most packages do.
                _ => Priority::Optional,
            },
            filename: checked_path(filename).ok_or(Error::field(
                "Filename",
                filename,
                "it is no path below",
            ))?,
            size: size.parse().map_err(|_| Error::field("Size", size, "it is no number"))?,
            sha256: parse_sha256(sum).ok_or(Error::field("SHA256", sum, "it has not 64 digits"))?,
            source,
            stanza,
        })
    }

    /// The names that it fulfils beside its own, and in which versions.
    fn provides(&self) -> Result<Vec<(&'a str, Option<Version>)>> {
        let Some(text) = self.stanza.get("Provides") else { return Ok(Vec::new()) };
        let groups = parse_relations("Provides", text)?;
        // Alternatives and other signs than equality make no sense here, and dpkg takes them as if they were none.
        Ok(groups
            .into_iter()
            .flatten()
            .map(|one| (one.name, one.versions.map(|(_, version)| version)))
            .collect())
    }

    /// `name=version`, as one asks for it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

/// Names of packages become names of files: two or more of `a-z0-9+-.`, the first a letter or digit (policy 5.6.1).
pub(crate) fn is_package_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins && name.len() <= 200 && name.bytes().all(fits)
}

/// A path that stays below where it begins, and means the same in an address.
fn checked_path(path: &str) -> Option<&str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~/:".contains(&byte);
    let parts = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    (path.len() <= 1024 && parts && path.bytes().all(fits)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(more: &str) -> String {
        format!(
            "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a_1.deb\nSize: 3\nSHA256: {}\n{more}\n",
            "0".repeat(64)
        )
    }

    #[test]
    fn newest_versions_come_first_and_other_architectures_are_left_out() {
        let one = stanza("Provides: x (= 7), y\nPriority: required");
        let text = format!(
            "{one}\n{}\n{}",
            one.replace("Version: 1", "Version: 10"),
            one.replace("amd64", "arm64").replace("Version: 1", "Version: 20")
        );
        let mut universe = Universe::default();
        universe.add(&text, "amd64", 0).unwrap();
        let versions: Vec<&str> =
            universe.versions("a").iter().map(|at| universe.packages()[*at].version.as_str()).collect();
        assert_eq!(versions, ["10", "1"]);
        assert_eq!(universe.providers("x").len(), 2);
        assert_eq!(universe.newest().collect::<Vec<_>>(), [1]);
        assert_eq!(universe.packages()[0].priority, Priority::Required);
    }

    #[test]
    fn what_would_leave_its_folder_is_refused() {
        for (from, to) in [
            ("Package: a", "Package: ../a"),
            ("Package: a", "Package: A"),
            ("pool/a_1.deb", "../../etc/passwd"),
            ("pool/a_1.deb", "/pool/a_1.deb"),
            ("pool/a_1.deb", "pool//a_1.deb"),
            ("pool/a_1.deb", "pool/a?x=1"),
            ("amd64", "../amd64"),
            ("Size: 3", "Size: -3"),
            ("Version: 1", "Version: a b"),
            ("SHA256: 0", "SHA256: g"),
        ] {
            let text = stanza("").replace(from, to);
            assert!(Universe::default().add(&text, "amd64", 0).is_err(), "{to}");
        }
    }
}
