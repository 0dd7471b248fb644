//! From what files define to what is built: the targets that were asked for, with what they inherit and link to.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::definition::{Config, Definition, Group, unique};
use crate::entry::{Attest, Entry, Output, Policy, Secret, Ssh};
use crate::error::{Error, Result};
use crate::overrides::{self, Overrides};
use crate::pattern;

/// How long a chain of parents, groups or links may be.
const MAX_CHAIN: usize = 128;

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The groups that were gone through; `default` is always among them, and holds what was asked for.
    pub groups: BTreeMap<String, Group>,
    /// The targets, with those that they link to.
    pub targets: BTreeMap<String, Target>,
    /// The names of the targets, those that others link to (`target:NAME`) before these.
    pub order: Vec<String>,
}

/// A target with everything resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// What it is for.
    pub description: Option<String>,
    /// Annotations of the image, as they were written.
    pub annotations: Vec<String>,
    /// Attestations; one of a type.
    pub attest: Vec<Attest>,
    /// The context: a directory, cleaned, or a URL.
    pub context: String,
    /// Whether the context is a directory where the command was given (`cwd://`), wherever the files are.
    pub is_here: bool,
    /// Further contexts by name: directories, URLs, `docker-image://…`, `oci-layout://…`, `target:…`.
    pub contexts: BTreeMap<String, String>,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// A Dockerfile as text, which goes before the other.
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Where cached results come from.
    pub cache_from: Vec<Entry>,
    /// Where results are kept as cache.
    pub cache_to: Vec<Entry>,
    /// The stage to build.
    pub target: Option<String>,
    /// Secrets that the build may ask for.
    pub secret: Vec<Secret>,
    /// Agents and keys that the build may ask for.
    pub ssh: Vec<Ssh>,
    /// Platforms to build for.
    pub platforms: Vec<String>,
    /// What becomes of the result. Of a target that is only linked to: `cacheonly`.
    pub output: Vec<Entry>,
    /// Whether images are looked for anew.
    pub pull: Option<bool>,
    /// Whether no cached result is used.
    pub no_cache: Option<bool>,
    /// Stages for which no cached result is used.
    pub no_cache_filter: Vec<String>,
    /// The network of RUN.
    pub network: Option<String>,
    /// The size of `/dev/shm`, as it was written.
    pub shm_size: Option<String>,
    /// Resource limits, `name=soft[:hard]`.
    pub ulimits: Vec<String>,
    /// Limits of each step: `memory`, `memory-swap`, `cpu-shares`, `cpu-period`, `cpu-quota`, `cpuset-cpus`, `cpuset-mems`.
    pub resources: BTreeMap<String, String>,
    /// What to do instead of building: `check`, `outline`, `targets`.
    pub call: Option<String>,
    /// What the build wants to be allowed; those of linked targets too.
    pub entitlements: Vec<String>,
    /// Lines of `/etc/hosts`: name to address.
    pub extra_hosts: BTreeMap<String, String>,
    /// Rego that decides over what it may take from elsewhere, in order.
    pub policy: Vec<Policy>,
    /// Whether it is only built because another target links to it.
    pub linked: bool,
}

impl Target {
    /// The names of the targets that this one has as contexts.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.contexts.values().filter_map(|context| context.strip_prefix("target:"))
    }
}

