//! A target of a bake file as the words of a `skiff build`.

use std::collections::BTreeMap;
use std::path::Path;

use ::bake::{Entry, Target};

use super::allow;
use super::definition::{HERE, Remote};
use crate::build::fault::Fault;
use crate::build::place::is_remote;
use crate::error::Result;
use crate::flags::Parsed;

/// The words of a build that does what a target says; of one of a definition elsewhere, `remote` is where.
pub(super) fn of(
    name: &str,
    target: &Target,
    parsed: &Parsed,
    remote: Option<&Remote>,
) -> Result<Vec<String>> {
    let remote = remote.filter(|_| !target.is_here);
    let refused = |reason: String| Fault::Target { target: name.to_owned(), reason };
    let context = if target.context.is_empty() { "." } else { target.context.as_str() };
    let main = match remote {
        Some(remote) if !is_remote(context) => remote.below(context).map_err(refused)?,
        Some(_) | None => context.to_owned(),
    };
    let mut words = Vec::new();
    let mut add = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
    for (context, value) in &target.contexts {
        let value = match (value.strip_prefix(HERE), remote) {
            (Some(here), _) => here.to_owned(),
            (None, Some(remote)) if is_folder(value) => remote.named(value).map_err(refused)?,
            (None, _) => value.clone(),
        };
        // What another target makes is put into the request.
        if !value.starts_with("target:") {
            add("build-context", &format!("{context}={value}"));
        }
    }
    what(target, &mut add);
    results(target, &mut add);
    if target.dockerfile_inline.is_none() && !target.dockerfile.is_empty() {
        file(target, &main, &mut add);
    }
    asked(target, parsed, &mut add);
    words.extend(["--".to_owned(), main]);
    Ok(words)
}

/// Whether the value of a named context is a path.
fn is_folder(value: &str) -> bool {
    !(value.contains("://") || value.starts_with("target:") || is_remote(value))
}

/// The Dockerfile: beside the context where that is a folder here, in it elsewhere.
fn file(target: &Target, context: &str, add: &mut dyn FnMut(&str, &str)) {
    if let Some(here) = target.dockerfile.strip_prefix(HERE) {
        // From the working directory, wherever the context is.
        let here = if Path::new(here).is_absolute() { here.to_owned() } else { format!("./{here}") };
        let path = crate::context::absolute(&here).unwrap_or_else(|_| here.clone().into());
        return add("file", &path.to_string_lossy());
    }
    let path = match Path::new(context).is_dir() {
        true => Path::new(context).join(&target.dockerfile),
        false => target.dockerfile.clone().into(),
    };
    // One that nobody has named is looked for under all names that it may have.
    if target.dockerfile != "Dockerfile" || path.exists() {
        add("file", &path.to_string_lossy());
    }
}

/// What is built, and how.
fn what(target: &Target, add: &mut dyn FnMut(&str, &str)) {
    let pairs = |map: &BTreeMap<String, String>| -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    pairs(&target.args).iter().for_each(|one| add("build-arg", one));
    pairs(&target.labels).iter().for_each(|one| add("label", one));
    for (name, addresses) in &target.extra_hosts {
        addresses.split(',').for_each(|address| add("add-host", &format!("{name}={address}")));
    }
    for (flag, list) in [
        ("annotation", &target.annotations),
        ("tag", &target.tags),
        ("platform", &target.platforms),
        ("no-cache-filter", &target.no_cache_filter),
        ("ulimit", &target.ulimits),
        ("allow", &target.entitlements),
    ] {
        list.iter().for_each(|one| add(flag, one));
    }
    for secret in &target.secret {
        let source = secret.source.iter().map(|source| quoted(&format!("src={source}")));
        let variable = secret.variable.iter().map(|name| quoted(&format!("env={name}")));
        let id = quoted(&format!("id={}", secret.id));
        let all: Vec<String> = [id].into_iter().chain(source).chain(variable).collect();
        add("secret", &all.join(","));
    }
    target.policy.iter().for_each(|policy| add("policy", &policy.to_string()));
    for ssh in &target.ssh {
        let paths = ssh.paths.join(",");
        let all = if paths.is_empty() { ssh.id.clone() } else { format!("{}={paths}", ssh.id) };
        add("ssh", &all);
    }
    // Each limit has the name of its flag.
    target.resources.iter().for_each(|(name, limit)| add(name, limit));
    let texts = [("target", &target.target), ("network", &target.network), ("shm-size", &target.shm_size)];
    for (flag, text) in texts {
        text.iter().for_each(|text| add(flag, text));
    }
    for (flag, on) in [("pull", target.pull), ("no-cache", target.no_cache)] {
        on.iter().for_each(|on| add(flag, &on.to_string()));
    }
}

