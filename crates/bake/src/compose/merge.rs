//! One Compose file over another: maps merge, lists grow, scalars are replaced.

use super::yaml::{Yaml, double};

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

/// A list of `key=value` as a map; a key without a value has none.
fn as_map(node: &mut Yaml, name: &str) -> Result<(), String> {
    match node {
        Yaml::Override(inner) => as_map(inner, name),
        Yaml::Null | Yaml::Reset => Ok(()),
        Yaml::Map(entries) => match double(entries) {
            Some(key) => Err(format!("{key} is set twice in {name}")),
            None => Ok(()),
        },
        Yaml::List(elements) => {
            let mut entries: Vec<(String, Yaml)> = Vec::new();
            for element in elements {
                let text = element.text().ok_or_else(|| format!("{name} has an element that is no text"))?;
                // Hosts may be written with a colon, which addresses have too.
                let separator = if name == "extra_hosts" && !text.contains('=') { ':' } else { '=' };
                let (key, value) = match text.split_once(separator) {
                    Some((key, value)) => (key.to_owned(), Yaml::string(value)),
                    None => (text, Yaml::Null),
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

/// Lays `upper` over `lower`.
pub(super) fn over(lower: &mut Yaml, upper: Yaml) {
    match (&mut *lower, upper) {
        (Yaml::Map(mine), Yaml::Map(theirs)) => {
            let mut places: std::collections::HashMap<String, usize> =
                mine.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
            for (key, value) in theirs {
                match places.get(&key) {
                    Some(at) => over(&mut mine[*at].1, value),
                    None => {
                        places.insert(key.clone(), mine.len());
                        mine.push((key, settled(value)));
                    }
                }
            }
        }
        (Yaml::List(mine), Yaml::List(theirs)) => mine.extend(theirs.into_iter().map(settled)),
        (mine, Yaml::Reset) => *mine = Yaml::Null,
        (mine, Yaml::Override(inner)) => *mine = settled(*inner),
        // What says nothing changes nothing.
        (_, Yaml::Null) => {}
        (mine, theirs) => *mine = settled(theirs),
    }
}

/// A tree without marks, which mean something only over another.
fn settled(node: Yaml) -> Yaml {
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
