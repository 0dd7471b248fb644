//! Compiled programs against a naive reading of the same profile, by an interpreter of classic BPF.

use proptest::prelude::*;

use super::arch::{Numbers, X32_BIT};
use super::syscalls::SYSCALLS;
use super::*;

const KILL_PROCESS: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7FFF_0000;
const ERRNO: u32 = 0x0005_0000;

const HOST: Context = Context { arch: Abi::X86_64, capabilities: 0, kernel: (6, 1) };

fn with(capabilities: &[&str]) -> Context {
    let bits = capabilities.iter().map(|name| 1 << oci::runtime::capability(name).unwrap()).sum();
    Context { capabilities: bits, ..HOST }
}

/// Runs a program as the kernel does (bpf(4), seccomp(2)); a jump out of it panics.
fn run(program: &[u8], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0u32; 16];
    data[0] = number;
    data[1] = arch;
    for (index, argument) in arguments.into_iter().enumerate() {
        data[4 + 2 * index] = (argument & 0xFFFF_FFFF) as u32;
        data[5 + 2 * index] = (argument >> 32) as u32;
    }
    let (mut counter, mut accumulator) = (0usize, 0u32);
    loop {
        let instruction = &program[counter * 8..counter * 8 + 8];
        let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let k = u32::from_ne_bytes(instruction[4..8].try_into().unwrap());
        counter += 1;
        let mut jump = |holds: bool| counter += usize::from(instruction[if holds { 2 } else { 3 }]);
        match code {
            0x20 => accumulator = data[k as usize / 4],
            0x54 => accumulator &= k,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x05 => counter += k as usize,
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// What the head of `rules` promises, rule by rule.
fn naive(profile: &Profile, context: &Context, abi: Abi, number: u32, arguments: [u64; 6]) -> u32 {
    let listed = match &profile.architectures {
        Architectures::Listed(listed) => listed.clone(),
        Architectures::ByNative(map) => map.iter().find(|(at, _)| *at == context.arch).unwrap().1.clone(),
    };
    if abi != context.arch && !listed.contains(&abi) {
        return KILL_PROCESS;
    }
    let holds = |number: &u8| *number < 64 && context.capabilities >> number & 1 == 1;
    let here = |rule: &&Rule| {
        rule.includes.capabilities.iter().all(holds)
            && !rule.excludes.capabilities.iter().any(holds)
            && (rule.includes.architectures.is_empty()
                || rule.includes.architectures.iter().any(|name| name == context.arch.docker_name()))
            && !rule.excludes.architectures.iter().any(|name| name == context.arch.docker_name())
            && rule.includes.kernel.is_none_or(|version| context.kernel >= version)
            && rule.excludes.kernel.is_none_or(|version| context.kernel < version)
    };
    let rules: Vec<&Rule> = profile.rules.iter().filter(here).collect();
    let number_of = |name: &str| Numbers::of(name).and_then(|numbers| numbers.on(abi));
    let named = |name: &str| rules.iter().any(|rule| rule.names.iter().any(|known| known == name));
    // Which names this call goes by, and whether its arguments can be seen.
    let mut names: Vec<(&str, bool)> = SYSCALLS
        .iter()
        .filter(|(name, _)| number_of(name) == Some(number))
        .map(|(name, _)| (*name, true))
        .collect();
    if abi == Abi::X86 && number == 102 && !named("socketcall") {
        let calls = ["", "socket", "bind", "connect", "listen"];
        names.extend(calls.get((arguments[0] & 0xFFFF_FFFF) as usize).map(|name| (*name, false)));
    }
    if abi == Abi::X86 && number == 117 && !named("ipc") {
        let calls = ["", "semop", "semget"];
        names.extend(calls.get((arguments[0] & 0xFFFF) as usize).map(|name| (*name, false)));
    }
    let holds = |condition: &Condition| {
        let value = arguments[usize::from(condition.index)] & condition.mask;
        match condition.operator {
            Operator::NotEqual => value != condition.value,
            Operator::Less => value < condition.value,
            Operator::LessOrEqual => value <= condition.value,
            Operator::Equal => value == condition.value,
            Operator::GreaterOrEqual => value >= condition.value,
            Operator::Greater => value > condition.value,
        }
    };
    let mut best: Option<Action> = None;
    for rule in &rules {
        for (name, visible) in &names {
            let matches = rule.action != profile.default_action
                && rule.names.iter().any(|known| known == name)
                && match visible {
                    true => rule.conditions.iter().all(holds),
                    false => {
                        rule.conditions.is_empty()
                            || rule.action.strictness() >= profile.default_action.strictness()
                    }
                };
            if matches && best.is_none_or(|action| rule.action.strictness() > action.strictness()) {
                best = Some(rule.action);
            }
        }
    }
    if let Some(action) = best {
        return action.verdict();
    }
    let private = |number: u32| match abi {
        Abi::Arm => number >= 0xF_0000,
        Abi::X32 => number >= X32_BIT + 512,
        Abi::X86_64 | Abi::X86 | Abi::Aarch64 => false,
    };
    // A call that is made through another one counts as that one.
    let through = |name: &str| match name {
        _ if abi != Abi::X86 => None,
        "socket" | "bind" | "connect" | "listen" if !named("socketcall") => Some(102),
        "semop" | "semget" if !named("ipc") => Some(117),
        _ => None,
    };
    let newest = rules
        .iter()
        .flat_map(|rule| &rule.names)
        .flat_map(|name| [number_of(name), through(name)])
        .flatten()
        .filter(|n| !private(*n))
        .max();
    let refuses = matches!(
        profile.default_action,
        Action::KillProcess | Action::KillThread | Action::Trap | Action::Errno(_)
    );
    match newest {
        Some(newest)
            if refuses
                && number > newest
                && !private(number)
                && profile.default_action != Action::Errno(38) =>
        {
            ERRNO | 38
        }
        _ => profile.default_action.verdict(),
    }
}

/// Every number that means something, and the edges around them.
fn numbers(abi: Abi) -> impl Iterator<Item = u32> {
    let base = if abi == Abi::X32 { X32_BIT } else { 0 };
    let private = if abi == Abi::Arm { 0xF_0000..0xF_0008 } else { 0..0 };
    (0..700).chain(private).chain([4096, 0x3FFF_FFFF]).map(move |number| number | base)
}

fn agree(
    profile: &Profile,
    context: &Context,
    samples: &[[u64; 6]],
    number_wanted: impl Fn(Abi, u32) -> bool,
) {
    let program = compile(profile, context).unwrap();
    for abi in context.arch.family() {
        for number in numbers(*abi).filter(|number| number_wanted(*abi, *number)) {
            for arguments in samples {
                let expected = naive(profile, context, *abi, number, *arguments);
                let actual = run(&program, abi.audit(), number, *arguments);
                assert_eq!(actual, expected, "{abi:?} {number:#x} {arguments:x?}");
            }
        }
    }
}

#[test]
fn the_built_in_profile_decides_as_written() {
    let values =
        [0, 1, 2, 6, 8, 16, 33, 38, 40, 1 << 32 | 38, 0x7E02_0000, 0x0200_0000, 0xFFFF_FFFF, u64::MAX];
    let samples: Vec<[u64; 6]> =
        values.iter().flat_map(|a| [0, 6, 1 << 32 | 6].map(|c| [*a, 0, c, 0, 0, 0])).collect();
    let contexts = [
        HOST,
        with(&["SYS_ADMIN", "NET_ADMIN"]),
        with(&["SYS_PTRACE", "SYS_CHROOT", "SYSLOG"]),
        Context { kernel: (4, 7), ..HOST },
        Context { arch: Abi::Aarch64, ..HOST },
    ];
    let conditional = ["socket", "socketpair", "socketcall", "ipc", "clone", "clone3", "personality"];
    let looks = |abi, number| {
        conditional.iter().any(|name| Numbers::of(name).and_then(|numbers| numbers.on(abi)) == Some(number))
    };
    for context in contexts {
        agree(&Profile::builtin(), &context, &samples[..1], |_, _| true);
        agree(&Profile::builtin(), &context, &samples, looks);
    }
}

#[test]
fn foreign_architectures_are_killed() {
    let program = compile(&Profile::builtin(), &HOST).unwrap();
    assert_eq!(run(&program, Abi::Aarch64.audit(), 0, [0; 6]), KILL_PROCESS);
    let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_MIPS"]}"#;
    let program = compile(&Profile::parse(text).unwrap(), &HOST).unwrap();
    assert_eq!(run(&program, Abi::X86_64.audit(), 0, [0; 6]), ALLOW);
    assert_eq!(run(&program, Abi::X32.audit(), X32_BIT, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&program, Abi::X86.audit(), 3, [0; 6]), KILL_PROCESS);
    // A tracer's way to skip a call is no call of x32.
    assert_eq!(run(&program, Abi::X86_64.audit(), u32::MAX, [0; 6]), ALLOW);
}

/// Verdict of the built-in profile, in words.
fn builtin(context: &Context, abi: Abi, name: &str, arguments: [u64; 6]) -> String {
    let program = compile(&Profile::builtin(), context).unwrap();
    let number = Numbers::of(name).unwrap().on(abi).unwrap();
    match run(&program, abi.audit(), number, arguments) {
        ALLOW => "allow".into(),
        verdict if verdict & 0xFFFF_0000 == ERRNO => format!("errno {}", verdict & 0xFFFF),
        verdict => format!("{verdict:#x}"),
    }
}

#[test]
fn socket_families_are_filtered_on_every_entry_point() {
    let admin = with(&["NET_ADMIN"]);
    let table = [
        (&HOST, Abi::X86_64, "socket", [2, 0, 0], "allow"),
        (&HOST, Abi::X86_64, "socket", [38, 0, 0], "errno 1"),
        (&HOST, Abi::X86_64, "socket", [1 << 32 | 38, 0, 0], "errno 1"),
        (&HOST, Abi::X86_64, "socket", [33, 0, 0], "errno 1"),
        (&HOST, Abi::X86_64, "socket", [40, 0, 0], "errno 1"),
        (&HOST, Abi::X86_64, "socket", [16, 0, 0], "allow"),
        (&HOST, Abi::X86_64, "socket", [16, 0, 6], "errno 1"),
        (&HOST, Abi::X86_64, "socket", [16, 0, 1 << 32 | 6], "errno 1"),
        (&HOST, Abi::X32, "socket", [38, 0, 0], "errno 1"),
        (&HOST, Abi::X86, "socket", [38, 0, 0], "errno 1"),
        (&HOST, Abi::X86, "socket", [10, 0, 0], "allow"),
        (&HOST, Abi::X86, "socketcall", [1, 0, 0], "errno 38"),
        (&HOST, Abi::X86, "socketcall", [8, 0, 0], "errno 38"),
        (&HOST, Abi::X86, "socketcall", [3, 0, 0], "allow"),
        (&HOST, Abi::X86_64, "socketpair", [1, 1, 0], "allow"),
        (&HOST, Abi::X86_64, "socketpair", [38, 1, 0], "errno 1"),
        (&admin, Abi::X86_64, "socket", [16, 0, 6], "allow"),
        (&admin, Abi::X86_64, "socket", [15, 0, 0], "allow"),
        (&admin, Abi::X86_64, "socket", [38, 0, 0], "errno 1"),
        (&admin, Abi::X86_64, "socket", [33, 0, 0], "errno 1"),
    ];
    for (context, abi, name, [a, b, c], expected) in table {
        assert_eq!(
            builtin(context, abi, name, [a, b, c, 0, 0, 0]),
            expected,
            "{abi:?} {name}({a:#x}, {b}, {c:#x})"
        );
    }
}

#[test]
fn capabilities_widen_the_built_in_profile() {
    let table = [
        ("mount", &[][..], "errno 1"),
        ("mount", &["SYS_ADMIN"], "allow"),
        ("clone3", &[], "errno 38"),
        ("clone3", &["SYS_ADMIN"], "allow"),
        ("chroot", &[], "errno 1"),
        ("chroot", &["SYS_CHROOT"], "allow"),
        ("bpf", &["BPF"], "allow"),
        ("syslog", &["SYSLOG"], "allow"),
        ("io_uring_setup", &["SYS_ADMIN", "NET_ADMIN"], "errno 1"),
        ("file_setattr", &[], "errno 38"),
    ];
    for (name, capabilities, expected) in table {
        assert_eq!(
            builtin(&with(capabilities), Abi::X86_64, name, [0; 6]),
            expected,
            "{name} {capabilities:?}"
        );
    }
}

#[test]
fn programs_are_trees_and_small() {
    let program = compile(&Profile::builtin(), &HOST).unwrap();
    // The longest way of a call that looks at no argument.
    let steps = |number: u32| {
        let (mut counter, mut accumulator, mut steps) = (0usize, 0u32, 0);
        loop {
            let at = &program[counter * 8..counter * 8 + 8];
            let k = u32::from_ne_bytes(at[4..8].try_into().unwrap());
            counter += 1;
            steps += 1;
            let mut jump = |holds: bool| counter += usize::from(at[if holds { 2 } else { 3 }]);
            match u16::from_ne_bytes([at[0], at[1]]) {
                0x20 => accumulator = if k == 0 { number } else { Abi::X86_64.audit() },
                0x15 => jump(accumulator == k),
                0x35 => jump(accumulator >= k),
                0x05 => counter += k as usize,
                0x06 => return steps,
                other => panic!("a plain call looks at its arguments: {other:#x}"),
            }
        }
    };
    let longest =
        ["read", "write", "openat", "close", "mmap", "futex", "getpid", "clock_gettime", "execve", "mseal"]
            .map(|name| steps(Numbers::of(name).unwrap().on(Abi::X86_64).unwrap()))
            .into_iter()
            .max();
    assert!(longest <= Some(16), "{longest:?} steps");
    assert!(program.len() / 8 < 900, "{} instructions", program.len() / 8);
}

#[test]
fn far_jumps_are_bridged_and_too_large_a_profile_is_refused() {
    let profile = |rules: u64| Profile {
        default_action: Action::Errno(1),
        architectures: Architectures::Listed(vec![]),
        rules: (0..rules)
            .map(|value| Rule {
                names: vec!["ioctl".into()],
                action: if value % 2 == 0 { Action::Allow } else { Action::Log },
                conditions: vec![Condition {
                    index: 1,
                    mask: u64::MAX,
                    operator: Operator::Equal,
                    value: value << 20,
                }],
                includes: Requirements::default(),
                excludes: Requirements::default(),
            })
            .collect(),
        flags: 0,
        listener: None,
    };
    let samples: Vec<[u64; 6]> = (0..=500).map(|value| [0, value << 20, 0, 0, 0, 0]).collect();
    let program = compile(&profile(500), &HOST).unwrap();
    for arguments in samples {
        let expected = naive(&profile(500), &HOST, Abi::X86_64, 16, arguments);
        assert_eq!(run(&program, Abi::X86_64.audit(), 16, arguments), expected, "{arguments:x?}");
    }
    let error = compile(&profile(3000), &HOST).unwrap_err();
    assert!(matches!(error, ProfileError::TooLarge { limit: 4096, .. }), "{error}");
}

#[test]
fn words_that_nobody_knows_are_refused_by_name() {
    let table = [
        (r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#, "seccomp action \"SCMP_ACT_MAYBE\" is unknown"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_VAX"]}"#,
            "seccomp architecture \"SCMP_ARCH_VAX\" is unknown",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG",
                "args":[{"index":0,"value":1,"op":"SCMP_CMP_ISH"}]}]}"#,
            "seccomp operator \"SCMP_CMP_ISH\" is unknown",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG",
                "args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "seccomp argument index 6 is not below 6",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#, "seccomp errno 5000 is above 4095"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":5}"#,
            "seccomp action SCMP_ACT_ALLOW takes no errnoRet",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#, "seccomp flag \"X\" is unknown"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
                "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#,
            "the seccomp profile has both architectures and archMap; use one",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"read","names":["write"],"action":"SCMP_ACT_LOG"}]}"#,
            "a seccomp rule has both name \"read\" and names; use one",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG",
                "includes":{"minKernel":"new"}}]}"#,
            "seccomp minKernel \"new\" is not of the form MAJOR.MINOR",
        ),
        ("[]", "read the seccomp profile"),
    ];
    for (text, expected) in table {
        assert_eq!(Profile::parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn notification_is_refused_where_it_cannot_work() {
    let notify = |default: &str, name: &str, listener: &str| {
        let text = format!(
            r#"{{"defaultAction":"{default}","listenerPath":"{listener}",
                "syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
        );
        filter(&Profile::parse(text.as_bytes()).unwrap(), &HOST)
    };
    assert!(matches!(notify("SCMP_ACT_NOTIFY", "mkdir", "/l"), Err(ProfileError::NotifyDefault)));
    assert!(matches!(notify("SCMP_ACT_ALLOW", "write", "/l"), Err(ProfileError::NotifyWrite)));
    assert!(matches!(notify("SCMP_ACT_ALLOW", "mkdir", ""), Err(ProfileError::NotifyWithoutListener)));
    let filter = notify("SCMP_ACT_ALLOW", "mkdir", "/l").unwrap();
    assert_eq!(filter.listener.unwrap().path, std::path::Path::new("/l"));
}

#[test]
fn flags_become_bits_and_thread_synchronisation_goes() {
    let text =
        br#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
    assert_eq!(Profile::parse(text).unwrap().flags, 2 | 4 | 32);
}

#[test]
fn keys_tell_contexts_and_profiles_apart() {
    let key = |context: &Context| cache_key(&Profile::builtin(), context);
    assert_eq!(key(&HOST), key(&HOST));
    assert_eq!(key(&HOST).len(), 64);
    assert_ne!(key(&HOST), key(&with(&["KILL"])));
    assert_ne!(key(&HOST), key(&Context { kernel: (6, 2), ..HOST }));
    assert_ne!(key(&HOST), cache_key(&Profile { flags: 2, ..Profile::builtin() }, &HOST));
}

#[test]
fn a_call_named_behind_another_number_makes_that_number_known() {
    // `semop` has no number of its own on x86: it is the first call of `ipc`, 117.
    let text = br#"{"defaultAction":"SCMP_ACT_TRAP","architectures":["SCMP_ARCH_X86"],
        "syscalls":[{"names":["socketcall","semop"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    let program = compile(&Profile::parse(text).unwrap(), &HOST).unwrap();
    let decided = |number, call| run(&program, Abi::X86.audit(), number, [call, 0, 0, 0, 0, 0]);
    let (trap, kill) = (Action::Trap.verdict(), Action::KillProcess.verdict());
    assert_eq!([decided(116, 0), decided(117, 2), decided(118, 0)], [trap, trap, ERRNO | 38]);
    assert_eq!([decided(117, 1), decided(117, 1 << 16 | 1), decided(102, 9)], [kill, kill, kill]);
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Log),
        Just(Action::Errno(1)),
        Just(Action::Errno(38)),
        Just(Action::Trap),
        Just(Action::KillProcess),
        Just(Action::Trace(7)),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, Just(1 << 32), Just(1 << 32 | 1), Just(u64::MAX), Just(0xFFFF_FFFF), any::<u64>()]
}

fn condition() -> impl Strategy<Value = Condition> {
    let operator = prop_oneof![
        Just(Operator::NotEqual),
        Just(Operator::Less),
        Just(Operator::LessOrEqual),
        Just(Operator::Equal),
        Just(Operator::GreaterOrEqual),
        Just(Operator::Greater),
    ];
    let mask = prop_oneof![Just(u64::MAX), Just(0xFFFF_FFFF), Just(1), Just(0xFFFF_FFFF << 32), any::<u64>()];
    (0u8..3, mask, operator, value()).prop_map(|(index, mask, operator, value)| Condition {
        index,
        mask,
        operator,
        value,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let names = prop::sample::subsequence(
        vec![
            "read",
            "write",
            "open",
            "socket",
            "bind",
            "socketcall",
            "ipc",
            "semop",
            "execve",
            "mseal",
            "openat",
            "set_tls",
            "clone",
            "nosuchcall",
        ],
        1..6,
    );
    let capabilities = prop_oneof![3 => Just(vec![]), 1 => Just(vec![21u8]), 1 => Just(vec![u8::MAX])];
    (names, action(), prop::collection::vec(condition(), 0..3), capabilities, any::<bool>()).prop_map(
        |(names, action, conditions, capabilities, include)| {
            let requirements = Requirements { capabilities, ..Requirements::default() };
            let (includes, excludes) = match include {
                true => (requirements, Requirements::default()),
                false => (Requirements::default(), requirements),
            };
            Rule {
                names: names.into_iter().map(Into::into).collect(),
                action,
                conditions,
                includes,
                excludes,
            }
        },
    )
}

proptest! {
    // The seed of a failure is printed and kept in `proptest-regressions`, which later runs start with. `PROPTEST_CASES`
    // runs a quarter of as many.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn any_profile_decides_as_written(
        default_action in action(),
        listed in prop::sample::subsequence(Abi::ALL.to_vec(), 0..5),
        rules in prop::collection::vec(rule(), 0..8),
        samples in prop::collection::vec([value(), value(), value()], 4),
        arch in prop_oneof![Just(Abi::X86_64), Just(Abi::Aarch64)],
        capabilities in prop_oneof![Just(0u64), Just(1 << 21)],
    ) {
        let profile =
            Profile { default_action, architectures: Architectures::Listed(listed), rules, flags: 0, listener: None };
        let context = Context { arch, capabilities, kernel: (6, 1) };
        let samples: Vec<[u64; 6]> = samples.into_iter().map(|[a, b, c]| [a, b, c, 0, 0, 0]).collect();
        // Every number that the profile names, those beside them, and the edges.
        let names: Vec<_> = profile.rules.iter().flat_map(|rule| rule.names.clone()).collect();
        let near = |abi, number: u32| {
            let named = |name: &str| Numbers::of(name)?.on(abi).map(|named| named.abs_diff(number) < 2);
            names.iter().any(|name| named(name) == Some(true)) || matches!(number & !X32_BIT, 0 | 102 | 117 | 512.. | 460..480)
        };
        agree(&profile, &context, &samples, near);
    }
}
