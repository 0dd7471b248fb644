//! What is left of a build beside its outputs: `--iidfile`, `--metadata-file`, the words for a failure.

use std::io::Write as _;

use dockerfile::source::Source;
use engine::build::{BuildError, TargetFailed};
use linux::file::Named as _;
use linux::partial::Partial;
use serde_json::{Map, Value};

use super::progress::harmless;
use crate::context::absolute;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;
use crate::values::environment;

/// Removes the file of an earlier build, so that a failure leaves no id that is not this one's.
pub(super) fn forget_id(parsed: &Parsed) -> Result<()> {
    if let Some(path) = file(parsed, "iidfile") {
        let path = absolute(path)?;
        if linux::partial::is_replaceable(&path) {
            linux::file::remove_if_exists(&path)?;
        }
    }
    Ok(())
}

/// Writes the image's id, without a line end, as Docker does.
pub(super) fn write_id(parsed: &Parsed, id: &str) -> Result<()> {
    if let Some(path) = file(parsed, "iidfile") {
        write(path, id.as_bytes())?;
    }
    Ok(())
}

/// Writes what is known of the result. How much of the provenance is in it `BUILDX_METADATA_PROVENANCE` says (`min`, `max`,
/// `disabled`), warnings come in if `BUILDX_METADATA_WARNINGS` does.
pub(super) fn write_metadata(
    parsed: &Parsed,
    metadata: Map<String, Value>,
    warnings: Vec<Value>,
) -> Result<()> {
    let Some(path) = file(parsed, "metadata-file") else { return Ok(()) };
    let variable = |name: &str| environment::caller(name).unwrap_or_default();
    let metadata = shaped(
        metadata,
        warnings,
        (&variable("BUILDX_METADATA_PROVENANCE"), &variable("BUILDX_METADATA_WARNINGS")),
    );
    let text = format!("{:#}", Value::Object(metadata));
    write(path, text.as_bytes())
}

/// Writes a file that is whole or not there, also for whoever looks while this is killed.
fn write(path: &str, content: &[u8]) -> Result<()> {
    let path = absolute(path)?;
    let mut partial = Partial::create(&path)?;
    partial.file.write_all(content).named("write", &path)?;
    partial.set_mode(rustix::fs::Mode::from_raw_mode(0o644))?;
    Ok(partial.finish()?)
}

/// The same of several targets, each by its name.
pub(super) fn write_metadata_of_targets(
    parsed: &Parsed,
    targets: Vec<(String, Map<String, Value>)>,
    warnings: Vec<Value>,
) -> Result<()> {
    let provenance = environment::caller("BUILDX_METADATA_PROVENANCE").unwrap_or_default();
    let of_target = |(name, metadata)| (name, Value::Object(shaped(metadata, Vec::new(), (&provenance, ""))));
    write_metadata(parsed, targets.into_iter().map(of_target).collect(), warnings)
}

fn shaped(
    mut metadata: Map<String, Value>,
    warnings: Vec<Value>,
    (provenance, with_warnings): (&str, &str),
) -> Map<String, Value> {
    let is_provenance = |key: &str| key.starts_with("buildx.build.provenance");
    match provenance {
        "disabled" | "false" | "0" => metadata.retain(|key, _| !is_provenance(key)),
        "max" => {}
        _ => metadata.iter_mut().filter(|(key, _)| is_provenance(key)).for_each(|(_, told)| shorten(told)),
    }
    if !warnings.is_empty() && matches!(with_warnings, "1" | "true") {
        metadata.insert("buildx.build.warnings".to_owned(), warnings.into());
    }
    metadata.sort_keys();
    metadata
}

