//! What git knows of a folder that is built: its commit and where that came from, for the provenance, as buildx tells them.
//!
//! | key | value |
//! |---|---|
//! | `revision` | the commit that is checked out |
//! | `source` | the address of the remote `origin`, else `upstream` |
//! | `localdir:context` | where in the repository the context lies |
//!
//! Read from git's own files, without git. They are somebody's, who may be another than the caller: they are read up to a bound, nothing is
//! executed, and what is no commit or no address is not told. `BUILDX_GIT_INFO=false` turns it off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::flags::parse::parse_bool;
use crate::values::environment;

/// The largest of git's files that is read.
const LIMIT: u64 = 16 << 20;
/// The longest address.
const ADDRESS: usize = 2048;
/// How far up a repository is looked for.
const PARENTS: usize = 64;

/// What is known of a context; nothing of one that is in no repository.
pub(super) fn of(context: &Path) -> BTreeMap<String, String> {
    let wanted = environment::caller("BUILDX_GIT_INFO").and_then(|text| parse_bool(&text));
    match wanted {
        Some(false) => BTreeMap::new(),
        Some(true) | None => told(context).unwrap_or_default(),
    }
}

fn told(context: &Path) -> Option<BTreeMap<String, String>> {
    let (top, git) =
        context.ancestors().take(PARENTS).find_map(|folder| Some((folder, folder_of(folder)?)))?;
    // A further working tree shares all but its HEAD with the first.
    let common = text(&git.join("commondir")).map_or_else(|| git.clone(), |path| git.join(path.trim()));
    let mut told = BTreeMap::from([("revision".to_owned(), commit(&git, &common)?)]);
    let source = text(&common.join("config")).and_then(|config| remote(&config));
    told.extend(source.map(|source| ("source".to_owned(), source)));
    let inside = context.strip_prefix(top).ok()?.to_str()?;
    let inside = if inside.is_empty() { "." } else { inside };
    told.insert("localdir:context".to_owned(), inside.to_owned());
    Some(told)
}

/// Git's folder of a working tree: there, or where a file says.
fn folder_of(tree: &Path) -> Option<PathBuf> {
    let path = tree.join(".git");
    if path.is_dir() {
        return path.join("HEAD").is_file().then_some(path);
    }
    let place = text(&path)?;
    Some(tree.join(place.strip_prefix("gitdir:")?.trim()))
}

/// The commit that `HEAD` leads to.
fn commit(git: &Path, common: &Path) -> Option<String> {
    let head = text(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref:").map(str::trim) else { return id(&head) };
    // A name of git's, below its folder.
    let is_plain = name.starts_with("refs/") && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if !is_plain {
        return None;
    }
    let loose = [git, common].into_iter().find_map(|folder| id(&text(&folder.join(name))?));
    loose.or_else(|| {
        let packed = text(&common.join("packed-refs"))?;
        packed.lines().find_map(|line| id(line.strip_suffix(name)?.strip_suffix(' ')?))
    })
}

/// A commit's number.
fn id(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

/// The address of a remote in git's configuration.
fn remote(config: &str) -> Option<String> {
    let mut section = "";
    let mut found = BTreeMap::new();
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            found.entry(section).or_insert_with(|| value.trim().trim_matches('"'));
        }
    }
    let address = found.get("[remote \"origin\"]").or_else(|| found.get("[remote \"upstream\"]"))?;
    let is_fine = !address.is_empty() && address.len() <= ADDRESS && !address.contains(char::is_control);
    is_fine.then(|| (*address).to_owned())
}

fn text(path: &Path) -> Option<String> {
    // What is no file, or is too large, says nothing.
    let bytes = path.is_file().then(|| linux::file::read_bounded(path, LIMIT))?.ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests run git and handle their own files")]
mod tests {
    use std::process::Command;

    use testkit::Scratch;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(folder)
            .args(["-c", "user.name=A", "-c", "user.email=a@b"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn a_repository_is_told_by_its_commit_and_its_remote() {
        let scratch = Scratch::new();
        let tree = scratch.join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        git(&tree, &["init", "-q", "-b", "main", "."]);
        assert_eq!(told(&tree), None, "nothing is committed");
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "one"]);
        git(&tree, &["remote", "add", "upstream", "https://up/x.git"]);
        git(&tree, &["remote", "add", "origin", "https://h/x.git"]);
        let head = git(&tree, &["rev-parse", "HEAD"]);
        let check = |folder: &Path, inside: &str| {
            let found = told(folder).unwrap();
            assert_eq!(
                (found["revision"].as_str(), found["source"].as_str()),
                (head.as_str(), "https://h/x.git")
            );
            assert_eq!(found["localdir:context"], inside);
        };
        check(&tree, ".");
        check(&tree.join("a/b"), "a/b");
        // Names that were packed, a commit without a name, and a further working tree.
        git(&tree, &["pack-refs", "--all"]);
        check(&tree, ".");
        git(&tree, &["worktree", "add", "-q", "../other", "-b", "other"]);
        check(&scratch.join("other"), ".");
        git(&tree, &["checkout", "-q", "--detach"]);
        check(&tree, ".");
    }

    #[test]
    fn what_is_none_of_gits_is_not_told() {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join(".git")).unwrap();
        for head in ["ref: refs/../../../etc/passwd", "ref: /etc/passwd", "ref: HEAD", "hello", ""] {
            std::fs::write(scratch.join(".git/HEAD"), head).unwrap();
            assert_eq!(told(&scratch), None, "{head}");
        }
        assert_eq!(remote("[remote \"origin\"]\n\turl = a\u{7}b\n"), None);
        assert_eq!(remote("url = x\n"), None);
    }
}
