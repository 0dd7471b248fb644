//! A container as Docker's JSON.

use std::path::{Path, PathBuf};

use engine::info::{ContainerInfo, HealthReport, Probe, Status, VolumeMount};
use engine::request::{
    BindRecursion, DeviceRate, HostOptions, IpcMode, MountRequest, MountSource, Resources, RestartPolicy,
};
use engine::spec::ProcessSpec;
use oci::Timestamp;
use serde_json::{Map, Value, json};

use crate::container::size;
use crate::context::Context;
use crate::error::Result;

/// The document; `sizes` adds what was written.
pub(super) fn document(context: &Context, name: &str, sizes: bool) -> Result<Value> {
    let info = context.engine()?.inspect(name)?;
    let mut document = render(&info);
    if sizes && let Value::Object(fields) = &mut document {
        let written = size::written(context.engine()?, &info);
        // A container outlives a name of its image, never the image; one that is gone anyway has no size.
        let image =
            context.engine()?.image_inspect(&info.spec.image_id, None).map_or(0, |image| image.summary.size);
        fields.insert("SizeRw".to_owned(), Value::from(written));
        fields.insert("SizeRootFs".to_owned(), Value::from(written + image));
    }
    Ok(document)
}

fn render(info: &ContainerInfo) -> Value {
    let args = info.spec.process.args();
    let (path, args) = args.split_first().map_or(("", &[][..]), |(path, args)| (path.as_str(), args));
    json!({
        "Id": info.id.as_str(),
        "Created": info.created.to_string(),
        "Path": path,
        "Args": args,
        "State": state(info),
        "Image": info.spec.image_id,
        "ResolvConfPath": text(&info.resolv_conf_path),
        "HostnamePath": text(&info.hostname_path),
        "HostsPath": text(&info.hosts_path),
        "LogPath": info.log_path.as_deref().map_or_else(String::new, text),
        "Name": format!("/{}", info.name),
        "RestartCount": info.state.restarts,
        "Driver": info.snapshotter,
        "Platform": info.spec.platform.split('/').next().unwrap_or("linux"),
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host(info),
        "GraphDriver": { "Data": layer(info), "Name": info.snapshotter },
        "Mounts": info.volumes.iter().map(volume).chain(info.spec.host.mounts.iter().map(mount)).collect::<Vec<_>>(),
        "Config": config(&info.spec.process, &info.spec.image),
        "NetworkSettings": network(&info.spec.host),
    })
}

/// Where its writable layer can be found: directories, or a disk in which they are, which is mounted where nobody can walk.
fn layer(info: &ContainerInfo) -> Value {
    let directory = |name| text(&info.directory.join(name));
    match &info.disk {
        Some(disk) => json!({ "Disk": text(disk) }),
        None => json!({ "UpperDir": directory("upper"), "WorkDir": directory("work") }),
    }
}

/// Docker's templates see a typed container or image: what its JSON leaves out is nil there (`{{if .State.Health}}`).
pub(super) fn add_absent(document: &mut Value) {
    const ABSENT: [(&str, &[&str]); 3] = [
        ("/State", &["Health"]),
        ("/Config", &["ExposedPorts", "Healthcheck", "Shell", "StopTimeout"]),
        ("/HostConfig", &["Annotations", "StorageOpt", "Sysctls", "Tmpfs"]),
    ];
    for (part, absent) in ABSENT {
        if let Some(Value::Object(fields)) = document.pointer_mut(part) {
            for field in absent {
                fields.entry(*field).or_insert(Value::Null);
            }
        }
    }
    if let Some(Value::Object(config)) = document.get_mut("Config") {
        config.entry("StopSignal").or_insert(Value::from(""));
    }
    if let Value::Object(fields) = document
        && fields.contains_key("State")
    {
        for size in ["SizeRw", "SizeRootFs"] {
            fields.entry(size).or_insert(Value::Null);
        }
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.unwrap_or(Timestamp::ZERO).to_string()
}

fn state(info: &ContainerInfo) -> Value {
    let state = &info.state;
    let mut document = json!({
        "Status": state.status.as_str(),
        "Running": state.status.is_running(),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "LogLinesLost": state.log_lines_lost,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at),
    });
    if let (Value::Object(fields), Some(health)) = (&mut document, &info.health) {
        fields.insert("Health".to_owned(), report(health));
    }
    document
}

