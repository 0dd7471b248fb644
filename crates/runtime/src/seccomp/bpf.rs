//! An assembler for classic BPF.
//!
//! BPF jumps forward only, so a program is written from its end: whatever an instruction jumps to is already there
//! and its distance is known. Conditional jumps reach 255 instructions; a farther target gets an unconditional jump
//! of its own, next to the one that needs it.

use std::collections::HashMap;

use super::ProfileError;

/// The kernel's limit (`BPF_MAXINSNS`).
const LIMIT: usize = 4096;
/// How far a conditional jump reaches.
const REACH: usize = 255;
/// Within this distance a `return` is shared rather than written again.
const NEAR: usize = 200;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// A place in the program, counted from its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// A program under construction, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    returns: HashMap<u32, Label>,
}

impl Assembler {
    /// Ends the filter with a verdict.
    pub(super) fn ret(&mut self, verdict: u32) -> Label {
        if let Some(label) = self.returns.get(&verdict)
            && self.distance(*label) < NEAR
        {
            return *label;
        }
        let label = self.push(RETURN, 0, 0, verdict);
        self.returns.insert(verdict, label);
        label
    }

    /// Loads a word of `seccomp_data` and goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(LOAD_WORD, 0, 0, offset)
    }

    /// Masks the accumulator and goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        if mask == u32::MAX {
            return next;
        }
        self.fall_through(next);
        self.push(AND, 0, 0, mask)
    }

    /// Goes on at `yes` or `no`.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (mut yes, mut no) = (yes, no);
        loop {
            // A jump put in for one target may push the other out of reach, hence the loop.
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(to_yes), Ok(to_no)) => return self.push(test as u16, to_yes, to_no, k),
                (Err(_), _) => yes = self.jump(yes),
                (Ok(_), Err(_)) => no = self.jump(no),
            }
        }
    }

    /// The program in the kernel's layout (`struct sock_filter`).
    pub(super) fn finish(self) -> Result<Vec<u8>, ProfileError> {
        if self.reversed.len() > LIMIT {
            return Err(ProfileError::TooLarge { instructions: self.reversed.len(), limit: LIMIT });
        }
        let mut program = Vec::with_capacity(self.reversed.len() * 8);
        for instruction in self.reversed.iter().rev() {
            program.extend_from_slice(&instruction.code.to_ne_bytes());
            program.push(instruction.yes);
            program.push(instruction.no);
            program.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        Ok(program)
    }

    fn fall_through(&mut self, next: Label) {
        if self.distance(next) > 0 {
            self.jump(next);
        }
    }

    fn jump(&mut self, to: Label) -> Label {
        let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions lie between the one to be written next and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    fn push(&mut self, code: u16, yes: u8, no: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, yes, no, k });
        Label(self.reversed.len() - 1)
    }
}

const _: () = assert!(NEAR < REACH && REACH == u8::MAX as usize);
