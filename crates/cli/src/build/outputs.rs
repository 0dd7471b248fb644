//! Where results go: `-o`, `--push`, `--load`, caches, and what is attested of them.
//!
//! What the engine gets has a `type` first and absolute paths. `registry` is there what it is with BuildKit: an `image` that is
//! pushed.

use std::collections::BTreeMap;

use engine::request::Fields;

use super::csv::{self, pairs, value_of};
use super::fault::Fault;
use crate::context::absolute;
use crate::flags::parse::parse_bool;

/// `-o`: a folder, `-` for a tar on standard output, or fields.
pub(super) fn output(text: &str) -> Result<Fields, String> {
    let bare = |kind: &str, path: &str| vec![field("type", kind), field("dest", path)];
    let fields = csv::fields(text)?;
    let mut given: Fields = match fields.as_slice() {
        [only] if only == "-" => bare("tar", "-"),
        [only] if only == text && !only.starts_with("type=") => bare("local", only),
        fields => fields.iter().map(|field| csv::pair(field)).collect::<Result<_, _>>()?,
    };
    let kind = value_of(&given, "type").unwrap_or_default().to_owned();
    let dest = value_of(&given, "dest").map(str::to_owned);
    match kind.as_str() {
        "" => return Err("type is required for output".to_owned()),
        "local" if dest.as_deref().is_none_or(|dest| dest.is_empty() || dest == "-") => {
            return Err("dest is required for local exporter".to_owned());
        }
        "image" | "registry" | "local" | "tar" | "oci" | "docker" | "cacheonly" => {}
        _ => return Err(format!("unsupported output type {kind:?}")),
    }
    if let Some(dest) = dest.filter(|dest| dest != "-") {
        set(&mut given, "dest", &absolute_text(&dest)?);
    }
    if kind == "registry" {
        set(&mut given, "type", "image");
        set(&mut given, "push", "true");
    }
    given.sort_by_key(|(key, _)| key != "type");
    Ok(given)
}

/// Outputs with what `--push` and `--load` add: they change one that is there, or are one more.
pub(super) fn with_shorthands(mut outputs: Vec<Fields>, push: bool, load: bool) -> Vec<Fields> {
    if push {
        let mut images = 0;
        for output in outputs.iter_mut().filter(|output| value_of(output, "type") == Some("image")) {
            images += 1;
            set(output, "push", "true");
        }
        if images == 0 {
            outputs.push(vec![field("type", "image"), field("push", "true")]);
        }
    }
    let loads =
        |output: &Fields| value_of(output, "type") == Some("docker") && value_of(output, "dest").is_none();
    // Alone it asks for what happens anyway.
    if load && !outputs.is_empty() && !outputs.iter().any(loads) {
        outputs.push(vec![field("type", "docker")]);
    }
    outputs
}

/// Refuses what cannot be: an archive to a terminal, an id of no image, a push to nowhere.
pub(super) fn check(
    outputs: &[Fields],
    tags: &[String],
    iidfile: bool,
    to_terminal: bool,
) -> Result<(), Fault> {
    for output in outputs {
        let kind = value_of(output, "type").unwrap_or_default();
        let dest = value_of(output, "dest");
        if iidfile && matches!(kind, "local" | "tar") {
            return Err(Fault::IdOfNoImage);
        }
        let to_stdout = dest == Some("-") || (dest.is_none() && matches!(kind, "tar" | "oci"));
        if to_stdout && to_terminal {
            return Err(Fault::OutputToTerminal { kind: kind.to_owned() });
        }
        let pushes = kind == "image" && value_of(output, "push").and_then(parse_bool).unwrap_or(false);
        let named = value_of(output, "name").is_some_and(|name| !name.is_empty());
        if pushes && tags.is_empty() && !named {
            return Err(Fault::PushWithoutTag);
        }
    }
    Ok(())
}

/// Whether something is written to standard output.
pub(super) fn uses_stdout(outputs: &[Fields]) -> bool {
    outputs.iter().any(|output| {
        let kind = value_of(output, "type").unwrap_or_default();
        value_of(output, "dest").map_or(matches!(kind, "tar" | "oci"), |dest| dest == "-")
    })
}

