//! What variables stand for: those of files, and those that a service's programs have.
//!
//! | a variable of | stands for what is given by, the first that has it |
//! |---|---|
//! | a Compose file | `--var`, the environment, `.env`, the project's name |
//! | an included one | the same, then its own `.env` or `env_file` |
//! | an `env_file` | the same as of the first, the service's `environment`, files before it, lines before it |
//! | a build argument without a value | the service's `environment`, its `env_file`s (the last counts), the first of these |
//!
//! Who is named in `environment` without a value has that of the caller, or none, whatever an `env_file` says.

use std::collections::BTreeMap;

use yaml::Yaml;

use super::load::Loader;
use super::{File, dotenv, interpolate, service};
use crate::error::{Error, Place};
use crate::resolve::Outside;

/// Variables and their values.
pub(super) type Values = BTreeMap<String, String>;

/// The variable that has the project's name.
const PROJECT: &str = "COMPOSE_PROJECT_NAME";

/// What the variables of files stand for.
pub(super) fn values(files: &[File], outside: &Outside<'_>) -> Result<Values, Error> {
    let mut values = outside.environment.clone();
    values.extend(outside.variables.clone());
    let mut project = values.get(PROJECT).filter(|name| !name.is_empty()).cloned();
    for file in files {
        let Some(name) = file.root.get("name").filter(|name| !name.is_null()) else { continue };
        let invalid =
            |reason| Error::Invalid { place: Place { file: file.name.clone(), position: None }, reason };
        let mut name = name.clone();
        interpolate::all(&mut name, &values).map_err(invalid)?;
        let name = name.text().ok_or_else(|| invalid("name must be a string".to_owned()))?;
        // As Compose writes names of projects.
        let plain = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
        let name: String = name.to_lowercase().chars().filter(plain).collect();
        let name = name.trim_start_matches(['_', '-']);
        project = Some(name.to_owned()).filter(|name| !name.is_empty()).or(project);
    }
    values.insert(PROJECT.to_owned(), project.unwrap_or_else(|| "bake".to_owned()));
    Ok(values)
}

/// What the programs of a service have, read when it is asked for.
pub(super) struct Environment<'e, 'l> {
    service: &'e Yaml,
    values: &'e Values,
    loader: &'e mut Loader<'l>,
    of_files: Option<Values>,
}

impl<'e, 'l> Environment<'e, 'l> {
    pub(super) fn of(service: &'e Yaml, values: &'e Values, loader: &'e mut Loader<'l>) -> Self {
        Self { service, values, loader, of_files: None }
    }

    /// The value that a build argument without one takes; none if nobody has any.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let own = service::map(self.service, "environment")?;
        let known = match own.get(name) {
            Some(value) => value.clone(),
            None => self.of_files(&own)?.get(name).cloned(),
        };
        Ok(known.or_else(|| self.values.get(name).cloned()))
    }

    /// What the files of the service say, later ones over earlier ones.
    fn of_files(&mut self, own: &BTreeMap<String, Option<String>>) -> Result<&Values, String> {
        if self.of_files.is_none() {
            let mut found = Values::new();
            for file in files(self.service)? {
                let Some(text) = self.loader.read(&file.path)? else {
                    if file.is_required {
                        return Err(format!("env file {} not found", file.path));
                    }
                    continue;
                };
                let given = |name: &str| {
                    let own = own.get(name).and_then(Option::as_ref);
                    self.values.get(name).or(own).or_else(|| found.get(name)).map(String::as_str)
                };
                let variables = match file.is_raw {
                    true => Ok(dotenv::raw(&text, &given)),
                    false => dotenv::parse(&text, &given),
                };
                let variables = variables
                    .map_err(|wrong| format!("read {}:{}: {}", file.path, wrong.line, wrong.reason))?;
                found.extend(variables);
            }
            self.of_files = Some(found);
        }
        Ok(self.of_files.get_or_insert_default())
    }
}

/// An entry of `env_file`.
struct EnvFile {
    path: String,
    is_required: bool,
    is_raw: bool,
}

fn files(service: &Yaml) -> Result<Vec<EnvFile>, String> {
    let entries = match service.get("env_file") {
        None | Some(Yaml::Null) => return Ok(Vec::new()),
        Some(Yaml::List(entries)) => entries,
        Some(_) => return Err("env_file must be a path or a list".to_owned()),
    };
    let entry = |entry: &Yaml| {
        if let Some(path) = entry.text() {
            return Ok(EnvFile { path, is_required: true, is_raw: false });
        }
        let path = entry.get("path").and_then(Yaml::text).ok_or("an entry of env_file has no path")?;
        let is_raw = match entry.get("format").and_then(Yaml::text).as_deref() {
            None | Some("") => false,
            Some("raw") => true,
            Some(other) => return Err(format!("env_file {path}: there is no format {other:?}")),
        };
        let is_required = entry.get("required").and_then(Yaml::flag).unwrap_or(true);
        Ok(EnvFile { path, is_required, is_raw })
    };
    entries.iter().map(entry).collect()
}
