//! Paths as Go's package `path` has them.

/// The shortest path that means the same, by its text alone.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last part.
pub(crate) fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() { "/" } else { path.rsplit('/').next().unwrap_or(path) }
}

/// All but the last part.
pub(crate) fn directory(path: &str) -> String {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

/// A context as a build takes it: local paths are cleaned, what is remote is left.
pub(crate) fn context(context: &str) -> String {
    match context.strip_prefix("cwd://") {
        Some(local) => clean(local),
        None if is_remote(context) => context.to_owned(),
        None => clean(context),
    }
}

/// Whether a context is fetched: a URL, or a repository in one of the short forms.
pub(crate) fn is_remote(context: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "github.com/"];
    if schemes.iter().any(|scheme| context.starts_with(scheme)) {
        return true;
    }
    // user@host:path
    let word = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    context
        .split_once('@')
        .and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)))
        .is_some_and(|(user, host)| word(user, &['-', '_']) && word(host, &['-', '_', '.']))
}
