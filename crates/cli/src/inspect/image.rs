//! An image as Docker's JSON.

use engine::info::ImageInfo;
use oci::{ImageConfig, Timestamp};
use serde_json::{Value, json};

use super::container::set;
use crate::context::Context;
use crate::error::{Error, Result};

/// The document.
pub(super) fn document(context: &Context, name: &str, platform: Option<&str>) -> Result<Value> {
    let info = context.engine()?.image_inspect(name, platform.filter(|text| !text.is_empty()))?;
    let config = ImageConfig::parse(&info.config)
        .map_err(|source| Error::ImageConfig { id: info.summary.id.clone(), source })?;
    Ok(render(&info, &config))
}

fn render(info: &ImageInfo, config: &ImageConfig) -> Value {
    let mut document = json!({
        "Id": info.summary.id,
        "RepoTags": info.summary.tags,
        "RepoDigests": info.summary.repo_digests,
        "Parent": "",
        "Comment": config.comment,
        "Created": config.created.unwrap_or(Timestamp::ZERO).to_string(),
        "DockerVersion": "",
        "Author": config.author,
        "Config": container_config(config),
        "Architecture": info.architecture,
    });
    let rest = json!({
        "Os": info.os,
        "Size": info.summary.size,
        "RootFS": { "Type": "layers", "Layers": info.layers },
        "Metadata": { "LastTagTime": Timestamp::ZERO.to_string() },
    });
    if let (Value::Object(fields), Value::Object(rest)) = (&mut document, rest) {
        if let Some(variant) = &info.variant {
            fields.insert("Variant".to_owned(), json!(variant));
        }
        fields.extend(rest);
        // Docker has no such field; it is there only where there is something to say.
        if !info.attestations.is_empty() {
            let told = info.attestations.iter().map(
                |one| json!({ "PredicateType": one.predicate_type, "Digest": one.digest, "Size": one.size }),
            );
            fields.insert("Attestations".to_owned(), told.collect());
        }
    }
    document
}

fn container_config(config: &ImageConfig) -> Value {
    let of = &config.config;
    let mut document = json!({
        "Hostname": "",
        "Domainname": "",
        "User": of.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "ExposedPorts": set(of.exposed_ports.iter().cloned()),
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": of.env,
        "Cmd": of.cmd,
        "Image": "",
        "Volumes": set(of.volumes.iter().cloned()),
        "WorkingDir": of.working_dir,
        "Entrypoint": of.entrypoint,
        "OnBuild": if of.on_build.is_empty() { Value::Null } else { json!(of.on_build) },
        "Labels": if of.labels.is_empty() { Value::Null } else { json!(of.labels) },
    });
    if let Value::Object(fields) = &mut document {
        if fields.get("ExposedPorts") == Some(&Value::Null) {
            fields.shift_remove("ExposedPorts");
        }
        if !of.stop_signal.is_empty() {
            fields.insert("StopSignal".to_owned(), json!(of.stop_signal));
        }
        if !of.shell.is_empty() {
            fields.insert("Shell".to_owned(), json!(of.shell));
        }
        if let Some(check) = &of.healthcheck {
            fields.insert("Healthcheck".to_owned(), json!(check));
        }
    }
    document
}
