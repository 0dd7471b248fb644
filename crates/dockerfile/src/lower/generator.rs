//! An image that lists packages, as one more step of the graph: it is run upon what a target has made, by the protocol of BuildKit's
//! SBOM generators.
//!
//! ```text
//! generator's image ─► /run/out made ─► run ◄── mounts, read-only: the target at /run/src/core/sbom,
//!                                                stages and the context at /run/src/extras/sbom-NAME
//! ```
//!
//! So it is found in caches, waited for, shown and cancelled as every program is. Its statements are what it adds below [`OUT`]. It runs
//! as root, whoever its image's user is, as with BuildKit: it has to read whatever there is.

use std::collections::BTreeMap;

use oci::{ContainerConfig, Reference};

use super::{Graph, Made, Op, RunOp};
use crate::source::Result;
use crate::syntax::{Mount, MountKind, Network, Security};

/// Where it leaves what it has found.
pub const OUT: &str = "/run/out";
/// Where it finds the target's files.
const CORE: &str = "/run/src/core/sbom";
/// Where those of stages and of the context lie, each in a directory of its own.
const EXTRAS: &str = "/run/src/extras";
/// What the context is called among the stages.
const CONTEXT: &str = "context";
/// What its variables begin with.
const PREFIX: &str = "BUILDKIT_SCAN_";

/// A generator.
#[derive(Clone, Copy, Debug)]
pub struct Generator<'a> {
    /// Its image.
    pub reference: &'a Reference,
    /// What it runs on, as `os/architecture[/variant]`: this host, whatever the target is for.
    pub platform: &'a str,
    /// The image's config, which says what is run.
    pub config: &'a ContainerConfig,
    /// What the caller tells it: each a variable, by its name as the caller wrote it behind `BUILDKIT_SCAN_`.
    pub parameters: &'a [(String, String)],
}

impl Generator<'_> {
    /// The program with its arguments; nothing if the image has none.
    #[must_use]
    pub fn program(&self) -> Vec<String> {
        let parts = [&self.config.entrypoint, &self.config.cmd];
        parts.into_iter().flatten().flatten().cloned().collect()
    }

    fn env(&self, has_extras: bool) -> Vec<String> {
        let own = [("DESTINATION", Some(format!("{OUT}/"))), ("SOURCE", Some(CORE.to_owned()))];
        let extras = ("SOURCE_EXTRAS", has_extras.then(|| EXTRAS.to_owned()));
        let own = own.into_iter().chain([extras]).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut env = self.config.env.clone();
        for (name, value) in own.chain(self.parameters.iter().cloned()) {
            let begin = format!("{PREFIX}{name}=");
            env.retain(|entry| !entry.starts_with(&begin));
            env.push(begin + &value);
        }
        env
    }
}

impl Graph {
    /// Adds a generator's run upon what was made for a platform; the node in whose last layer its statements lie.
    ///
    /// # Errors
    /// If the graph would have too many nodes.
    pub fn generate(&mut self, generator: &Generator<'_>, platform: &str, made: &Made) -> Result<usize> {
        let Generator { reference, platform: own_platform, config, .. } = *generator;
        let op = Op::Image { reference: reference.clone(), platform: own_platform.to_owned() };
        let image = self.add(op, Vec::new(), || format!("[internal] sbom generator {reference}"), None)?;
        let op = Op::MakeDirectory { path: OUT.to_owned(), owner: None };
        let root = self.add(op, vec![image], || format!("[internal] make {OUT} for the sbom"), None)?;

        let mut extras = BTreeMap::new();
        if made.scanned.context {
            let op = Op::Context { name: String::new(), platform: None };
            let name = || "[internal] load build context".to_owned();
            extras.insert(CONTEXT, self.add(op, Vec::new(), name, None)?);
        }
        // A stage of that name comes before the context, as in BuildKit.
        extras.extend(made.scanned.stages.iter().map(|(name, node)| (name.as_str(), *node)));

        let mut inputs = vec![root];
        let mut mounts = Vec::new();
        let mut mount = |graph: &mut Graph, target: String, node: usize| {
            graph.uses(node, "/");
            let kind = MountKind::Bind { from: None, source: "/".to_owned() };
            mounts.push((Mount { target, read_only: true, kind }, Some(inputs.len())));
            inputs.push(node);
        };
        mount(self, CORE.to_owned(), made.node);
        extras.iter().for_each(|(name, node)| mount(self, format!("{EXTRAS}/sbom-{name}"), *node));
        let memory = MountKind::Tmpfs { size: None };
        mounts.push((Mount { target: "/tmp".to_owned(), read_only: false, kind: memory }, None));

        let cwd = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
        let op = RunOp {
            platform: own_platform.to_owned(),
            args: generator.program(),
            env: generator.env(!extras.is_empty()),
            cwd: cwd.to_owned(),
            user: String::new(),
            mounts,
            document: None,
            network: Network::Default,
            security: Security::Sandbox,
            devices: Vec::new(),
            proxies: Vec::new(),
        };
        let name = || format!("[{platform}] generating sbom using {reference}");
        self.add(Op::Run(Box::new(op)), inputs, name, None)
    }
}

