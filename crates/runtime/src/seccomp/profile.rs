//! What a profile says, parsed: every word in it is known.
//!
//! Two forms are read: `linux.seccomp` of the OCI runtime specification, and Docker's profile files, which add a
//! map of architectures and conditions (`includes`, `excludes`) on capabilities, architecture and kernel version.

use std::borrow::Cow;

use oci::runtime as spec;
use serde::{Deserialize, Serialize};

use super::ProfileError;
use super::arch::Abi;

/// `EPERM`, the errno of a refusal that names none.
const EPERM: u16 = 1;
/// The kernel cuts larger numbers off (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

/// A filter's rules, before they are compiled for one machine and one set of capabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// For a call that no rule matches.
    pub default_action: Action,
    /// Which calling conventions the rules hold for, besides the machine's own.
    pub architectures: Architectures,
    /// In the order of the document.
    pub rules: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Receives the notification descriptor.
    pub listener: Option<crate::plan::SeccompListener>,
}

/// Calling conventions named by a profile. All others are killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architectures {
    /// These.
    Listed(Vec<Abi>),
    /// Those beside the machine's own (`archMap`).
    ByNative(Vec<(Abi, Vec<Abi>)>),
}

/// What happens to some calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Names of system calls; those that no architecture has are passed over.
    pub names: Vec<Cow<'static, str>>,
    /// What happens.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The rule is there only if all of this is so.
    pub includes: Requirements,
    /// The rule is not there if any of this is so.
    pub excludes: Requirements,
}

/// What a rule's presence depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// Capability numbers; a name nobody knows is never held and stands as `u8::MAX`.
    pub capabilities: Vec<u8>,
    /// Docker's names of the machine's architecture (`amd64`).
    pub architectures: Vec<Cow<'static, str>>,
    /// At least this version of the kernel.
    pub kernel: Option<(u32, u32)>,
}

/// `argument & mask <op> value`, unsigned, 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// 0 to 5.
    pub index: u8,
    /// The kernel looks at the lower half alone where an argument is an `int`.
    pub mask: u64,
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// What the kernel does with a call, strictest first (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Kills the whole process.
    KillProcess,
    /// Kills the calling thread.
    KillThread,
    /// Sends `SIGSYS`.
    Trap,
    /// Fails with this errno.
    Errno(u16),
    /// Asks whoever holds the notification descriptor.
    Notify,
    /// Tells a tracer this number.
    Trace(u16),
    /// Logs and allows.
    Log,
    /// Allows.
    Allow,
}

impl Action {
    /// Higher is stricter: the kernel's own order where several filters disagree.
    pub(super) fn strictness(self) -> u8 {
        match self {
            Self::KillProcess => 7,
            Self::KillThread => 6,
            Self::Trap => 5,
            Self::Errno(_) => 4,
            Self::Notify => 3,
            Self::Trace(_) => 2,
            Self::Log => 1,
            Self::Allow => 0,
        }
    }

    /// `SECCOMP_RET_*` with its data.
    pub(super) fn verdict(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::Notify => 0x7FC0_0000,
            Self::Trace(data) => 0x7FF0_0000 | u32::from(data),
            Self::Log => 0x7FFC_0000,
            Self::Allow => 0x7FFF_0000,
        }
    }

    fn parse(name: &str, errno: Option<u32>) -> Result<Self, ProfileError> {
        let number = match errno {
            None => None,
            Some(value) if value <= MAX_ERRNO => u16::try_from(value).ok(),
            Some(value) => return Err(ProfileError::Errno { value }),
        };
        let action = match name {
            "SCMP_ACT_ERRNO" => return Ok(Self::Errno(number.unwrap_or(EPERM))),
            "SCMP_ACT_TRACE" => return Ok(Self::Trace(number.unwrap_or(EPERM))),
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_NOTIFY" => Self::Notify,
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_ALLOW" => Self::Allow,
            _ => return Err(ProfileError::Action { name: name.to_owned() }),
        };
        match number {
            None | Some(0) => Ok(action),
            Some(_) => Err(ProfileError::ErrnoNotTaken { action: name.to_owned() }),
        }
    }
}

impl Profile {
    /// Reads the `linux.seccomp` section of a bundle.
    ///
    /// # Errors
    /// A word in it that is not known.
    pub fn from_spec(document: &spec::Seccomp) -> Result<Self, ProfileError> {
        let rules = document.syscalls.iter().map(|rule| {
            Ok(Rule {
                names: rule.names.iter().cloned().map(Cow::Owned).collect(),
                action: Action::parse(&rule.action, rule.errno_ret)?,
                conditions: conditions(&rule.args)?,
                includes: Requirements::default(),
                excludes: Requirements::default(),
            })
        });
        Ok(Self {
            default_action: Action::parse(&document.default_action, document.default_errno_ret)?,
            architectures: Architectures::Listed(architectures(&document.architectures)?),
            rules: rules.collect::<Result<_, ProfileError>>()?,
            flags: flags(&document.flags)?,
            listener: listener(&document.listener_path, &document.listener_metadata),
        })
    }

