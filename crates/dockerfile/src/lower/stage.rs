//! One stage: its base, then its instructions in order.
//!
//! What those before have made of files, variables and config is the [`State`] that each instruction gets; what it needs beside is the
//! [`Context`]. What each of them does lies in `copy`, `run` and `instruction`.

use std::collections::BTreeMap;

use super::state::State;
use super::{Graph, Inputs, base};
use crate::lint::Linter;
use crate::source::{Diagnostic, Result};
use crate::stage::{Base, Resolved, Step};
use crate::syntax::Kind;

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
    let mut state = base::begin(graph, inputs, done, (stage, total), linter)?;
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
