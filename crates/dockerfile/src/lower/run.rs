//! RUN.

use super::copy::document_name;
use super::name::DOCUMENT;
use super::stage::Context;
use super::state::State;
use super::{Op, RunOp, config};
use crate::expand::Lexer;
use crate::ignore::clean;
use crate::parse::{heredoc_operator, resolve_mount};
use crate::source::{Diagnostic, Result};
use crate::stage::{PREDEFINED_PROXIES, Step};
use crate::syntax::{CommandLine, Mount, MountKind, Run};

/// Where a document with an interpreter of its own is mounted.
const DOCUMENTS: &str = "/dev/pipes/";
/// An argument that keeps the cache mounts of a build apart from those of others.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

impl Context<'_, '_> {
    pub(super) fn run(&mut self, state: &mut State, step: &Step, run: &Run) -> Result<()> {
        let mut inputs = vec![state.node];
        let mut document = None;
        let args = match &run.command {
            CommandLine::Exec(arguments) => arguments.clone(),
            CommandLine::Shell(text) if run.heredocs.is_empty() => {
                config::with_shell(&state.image, text.value.clone())
            }
            CommandLine::Shell(text) => self.heredoc(state, run, &text.value, &mut inputs, &mut document)?,
        };
        let mut mounts = Vec::with_capacity(run.mounts.len());
        for (flag, source) in run.mounts.iter().zip(&step.sources) {
            let lexer = Lexer::new(self.inputs.escape);
            let span = step.instruction.span;
            let mut mount =
                resolve_mount(flag, |value| self.expand_with(lexer, state, value, flag.span, span))?;
            if let (MountKind::Cache { id, .. }, Some(namespace)) =
                (&mut mount.kind, self.inputs.options.arguments.get(CACHE_NAMESPACE))
            {
                *id = format!("{namespace}/{}", id.trim_start_matches('/'));
            }
            mounts.push(self.mount(state, mount, *source, &mut inputs, flag.span)?);
        }
        let given = &self.inputs.options.arguments;
        let proxies = PREDEFINED_PROXIES.iter().filter(|name| !state.env.contains(name));
        let proxies = proxies.filter_map(|name| Some(format!("{name}={}", given.get(*name)?))).collect();
        let op = RunOp {
            platform: self.stage.platform.to_string(),
            args: args.clone(),
            env: state.env.to_strings(),
            cwd: state.cwd().to_owned(),
            user: state.image.config.user.clone(),
            mounts,
            document,
            network: run.network,
            security: run.security,
            devices: run.devices.iter().map(|device| (device.name.clone(), device.required)).collect(),
            proxies,
        };
        let name = self.name(state, step);
        let node = self.graph.add(Op::Run(Box::new(op)), inputs, || name, Some(step.instruction.span))?;
        state.layer(node)?;
        let words = format!("RUN {} # buildkit", self.words(state, &args));
        state.steps.commit(words, true)
    }

    /// The arguments after the declared ARGs and their values: `|1 A=b /bin/sh -c …`.
    fn words(&self, state: &State, args: &[String]) -> String {
        let mut words = Vec::new();
        if !state.arguments.is_empty() {
            words.push(format!("|{}", state.arguments.len()));
            words.extend(
                state
                    .arguments
                    .names()
                    .map(|name| format!("{name}={}", state.env.get(name).unwrap_or_default())),
            );
        }
        words.extend_from_slice(args);
        words.join(" ")
    }

    /// A document alone is what is run; by its own interpreter, if it names one. Otherwise the shell gets it all.
    fn heredoc(
        &mut self,
        state: &State,
        run: &Run,
        text: &str,
        inputs: &mut Vec<usize>,
        document: &mut Option<(usize, String)>,
    ) -> Result<Vec<String>> {
        let Some(first) = run.heredocs.first().filter(|_| heredoc_operator(text).is_some()) else {
            let documents = run.heredocs.iter().map(|one| format!("\n{}{}", one.content, one.name));
            let whole = std::iter::once(text.to_owned()).chain(documents).collect();
            return Ok(config::with_shell(&state.image, whole));
        };
        let body = first.body();
        if state.image.platform.os == "windows" || !body.starts_with("#!") {
            return Ok(config::with_shell(&state.image, body));
        }
        let name = document_name(first)?;
        let path = format!("{DOCUMENTS}{name}");
        let op = Op::Inline { name, content: body, mode: 0o755 };
        let node = self.graph.add(op, Vec::new(), || DOCUMENT.to_owned(), Some(first.span))?;
        inputs.push(node);
        *document = Some((inputs.len() - 1, DOCUMENTS.to_owned()));
        Ok(config::with_shell(&state.image, path))
    }

    /// A mount with its target absolute, and the position of what it mounts among the inputs.
    fn mount(
        &mut self,
        state: &State,
        mut mount: Mount,
        source: Option<usize>,
        inputs: &mut Vec<usize>,
        span: crate::source::Span,
    ) -> Result<(Mount, Option<usize>)> {
        let from_path = match &mount.kind {
            MountKind::Bind { source, .. } => Some((source.clone(), true)),
            MountKind::Cache { source: path, .. } => source.map(|_| (path.clone(), false)),
            MountKind::Tmpfs { .. } => None,
            MountKind::Secret { .. } | MountKind::Ssh { .. } => return Ok((mount, None)),
        };
        if !mount.target.starts_with('/') {
            mount.target = format!("{}/{}", state.cwd(), mount.target);
        }
        mount.target = clean(&mount.target);
        if mount.target == "/" {
            return Err(Diagnostic::error(format!("invalid mount target {:?}", mount.target), span));
        }
        let Some((path, may_be_context)) = from_path else { return Ok((mount, None)) };
        let node = match source {
            Some(source) => self.source(source, span)?,
            None if may_be_context => self.context()?,
            None => return Ok((mount, None)),
        };
        self.graph.uses(node, &path);
        inputs.push(node);
        Ok((mount, Some(inputs.len() - 1)))
    }

    /// The main context.
    pub(super) fn context(&mut self) -> Result<usize> {
        let op = Op::Context { name: String::new(), platform: None };
        self.graph.add(op, Vec::new(), || "[internal] load build context".to_owned(), None)
    }

    /// What a stage made.
    pub(super) fn source(&self, stage: usize, span: crate::source::Span) -> Result<usize> {
        let made = self.done.nodes.get(&stage).copied();
        made.ok_or_else(|| {
            let shown = self.inputs.plan.stages.get(stage).map_or("", |stage| stage.shown.as_str());
            let here = &self.stage.shown;
            let message = format!(
                "cannot copy from stage {shown:?}, it needs to be defined before current stage {here:?}"
            );
            Diagnostic::error(message, span)
        })
    }
}