#[cfg(test)]
mod tests {
    use oci::ImageConfig;

    use super::*;
    use crate::lower::Scanned;

    /// A graph with two nodes, of which the second is a target.
    fn target(scanned: Scanned) -> (Graph, Made) {
        let mut graph = Graph::default();
        let stage = graph.add(Op::Scratch, Vec::new(), String::new, None).unwrap();
        let op = Op::MakeDirectory { path: "/x".to_owned(), owner: None };
        let node = graph.add(op, vec![stage], String::new, None).unwrap();
        (graph, Made { node, config: ImageConfig::default(), layers: vec![node], scanned })
    }

    fn run(scanned: Scanned, config: &ContainerConfig, parameters: &[(&str, &str)]) -> (Graph, usize) {
        let (mut graph, made) = target(scanned);
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let reference: Reference = "example/scanner:1".parse().unwrap();
        let generator =
            Generator { reference: &reference, platform: "linux/amd64", config, parameters: &parameters };
        let node = graph.generate(&generator, "linux/arm64", &made).unwrap();
        assert_eq!(graph.generate(&generator, "linux/arm64", &made).unwrap(), node, "it is one step");
        (graph, node)
    }

    fn op(graph: &Graph, node: usize) -> &RunOp {
        let Op::Run(op) = &graph.nodes()[node].op else { panic!("{:?}", graph.nodes()[node]) };
        op
    }

    #[test]
    fn the_image_says_what_is_run_and_the_caller_what_it_is_told() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let config = ContainerConfig {
            entrypoint: Some(words("/scan --all")),
            cmd: Some(words("-v")),
            env: words("A=1 BUILDKIT_SCAN_SOURCE=/etc BUILDKIT_SCAN_Mode=slow"),
            working_dir: "/work".to_owned(),
            user: "nobody".to_owned(),
            ..ContainerConfig::default()
        };
        let (graph, node) = run(Scanned::default(), &config, &[("Mode", "fast"), ("X", "a=b")]);
        let found = op(&graph, node);
        assert_eq!(found.args, words("/scan --all -v"));
        let env = "A=1 BUILDKIT_SCAN_DESTINATION=/run/out/ BUILDKIT_SCAN_SOURCE=/run/src/core/sbom \
                   BUILDKIT_SCAN_Mode=fast BUILDKIT_SCAN_X=a=b";
        assert_eq!(found.env, words(env));
        assert_eq!((found.cwd.as_str(), found.user.as_str()), ("/work", ""));
        assert_eq!(found.platform, "linux/amd64");
        assert_eq!(
            graph.nodes()[node].name,
            "[linux/arm64] generating sbom using docker.io/example/scanner:1"
        );
        assert!(graph.context_paths.is_empty(), "nobody asked for the context");
    }

    #[test]
    fn what_is_to_be_scanned_is_mounted_and_cannot_be_written() {
        let scanned =
            Scanned { stages: vec![("build".to_owned(), 0), ("tools".to_owned(), 1)], context: true };
        let (graph, node) = run(scanned, &ContainerConfig::default(), &[]);
        let found = op(&graph, node);
        assert!(found.env.contains(&"BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras".to_owned()));
        let inputs = &graph.nodes()[node].inputs;
        let mut places = Vec::new();
        for (mount, input) in &found.mounts {
            let Some(input) = input else { continue };
            assert!(mount.read_only);
            places.push((mount.target.as_str(), inputs[*input]));
        }
        let context = graph.nodes().iter().position(|node| matches!(node.op, Op::Context { .. })).unwrap();
        let want = [
            ("/run/src/core/sbom", 1),
            ("/run/src/extras/sbom-build", 0),
            ("/run/src/extras/sbom-context", context),
            ("/run/src/extras/sbom-tools", 1),
        ];
        assert_eq!(places, want);
        assert_eq!(graph.context_paths[""].iter().collect::<Vec<_>>(), ["/"]);
    }
}
