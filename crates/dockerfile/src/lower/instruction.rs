//! What each instruction does that runs nothing and copies nothing: to variables, to the config, to the history.
//!
//! COPY and ADD are in `copy`, RUN is in `run`. WORKDIR is here though it makes a directory, and with it a layer.

use super::stage::Context;
use super::state::State;
use super::{Op, config, expose, scan};
use crate::expand::{Lexer, suggestion};
use crate::ignore::clean;
use crate::lint;
use crate::source::{Diagnostic, Result, Span};
use crate::stage::Step;
use crate::syntax::{Argument, CommandLine, Kind, Pair, Text};

/// Arguments that are for the builder and never reach a program.
const NOT_FOR_PROGRAMS: [&str; 2] = [scan::CONTEXT, scan::STAGE];

impl Context<'_, '_> {
    /// What an instruction does to a stage: of all but files, also its line in the history.
    pub(super) fn instruction(&mut self, state: &mut State, step: &Step) -> Result<()> {
        let span = step.instruction.span;
        let image = &mut state.image;
        let words = match &step.instruction.kind {
            Kind::Add(add) => return self.add(state, step, add),
            Kind::Copy(copy) => return self.copy(state, step, copy),
            Kind::Run(run) => return self.run(state, step, run),
            Kind::Workdir(path) => return self.workdir(state, path, step),
            Kind::Onbuild(onbuild) => {
                image.config.on_build.push(onbuild.expression.clone());
                return Ok(());
            }
            Kind::Arg(arguments) => self.arg(state, arguments, span)?,
            Kind::Env(pairs) => self.env(state, pairs, span)?,
            Kind::Label(pairs) => self.label(state, pairs, span)?,
            Kind::Cmd(command) => self.cmd(state, step, command),
            Kind::Entrypoint(command) => self.entrypoint(state, step, command),
            Kind::Expose(ports) => self.expose(state, ports, span)?,
            Kind::Healthcheck(check) => {
                let (check, words) = config::healthcheck(check);
                image.config.healthcheck = Some(check);
                words
            }
            Kind::Maintainer(author) => {
                image.author.clone_from(&author.value);
                format!("MAINTAINER {}", author.value)
            }
            Kind::Shell(words) => {
                image.config.shell.clone_from(words);
                format!("SHELL {}", config::listed(words))
            }
            Kind::Stopsignal(signal) => self.stop_signal(state, signal, span)?,
            Kind::User(user) => {
                let value = self.expand(state, user, span)?;
                let words = format!("USER {value}");
                state.image.config.user = value;
                words
            }
            Kind::Volume(volumes) => self.volume(state, volumes, span)?,
        };
        state.steps.commit(words, false)
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

    fn env(&mut self, state: &mut State, pairs: &[Pair], span: Span) -> Result<String> {
        self.pairs(state, "ENV", pairs, span, |state, name, value| {
            state.own_env.set(name, value);
            state.env.set(name, value);
        })
    }

    fn label(&mut self, state: &mut State, pairs: &[Pair], span: Span) -> Result<String> {
        self.pairs(state, "LABEL", pairs, span, |state, name, value| {
            state.image.config.labels.insert(name.to_owned(), value.to_owned());
        })
    }

    fn cmd(&mut self, state: &mut State, step: &Step, command: &CommandLine) -> String {
        self.check_form(state, step, command);
        let arguments = config::arguments(&state.image, command);
        let words = format!("CMD {}", config::quoted(&arguments));
        state.image.config.cmd = Some(arguments);
        state.cmd_given = true;
        words
    }

    fn entrypoint(&mut self, state: &mut State, step: &Step, command: &CommandLine) -> String {
        self.check_form(state, step, command);
        let arguments = config::arguments(&state.image, command);
        let words = format!("ENTRYPOINT {}", config::quoted(&arguments));
        state.image.config.entrypoint = Some(arguments).filter(|arguments| !arguments.is_empty());
        // The base's command is for the base's entrypoint.
        if !state.cmd_given {
            state.image.config.cmd = None;
        }
        words
    }

    fn stop_signal(&mut self, state: &mut State, signal: &Text, span: Span) -> Result<String> {
        let value = self.expand(state, signal, span)?;
        if !config::is_signal(&value) {
            return Err(Diagnostic::error(format!("invalid signal: {value}"), signal.span));
        }
        let words = format!("STOPSIGNAL {value}");
        state.image.config.stop_signal = value;
        Ok(words)
    }

    fn volume(&mut self, state: &mut State, volumes: &[Text], span: Span) -> Result<String> {
        let expanded: Vec<String> =
            volumes.iter().map(|volume| self.expand(state, volume, span)).collect::<Result<_>>()?;
        if expanded.iter().any(String::is_empty) {
            return Err(Diagnostic::error("VOLUME specified can not be an empty string", span));
        }
        let words = format!("VOLUME {}", config::listed(&expanded));
        state.image.config.volumes.extend(expanded);
        Ok(words)
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

    fn arg(&mut self, state: &mut State, arguments: &[Argument], span: Span) -> Result<String> {
        let mut words = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let name = &argument.name.value;
            let value = match (self.inputs.options.arguments.get(name), &argument.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(state, default, span)?),
                (None, None) => self.inputs.plan.globals.get(name).map(str::to_owned),
            };
            state.scans.declare(name, value.as_deref());
            words.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}")));
            if let Some(value) = value.filter(|_| !NOT_FOR_PROGRAMS.contains(&name.as_str())) {
                state.env.set(name.as_str(), value);
                state.given.push(name.clone());
            }
            state.arguments.set(name.as_str(), "");
        }
        Ok(format!("ARG {}", words.join(" ")))
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

    fn expose(&mut self, state: &mut State, ports: &[Text], span: Span) -> Result<String> {
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
        let words = format!("EXPOSE {}", config::listed(&exposed));
        state.image.config.exposed_ports.extend(exposed);
        Ok(words)
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
