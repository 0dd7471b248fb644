//! A file with what it takes from others: services that it extends, files that it includes.
//!
//! Both are done file by file, before files are merged, as by Compose: what a later file changes of a service does not reach those that
//! extend it. A service of another file keeps the paths of its own folder, and has the variables of the file that extends it. An
//! included file is a project of its own: with a folder, and with `.env` there for what the caller has not set. What it
//! defines must not be defined by the file that includes it; a file that lies over both may change it.
//!
//! Whoever comes back to where he was is told the way. How many files are read, how much text and how many nodes that makes, and how
//! long a way may be, has limits.

use std::collections::BTreeMap;
use std::rc::Rc;

use yaml::Yaml;

use super::environment::Values;
use super::{RULES, dotenv, interpolate, merge, paths};
use crate::Reader;
use crate::error::{Error, Place};
use crate::path;

/// How many services may extend each other in a chain, and how many files include each other.
const MAX_CHAIN: usize = 16;
/// How many other files are read.
const MAX_FILES: usize = 256;

type Services = Rc<BTreeMap<String, Yaml>>;

/// A project: the files of one folder that know the same variables.
pub(super) struct Level {
    /// The folder, seen from the caller's; empty if it is that.
    folder: String,
    values: Values,
    /// The files that led here, the first one first.
    chain: Vec<String>,
    /// Services of other files, by their paths.
    others: BTreeMap<String, Services>,
}

impl Level {
    /// That of the file that somebody has named.
    pub(super) fn first(values: Values, file: &str) -> Self {
        Self { folder: String::new(), values, chain: vec![file.to_owned()], others: BTreeMap::new() }
    }

    /// Where a path of this project lies.
    fn below(&self, path: &str) -> String {
        paths::below(&self.folder, path, self.values.get("HOME").map(String::as_str))
    }
}

