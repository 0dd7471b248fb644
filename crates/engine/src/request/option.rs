//! Texts of single flags: `--device`, `--ulimit`, `--security-opt`, `--log-opt`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A device of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Absolute, on the host: a device node, or a directory of them.
    pub host: String,
    /// Absolute, inside the container.
    pub container: String,
    /// Some of `rwm`.
    pub permissions: String,
}

impl DeviceRequest {
    /// Reads `host[:container][:permissions]`.
    pub fn parse(text: &str) -> Result<DeviceRequest, Error> {
        let invalid = || Error::InvalidDevice { text: text.to_owned() };
        let permissions = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| b"rwm".contains(&byte)) && text.len() <= 3
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, mode) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, mode] if permissions(mode) => (host, host, mode),
            [host, container] => (host, container, "rwm"),
            [host, container, mode] if permissions(mode) => (host, container, mode),
            _ => return Err(invalid()),
        };
        if !host.starts_with('/') || !container.starts_with('/') {
            return Err(invalid());
        }
        Ok(DeviceRequest { host: host.into(), container: container.into(), permissions: mode.into() })
    }
}

/// A resource limit of processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name, such as `nofile`.
    pub name: String,
    /// -1 is no limit.
    pub soft: i64,
    /// -1 is no limit.
    pub hard: i64,
}

/// Docker's names of the kernel's limits, with the kernel's numbers (asm-generic/resource.h).
const ULIMITS: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

impl Ulimit {
    /// Reads `name=soft[:hard]`.
    pub fn parse(text: &str) -> Result<Ulimit, Error> {
        let invalid = |reason| Error::InvalidUlimit { text: text.to_owned(), reason };
        let (name, values) = text.split_once('=').ok_or_else(|| invalid("want name=soft[:hard]"))?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let number = |text: &str| text.parse::<i64>().ok().filter(|value| *value >= -1);
        let (Some(soft), Some(hard)) = (number(soft), number(hard)) else {
            return Err(invalid("want numbers, or -1 for no limit"));
        };
        let ulimit = Ulimit { name: name.to_owned(), soft, hard };
        ulimit.resource()?;
        Ok(ulimit)
    }

    /// The kernel's number of the limit; also checks that soft does not exceed hard.
    pub(crate) fn resource(&self) -> Result<u32, Error> {
        let invalid = |reason| Error::InvalidUlimit {
            text: format!("{}={}:{}", self.name, self.soft, self.hard),
            reason,
        };
        let known = ULIMITS.iter().find(|(name, _)| *name == self.name);
        let (_, number) = known.ok_or_else(|| invalid("invalid ulimit type"))?;
        if self.hard != -1 && (self.soft == -1 || self.soft > self.hard) {
            return Err(invalid("ulimit soft limit must be less than or equal to hard limit"));
        }
        Ok(*number)
    }
}

/// Which seccomp filter a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Skiff's own profile.
    #[default]
    Builtin,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON form.
    Profile(String),
}

/// `--security-opt`, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityOptions {
    /// On unless told otherwise.
    pub no_new_privileges: bool,
    /// Which filter.
    pub seccomp: Seccomp,
    /// Masked and read-only paths are left open (`systempaths=unconfined`).
    pub open_system_paths: bool,
    /// `/sys/fs/cgroup` may be written.
    pub writable_cgroups: bool,
}

