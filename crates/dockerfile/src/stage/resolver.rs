//! Finds what names mean, stage by stage: bases, sources of files, triggers.

use std::collections::BTreeMap;

use oci::{Platform, Reference};

use super::{Base, ImageKey, Images, Options, Plan, Resolved, Step, arguments};
use crate::expand::{Environment, Expanded, Lexer, with_suggestion};
use crate::parse::parse_trigger;
use crate::source::{Diagnostic, Result, Source, Span};
use crate::syntax::{Dockerfile, Instruction, Kind, Stage, Text};

/// The most stages of a plan, counting those that stand for images of `COPY --from`.
const STAGE_LIMIT: usize = 100_000;
/// The most triggers of an image.
const TRIGGER_LIMIT: usize = 10_000;

pub(super) struct Resolver<'a> {
    pub(super) file: &'a Dockerfile,
    pub(super) options: &'a Options,
    pub(super) globals: &'a Environment,
    pub(super) stages: Vec<Resolved>,
    pub(super) names: BTreeMap<String, usize>,
}

impl Resolver<'_> {
    /// FROM.
    pub(super) fn stage(&mut self, index: usize, stage: &Stage) -> Result<()> {
        let from = &stage.from.kind;
        let base_name = self.expand(&from.base)?.text;
        if base_name.is_empty() {
            let message = format!("base name ({}) should not be blank", from.base.value);
            return Err(Diagnostic::error(message, from.base.span).with_help(
                "declare its ARG before the first FROM, with a default, or give a value by --build-arg",
            ));
        }
        let platform = from.platform.as_ref().map(|text| self.platform(text)).transpose()?;
        let name = from.name.as_ref().map(|name| name.value.clone());
        let context = name.clone().filter(|name| self.is_context(name));
        let base = match (context, self.names.get(&base_name)) {
            (Some(context), _) => Base::Context(context),
            (None, Some(index)) => Base::Stage(*index),
            (None, None) => self.base(&base_name, platform.as_ref(), from.base.span)?,
        };
        // A stage has the platform of the one that it is based on.
        let platform = match &base {
            Base::Stage(base) => self.stages[*base].platform.clone(),
            Base::Scratch => self.options.platform.clone(),
            Base::Image(_) | Base::Context(_) => platform.unwrap_or_else(|| self.options.platform.clone()),
        };
        let number = self.stages.len();
        if let Some(name) = &name {
            self.names.insert(name.clone(), number);
        }
        self.stages.push(Resolved {
            shown: name.clone().unwrap_or_else(|| format!("stage-{index}")),
            name,
            base_name,
            base,
            platform,
            span: stage.from.span,
            steps: Vec::new(),
            index: Some(index),
            needed: false,
        });
        Ok(())
    }

    /// A value of FROM, which sees the ARGs before the first one.
    fn expand(&self, text: &Text) -> Result<Expanded> {
        let expanded = Lexer::new(self.file.escape).expand(&text.value, self.globals);
        expanded.map_err(|error| Diagnostic::error(error.to_string(), text.span))
    }

    /// `--platform`.
    fn platform(&self, text: &Text) -> Result<Platform> {
        let value = self.expand(text)?;
        if value.text.is_empty() {
            let mut message = format!("empty platform value from expression {}", text.value);
            if let Some(name) = value.unmatched.first() {
                message = with_suggestion(message, name, self.globals.names());
            }
            return Err(Diagnostic::error(message, text.span));
        }
        value.text.parse::<Platform>().map_err(|error| {
            Diagnostic::error(format!("failed to parse platform {}: {error}", text.value), text.span)
        })
    }

    /// Whether a context has been given in a stage's place.
    pub(super) fn is_replaced(&self, stage: usize) -> bool {
        let stage = &self.stages[stage];
        matches!((&stage.base, &stage.name), (Base::Context(context), Some(name)) if context == name)
    }

    fn is_context(&self, name: &str) -> bool {
        !matches!(name, "scratch" | "context") && self.options.contexts.contains(name)
    }

    /// What a name means that is no stage.
    fn base(&self, name: &str, platform: Option<&Platform>, span: Span) -> Result<Base> {
        if name == "scratch" {
            return Ok(Base::Scratch);
        }
        if self.is_context(name) {
            return Ok(Base::Context(name.to_owned()));
        }
        let reference: Reference = name.parse().map_err(|error| {
            let message = format!("failed to parse stage name {name:?}: {error}");
            Diagnostic::error(with_suggestion(message, name, self.names.keys().map(String::as_str)), span)
        })?;
        let familiar = reference.familiar();
        let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        if self.is_context(short) {
            return Ok(Base::Context(short.to_owned()));
        }
        let platform = platform.unwrap_or(&self.options.platform).to_string();
        // A digest decides; a tag beside it is a remark.
        Ok(Base::Image(ImageKey { reference: reference.or_latest(), platform }))
    }

    pub(super) fn target(&self, name: &str) -> Result<usize> {
        let lower = name.to_lowercase();
        if let Some(index) = self.names.get(&lower) {
            return Ok(*index);
        }
        if let Some(index) = name.parse::<usize>().ok().filter(|index| *index < self.stages.len()) {
            return Ok(index);
        }
        let shown = self.stages.iter().map(|stage| stage.shown.as_str());
        if let Some(index) = self.stages.iter().position(|stage| stage.name.is_none() && stage.shown == lower)
        {
            return Ok(index);
        }
        let message = format!("target stage {name:?} could not be found");
        Err(Diagnostic::error(with_suggestion(message, name, shown), None))
    }

    /// Finds the sources of instructions, and puts them at the stage's end, or, if triggered, its beginning.
    pub(super) fn steps(
        &mut self,
        stage: usize,
        instructions: &[Instruction],
        triggered: bool,
    ) -> Result<()> {
        let mut steps = Vec::with_capacity(instructions.len());
        for instruction in instructions {
            let mut sources = Vec::new();
            if let Kind::Copy(copy) = &instruction.kind {
                if let Some(from) = &copy.from {
                    sources.push(Some(self.copy_source(from)?));
                }
            } else if let Kind::Run(run) = &instruction.kind {
                for mount in &run.mounts {
                    let from = mount.from_text();
                    sources.push(from.map(|from| self.source(&from)).transpose()?);
                }
            }
            steps.push(Step { instruction: instruction.clone(), sources, triggered });
        }
        let known = &mut self.stages[stage].steps;
        let at = if triggered { 0 } else { known.len() };
        known.splice(at..at, steps);
        Ok(())
    }

    /// `COPY --from`: a number, or a name.
    fn copy_source(&mut self, from: &Text) -> Result<usize> {
        let expanded = Lexer::new(self.file.escape).expand(&from.value, &Environment::default());
        let expanded = expanded.map_err(|error| Diagnostic::error(error.to_string(), from.span))?;
        if expanded.text != from.value {
            return Err(Diagnostic::error("variable expansion is not supported for --from", from.span)
                .with_help("define a new stage with FROM using ARG from global scope as a workaround"));
        }
        match from.value.parse::<i64>() {
            Ok(number) => match usize::try_from(number) {
                Ok(index) if index < self.file.stages.len() => Ok(index),
                _ => Err(Diagnostic::error(format!("invalid stage index {number}"), from.span)),
            },
            Err(_) => self.source(from),
        }
    }

    /// A stage by its name, or one that stands for an image or a context.
    fn source(&mut self, from: &Text) -> Result<usize> {
        if let Some(index) = self.names.get(&from.value.to_lowercase()) {
            return Ok(*index);
        }
        let base = self.base(&from.value, None, from.span)?;
        let same = self.stages.iter().skip(self.file.stages.len()).position(|stage| stage.base == base);
        if let Some(index) = same {
            return Ok(self.file.stages.len() + index);
        }
        if self.stages.len() >= STAGE_LIMIT {
            return Err(Diagnostic::error(
                format!("the build has more than {STAGE_LIMIT} stages"),
                from.span,
            ));
        }
        self.stages.push(Resolved {
            name: None,
            shown: from.value.clone(),
            base_name: from.value.clone(),
            base,
            platform: self.options.platform.clone(),
            span: from.span,
            steps: Vec::new(),
            index: None,
            needed: false,
        });
        Ok(self.stages.len() - 1)
    }

    /// Puts what the base triggers before a stage's instructions; whether that brought new sources.
    pub(super) fn triggers(&mut self, stage: usize, images: &Images) -> Result<bool> {
        let texts: Vec<String> = match &self.stages[stage].base {
            Base::Image(key) => {
                images.get(key).map(|image| image.config.on_build.clone()).unwrap_or_default()
            }
            Base::Stage(base) => {
                let own = self.stages[*base].steps.iter();
                own.filter_map(|step| {
                    let Kind::Onbuild(onbuild) = &step.instruction.kind else { return None };
                    Some(onbuild.expression.clone())
                })
                .collect()
            }
            Base::Scratch | Base::Context(_) => Vec::new(),
        };
        if texts.len() > TRIGGER_LIMIT {
            let message = format!("the base has more than {TRIGGER_LIMIT} ONBUILD triggers");
            return Err(Diagnostic::error(message, self.stages[stage].span));
        }
        let span = self.stages[stage].span;
        let mut instructions = Vec::with_capacity(texts.len());
        for text in &texts {
            let at =
                |error: Diagnostic| Diagnostic::error(format!("ONBUILD trigger {text:?}: {error}"), span);
            let source = Source::new("ONBUILD", text.clone().into_bytes()).map_err(at)?;
            let mut instruction = parse_trigger(&source).map_err(at)?;
            // Its places are those of another text; messages show the FROM that brought it.
            instruction.span = span;
            instructions.push(instruction);
        }
        self.steps(stage, &instructions, true)?;
        Ok(self.stages[stage].steps.iter().any(|step| step.triggered && !step.sources.is_empty()))
    }

    /// Files come from stages that stand before the one that takes them.
    fn check_order(&self, stage: &Resolved) -> Result<()> {
        for step in &stage.steps {
            for source in step.sources.iter().flatten().map(|source| &self.stages[*source]) {
                if source.index.is_some() && source.index > stage.index {
                    let verb = if matches!(step.instruction.kind, Kind::Copy(_)) { "copy" } else { "mount" };
                    let message = format!(
                        "cannot {verb} from stage {:?}, it needs to be defined before current stage {:?}",
                        source.shown, stage.shown
                    );
                    return Err(Diagnostic::error(message, step.instruction.span)
                        .with_label(source.span, "it is defined here"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        target: usize,
        order: Vec<usize>,
        others: Vec<usize>,
        images: &Images,
    ) -> Result<Plan> {
        for index in &order {
            self.stages[*index].needed = true;
        }
        for stage in self.stages.iter().filter(|stage| stage.needed) {
            self.check_order(stage)?;
        }
        let wanted = self.stages.iter().filter(|stage| stage.needed || self.options.all_stages);
        let missing = wanted.filter_map(|stage| match &stage.base {
            Base::Image(key) if !images.contains_key(key) => Some(key.clone()),
            Base::Image(_) | Base::Scratch | Base::Stage(_) | Base::Context(_) => None,
        });
        let missing = missing.collect();
        let unconsumed = arguments::unconsumed(self.file, self.options, &self.stages);
        Ok(Plan {
            globals: self.globals.clone(),
            stages: self.stages,
            target,
            order,
            others,
            missing,
            unconsumed,
        })
    }
}
