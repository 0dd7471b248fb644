//! Packages, and the addresses by which the world knows them (package URLs, purl).

/// The longest name, version and the like.
const LENGTH: usize = 512;

/// Who manages a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the type of its package URLs")]
pub enum Kind {
    Deb,
    Apk,
    Rpm,
    Golang,
    Cargo,
    Pypi,
    Npm,
    Maven,
    Gem,
    Composer,
    Nuget,
}

/// The distribution that a tree is of, as its `os-release` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// `debian`, `alpine`, …
    pub id: String,
    /// `13`, …
    pub version: String,
    /// `Debian GNU/Linux 13 (trixie)`, …
    pub name: String,
}

/// What a package of a distribution was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The source package.
    pub name: String,
    /// Its version, where that is another one.
    pub version: Option<String>,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Who manages it.
    pub kind: Kind,
    /// The name's first parts, where it has several: npm's scope, the group of a Java artifact, the path of a Go module.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The machine that it is for, in its manager's words.
    pub architecture: Option<String>,
    /// What it was built from.
    pub origin: Option<Origin>,
    /// An SPDX expression, or words that could be one.
    pub license: Option<String>,
    /// Who made it.
    pub supplier: Option<String>,
    /// The file that says so.
    pub found: String,
}

impl Kind {
    /// The type of a package URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Golang => "golang",
            Self::Cargo => "cargo",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Maven => "maven",
            Self::Gem => "gem",
            Self::Composer => "composer",
            Self::Nuget => "nuget",
        }
    }

    /// Whether it is a distribution's.
    #[must_use]
    pub fn is_of_system(self) -> bool {
        matches!(self, Self::Deb | Self::Apk | Self::Rpm)
    }
}

impl System {
    pub(crate) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let value = line.unwrap_or_default().trim().trim_matches(['"', '\'']);
            if is_fine(value) { value.to_owned() } else { String::new() }
        };
        Self { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") }
    }
}

impl Package {
    pub(crate) fn new(kind: Kind, name: &str, version: &str) -> Self {
        Self {
            kind,
            namespace: None,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: None,
            origin: None,
            license: None,
            supplier: None,
            found: String::new(),
        }
    }

    /// Whether its words are ones that anybody could have chosen.
    pub(crate) fn is_fine(&self) -> bool {
        is_fine(&self.name)
            && is_fine(&self.version)
            && self.namespace.as_deref().is_none_or(is_fine)
            && self.architecture.as_deref().is_none_or(is_fine)
            && self.supplier.as_deref().is_none_or(is_fine)
            && self
                .origin
                .as_ref()
                .is_none_or(|origin| is_fine(&origin.name) && origin.version.as_deref().is_none_or(is_fine))
    }

    /// Its package URL, with its qualifiers sorted.
    #[must_use]
    pub fn purl(&self, system: &System) -> String {
        let mut purl = format!("pkg:{}/", self.kind.as_str());
        let of_system = self.kind.is_of_system().then_some(system.id.as_str()).filter(|id| !id.is_empty());
        let namespace = self.namespace.as_deref().or(of_system);
        for part in namespace.into_iter().flat_map(|namespace| namespace.split('/')) {
            purl.push_str(&encoded(part));
            purl.push('/');
        }
        // Python's names are compared without regard to these (PEP 503).
        let name = match self.kind {
            Kind::Pypi => self.name.to_ascii_lowercase().replace(['_', '.'], "-"),
            Kind::Composer => self.name.to_ascii_lowercase(),
            Kind::Deb
            | Kind::Apk
            | Kind::Rpm
            | Kind::Golang
            | Kind::Cargo
            | Kind::Npm
            | Kind::Maven
            | Kind::Gem
            | Kind::Nuget => self.name.clone(),
        };
        // What rpm calls an epoch is a qualifier.
        let (epoch, version) = match (self.kind, self.version.split_once(':')) {
            (Kind::Rpm, Some((epoch, version))) => (Some(epoch), version),
            _ => (None, self.version.as_str()),
        };
        purl.push_str(&format!("{}@{}", encoded(&name), encoded(version)));
        let upstream = self.origin.as_ref().map(|origin| match &origin.version {
            Some(version) => format!("{}@{version}", origin.name),
            None => origin.name.clone(),
        });
        let distribution = of_system.map(|id| match system.version.as_str() {
            "" => id.to_owned(),
            version => format!("{id}-{version}"),
        });
        let qualifiers = [
            ("arch", self.architecture.clone()),
            ("distro", distribution),
            ("epoch", epoch.map(str::to_owned)),
            ("upstream", upstream),
        ];
        let mut mark = '?';
        for (key, value) in qualifiers {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            purl.push_str(&format!("{mark}{key}={}", encoded(&value)));
            mark = '&';
        }
        purl
    }
}

fn is_fine(text: &str) -> bool {
    !text.is_empty() && text.len() <= LENGTH && !text.contains(char::is_control)
}

/// An expression of SPDX's; what cannot be one is left out.
pub(crate) fn license(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.+() ".contains(letter);
    (!text.is_empty() && text.len() <= LENGTH && text.chars().all(is_plain)).then(|| text.to_owned())
}

/// A name of somebody, on one line.
pub(crate) fn supplier(text: &str) -> Option<String> {
    let text = text.trim();
    is_fine(text).then(|| text.to_owned())
}

/// As a part of a package URL: what is not plain in hexadecimal digits behind a percent sign.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b':' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
