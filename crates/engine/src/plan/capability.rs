//! `--cap-add`, `--cap-drop` and `--privileged`: which capabilities a container has.

use oci::runtime::CAPABILITIES as NAMES;
use runtime::plan::Capabilities;

use crate::Error;
use crate::request::HostOptions;

/// Docker's fourteen.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const ALL: u64 = (1 << NAMES.len()) - 1;

/// What a list of the user's names.
enum Named {
    All,
    One(u64),
}

/// The set that `host` asks for. Drops come first, so that `--cap-drop ALL --cap-add X` leaves X alone.
pub(crate) fn set(host: &HostOptions) -> Result<u64, Error> {
    let named =
        |names: &[String]| names.iter().map(|name| parse(name)).collect::<Result<Vec<Named>, Error>>();
    let (added, dropped) = (named(&host.cap_add)?, named(&host.cap_drop)?);
    if host.privileged {
        return Ok(ALL);
    }
    let ones = |named: &[Named]| {
        named.iter().fold(0, |set, name| match name {
            Named::All => set,
            Named::One(bit) => set | bit,
        })
    };
    let everything = |named: &[Named]| named.iter().any(|name| matches!(name, Named::All));
    // As Docker reads them: ALL on one side is the base from which the other side's names differ.
    Ok(match (everything(&added), everything(&dropped)) {
        (true, _) => ALL & !ones(&dropped),
        (false, true) => ones(&added),
        (false, false) => (default() & !ones(&dropped)) | ones(&added),
    })
}

/// Bounding, and for root effective and permitted; never inheritable or ambient, so that a program run by another
/// user has none of them (and moby's CVE-2022-24769 has no counterpart here).
pub(crate) fn sets(set: u64) -> Capabilities {
    Capabilities {
        bounding: set,
        effective: set,
        permitted: set,
        inheritable: 0,
        ambient: 0,
        root_alone: true,
    }
}

fn default() -> u64 {
    DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit)
}

fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

fn parse(text: &str) -> Result<Named, Error> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == "ALL" {
        return Ok(Named::All);
    }
    bit(name).map(Named::One).ok_or_else(|| Error::UnknownCapability { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(privileged: bool, add: &[&str], drop: &[&str], expect: Expect) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let host =
            HostOptions { privileged, cap_add: owned(add), cap_drop: owned(drop), ..HostOptions::default() };
        let text = match set(&host) {
            Ok(set) => {
                let names: Vec<&str> = NAMES
                    .iter()
                    .enumerate()
                    .filter(|(number, _)| set >> number & 1 == 1)
                    .map(|(_, name)| *name)
                    .collect();
                format!("{} {}", names.len(), names.join(" "))
            }
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn the_default_is_dockers_fourteen() {
        check(
            false,
            &[],
            &[],
            expect![
                "14 CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
            ],
        );
    }

    #[test]
    fn names_are_added_and_dropped_with_or_without_prefix() {
        check(
            false,
            &["sys_admin", "CAP_NET_ADMIN"],
            &["cap_mknod", "NET_RAW", "KILL", "AUDIT_WRITE", "SETPCAP", "SETFCAP"],
            expect![
                "10 CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID NET_BIND_SERVICE NET_ADMIN SYS_CHROOT SYS_ADMIN"
            ],
        );
    }

    #[test]
    fn all_is_the_base_from_which_the_other_list_differs() {
        check(false, &["CHOWN"], &["ALL"], expect!["1 CHOWN"]);
        check(false, &[], &["all"], expect!["0 "]);
        check(
            false,
            &["ALL"],
            &["SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT"],
            expect![
                "37 CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
            ],
        );
    }

    #[test]
    fn an_unknown_name_is_refused_also_with_privileged() {
        check(false, &["BOGUS"], &[], expect![[r#"invalid capability: "BOGUS""#]]);
        check(true, &[], &["CAP_"], expect![[r#"invalid capability: "CAP_""#]]);
    }

    #[test]
    fn privileged_has_every_capability() {
        let host =
            HostOptions { privileged: true, cap_drop: vec!["ALL".to_owned()], ..HostOptions::default() };
        assert_eq!(set(&host).unwrap(), ALL);
    }
}
