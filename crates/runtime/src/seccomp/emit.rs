//! Decisions to instructions: a dispatch over architectures, below it a balanced tree over call numbers whose leaves
//! return a verdict or look at arguments.
//!
//! ```text
//! arch == x86_64? ── nr >= 132? ── nr >= 211? ── … ── return allow
//! arch == i386?   ── …                            └─ args[0].lo == 2? ── return allow
//! kill                                                                └─ return errno
//! ```
//!
//! Leaves that look at no argument load nothing but number and architecture, which lets the kernel know such a call
//! as always allowed and skip the filter (its per-number bitmap, Linux 5.11).

use std::collections::HashMap;

use super::ProfileError;
use super::bpf::{Assembler, Label, Test};
use super::profile::{Condition, Operator};
use super::rules::{Decision, Section};

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The program for these sections.
pub(super) fn program(sections: &[Section]) -> Result<Vec<u8>, ProfileError> {
    let mut assembler = Assembler::default();
    let mut starts = Vec::new();
    for section in sections {
        let tree = Tree { leaves: HashMap::new() }.build(&mut assembler, &section.ranges);
        starts.push((section.audit, assembler.load(NUMBER, tree)));
    }
    let mut next = assembler.ret(super::FOREIGN.verdict());
    // The native architecture comes first in `sections` and is to be asked first.
    for (audit, start) in starts.into_iter().rev() {
        next = assembler.branch(Test::Equal, audit, start, next);
    }
    assembler.load(ARCH, next);
    assembler.finish()
}

struct Tree<'a> {
    leaves: HashMap<&'a Decision, Label>,
}

impl<'a> Tree<'a> {
    fn build(mut self, assembler: &mut Assembler, ranges: &'a [(u32, Decision)]) -> Label {
        self.node(assembler, ranges)
    }

    fn node(&mut self, assembler: &mut Assembler, ranges: &'a [(u32, Decision)]) -> Label {
        match ranges {
            [] => assembler.ret(super::FOREIGN.verdict()),
            [(_, decision)] => self.leaf(assembler, decision),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let middle = upper.first().map_or(0, |(start, _)| *start);
                let above = self.node(assembler, upper);
                let below = self.node(assembler, lower);
                assembler.branch(Test::GreaterOrEqual, middle, above, below)
            }
        }
    }

    fn leaf(&mut self, assembler: &mut Assembler, decision: &'a Decision) -> Label {
        if decision.cases.is_empty() {
            return assembler.ret(decision.otherwise.verdict());
        }
        if let Some(label) = self.leaves.get(decision) {
            return *label;
        }
        let mut next = assembler.ret(decision.otherwise.verdict());
        for (conditions, action) in decision.cases.iter().rev() {
            let mut pass = assembler.ret(action.verdict());
            for condition in conditions.iter().rev() {
                pass = compare(assembler, condition, pass, next);
            }
            next = pass;
        }
        self.leaves.insert(decision, next);
        next
    }
}

/// Upper and lower half of a 64-bit value.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// The accumulator is 32 bits wide, an argument 64: the upper halves decide, and only if they are equal the lower.
fn compare(assembler: &mut Assembler, condition: &Condition, pass: Label, fail: Label) -> Label {
    let (mask_high, mask_low) = halves(condition.mask);
    let (high, low) = halves(condition.value);
    let offset = ARGUMENTS + 8 * u32::from(condition.index);
    let (low_offset, high_offset) =
        if cfg!(target_endian = "little") { (offset, offset + 4) } else { (offset + 4, offset) };

    let test = match condition.operator {
        Operator::Equal => assembler.branch(Test::Equal, low, pass, fail),
        Operator::NotEqual => assembler.branch(Test::Equal, low, fail, pass),
        Operator::GreaterOrEqual => assembler.branch(Test::GreaterOrEqual, low, pass, fail),
        Operator::Less => assembler.branch(Test::GreaterOrEqual, low, fail, pass),
        Operator::Greater => assembler.branch(Test::Greater, low, pass, fail),
        Operator::LessOrEqual => assembler.branch(Test::Greater, low, fail, pass),
    };
    let masked = assembler.and(mask_low, test);
    let lower = assembler.load(low_offset, masked);

    // What the answer is when the upper halves differ: above or below.
    let (above, below) = match condition.operator {
        Operator::Equal => (fail, fail),
        Operator::NotEqual => (pass, pass),
        Operator::Greater | Operator::GreaterOrEqual => (pass, fail),
        Operator::Less | Operator::LessOrEqual => (fail, pass),
    };
    if mask_high == 0 {
        // The upper half is zero, whatever it was.
        return if high == 0 { lower } else { below };
    }
    let differs = match above == below {
        true => assembler.branch(Test::Equal, high, lower, below),
        false => {
            let equal = assembler.branch(Test::Equal, high, lower, below);
            assembler.branch(Test::Greater, high, above, equal)
        }
    };
    let masked = assembler.and(mask_high, differs);
    assembler.load(high_offset, masked)
}
