//! The flags of `build` to the engine's request.

use std::collections::BTreeMap;

use engine::request::{
    Build, BuildContext, BuildLimits, BuildNetwork, Entitlement, Fields, OutputLimits, Pull, Ulimit,
    parse_bytes, parse_cpus,
};

use super::fault::Fault;
use super::place::Place;
use super::{csv, outputs, policy, sources, vcs};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::flags::parse::parse_bool;
use crate::values::{environment, integer};

/// The request of what was typed, for these files.
pub(super) fn request(context: &Context, parsed: &Parsed, place: Place) -> Result<Build> {
    policy::check(parsed, &place)?;
    let lookup: sources::Lookup<'_> = &environment::caller;
    let tags = tags(parsed)?;
    let outputs = parsed.values("output", outputs::output)?;
    let outputs = outputs::with_shorthands(outputs, parsed.on("push"), parsed.on("load"));
    let to_terminal = rustix::termios::isatty(rustix::stdio::stdout());
    outputs::check(&outputs, &tags, parsed.text("iidfile").is_some(), to_terminal)?;
    let output = match outputs::uses_stdout(&outputs) {
        true => Some(rustix::stdio::stdout().try_clone_to_owned().map_err(Error::Output)?),
        false => None,
    };
    let network = network(parsed)?;
    let mut entitlements: std::collections::BTreeSet<Entitlement> =
        parsed.values("allow", sources::entitlement)?.into_iter().collect();
    // Who names it for everything has allowed it.
    if network == BuildNetwork::Host {
        entitlements.insert(Entitlement::NetworkHost);
    }
    let vcs = match &place.context {
        BuildContext::Directory(folder) => vcs::of(folder),
        BuildContext::Empty | BuildContext::Stream(_) | BuildContext::Remote(_) => BTreeMap::new(),
    };
    Ok(Build {
        vcs,
        tells_provenance: parsed.text("metadata-file").is_some_and(|path| !path.is_empty()),
        context: place.context,
        dockerfile: place.dockerfile,
        contexts: sources::by_name(parsed.values("build-context", sources::context)?),
        target: parsed.text("target").map(str::to_owned).filter(|target| !target.is_empty()),
        arguments: arguments(context, parsed, lookup)?,
        labels: parsed.values("label", environment::label)?.into_iter().collect(),
        annotations: parsed.values("annotation", annotation)?,
        platforms: platforms(parsed),
        tags,
        no_cache: parsed.on("no-cache"),
        no_cache_filter: separated(parsed, "no-cache-filter").collect(),
        cache_from: lists(parsed, "cache-from")?,
        cache_to: lists(parsed, "cache-to")?,
        cache_mounts_from: lists(parsed, "cache-mounts-from")?,
        cache_mounts_to: lists(parsed, "cache-mounts-to")?,
        outputs,
        output,
        pull: if parsed.on("pull") { Pull::Always } else { Pull::Missing },
        secrets: sources::by_name(parsed.values("secret", |text| sources::secret(text, lookup))?),
        agents: sources::by_name(parsed.values("ssh", |text| sources::agent(text, lookup))?),
        ssh: sources::ssh(true),
        network,
        extra_hosts: extra_hosts(parsed)?,
        entitlements,
        limits: limits(parsed)?,
        attestations: attestations(parsed)?,
        source_date_epoch: None,
        parallel: parsed.value("parallel", at_least_one)?,
        strict: parsed.value("lint", strict)?.unwrap_or(false),
    })
}

fn tags(parsed: &Parsed) -> Result<Vec<String>> {
    parsed.values("tag", |text| {
        let name: std::result::Result<oci::Reference, _> = text.parse();
        match name {
            Ok(name) if name.digest().is_some() => Err(format!("invalid tag {text:?}: it has a digest")),
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("invalid tag {text:?}: {error}")),
        }
    })
}

/// Values with commas between them, of a flag that may be repeated.
fn separated<'a>(parsed: &'a Parsed, flag: &'a str) -> impl Iterator<Item = String> + 'a {
    parsed.list(flag).flat_map(|text| text.split(',')).filter(|part| !part.is_empty()).map(str::to_owned)
}

fn lists(parsed: &Parsed, flag: &'static str) -> Result<Vec<Fields>> {
    Ok(parsed.values(flag, outputs::caches)?.into_iter().flatten().collect())
}

fn platforms(parsed: &Parsed) -> Vec<String> {
    let given: Vec<String> = separated(parsed, "platform").collect();
    match given.is_empty() {
        true => environment::default_platform().into_iter().collect(),
        false => given,
    }
}