/// Reads what files name.
pub(super) struct Loader<'a> {
    reader: Option<Reader<'a>>,
    bytes_left: usize,
    files_left: usize,
    nodes_left: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(reader: Option<Reader<'a>>, max_bytes: usize) -> Self {
        Self { reader, bytes_left: max_bytes, files_left: MAX_FILES, nodes_left: RULES.nodes }
    }

    /// The text of a file; none if there is no such file.
    pub(super) fn read(&mut self, path: &str) -> Result<Option<String>, String> {
        let Some(reader) = &self.reader else {
            return Err(format!("{path} is another file, and nobody reads others here"));
        };
        let spent = |what: &str| format!("read {path}: {what} that Compose files name are too many");
        self.files_left = self.files_left.checked_sub(1).ok_or_else(|| spent("the files"))?;
        let text = reader.0(path).map_err(|reason| format!("read {path}: {reason}"))?;
        let length = text.as_ref().map_or(0, String::len);
        self.bytes_left = self.bytes_left.checked_sub(length).ok_or_else(|| spent("the bytes of files"))?;
        Ok(text)
    }

    /// A file with all that it takes from others. Its paths are those of the whole.
    pub(super) fn load(&mut self, name: &str, root: Yaml, level: &mut Level) -> Result<Yaml, Error> {
        let invalid = |reason| invalid(name, reason);
        let mut root = prepared(name, root, level)?;
        let included = root.remove("include").filter(|included| !included.is_null());
        self.extend_all(name, &mut root, level)?;
        paths::resolve(&mut root, &level.folder, &level.values);
        match included {
            None => {}
            Some(Yaml::List(included)) => {
                for included in included {
                    let imported = self.include(name, &included, level)?;
                    import(imported, &mut root).map_err(invalid)?;
                }
            }
            Some(_) => return Err(invalid("include must be a list".to_owned())),
        }
        Ok(root)
    }

    /// Puts what services extend below them.
    fn extend_all(&mut self, name: &str, root: &mut Yaml, level: &mut Level) -> Result<(), Error> {
        let Some(Yaml::Map(services)) = root.get_mut("services") else { return Ok(()) };
        if services.iter().all(|(_, service)| service.get("extends").is_none_or(Yaml::is_null)) {
            return Ok(());
        }
        let all: Services = Rc::new(services.iter().cloned().collect());
        for (service, node) in services {
            *node = self.extended((name, service), &all, &mut Vec::new(), level)?;
        }
        Ok(())
    }

    /// A service with what it extends below it.
    fn extended(
        &mut self,
        (file, name): (&str, &str),
        services: &Services,
        chain: &mut Vec<(String, String)>,
        level: &mut Level,
    ) -> Result<Yaml, Error> {
        let refused = |reason: String| Error::Target { target: name.to_owned(), reason };
        let link = (file.to_owned(), name.to_owned());
        if let Some(start) = chain.iter().position(|known| *known == link) {
            let mut chain = chain.split_off(start);
            chain.push(link);
            let told = |(file_of, name): (String, String)| {
                if file_of == file { name } else { format!("{name} of {file_of}") }
            };
            return Err(Error::Cycle { kind: "extends", chain: chain.into_iter().map(told).collect() });
        }
        if chain.len() >= MAX_CHAIN {
            let what = "services that extend each other".to_owned();
            return Err(Error::Limit { what, limit: MAX_CHAIN as u64 });
        }
        let Some(service) = services.get(name) else {
            let known = services.keys().cloned().collect();
            return Err(Error::NoTarget { name: name.to_owned(), known });
        };
        self.spend(service.count())?;
        let mut service = service.clone();
        let Some(extends) = service.remove("extends").filter(|extends| !extends.is_null()) else {
            return Ok(service);
        };
        let base = extends.text().or_else(|| extends.get("service").and_then(Yaml::text));
        let base = base.ok_or_else(|| refused("extends names no service".to_owned()))?;
        let other = extends.get("file").and_then(Yaml::text);
        let (file_of, services) = match other {
            None => (file.to_owned(), Rc::clone(services)),
            Some(other) => {
                let found = self.services_of(file, &other, level)?;
                (other, found)
            }
        };
        if !services.contains_key(&base) {
            return Err(refused(format!("it extends {base}, which {file_of} does not define")));
        }
        chain.push(link);
        let mut merged = self.extended((&file_of, &base), &services, chain, level)?;
        chain.pop();
        merge::over(&mut merged, service);
        Ok(merged)
    }

    /// The services of another file, with its own paths.
    fn services_of(&mut self, by: &str, file: &str, level: &mut Level) -> Result<Services, Error> {
        let path = level.below(file);
        if let Some(known) = level.others.get(&path) {
            return Ok(Rc::clone(known));
        }
        let mut root = prepared(&path, self.file(by, &path)?, level)?;
        // Relative to this project's folder, as all of its paths are.
        paths::resolve(&mut root, &path::directory(file), &level.values);
        let services: Services = match root.remove("services") {
            Some(Yaml::Map(services)) => Rc::new(services.into_iter().collect()),
            _ => Services::default(),
        };
        level.others.insert(path, Rc::clone(&services));
        Ok(services)
    }

    /// What an entry of `include` brings.
    fn include(&mut self, name: &str, entry: &Yaml, level: &Level) -> Result<Yaml, Error> {
        let invalid = |reason: String| invalid(name, reason);
        let (files, folder, env_files) = match entry.text() {
            Some(path) => (vec![path], None, Vec::new()),
            None => (
                one_or_more(entry, "path").map_err(invalid)?,
                entry.get("project_directory").and_then(Yaml::text).filter(|text| !text.is_empty()),
                one_or_more(entry, "env_file").map_err(invalid)?,
            ),
        };
        let files: Vec<String> = files.iter().map(|file| level.below(file)).collect();
        let Some(first) = files.first() else {
            return Err(invalid("an entry of include has no path".to_owned()));
        };
        let mut chain = level.chain.clone();
        if let Some(start) = chain.iter().position(|known| known == first) {
            let mut chain = chain.split_off(start);
            chain.push(first.clone());
            return Err(Error::Cycle { kind: "include", chain });
        }
        if chain.len() >= MAX_CHAIN {
            let what = "files that include each other".to_owned();
            return Err(Error::Limit { what, limit: MAX_CHAIN as u64 });
        }
        chain.push(first.clone());
        let folder = folder.map_or_else(|| path::directory(first), |folder| level.below(&folder));
        let env_files: Vec<String> = env_files.iter().map(|file| level.below(file)).collect();
        let values = self.values_of(name, (&folder, &env_files), level)?;
        let mut inner = Level { folder, values, chain, others: BTreeMap::new() };
        let mut merged = Yaml::Map(Vec::new());
        for file in &files {
            let root = self.file(name, file)?;
            let root = self.load(file, root, &mut inner)?;
            merge::over(&mut merged, root);
        }
        merged = merge::settled(merged);
        fill_contexts(&mut merged, &inner.folder);
        fill_environments(&mut merged, &inner.values);
        Ok(merged)
    }

    /// The variables of an included project: its own, below those that are known.
    fn values_of(
        &mut self,
        name: &str,
        (folder, files): (&str, &[String]),
        level: &Level,
    ) -> Result<Values, Error> {
        let usual = [paths::below(folder, ".env", None)];
        let (files, is_required) = if files.is_empty() { (&usual[..], false) } else { (files, true) };
        let mut found = Values::new();
        for file in files {
            let Some(text) = self.read(file).map_err(|reason| invalid(name, reason))? else {
                if is_required {
                    return Err(invalid(name, format!("env file {file} not found")));
                }
                continue;
            };
            let given = |name: &str| level.values.get(name).or_else(|| found.get(name)).map(String::as_str);
            let variables = dotenv::parse(&text, &given).map_err(|wrong| Error::Syntax {
                place: Place { file: file.clone(), position: Some((wrong.line, 1)) },
                reason: wrong.reason,
            })?;
            found.extend(variables);
        }
        found.extend(level.values.clone());
        Ok(found)
    }

    /// Another file that one names, which has to be there.
    fn file(&mut self, by: &str, path: &str) -> Result<Yaml, Error> {
        let text = self.read(path).map_err(|reason| invalid(by, reason))?;
        let text = text.ok_or_else(|| invalid(by, format!("read {path}: there is no such file")))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let root = yaml::parse(text, RULES).map_err(|error| Error::Syntax {
            place: Place { file: path.to_owned(), position: Some((error.line, error.column)) },
            reason: error.reason,
        })?;
        self.spend(root.count())?;
        Ok(root)
    }

    fn spend(&mut self, nodes: usize) -> Result<(), Error> {
        let what = "nodes of services, with what they extend and files include";
        let too_much = || Error::Limit { what: what.to_owned(), limit: RULES.nodes as u64 };
        self.nodes_left = self.nodes_left.checked_sub(nodes).ok_or_else(too_much)?;
        Ok(())
    }
}

