//! Image references, by Docker's rules for familiar names.
//!
//! ```text
//! [REGISTRY/]REPOSITORY[:TAG][@DIGEST]
//!
//! busybox                 docker.io/library/busybox
//! user/app:1.2            docker.io/user/app:1.2
//! localhost/app           localhost/app
//! host:5000/a/b@sha256:…  host:5000/a/b@sha256:…
//! ```
//!
//! The first part is a registry if it holds a `.` or `:`, is `localhost`, or has an upper-case letter; else
//! the registry is `docker.io`, and a repository of one part lies in `library/`. `Display` and serde use the
//! canonical form, in which everything is spelled out; [`Reference::familiar`] is what people type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, is_lower_hex, serde_as_text};
use crate::error::{Error, Result, excerpt};

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const REPOSITORY_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// A name of an image, or of a repository where there is neither tag nor digest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, perhaps with a port: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository alone, spelled out: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The repository alone, as people type it: `busybox`.
    ///
    /// What is left out is only what parsing puts back, so `docker.io/localhost/x` stays as it is.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        if let Some(official) = self.repository.strip_prefix(OFFICIAL)
            && !official.contains('/')
            // Alone, 64 hexadecimal digits are an image id.
            && !is_identifier(official)
        {
            return official.to_owned();
        }
        match self.repository.split_once('/') {
            Some((first, _)) if !is_registry(first) => self.repository.clone(),
            _ => self.name(),
        }
    }

    /// As people type it, with the tag and digest that were written.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// With the tag `latest` if there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// [`Error::Reference`] if `tag` is not one.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        if !is_tag(tag) {
            return Err(Error::Reference { text: excerpt(tag), reason: TAG_RULE });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

const TAG_RULE: &str =
    "a tag has up to 128 letters, digits, _, . and -, and begins with none of the last two";

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Reference { text: excerpt(text), reason };
        if is_identifier(text) {
            return Err(refuse("64 hexadecimal digits are an image id, not a name"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(refuse("the repository's name is missing"));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse("a repository's name must be lowercase"));
        }
        let repository = match registry {
            DEFAULT_REGISTRY if !path.contains('/') => format!("{OFFICIAL}{path}"),
            _ => path.to_owned(),
        };
        if repository.len() > REPOSITORY_LIMIT {
            return Err(refuse("a repository's name has at most 255 characters"));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(refuse(
                "a repository's name has lowercase letters and digits, separated by one of . _ __ - or /",
            ));
        }
        if !is_host(registry) {
            return Err(refuse("the registry is not a host name or address with an optional port"));
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(refuse(TAG_RULE));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// Splits off the registry, or supplies the default one.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// Whether the first part of a name is a registry rather than a user of the default one.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

/// `alnum+ ((. | _ | __ | -+) alnum+)*`, in lower case.
fn is_path_component(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alnum(*first) || !alnum(*last) {
        return false;
    }
    bytes.split(|b| alnum(*b)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

/// Whether `text` may name a repository within a registry (distribution-spec, "Pulling manifests").
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.len() <= REPOSITORY_LIMIT && text.split('/').all(is_path_component)
}

/// Whether `text` may be a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    (1..=TAG_LIMIT).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

/// A host name, an IPv4 address or a bracketed IPv6 address, perhaps with a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, rest)) => match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_fits = if text.starts_with('[') {
        // A zone (`%eth0`) has no meaning to others and is no part of a reference.
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        host.len() <= 253 && host.split('.').all(is_host_label)
    };
    host_fits
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn is_host_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_suffix(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(Reference);

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn familiar_and_canonical_names() {
        for (typed, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("user/app", "docker.io/user/app", "user/app"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("localhost/app:x", "localhost/app:x", "localhost/app:x"),
            ("host:5000/a", "host:5000/a", "host:5000/a"),
            ("Host/a", "Host/a", "Host/a"),
            ("ghcr.io/a/b/c:T_1.x-y", "ghcr.io/a/b/c:T_1.x-y", "ghcr.io/a/b/c:T_1.x-y"),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
            ("[2001:db8::1]/a", "[2001:db8::1]/a", "[2001:db8::1]/a"),
            ("127.0.0.1:80/a", "127.0.0.1:80/a", "127.0.0.1:80/a"),
            ("docker.io/localhost/x", "docker.io/localhost/x", "docker.io/localhost/x"),
            ("a--b/c__d.e-f", "docker.io/a--b/c__d.e-f", "a--b/c__d.e-f"),
        ] {
            let reference: Reference = typed.parse().unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar().as_str()),
                (canonical, familiar),
                "{typed}"
            );
        }
    }

    #[test]
    fn a_tag_and_a_digest_may_stand_together() {
        let reference: Reference = format!("a/b:t@{HASH}").parse().unwrap();
        assert_eq!((reference.tag(), reference.digest().unwrap().as_str()), (Some("t"), HASH));
        assert_eq!(reference.familiar(), format!("a/b:t@{HASH}"));
        assert_eq!(reference.or_latest().tag(), Some("t"));
        assert_eq!("a".parse::<Reference>().unwrap().or_latest().familiar(), "a:latest");
        assert_eq!(format!("a@{HASH}").parse::<Reference>().unwrap().or_latest().tag(), None);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let id = "a".repeat(64);
        for bad in [
            "",
            ":",
            "@",
            "/",
            "a:",
            "a@",
            ":tag",
            "a b",
            "A",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "a:b:c",
            "a:-x",
            "a:.x",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "..",
            "../a",
            "a/../b",
            "host:port/a",
            "host:99999/a",
            "-h.x/a",
            "h-.x/a",
            "[::1/a",
            "[::1]x/a",
            "[x]/a",
            "[fe80::1%eth0]/a",
            "a..b/c",
            "http://a/b",
            "a@sha256:abc",
            "a\n",
            "\u{e4}",
            &id,
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
            &format!("a@{HASH}@{HASH}"),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
        assert!(format!("library/{id}").parse::<Reference>().is_ok());
    }

    #[test]
    fn tags_and_digests_are_exchanged() {
        let reference: Reference = format!("a:t@{HASH}").parse().unwrap();
        assert_eq!(reference.with_tag("u").unwrap().familiar(), "a:u");
        assert!(reference.with_tag("u/v").is_err());
        assert_eq!(reference.with_digest(HASH.parse().unwrap()).familiar(), format!("a@{HASH}"));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_both_forms_round_trip(
            text in "\\PC{0,40}|([A-Za-z0-9.:-]{1,8}/)?[a-z0-9._-]{1,6}(/[a-z0-9._-]{1,6}){0,2}(:[A-Za-z0-9._-]{1,6})?|(docker\\.io/)?(library/|localhost/)?[a-f0-9]{64}"
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
                assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
