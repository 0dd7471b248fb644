//! Targets and groups as files define them, before inheritance; how definitions merge.

use std::collections::BTreeMap;

use crate::entry::{
    Attest, Cache, Output, Policy, Secret, Setting, Ssh, from_list, last_of_each, without_doubles,
};
use crate::value::{Type, Value, convert};

/// A group, as a file or several define it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// What it is for.
    pub description: Option<String>,
    /// Names of targets and of groups.
    pub targets: Vec<String>,
}

/// All that files define.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) groups: Vec<(String, Group)>,
    pub(crate) targets: Vec<Definition>,
    /// Where a definition stands, so that thousands of them are found at once.
    places: BTreeMap<String, usize>,
    /// The same for the first group of a name.
    group_places: BTreeMap<String, usize>,
}

impl Config {
    /// Adds a definition, or merges it into the one of its name.
    pub(crate) fn add(&mut self, definition: Definition) {
        match self.places.get(&definition.name) {
            Some(place) => self.targets[*place].merge(&definition),
            None => {
                self.places.insert(definition.name.clone(), self.targets.len());
                self.targets.push(definition);
            }
        }
    }

    pub(crate) fn target(&self, name: &str) -> Option<&Definition> {
        self.places.get(name).map(|place| &self.targets[*place])
    }

    /// Adds a group, or puts it in the place of the one of its name.
    pub(crate) fn set_group(&mut self, name: String, group: Group) {
        match self.group_places.get(&name) {
            Some(place) => self.groups[*place].1 = group,
            None => self.append_group(name, group),
        }
    }

    /// Adds a group, which one of its name that is there already hides.
    pub(crate) fn append_group(&mut self, name: String, group: Group) {
        self.group_places.entry(name.clone()).or_insert(self.groups.len());
        self.groups.push((name, group));
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.group_places.get(name).map(|place| &self.groups[*place].1)
    }
}

/// A target, as a file or several define it. What is `None` was not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) inherits: Vec<String>,
    pub(crate) annotations: Option<Vec<String>>,
    pub(crate) attest: Option<Vec<Attest>>,
    pub(crate) context: Option<String>,
    pub(crate) contexts: BTreeMap<String, String>,
    pub(crate) dockerfile: Option<String>,
    pub(crate) dockerfile_inline: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) cache_from: Option<Vec<Cache>>,
    pub(crate) cache_to: Option<Vec<Cache>>,
    pub(crate) target: Option<String>,
    pub(crate) secret: Option<Vec<Secret>>,
    pub(crate) ssh: Option<Vec<Ssh>>,
    pub(crate) platforms: Option<Vec<String>>,
    pub(crate) output: Option<Vec<Output>>,
    pub(crate) pull: Option<bool>,
    pub(crate) no_cache: Option<bool>,
    pub(crate) network: Option<String>,
    pub(crate) no_cache_filter: Option<Vec<String>>,
    pub(crate) shm_size: Option<String>,
    pub(crate) ulimits: Option<Vec<String>>,
    pub(crate) resources: BTreeMap<String, String>,
    pub(crate) call: Option<String>,
    pub(crate) entitlements: Option<Vec<String>>,
    pub(crate) extra_hosts: BTreeMap<String, String>,
    pub(crate) policy: Option<Vec<Policy>>,
}

/// What kind of value an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Texts,
    TextMap,
    Flag,
    Caches,
    Outputs,
    Attests,
    Secrets,
    Keys,
    Resources,
    Policies,
}

/// The attributes of a target.
pub(crate) const TARGET: &[(&str, Shape)] = &[
    ("description", Shape::Text),
    ("inherits", Shape::Texts),
    ("annotations", Shape::Texts),
    ("attest", Shape::Attests),
    ("context", Shape::Text),
    ("contexts", Shape::TextMap),
    ("dockerfile", Shape::Text),
    ("dockerfile-inline", Shape::Text),
    ("args", Shape::TextMap),
    ("labels", Shape::TextMap),
    ("tags", Shape::Texts),
    ("cache-from", Shape::Caches),
    ("cache-to", Shape::Caches),
    ("target", Shape::Text),
    ("secret", Shape::Secrets),
    ("ssh", Shape::Keys),
    ("platforms", Shape::Texts),
    ("output", Shape::Outputs),
    ("pull", Shape::Flag),
    ("no-cache", Shape::Flag),
    ("network", Shape::Text),
    ("no-cache-filter", Shape::Texts),
    ("shm-size", Shape::Text),
    ("ulimits", Shape::Texts),
    ("resources", Shape::Resources),
    ("call", Shape::Text),
    ("entitlements", Shape::Texts),
    ("extra-hosts", Shape::TextMap),
    ("policy", Shape::Policies),
];

