//! The steps of an image, of which stages share those of their bases.

use std::rc::Rc;

use oci::History;

use crate::source::Diagnostic;

/// The most steps of an image, and so the longest chain of stages.
const LIMIT: usize = 8192;
/// The note of every step.
pub(super) const COMMENT: &str = "buildkit.dockerfile.v0";

/// Steps, the last one first: a stage goes on where its base ends, without a copy of what is before.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    last: Option<Rc<Step>>,
    count: usize,
}

#[derive(Debug)]
struct Step {
    history: History,
    before: Option<Rc<Step>>,
}

impl Steps {
    /// Goes on after a base's steps.
    pub(super) fn after(base: Vec<History>) -> Self {
        let mut steps = Self::default();
        base.into_iter().for_each(|history| steps.push(history));
        steps
    }

    fn push(&mut self, history: History) {
        self.last = Some(Rc::new(Step { history, before: self.last.take() }));
        self.count += 1;
    }

    /// Adds a step, and whether it makes a layer. Its words have values of variables in them, which may be addresses.
    pub(super) fn commit(&mut self, words: String, layer: bool) -> Result<(), Diagnostic> {
        if self.count >= LIMIT {
            let message = format!("the image would have more than {LIMIT} steps");
            return Err(Diagnostic::error(message, None));
        }
        self.push(History {
            created_by: oci::without_credentials(&words).into_owned(),
            comment: COMMENT.to_owned(),
            empty_layer: !layer,
            ..History::default()
        });
        Ok(())
    }

    /// All of them, the first one first.
    pub(super) fn to_vec(&self) -> Vec<History> {
        let mut steps = Vec::with_capacity(self.count);
        let mut next = self.last.as_deref();
        while let Some(step) = next {
            steps.push(step.history.clone());
            next = step.before.as_deref();
        }
        steps.reverse();
        steps
    }
}