/// Leaves out of a provenance, of whichever version, the steps and what is told of the build beside its request.
fn shorten(told: &mut Value) {
    let mut remove = |path: &str, key: &str| {
        if let Some(inside) = told.pointer_mut(path).and_then(Value::as_object_mut) {
            inside.remove(key);
        }
    };
    for (path, key) in [
        ("", "buildConfig"),
        ("", "metadata"),
        ("/buildDefinition/internalParameters", "buildConfig"),
        ("/runDetails", "metadata"),
    ] {
        remove(path, key);
    }
    for (path, key) in [("", "builder"), ("/runDetails", "builder")] {
        let nameless = told.pointer(&format!("{path}/{key}/id")).is_some_and(|id| id == "");
        if let Some(inside) = told.pointer_mut(path).and_then(Value::as_object_mut).filter(|_| nameless) {
            inside.remove(key);
        }
    }
}

fn file<'p>(parsed: &'p Parsed, flag: &'p str) -> Option<&'p str> {
    parsed.text(flag).filter(|path| !path.is_empty())
}

/// Says why nothing was built: the lines at fault, and the causes in one line, as Docker ends a build.
pub(super) fn tell(error: &engine::Error) {
    tell_as("failed to build", error);
}

/// The same of one target of several.
pub(super) fn tell_of_target(failed: &TargetFailed) {
    tell_as(&failed.to_string(), &failed.error);
}

fn tell_as(what: &str, error: &engine::Error) {
    if let Some(BuildError::Dockerfile(faulty)) = of_build(error) {
        output::warn(&format!("{}\n", faulty.render()));
    }
    if let Some(BuildError::Step { place: Some(place), .. }) = of_build(error) {
        let source: &Source = &place.source;
        output::warn(&source.excerpt(place.span));
    }
    output::warn(&format!(
        "ERROR: {what}: failed to solve: {}\n",
        harmless(&oci::without_credentials(&cause(error)))
    ));
}

fn of_build(error: &engine::Error) -> Option<&BuildError> {
    if let engine::Error::Build(inner) = error { Some(inner) } else { None }
}

/// The cause in one line: of a step why it failed, as its name has been shown.
fn cause(error: &engine::Error) -> String {
    match of_build(error) {
        Some(BuildError::Step { source, .. }) => linux::chain(source.as_ref()),
        Some(_) | None => linux::chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn provenance_is_short_unless_it_is_wanted_in_full() {
        let told = |mode: &str| {
            let full = json!({ "buildx.build.provenance/linux/amd64": {
                "buildDefinition": { "buildType": "t", "internalParameters": { "builderPlatform": "p", "buildConfig": {} } },
                "runDetails": { "builder": { "id": "" }, "metadata": { "invocationID": "i" } },
            } });
            Value::Object(shaped(full.as_object().unwrap().clone(), Vec::new(), (mode, ""))).to_string()
        };
        let short = r#"{"buildx.build.provenance/linux/amd64":{"buildDefinition":{"buildType":"t","internalParameters":{"builderPlatform":"p"}},"runDetails":{}}}"#;
        for mode in ["", "min"] {
            assert_eq!(told(mode), short);
        }
        assert!(told("max").contains("buildConfig") && told("max").contains("invocationID"));
        assert_eq!(told("disabled"), "{}");
        let mut old = json!({ "buildType": "t", "builder": { "id": "b" }, "buildConfig": 1, "metadata": 1 });
        shorten(&mut old);
        assert_eq!(old, json!({ "buildType": "t", "builder": { "id": "b" } }));
    }

    #[test]
    fn metadata_has_what_the_environment_wants() {
        let full = || {
            let json =
                json!({ "image.name": "a", "buildx.build.provenance": {}, "containerimage.digest": "d" });
            json.as_object().unwrap().clone()
        };
        let keys = |provenance: &str, warnings: &str| {
            let shaped = shaped(full(), vec![json!(1)], (provenance, warnings));
            shaped.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys("", ""), "buildx.build.provenance containerimage.digest image.name");
        assert_eq!(keys("disabled", ""), "containerimage.digest image.name");
        assert_eq!(
            keys("max", "1"),
            "buildx.build.provenance buildx.build.warnings containerimage.digest image.name"
        );
    }
}
