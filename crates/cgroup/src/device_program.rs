//! The BPF program that decides on device access in version 2, assembled from device rules.
//!
//! The kernel calls it with what is asked for: `{ access << 16 | kind, major, minor }`, three words. It returns 1 to
//! allow. Rules are tested from the last to the first. The access still to be decided stays in a register: an allowing rule takes
//! its bits out and allows once none is left; a denying one denies if any of its bits is left; at the end everything is denied.
//!
//! ```text
//! r2 = kind   r3 = access to be decided   r4 = major   r5 = minor   r1 = the context, then spare
//! ```

use linux::bpf::Instruction;

use crate::devices::{access, is_about_everything};
use crate::plan::{DeviceKind, DeviceRule};

/// The name the kernel shows for our program, by which an update finds it.
pub(crate) const NAME: linux::bpf::Name = *b"skiff_devices\0\0\0";

// Operation codes: class | size or operation | source (BPF_K 0x00, BPF_X 0x08).
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_IF_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JUMP_IF_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// The kernel's BPF_DEVCG_DEV_*.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Assembles the program for `rules`, on top of everything denied.
pub(crate) fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(2, 0),
        Instruction { code: MOVE_REGISTER, registers: 0x23, offset: 0, immediate: 0 },
        constant(SHIFT_RIGHT, 3, 16),
        constant(AND, 2, 0xffff),
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules.iter().rev().filter(|rule| access(rule) != 0) {
        if is_about_everything(rule) {
            // Nothing before this rule matters, and the verifier refuses code that cannot be reached.
            program.extend(answer(rule.allow));
            return program;
        }
        program.extend(test(rule));
    }
    program.extend(answer(false));
    program
}

/// One rule: falls through to the next where it does not decide.
fn test(rule: &DeviceRule) -> Vec<Instruction> {
    let bits = i32::from(access(rule));
    let kind = rule.kind.map(|kind| match kind {
        DeviceKind::Block => BLOCK,
        DeviceKind::Char => CHAR,
    });
    let conditions =
        [(2, kind), (4, rule.major.map(u32::cast_signed)), (5, rule.minor.map(u32::cast_signed))];
    let conditions: Vec<_> =
        conditions.into_iter().filter_map(|(register, value)| value.map(|value| (register, value))).collect();
    let decision = if rule.allow {
        let mut decision = vec![constant(AND, 3, !bits), jump(JUMP_IF_NOT_EQUAL, 3, 0, 2)];
        decision.extend(answer(true));
        decision
    } else {
        let spare = Instruction { code: MOVE_REGISTER, registers: 0x31, offset: 0, immediate: 0 };
        let mut decision = vec![spare, constant(AND, 1, bits), jump(JUMP_IF_EQUAL, 1, 0, 2)];
        decision.extend(answer(false));
        decision
    };
    // At most three conditions before at most five instructions.
    let distances = (0_i16..).skip(if rule.allow { 4 } else { 5 });
    let distances: Vec<i16> = distances.take(conditions.len()).collect();
    let mut program: Vec<_> = conditions
        .into_iter()
        .zip(distances.into_iter().rev())
        .map(|((register, value), distance)| jump(JUMP_IF_NOT_EQUAL, register, value, distance))
        .collect();
    program.extend(decision);
    program
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: 0x10 | register, offset, immediate: 0 }
}

