//! Programs for other machines. The kernel has them run by an emulator that is registered for them (binfmt_misc), in containers too if
//! it was registered with the flag `F`; without one a program cannot be started. Here is found out whether that is why.

use dockerfile::lower::RunOp;
use oci::Platform;
use rustix::io::Errno;

use super::error::RunError;
use crate::build::session::Session;
use crate::build::tree::Tree;

/// Bytes that are looked at of a program: as many as the kernel looks at (`BINPRM_BUF_SIZE`).
const START: u64 = 256;
/// How often a script is followed to its interpreter.
const SCRIPTS: usize = 3;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program could not be started, where that is that nobody here runs its kind.
pub(super) fn missing(
    session: &Session<'_>,
    op: &RunOp,
    base: &Tree,
    source: &monitor::Error,
) -> Option<RunError> {
    let monitor::Error::Launch(failure) = source else { return None };
    let errno = failure.errno.map(Errno::from_raw_os_error)?;
    // Not found is what the kernel says of an emulator that it looks for in the container.
    let is_found = match errno {
        Errno::NOEXEC => false,
        Errno::NOENT => true,
        _ => return None,
    };
    let machine = machine_of(session, op, base)?;
    let host = Platform::host().architecture;
    (machine != host).then(|| match is_found {
        false => RunError::NoEmulator { words: super::words(op), machine, host },
        true => RunError::EmulatorOutside { words: super::words(op), machine },
    })
}

/// The machine that a step's program is for; none where that cannot be told.
fn machine_of(session: &Session<'_>, op: &RunOp, base: &Tree) -> Option<&'static str> {
    let view = session.view(base).ok()?;
    let mut program = op.args.first()?.clone();
    for _ in 0..SCRIPTS {
        let content =
            candidates(op, &program).find_map(|path| view.read_start(&path, START).ok().flatten())?;
        let Some(script) = content.strip_prefix(b"#!") else { return machine(&content) };
        let line = script.split(|byte| *byte == b'\n').next()?;
        program = String::from_utf8_lossy(line).split_whitespace().next()?.to_owned();
    }
    None
}

/// Where a program may lie, by its name.
fn candidates<'o>(op: &'o RunOp, program: &'o str) -> Box<dyn Iterator<Item = String> + 'o> {
    if program.starts_with('/') {
        return Box::new(std::iter::once(program.to_owned()));
    }
    if program.contains('/') {
        return Box::new(std::iter::once(format!("{}/{program}", op.cwd)));
    }
    let path = op.env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(PATH);
    Box::new(path.split(':').map(move |folder| format!("{folder}/{program}")))
}

/// The machine of an ELF file, in the words of platforms.
fn machine(content: &[u8]) -> Option<&'static str> {
    let bytes: [u8; 2] = content.get(18..20)?.try_into().ok()?;
    let (is_long, is_big) = match content.get(..6)? {
        [0x7f, b'E', b'L', b'F', class @ (1 | 2), data @ (1 | 2)] => (*class == 2, *data == 2),
        _ => return None,
    };
    let number = if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    Some(match (number, is_long, is_big) {
        (3 | 6, ..) => "386",
        (62, ..) => "amd64",
        (40, ..) => "arm",
        (183, ..) => "arm64",
        (243, true, _) => "riscv64",
        (22, true, _) => "s390x",
        (21, _, false) => "ppc64le",
        (21, _, true) => "ppc64",
        (8, true, false) => "mips64le",
        (8, true, true) => "mips64",
        (8, false, false) => "mipsle",
        (8, false, true) => "mips",
        (258, true, _) => "loong64",
        _ => "another machine",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_the_names_of_platforms() {
        let elf = |class: u8, data: u8, number: u16| {
            let mut bytes = vec![0x7f, b'E', b'L', b'F', class, data];
            bytes.resize(18, 0);
            bytes.extend(if data == 2 { number.to_be_bytes() } else { number.to_le_bytes() });
            bytes
        };
        for (class, data, number, want) in [
            (2, 1, 62, Some("amd64")),
            (2, 1, 183, Some("arm64")),
            (2, 2, 22, Some("s390x")),
            (2, 1, 21, Some("ppc64le")),
            (1, 1, 40, Some("arm")),
            (2, 1, 9999, Some("another machine")),
            (3, 1, 62, None),
        ] {
            assert_eq!(machine(&elf(class, data, number)), want);
        }
        assert_eq!((machine(b"#!/bin/sh"), machine(b"")), (None, None));
    }
}
