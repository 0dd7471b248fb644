//! What a profile decides for every system call number, on one machine, for one set of capabilities.
//!
//! Where several rules match one call the strictest action wins, whatever their order, as it does between several
//! filters of one process; rules that do what happens anyway (the default action) have no say. A call newer than
//! every call that the profile names fails with `ENOSYS` where the default would refuse it: programs then fall back
//! to the older call instead of giving up, and so do they under runc.

use super::arch::{Abi, Numbers, X32_BIT};
use super::profile::{Action, Architectures, Condition, Operator, Profile, Requirements, Rule};
use super::{Context, ProfileError};

/// `ENOSYS`.
const ENOSYS: u16 = 38;
/// What a debugger or a tracer puts in to skip a call; it means no call at all.
const SKIPPED: u32 = u32::MAX;

/// What happens to one call: the first case whose conditions all hold, else `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decision {
    pub(super) cases: Vec<(Vec<Condition>, Action)>,
    pub(super) otherwise: Action,
}

impl Decision {
    fn always(action: Action) -> Self {
        Self { cases: Vec::new(), otherwise: action }
    }
}

/// Decisions for all call numbers of one audit architecture: each range goes from its start to the next one's.
pub(super) struct Section {
    pub(super) audit: u32,
    pub(super) ranges: Vec<(u32, Decision)>,
}

/// One section for each audit architecture that the machine serves and the profile names.
pub(super) fn sections(profile: &Profile, context: &Context) -> Result<Vec<Section>, ProfileError> {
    let rules: Vec<&Rule> = profile.rules.iter().filter(|rule| applies(rule, context)).collect();
    check_notify(profile, &rules)?;
    let abis = chosen(&profile.architectures, context.arch);
    let mut sections: Vec<Section> = Vec::new();
    for abi in &abis {
        let audit = abi.audit();
        if sections.iter().any(|section| section.audit == audit) {
            continue;
        }
        // x86_64 and x32 share a section, x32 in the upper half of the numbers.
        let mut ranges = match audit == Abi::X86_64.audit() {
            true => {
                let mut ranges = half(profile, &rules, &abis, Abi::X86_64, 0);
                ranges.extend(half(profile, &rules, &abis, Abi::X32, X32_BIT));
                ranges
            }
            false => decisions(profile, &rules, *abi, 0),
        };
        ranges.push((SKIPPED, Decision::always(profile.default_action)));
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        sections.push(Section { audit, ranges });
    }
    Ok(sections)
}

fn half(profile: &Profile, rules: &[&Rule], abis: &[Abi], abi: Abi, start: u32) -> Vec<(u32, Decision)> {
    match abis.contains(&abi) {
        true => decisions(profile, rules, abi, start),
        false => vec![(start, Decision::always(super::FOREIGN))],
    }
}

/// Whether `rule` is there under these circumstances.
fn applies(rule: &Rule, context: &Context) -> bool {
    let holds = |number: &u8| context.capabilities.checked_shr(u32::from(*number)).unwrap_or(0) & 1 == 1;
    let is_here = |name: &std::borrow::Cow<'static, str>| name == context.arch.docker_name();
    let Requirements { capabilities, architectures, kernel } = &rule.includes;
    let included = capabilities.iter().all(holds)
        && (architectures.is_empty() || architectures.iter().any(is_here))
        && kernel.is_none_or(|version| context.kernel >= version);
    let Requirements { capabilities, architectures, kernel } = &rule.excludes;
    let excluded = capabilities.iter().any(holds)
        || architectures.iter().any(is_here)
        || kernel.is_some_and(|version| context.kernel >= version);
    included && !excluded
}

/// The native convention, and those of the machine's others that the profile names.
fn chosen(architectures: &Architectures, native: Abi) -> Vec<Abi> {
    let named: &[Abi] = match architectures {
        Architectures::Listed(listed) => listed,
        Architectures::ByNative(map) => {
            map.iter().find(|(machine, _)| *machine == native).map_or(&[], |(_, beside)| beside)
        }
    };
    native.family().iter().copied().filter(|abi| *abi == native || named.contains(abi)).collect()
}

fn check_notify(profile: &Profile, rules: &[&Rule]) -> Result<(), ProfileError> {
    if profile.default_action == Action::Notify {
        return Err(ProfileError::NotifyDefault);
    }
    let notifying = || rules.iter().filter(|rule| rule.action == Action::Notify);
    // The runtime itself has to write before the listener can answer.
    if notifying().any(|rule| rule.names.iter().any(|name| name == "write")) {
        return Err(ProfileError::NotifyWrite);
    }
    if profile.listener.is_none() && notifying().next().is_some() {
        return Err(ProfileError::NotifyWithoutListener);
    }
    Ok(())
}

fn decisions(profile: &Profile, rules: &[&Rule], abi: Abi, start: u32) -> Vec<(u32, Decision)> {
    let (mut bearings, newest) = bearings(profile, rules, abi);
    bearings.sort_by_key(|bearing| bearing.number);
    let default = Decision::always(profile.default_action);
    let mut ranges: Vec<(u32, Decision)> = vec![(start, default.clone())];
    for same in bearings.chunk_by(|a, b| a.number == b.number) {
        let Some(number) = same.first().map(|bearing| bearing.number) else { continue };
        let decision = decide(same, profile.default_action);
        // The range before ends where this call begins; an empty one goes, an equal one grows.
        if ranges.last().is_some_and(|(begin, _)| *begin == number) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((number, decision));
        }
        ranges.push((number + 1, default.clone()));
    }
    if let Some(newest) = newest.filter(|_| refuses(profile.default_action)) {
        unknown(newest + 1, private_from(abi), &default, &mut ranges);
    }
    ranges
}