/// Resolves what was asked for.
pub(crate) fn make(config: &Config, names: &[String], overrides: &Overrides) -> Result<Plan> {
    let names = if names.is_empty() { vec!["default".to_owned()] } else { names.to_vec() };
    let asked = asked(config, &names)?;
    let mut planner = Planner { config, overrides, resolved: HashMap::new() };
    let mut plan = Plan::default();
    for name in &asked {
        let mut found = Expansion::default();
        planner.expand(name, &mut found, &mut Vec::new())?;
        for target in found.targets {
            let resolved = planner.target(&target)?;
            plan.targets.insert(target, resolved);
        }
        for group in found.groups {
            if let Some(definition) = config.group(&group) {
                plan.groups.entry(group).or_insert_with(|| definition.clone());
            }
        }
    }
    for name in asked {
        if name == "default" && plan.groups.contains_key("default") {
            continue;
        }
        plan.groups.entry("default".to_owned()).or_default().targets.push(name);
    }
    if let Some(group) = plan.groups.get_mut("default") {
        group.targets = unique(std::mem::take(&mut group.targets));
        group.targets.sort();
    }
    let mut done = HashSet::new();
    for name in plan.targets.keys().cloned().collect::<Vec<_>>() {
        planner.link(&name, &mut plan, &mut Vec::new(), &mut done)?;
    }
    Ok(plan)
}

/// The names and patterns of the command line as names.
fn asked(config: &Config, names: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in names {
        // Services of Compose may have dots, targets not.
        let name = name.replace('.', "_");
        if !pattern::is_pattern(&name) {
            all.push(name);
            continue;
        }
        let groups = config.groups.iter().map(|(name, _)| name);
        let known = groups.chain(config.targets.iter().map(|target| &target.name));
        let before = all.len();
        all.extend(known.filter(|known| pattern::matches(&name, known)).cloned());
        if all.len() == before {
            return Err(Error::NoMatch { pattern: name });
        }
    }
    Ok(unique(all))
}

/// What a group comes to.
#[derive(Default)]
struct Expansion {
    targets: Vec<String>,
    groups: Vec<String>,
    seen: HashSet<String>,
}

struct Planner<'a> {
    config: &'a Config,
    overrides: &'a Overrides,
    resolved: HashMap<String, Definition>,
}

impl Planner<'_> {
    fn expand(&self, name: &str, found: &mut Expansion, chain: &mut Vec<String>) -> Result<()> {
        let group = self.config.group(name);
        if group.is_some() {
            enter(chain, name, "group")?;
        }
        if found.seen.insert(name.to_owned()) {
            match group {
                None => found.targets.push(name.to_owned()),
                Some(group) => {
                    found.groups.push(name.to_owned());
                    for member in &group.targets {
                        // A group may hold the target of its own name.
                        if member == name && self.config.target(member).is_some() {
                            found.targets.push(member.clone());
                        } else {
                            self.expand(member, found, chain)?;
                        }
                    }
                }
            }
        }
        if group.is_some() {
            chain.pop();
        }
        Ok(())
    }

    fn target(&mut self, name: &str) -> Result<Target> {
        let definition = self.definition(name, &mut Vec::new())?;
        finished(name, definition)
    }

    /// A target with what it inherits: parents in order, then what it says itself, then overrides.
    fn definition(&mut self, name: &str, chain: &mut Vec<String>) -> Result<Definition> {
        if let Some(resolved) = self.resolved.get(name) {
            return Ok(resolved.clone());
        }
        let config = self.config;
        let Some(own) = config.target(name) else {
            let known = config.targets.iter().map(|target| target.name.clone()).collect();
            return Err(Error::NoTarget { name: name.to_owned(), known });
        };
        enter(chain, name, "inheritance")?;
        let mut target = Definition::new(name);
        for parent in &own.inherits {
            let parent = self.definition(parent, chain)?;
            target.merge(&parent);
        }
        target.merge(own);
        if let Some(overrides) = self.overrides.get(name) {
            overrides::apply(&mut target, overrides)?;
        }
        target.normalize();
        target.inherits.clear();
        chain.pop();
        self.resolved.insert(name.to_owned(), target.clone());
        Ok(target)
    }

    /// Follows links: resolves what is linked to, and puts it before who links.
    fn link(
        &mut self,
        name: &str,
        plan: &mut Plan,
        chain: &mut Vec<String>,
        done: &mut HashSet<String>,
    ) -> Result<()> {
        enter(chain, name, "context")?;
        if !done.contains(name) {
            let links: Vec<String> = plan.targets[name].links().map(str::to_owned).collect();
            for link in links {
                if !plan.targets.contains_key(&link) {
                    let mut target = self.target(&link)?;
                    target.output = vec![Output::of_kind("cacheonly").0];
                    target.linked = true;
                    plan.targets.insert(link.clone(), target);
                }
                self.link(&link, plan, chain, done)?;
                let linked = plan.targets[&link].clone();
                let target = plan.targets.entry(name.to_owned()).or_default();
                check_platforms(name, target, &link, &linked)?;
                target.entitlements.extend(linked.entitlements);
                target.entitlements = unique(std::mem::take(&mut target.entitlements));
            }
            done.insert(name.to_owned());
            plan.order.push(name.to_owned());
        }
        chain.pop();
        Ok(())
    }
}

