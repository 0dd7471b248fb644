//! Architectures as a filter sees them.

use serde::{Deserialize, Serialize};

use super::syscalls::SYSCALLS;

/// Marks the number of an x32 call; x32 shares its audit number with x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// One calling convention of system calls. A kernel serves its native one and some older ones besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the architectures")]
pub enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// Names that a profile may use for architectures of other machines: known, and of no consequence here.
const ELSEWHERE: [&str; 18] = [
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
];

impl Abi {
    /// All of them, in the order of the columns of the table of system calls.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The convention that this program itself uses.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// By the specification's name, as `SCMP_ARCH_X86_64`.
    ///
    /// `Some(None)` is an architecture of other machines.
    pub(super) fn parse(name: &str) -> Option<Option<Self>> {
        let bare = name.strip_prefix("SCMP_ARCH_")?;
        match bare {
            "X86_64" => Some(Some(Self::X86_64)),
            "X86" => Some(Some(Self::X86)),
            "X32" => Some(Some(Self::X32)),
            "AARCH64" => Some(Some(Self::Aarch64)),
            "ARM" => Some(Some(Self::Arm)),
            _ => ELSEWHERE.contains(&bare).then_some(None),
        }
    }

    /// The specification's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// The name that `includes.arches` of Docker's profile files uses.
    pub(super) fn docker_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// Every convention that a kernel of this native one may serve, itself first.
    pub(super) fn family(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86_64, Self::X32, Self::X86],
            Self::X86 => &[Self::X86],
            Self::X32 => &[Self::X32],
            Self::Aarch64 => &[Self::Aarch64, Self::Arm],
            Self::Arm => &[Self::Arm],
        }
    }

    /// `AUDIT_ARCH_*`, which `seccomp_data.arch` holds.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether socket and System V calls may also go through `socketcall` and `ipc`, whose arguments lie in memory.
    pub(super) fn is_multiplexed(self) -> bool {
        self == Self::X86
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }
}

/// Numbers of one system call on every architecture.
#[derive(Clone, Copy)]
pub(super) struct Numbers([i32; 5]);

impl Numbers {
    /// By name; `None` where no architecture has such a call.
    pub(super) fn of(name: &str) -> Option<Self> {
        let index = SYSCALLS.binary_search_by_key(&name, |(known, _)| known).ok()?;
        SYSCALLS.get(index).map(|(_, numbers)| Self(*numbers))
    }

    /// The number in `seccomp_data.nr`, with the marker of x32.
    pub(super) fn on(self, abi: Abi) -> Option<u32> {
        let number = u32::try_from(*self.0.get(abi.column())?).ok()?;
        Some(if abi == Abi::X32 { number | X32_BIT } else { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_binary_search() {
        assert!(SYSCALLS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn no_number_stands_for_two_calls() {
        for abi in Abi::ALL {
            let mut numbers: Vec<u32> =
                SYSCALLS.iter().filter_map(|(name, _)| Numbers::of(name)?.on(abi)).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            // `sync_file_range2` of ARM has two names.
            assert_eq!(numbers.len() + usize::from(abi == Abi::Arm), count, "{abi:?}");
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        let on = |name, abi| Numbers::of(name).unwrap().on(abi);
        assert_eq!(on("read", Abi::X86_64), Some(0));
        assert_eq!(on("execve", Abi::X32), Some(520 | X32_BIT));
        assert_eq!(on("socketcall", Abi::X86), Some(102));
        assert_eq!(on("socketcall", Abi::X86_64), None);
        assert_eq!(on("openat", Abi::Aarch64), Some(56));
        assert_eq!(on("set_tls", Abi::Arm), Some(0xF_0005));
        assert!(Numbers::of("no_such_call").is_none());
    }
}
