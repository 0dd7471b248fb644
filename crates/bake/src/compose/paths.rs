//! Paths of a file, which are relative to the folder of its project, as those of the whole.
//!
//! Contexts, `env_file`, the files of secrets and of `extends` are put below that folder. What is no path of this machine stays as it is: a URL,
//! `docker-image://…`, a service. `~` is the caller's home, where it is known.

use yaml::Yaml;

use super::environment::Values;
use crate::path;

/// Puts all paths of a tree below `folder`.
pub(super) fn resolve(root: &mut Yaml, folder: &str, values: &Values) {
    let home = values.get("HOME").map(String::as_str);
    let put = |node: &mut Yaml| put(node, folder, home);
    for (_, service) in entries(root.get_mut("services")) {
        if let Some(build) = service.get_mut("build") {
            let build = build.inner_mut();
            build.get_mut("context").into_iter().for_each(|node| put_context(node, folder, home));
            for (_, node) in entries(build.get_mut("additional_contexts")) {
                put_context(node, folder, home);
            }
        }
        if let Some(Yaml::List(files)) = service.get_mut("env_file").map(Yaml::inner_mut) {
            for file in files {
                match file.get_mut("path") {
                    Some(path) => put(path),
                    None => put(file),
                }
            }
        }
        service.get_mut("extends").and_then(|extends| extends.get_mut("file")).into_iter().for_each(put);
    }
    for (_, secret) in entries(root.get_mut("secrets")) {
        secret.get_mut("file").into_iter().for_each(put);
    }
}

fn entries(node: Option<&mut Yaml>) -> impl Iterator<Item = &mut (String, Yaml)> {
    let entries = match node.map(Yaml::inner_mut) {
        Some(Yaml::Map(entries)) => entries.as_mut_slice(),
        _ => &mut [],
    };
    entries.iter_mut()
}

fn put(node: &mut Yaml, folder: &str, home: Option<&str>) {
    let node = node.inner_mut();
    if let Some(text) = node.text().filter(|text| !text.is_empty()) {
        *node = Yaml::string(below(folder, &text, home));
    }
}

fn put_context(node: &mut Yaml, folder: &str, home: Option<&str>) {
    let is_path = |text: &str| {
        !(text.contains("://")
            || text.starts_with("service:")
            || text.starts_with("target:")
            || path::is_remote(text))
    };
    if node.inner_mut().text().is_some_and(|text| is_path(&text)) {
        put(node, folder, home);
    }
}

/// A path as it is seen from above `folder`.
pub(super) fn below(folder: &str, text: &str, home: Option<&str>) -> String {
    let home = home.filter(|home| !home.is_empty());
    match (text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')), home) {
        (Some(rest), Some(home)) => path::clean(&format!("{home}/{rest}")),
        _ if text.starts_with('/') || folder.is_empty() => path::clean(text),
        _ => path::clean(&format!("{folder}/{text}")),
    }
}