/// The attributes of a group.
pub(crate) const GROUP: &[(&str, Shape)] = &[("description", Shape::Text), ("targets", Shape::Texts)];

impl Shape {
    /// `value` as an attribute of this shape has it: what other expressions see of it.
    pub(crate) fn read(self, value: &Value) -> Result<Value, String> {
        if value.is_null() {
            return Ok(self.unset());
        }
        match self {
            Self::Text => convert(value, &Type::String),
            Self::Flag => convert(value, &Type::Bool),
            Self::TextMap => convert(value, &Type::Map(Box::new(Type::String))),
            Self::Texts => {
                let texts = convert(value, &Type::List(Box::new(Type::String)))?;
                let null = texts.elements().unwrap_or_default().iter().any(Value::is_null);
                if null { Err("string required, but have null".to_owned()) } else { Ok(texts) }
            }
            Self::Caches => settings::<Cache>(value),
            Self::Outputs => settings::<Output>(value),
            Self::Attests => settings::<Attest>(value),
            Self::Secrets => settings::<Secret>(value),
            Self::Keys => settings::<Ssh>(value),
            Self::Resources => {
                let limits = convert(value, &Type::Map(Box::new(Type::String)))?;
                text_map(&limits).iter().try_for_each(|(name, limit)| check_resource(name, limit))?;
                Ok(limits)
            }
            Self::Policies => settings::<Policy>(value),
        }
    }

    /// What expressions see of an attribute that is not set.
    pub(crate) fn unset(self) -> Value {
        match self {
            Self::Text | Self::Texts | Self::TextMap | Self::Flag | Self::Resources => Value::Null,
            Self::Caches | Self::Outputs | Self::Attests | Self::Secrets | Self::Keys | Self::Policies => {
                Value::List(Vec::new())
            }
        }
    }
}

fn settings<T: Setting>(value: &Value) -> Result<Value, String> {
    Ok(Value::List(from_list::<T>(value)?.iter().map(Setting::to_value).collect()))
}

/// The limits of steps of a build, and whether they are numbers.
pub(crate) const RESOURCES: &[(&str, bool)] = &[
    ("memory", false),
    ("memory-swap", false),
    ("cpu-shares", true),
    ("cpu-period", true),
    ("cpu-quota", true),
    ("cpuset-cpus", false),
    ("cpuset-mems", false),
];

/// Whether a limit is known, and a number where it is one.
pub(crate) fn check_resource(name: &str, value: &str) -> Result<(), String> {
    match RESOURCES.iter().find(|(known, _)| *known == name) {
        None => Err(format!("unknown resources key {name}")),
        Some((_, true)) if value.parse::<i64>().is_err() => {
            Err(format!("invalid value {value} for int64 key resources.{name}"))
        }
        Some(_) => Ok(()),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    value.elements().map(|elements| elements.iter().filter_map(text).collect())
}

fn text_map(value: &Value) -> BTreeMap<String, String> {
    let entry = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Some((key.clone(), text.clone())),
        // `null` leaves it to the Dockerfile, or to what is inherited.
        _ => None,
    };
    value.entries().map(|entries| entries.iter().filter_map(entry).collect()).unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        _ => None,
    }
}

impl Group {
    /// Sets an attribute to what [`Shape::read`] made of its value.
    pub(crate) fn set(&mut self, name: &str, value: &Value) {
        match name {
            "description" => self.description = text(value).filter(|text| !text.is_empty()),
            "targets" => self.targets = texts(value).unwrap_or_default(),
            _ => {}
        }
    }
}

