//! `RUN --mount` and `--device`.

use super::{size, words};
use crate::expand::with_suggestion;
use crate::source::{Diagnostic, Result};
use crate::syntax::{Device, Identity, Mount, MountFlag, MountKind, Sharing, Text};

const KEYS: [&str; 17] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "ro",
    "rw",
    "readwrite",
];
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// Splits a flag's value into fields; the rest is [`resolve`]'s, once variables are known.
pub(super) fn flag(text: &Text) -> Result<MountFlag> {
    let fields = words::csv(&text.value)
        .map_err(|why| Diagnostic::error(format!("failed to parse csv mounts: {why}"), text.span))?;
    let mut from = None;
    let fields = fields.into_iter().map(|field| match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value.to_owned()), field.clone()),
        None => (field.to_lowercase(), None, field.clone()),
    });
    let fields: Vec<(String, Option<String>, String)> = fields.collect();
    for (key, value, _) in &fields {
        if let ("from", Some(value)) = (key.as_str(), value) {
            if value.strip_suffix('$').unwrap_or(value).contains('$') {
                let message = "'from' doesn't support variable expansion, define alias stage instead";
                return Err(Diagnostic::error(message, text.span));
            }
            from = Some(value.clone()).filter(|from| !from.is_empty());
        }
    }
    Ok(MountFlag { fields, from, span: text.span })
}

/// The fields as they are read, before it is known whether they go together.
#[derive(Default)]
struct Fields {
    kind: Option<&'static str>,
    from: String,
    source: String,
    target: String,
    id: String,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

/// A mount, its variables replaced by `expand`.
///
/// # Errors
/// If a field is unknown, has a bad value, or does not go with the mount's type; or if `expand` fails.
pub fn resolve(flag: &MountFlag, mut expand: impl FnMut(&str) -> Result<String>) -> Result<Mount> {
    let mut fields = Fields::default();
    for (key, value, written) in &flag.fields {
        let read = match value {
            None => bare(&mut fields, key, written),
            Some(value) => valued(&mut fields, key, &expand(value)?, written),
        };
        read.map_err(|message| Diagnostic::error(message, flag.span))?;
    }
    finish(fields).map_err(|message| Diagnostic::error(message, flag.span))
}

fn kind(fields: &Fields) -> &'static str {
    fields.kind.unwrap_or("bind")
}

/// A field without `=`.
fn bare(fields: &mut Fields, key: &str, written: &str) -> std::result::Result<(), String> {
    match key {
        "readonly" | "ro" => fields.read_only = Some(true),
        "readwrite" | "rw" => fields.read_only = Some(false),
        "required" if matches!(kind(fields), "secret" | "ssh") => fields.required = true,
        "required" => return Err(format!("unexpected key '{key}' for mount type '{}'", kind(fields))),
        _ => return Err(format!("invalid field '{written}' must be a key=value pair")),
    }
    Ok(())
}

/// A field with `=`.
fn valued(fields: &mut Fields, key: &str, value: &str, written: &str) -> std::result::Result<(), String> {
    let unexpected = |kind: &str| Err(format!("unexpected key '{key}' for mount type '{kind}'"));
    let number = || value.parse().map_err(|_| format!("invalid value {value} for {key}"));
    match key {
        "type" => {
            let lower = value.to_lowercase();
            let Some(known) = TYPES.into_iter().find(|known| **known == lower) else {
                return Err(with_suggestion(format!("unsupported mount type {value:?}"), value, TYPES));
            };
            fields.kind = Some(known);
        }
        "from" => fields.from = value.to_owned(),
        "source" | "src" => fields.source = value.to_owned(),
        "target" | "dst" | "destination" => fields.target = value.to_owned(),
        "readonly" | "ro" => fields.read_only = Some(boolean(key, value)?),
        "readwrite" | "rw" => fields.read_only = Some(!boolean(key, value)?),
        "required" if matches!(kind(fields), "secret" | "ssh") => fields.required = boolean(key, value)?,
        "required" => return unexpected(kind(fields)),
        "size" if kind(fields) == "tmpfs" => {
            fields.size =
                Some(size::parse(value).ok_or_else(|| format!("invalid value for {key}: {value}"))?);
        }
        "size" => return unexpected(kind(fields)),
        "id" => fields.id = value.to_owned(),
        "sharing" => fields.sharing = Some(sharing(value)?),
        "mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|_| !value.starts_with('+'));
            fields.mode = Some(mode.ok_or_else(|| format!("invalid value {value} for mode"))?);
        }
        "uid" => fields.uid = Some(number()?),
        "gid" => fields.gid = Some(number()?),
        "env" if kind(fields) == "secret" => fields.env = Some(value.to_owned()),
        "env" => return unexpected(kind(fields)),
        _ => return Err(with_suggestion(format!("unexpected key '{key}' in '{written}'"), key, KEYS)),
    }
    Ok(())
}