fn report(health: &HealthReport) -> Value {
    let probe = |probe: &Probe| {
        json!({
            "Start": timestamp(probe.started_at_ns).to_string(),
            "End": timestamp(probe.ended_at_ns).to_string(),
            "ExitCode": probe.code,
            "Output": probe.output,
        })
    };
    json!({
        "Status": health.state.as_str(),
        "FailingStreak": health.streak,
        "Log": health.log.iter().map(probe).collect::<Vec<_>>(),
    })
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    let within = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
    Timestamp::new(nanoseconds.div_euclid(1_000_000_000), within).unwrap_or(Timestamp::EPOCH)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Paths that are hidden. Docker does not say so of what nothing is hidden from because it is privileged.
fn paths(host: &HostOptions, hidden: &[PathBuf]) -> Value {
    if host.privileged { Value::Null } else { hidden.iter().map(|path| text(path)).collect() }
}

/// Null where a list is empty, as Go shows one that was never set.
fn list(items: &[String]) -> Value {
    if items.is_empty() { Value::Null } else { json!(items) }
}

/// A set as Docker shows one: names with empty objects.
pub(super) fn set(names: impl Iterator<Item = String>) -> Value {
    let entries: Map<String, Value> = names.map(|name| (name, json!({}))).collect();
    if entries.is_empty() { Value::Null } else { Value::Object(entries) }
}

fn config(process: &ProcessSpec, image: &str) -> Value {
    let mut config = json!({
        "Hostname": process.hostname,
        "Domainname": process.domainname,
        "User": process.user,
        "AttachStdin": process.attach.stdin,
        "AttachStdout": process.attach.stdout,
        "AttachStderr": process.attach.stderr,
        "ExposedPorts": set(process.exposed_ports.iter().cloned()),
        "Tty": process.tty,
        "OpenStdin": process.open_stdin,
        "StdinOnce": process.stdin_once,
        "Env": process.env,
        "Cmd": list(&process.command),
        "Image": image,
        "Volumes": set(process.volumes.iter().cloned()),
        "WorkingDir": process.workdir,
        "Entrypoint": list(&process.entrypoint),
        "OnBuild": null,
        "Labels": process.labels,
    });
    if let Value::Object(fields) = &mut config {
        if let Some(signal) = &process.stop_signal_name {
            fields.insert("StopSignal".to_owned(), json!(signal));
        }
        if let Some(check) = &process.health {
            fields.insert("Healthcheck".to_owned(), json!(check));
        }
        if let Some(timeout) = process.stop_timeout {
            fields.insert("StopTimeout".to_owned(), json!(timeout));
        }
        for absent in ["ExposedPorts"] {
            if fields.get(absent) == Some(&Value::Null) {
                fields.shift_remove(absent);
            }
        }
    }
    config
}

fn host(info: &ContainerInfo) -> Value {
    let host = &info.spec.host;
    let resources = &host.resources;
    let binds: Vec<String> = texts(&host.mounts, |source| matches!(source, MountSource::Bind { .. }));
    let tmpfs: Map<String, Value> = texts(&host.mounts, |source| matches!(source, MountSource::Tmpfs(_)))
        .iter()
        .map(|text| text.split_once(':').unwrap_or((text, "")))
        .map(|(target, options)| (target.to_owned(), json!(options)))
        .collect();
    let mut document = json!({
        "Binds": list(&binds),
        "ContainerIDFile": host.cidfile.as_deref().map_or_else(String::new, |path| path.display().to_string()),
        "LogConfig": {
            "Type": host.log.driver.as_deref().unwrap_or("json-file"),
            "Config": host.log.options,
        },
        "NetworkMode": host.network_mode.to_string(),
        "PortBindings": {},
        "RestartPolicy": restart(host.restart),
        "AutoRemove": host.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "CapAdd": list(&host.cap_add),
        "CapDrop": list(&host.cap_drop),
        "CgroupnsMode": host.cgroup_mode.to_string(),
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": null,
        "GroupAdd": list(&host.group_add),
        "IpcMode": ipc(&host.ipc_mode),
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": host.oom_score_adj,
        "PidMode": host.pid_mode.to_string(),
        "Privileged": host.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": host.readonly_root,
        "SecurityOpt": list(&host.security_options),
        "Sysctls": host.sysctls,
        "Tmpfs": tmpfs,
        "UTSMode": host.uts_mode.to_string(),
        "UsernsMode": host.user_mode.to_string(),
        "ShmSize": host.shm_size.filter(|size| *size > 0).unwrap_or(64 << 20),
        "Runtime": "skiff",
        "Isolation": "",
        "MaskedPaths": paths(host, &info.hidden.masked),
        "ReadonlyPaths": paths(host, &info.hidden.readonly),
        "Init": host.init,
    });
    let limits = json!({
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory,
        "NanoCpus": resources.nano_cpus,
        "CgroupParent": host.cgroup_parent.as_deref().unwrap_or_default(),
        "BlkioWeight": resources.blkio_weight,
        "BlkioWeightDevice": rates(&resources.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": rates(&resources.device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": rates(&resources.device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": rates(&resources.device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": rates(&resources.device_write_iops, "Rate"),
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Devices": host.devices.iter().map(|device| json!({
            "PathOnHost": device.host,
            "PathInContainer": device.container,
            "CgroupPermissions": device.permissions,
        })).collect::<Vec<_>>(),
        "DeviceCgroupRules": list(&host.device_rules.iter().map(|rule| rule.as_str().to_owned()).collect::<Vec<_>>()),
        "DeviceRequests": requests(host),
        "MemoryReservation": resources.memory_reservation,
        "MemorySwap": memory_and_swap(resources),
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids_limit,
        "Ulimits": host.ulimits.iter().map(|limit| json!({
            "Name": limit.name, "Hard": limit.hard, "Soft": limit.soft,
        })).collect::<Vec<_>>(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    });
    if let (Value::Object(fields), Value::Object(limits)) = (&mut document, limits) {
        fields.extend(limits);
        if !host.storage.is_empty() {
            fields.insert("StorageOpt".to_owned(), json!(host.storage));
        }
    }
    document
}

/// Devices by name, as Docker's clients ask for them.
fn requests(host: &HostOptions) -> Value {
    if host.named_devices.is_empty() {
        return Value::Null;
    }
    json!([{
        "Driver": "cdi",
        "Count": 0,
        "DeviceIDs": host.named_devices,
        "Capabilities": null,
        "Options": null,
    }])
}

/// Limits or weights of single devices.
fn rates(rates: &[DeviceRate], what: &str) -> Value {
    rates.iter().map(|of| json!({ "Path": of.path, what: of.rate })).collect()
}

/// Memory and swap together, of which there is twice the memory where nothing else was asked for.
fn memory_and_swap(resources: &Resources) -> i64 {
    match resources.memory_swap {
        0 => resources.memory.saturating_mul(2),
        asked => asked,
    }
}

fn restart(policy: RestartPolicy) -> Value {
    let (name, retries) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { retries } => ("on-failure", retries),
    };
    json!({ "Name": name, "MaximumRetryCount": retries })
}

