//! `version`.

use std::fmt::Write as _;

use engine::info::Version;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::inspect::One;
use crate::output;

/// `skiff version`.
pub(crate) fn version(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = One::parse(parsed.text("format"))?;
    let version = context.engine()?.version();
    let platform = format!("linux/{}", version.architecture);
    match format {
        One::Pretty => {
            let mut text = String::new();
            let mut line = |indent: usize, name: &str, value: &str| {
                let lead = format!("{:indent$}{name}:", "");
                let _ = writeln!(text, "{lead:<19} {value}");
            };
            line(0, "Client", "");
            line(1, "Version", version.version);
            line(1, "OS/Arch", &platform);
            line(0, "Server", "Skiff, in the client: there is no daemon");
            line(1, "Engine", "");
            line(2, "Version", version.version);
            line(2, "OS/Arch", &platform);
            line(2, "Kernel", &version.kernel);
            line(1, "sqlite", "");
            line(2, "Version", &version.sqlite);
            line(2, "Schema", &version.schema.to_string());
            let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            output::print(&(text.replace("\nServer:", "\n\nServer:") + "\n"));
        }
        One::Json => output::print(&format!("{}\n", version_document(&version))),
        One::Template(template) => {
            let text = template.execute(&version_document(&version)).map_err(Error::Template)?;
            output::print(&(text + "\n"));
        }
    }
    Ok(0)
}

fn version_document(version: &Version) -> Value {
    let side = json!({
        "Platform": { "Name": "Skiff" },
        "Version": version.version,
        "Os": "linux",
        "Arch": version.architecture,
    });
    let mut server = side.clone();
    if let Value::Object(fields) = &mut server {
        fields.insert("KernelVersion".to_owned(), json!(version.kernel));
        let engine = json!({ "Name": "Engine", "Version": version.version, "Details": {
            "Arch": version.architecture, "Os": "linux", "KernelVersion": version.kernel,
        } });
        let sqlite = json!({ "Name": "sqlite", "Version": version.sqlite, "Details": {
            "Schema": version.schema.to_string(),
        } });
        fields.insert("Components".to_owned(), json!([engine, sqlite]));
    }
    json!({ "Client": side, "Server": server })
}
