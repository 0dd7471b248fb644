//! Which stages a target needs, and in which order.

use super::{Base, Resolved};
use crate::source::{Diagnostic, Result, Span};

/// How far the walk has come with a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// The stages that `target` needs, each after those that it needs itself; and all others in the same manner. A file
/// with a circle is wrong whatever its target.
pub(super) fn order(stages: &[Resolved], target: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let mut marks = vec![Mark::New; stages.len()];
    for index in 0..stages.len() {
        if marks[index] == Mark::New {
            walk(stages, index, &mut marks)?;
        }
    }
    marks.fill(Mark::New);
    let needed = walk(stages, target, &mut marks)?;
    let mut others = Vec::new();
    for index in 0..stages.len() {
        if marks[index] == Mark::New {
            others.extend(walk(stages, index, &mut marks)?);
        }
    }
    Ok((needed, others))
}

/// The stages below one, depth first, without recursion: a chain may be as long as a file.
fn walk(stages: &[Resolved], from: usize, marks: &mut [Mark]) -> Result<Vec<usize>> {
    let mut done = Vec::new();
    let mut path = vec![(from, needs(&stages[from]), 0)];
    marks[from] = Mark::Open;
    while let Some((stage, needs_of, next)) = path.last_mut() {
        let (stage, at) = (*stage, *next);
        let Some((need, span)) = needs_of.get(at).copied() else {
            marks[stage] = Mark::Done;
            done.push(stage);
            path.pop();
            continue;
        };
        *next += 1;
        match marks[need] {
            Mark::Done => {}
            Mark::New => {
                marks[need] = Mark::Open;
                path.push((need, needs(&stages[need]), 0));
            }
            Mark::Open => {
                let on_path: Vec<usize> = path.iter().map(|(stage, ..)| *stage).collect();
                return Err(circle(stages, &on_path, need, span));
            }
        }
    }
    Ok(done)
}

/// What a stage needs, and where it says so.
fn needs(stage: &Resolved) -> Vec<(usize, Span)> {
    let base = match &stage.base {
        Base::Stage(base) => Some((*base, stage.span)),
        Base::Scratch | Base::Image(_) | Base::Context(_) => None,
    };
    let sources = stage
        .steps
        .iter()
        .flat_map(|step| step.sources.iter().flatten().map(|source| (*source, step.instruction.span)));
    base.into_iter().chain(sources).collect()
}

fn circle(stages: &[Resolved], path: &[usize], again: usize, span: Span) -> Diagnostic {
    let begin = path.iter().position(|stage| *stage == again).unwrap_or_default();
    let names = path[begin..].iter().chain([&again]).map(|stage| stages[*stage].shown.as_str());
    let message = format!("circular dependency detected on stage: {}", stages[again].shown);
    let shown: Vec<&str> = names.take(20).collect();
    Diagnostic::error(message, span).with_help(format!("each needs the next: {}", shown.join(" -> ")))
}
