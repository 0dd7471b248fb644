//! Git repositories as sources of ADD.

/// A repository, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitSource {
    /// The repository.
    pub remote: String,
    /// A branch, a tag or a commit.
    pub reference: Option<String>,
    /// A directory of it.
    pub subdirectory: Option<String>,
    /// The commit that it must be.
    pub checksum: Option<String>,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
    /// Whether submodules are fetched too.
    pub submodules: bool,
    /// Whether files have the time of the commit (`mtime=commit`).
    pub commit_times: bool,
    /// Whether the commit itself is fetched rather than a name.
    pub fetch_by_commit: bool,
}

/// Whether a source names a repository: `git://`, `ssh://`, `user@host:path`, or `https://….git`.
#[must_use]
pub fn is_git(source: &str) -> bool {
    let path = source.split(['#', '?']).next().unwrap_or_default();
    if source.starts_with("git://") || source.starts_with("ssh://") {
        return true;
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return path.ends_with(".git");
    }
    path.split_once(':').is_some_and(|(host, path)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let (user, name) = host.split_once('@').unwrap_or_default();
        !user.is_empty()
            && !name.is_empty()
            && user.chars().all(plain)
            && name.chars().all(plain)
            && !path.is_empty()
    })
}

/// Takes a source apart: `remote#reference:directory`, or `remote?ref=…&subdir=…`. `keep` is `--keep-git-dir`.
///
/// # Errors
/// What of it says nothing, or two things at once.
pub fn parse(source: &str, keep: Option<bool>, checksum: Option<&str>) -> Result<GitSource, String> {
    let (rest, fragment) = match source.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (source, None),
    };
    let (remote, query) = match rest.split_once('?') {
        Some((remote, query)) => (remote, Some(query)),
        None => (rest, None),
    };
    let mut git = GitSource { remote: remote.to_owned(), submodules: true, ..GitSource::default() };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    if let Some(fragment) = fragment {
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        (git.reference, git.subdirectory) = (some(reference), some(directory));
    }
    let kept = ask(&mut git, query.unwrap_or_default())?;
    if let (Some(flag), Some(query)) = (keep, kept)
        && flag != query
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    git.keep_git_dir = kept.or(keep).unwrap_or_default();
    match (checksum, &git.checksum) {
        (Some(flag), Some(query)) if flag != query => {
            return Err(format!("checksum mismatch {flag:?} != {query:?}"));
        }
        (Some(flag), None) => git.checksum = Some(flag.to_owned()),
        _ => {}
    }
    if git.subdirectory.as_deref().is_some_and(|path| path.split('/').any(|part| part == "..")) {
        return Err("a subdirectory of a repository lies inside it".to_owned());
    }
    Ok(git)
}

/// Adds what a query asks for (`ref=v1&subdir=x`); what it says of `keep-git-dir`.
fn ask(git: &mut GitSource, query: &str) -> Result<Option<bool>, String> {
    let mut kept = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let boolean = || match value {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(format!("invalid {key} value: {value:?}")),
        };
        let set = |slot: &mut Option<String>, value: String| match slot.replace(value.clone()) {
            Some(old) if old != value => Err(format!("conflicting {key}: {old:?} and {value:?}")),
            _ => Ok(()),
        };
        match key {
            "ref" => set(&mut git.reference, value.to_owned())?,
            "tag" => {
                set(&mut git.reference, format!("refs/tags/{}", value.trim_start_matches("refs/tags/")))?
            }
            "branch" => {
                set(&mut git.reference, format!("refs/heads/{}", value.trim_start_matches("refs/heads/")))?
            }
            "subdir" => set(&mut git.subdirectory, value.to_owned())?,
            "checksum" | "commit" => set(&mut git.checksum, value.to_owned())?,
            "keep-git-dir" => kept = Some(boolean()?),
            "submodules" => git.submodules = boolean()?,
            "fetch-by-commit" => git.fetch_by_commit = boolean()?,
            "mtime" if matches!(value, "checkout" | "commit") => git.commit_times = value == "commit",
            "mtime" => return Err(format!("invalid mtime value: {value:?}")),
            _ => return Err(format!("unexpected query {key:?}")),
        }
    }
    Ok(kept)
}
