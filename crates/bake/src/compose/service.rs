//! What a service says of its image, as a target.

use std::collections::BTreeMap;

use yaml::Yaml;

use super::environment::Environment;
use crate::definition::{Definition, unique};
use crate::entry::{
    Attest, Cache, Output, Secret, Setting, Ssh, from_texts, last_of_each, parse_bool, without_doubles,
};

type Result<T> = std::result::Result<T, String>;

/// What `build` may say; whatever begins with `x-` is an extension.
const KEYS: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// The target of a service.
pub(super) fn definition(
    name: &str,
    (service, build): (&Yaml, &Yaml),
    secrets: &Yaml,
    environment: &mut Environment<'_, '_>,
) -> Result<Definition> {
    let Yaml::Map(entries) = build else { return Err("build must be a string or a map".to_owned()) };
    if let Some((key, _)) =
        entries.iter().find(|(key, _)| !key.starts_with("x-") && !KEYS.contains(&key.as_str()))
    {
        return Err(format!("build has no {key:?}"));
    }
    let mut target = Definition::new(name);
    target.context = text(build, "context")?;
    target.dockerfile = text(build, "dockerfile")?;
    target.dockerfile_inline = text(build, "dockerfile_inline")?;
    target.network = text(build, "network")?;
    target.target = text(build, "target")?;
    target.contexts = contexts(map(build, "additional_contexts")?);
    target.args = arguments(build, environment)?;
    target.labels = filled(map(build, "labels")?);
    target.extra_hosts = hosts(build)?;
    target.tags = texts(build, "tags")?.map(unique);
    target.platforms = texts(build, "platforms")?.map(unique);
    target.no_cache_filter = texts(build, "no_cache_filter")?;
    target.cache_from = texts(build, "cache_from")?.map(|texts| from_texts(&texts)).transpose()?;
    target.cache_to = texts(build, "cache_to")?.map(|texts| from_texts(&texts)).transpose()?;
    target.no_cache = flag(build, "no_cache")?.filter(|flag| *flag);
    target.pull = flag(build, "pull")?.filter(|flag| *flag);
    target.shm_size = shm_size(build)?;
    target.ulimits = ulimits(build)?;
    target.ssh = keys(build)?;
    target.secret = build_secrets(build, secrets)?;
    target.attest = attests(build)?;
    target.entitlements = entitlements(build)?;
    if let Some(extension) = build.get("x-bake").filter(|extension| !extension.is_null()) {
        extend(&mut target, extension)?;
    }
    if target.tags.as_ref().is_none_or(Vec::is_empty) {
        target.tags = text(service, "image")?.map(|image| vec![image]).or(target.tags);
    }
    Ok(target)
}

/// A text that is there and not empty.
fn text(node: &Yaml, key: &str) -> Result<Option<String>> {
    match node.get(key) {
        None | Some(Yaml::Null) => Ok(None),
        Some(value) => value
            .text()
            .map(|text| Some(text).filter(|text| !text.is_empty()))
            .ok_or_else(|| format!("{key} must be a string")),
    }
}

fn flag(node: &Yaml, key: &str) -> Result<Option<bool>> {
    match node.get(key) {
        None | Some(Yaml::Null) => Ok(None),
        Some(value) => value.flag().map(Some).ok_or_else(|| format!("{key} must be true or false")),
    }
}

fn texts(node: &Yaml, key: &str) -> Result<Option<Vec<String>>> {
    let elements = match node.get(key) {
        None | Some(Yaml::Null) => return Ok(None),
        Some(Yaml::List(elements)) => elements,
        Some(_) => return Err(format!("{key} must be a list")),
    };
    let text = |element: &Yaml| element.text().ok_or_else(|| format!("an element of {key} is no string"));
    elements.iter().map(text).collect::<Result<_>>().map(Some)
}

/// The entries of a map whose values are texts or nothing.
pub(super) fn map(node: &Yaml, key: &str) -> Result<BTreeMap<String, Option<String>>> {
    let entries = match node.get(key) {
        None | Some(Yaml::Null) => return Ok(BTreeMap::new()),
        Some(Yaml::Map(entries)) => entries,
        Some(_) => return Err(format!("{key} must be a map")),
    };
    let entries = entries.iter().map(|(name, value)| match value {
        Yaml::Null => Ok((name.clone(), None)),
        _ => match value.text() {
            Some(text) => Ok((name.clone(), Some(text))),
            None => Err(format!("{name} of {key} is no string")),
        },
    });
    entries.collect()
}

