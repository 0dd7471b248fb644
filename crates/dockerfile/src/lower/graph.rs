//! The graph: operations, each with the nodes whose results it takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Digest, ImageConfig, KnownCredentials, Reference};

use super::history::COMMENT;
use super::{GitSource, digest};
use crate::source::{Diagnostic, Result, Span};
use crate::syntax::{Mount, Network, Security};

/// The most nodes of a graph.
const NODE_LIMIT: usize = 1_000_000;

/// What makes a file tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An empty one.
    Scratch,
    /// An image's.
    Image {
        /// Which.
        reference: Reference,
        /// For what, as `os/architecture[/variant]`.
        platform: String,
    },
    /// Files of the caller; the main context has no name.
    Context {
        /// Which.
        name: String,
        /// Of one that is an image, for what, as `os/architecture[/variant]`. Files are the same for all.
        platform: Option<String>,
    },
    /// A file from a URL, mode 0600, alone in the tree.
    Http {
        /// From where.
        url: String,
        /// Its name in the tree.
        name: String,
        /// What it must be.
        checksum: Option<Digest>,
    },
    /// A git repository's files.
    Git(GitSource),
    /// A file whose content stands in the Dockerfile, alone in the tree.
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        content: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The first input after a program has run in it. Further inputs are those of mounts.
    Run(Box<RunOp>),
    /// The first input with files of others in it.
    Copy(Box<CopyOp>),
    /// The first input with a directory and those above it, each made with 0755 if missing.
    MakeDirectory {
        /// Which, absolute.
        path: String,
        /// Whose they are: `user[:group]`.
        owner: Option<String>,
    },
    /// The second input's layer upon the first, without a look at the first.
    Merge,
}

impl Op {
    /// The digest of what it does to its inputs, whatever they are. Of a source, of what becomes of the thing that is found
    /// (its name, the part of it that is taken), not of where it is found: with what is found there at present it makes a key.
    /// Secrets and proxies are no part of it.
    #[must_use]
    pub fn effect(&self) -> Digest {
        digest::effect(self)
    }
}

/// A program to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOp {
    /// What it is run for, as `os/architecture[/variant]`: two platforms may have the same files below it, and nothing else tells what
    /// becomes of them apart.
    pub platform: String,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// The directory it begins in.
    pub cwd: String,
    /// `user[:group]`; empty for root.
    pub user: String,
    /// Mounts, targets absolute; the input of each that has one.
    pub mounts: Vec<(Mount, Option<usize>)>,
    /// A document mounted at a path, read-only: the input, and the path.
    pub document: Option<(usize, String)>,
    /// Its network.
    pub network: Network,
    /// What it may do.
    pub security: Security,
    /// Devices by CDI name; whether each is required.
    pub devices: Vec<(String, bool)>,
    /// Proxies that it sees and that decide nothing.
    pub proxies: Vec<String>,
}

/// Files to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOp {
    /// What.
    pub selections: Vec<Selection>,
    /// Where to, absolute; a slash at the end says that it is a directory.
    pub destination: String,
    /// Whose the copies are: `user[:group]`; root's if none.
    pub owner: Option<String>,
    /// `--chmod`: octal or symbolic.
    pub mode: Option<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
}

/// Files of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The input, by its position among the node's.
    pub input: usize,
    /// A path below its root, or a pattern of Go's `filepath.Match`.
    pub path: String,
    /// With `--parents`, what is taken below the path, with the directories on the way.
    pub parents: Option<String>,
    /// Whether an archive is unpacked, that is: recognised as one by its content.
    pub unpack: bool,
    /// Whether the path may be a pattern and a link, and a directory stands for what is in it.
    pub local: bool,
}

/// An operation in a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// The nodes whose results it takes.
    pub inputs: Vec<usize>,
    /// What it is, with its inputs.
    pub digest: Digest,
    /// How people know it: `[build 2/5] RUN make`.
    pub name: String,
    /// Where it is written.
    pub span: Option<Span>,
}

/// Operations, inputs first.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Digest, usize>,
    /// Of each context, the paths that are used; `/` for all of it.
    pub context_paths: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of an operation, which is added unless it is there.
    pub(super) fn add(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        name: impl FnOnce() -> String,
        span: Option<Span>,
    ) -> Result<usize> {
        let digest = digest::of(&op, inputs.iter().map(|input| &self.nodes[*input].digest));
        if let Some(known) = self.known.get(&digest) {
            return Ok(*known);
        }
        if self.nodes.len() >= NODE_LIMIT {
            let message = format!("the build has more than {NODE_LIMIT} steps");
            return Err(Diagnostic::error(message, span));
        }
        let number = self.nodes.len();
        self.known.insert(digest.clone(), number);
        self.nodes.push(Node { op, inputs, digest, name: name(), span });
        Ok(number)
    }

    /// Masks what addresses of the graph have shown to be secret in all that people are shown: an argument may be the token of an
    /// address, and is told by the history of each program that sees it.
    pub(super) fn mask(&mut self, config: &mut ImageConfig) {
        let addresses = self.nodes.iter().filter_map(|node| match &node.op {
            Op::Http { url, .. } => Some(url.as_str()),
            Op::Git(source) => Some(source.remote.as_str()),
            Op::Scratch
            | Op::Image { .. }
            | Op::Context { .. }
            | Op::Inline { .. }
            | Op::Run(_)
            | Op::Copy(_)
            | Op::MakeDirectory { .. }
            | Op::Merge => None,
        });
        let known = KnownCredentials::of(addresses);
        if known.is_empty() {
            return;
        }
        let mask = |text: &mut String| *text = known.mask(text).into_owned();
        self.nodes.iter_mut().for_each(|node| mask(&mut node.name));
        let own = config.history.iter_mut().filter(|step| step.comment == COMMENT);
        own.for_each(|step| mask(&mut step.created_by));
    }

    /// Notes that a context's path is used.
    pub(super) fn uses(&mut self, node: usize, path: &str) {
        if let Some(Node { op: Op::Context { name, .. }, .. }) = self.nodes.get(node) {
            let path = crate::ignore::clean(&format!("/{path}"));
            self.context_paths.entry(name.clone()).or_default().insert(path);
        }
    }
}
