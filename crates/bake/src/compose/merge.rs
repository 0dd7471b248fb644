//! One Compose file over another: maps merge, lists grow, scalars and extensions (`x-…`) are replaced.

use yaml::{Yaml, double};

/// Parts of `build` that are maps, also where they are written as lists of `key=value`.
const MAPS: &[&str] = &["args", "labels", "additional_contexts", "extra_hosts", "ssh"];

/// Puts everything that has a short form into its long one, so that files of both forms merge.
pub(super) fn canonical(root: &mut Yaml) -> Result<(), String> {
    match root {
        Yaml::Map(entries) => {
            if let Some(key) = double(entries) {
                return Err(format!("{key} is set twice"));
            }
        }
        Yaml::Null => return Ok(()),
        _ => return Err("a Compose file is a map".to_owned()),
    }
    let Yaml::Map(entries) = root else { return Ok(()) };
    for (_, services) in entries.iter_mut().filter(|(key, _)| key == "services") {
        match services {
            Yaml::Null => {}
            Yaml::Map(services) => {
                if let Some(name) = double(services) {
                    return Err(format!("service {name} is defined twice"));
                }
                for (name, service) in services {
                    canonical_service(service).map_err(|reason| format!("services.{name}: {reason}"))?;
                }
            }
            _ => return Err("services must be a map".to_owned()),
        }
    }
    Ok(())
}

fn canonical_service(service: &mut Yaml) -> Result<(), String> {
    if service.is_null() {
        *service = Yaml::Map(Vec::new());
    }
    let Yaml::Map(entries) = service else { return Err("a service is a map".to_owned()) };
    if let Some(key) = double(entries) {
        return Err(format!("{key} is set twice"));
    }
    for (key, value) in entries {
        match key.as_str() {
            "build" => canonical_build(value)?,
            "environment" => as_map(value, "environment")?,
            "env_file" => as_list(value),
            _ => {}
        }
    }
    Ok(())
}

fn canonical_build(build: &mut Yaml) -> Result<(), String> {
    if let Yaml::Override(inner) = build {
        return canonical_build(inner);
    }
    if let Some(context) = build.text() {
        *build = Yaml::Map(vec![("context".to_owned(), Yaml::string(context))]);
    }
    let entries = match build {
        Yaml::Map(entries) => entries,
        Yaml::Null | Yaml::Reset => return Ok(()),
        _ => return Err("build must be a string or a map".to_owned()),
    };
    if let Some(key) = double(entries) {
        return Err(format!("build.{key} is set twice"));
    }
    for (key, value) in entries {
        if MAPS.contains(&key.as_str()) {
            as_map(value, key)?;
        }
    }
    Ok(())
}

/// One path as a list of one.
fn as_list(node: &mut Yaml) {
    match node {
        Yaml::Override(inner) => as_list(inner),
        Yaml::Null | Yaml::Reset | Yaml::List(_) => {}
        Yaml::Scalar { .. } | Yaml::Map(_) => {
            let one = std::mem::replace(node, Yaml::Null);
            *node = Yaml::List(vec![one]);
        }
    }
}

/// A list of `key=value` as a map; a key without a value has none, whatever is below it.
fn as_map(node: &mut Yaml, name: &str) -> Result<(), String> {
    match node {
        Yaml::Override(inner) => as_map(inner, name),
        Yaml::Null | Yaml::Reset => Ok(()),
        Yaml::Map(entries) => {
            if let Some(key) = double(entries) {
                return Err(format!("{key} is set twice in {name}"));
            }
            entries
                .iter_mut()
                .filter(|(_, value)| value.is_null())
                .for_each(|(_, value)| *value = Yaml::Reset);
            Ok(())
        }
        Yaml::List(elements) => {
            let mut entries: Vec<(String, Yaml)> = Vec::new();
            for element in elements {
                let text = element.text().ok_or_else(|| format!("{name} has an element that is no text"))?;
                // Hosts may be written with a colon, which addresses have too.
                let separator = if name == "extra_hosts" && !text.contains('=') { ':' } else { '=' };
                let (key, value) = match text.split_once(separator) {
                    Some((key, value)) => (key.to_owned(), Yaml::string(value)),
                    None => (text, Yaml::Reset),
                };
                match entries.iter_mut().find(|(known, _)| *known == key) {
                    // A host may have several addresses.
                    Some((_, Yaml::Scalar { text, .. })) if name == "extra_hosts" => {
                        if let Some(more) = value.text() {
                            text.push(',');
                            text.push_str(&more);
                        }
                    }
                    Some((_, known)) => *known = value,
                    None => entries.push((key, value)),
                }
            }
            *node = Yaml::Map(entries);
            Ok(())
        }
        Yaml::Scalar { .. } => Err(format!("{name} must be a map or a list")),
    }
}

/// Lays `upper` over `lower`. Marks stay, for what is made of both may come to lie over something else.
pub(super) fn over(lower: &mut Yaml, upper: Yaml) {
    match (&mut *lower, upper) {
        // What says nothing changes nothing.
        (_, Yaml::Null) => {}
        (lower, Yaml::Reset) => *lower = Yaml::Reset,
        (lower, Yaml::Override(upper)) => *lower = Yaml::Override(upper),
        // What comes after a mark is meant to be there alone, too.
        (lower @ Yaml::Reset, upper) => *lower = Yaml::Override(Box::new(upper)),
        (Yaml::Override(inner), upper) => over(inner, upper),
        (Yaml::Map(mine), Yaml::Map(theirs)) => {
            let mut places: std::collections::HashMap<String, usize> =
                mine.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
            for (key, value) in theirs {
                match places.get(&key) {
                    // What an extension means, nobody knows here.
                    Some(at) if key.starts_with("x-") => mine[*at].1 = value,
                    Some(at) => over(&mut mine[*at].1, value),
                    None => {
                        places.insert(key.clone(), mine.len());
                        mine.push((key, value));
                    }
                }
            }
        }
        (Yaml::List(mine), Yaml::List(theirs)) => mine.extend(theirs),
        (lower, upper) => *lower = upper,
    }
}

/// A tree without marks, which mean something only over another.
pub(super) fn settled(node: Yaml) -> Yaml {
    match node {
        Yaml::Reset => Yaml::Null,
        Yaml::Override(inner) => settled(*inner),
        Yaml::List(elements) => Yaml::List(elements.into_iter().map(settled).collect()),
        Yaml::Map(entries) => {
            Yaml::Map(entries.into_iter().map(|(key, value)| (key, settled(value))).collect())
        }
        other => other,
    }
}
