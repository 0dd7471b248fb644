//! The plan as JSON: the words, the order and the escapes of `docker buildx bake --print`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::definition::{Group, RESOURCES};
use crate::entry::{Attest, Entry, Policy, Secret, Ssh};
use crate::plan::{Plan, Target};

impl Plan {
    /// As `--print` shows it, without a newline at the end.
    pub fn to_json(&self) -> String {
        let mut root = Map::new();
        if !self.groups.is_empty() {
            let groups = self.groups.iter().map(|(name, group)| (name.clone(), print_group(group)));
            root.insert("group".to_owned(), Value::Object(groups.collect()));
        }
        let targets = self.targets.iter().map(|(name, target)| (name.clone(), target.to_json()));
        root.insert("target".to_owned(), Value::Object(targets.collect()));
        let text = serde_json::to_string_pretty(&Value::Object(root)).unwrap_or_default();
        as_go_escapes(&text)
    }
}

impl Target {
    /// As one of the targets of `--print`.
    fn to_json(&self) -> Value {
        let mut it = Printer(Map::new());
        it.text("description", self.description.as_deref().filter(|text| !text.is_empty()));
        it.texts("annotations", &self.annotations.iter().map(|text| escaped(text)).collect::<Vec<_>>());
        it.list("attest", &self.attest, attest);
        it.text("context", Some(&self.context));
        it.map("contexts", self.contexts.clone());
        it.text("dockerfile", Some(&self.dockerfile));
        it.text("dockerfile-inline", self.dockerfile_inline.as_deref().map(escaped).as_deref());
        it.map("args", escaped_map(&self.args));
        it.map("labels", escaped_map(&self.labels));
        it.texts("tags", &self.tags);
        it.list("cache-from", &self.cache_from, entry);
        it.list("cache-to", &self.cache_to, entry);
        it.text("target", self.target.as_deref());
        it.list("secret", &self.secret, secret);
        it.list("ssh", &self.ssh, ssh);
        it.texts("platforms", &self.platforms);
        it.list("output", &self.output, entry);
        it.flag("pull", self.pull);
        it.flag("no-cache", self.no_cache);
        it.text("network", self.network.as_deref());
        it.texts("no-cache-filter", &self.no_cache_filter);
        it.text("shm-size", self.shm_size.as_deref());
        it.texts("ulimits", &self.ulimits);
        it.resources(&self.resources);
        it.text("call", self.call.as_deref());
        it.texts("entitlements", &self.entitlements);
        it.map("extra-hosts", escaped_map(&self.extra_hosts));
        it.list("policy", &self.policy, policy);
        Value::Object(it.0)
    }
}

/// Prints what is there and leaves out what is not.
struct Printer(Map<String, Value>);

impl Printer {
    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.0.insert(key.to_owned(), text.into());
        }
    }

    fn flag(&mut self, key: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.0.insert(key.to_owned(), flag.into());
        }
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        self.list(key, texts, |text| text.as_str().into());
    }

    fn list<T>(&mut self, key: &str, list: &[T], print: impl Fn(&T) -> Value) {
        if !list.is_empty() {
            self.0.insert(key.to_owned(), list.iter().map(print).collect());
        }
    }

    fn resources(&mut self, limits: &BTreeMap<String, String>) {
        let mut printed = Map::new();
        for (name, number) in RESOURCES {
            let Some(limit) = limits.get(*name) else { continue };
            let value = limit.parse::<i64>().ok().filter(|_| *number);
            printed.insert((*name).to_owned(), value.map_or_else(|| limit.as_str().into(), Value::from));
        }
        if !printed.is_empty() {
            self.0.insert("resources".to_owned(), Value::Object(printed));
        }
    }

    fn map(&mut self, key: &str, map: BTreeMap<String, String>) {
        if !map.is_empty() {
            self.0.insert(key.to_owned(), object(map));
        }
    }
}

fn object(map: BTreeMap<String, String>) -> Value {
    map.into_iter().map(|(key, value)| (key, Value::String(value))).collect()
}

fn print_group(group: &Group) -> Value {
    let mut it = Printer(Map::new());
    it.text("description", group.description.as_deref().filter(|text| !text.is_empty()));
    it.0.insert("targets".to_owned(), group.targets.iter().map(String::as_str).collect());
    Value::Object(it.0)
}

fn entry(entry: &Entry) -> Value {
    let mut all = entry.attributes.clone();
    all.insert("type".to_owned(), entry.kind.clone());
    object(all)
}

fn attest(attest: &Attest) -> Value {
    let mut all: BTreeMap<&str, Value> =
        attest.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str().into())).collect();
    all.insert("type", attest.kind.as_str().into());
    if attest.disabled {
        all.insert("disabled", true.into());
    }
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn policy(policy: &Policy) -> Value {
    object(policy.attributes())
}

fn secret(secret: &Secret) -> Value {
    let mut it = Printer(Map::new());
    it.text("id", Some(secret.id.as_str()).filter(|id| !id.is_empty()));
    it.text("src", secret.source.as_deref());
    it.text("env", secret.variable.as_deref());
    Value::Object(it.0)
}

fn ssh(ssh: &Ssh) -> Value {
    let mut it = Printer(Map::new());
    it.text("id", Some(ssh.id.as_str()).filter(|id| !id.is_empty()));
    it.texts("paths", &ssh.paths);
    Value::Object(it.0)
}

/// Text that reads as itself where the output is read as a bake file.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn escaped_map(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), escaped(value))).collect()
}

/// JSON with the characters escaped that Go escapes. They stand only in strings.
pub(crate) fn as_go_escapes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _written = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text
}
