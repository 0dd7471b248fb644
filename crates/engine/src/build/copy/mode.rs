//! `--chmod`: octal, or symbolic as chmod(1) has it.

use super::CopyError;

/// What becomes of a file's permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These, whatever it had.
    Absolute(u32),
    /// One action after the other.
    Symbolic(Vec<Action>),
}

/// `g-w`, `a=rX`, `o=g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// Of which classes: bits 0o700, 0o070, 0o007, and with them set-user-id, set-group-id, sticky.
    who: u32,
    operator: u8,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Bits for all classes, of which `who` takes its own; whether execution only of directories and programs.
    Bits { bits: u32, conditional: bool },
    /// What another class has: how far its bits are shifted.
    CopyOf(u32),
}

/// Of directories that are made on the way.
pub(super) const MADE: u32 = 0o755;
const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHERS: u32 = 0o1007;

impl Change {
    pub(super) fn parse(text: &str) -> Result<Self, CopyError> {
        let refused = || CopyError::Mode { mode: text.to_owned() };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Absolute).ok_or_else(refused);
        }
        let mut actions = Vec::new();
        for clause in text.split(',') {
            clause_actions(clause, &mut actions).ok_or_else(refused)?;
        }
        Ok(Self::Symbolic(actions))
    }

    /// The bits of a directory that is made for what is copied: 0755 unless all bits are said, and never more than that, as
    /// under the usual mask.
    pub(super) fn of_made(&self) -> u32 {
        match self {
            Self::Absolute(mode) => *mode & MADE,
            Self::Symbolic(_) => MADE,
        }
    }

    /// The bits of a file that had `mode`.
    pub(super) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Absolute(mode) => *mode,
            Self::Symbolic(actions) => {
                actions.iter().fold(mode, |mode, action| action.apply(mode, is_directory))
            }
        }
    }
}

fn clause_actions(clause: &str, actions: &mut Vec<Action>) -> Option<()> {
    let rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    let who = clause.bytes().take(clause.len() - rest.len()).fold(0, |who, class| {
        who | match class {
            b'u' => USER,
            b'g' => GROUP,
            b'o' => OTHERS,
            _ => USER | GROUP | OTHERS,
        }
    });
    let who = if who == 0 { USER | GROUP | OTHERS } else { who };
    let mut rest = rest;
    loop {
        let operator = *rest.as_bytes().first().filter(|byte| b"+-=".contains(byte))?;
        rest = rest.get(1..)?;
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let (what, next) = rest.split_at(end);
        actions.push(Action { who, operator, what: parse_what(what)? });
        if next.is_empty() {
            return Some(());
        }
        rest = next;
    }
}

fn parse_what(text: &str) -> Option<What> {
    match text {
        "u" => return Some(What::CopyOf(6)),
        "g" => return Some(What::CopyOf(3)),
        "o" => return Some(What::CopyOf(0)),
        _ => {}
    }
    let (mut bits, mut conditional) = (0, false);
    for letter in text.bytes() {
        bits |= match letter {
            b'r' => 0o444,
            b'w' => 0o222,
            b'x' => 0o111,
            b'X' => {
                conditional = true;
                0
            }
            b's' => 0o6000,
            b't' => 0o1000,
            _ => return None,
        };
    }
    Some(What::Bits { bits, conditional })
}

impl Action {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let bits = match self.what {
            What::Bits { bits, conditional } if conditional && (is_directory || mode & 0o111 != 0) => {
                bits | 0o111
            }
            What::Bits { bits, .. } => bits,
            What::CopyOf(shift) => {
                let class = mode >> shift & 0o7;
                class << 6 | class << 3 | class
            }
        };
        // The sticky bit is everybody's, whoever is named.
        let mask = if bits & 0o1000 != 0 { self.who | 0o1000 } else { self.who };
        let bits = bits & mask;
        match self.operator {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Change;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (text, before, is_directory, after) in [
            ("644", 0o755, false, 0o644),
            ("0", 0o755, false, 0),
            ("07777", 0, false, 0o7777),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("go=", 0o777, false, 0o700),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("a-w", 0o777, false, 0o555),
            ("g=u", 0o640, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
            ("g+s,o+t", 0o755, true, 0o3755),
            ("u+x-w", 0o600, false, 0o500),
            ("o=g", 0o750, false, 0o755),
            ("a=r", 0o7777, false, 0o444),
        ] {
            assert_eq!(
                Change::parse(text).unwrap().apply(before, is_directory),
                after,
                "{text} of {before:o}"
            );
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "u", "8", "10000", "u~x", "u+q", ",", "u+x,", "99999999999999"] {
            let error = Change::parse(text).unwrap_err();
            assert!(error.to_string().starts_with("invalid chmod parameter"), "{text}: {error}");
        }
    }
}
