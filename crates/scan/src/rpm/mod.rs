//! Packages of rpm: headers in a database of one of three kinds.
//!
//! | file | kind | who has it |
//! |---|---|---|
//! | `rpmdb.sqlite`, `rpmdb.sqlite-wal` | SQLite 3 and its log | Fedora 33, RHEL 9 and later |
//! | `Packages.db` | rpm's own, "ndb" | SUSE |
//! | `Packages` | Berkeley DB, a hash | everybody before |

mod berkeley;
mod header;
mod log;
mod ndb;
mod sqlite;

use std::io;

use crate::{File, Told};

/// Folders that rpm has had its database in.
const FOLDERS: [&str; 4] =
    ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/", "var/lib/rpmmanifest/"];
/// The most bytes of a database, of its log, and of the header of one package.
const DATABASE: u64 = 1 << 30;
const HEADER: usize = 64 << 20;
/// The most packages of one database.
const PACKAGES: usize = 100_000;

/// The file of a database that has a log beside it.
const SQLITE: &str = "rpmdb.sqlite";

/// The log of a database.
pub(crate) fn log_of(path: &str) -> Option<String> {
    let is_one = FOLDERS.iter().any(|folder| path.strip_prefix(folder) == Some(SQLITE));
    is_one.then(|| format!("{path}-wal"))
}

pub(crate) fn look(file: &File<'_>, name: &str) -> io::Result<Told> {
    if !FOLDERS.iter().any(|folder| file.path.strip_prefix(folder) == Some(name)) {
        return Ok(Told::Nothing);
    }
    let read = match name {
        SQLITE => sqlite::headers,
        "Packages.db" => ndb::headers,
        "Packages" => berkeley::headers,
        _ => return Ok(Told::Nothing),
    };
    if file.size == 0 {
        return Ok(Told::Nothing);
    }
    if file.size > DATABASE || file.log.is_some_and(|log| log.size > DATABASE) {
        return Ok(Told::Bad);
    }
    let mut packages = Vec::new();
    let whole = read(file, &mut |header| {
        packages.extend(header::package(header));
        packages.len() < PACKAGES
    })?;
    Ok(match (whole, packages.is_empty()) {
        (None, true) => Told::Bad,
        // What was found before the damage is there.
        (None | Some(()), _) => Told::Packages(packages),
    })
}