/// What becomes of the result.
fn results(target: &Target, add: &mut dyn FnMut(&str, &str)) {
    for (flag, list) in
        [("cache-from", &target.cache_from), ("cache-to", &target.cache_to), ("output", &target.output)]
    {
        list.iter().for_each(|entry| add(flag, &fields(&entry.kind, entry)));
    }
    for attest in &target.attest {
        let entry = Entry { kind: attest.kind.clone(), attributes: attest.attributes.clone() };
        let off = if attest.disabled { ",disabled=true" } else { "" };
        add("attest", &format!("{}{off}", fields(&attest.kind, &entry)));
    }
}

/// What is asked of all targets, which counts after what each says.
fn asked(target: &Target, parsed: &Parsed, add: &mut dyn FnMut(&str, &str)) {
    let call = parsed.on("check").then_some("check").or(parsed.text("call")).or(target.call.as_deref());
    call.into_iter().for_each(|call| add("call", call));
    for flag in ["provenance", "sbom", "metadata-file", "parallel"] {
        parsed.list(flag).for_each(|value| add(flag, value));
    }
    let allowed = parsed.list("allow").flat_map(|list| list.split(','));
    allowed.filter(|word| allow::is_of_builds(word)).for_each(|word| add("allow", word));
    for flag in ["pull", "no-cache"] {
        parsed.tristate(flag).iter().for_each(|on| add(flag, &on.to_string()));
    }
    for flag in ["push", "load"] {
        if parsed.on(flag) && !target.linked {
            add(flag, "true");
        }
    }
}

/// `type=kind,key=value,…`.
fn fields(kind: &str, entry: &Entry) -> String {
    let attributes = entry.attributes.iter().map(|(key, value)| quoted(&format!("{key}={value}")));
    [quoted(&format!("type={kind}"))].into_iter().chain(attributes).collect::<Vec<_>>().join(",")
}

/// A field that may hold commas.
fn quoted(field: &str) -> String {
    match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::BUILD;
    use crate::flags;

    #[test]
    fn a_target_becomes_the_words_of_a_build() {
        let file = ::bake::File {
            name: "docker-bake.hcl".to_owned(),
            content:
                "target \"default\" {\n context = \"/no/such\"\n args = { A = \"1\" }\n tags = [\"a:1\"]\n \
                      output = [\"type=local,\\\"dest=/a,b\\\"\"]\n no-cache = true\n \
                      contexts = { base = \"target:other\", dir = \"cwd://sub\" }\n}\ntarget \"other\" {}\n"
                    .to_owned(),
        };
        let plan = ::bake::load(&[file], &BTreeMap::new(), &[], &[]).unwrap();
        let parsed = flags::parse(&BUILD, String::new(), &["--load".to_owned(), "x".to_owned()]).unwrap();
        let words = of("default", &plan.targets["default"], &parsed, None).unwrap();
        assert_eq!(
            words,
            [
                "--build-context=dir=sub",
                "--build-arg=A=1",
                "--tag=a:1",
                "--no-cache=true",
                "--output=type=local,\"dest=/a,b\"",
                "--load=true",
                "--",
                "/no/such"
            ]
        );
    }
}
