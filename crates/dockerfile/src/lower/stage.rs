//! One stage: its instructions in order, and what each sees of those before.

use std::collections::BTreeMap;

use oci::ImageConfig;

use super::history::Steps;
use super::name::place;
use super::{Graph, Inputs, Made, Op, config, expose};
use crate::expand::{Environment, Lexer, suggestion};
use crate::ignore::clean;
use crate::lint::{self, Linter};
use crate::source::{Diagnostic, Result, Span};
use crate::stage::{Base, Resolved, Step};
use crate::syntax::{Argument, CommandLine, Kind, Pair, Text};

/// Arguments that are for the builder and never reach a program.
const NOT_FOR_PROGRAMS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// The most layers of an image.
const LAYER_LIMIT: usize = 1024;

/// The most variables of a stage; no program could be started with as many.
const VARIABLE_LIMIT: usize = 10_000;

/// Stages that have been lowered.
#[derive(Default)]
pub(super) struct Done {
    /// What each has made.
    pub(super) nodes: BTreeMap<usize, usize>,
    /// How those are that others are based on, and how many of these there are.
    states: BTreeMap<usize, (State, usize)>,
}

impl Done {
    /// A stage is done, and so many need to know how it is.
    pub(super) fn keep(&mut self, stage: usize, state: State, users: usize) {
        self.nodes.insert(stage, state.node);
        if users > 0 {
            self.states.insert(stage, (state, users));
        }
    }

    /// A stage as it was at its end. The last one who needs it gets it without a copy: a long chain has one state, not one a stage.
    pub(super) fn take(&mut self, stage: usize) -> Option<State> {
        let (state, users) = self.states.get_mut(&stage)?;
        *users -= 1;
        if *users > 0 {
            return Some(state.clone());
        }
        self.states.remove(&stage).map(|(state, _)| state)
    }
}

/// A stage as it is after some of its instructions.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) node: usize,
    /// The config, but for history and variables, which are apart and shared with other stages.
    pub(super) image: ImageConfig,
    pub(super) steps: Steps,
    /// The variables of the image.
    own_env: Environment,
    layers: Vec<usize>,
    /// What instructions see: of ENV and of ARG, whichever came last.
    pub(super) env: Environment,
    /// ARGs declared so far, for the history; without values.
    pub(super) arguments: Environment,
    /// ARGs that this stage has given a value, before which those of ENV come in a stage that is based on it.
    given: Vec<String>,
    /// Whether a WORKDIR has been given in this file.
    workdir_given: bool,
    cmd_given: bool,
}

impl State {
    pub(super) fn finish(mut self, inputs: &Inputs<'_>) -> Made {
        let platform = &inputs.options.platform;
        let same = self.image.platform.os == platform.os
            && self.image.platform.architecture == platform.architecture;
        self.image.platform.os.clone_from(&platform.os);
        self.image.platform.architecture.clone_from(&platform.architecture);
        if !same || !platform.variant.is_empty() {
            self.image.platform.variant.clone_from(&platform.variant);
        }
        self.image.history = self.steps.to_vec();
        self.image.config.env = self.own_env.to_strings();
        Made { node: self.node, config: self.image, layers: self.layers }
    }

    /// What an instruction has made of the files.
    pub(super) fn layer(&mut self, node: usize) -> Result<()> {
        self.node = node;
        self.layers.push(node);
        if self.layers.len() > LAYER_LIMIT {
            let message = format!("the image would have more than {LAYER_LIMIT} layers");
            return Err(Diagnostic::error(message, None));
        }
        Ok(())
    }

    /// The working directory, `/` if none is set.
    pub(super) fn cwd(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }
}

/// All that an instruction needs.
pub(super) struct Context<'a, 'b> {
    pub(super) graph: &'a mut Graph,
    pub(super) inputs: &'a Inputs<'b>,
    pub(super) done: &'a Done,
    pub(super) linter: &'a mut Linter,
    pub(super) stage: &'a Resolved,
    /// Which step of the stage it is, of those that make something, and of how many.
    pub(super) step: (usize, usize),
}