/// Without a value, an empty one.
fn filled(map: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

/// Contexts, in which a service is the target that it makes.
fn contexts(map: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let context =
        |value: String| match value.strip_prefix("service:").or_else(|| value.strip_prefix("target:")) {
            Some(name) => format!("target:{}", name.replace('.', "_")),
            None => value,
        };
    filled(map).into_iter().map(|(key, value)| (key, context(value))).collect()
}

/// Build arguments; those without a value have that of the service's programs, or of ours, or are left out.
fn arguments(build: &Yaml, environment: &mut Environment<'_, '_>) -> Result<BTreeMap<String, String>> {
    let mut arguments = BTreeMap::new();
    for (name, value) in map(build, "args")? {
        let value = match value {
            Some(value) => Some(value),
            None => environment.value(&name)?,
        };
        arguments.extend(value.map(|value| (name, value)));
    }
    Ok(arguments)
}

fn hosts(build: &Yaml) -> Result<BTreeMap<String, String>> {
    let entries = match build.get("extra_hosts") {
        None | Some(Yaml::Null) => return Ok(BTreeMap::new()),
        Some(Yaml::Map(entries)) => entries,
        Some(_) => return Err("extra_hosts must be a map or a list".to_owned()),
    };
    let invalid = |name: &str| format!("extra_hosts: {name} has no address");
    let address = |(name, value): &(String, Yaml)| {
        let addresses = match value {
            Yaml::List(elements) => {
                let texts = elements.iter().map(Yaml::text).collect::<Option<Vec<_>>>();
                texts.map(|texts| texts.join(","))
            }
            _ => value.text(),
        };
        addresses.map(|addresses| (name.clone(), addresses)).ok_or_else(|| invalid(name))
    };
    entries.iter().map(address).collect()
}

/// A size in bytes as people write it: `64m`, `1.5gb`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let number = crate::number::Number::parse(number)?;
    let bytes = number.multiply(crate::number::Number::from(1i64 << shift))?.truncate().to_i64()?;
    u64::try_from(bytes).ok()
}

/// A size with four digits and a unit, as Docker shows it.
fn shown(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(at, _)| bytes >> (10 * at) > 0).map_or(0, |(at, _)| at);
    let scale = 1u64 << (10 * unit);
    // Whole and fraction apart: no binary fraction rounds what is exact.
    let (whole, rest) = (bytes / scale, bytes % scale);
    let decimals = 4usize.saturating_sub(whole.to_string().len());
    let factor = 10u64.pow(u32::try_from(decimals).unwrap_or_default());
    let fraction = (u128::from(rest) * u128::from(factor) + u128::from(scale / 2)) / u128::from(scale);
    let total = u128::from(whole) * u128::from(factor) + fraction;
    let (whole, fraction) = (total / u128::from(factor), total % u128::from(factor));
    let fraction = if decimals == 0 { String::new() } else { format!("{fraction:0decimals$}") };
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{}", UNITS[unit])
}

fn shm_size(build: &Yaml) -> Result<Option<String>> {
    let Some(text) = text(build, "shm_size")? else { return Ok(None) };
    let size = bytes(&text).ok_or_else(|| format!("shm_size: {text:?} is no size"))?;
    Ok(Some(size).filter(|size| *size > 0).map(shown))
}

fn ulimits(build: &Yaml) -> Result<Option<Vec<String>>> {
    let entries = match build.get("ulimits") {
        None | Some(Yaml::Null) => return Ok(None),
        Some(Yaml::Map(entries)) => entries,
        Some(_) => return Err("ulimits must be a map".to_owned()),
    };
    let mut all = Vec::new();
    for (name, value) in entries {
        let invalid = || format!("ulimits: {name} needs a number, or soft and hard");
        let limit = |node: Option<&Yaml>| node.and_then(Yaml::text).and_then(|text| text.parse::<i64>().ok());
        let (soft, hard) = match value {
            Yaml::Map(_) => (limit(value.get("soft")), limit(value.get("hard"))),
            _ => (limit(Some(value)), limit(Some(value))),
        };
        let (soft, hard) = (soft.ok_or_else(invalid)?, hard.ok_or_else(invalid)?);
        if hard != -1 && (soft > hard || soft == -1) {
            return Err(format!("ulimits: soft limit of {name} is above its hard limit"));
        }
        all.push(format!("{name}={soft}:{hard}"));
    }
    all.sort();
    Ok(Some(all))
}