impl SecurityOptions {
    /// Reads every `--security-opt`; the last one of a kind wins.
    pub fn parse(options: &[String]) -> Result<SecurityOptions, Error> {
        let mut parsed = SecurityOptions {
            no_new_privileges: true,
            seccomp: Seccomp::Builtin,
            open_system_paths: false,
            writable_cgroups: false,
        };
        for option in options {
            let invalid = || Error::InvalidSecurityOption { text: option.chars().take(80).collect() };
            // Docker's older spelling separates by a colon.
            let split = option.find(['=', ':']).map(|at| (&option[..at], &option[at + 1..]));
            let (key, value) = split.unwrap_or((option, ""));
            match (key, value) {
                ("no-new-privileges", "") if split.is_none() => parsed.no_new_privileges = true,
                ("no-new-privileges", value) => {
                    parsed.no_new_privileges = parse_bool(value).ok_or_else(invalid)?;
                }
                ("seccomp", "unconfined") => parsed.seccomp = Seccomp::Unconfined,
                ("seccomp", "builtin") => parsed.seccomp = Seccomp::Builtin,
                ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                    parsed.seccomp = Seccomp::Profile(profile.to_owned());
                }
                ("systempaths", "unconfined") => parsed.open_system_paths = true,
                ("writable-cgroups", value) => {
                    parsed.writable_cgroups = parse_bool(value).ok_or_else(invalid)?;
                }
                // What they would loosen is not there: the kernel's own default holds.
                ("apparmor", "unconfined") | ("label", "disable") => {}
                ("apparmor" | "label", _) => {
                    return Err(Error::SecurityOptionUnsupported { text: option.clone() });
                }
                _ => return Err(invalid()),
            }
        }
        Ok(parsed)
    }
}

/// Booleans as Go reads them.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// `json-file`, which is the default, `local`, `journald`, `syslog` or `none`.
    pub driver: Option<String>,
    /// What the driver is told.
    pub options: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_names_host_container_and_permissions() {
        for (text, host, container, permissions) in [
            ("/dev/a", "/dev/a", "/dev/a", "rwm"),
            ("/dev/a:r", "/dev/a", "/dev/a", "r"),
            ("/dev/a:/dev/b", "/dev/a", "/dev/b", "rwm"),
            ("/dev/a:/dev/b:rw", "/dev/a", "/dev/b", "rw"),
        ] {
            let device = DeviceRequest::parse(text).unwrap();
            assert_eq!(
                (&*device.host, &*device.container, &*device.permissions),
                (host, container, permissions)
            );
        }
        for wrong in ["", "dev/a", "/dev/a:x", "/dev/a:/b:x", "/a:/b:rw:x", "vendor/class=name"] {
            assert!(DeviceRequest::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ulimit_has_a_known_name_and_soft_below_hard() {
        let limit = Ulimit::parse("nofile=1024:2048").unwrap();
        assert_eq!((limit.resource().unwrap(), limit.soft, limit.hard), (7, 1024, 2048));
        assert_eq!(Ulimit::parse("core=-1").unwrap().hard, -1);
        for (text, message) in [
            ("nofile", "invalid ulimit nofile: want name=soft[:hard]"),
            ("nofile=x", "invalid ulimit nofile=x: want numbers, or -1 for no limit"),
            ("bogus=1", "invalid ulimit bogus=1:1: invalid ulimit type"),
            (
                "nofile=2:1",
                "invalid ulimit nofile=2:1: ulimit soft limit must be less than or equal to hard limit",
            ),
        ] {
            assert_eq!(Ulimit::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn security_options_are_safe_unless_told_otherwise() {
        let parse = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
            SecurityOptions::parse(&options)
        };
        let default = parse(&[]).unwrap();
        assert!(
            default.no_new_privileges && default.seccomp == Seccomp::Builtin && !default.open_system_paths
        );
        assert!(!parse(&["no-new-privileges=false"]).unwrap().no_new_privileges);
        assert!(parse(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(parse(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert_eq!(parse(&["seccomp=unconfined"]).unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(parse(&["seccomp={\"a\":1}"]).unwrap().seccomp, Seccomp::Profile("{\"a\":1}".into()));
        assert!(parse(&["systempaths=unconfined"]).unwrap().open_system_paths);
        for wrong in ["bogus", "no-new-privileges=maybe", "seccomp=/a/file", "seccomp", ""] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
        assert!(matches!(parse(&["apparmor=mine"]), Err(Error::SecurityOptionUnsupported { .. })));
    }
}
