//! Who a process runs as: Docker's `user|uid[:group|gid]`, from the container's own `/etc/passwd` and `/etc/group`.
//!
//! Both files are the image's and thus hostile: they are opened below the root, must be regular files, and
//! are read up to a bound; a line that does not parse is nobody's, never root's. A spec of digits is always a number, so a
//! number too large is an error and not a name (containerd CVE-2024-40635, 2026-46680, 2026-47262).

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::below::{Links, open};
use crate::error::failed;
use crate::plan::User;
use crate::{InitFailure, Step};

/// Longest user or group file that is read.
const LONGEST: u64 = 1 << 20;
/// Largest id, as Docker has it: beyond lie values that C programs take for -1.
const LARGEST: u32 = i32::MAX as u32;
/// As many groups as the kernel takes.
const MOST_GROUPS: usize = 65_536;

/// Numbers, looked up and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Some of the groups were asked for, beside the user's own; the others only stand in the image's `/etc/group`.
    pub(crate) asks_for_groups: bool,
    pub(crate) home: Option<String>,
}

/// Finds `user` in the container whose root is `root`.
pub(crate) fn find(root: BorrowedFd<'_>, user: &User) -> Result<Identity, InitFailure> {
    match user {
        User::Ids { uid, gid, groups } => {
            for id in [uid, gid].into_iter().chain(groups) {
                if *id == u32::MAX {
                    return Err(InitFailure::because(Step::User, id, "this id means nobody to the kernel"));
                }
            }
            let passwd = read(root, "/etc/passwd").unwrap_or_default();
            let home = passwd
                .lines()
                .filter_map(Entry::parse)
                .find(|entry| entry.uid == *uid)
                .map(|entry| entry.home);
            Ok(Identity {
                uid: *uid,
                gid: *gid,
                groups: groups.clone(),
                asks_for_groups: groups.iter().any(|group| group != gid),
                home: home.map(str::to_owned),
            })
        }
        User::Named { spec, extra_groups } => {
            let passwd = read(root, "/etc/passwd")?;
            let group = read(root, "/etc/group")?;
            resolve(spec, extra_groups, &passwd, &group)
                .map_err(|why| InitFailure::because(Step::User, "", why))
        }
    }
}

/// The content of a user file; empty when there is none.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, InitFailure> {
    let at = |errno| failed(Step::User, format!("in {path}"))(errno);
    // Not to be held up by a FIFO, nor to make a terminal ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(root, Path::new(path), flags, Links::Follow) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(at(errno)),
    };
    let stat = fstat(&file).map_err(at)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(InitFailure::because(Step::User, format!("in {path}"), "it is not a regular file"));
    }
    let too_long = || InitFailure::because(Step::User, format!("in {path}"), "it is longer than 1 MiB");
    if u64::try_from(stat.st_size).unwrap_or(0) > LONGEST {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| InitFailure::because(Step::User, format!("in {path}"), error.to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(too_long());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Self { name, uid, gid, home })
    }
}

/// One line of `/etc/group`: name, number, members.
fn parse_group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = id(fields.nth(1)?)?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

fn id(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| plain && id <= LARGEST)
}

/// A user or group as written: a number, or a name.
enum Written<'a> {
    Number(u32),
    Name(&'a str),
}

fn written(text: &str) -> Result<Written<'_>, String> {
    let numeric = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !numeric.is_empty() && numeric.bytes().all(|byte| byte.is_ascii_digit()) {
        return id(text)
            .map(Written::Number)
            .ok_or_else(|| format!("the user or group {text} is not an id from 0 to {LARGEST}"));
    }
    Ok(Written::Name(text))
}