/// `--cache-from`, `--cache-to`: images by name, or fields.
pub(super) fn caches(text: &str) -> Result<Vec<Fields>, String> {
    let names = csv::fields(text)?;
    if names.iter().all(|name| !name.contains('=')) {
        let named = names.iter().filter(|name| !name.is_empty());
        return Ok(named.map(|name| vec![field("type", "registry"), field("ref", name)]).collect());
    }
    cache(text).map(|cache| vec![cache])
}

/// Fields with a type, paths made absolute.
pub(super) fn cache(text: &str) -> Result<Fields, String> {
    let mut given = pairs(text)?;
    let kind = value_of(&given, "type").unwrap_or_default().to_owned();
    if kind.is_empty() {
        return Err(format!("type required form> {text:?}"));
    }
    if matches!(kind.as_str(), "local" | "tar") {
        for (key, value) in &mut given {
            if matches!(key.as_str(), "src" | "dest") {
                *value = absolute_text(value)?;
            }
        }
    }
    given.sort_by_key(|(key, _)| key != "type");
    Ok(given)
}

/// What is attested, by type; nothing of what is turned off.
pub(super) type Attestation = (String, Option<Fields>);

/// One `--attest`, or one `--provenance` or `--sbom`, whose type `kind` is.
pub(super) fn attestation(kind: &str, text: &str) -> Result<Attestation, String> {
    let given = csv::fields(&shorthand(kind, text))?;
    let mut fields = given.iter().map(|field| attribute(field)).collect::<Result<Fields, String>>()?;
    let name = value_of(&fields, "type").unwrap_or_default().to_owned();
    match name.as_str() {
        "" => return Err("attestation type not specified".to_owned()),
        "sbom" | "provenance" => {}
        _ => return Err(format!("unknown attestation type {name:?}: sbom or provenance")),
    }
    let off = match value_of(&fields, "disabled") {
        Some(text) => parse_bool(text).ok_or_else(|| format!("disabled: not a boolean: {text:?}"))?,
        None => false,
    };
    fields.retain(|(key, _)| key != "type" && key != "disabled");
    Ok((name, (!off).then_some(fields)))
}

/// A field of an attestation. Those that a generator takes have names of its own, in which letters are large or small.
fn attribute(field: &str) -> Result<(String, String), String> {
    let (key, value) = csv::pair(field)?;
    let written = field.split_once('=').map_or("", |(key, _)| key.trim()).to_owned();
    let is_known = matches!(key.as_str(), "type" | "disabled" | "generator");
    Ok((if is_known { key } else { written }, value))
}

/// All of them; of one type the last counts. Of provenance nothing is said where nobody has said a word about it, and the engine tells
/// the least of images that leave this host; unless `defaults` are not wanted.
pub(super) fn merge(given: Vec<Attestation>, defaults: bool) -> BTreeMap<String, Fields> {
    let mut found: BTreeMap<String, Option<Fields>> = given.into_iter().collect();
    if !defaults {
        found.entry("provenance".to_owned()).or_insert(None);
    }
    let off = || vec![field("disabled", "true")];
    found.into_iter().map(|(name, fields)| (name, fields.unwrap_or_else(off))).collect()
}

/// `--sbom=true` and `--provenance=mode=max` as `--attest` has them.
fn shorthand(kind: &str, text: &str) -> String {
    match (kind, parse_bool(text)) {
        ("", _) => text.to_owned(),
        (kind, Some(on)) => format!("type={kind},disabled={}", !on),
        (kind, None) => format!("type={kind},{text}"),
    }
}