impl Definition {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets an attribute to what [`Shape::read`] made of its value.
    pub(crate) fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "description" => self.description = text(value).filter(|text| !text.is_empty()),
            "inherits" => self.inherits = texts(value).unwrap_or_default(),
            "annotations" => self.annotations = texts(value),
            "attest" => self.attest = Some(from_list(value)?),
            "context" => self.context = text(value),
            "contexts" => self.contexts = text_map(value),
            "dockerfile" => self.dockerfile = text(value),
            "dockerfile-inline" => self.dockerfile_inline = text(value),
            "args" => self.args = text_map(value),
            "labels" => self.labels = text_map(value),
            "tags" => self.tags = texts(value),
            "cache-from" => self.cache_from = Some(from_list(value)?),
            "cache-to" => self.cache_to = Some(from_list(value)?),
            "target" => self.target = text(value),
            "secret" => self.secret = Some(from_list(value)?),
            "ssh" => self.ssh = Some(from_list(value)?),
            "platforms" => self.platforms = texts(value),
            "output" => self.output = Some(from_list(value)?),
            "pull" => self.pull = flag(value),
            "no-cache" => self.no_cache = flag(value),
            "network" => self.network = text(value),
            "no-cache-filter" => self.no_cache_filter = texts(value),
            "shm-size" => self.shm_size = text(value),
            "ulimits" => self.ulimits = texts(value),
            "resources" => self.resources = text_map(value),
            "call" => self.call = text(value),
            "entitlements" => self.entitlements = texts(value),
            "extra-hosts" => self.extra_hosts = text_map(value),
            "policy" => self.policy = Some(from_list(value)?),
            _ => {}
        }
        Ok(())
    }

    /// Lays `other` over this one: maps and most lists grow, tags, platforms, `cache-to` and outputs are replaced.
    pub(crate) fn merge(&mut self, other: &Self) {
        replace(&mut self.description, &other.description);
        replace(&mut self.context, &other.context);
        replace(&mut self.dockerfile, &other.dockerfile);
        replace(&mut self.dockerfile_inline, &other.dockerfile_inline);
        replace(&mut self.target, &other.target);
        replace(&mut self.call, &other.call);
        replace(&mut self.pull, &other.pull);
        replace(&mut self.no_cache, &other.no_cache);
        replace(&mut self.network, &other.network);
        replace(&mut self.shm_size, &other.shm_size);
        replace(&mut self.tags, &other.tags);
        replace(&mut self.platforms, &other.platforms);
        replace(&mut self.cache_to, &other.cache_to);
        replace(&mut self.output, &other.output);
        append(&mut self.annotations, &other.annotations);
        append(&mut self.no_cache_filter, &other.no_cache_filter);
        append(&mut self.ulimits, &other.ulimits);
        append(&mut self.entitlements, &other.entitlements);
        append(&mut self.attest, &other.attest);
        append(&mut self.policy, &other.policy);
        append(&mut self.secret, &other.secret);
        append(&mut self.ssh, &other.ssh);
        append(&mut self.cache_from, &other.cache_from);
        self.attest = self.attest.take().map(last_of_each);
        self.secret = self.secret.take().map(without_doubles);
        self.ssh = self.ssh.take().map(without_doubles);
        self.cache_from = self.cache_from.take().map(without_doubles);
        for (mine, theirs) in [
            (&mut self.args, &other.args),
            (&mut self.contexts, &other.contexts),
            (&mut self.labels, &other.labels),
            (&mut self.extra_hosts, &other.extra_hosts),
            (&mut self.resources, &other.resources),
        ] {
            mine.extend(theirs.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        self.inherits.extend(other.inherits.iter().cloned());
    }

    /// Removes doubles and what is empty, and asks for what its network needs.
    pub(crate) fn normalize(&mut self) {
        for list in [
            &mut self.annotations,
            &mut self.tags,
            &mut self.platforms,
            &mut self.no_cache_filter,
            &mut self.ulimits,
        ] {
            *list = list.take().map(unique);
        }
        self.attest = self.attest.take().map(last_of_each);
        self.secret = self.secret.take().map(without_doubles);
        self.ssh = self.ssh.take().map(without_doubles);
        self.cache_from = self.cache_from.take().map(without_doubles);
        self.cache_to = self.cache_to.take().map(without_doubles);
        self.output = self.output.take().map(without_doubles);
        if self.network.as_deref() == Some("host") {
            self.entitlements.get_or_insert_default().push("network.host".to_owned());
        }
        self.entitlements = self.entitlements.take().map(unique);
        self.contexts.retain(|_, value| !value.is_empty());
    }
}

fn replace<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
    if theirs.is_some() {
        mine.clone_from(theirs);
    }
}

fn append<T: Clone>(mine: &mut Option<Vec<T>>, theirs: &Option<Vec<T>>) {
    if let Some(theirs) = theirs {
        mine.get_or_insert_default().extend(theirs.iter().cloned());
    }
}

/// The list in its order, without what is empty and what was there before.
pub(crate) fn unique(list: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    list.into_iter().filter(|text| !text.is_empty() && seen.insert(text.clone())).collect()
}