fn keys(build: &Yaml) -> Result<Option<Vec<Ssh>>> {
    let mut keys: Vec<Ssh> = map(build, "ssh")?
        .into_iter()
        .map(|(id, path)| Ssh { id, paths: path.filter(|path| !path.is_empty()).into_iter().collect() })
        .collect();
    keys.sort();
    Ok(Some(keys).filter(|keys| !keys.is_empty()))
}

fn build_secrets(build: &Yaml, declared: &Yaml) -> Result<Option<Vec<Secret>>> {
    let elements = match build.get("secrets") {
        None | Some(Yaml::Null) => return Ok(None),
        Some(Yaml::List(elements)) => elements,
        Some(_) => return Err("secrets must be a list".to_owned()),
    };
    let mut all = Vec::new();
    for element in elements {
        let id = element.text().or_else(|| element.get("source").and_then(Yaml::text));
        let id = id.ok_or("a secret has no source")?;
        let declared = declared.get(&id).ok_or_else(|| format!("undefined secret {id}"))?;
        if declared.get("external").is_some_and(|external| external.flag() != Some(false)) {
            return Err(format!("unsupported external secret {id}"));
        }
        all.push(Secret { source: text(declared, "file")?, variable: text(declared, "environment")?, id });
    }
    Ok(Some(all))
}

fn attests(build: &Yaml) -> Result<Option<Vec<Attest>>> {
    let mut all = Vec::new();
    for kind in ["sbom", "provenance"] {
        let Some(text) = text(build, kind)? else { continue };
        let text = match parse_bool(&text) {
            Some(enabled) => format!("type={kind},disabled={}", !enabled),
            None => format!("type={kind},{text}"),
        };
        all.push(Attest::parse(&text)?);
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// What the build wants to be allowed; `privileged` is an older word for one of them.
fn entitlements(build: &Yaml) -> Result<Option<Vec<String>>> {
    let mut all = texts(build, "entitlements")?.unwrap_or_default();
    if flag(build, "privileged")? == Some(true) {
        all.push("security.insecure".to_owned());
    }
    Ok(Some(unique(all)).filter(|all| !all.is_empty()))
}

/// Words of one text, or a list of texts.
fn words(node: &Yaml, key: &str) -> Result<Vec<String>> {
    match node.get(key) {
        Some(value @ Yaml::Scalar { .. }) => {
            Ok(value.text().unwrap_or_default().split_whitespace().map(str::to_owned).collect())
        }
        _ => Ok(texts(node, key)?.unwrap_or_default()),
    }
}

/// What `x-bake` adds.
fn extend(target: &mut Definition, extension: &Yaml) -> Result<()> {
    if !matches!(extension, Yaml::Map(_)) {
        return Err("x-bake must be a map".to_owned());
    }
    let words = |key: &str| words(extension, key).map_err(|reason| format!("x-bake: {reason}"));
    grow(&mut target.tags, words("tags")?, unique);
    grow(&mut target.platforms, words("platforms")?, unique);
    grow(&mut target.no_cache_filter, words("no-cache-filter")?, unique);
    grow(&mut target.cache_from, from_texts::<Cache>(&words("cache-from")?)?, without_doubles);
    grow(&mut target.cache_to, from_texts::<Cache>(&words("cache-to")?)?, without_doubles);
    grow(&mut target.secret, from_texts::<Secret>(&words("secret")?)?, without_doubles);
    grow(&mut target.ssh, from_texts::<Ssh>(&words("ssh")?)?, without_doubles);
    grow(&mut target.output, from_texts::<Output>(&words("output")?)?, without_doubles);
    if let Some(ssh) = &mut target.ssh {
        ssh.sort();
    }
    target.attest = target.attest.take().map(last_of_each);
    target.pull = flag(extension, "pull")?.or(target.pull);
    target.no_cache = flag(extension, "no-cache")?.or(target.no_cache);
    for (name, context) in contexts(map(extension, "contexts")?) {
        target.contexts.entry(name).or_insert(context);
    }
    Ok(())
}

fn grow<T>(list: &mut Option<Vec<T>>, more: Vec<T>, tidy: impl Fn(Vec<T>) -> Vec<T>) {
    if !more.is_empty() {
        let mut all = list.take().unwrap_or_default();
        all.extend(more);
        *list = Some(tidy(all));
    }
}
