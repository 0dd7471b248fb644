//! `inspect`, `container inspect`, `image inspect`: everything about things, as the JSON that Docker prints.

mod attested;
mod container;
mod image;

pub(crate) use attested::Fields as AttestedFields;

use engine::Kind;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use template::Template;

/// `skiff inspect`.
pub(crate) fn any(context: &Context, parsed: &Parsed) -> Result<u8> {
    match parsed.text("type").unwrap_or_default() {
        "" => run(context, parsed, &|context, parsed, name| match container::document(
            context,
            name,
            parsed.on("size"),
        ) {
            Err(error) if is_missing(&error) => image::document(context, name, None),
            found => found,
        }),
        "container" => containers(context, parsed),
        "image" => images(context, parsed),
        other => Err(Error::ObjectType { name: other.to_owned() }),
    }
}

/// `skiff container inspect`.
pub(crate) fn containers(context: &Context, parsed: &Parsed) -> Result<u8> {
    run(context, parsed, &|context, parsed, name| container::document(context, name, parsed.on("size")))
}

/// What `container inspect` prints of one container.
pub(crate) fn container_document(context: &Context, name: &str) -> Result<Value> {
    container::document(context, name, false)
}

/// `skiff image inspect`.
pub(crate) fn images(context: &Context, parsed: &Parsed) -> Result<u8> {
    // `skiff inspect --type image` has no such flag.
    let platform = if parsed.path == "inspect" { None } else { parsed.text("platform") };
    let attested = attested::Fields::of(parsed.text("format"));
    run(context, parsed, &|context, _, name| {
        let mut document = image::document(context, name, platform)?;
        if attested.any() {
            let platform = platform.filter(|text| !text.is_empty());
            let wanted = |kind: &str| attested.want(kind);
            attested.add(&mut document, context.engine()?.image_statements(name, platform, &wanted)?);
        }
        Ok(document)
    })
}

type Lookup<'a> = &'a dyn Fn(&Context, &Parsed, &str) -> Result<Value>;

/// Prints what is found, then what is not.
fn run(context: &Context, parsed: &Parsed, lookup: Lookup<'_>) -> Result<u8> {
    let format = One::parse(parsed.text("format"))?;
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &parsed.arguments {
        match lookup(context, parsed, name) {
            Ok(document) => found.push(document),
            Err(error) if is_missing(&error) && parsed.path == "inspect" && parsed.text("type").is_none() => {
                failures.push(Error::NoSuchObject { name: name.clone() });
            }
            Err(error) => failures.push(error),
        }
    }
    match &format {
        One::Pretty => output::print(&(pretty(&Value::Array(found)) + "\n")),
        One::Json => output::print(&format!("{}\n", Value::Array(found))),
        One::Template(template) => {
            for document in &mut found {
                container::add_absent(document);
                output::print(&(template.execute(document).map_err(Error::Template)? + "\n"));
            }
        }
    }
    failures.iter().for_each(output::complain);
    Ok(u8::from(!failures.is_empty()))
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Engine(inner) if inner.kind() == Kind::NotFound)
}

/// How one thing is shown.
pub(crate) enum One {
    /// As the command sees fit.
    Pretty,
    /// JSON on one line.
    Json,
    /// By a template.
    Template(Template),
}

impl One {
    /// Reads `--format`.
    pub(crate) fn parse(given: Option<&str>) -> Result<One> {
        match given {
            None | Some("") => Ok(One::Pretty),
            Some("json") => Ok(One::Json),
            Some(text) => Ok(One::Template(Template::parse(text).map_err(Error::Template)?)),
        }
    }
}

/// JSON with four blanks a level, as Docker prints it.
fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "));
    // A value that came from JSON types goes into memory without fail.
    let _written = value.serialize(&mut serializer);
    String::from_utf8_lossy(&out).into_owned()
}