fn field(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn set(fields: &mut Fields, key: &str, value: &str) {
    fields.retain(|(name, _)| name != key);
    fields.push(field(key, value));
}

fn absolute_text(path: &str) -> Result<String, String> {
    absolute(path).map(|path| path.to_string_lossy().into_owned()).map_err(|error| error.chain())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fields: &Fields) -> String {
        let pairs: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    #[test]
    fn outputs_are_folders_archives_and_images() {
        for (text, want) in [
            ("/out", "type=local,dest=/out"),
            ("-", "type=tar,dest=-"),
            ("type=tar,dest=/x.tar", "type=tar,dest=/x.tar"),
            ("dest=/x,Type=oci,tar=false", "type=oci,tar=false,dest=/x"),
            ("type=registry", "type=image,push=true"),
            ("type=image,name=a,push=true", "type=image,name=a,push=true"),
            ("type=local,\"dest=/a,b\"", "type=local,dest=/a,b"),
            ("\"type=image\",\"name=a,b\"", "type=image,name=a,b"),
        ] {
            assert_eq!(shown(&output(text).unwrap()), want, "{text}");
        }
        for (text, want) in [
            ("type=local", "dest is required for local exporter"),
            ("dest=/x,push=true", "type is required for output"),
            ("type=floppy", "unsupported output type \"floppy\""),
            ("type=local,dest", "invalid field 'dest' must be a key=value pair"),
            ("a\"b", "bare \" in non-quoted field"),
        ] {
            assert_eq!(output(text).unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn shorthands_change_what_is_there_or_are_one_more() {
        for (given, push, load, want) in [
            (&[][..], false, true, ""),
            (&[], true, false, "type=image,push=true"),
            (&[], true, true, "type=image,push=true|type=docker"),
            (&["type=image,name=a"], true, false, "type=image,name=a,push=true"),
            (&["/out"], true, false, "type=local,dest=/out|type=image,push=true"),
            (&["type=docker"], false, true, "type=docker"),
            (&["type=docker,dest=/x"], false, true, "type=docker,dest=/x|type=docker"),
        ] {
            let outputs = given.iter().map(|text| output(text).unwrap()).collect();
            let all: Vec<String> = with_shorthands(outputs, push, load).iter().map(shown).collect();
            assert_eq!(all.join("|"), want, "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |text: &str, tags: &[String], iidfile, terminal| {
            check(&[output(text).unwrap()], tags, iidfile, terminal).map_err(|fault| fault.to_string())
        };
        let tags = ["a".to_owned()];
        assert_eq!(
            check("/x", &tags, true, false).unwrap_err(),
            "local and tar exporters are incompatible with image ID file"
        );
        assert!(check("type=registry", &[], false, false).unwrap_err().starts_with("tag is needed"));
        assert!(check("-", &tags, false, true).unwrap_err().starts_with("dest file is required for tar"));
        for text in ["type=registry", "type=oci,dest=/x", "type=docker"] {
            assert_eq!(check(text, &tags, true, true), Ok(()));
        }
        assert!(
            uses_stdout(&[output("type=oci").unwrap()]) && !uses_stdout(&[output("type=docker").unwrap()])
        );
    }

    #[test]
    fn caches_are_images_or_fields() {
        for (text, want) in [
            ("user/app:cache", "type=registry,ref=user/app:cache"),
            ("a,b", "type=registry,ref=a|type=registry,ref=b"),
            ("dest=/c,type=local", "type=local,dest=/c"),
            ("type=inline", "type=inline"),
        ] {
            let all: Vec<String> = caches(text).unwrap().iter().map(shown).collect();
            assert_eq!(all.join("|"), want, "{text}");
        }
        assert_eq!(caches("ref=a").unwrap_err(), "type required form> \"ref=a\"");
    }

    #[test]
    fn attestations_are_merged_by_type() {
        let merged = |attests: &[(&str, &str)], defaults| {
            let given = attests.iter().map(|(kind, text)| attestation(kind, text));
            let found = merge(given.collect::<Result<_, _>>()?, defaults);
            let all: Vec<String> =
                found.iter().map(|(kind, fields)| format!("{kind}:{}", shown(fields))).collect();
            Ok::<_, String>(all.join("|"))
        };
        for (attests, defaults, want) in [
            (&[][..], true, ""),
            (&[], false, "provenance:disabled=true"),
            (&[("provenance", "false")], true, "provenance:disabled=true"),
            (&[("provenance", "mode=max"), ("sbom", "true")], true, "provenance:mode=max|sbom:"),
            (&[("", "type=sbom,generator=x"), ("provenance", "true")], false, "provenance:|sbom:generator=x"),
            (&[("", "Type=sbom,Generator=x,Mode=Fast")], true, "sbom:generator=x,Mode=Fast"),
            (&[("", "type=sbom"), ("sbom", "false")], true, "sbom:disabled=true"),
        ] {
            assert_eq!(merged(attests, defaults).unwrap(), want, "{attests:?}");
        }
        assert_eq!(merged(&[("", "mode=max")], false).unwrap_err(), "attestation type not specified");
        assert!(merged(&[("", "type=x")], false).is_err());
    }
}
