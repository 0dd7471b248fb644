//! Where an image comes from: what it was made of, what its programs could reach, and what they were lent.
//!
//! A build may stand upon what other builds of the same command have made (`target:` contexts of bake files). Those are no address that
//! anybody could fetch, so what they come from is what this one comes from, however many lie between. Each build says it once it is done
//! ([`Origin::of`]), to those that come after it.

use std::collections::BTreeMap;

use dockerfile::lower::{Node, Op, RunOp};
use dockerfile::syntax::{MountKind, Network};
use serde_json::{Value, json};

use super::materials::Materials;
use super::steps;
use crate::build::export::{Export, Product};
use crate::request::{BuildNetwork, NamedContext};

/// Where one image comes from.
#[derive(Debug, Default)]
pub(in crate::build) struct Origin {
    pub(super) materials: Materials,
    /// Whether a program could reach the network.
    pub(super) has_network: bool,
    pub(super) lent: Lent,
}

impl Origin {
    /// That of a product, with those of the targets below it.
    pub(in crate::build::export) fn of(export: &Export<'_>, product: &Product) -> Self {
        let nodes = steps::nodes(export, product);
        let mut origin = Self {
            materials: Materials::of(export, &nodes),
            has_network: has_network(export, &nodes),
            lent: Lent::to(&nodes),
        };
        for (_, node) in &nodes {
            if let Op::Context { name, platform } = &node.op
                && let Some(NamedContext::Made(target)) = export.session.request.contexts.get(name)
            {
                origin.add_target(export, target, platform.as_deref());
            }
        }
        origin
    }

    /// What a target that is a context comes from.
    fn add_target(&mut self, export: &Export<'_>, target: &str, platform: Option<&str>) {
        let made = export.session.made(target).ok();
        let platform = platform.and_then(|platform| platform.parse().ok());
        match made.as_ref().zip(platform).and_then(|(made, platform)| made.origin(&platform)) {
            Some(below) => {
                self.materials.add_all(&below.materials);
                self.has_network |= below.has_network;
                self.lent.add_all(&below.lent);
            }
            None => self.materials.is_complete = false,
        }
    }
}

fn has_network(export: &Export<'_>, nodes: &[(usize, &Node)]) -> bool {
    nodes.iter().filter_map(|(_, node)| run_of(node)).any(|run| match run.network {
        Network::None => false,
        Network::Default => export.session.request.network != BuildNetwork::None,
        Network::Host => true,
    })
}

fn run_of(node: &Node) -> Option<&RunOp> {
    if let Op::Run(run) = &node.op { Some(run) } else { None }
}

/// Secrets and agents by their ids; whether the build would go on without them.
#[derive(Debug, Default)]
pub(super) struct Lent {
    secrets: BTreeMap<String, bool>,
    agents: BTreeMap<String, bool>,
}

impl Lent {
    fn to(nodes: &[(usize, &Node)]) -> Self {
        let mut lent = Self::default();
        for (_, node) in nodes {
            if let Op::Git(source) = &node.op
                && source.remote.starts_with("http")
            {
                // With which of them a server was asked, nobody tells.
                for id in ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"] {
                    lent.secrets.entry(id.to_owned()).or_insert(true);
                }
            }
            for (mount, _) in run_of(node).iter().flat_map(|run| &run.mounts) {
                match &mount.kind {
                    MountKind::Secret { id, required, .. } => {
                        *lent.secrets.entry(id.clone()).or_insert(true) &= !required;
                    }
                    MountKind::Ssh { id, required, .. } => {
                        *lent.agents.entry(id.clone()).or_insert(true) &= !required;
                    }
                    MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => {}
                }
            }
        }
        lent
    }

    fn add_all(&mut self, other: &Self) {
        for (all, more) in [(&mut self.secrets, &other.secrets), (&mut self.agents, &other.agents)] {
            for (id, optional) in more {
                *all.entry(id.clone()).or_insert(true) &= optional;
            }
        }
    }

    /// By the names under which provenance has them.
    pub(super) fn told(&self) -> Vec<(&'static str, Value)> {
        let list = |all: &BTreeMap<String, bool>| -> Value {
            let one = |(id, optional): (&String, &bool)| match optional {
                true => json!({ "id": id, "optional": true }),
                false => json!({ "id": id }),
            };
            all.iter().map(one).collect()
        };
        let all = [("secrets", &self.secrets), ("ssh", &self.agents)];
        all.into_iter().filter(|(_, all)| !all.is_empty()).map(|(key, all)| (key, list(all))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_needs_is_needed() {
        let lent = |pairs: &[(&str, bool)]| Lent {
            secrets: pairs.iter().map(|(id, optional)| ((*id).to_owned(), *optional)).collect(),
            agents: BTreeMap::new(),
        };
        let mut above = lent(&[("a", true), ("b", false), ("c", true)]);
        above.add_all(&lent(&[("a", false), ("b", true), ("c", true), ("d", false)]));
        let want = json!([{ "id": "a" }, { "id": "b" }, { "id": "c", "optional": true }, { "id": "d" }]);
        assert_eq!(above.told(), [("secrets", want)]);
    }
}