fn constant(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

fn jump(code: u8, register: u8, immediate: i32, offset: i16) -> Instruction {
    Instruction { code, registers: register, offset, immediate }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [constant(MOVE, 0, i32::from(allow)), constant(EXIT, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::tests::rules;
    use crate::devices::{MKNOD, READ, WRITE};

    /// Runs a program as the kernel would: 32-bit arithmetic on ten registers.
    fn run(program: &[Instruction], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        let context = [(u32::from(access) << 16) | kind.cast_unsigned(), major, minor];
        let mut registers = [0_u32; 11];
        let mut at = 0;
        for _ in 0..program.len() {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let immediate = immediate.cast_unsigned();
            at += 1;
            let taken = match code {
                LOAD_WORD => {
                    assert_eq!(from, 1, "loads only from the context");
                    registers[to] = context[usize::try_from(offset).unwrap() / 4];
                    false
                }
                MOVE => {
                    registers[to] = immediate;
                    false
                }
                MOVE_REGISTER => {
                    registers[to] = registers[from];
                    false
                }
                AND => {
                    registers[to] &= immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= immediate;
                    false
                }
                JUMP_IF_EQUAL => registers[to] == immediate,
                JUMP_IF_NOT_EQUAL => registers[to] != immediate,
                EXIT => return registers[0] == 1,
                other => panic!("unknown operation {other:#x}"),
            };
            if taken {
                at += usize::try_from(offset).unwrap();
            }
        }
        panic!("ran past the end");
    }

    #[test]
    fn the_last_rule_about_a_device_decides() {
        let rw = READ | WRITE;
        let docker = &["-a", "+c *:* m", "+b *:* m", "+c 1:3 rwm", "+c 136:* rwm", "-c 10:229 rwm"][..];
        type Case<'a> = (&'a [&'a str], i32, u8, u32, u32, bool);
        let cases: &[Case<'_>] = &[
            (&[], CHAR, READ, 1, 3, false),
            (&["+a"], BLOCK, rw, 8, 0, true),
            (&["+a", "-a"], BLOCK, READ, 8, 0, false),
            (docker, CHAR, rw, 1, 3, true),
            (docker, CHAR, rw, 1, 5, false),
            (docker, CHAR, MKNOD, 1, 5, true),
            (docker, BLOCK, MKNOD, 8, 0, true),
            (docker, BLOCK, READ, 8, 0, false),
            (docker, CHAR, READ, 136, 77, true),
            (docker, CHAR, MKNOD, 10, 229, false),
            (docker, BLOCK, READ, 1, 3, false),
            (&["+c 1:3 r"], CHAR, rw, 1, 3, false),
            (&["+c 1:3 r", "+c 1:* w"], CHAR, rw, 1, 3, true),
            (&["+c 1:* rw", "-c 1:3 w"], CHAR, rw, 1, 3, false),
            (&["+c 1:* rw", "-c 1:3 w"], CHAR, READ, 1, 3, true),
            (&["+c 1:* rw", "-c 1:3 w"], CHAR, WRITE, 1, 4, true),
            (&["-c 1:3 w", "+c 1:* rw"], CHAR, WRITE, 1, 3, true),
            (&["+a", "-a *:* w"], CHAR, WRITE, 1, 3, false),
            (&["+a", "-a *:* w"], CHAR, READ, 1, 3, true),
            (&["+c *:7 r"], CHAR, READ, 99, 7, true),
            (&["+c 4294967295:7 r"], CHAR, READ, u32::MAX, 7, true),
        ];
        for (texts, kind, access, major, minor, allowed) in cases {
            let program = assemble(&rules(texts));
            assert_eq!(
                run(&program, *kind, *access, *major, *minor),
                *allowed,
                "{texts:?} asked for {access:#b} on {kind} {major}:{minor}"
            );
        }
    }

    /// The rules' meaning, said as plainly as possible: for every bit, the last rule about it.
    fn meaning(rules: &[DeviceRule], kind: i32, asked: u8, major: u32, minor: u32) -> bool {
        let about = |rule: &&DeviceRule, bit: u8| {
            let kind_matches = rule.kind.is_none_or(|one| (one == DeviceKind::Block) == (kind == BLOCK));
            let number_matches =
                rule.major.is_none_or(|one| one == major) && rule.minor.is_none_or(|one| one == minor);
            kind_matches && number_matches && access(rule) & bit != 0
        };
        [MKNOD, READ, WRITE]
            .into_iter()
            .filter(|bit| asked & bit != 0)
            .all(|bit| rules.iter().rev().find(|rule| about(rule, bit)).is_some_and(|rule| rule.allow))
    }

    #[test]
    fn the_program_means_what_the_rules_mean() {
        // Every pair of rules from a set that exercises all wildcards, against every request on a small grid.
        let texts: Vec<String> = ["a", "b", "c"]
            .iter()
            .flat_map(|kind| ["1:3", "1:*", "*:3", "*:*"].map(|numbers| format!("{kind} {numbers}")))
            .flat_map(|device| ["r", "wm", "rwm"].map(|access| format!("{device} {access}")))
            .flat_map(|subject| ["+", "-"].map(|sign| format!("{sign}{subject}")))
            .collect();
        for first in &texts {
            for second in &texts {
                let rules = rules(&[first, second]);
                let program = assemble(&rules);
                for (kind, major, minor) in
                    [(BLOCK, 1, 3), (CHAR, 1, 3), (CHAR, 1, 4), (CHAR, 2, 3), (CHAR, 2, 4)]
                {
                    for asked in 1..8 {
                        assert_eq!(
                            run(&program, kind, asked, major, minor),
                            meaning(&rules, kind, asked, major, minor),
                            "{first}, {second}: {asked:#b} on {kind} {major}:{minor}"
                        );
                    }
                }
            }
        }
    }
}