/// Adds a link to a chain, which must be neither circular nor endless.
fn enter(chain: &mut Vec<String>, name: &str, kind: &'static str) -> Result<()> {
    if let Some(start) = chain.iter().position(|link| link == name) {
        let mut circle = chain.split_off(start);
        circle.push(name.to_owned());
        return Err(Error::Cycle { kind, chain: circle });
    }
    if chain.len() >= MAX_CHAIN {
        return Err(Error::Limit { what: format!("links in a chain of {kind}"), limit: MAX_CHAIN as u64 });
    }
    chain.push(name.to_owned());
    Ok(())
}

fn check_platforms(name: &str, target: &Target, link: &str, linked: &Target) -> Result<()> {
    let fits = target.platforms.iter().all(|platform| linked.platforms.contains(platform));
    if fits || target.platforms.len() < 2 || linked.platforms.len() < 2 {
        return Ok(());
    }
    Err(Error::Target {
        target: name.to_owned(),
        reason: format!(
            "target {link} can't be used by {name} because its platforms [{}] are not a subset of [{}]",
            target.platforms.join(" "),
            linked.platforms.join(" ")
        ),
    })
}

fn finished(name: &str, it: Definition) -> Result<Target> {
    let context = it.context.unwrap_or_else(|| ".".to_owned());
    let dockerfile = it.dockerfile.filter(|path| !path.is_empty()).unwrap_or_else(|| "Dockerfile".to_owned());
    for (what, value) in [("context", &context), ("dockerfile", &dockerfile)] {
        if value == "-" {
            let reason = format!("{what} from stdin not allowed in bake");
            return Err(Error::Target { target: name.to_owned(), reason });
        }
    }
    Ok(Target {
        description: it.description,
        annotations: it.annotations.unwrap_or_default(),
        attest: it.attest.unwrap_or_default(),
        is_here: context.starts_with("cwd://"),
        context: crate::path::context(&context),
        contexts: it.contexts,
        dockerfile,
        dockerfile_inline: it.dockerfile_inline,
        args: it.args,
        labels: it.labels,
        tags: it.tags.unwrap_or_default(),
        cache_from: it.cache_from.unwrap_or_default().into_iter().map(|cache| cache.0).collect(),
        cache_to: it.cache_to.unwrap_or_default().into_iter().map(|cache| cache.0).collect(),
        target: it.target,
        secret: it.secret.unwrap_or_default(),
        ssh: it.ssh.unwrap_or_default(),
        platforms: it.platforms.unwrap_or_default(),
        output: it.output.unwrap_or_default().into_iter().map(|output| output.0).collect(),
        pull: it.pull,
        no_cache: it.no_cache,
        no_cache_filter: it.no_cache_filter.unwrap_or_default(),
        network: it.network,
        shm_size: it.shm_size,
        ulimits: it.ulimits.unwrap_or_default(),
        resources: it.resources,
        call: it.call,
        entitlements: it.entitlements.unwrap_or_default(),
        extra_hosts: it.extra_hosts,
        policy: it.policy.unwrap_or_default(),
        linked: false,
    })
}
