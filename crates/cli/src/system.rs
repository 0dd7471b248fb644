//! `version` and `info`.

use std::fmt::Write as _;

use engine::info::{Info, Version};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::inspect::One;
use crate::output::{self, units};

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

/// `skiff info`.
pub(crate) fn info(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = One::parse(parsed.text("format"))?;
    let info = context.engine()?.info()?;
    match format {
        One::Pretty => {
            output::print(&info_text(&info));
            for warning in &info.warnings {
                output::warn(&format!("WARNING: {warning}\n"));
            }
        }
        One::Json => output::print(&format!("{}\n", info_document(&info))),
        One::Template(template) => {
            let text = template.execute(&info_document(&info)).map_err(Error::Template)?;
            output::print(&(text + "\n"));
        }
    }
    Ok(0)
}

fn security_options(info: &Info) -> Vec<&'static str> {
    let mut options =
        vec!["name=seccomp,profile=builtin", "name=userns", "name=cgroupns", "name=no-new-privileges"];
    options.extend(info.rootless.then_some("name=rootless"));
    options
}

fn info_text(info: &Info) -> String {
    let version = &info.version;
    let mut text = String::new();
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{}", format!("{:indent$}{name}: {value}", "").trim_end());
    };
    line(0, "Client", &"");
    line(1, "Version", &version.version);
    text.push('\n');
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{}", format!("{:indent$}{name}: {value}", "").trim_end());
    };
    line(0, "Server", &"");
    line(1, "Containers", &info.containers);
    line(2, "Running", &info.running);
    line(2, "Paused", &info.paused);
    line(2, "Stopped", &info.stopped);
    line(1, "Images", &info.images);
    line(1, "Server Version", &version.version);
    line(1, "Storage Driver", &info.snapshotter);
    line(1, "Logging Driver", &"json-file");
    line(1, "Cgroup Driver", &"cgroupfs");
    line(1, "Cgroup Version", &info.cgroup_version);
    line(1, "Security Options", &"");
    for option in security_options(info) {
        let (name, rest) = option.trim_start_matches("name=").split_once(',').unwrap_or((&option[5..], ""));
        let _ = writeln!(text, "  {name}");
        if let Some(profile) = rest.strip_prefix("profile=") {
            let _ = writeln!(text, "   Profile: {profile}");
        }
    }
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{}", format!("{:indent$}{name}: {value}", "").trim_end());
    };
    line(1, "Kernel Version", &version.kernel);
    line(1, "Operating System", &info.operating_system);
    line(1, "OSType", &info.os_type);
    line(1, "Architecture", &info.machine);
    line(1, "CPUs", &info.cpus);
    line(1, "Total Memory", &units::binary_size(info.memory));
    line(1, "Name", &info.name);
    line(1, "Skiff Root Dir", &info.root.display());
    line(1, "Skiff Run Dir", &info.run.display());
    text
}

/// Docker's field names, so that templates written for it work.
fn info_document(info: &Info) -> Value {
    json!({
        "ID": "",
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": info.snapshotter,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version.to_string(),
        "KernelVersion": info.version.kernel,
        "OperatingSystem": info.operating_system,
        "OSType": info.os_type,
        "Architecture": info.machine,
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "DockerRootDir": info.root.display().to_string(),
        "RunDir": info.run.display().to_string(),
        "Name": info.name,
        "ServerVersion": info.version.version,
        "SecurityOptions": security_options(info),
        "Warnings": info.warnings,
        "ClientInfo": { "Version": info.version.version, "Os": "linux", "Arch": info.version.architecture },
    })
}