/// Lowers a stage whose base and sources have been lowered before.
pub(super) fn lower(
    graph: &mut Graph,
    inputs: &Inputs<'_>,
    done: &mut Done,
    index: usize,
    linter: &mut Linter,
) -> Result<State> {
    let stage = &inputs.plan.stages[index];
    let makes = |step: &&Step| {
        matches!(step.instruction.kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
    };
    let based = usize::from(!matches!(stage.base, Base::Scratch | Base::Stage(_)));
    let total = based + stage.steps.iter().filter(makes).count();
    let mut state = begin(graph, inputs, done, (stage, total), linter)?;
    let mut context = Context { graph, inputs, done, linter, stage, step: (based, total) };
    for step in &stage.steps {
        context.linter.enter(&step.instruction.comments);
        if makes(&step) {
            context.step.0 += 1;
        }
        context.instruction(&mut state, step).map_err(|error| error.or_at(step.instruction.span))?;
        if state.env.len().max(state.arguments.len()) > VARIABLE_LIMIT {
            let message = format!("the stage has more than {VARIABLE_LIMIT} variables");
            return Err(Diagnostic::error(message, step.instruction.span));
        }
    }
    context.linter.enter(&[]);
    Ok(state)
}

/// The base.
fn begin(
    graph: &mut Graph,
    inputs: &Inputs<'_>,
    done: &mut Done,
    (stage, total): (&Resolved, usize),
    linter: &mut Linter,
) -> Result<State> {
    let empty = || ImageConfig { platform: stage.platform.clone(), ..ImageConfig::default() };
    let base = match &stage.base {
        Base::Image(key) => key.reference.to_string(),
        Base::Stage(_) | Base::Scratch | Base::Context(_) => stage.base_name.clone(),
    };
    let name = || place(inputs, stage, "", (1, total)) + &format!("FROM {base}");
    let (op, mut image) = match &stage.base {
        Base::Stage(base) => {
            let Some(mut state) = done.take(*base) else {
                return Err(Diagnostic::error(
                    format!("stage {} is not made yet", stage.base_name),
                    stage.span,
                ));
            };
            // Triggers are for the first stage after theirs.
            state.image.config.on_build.clear();
            state.cmd_given = false;
            for name in std::mem::take(&mut state.given) {
                if let Some(value) = state.own_env.get(&name) {
                    state.env.set(name, value);
                }
            }
            return Ok(state);
        }
        Base::Scratch => {
            let mut image = empty();
            image.config.working_dir = "/".to_owned();
            (Op::Scratch, image)
        }
        Base::Image(key) => {
            let op = Op::Image { reference: key.reference.clone(), platform: key.platform.clone() };
            let image = inputs.images.get(key).inspect(|image| check_platform(stage, image, linter));
            (op, image.cloned().unwrap_or_else(empty))
        }
        Base::Context(context) => {
            let platform = stage.platform.to_string();
            let config = inputs.contexts.get(&(context.clone(), platform.clone()));
            let op = Op::Context { name: context.clone(), platform: config.map(|_| platform) };
            (op, config.cloned().unwrap_or_else(empty))
        }
    };
    let node = graph.add(op, Vec::new(), name, Some(stage.span))?;
    image.created = None;
    image.config.on_build.clear();
    let mut env = Environment::from_strings(image.config.env.iter().map(String::as_str));
    if !env.contains("PATH") && image.platform.os != "windows" {
        env.set("PATH", config::DEFAULT_PATH);
    }
    let steps = Steps::after(std::mem::take(&mut image.history));
    Ok(State {
        node,
        image,
        steps,
        own_env: env.clone(),
        layers: Vec::new(),
        env,
        arguments: Environment::default(),
        given: Vec::new(),
        workdir_given: false,
        cmd_given: false,
    })
}

fn check_platform(stage: &Resolved, image: &ImageConfig, linter: &mut Linter) {
    let (expected, actual) = (&stage.platform, &image.platform);
    if expected.os != actual.os || expected.architecture != actual.architecture {
        let (expected, actual) = (expected.normalized().to_string(), actual.normalized().to_string());
        let name = &stage.base_name;
        let message = format!(
            "Base image {name} was pulled with platform {actual:?}, expected {expected:?} for current build"
        );
        linter.warn(&lint::INVALID_BASE_IMAGE_PLATFORM, stage.span, message);
    }
}

impl Context<'_, '_> {
    fn instruction(&mut self, state: &mut State, step: &Step) -> Result<()> {
        let span = step.instruction.span;
        match &step.instruction.kind {
            Kind::Add(add) => self.add(state, step, add)?,
            Kind::Copy(copy) => self.copy(state, step, copy)?,
            Kind::Run(run) => self.run(state, step, run)?,
            Kind::Arg(arguments) => self.arg(state, arguments, span)?,
            Kind::Env(pairs) => {
                let words = self.pairs(state, "ENV", pairs, span, |state, name, value| {
                    state.own_env.set(name, value);
                    state.env.set(name, value);
                })?;
                state.steps.commit(words, false)?;
            }
            Kind::Label(pairs) => {
                let words = self.pairs(state, "LABEL", pairs, span, |state, name, value| {
                    state.image.config.labels.insert(name.to_owned(), value.to_owned());
                })?;
                state.steps.commit(words, false)?;
            }
            Kind::Cmd(command) => {
                self.check_form(state, step, command);
                let arguments = config::arguments(&state.image, command);
                state.steps.commit(format!("CMD {}", config::quoted(&arguments)), false)?;
                state.image.config.cmd = Some(arguments);
                state.cmd_given = true;
            }
            Kind::Entrypoint(command) => {
                self.check_form(state, step, command);
                let arguments = config::arguments(&state.image, command);
                state.steps.commit(format!("ENTRYPOINT {}", config::quoted(&arguments)), false)?;
                state.image.config.entrypoint = Some(arguments).filter(|arguments| !arguments.is_empty());
                // The base's command is for the base's entrypoint.
                if !state.cmd_given {
                    state.image.config.cmd = None;
                }
            }
            Kind::Expose(ports) => self.expose(state, ports, span)?,
            Kind::Healthcheck(check) => {
                let (check, words) = config::healthcheck(check);
                state.image.config.healthcheck = Some(check);
                state.steps.commit(words, false)?;
            }
            Kind::Maintainer(author) => {
                state.image.author.clone_from(&author.value);
                state.steps.commit(format!("MAINTAINER {}", author.value), false)?;
            }
            Kind::Onbuild(onbuild) => state.image.config.on_build.push(onbuild.expression.clone()),
            Kind::Shell(words) => {
                state.image.config.shell.clone_from(words);
                state.steps.commit(format!("SHELL {}", config::listed(words)), false)?;
            }
            Kind::Stopsignal(signal) => {
                let value = self.expand(state, signal, span)?;
                if !config::is_signal(&value) {
                    return Err(Diagnostic::error(format!("invalid signal: {value}"), signal.span));
                }
                state.steps.commit(format!("STOPSIGNAL {value}"), false)?;
                state.image.config.stop_signal = value;
            }
            Kind::User(user) => {
                let value = self.expand(state, user, span)?;
                state.steps.commit(format!("USER {value}"), false)?;
                state.image.config.user = value;
            }
            Kind::Volume(volumes) => {
                let expanded: Vec<String> =
                    volumes.iter().map(|volume| self.expand(state, volume, span)).collect::<Result<_>>()?;
                if expanded.iter().any(String::is_empty) {
                    return Err(Diagnostic::error("VOLUME specified can not be an empty string", span));
                }
                state.steps.commit(format!("VOLUME {}", config::listed(&expanded)), false)?;
                state.image.config.volumes.extend(expanded);
            }
            Kind::Workdir(path) => self.workdir(state, path, step)?,
        }
        Ok(())
    }

    /// A value with its variables replaced; those that are not set are told of.
    pub(super) fn expand(&mut self, state: &State, text: &Text, span: Span) -> Result<String> {
        self.expand_with(Lexer::new(self.inputs.escape), state, &text.value, text.span, span)
    }

    pub(super) fn expand_with(
        &mut self,
        lexer: Lexer,
        state: &State,
        value: &str,
        place: Span,
        instruction: Span,
    ) -> Result<String> {
        let found = lexer.expand(value, &state.env);
        let unmatched = match &found {
            Ok(found) => &found.unmatched,
            Err(error) => &error.unmatched,
        };
        for name in unmatched {
            if state.arguments.contains(name) || NOT_FOR_PROGRAMS.contains(&name.as_str()) {
                continue;
            }
            let near = suggestion(name, state.env.names());
            let near = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{near}");
            self.linter.warn(&lint::UNDEFINED_VAR, instruction, message);
        }
        found.map(|found| found.text).map_err(|error| Diagnostic::error(error.to_string(), place))
    }

    /// All values of an instruction see the variables as they were before it.
    fn pairs(
        &mut self,
        state: &mut State,
        keyword: &str,
        pairs: &[Pair],
        span: Span,
        mut set: impl FnMut(&mut State, &str, &str),
    ) -> Result<String> {
        let mut expanded = Vec::with_capacity(pairs.len());
        for pair in pairs {
            expanded.push((self.expand(state, &pair.name, span)?, self.expand(state, &pair.value, span)?));
        }
        let mut words = keyword.to_owned();
        for (name, value) in expanded {
            words.push_str(&format!(" {name}={value}"));
            set(state, &name, &value);
        }
        Ok(words)
    }

    fn arg(&mut self, state: &mut State, arguments: &[Argument], span: Span) -> Result<()> {
        let mut words = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let name = &argument.name.value;
            let value = match (self.inputs.options.arguments.get(name), &argument.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(state, default, span)?),
                (None, None) => self.inputs.plan.globals.get(name).map(str::to_owned),
            };
            words.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}")));
            if let Some(value) = value.filter(|_| !NOT_FOR_PROGRAMS.contains(&name.as_str())) {
                state.env.set(name.as_str(), value);
                state.given.push(name.clone());
            }
            state.arguments.set(name.as_str(), "");
        }
        state.steps.commit(format!("ARG {}", words.join(" ")), false)?;
        Ok(())
    }

    fn check_form(&mut self, state: &State, step: &Step, command: &CommandLine) {
        if matches!(command, CommandLine::Shell(_)) && state.image.config.shell.is_empty() {
            let keyword = &step.instruction.keyword.value;
            let message = format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            );
            self.linter.warn(&lint::JSON_ARGS_RECOMMENDED, step.instruction.span, message);
        }
    }

    fn expose(&mut self, state: &mut State, ports: &[Text], span: Span) -> Result<()> {
        let mut sorted: Vec<&Text> = ports.iter().collect();
        sorted.sort_by(|a, b| a.value.cmp(&b.value));
        let mut exposed = Vec::new();
        for text in sorted {
            let words = Lexer::new(self.inputs.escape).expand(&text.value, &state.env);
            let words = words.map_err(|error| Diagnostic::error(error.to_string(), text.span))?.words;
            for word in words {
                let found = expose::parse(&word).map_err(|message| Diagnostic::error(message, text.span))?;
                if found.maps {
                    let message = format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                    );
                    self.linter.warn(&lint::EXPOSE_INVALID_FORMAT, span, message);
                }
                if found.odd_case {
                    let message =
                        format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
                    self.linter.warn(&lint::EXPOSE_PROTO_CASING, span, message);
                }
                exposed.extend(found.ports);
            }
        }
        state.steps.commit(format!("EXPOSE {}", config::listed(&exposed)), false)?;
        state.image.config.exposed_ports.extend(exposed);
        Ok(())
    }

    fn workdir(&mut self, state: &mut State, path: &Text, step: &Step) -> Result<()> {
        let span = step.instruction.span;
        let given = self.expand(state, path, span)?;
        if !state.workdir_given && !given.starts_with('/') {
            let message =
                format!("Relative workdir {given:?} can have unexpected results if the base image changes");
            self.linter.warn(&lint::WORKDIR_RELATIVE_PATH, span, message);
        }
        state.workdir_given = true;
        let joined = if given.starts_with('/') { given } else { format!("{}/{given}", state.cwd()) };
        let cleaned = clean(&joined);
        if cleaned != "/" {
            let owner = Some(state.image.config.user.clone()).filter(|user| !user.is_empty());
            let op = Op::MakeDirectory { path: cleaned.clone(), owner };
            let name = self.name(state, step);
            let node = self.graph.add(op, vec![state.node], || name, Some(span))?;
            state.layer(node)?;
        }
        state.steps.commit(format!("WORKDIR {cleaned}"), cleaned != "/")?;
        state.image.config.working_dir = cleaned;
        Ok(())
    }
}
