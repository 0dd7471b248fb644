//! What a request means: which archives, for which architecture, trusted by which keyring.

use std::fmt;
use std::path::PathBuf;

use oci::Platform;

use super::architecture_of;
use super::error::BootstrapError as Failure;
use crate::request::Bootstrap;
use crate::{Error, Result};

/// One suite of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Without a slash at its end.
    pub(super) url: String,
    pub(super) suite: String,
    pub(super) components: Vec<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.url, self.suite, self.components.join(" "))
    }
}

/// A request, understood.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// That of the release itself first.
    pub(super) sources: Vec<Source>,
    pub(super) architecture: String,
    pub(super) platform: Platform,
    pub(super) keyring: PathBuf,
    pub(super) allow_expired: bool,
}

/// A distribution whose archives are known.
struct Distribution {
    keyring: &'static str,
    mirror: &'static str,
    /// Of its suites with corrections, with the ending of their names.
    corrections: &'static [(&'static str, &'static str)],
    /// Suites that have none, for they change all the time.
    rolling: &'static [&'static str],
}

static DEBIAN: Distribution = Distribution {
    keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
    mirror: "http://deb.debian.org/debian",
    corrections: &[
        ("http://deb.debian.org/debian", "-updates"),
        ("http://deb.debian.org/debian-security", "-security"),
    ],
    rolling: &["sid", "unstable", "experimental"],
};

static UBUNTU: Distribution = Distribution {
    keyring: "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    mirror: "http://archive.ubuntu.com/ubuntu",
    corrections: &[
        ("http://archive.ubuntu.com/ubuntu", "-updates"),
        ("http://archive.ubuntu.com/ubuntu", "-security"),
    ],
    rolling: &["devel"],
};

/// The same for processors that the main servers of Ubuntu do not serve.
static UBUNTU_PORTS: Distribution = Distribution {
    mirror: "http://ports.ubuntu.com/ubuntu-ports",
    corrections: &[
        ("http://ports.ubuntu.com/ubuntu-ports", "-updates"),
        ("http://ports.ubuntu.com/ubuntu-ports", "-security"),
    ],
    ..UBUNTU_TEMPLATE
};

const UBUNTU_TEMPLATE: Distribution = Distribution {
    keyring: "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    mirror: "",
    corrections: &[],
    rolling: &["devel"],
};

impl Plan {
    /// Pure: nothing is asked or opened.
    pub(super) fn new(request: &Bootstrap) -> Result<Plan> {
        let platform = match &request.platform {
            None => Platform::host(),
            Some(text) => text
                .parse()
                .map_err(|source| Error::InvalidPlatform { text: text.chars().take(80).collect(), source })?,
        }
        .normalized();
        let architecture =
            architecture_of(&platform).ok_or_else(|| Failure::Platform { platform: platform.to_string() })?;
        let unknown = || Failure::UnknownSystem { system: request.system.chars().take(80).collect() };
        let (name, suite) = request.system.split_once(':').ok_or_else(unknown)?;
        let main_servers = matches!(architecture, "amd64" | "i386");
        let known = match name {
            "debian" => Some(&DEBIAN),
            "ubuntu" if main_servers => Some(&UBUNTU),
            "ubuntu" => Some(&UBUNTU_PORTS),
            _ => None,
        };
        let components =
            if request.components.is_empty() { vec!["main".to_owned()] } else { request.components.clone() };
        let source = |url: &str, suite: String| checked(url, suite, components.clone());
        let mut sources = match (&request.mirror, known) {
            (Some(mirror), _) => vec![source(mirror, suite.to_owned())?],
            (None, None) => return Err(unknown().into()),
            (None, Some(known)) => {
                let mut sources = vec![source(known.mirror, suite.to_owned())?];
                if !known.rolling.contains(&suite) {
                    for (url, ending) in known.corrections {
                        sources.push(source(url, format!("{suite}{ending}"))?);
                    }
                }
                sources
            }
        };
        for text in &request.sources {
            let mut words = text.split_ascii_whitespace();
            let (Some(url), Some(suite)) = (words.next(), words.next()) else {
                return Err(Failure::Source { text: text.clone() }.into());
            };
            let own: Vec<String> = words.map(str::to_owned).collect();
            let own = if own.is_empty() { components.clone() } else { own };
            sources.push(checked(url, suite.to_owned(), own)?);
        }
        let keyring = request.keyring.clone().or_else(|| known.map(|known| known.keyring.into()));
        Ok(Plan {
            sources,
            architecture: architecture.to_owned(),
            platform,
            keyring: keyring.ok_or_else(unknown)?,
            allow_expired: request.allow_expired,
        })
    }