fn ipc(mode: &IpcMode) -> String {
    mode.to_string()
}

/// The texts of `-v` or `--tmpfs`, for mounts of one kind.
fn texts(mounts: &[MountRequest], of: impl Fn(&MountSource) -> bool) -> Vec<String> {
    mounts.iter().filter(|mount| of(&mount.source)).filter_map(|mount| mount.text.clone()).collect()
}

fn mount(mount: &MountRequest) -> Value {
    match &mount.source {
        MountSource::Bind { path, propagation, recursion, .. } => json!({
            "Type": "bind",
            "Source": path,
            "Destination": mount.target,
            "Mode": mode(mount),
            "RW": !mount.readonly || *recursion == BindRecursion::Writable,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        }),
        MountSource::Tmpfs(_) => json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": mode(mount),
            "RW": !mount.readonly,
            "Propagation": "",
        }),
    }
}

/// It has no name of its own, as nobody else can use it.
fn volume(volume: &VolumeMount) -> Value {
    json!({
        "Type": "volume",
        "Source": volume.source.display().to_string(),
        "Destination": volume.target.display().to_string(),
        "Driver": "local",
        "Mode": "",
        "RW": true,
        "Propagation": "",
    })
}

/// The options behind `-v source:target:`.
fn mode(mount: &MountRequest) -> &str {
    let text = mount.text.as_deref().unwrap_or_default();
    match &mount.source {
        MountSource::Bind { .. } => text.splitn(3, ':').nth(2).unwrap_or_default(),
        MountSource::Tmpfs(_) => text.split_once(':').map_or("", |(_, options)| options),
    }
}

fn network(host: &HostOptions) -> Value {
    let name = host.network_mode.to_string();
    let endpoint = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "DriverOpts": null, "NetworkID": "", "EndpointID": "",
        "Gateway": "", "IPAddress": "", "MacAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
    });
    let mut networks = Map::new();
    if !name.starts_with("container:") {
        networks.insert(if name == "default" { "none".to_owned() } else { name }, endpoint);
    }
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": {},
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "MacAddress": "",
        "Networks": networks,
    })
}