/// `--build-arg`, what the checks are told by `--lint`, proxies of the client configuration, and `SOURCE_DATE_EPOCH` of the
/// environment; what is given counts before what is found.
pub(super) fn arguments(
    context: &Context,
    parsed: &Parsed,
    lookup: sources::Lookup<'_>,
) -> Result<BTreeMap<String, String>> {
    let given = parsed.values("build-arg", |text| sources::argument(text, lookup))?;
    let mut arguments: BTreeMap<String, String> = given.into_iter().flatten().collect();
    for (name, proxy) in context.configuration().proxies() {
        arguments.entry(name).or_insert_with(|| proxy.to_owned());
    }
    if let Some(epoch) = lookup("SOURCE_DATE_EPOCH").filter(|epoch| !epoch.is_empty()) {
        arguments.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert(epoch);
    }
    if parsed.text("lint") == Some("off") {
        arguments.entry("BUILDKIT_DOCKERFILE_CHECK".to_owned()).or_insert_with(|| "skip=all".to_owned());
    }
    Ok(arguments)
}

/// `--lint`: whether what the checks find ends the build.
pub(super) fn strict(text: &str) -> std::result::Result<bool, &'static str> {
    match text {
        "error" => Ok(true),
        "warn" | "off" => Ok(false),
        _ => Err("must be one of \"warn\", \"error\" or \"off\""),
    }
}

fn annotation(text: &str) -> std::result::Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("invalid annotation {text:?}, expected key=value")),
    }
}

fn network(parsed: &Parsed) -> Result<BuildNetwork> {
    let network = parsed.value("network", |text| match text {
        "" | "default" => Ok(BuildNetwork::Default),
        "none" => Ok(BuildNetwork::None),
        "host" => Ok(BuildNetwork::Host),
        _ => Err(format!("network mode {text:?} is not there for builds: default, none or host")),
    })?;
    Ok(network.unwrap_or_default())
}

/// `--add-host name:address` or `name=address`, several with commas between them.
fn extra_hosts(parsed: &Parsed) -> Result<Vec<String>> {
    let lists = parsed.values("add-host", |text| {
        text.split(',')
            .filter(|one| !one.is_empty())
            .map(extra_host)
            .collect::<std::result::Result<Vec<_>, _>>()
    })?;
    Ok(lists.into_iter().flatten().collect())
}

fn extra_host(text: &str) -> std::result::Result<String, String> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = split.filter(|(name, address)| !name.is_empty() && !address.is_empty())
    else {
        return Err(format!("bad format for add-host: {text:?}"));
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

fn limits(parsed: &Parsed) -> Result<BuildLimits> {
    let bytes = |text: &str| {
        parse_bytes(text)
            .map_err(|error| error.to_string())
            .and_then(|bytes| positive(bytes).map_err(str::to_owned))
    };
    let mut limits = BuildLimits {
        memory: parsed.value("memory", bytes)?.filter(|bytes| *bytes > 0),
        memory_swap: parsed.value("memory-swap", parse_bytes)?.filter(|bytes| *bytes != 0),
        nano_cpus: parsed
            .value("cpus", |text| parse_cpus(text).map_err(|error| error.to_string()))?
            .and_then(|cpus| u64::try_from(cpus).ok())
            .filter(|cpus| *cpus > 0),
        cpu_shares: parsed.value("cpu-shares", integer)?.filter(|shares| *shares > 0),
        cpu_period: parsed.value("cpu-period", integer)?.filter(|period| *period > 0),
        cpu_quota: parsed.value("cpu-quota", integer)?.filter(|quota| *quota != 0),
        cpuset_cpus: owned(parsed, "cpuset-cpus"),
        cpuset_mems: owned(parsed, "cpuset-mems"),
        pids: parsed.value("pids-limit", integer)?,
        ulimits: parsed.values("ulimit", Ulimit::parse)?,
        shm_size: parsed.value("shm-size", bytes)?.filter(|bytes| *bytes > 0),
        cgroup_parent: owned(parsed, "cgroup-parent"),
        output: output_limits(&environment::caller),
    };
    for (flag, text) in parsed.all("resource") {
        resources(&mut limits, text).map_err(|reason| Error::value(flag, text, reason))?;
    }
    Ok(limits)
}

/// `--resource memory=1g,cpu-shares=512`: limits that have flags of their own too. What is said last counts.
fn resources(limits: &mut BuildLimits, text: &str) -> std::result::Result<(), String> {
    for (key, value) in csv::pairs(text)? {
        let amount = || integer::<u64>(&value).map_err(|reason| format!("{key}: {reason}"));
        match key.as_str() {
            "memory" => {
                let bytes = parse_bytes(&value)
                    .map_err(|error| error.to_string())
                    .and_then(|bytes| positive(bytes).map_err(str::to_owned));
                limits.memory = Some(bytes.map_err(|reason| format!("{key}: {reason}"))?);
            }
            "memory-swap" => {
                limits.memory_swap = Some(parse_bytes(&value).map_err(|reason| format!("{key}: {reason}"))?);
            }
            "cpu-shares" => limits.cpu_shares = Some(amount()?),
            "cpu-period" => limits.cpu_period = Some(amount()?),
            "cpu-quota" => {
                limits.cpu_quota = Some(integer(&value).map_err(|reason| format!("{key}: {reason}"))?);
            }
            "cpuset-cpus" => limits.cpuset_cpus = Some(value),
            "cpuset-mems" => limits.cpuset_mems = Some(value),
            _ => return Err(format!("there is no resource {key:?}: there are {RESOURCES}")),
        }
    }
    Ok(())
}

/// By the variables that BuildKit reads; -1 is no limit, and what is no number says nothing, as there.
fn output_limits(lookup: sources::Lookup<'_>) -> OutputLimits {
    let usual = OutputLimits::default();
    let limit = |name: &str, usual| {
        let given = lookup(name).and_then(|text| text.trim().parse::<i64>().ok());
        given.map_or(usual, |bytes| u64::try_from(bytes).ok())
    };
    OutputLimits {
        size: limit("BUILDKIT_STEP_LOG_MAX_SIZE", usual.size),
        speed: limit("BUILDKIT_STEP_LOG_MAX_SPEED", usual.speed),
    }
}

/// What `--resource` may limit.
const RESOURCES: &str = "memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus and cpuset-mems";

fn owned(parsed: &Parsed, flag: &str) -> Option<String> {
    parsed.text(flag).map(str::to_owned).filter(|text| !text.is_empty())
}

fn positive(number: i64) -> std::result::Result<u64, &'static str> {
    u64::try_from(number).map_err(|_| "cannot be negative")
}

