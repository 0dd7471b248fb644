//! The operating system and processor an image is for, and which images a host can run.
//!
//! Names are normalised as containerd does (`x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is `arm/v7`),
//! so that equal platforms compare equal. A processor runs its own variant and, within the same architecture,
//! every older one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, excerpt};
use crate::lenient::null_default;

/// What an image runs on. Fields as in the image specification; [`Platform::normalized`] makes them
/// comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the processor architecture, such as `amd64`.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Go's name of the operating system, such as `linux`.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Version of the operating system, used by Windows.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub os_version: String,
    /// Features the operating system must have, used by Windows.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor, such as `v7`; empty for the oldest or only one.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub variant: String,
}

/// Where a variant stands in its family, oldest first, beginning with the one that an empty name means.
fn variants(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "amd64" => &["v1", "v2", "v3", "v4"],
        "arm" => &["v5", "v6", "v7", "v8"],
        "arm64" => &["v8", "v9"],
        "riscv64" => &["rva20u64", "rva22u64", "rva23u64"],
        "ppc64le" => &["power8", "power9", "power10"],
        _ => &[],
    }
}

impl Platform {
    /// Linux on this program's own architecture.
    #[must_use]
    pub fn host() -> Self {
        Self { os: "linux".to_owned(), architecture: std::env::consts::ARCH.to_owned(), ..Self::default() }
            .normalized()
    }

    /// The same platform by its usual names; the default variant of an architecture is left out, except
    /// `arm/v7`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) =
            normalize(&self.architecture.to_ascii_lowercase(), &self.variant.to_ascii_lowercase());
        Self {
            os,
            architecture,
            variant,
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// How well a host of this platform runs an image for `image`: 0 is exact, more is older, `None` is not
    /// at all.
    #[must_use]
    pub fn rank(&self, image: &Self) -> Option<usize> {
        let (host, image) = (self.normalized(), image.normalized());
        if host.os != image.os || host.architecture != image.architecture {
            return None;
        }
        if host.variant == image.variant {
            return Some(0);
        }
        let order = variants(&host.architecture);
        let position = |variant: &str| match variant {
            "" => Some(0),
            variant => order.iter().position(|known| *known == variant),
        };
        position(&host.variant)?.checked_sub(position(&image.variant)?)
    }

    /// Whether both the operating system and the architecture are among those that programs are built for.
    #[must_use]
    pub fn is_known(&self) -> bool {
        KNOWN_SYSTEMS.contains(&self.os.as_str()) && KNOWN_ARCHITECTURES.contains(&self.architecture.as_str())
    }

    /// Whether a host of this platform runs an image for `image`.
    #[must_use]
    pub fn runs(&self, image: &Self) -> bool {
        self.rank(image).is_some()
    }
}

/// `architecture` and `variant` (both lower case) by their usual names.
fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        pair => pair,
    };
    let variant = match (architecture, variant) {
        ("amd64", "v1") | ("arm64", "8" | "v8") => "",
        ("arm", "" | "7") => "v7",
        ("arm", "5") => "v5",
        ("arm", "6") => "v6",
        ("arm", "8") => "v8",
        ("arm64", "9") => "v9",
        (_, variant) => variant,
    };
    (architecture.to_owned(), variant.to_owned())
}

const KNOWN_SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "js",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
const KNOWN_ARCHITECTURES: &[&str] = &[
    "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips", "mips64",
    "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86_64", "x86-64",
];

impl FromStr for Platform {
    type Err = Error;

    /// `os`, `arch` or `os/arch[/variant]`, as in `--platform`; the result is normalised.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Platform { text: excerpt(text), reason };
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if !parts.iter().all(valid) {
            return Err(refuse("expected OS[/ARCH[/VARIANT]] of letters, digits, _, . and -"));
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let platform = match lower.as_slice() {
            [one] if KNOWN_SYSTEMS.contains(&one.as_str()) => Self { os: one.clone(), ..Self::host() },
            [one] if KNOWN_ARCHITECTURES.contains(&one.as_str()) => {
                Self { os: "linux".to_owned(), architecture: one.clone(), ..Self::default() }
            }
            [_] => {
                return Err(refuse(
                    "neither a known operating system nor a known architecture; write OS/ARCH",
                ));
            }
            [os, architecture] => {
                Self { os: os.clone(), architecture: architecture.clone(), ..Self::default() }
            }
            [os, architecture, variant] => Self {
                os: os.clone(),
                architecture: architecture.clone(),
                variant: variant.clone(),
                ..Self::default()
            },
            _ => return Err(refuse("expected at most OS/ARCH/VARIANT")),
        };
        Ok(platform.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(formatter, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_normalised() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(platform(text).to_string(), shown, "{text}");
        }
        assert_eq!(platform("linux"), Platform::host());
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for bad in [
            "",
            "/",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "linux/am d64",
            "foo",
            "linux/\u{e4}",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_runs_its_own_and_older_variants() {
        for (host, image, rank) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/s390x/z13", "linux/s390x/z13", Some(0)),
            ("linux/s390x", "linux/s390x/z13", None),
        ] {
            assert_eq!(platform(host).rank(&platform(image)), rank, "{host} {image}");
        }
    }

    #[test]
    fn json_uses_the_specifications_names() {
        let text = r#"{"architecture":"amd64","os":"windows","os.version":"10","os.features":["win32k"]}"#;
        let parsed: Platform = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), text);
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_normalising_is_stable(text in "\\PC{0,20}|[a-z0-9]{1,6}/[a-z0-9_]{1,6}(/v[0-9])?") {
            if let Ok(parsed) = text.parse::<Platform>() {
                assert_eq!(parsed.normalized(), parsed);
                assert_eq!(parsed.to_string().parse::<Platform>().unwrap(), parsed);
                assert_eq!(parsed.rank(&parsed), Some(0));
            }
        }
    }
}