    /// For the history of the image.
    pub(super) fn described(&self) -> String {
        self.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

fn checked(url: &str, suite: String, components: Vec<String>) -> std::result::Result<Source, Failure> {
    let address = || Failure::Address { url: url.chars().take(200).collect() };
    let rest = ["http://", "https://", "file:///"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let plain = |byte: u8| matches!(byte, b'!'..=b'~') && !b"?#\"<>\\^`{|}".contains(&byte);
    if rest.is_none_or(str::is_empty) || !url.bytes().all(plain) {
        return Err(address());
    }
    // They become parts of addresses, and lines of a list.
    let word = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        !text.is_empty() && text.len() <= 80 && !text.starts_with('.') && text.bytes().all(fits)
    };
    if !word(&suite) || components.is_empty() || !components.iter().all(|component| word(component)) {
        return Err(Failure::Source { text: format!("{url} {suite} {}", components.join(" ")) });
    }
    Ok(Source { url: url.trim_end_matches('/').to_owned(), suite, components })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(request: &Bootstrap) -> String {
        let request = Bootstrap { platform: Some("linux/amd64".to_owned()), ..request.clone() };
        match Plan::new(&request) {
            Ok(plan) => format!("{}\n{}", plan.described().replace(", ", "\n"), plan.keyring.display()),
            Err(error) => {
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(": ")
            }
        }
    }

    fn of(system: &str) -> Bootstrap {
        Bootstrap { system: system.to_owned(), ..Bootstrap::default() }
    }

    #[test]
    fn a_release_comes_with_its_corrections_unless_a_mirror_is_named() {
        assert_eq!(
            shown(&of("debian:bookworm")),
            "http://deb.debian.org/debian bookworm main\nhttp://deb.debian.org/debian bookworm-updates main\n\
             http://deb.debian.org/debian-security bookworm-security main\n\
             /usr/share/keyrings/debian-archive-keyring.gpg"
        );
        assert!(shown(&of("debian:sid")).starts_with("http://deb.debian.org/debian sid main\n/usr"));
        let own = Bootstrap {
            mirror: Some("https://mirror.test/debian/".to_owned()),
            sources: vec!["file:///srv/own stable a b".to_owned(), "http://x.test y".to_owned()],
            components: vec!["main".to_owned(), "contrib".to_owned()],
            keyring: Some("/k".into()),
            ..of("own:bookworm")
        };
        assert_eq!(
            shown(&own),
            "https://mirror.test/debian bookworm main contrib\nfile:///srv/own stable a b\nhttp://x.test y main contrib\n/k"
        );
    }

    #[test]
    fn what_is_no_system_or_source_is_refused() {
        for system in ["debian", "fedora:40", ""] {
            assert!(shown(&of(system)).contains("is no system that can be made"), "{system}");
        }
        for mirror in ["ftp://x", "http://", "/srv", "file://srv", "http://x/?a", "http://x y"] {
            let request = Bootstrap { mirror: Some(mirror.to_owned()), ..of("debian:bookworm") };
            assert!(shown(&request).contains("is no address of an archive"), "{mirror}");
        }
        for source in ["http://x", "http://x ../y", "http://x y ../z", ""] {
            let request = Bootstrap { sources: vec![source.to_owned()], ..of("debian:bookworm") };
            assert!(shown(&request).contains("is no source"), "{source}");
        }
        let other = Bootstrap { platform: Some("windows/amd64".to_owned()), ..of("debian:bookworm") };
        assert!(Plan::new(&other).is_err());
    }
}