    /// Reads a profile file, as `--security-opt seccomp=FILE` names one: Docker's form, of which the
    /// specification's is a part.
    ///
    /// # Errors
    /// What is wrong with the text, or a word in it that is not known.
    pub fn parse(text: &[u8]) -> Result<Self, ProfileError> {
        let document: Document =
            serde_json::from_slice(text).map_err(|source| ProfileError::Json { source })?;
        let listed = document.architectures.unwrap_or_default();
        let mapped = document.arch_map.unwrap_or_default();
        let architectures = match (listed.is_empty(), mapped.is_empty()) {
            (false, false) => return Err(ProfileError::BothArchitectures),
            (_, true) => Architectures::Listed(architectures(&listed)?),
            (true, false) => Architectures::ByNative(arch_map(&mapped)?),
        };
        let rules = document.syscalls.unwrap_or_default().into_iter().map(DocumentRule::parse);
        Ok(Self {
            default_action: Action::parse(&document.default_action, document.default_errno_ret)?,
            architectures,
            rules: rules.collect::<Result<_, _>>()?,
            flags: flags(&document.flags.unwrap_or_default())?,
            listener: listener(
                &document.listener_path.unwrap_or_default(),
                &document.listener_metadata.unwrap_or_default(),
            ),
        })
    }
}

/// Docker's profile file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMapEntry>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<DocumentRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMapEntry {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentRule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<spec::SeccompArg>>,
    includes: Option<DocumentRequirements>,
    excludes: Option<DocumentRequirements>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DocumentRequirements {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl DocumentRule {
    fn parse(self) -> Result<Rule, ProfileError> {
        let mut names = self.names.unwrap_or_default();
        match self.name {
            Some(name) if !name.is_empty() && !names.is_empty() => {
                return Err(ProfileError::BothNames { name });
            }
            Some(name) if !name.is_empty() => names.push(name),
            Some(_) | None => {}
        }
        Ok(Rule {
            names: names.into_iter().map(Cow::Owned).collect(),
            action: Action::parse(&self.action, self.errno_ret)?,
            conditions: conditions(&self.args.unwrap_or_default())?,
            includes: self.includes.unwrap_or_default().parse()?,
            excludes: self.excludes.unwrap_or_default().parse()?,
        })
    }
}

impl DocumentRequirements {
    fn parse(self) -> Result<Requirements, ProfileError> {
        let capabilities = self.caps.unwrap_or_default();
        let kernel = match self.min_kernel {
            None => None,
            Some(version) => Some(kernel_version(&version).ok_or(ProfileError::KernelVersion { version })?),
        };
        Ok(Requirements {
            capabilities: capabilities.iter().map(|name| spec::capability(name).unwrap_or(u8::MAX)).collect(),
            architectures: self.arches.unwrap_or_default().into_iter().map(Cow::Owned).collect(),
            kernel,
        })
    }
}

/// Major and minor number of a kernel release, as `6.1.0-13-amd64` or `4.8`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

fn conditions(args: &[spec::SeccompArg]) -> Result<Vec<Condition>, ProfileError> {
    args.iter().map(condition).collect()
}

fn condition(arg: &spec::SeccompArg) -> Result<Condition, ProfileError> {
    let index = match u8::try_from(arg.index) {
        Ok(index) if index < 6 => index,
        _ => return Err(ProfileError::ArgumentIndex { index: arg.index }),
    };
    let plain = |operator| Condition { index, mask: u64::MAX, operator, value: arg.value };
    Ok(match arg.op.as_str() {
        "SCMP_CMP_NE" => plain(Operator::NotEqual),
        "SCMP_CMP_LT" => plain(Operator::Less),
        "SCMP_CMP_LE" => plain(Operator::LessOrEqual),
        "SCMP_CMP_EQ" => plain(Operator::Equal),
        "SCMP_CMP_GE" => plain(Operator::GreaterOrEqual),
        "SCMP_CMP_GT" => plain(Operator::Greater),
        // Here `value` is the mask and `valueTwo` what to compare with.
        "SCMP_CMP_MASKED_EQ" => {
            Condition { index, mask: arg.value, operator: Operator::Equal, value: arg.value_two & arg.value }
        }
        _ => return Err(ProfileError::Operator { name: arg.op.clone() }),
    })
}

fn architectures(names: &[String]) -> Result<Vec<Abi>, ProfileError> {
    let mut known = Vec::new();
    for name in names {
        match Abi::parse(name) {
            None => return Err(ProfileError::Architecture { name: name.clone() }),
            Some(None) => {}
            Some(Some(abi)) => known.push(abi),
        }
    }
    Ok(known)
}

fn arch_map(entries: &[ArchMapEntry]) -> Result<Vec<(Abi, Vec<Abi>)>, ProfileError> {
    let mut known = Vec::new();
    for entry in entries {
        let beside = architectures(entry.sub_architectures.as_deref().unwrap_or_default())?;
        for native in architectures(std::slice::from_ref(&entry.architecture))? {
            known.push((native, beside.clone()));
        }
    }
    Ok(known)
}

/// `SECCOMP_FILTER_FLAG_*`: names and bits.
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 2),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 32),
];

/// The actions a profile may name.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The comparisons a profile may name.
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

fn flags(names: &[String]) -> Result<u32, ProfileError> {
    let mut bits = 0;
    for name in names {
        match FLAGS.iter().find(|(known, _)| known == name) {
            // A filter is installed by a process of one thread: there is nothing to synchronise, and the kernel
            // refuses the flag together with a listener.
            Some((_, 1)) => {}
            Some((_, bit)) => bits |= bit,
            None => return Err(ProfileError::Flag { name: name.clone() }),
        }
    }
    Ok(bits)
}

fn listener(path: &str, metadata: &str) -> Option<crate::plan::SeccompListener> {
    (!path.is_empty())
        .then(|| crate::plan::SeccompListener { path: path.into(), metadata: metadata.to_owned() })
}