fn resolve(spec: &str, extra_groups: &[String], passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, group_part) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let mut entries = passwd.lines().filter_map(Entry::parse);
    let (uid, entry) = if user.is_empty() {
        (0, entries.find(|entry| entry.uid == 0))
    } else {
        match written(user)? {
            Written::Number(uid) => (uid, entries.find(|entry| entry.uid == uid)),
            Written::Name(name) => {
                let entry = entries.find(|entry| entry.name == name).ok_or_else(|| {
                    format!("unable to find user {name}: no matching entries in passwd file")
                })?;
                (entry.uid, Some(entry))
            }
        }
    };
    let mut groups = Vec::new();
    let gid = match (group_part, &entry) {
        (Some(name), _) => find_group(name, group)?,
        (None, None) => 0,
        (None, Some(entry)) => {
            let lists = |members: &str| members.split(',').any(|member| member == entry.name);
            let of_user = group.lines().filter_map(parse_group).filter(|(_, _, members)| lists(members));
            groups.extend(of_user.map(|(_, gid, _)| gid));
            entry.gid
        }
    };
    for name in extra_groups {
        groups.push(find_group(name, group)?);
    }
    // As Docker since CVE-2022-36109: a file that denies the user's own group must not be readable by leaving it.
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > MOST_GROUPS {
        return Err(format!("{} groups are more than the kernel takes", groups.len()));
    }
    let home = entry.map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty());
    Ok(Identity { uid, gid, groups, asks_for_groups: !extra_groups.is_empty(), home })
}

fn find_group(name: &str, group: &str) -> Result<u32, String> {
    match written(name)? {
        Written::Number(gid) => Ok(gid),
        Written::Name(name) => group
            .lines()
            .filter_map(parse_group)
            .find(|(candidate, ..)| *candidate == name)
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, resolve};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n1001:x:77:77::/odd:\n\
        big:x:4294967296:0::/:\nminus:x:-1:0::/:\nshort:x\n::::\nlast:x:2147483647:5::/l:/x";
    const GROUP: &str =
        "root:x:0:\nwheel:x:10:root,user\nuser:x:1000:\nvideo:x:44:user\nhuge:x:99999999999:user\n";

    fn check(spec: &str, expected: Result<(u32, u32, &[u32], &str), &str>) {
        let found = resolve(spec, &[], PASSWD, GROUP);
        match expected {
            Ok((uid, gid, groups, home)) => {
                let home = Some(home).filter(|home| !home.is_empty()).map(str::to_owned);
                let groups = groups.to_vec();
                assert_eq!(found, Ok(Identity { uid, gid, groups, asks_for_groups: false, home }), "{spec}");
            }
            Err(part) => {
                let error = found.expect_err(spec);
                assert!(error.contains(part), "{spec}: {error}");
            }
        }
    }

    #[test]
    fn users_and_groups_resolve_as_docker_resolves_them() {
        check("", Ok((0, 0, &[0, 10], "/root")));
        check("root", Ok((0, 0, &[0, 10], "/root")));
        check("user", Ok((1000, 1000, &[10, 44, 1000], "/home/user")));
        check("1000", Ok((1000, 1000, &[10, 44, 1000], "/home/user")));
        // An explicit group leaves the listed ones out.
        check("user:video", Ok((1000, 44, &[44], "/home/user")));
        check("user:7", Ok((1000, 7, &[7], "/home/user")));
        check("user:", Ok((1000, 1000, &[10, 44, 1000], "/home/user")));
        // Numbers need no entry.
        check("4242", Ok((4242, 0, &[0], "")));
        check("4242:4343", Ok((4242, 4343, &[4343], "")));
        // Digits are a number even where a user has them for a name.
        check("1001", Ok((1001, 0, &[0], "")));
        check("last", Ok((2_147_483_647, 5, &[5], "/l")));
    }

    #[test]
    fn hostile_users_and_groups_are_refused() {
        check("nobody", Err("find user nobody:"));
        check("user:nogroup", Err("find group nogroup:"));
        check("4294967296", Err("not an id"));
        check("4294967295", Err("not an id"));
        check("2147483648", Err("not an id"));
        check("-1", Err("not an id"));
        check("0:4294967296", Err("not an id"));
        // Entries whose id overflows are nobody's, above all not root's.
        check("big", Err("find user big:"));
        check("minus", Err("find user minus:"));
        check("user:huge", Err("find group huge:"));
        check("short", Err("find user short:"));
    }

    #[test]
    fn extra_groups_are_added_by_name_or_number() {
        let extra = ["video".to_owned(), "123".to_owned()];
        assert_eq!(resolve("root", &extra, PASSWD, GROUP).unwrap().groups, [0, 10, 44, 123]);
        assert!(
            resolve("root", &["none".to_owned()], PASSWD, GROUP).unwrap_err().contains("find group none:")
        );
    }
}
