//! The OCI bundle that bare runtimes run: Docker's own default specification, with a user namespace as Skiff has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::measure::output;

/// First host id of the bundle's user namespace.
const FIRST_ID: u32 = 200_000;

/// Unpacks `rootfs` and writes `config.json` beside it, after `docker`, a container's specification by dockerd.
pub(crate) fn prepare(folder: &Path, rootfs: &Path, docker: &Value) -> Result<PathBuf> {
    let tree = folder.join("rootfs");
    std::fs::create_dir_all(&tree)?;
    output(Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(rootfs))?;
    // Bare runtimes do not id-map a root file system: its owner has to lie in the map.
    output(Command::new("chown").args(["-Rh", &format!("{FIRST_ID}:{FIRST_ID}")]).arg(&tree))?;
    write_spec(folder, docker, &["true"])?;
    Ok(folder.to_owned())
}

/// Writes the specification with another program.
pub(crate) fn write_spec(folder: &Path, docker: &Value, args: &[&str]) -> Result<()> {
    let mut spec = docker.clone();
    spec["root"] = json!({"path": "rootfs", "readonly": false});
    spec["hostname"] = json!("bench");
    spec["process"]["args"] = json!(args);
    spec["process"]["env"] = json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    spec["process"]["noNewPrivileges"] = json!(true);
    spec["linux"]["resources"]["pids"] = json!({"limit": 4096});
    if let Some(object) = spec.as_object_mut() {
        object.remove("hooks");
    }
    if let Some(linux) = spec["linux"].as_object_mut() {
        linux.remove("cgroupsPath");
        linux.remove("sysctl");
    }
    let mounts = spec["mounts"].as_array_mut().context("no mounts")?;
    mounts.retain(|mount| mount["type"] != "bind");
    let namespaces = spec["linux"]["namespaces"].as_array_mut().context("no namespaces")?;
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    for namespace in namespaces.iter_mut() {
        if let Some(object) = namespace.as_object_mut() {
            object.remove("path");
        }
    }
    namespaces.push(json!({"type": "cgroup"}));
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let file = folder.join("config.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&spec)?)
        .with_context(|| format!("write {}", file.display()))
}
