//! `--chown`: `user[:group]`, by number or by a name of the base's own files.
//!
//! Those are the image's and thus hostile: what does not parse is nobody's, never root's. Root needs no file to be known, so that images
//! that begin from nothing may name it.

use super::CopyError;

/// Largest id, as Docker has it: beyond lie values that C programs take for -1.
const LARGEST: u32 = i32::MAX as u32;

/// User and group.
pub(super) type Ids = (u32, u32);

/// The ids of an owner. `read` gives the content of a file of the base, and is asked for names only. A user without a group
/// has the one that stands with the name, or the group of the same number.
pub(super) fn resolve(
    spec: &str,
    mut read: impl FnMut(&str) -> crate::Result<Option<Vec<u8>>>,
) -> crate::Result<Ids> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let mut text = |path: &str| {
        read(path).map(|content| String::from_utf8_lossy(&content.unwrap_or_default()).into_owned())
    };
    let (uid, own_group) = match number(user)? {
        Some(id) => (id, id),
        None if user.is_empty() => (0, 0),
        None => {
            let passwd = text("/etc/passwd")?;
            let entry = passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let is_it = fields.next() == Some(user);
                let uid = id(fields.nth(1)?)?;
                let gid = id(fields.next()?)?;
                is_it.then_some((uid, gid))
            });
            entry.or(known(user).map(|id| (id, id))).ok_or_else(|| CopyError::Owner {
                message: format!("unable to find user {user}: no matching entries in passwd file"),
            })?
        }
    };
    let Some(group) = group else { return Ok((uid, own_group)) };
    if let Some(gid) = number(group)? {
        return Ok((uid, gid));
    }
    let groups = text("/etc/group")?;
    let gid = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(group);
        id(fields.nth(1)?).filter(|_| is_it)
    });
    let gid = gid.or(known(group)).ok_or_else(|| CopyError::Owner {
        message: format!("unable to find group {group}: no matching entries in group file"),
    })?;
    Ok((uid, gid))
}

/// Digits are a number, even where a user has them for a name.
fn number(text: &str) -> Result<Option<u32>, CopyError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let message = || format!("{text} is not an id from 0 to {LARGEST}");
    id(text).map(Some).ok_or_else(|| CopyError::Owner { message: message() })
}

/// The one name that is the same everywhere.
fn known(name: &str) -> Option<u32> {
    (name == "root").then_some(0)
}

fn id(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| plain && *id <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    fn find(spec: &str) -> Result<(u32, u32), String> {
        let read = |path: &str| {
            Ok(Some(match path {
                "/etc/passwd" => {
                    b"root:x:0:0::/:\napp:x:1000:100::/:\nbig:x:4294967296:0\nshort\n7:x:1:1".to_vec()
                }
                _ => b"wheel:x:10:\nhuge:x:99999999999:\n".to_vec(),
            }))
        };
        resolve(spec, read).map_err(|error| {
            use std::error::Error as _;
            error.source().map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    #[test]
    fn owners_are_found_by_name_and_number() {
        for (spec, ids) in [
            ("app", (1000, 100)),
            ("app:wheel", (1000, 10)),
            ("app:5", (1000, 5)),
            ("5", (5, 5)),
            ("5:wheel", (5, 10)),
            (":wheel", (0, 10)),
            ("7", (7, 7)),
            ("app:", (1000, 100)),
        ] {
            assert_eq!(find(spec), Ok(ids), "{spec}");
        }
        for (spec, words) in [
            ("nobody", "unable to find user nobody"),
            ("app:nobody", "unable to find group nobody"),
            ("big", "unable to find user big"),
            ("0:huge", "unable to find group huge"),
            ("4294967295", "not an id"),
            ("-1", "not an id"),
            ("short", "unable to find user short"),
        ] {
            let error = find(spec).unwrap_err();
            assert!(error.contains(words), "{spec}: {error}");
        }
    }

    #[test]
    fn root_is_known_without_files() {
        for spec in ["root", "root:root", "0:root", "root:0", ":root"] {
            assert_eq!(resolve(spec, |_| Ok(None)).unwrap(), (0, 0), "{spec}");
        }
        assert!(resolve("app", |_| Ok(None)).is_err());
        let other = |_: &str| Ok(Some(b"root:x:7:8::/:".to_vec()));
        assert_eq!(resolve("root", other).unwrap(), (7, 8));
    }

    #[test]
    fn numbers_need_no_files() {
        assert_eq!(resolve("1:2", |path| panic!("{path} was read")).unwrap(), (1, 2));
    }
}