fn at_least_one(text: &str) -> std::result::Result<usize, &'static str> {
    match integer::<usize>(text)? {
        0 => Err("at least one program has to run"),
        count => Ok(count),
    }
}

fn attestations(parsed: &Parsed) -> Result<BTreeMap<String, Fields>> {
    const NO_DEFAULTS: &str = "BUILDX_NO_DEFAULT_ATTESTATIONS";
    let mut given = Vec::new();
    for (flag, kind) in [("attest", ""), ("provenance", "provenance"), ("sbom", "sbom")] {
        for (flag, text) in parsed.all(flag).filter(|(_, text)| !text.is_empty()) {
            given.push(outputs::attestation(kind, text).map_err(|reason| Error::value(flag, text, reason))?);
        }
    }
    let none = environment::caller(NO_DEFAULTS).filter(|value| !value.is_empty());
    let none = none.map(|value| {
        let reason = "not a boolean (true or false)";
        parse_bool(&value).ok_or(Fault::Variable { variable: NO_DEFAULTS, value, reason })
    });
    Ok(outputs::merge(given, !none.transpose()?.unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_limits_in_one_flag() {
        let of = |text: &str| {
            let mut limits = BuildLimits::default();
            resources(&mut limits, text).map(|()| limits)
        };
        let limits =
            of("memory=1g,memory-swap=-1,cpu-quota=50000,cpu-period=100000,\"cpuset-cpus=0,1\"").unwrap();
        assert_eq!((limits.memory, limits.memory_swap), (Some(1 << 30), Some(-1)));
        assert_eq!((limits.cpu_quota, limits.cpu_period), (Some(50_000), Some(100_000)));
        assert_eq!(limits.cpuset_cpus.as_deref(), Some("0,1"));
        for (text, words) in [
            ("memory=-1", "memory: cannot be negative"),
            ("cpu-shares=many", "cpu-shares: not a whole number"),
            ("disk=1g", "there is no resource \"disk\""),
            ("memory", "must be a key=value pair"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_have_names_and_addresses() {
        for (text, want) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a:::1", "a:::1"),
            ("a=[::1]", "a:::1"),
            ("a:host-gateway", "a:host-gateway"),
        ] {
            assert_eq!(extra_host(text).unwrap(), want, "{text}");
        }
        assert_eq!(extra_host("a").unwrap_err(), "bad format for add-host: \"a\"");
        assert_eq!(extra_host("a:b").unwrap_err(), "invalid IP address in add-host: \"b\"");
    }

    #[test]
    fn output_is_limited_as_the_environment_says() {
        let limits = |size: &'static str, speed: &'static str| {
            output_limits(&|name| Some(if name.ends_with("SIZE") { size } else { speed }.to_owned()))
        };
        assert_eq!(output_limits(&|_| None), OutputLimits { size: Some(2 << 20), speed: None });
        assert_eq!(limits("7", "9"), OutputLimits { size: Some(7), speed: Some(9) });
        assert_eq!(limits("-1", "x"), OutputLimits { size: None, speed: None });
        assert_eq!(limits("", "-1"), OutputLimits { size: Some(2 << 20), speed: None });
    }

    #[test]
    fn annotations_have_keys() {
        assert_eq!(annotation("manifest:a=b").unwrap(), "manifest:a=b");
        assert!(annotation("a").is_err() && annotation("=b").is_err());
        assert!(strict("error").unwrap() && !strict("warn").unwrap() && strict("x").is_err());
        assert!(at_least_one("0").is_err() && at_least_one("2") == Ok(2));
    }
}