fn invalid(file: &str, reason: String) -> Error {
    Error::Invalid { place: Place { file: file.to_owned(), position: None }, reason }
}

/// A file with its variables filled in, and in its long form.
fn prepared(name: &str, mut root: Yaml, level: &Level) -> Result<Yaml, Error> {
    let invalid = |reason| invalid(name, reason);
    interpolate::all(&mut root, &level.values).map_err(invalid)?;
    merge::canonical(&mut root).map_err(invalid)?;
    Ok(root)
}

/// A text, or several.
fn one_or_more(entry: &Yaml, key: &str) -> Result<Vec<String>, String> {
    let text = |node: &Yaml| node.text().ok_or_else(|| format!("{key} of include is no path"));
    match entry.get(key) {
        None | Some(Yaml::Null) => Ok(Vec::new()),
        Some(Yaml::List(list)) => list.iter().map(text).collect(),
        Some(node) => Ok(vec![text(node)?]),
    }
}

/// Adds what an included project defines. What is defined twice has to be the same.
fn import(from: Yaml, into: &mut Yaml) -> Result<(), String> {
    let Yaml::Map(sections) = from else { return Ok(()) };
    for (section, entries) in sections {
        let (true, Yaml::Map(entries)) = (matches!(section.as_str(), "services" | "secrets"), entries) else {
            continue;
        };
        if into.get(&section).is_none_or(Yaml::is_null) {
            into.set(&section, Yaml::Map(Vec::new()));
        }
        let Some(Yaml::Map(known)) = into.get_mut(&section) else { continue };
        let mut places: BTreeMap<String, usize> =
            known.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        for (name, node) in entries {
            match places.get(&name) {
                Some(place) if known[*place].1 == node => {}
                Some(_) => return Err(format!("{section}.{name} is defined by an included file, too")),
                None => {
                    places.insert(name.clone(), known.len());
                    known.push((name, node));
                }
            }
        }
    }
    Ok(())
}

/// Gives services of an included project that name no context its folder.
fn fill_contexts(root: &mut Yaml, folder: &str) {
    let Some(Yaml::Map(services)) = root.get_mut("services") else { return };
    for (_, service) in services {
        if let Some(build @ Yaml::Map(_)) = service.get_mut("build")
            && build.get("context").is_none_or(Yaml::is_null)
        {
            build.set("context", Yaml::string(if folder.is_empty() { "." } else { folder }));
        }
    }
}

/// Gives what an included project's services have without a value the one that its own variables say.
fn fill_environments(root: &mut Yaml, values: &Values) {
    let Some(Yaml::Map(services)) = root.get_mut("services") else { return };
    for (_, service) in services {
        let Some(Yaml::Map(environment)) = service.get_mut("environment") else { continue };
        for (name, value) in environment.iter_mut().filter(|(_, value)| value.is_null()) {
            if let Some(known) = values.get(name) {
                *value = Yaml::string(known.as_str());
            }
        }
    }
}
