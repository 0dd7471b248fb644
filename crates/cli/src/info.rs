//! `info`: Docker's fields, in Docker's order, with what is true of them here.

use std::fmt::Write as _;

use engine::info::Info;
use oci::Timestamp;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::inspect::One;
use crate::output::{self, units};

/// The only runtime there is, as Docker would name it.
const RUNTIME: &str = "skiff";
/// What `--init` puts in front of a container's program.
const INIT: &str = "skiff-monitor";
const VOLUME_DRIVERS: &[&str] = &["local"];
const NETWORK_DRIVERS: &[&str] = &["host", "null"];

/// `skiff info`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = One::parse(parsed.text("format"))?;
    let info = context.engine()?.info()?;
    match format {
        One::Pretty => {
            output::print(&text(&info, context.debug));
            for warning in &info.warnings {
                output::warn(&format!("WARNING: {warning}\n"));
            }
        }
        One::Json => output::print(&format!("{}\n", document(&info, context.debug))),
        One::Template(template) => {
            let text = template.execute(&document(&info, context.debug)).map_err(Error::Template)?;
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

fn cgroup_driver(info: &Info) -> &'static str {
    if info.has_cgroups { "cgroupfs" } else { "none" }
}

/// Lines of `key: value`, indented by what they belong to.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, indent: usize, name: &str, value: impl std::fmt::Display) {
        let line = format!("{:indent$}{name}: {value}", "");
        let _ = writeln!(self.0, "{}", line.trim_end());
    }

    /// A value that stands alone.
    fn bare(&mut self, indent: usize, value: &str) {
        let _ = writeln!(self.0, "{:indent$}{value}", "");
    }
}

fn text(info: &Info, debug: bool) -> String {
    let mut lines = Lines::default();
    lines.add(0, "Client", "");
    lines.add(1, "Version", format_args!("   {}", info.version.version));
    lines.add(1, "Context", "   default");
    lines.add(1, "Debug Mode", debug);
    lines.bare(0, "");
    lines.add(0, "Server", "");
    counts(&mut lines, info);
    features(&mut lines, info);
    host(&mut lines, info, debug);
    lines.0
}

fn counts(lines: &mut Lines, info: &Info) {
    lines.add(1, "Containers", info.containers);
    lines.add(2, "Running", info.running);
    lines.add(2, "Paused", info.paused);
    lines.add(2, "Stopped", info.stopped);
    lines.add(1, "Images", info.images);
    lines.add(1, "Server Version", info.version.version);
    lines.add(1, "Storage Driver", info.snapshotter);
    lines.add(2, "Backing Filesystem", &info.backing_filesystem);
    lines.add(1, "Logging Driver", "json-file");
    lines.add(1, "Cgroup Driver", cgroup_driver(info));
    lines.add(1, "Cgroup Version", info.cgroup_version);
}

fn features(lines: &mut Lines, info: &Info) {
    lines.add(1, "Plugins", "");
    lines.add(2, "Volume", VOLUME_DRIVERS.join(" "));
    lines.add(2, "Network", NETWORK_DRIVERS.join(" "));
    lines.add(2, "Log", info.log_drivers.join(" "));
    lines.add(1, "Swarm", "inactive");
    lines.add(1, "Runtimes", RUNTIME);
    lines.add(1, "Default Runtime", RUNTIME);
    lines.add(1, "Init Binary", INIT);
    lines.add(1, "Security Options", "");
    for option in security_options(info) {
        let option = option.trim_start_matches("name=");
        let (name, rest) = option.split_once(',').unwrap_or((option, ""));
        lines.bare(2, name);
        if let Some(profile) = rest.strip_prefix("profile=") {
            lines.add(3, "Profile", profile);
        }
    }
}

fn host(lines: &mut Lines, info: &Info, debug: bool) {
    lines.add(1, "Kernel Version", &info.version.kernel);
    lines.add(1, "Operating System", &info.operating_system);
    lines.add(1, "OSType", info.os_type);
    lines.add(1, "Architecture", &info.machine);
    lines.add(1, "CPUs", info.cpus);
    lines.add(1, "Total Memory", units::binary_size(info.memory));
    lines.add(1, "Name", &info.name);
    lines.add(1, "ID", &info.id);
    lines.add(1, "Skiff Root Dir", info.root.display());
    lines.add(1, "Skiff Run Dir", info.run.display());
    lines.add(1, "Debug Mode", debug);
    lines.add(1, "Experimental", false);
    // Containers outlive whatever asked for them.
    lines.add(1, "Live Restore Enabled", true);
    lines.add(1, "Firewall Backend", "none");
}

/// Docker's field names in Docker's order, so that templates written for it work.
fn document(info: &Info, debug: bool) -> Value {
    let mut document = Map::new();
    for part in [counts_document(info), limits_document(info, debug), host_document(info)] {
        if let Value::Object(fields) = part {
            document.extend(fields);
        }
    }
    let client = json!({
        "Debug": debug,
        "Version": info.version.version,
        "Os": "linux",
        "Arch": info.version.architecture,
        "Context": "default",
        "Plugins": [],
        "Warnings": null,
    });
    document.insert("ClientInfo".to_owned(), client);
    Value::Object(document)
}

fn counts_document(info: &Info) -> Value {
    json!({
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": info.snapshotter,
        "DriverStatus": [["Backing Filesystem", info.backing_filesystem]],
        "Plugins": {
            "Volume": VOLUME_DRIVERS,
            "Network": NETWORK_DRIVERS,
            "Authorization": null,
            "Log": info.log_drivers,
        },
    })
}

fn limits_document(info: &Info, debug: bool) -> Value {
    let limits = &info.limits;
    json!({
        "MemoryLimit": limits.memory,
        "SwapLimit": limits.swap,
        "CpuCfsPeriod": limits.cpu_quota,
        "CpuCfsQuota": limits.cpu_quota,
        "CPUShares": limits.cpu_shares,
        "CPUSet": limits.cpuset,
        "PidsLimit": limits.pids,
        "IPv4Forwarding": info.ipv4_forwarding,
        "Debug": debug,
        "OomKillDisable": limits.oom_kill_disable,
        "SystemTime": Timestamp::from(std::time::SystemTime::now()).to_string(),
        "LoggingDriver": "json-file",
        "CgroupDriver": cgroup_driver(info),
        "CgroupVersion": info.cgroup_version.to_string(),
    })
}

fn host_document(info: &Info) -> Value {
    json!({
        "KernelVersion": info.version.kernel,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "OSType": info.os_type,
        "Architecture": info.machine,
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "GenericResources": null,
        "DockerRootDir": info.root.display().to_string(),
        "RunDir": info.run.display().to_string(),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": info.name,
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": info.version.version,
        "Runtimes": { RUNTIME: { "path": RUNTIME } },
        "DefaultRuntime": RUNTIME,
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": INIT,
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": security_options(info),
        "FirewallBackend": { "Driver": "none" },
        "CDISpecDirs": [],
        "Warnings": info.warnings,
    })
}