fn sharing(value: &str) -> std::result::Result<Sharing, String> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => {
            let known = ["shared", "private", "locked"];
            Err(with_suggestion(format!("unsupported sharing value {value:?}"), value, known))
        }
    }
}

/// A truth value as Go reads it.
fn boolean(key: &str, value: &str) -> std::result::Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

/// What goes with which type.
fn finish(fields: Fields) -> std::result::Result<Mount, String> {
    let name = kind(&fields);
    let given = [("mode", fields.mode), ("uid", fields.uid), ("gid", fields.gid)];
    if let (Some((key, _)), "bind" | "tmpfs") = (given.iter().find(|(_, value)| value.is_some()), name) {
        return Err(format!("{key} not allowed for {name:?} type mounts"));
    }
    if name == "secret" {
        if !fields.from.is_empty() {
            return Err("secret mount should not have a from".to_owned());
        }
        if fields.sharing.is_some() {
            return Err("secret mount should not define sharing".to_owned());
        }
        if fields.source.is_empty() && fields.target.is_empty() && fields.id.is_empty() {
            return Err("invalid secret mount. one of source, target required".to_owned());
        }
        if !fields.source.is_empty() && !fields.id.is_empty() {
            return Err("both source and id can't be set".to_owned());
        }
    }
    if fields.sharing.is_some() && name != "cache" {
        return Err(format!("invalid cache sharing set for {name} mount"));
    }
    let read_only = fields.read_only.unwrap_or(!matches!(name, "cache" | "tmpfs"));
    Ok(Mount { target: fields.target.clone(), read_only, kind: kind_of(name, fields) })
}

fn kind_of(name: &str, fields: Fields) -> MountKind {
    let identity = |mode: u32| Identity {
        mode: fields.mode.unwrap_or(mode),
        uid: fields.uid.unwrap_or_default(),
        gid: fields.gid.unwrap_or_default(),
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    match name {
        "cache" => MountKind::Cache {
            identity: identity(0o755),
            id: some(fields.id).unwrap_or(fields.target),
            from: some(fields.from),
            source: fields.source,
            sharing: fields.sharing.unwrap_or_default(),
        },
        "tmpfs" => MountKind::Tmpfs { size: fields.size },
        "secret" => {
            let base = fields.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            MountKind::Secret {
                identity: identity(0o400),
                id: some(fields.source).or(some(fields.id)).unwrap_or(base),
                file: fields.env.is_none() || !fields.target.is_empty(),
                env: fields.env,
                required: fields.required,
            }
        }
        "ssh" => MountKind::Ssh {
            identity: identity(0o600),
            id: some(fields.id).unwrap_or_else(|| "default".to_owned()),
            required: fields.required,
        },
        _ => MountKind::Bind { from: some(fields.from), source: fields.source },
    }
}

/// `--device=NAME[,required]`.
pub(super) fn device(text: &Text) -> Result<Device> {
    device_fields(&text.value).map_err(|message| Diagnostic::error(message, text.span))
}

fn device_fields(text: &str) -> std::result::Result<Device, String> {
    let fields = words::csv(text).map_err(|why| format!("failed to parse csv devices: {why}"))?;
    let mut device = Device { name: String::new(), required: false };
    for field in fields {
        match field.split_once('=').map(|(key, value)| (key.to_lowercase(), value)) {
            None if field.eq_ignore_ascii_case("required") => device.required = true,
            None if device.name.is_empty() => device.name = field,
            None => return Err(format!("invalid field '{field}' must be a key=value pair")),
            Some((key, value)) => match key.as_str() {
                "name" if device.name.is_empty() => device.name = value.to_owned(),
                "name" => return Err(format!("device name already set to {}", device.name)),
                "required" => device.required = boolean(&key, value)?,
                _ if device.name.is_empty() => device.name = field,
                _ => {
                    let message = format!("unexpected key '{key}' in '{field}'");
                    return Err(with_suggestion(message, &key, ["name", "required"]));
                }
            },
        }
    }
    Ok(device)
}
