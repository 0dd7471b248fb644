//! Mounts as asked for: `-v`, `--mount` and `--tmpfs`.

use serde::{Deserialize, Serialize};

use crate::Error;

/// One mount of the user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountRequest {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute, inside the container.
    pub target: String,
    /// Not writable.
    pub readonly: bool,
    /// The text of `-v` or `--tmpfs` this came from; missing for `--mount`.
    pub text: Option<String>,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host's.
    Bind {
        /// Absolute, on the host.
        path: String,
        /// Makes a missing directory, as `-v` does; else a missing source is an error.
        create: bool,
        /// `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`; missing is `rprivate`.
        propagation: Option<String>,
        /// `--mount bind-recursive=`.
        recursion: BindRecursion,
    },
    /// Memory.
    Tmpfs(TmpfsOptions),
}

/// What becomes of mounts below a bound directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of bind-recursive=")]
pub enum BindRecursion {
    /// Bound too, and read-only too when the mount is.
    #[default]
    Enabled,
    /// Not bound.
    Disabled,
    /// Bound, and writable also when the mount is read-only.
    Writable,
    /// Bound, and read-only; an error where the kernel cannot do it.
    Readonly,
}

/// How a tmpfs is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TmpfsOptions {
    /// Bytes.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Flags and `key=value` options as `--tmpfs` takes them (`exec`, `uid=7`, `nr_inodes=1k`).
    pub options: Vec<String>,
}

/// Options of `-v` that carry no meaning here and are accepted as Docker accepts them.
const CONSISTENCY: [&str; 4] = ["cached", "delegated", "consistent", "default"];

impl MountRequest {
    /// Reads `-v`: `source:target[:options]`. A relative source must have been made absolute by the front end,
    /// which alone knows its working directory.
    pub fn parse_volume(text: &str) -> Result<MountRequest, Error> {
        let invalid = |reason| Error::InvalidVolume { text: text.to_owned(), reason };
        let mut parts = text.split(':');
        let (first, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if parts.next().is_some() || first.is_empty() || second == Some("") || third == Some("") {
            return Err(invalid("want source:target[:options]"));
        }
        let Some(target) = second else {
            return Err(Error::VolumeUnsupported { text: text.to_owned() });
        };
        if !first.starts_with('/') {
            return Err(if first.starts_with('.') || first.contains('/') {
                invalid("the source must be an absolute path")
            } else {
                Error::VolumeUnsupported { text: text.to_owned() }
            });
        }
        let mut request = MountRequest {
            source: MountSource::Bind {
                path: first.to_owned(),
                create: true,
                propagation: None,
                recursion: BindRecursion::Enabled,
            },
            target: target.to_owned(),
            readonly: false,
            text: Some(text.to_owned()),
        };
        let mut access = None;
        for option in third.unwrap_or("").split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "rw" | "rro" if access.is_none() => access = Some(option),
                "z" | "Z" | "nocopy" => {}
                _ if CONSISTENCY.contains(&option) => {}
                _ if PROPAGATIONS.contains(&option) => request.set_propagation(option)?,
                _ => return Err(invalid("invalid mode")),
            }
        }
        request.readonly = matches!(access, Some("ro" | "rro"));
        if access == Some("rro") {
            request.set_recursion(BindRecursion::Readonly);
        }
        Ok(request)
    }

    /// Reads `--tmpfs`: `path[:options]`.
    pub fn parse_tmpfs(text: &str) -> Result<MountRequest, Error> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let options: Vec<String> =
            options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        Ok(MountRequest {
            readonly: options.iter().any(|option| option == "ro"),
            source: MountSource::Tmpfs(TmpfsOptions { size: None, mode: None, options }),
            target: target.to_owned(),
            text: Some(text.to_owned()),
        })
    }

    fn set_propagation(&mut self, name: &str) -> Result<(), Error> {
        match &mut self.source {
            MountSource::Bind { propagation: slot @ None, .. } => *slot = Some(name.to_owned()),
            MountSource::Bind { .. } | MountSource::Tmpfs(_) => {
                let text = self.text.clone().unwrap_or_default();
                return Err(Error::InvalidVolume { text, reason: "more than one propagation" });
            }
        }
        Ok(())
    }

    fn set_recursion(&mut self, wanted: BindRecursion) {
        if let MountSource::Bind { recursion, .. } = &mut self.source {
            *recursion = wanted;
        }
    }
}

/// Names of mount propagation that a bind mount takes.
pub(crate) const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> (String, String, bool, Option<String>) {
        let request = MountRequest::parse_volume(text).unwrap();
        match request.source {
            MountSource::Bind { path, propagation, create: true, .. } => {
                (path, request.target, request.readonly, propagation)
            }
            MountSource::Bind { .. } | MountSource::Tmpfs(_) => panic!("not what -v makes"),
        }
    }

    #[test]
    fn a_volume_text_names_source_target_and_options() {
        assert_eq!(bind("/a:/b"), ("/a".into(), "/b".into(), false, None));
        assert_eq!(bind("/a:/b:ro"), ("/a".into(), "/b".into(), true, None));
        assert_eq!(bind("/a:/b:z,rslave,ro,cached"), ("/a".into(), "/b".into(), true, Some("rslave".into())));
    }

    #[test]
    fn a_bad_volume_text_is_refused_with_its_reason() {
        for (text, message) in [
            ("", "invalid volume specification: : want source:target[:options]"),
            ("/a:", "invalid volume specification: /a:: want source:target[:options]"),
            ("/a:/b:ro:x", "invalid volume specification: /a:/b:ro:x: want source:target[:options]"),
            ("/a:/b:bogus", "invalid volume specification: /a:/b:bogus: invalid mode"),
            ("/a:/b:ro,rw", "invalid volume specification: /a:/b:ro,rw: invalid mode"),
            (
                "/a:/b:shared,slave",
                "invalid volume specification: /a:/b:shared,slave: more than one propagation",
            ),
            ("./a:/b", "invalid volume specification: ./a:/b: the source must be an absolute path"),
        ] {
            assert_eq!(MountRequest::parse_volume(text).unwrap_err().to_string(), message);
        }
        for text in ["data:/b", "/only"] {
            assert!(
                matches!(MountRequest::parse_volume(text), Err(Error::VolumeUnsupported { .. })),
                "{text}"
            );
        }
    }
}