/// Turns refusals from `first` on into `ENOSYS`, up to the numbers that an architecture keeps to itself.
fn unknown(first: u32, end: u32, default: &Decision, ranges: &mut Vec<(u32, Decision)>) {
    for edge in [first, end] {
        let position = ranges.partition_point(|(begin, _)| *begin < edge);
        if ranges.get(position).is_none_or(|(begin, _)| *begin != edge)
            && let Some((_, around)) = position.checked_sub(1).and_then(|before| ranges.get(before).cloned())
        {
            ranges.insert(position, (edge, around));
        }
    }
    let unknown = |begin: u32| (first..end).contains(&begin);
    for (_, decision) in ranges.iter_mut().filter(|(begin, decision)| unknown(*begin) && decision == default)
    {
        *decision = Decision::always(Action::Errno(ENOSYS));
    }
}

/// Where the numbers begin that an architecture keeps to itself, above those that all architectures count alike.
fn private_from(abi: Abi) -> u32 {
    match abi {
        Abi::X32 => X32_BIT + 512,
        Abi::Arm => 0xF_0000,
        Abi::X86_64 => X32_BIT,
        Abi::X86 | Abi::Aarch64 => SKIPPED,
    }
}

/// One rule's bearing on one call number.
struct Bearing {
    number: u32,
    conditions: Vec<Condition>,
    action: Action,
}

/// All rules by number, and the highest number that the profile names.
fn bearings(profile: &Profile, rules: &[&Rule], abi: Abi) -> (Vec<Bearing>, Option<u32>) {
    let mut bearings = Vec::new();
    let mut newest = None;
    let names = |wanted: &str| rules.iter().any(|rule| rule.names.iter().any(|name| name == wanted));
    let socketcall = abi.is_multiplexed() && !names("socketcall");
    let ipc = abi.is_multiplexed() && !names("ipc");
    for rule in rules {
        for name in &rule.names {
            if let Some(number) = Numbers::of(name).and_then(|numbers| numbers.on(abi)) {
                if number < private_from(abi) {
                    newest = newest.max(Some(number));
                }
                if rule.action != profile.default_action {
                    bearings.push(Bearing {
                        number,
                        conditions: rule.conditions.clone(),
                        action: rule.action,
                    });
                }
            }
            if let Some((number, condition)) = multiplexed(name, socketcall, ipc) {
                // Who names a call names the number by which it is made, too.
                newest = newest.max(Some(number));
                if bears_on_all(rule, profile.default_action) {
                    bearings.push(Bearing { number, conditions: vec![condition], action: rule.action });
                }
            }
        }
    }
    (bearings, newest)
}

/// The number of `socketcall` or `ipc`, where a profile does not name these itself, and how the call of this name is told
/// there from others.
fn multiplexed(name: &str, socketcall: bool, ipc: bool) -> Option<(u32, Condition)> {
    let position = |table: &[&str]| table.iter().position(|known| *known == name && !known.is_empty());
    let (entry, mask, call) = match (position(&SOCKETCALLS), position(&IPC_CALLS)) {
        (Some(call), _) if socketcall => ("socketcall", 0xFFFF_FFFF, call),
        // The upper half of the call number is a version.
        (_, Some(call)) if ipc => ("ipc", 0xFFFF, call),
        _ => return None,
    };
    let value = u64::try_from(call).ok()?;
    let number = Numbers::of(entry)?.on(Abi::X86)?;
    Some((number, Condition { index: 0, mask, operator: Operator::Equal, value }))
}

/// Whether a rule has a say where its conditions cannot be checked, since the arguments lie in memory: one that has some
/// then holds for every call of its kind if it is stricter than the default, and for none if it is laxer.
fn bears_on_all(rule: &Rule, default: Action) -> bool {
    let laxer = rule.action.strictness() < default.strictness();
    rule.action != default && (!laxer || rule.conditions.is_empty())
}

/// By number of `socketcall`.
const SOCKETCALLS: [&str; 21] = [
    "",
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// By number of `ipc`.
const IPC_CALLS: [&str; 25] = [
    "",
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "",
    "",
    "",
    "",
    "",
    "",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "",
    "",
    "",
    "",
    "",
    "",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

fn decide(bearings: &[Bearing], default: Action) -> Decision {
    let mut strictest: Vec<&Bearing> = bearings.iter().collect();
    // Stable: of equally strict ones the first in the document counts.
    strictest.sort_by_key(|bearing| std::cmp::Reverse(bearing.action.strictness()));
    let mut cases = Vec::new();
    for bearing in strictest {
        if bearing.conditions.is_empty() {
            return Decision { cases, otherwise: bearing.action };
        }
        cases.push((bearing.conditions.clone(), bearing.action));
    }
    Decision { cases, otherwise: default }
}

/// Whether a default action keeps calls from happening.
fn refuses(action: Action) -> bool {
    match action {
        Action::KillProcess | Action::KillThread | Action::Trap => true,
        Action::Errno(errno) => errno != ENOSYS,
        Action::Notify | Action::Trace(_) | Action::Log | Action::Allow => false,
    }
}
