//! `update`: other limits for a running container.

use std::io::Read;
use std::path::Path;

use linux::file;
use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, Status};
use runtime::bundle;

use super::Global;
use super::args::{Command, Flag, Parsed};
use super::container::Folder;
use super::error::{Error, Result};

pub(super) const UPDATE: Command = Command {
    name: "update",
    about: "Change the limits of a container",
    usage: "[OPTIONS] ID",
    flags: &[
        Flag::value("resources", "PATH", "read the limits from this file, or - for standard input")
            .short('r'),
        Flag::value("blkio-weight", "N", "weight of block I/O, 10 to 1000"),
        Flag::value("cpu-period", "MICROSECONDS", "period of the CPU quota"),
        Flag::value("cpu-quota", "MICROSECONDS", "CPU time in a period"),
        Flag::value("cpu-burst", "MICROSECONDS", "CPU time that may be saved up"),
        Flag::value("cpu-rt-period", "MICROSECONDS", "period of realtime scheduling"),
        Flag::value("cpu-rt-runtime", "MICROSECONDS", "realtime in a period"),
        Flag::value("cpu-share", "N", "weight of CPU time, 2 to 262144"),
        Flag::value("cpuset-cpus", "LIST", "CPUs to run on"),
        Flag::value("cpuset-mems", "LIST", "memory nodes to use"),
        Flag::value("cpu-idle", "0|1", "run only when nobody else wants to"),
        Flag::value("kernel-memory", "BYTES", "accepted: Linux has no such limit any more"),
        Flag::value("kernel-memory-tcp", "BYTES", "refused: deprecated"),
        Flag::value("memory", "BYTES", "memory; -1 is no limit").short('m'),
        Flag::value("memory-reservation", "BYTES", "soft limit of memory"),
        Flag::value("memory-swap", "BYTES", "memory and swap together; -1 is no limit"),
        Flag::value("pids-limit", "N", "processes and threads; -1 is no limit"),
        Flag::value("l3-cache-schema", "SCHEMA", "refused: resctrl is not used"),
        Flag::value("mem-bw-schema", "SCHEMA", "refused: resctrl is not used"),
    ],
    arguments: (1, 1),
    flags_lead: false,
    run,
};

/// The largest document of limits that is read.
const LARGEST: u64 = 1 << 20;

fn run(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        if parsed.value(flag).is_some() {
            return Err(Error::Unsupported { what: format!("--{flag}"), why: "resctrl is not used" });
        }
    }
    let resources = match parsed.value("resources") {
        Some(path) => read(path)?,
        None => from_flags(parsed)?,
    };
    let mut warnings = Vec::new();
    let mut limits = bundle::limits(&resources, &mut warnings)?;
    warnings.iter().for_each(|warning| global.log.warn(warning));
    // Device rules are decided when a container is made; what an engine sends along here is a copy of them.
    limits.devices.clear();

    let folder = Folder::open(global, id)?;
    let record = folder.read(id)?;
    let status = record.status(&folder.path)?;
    if status == Status::Stopped {
        return Err(Error::NotRunning { id: id.to_owned(), status });
    }
    record.require_cgroup()?.update(&limits)?;
    Ok(0)
}

fn read(path: &str) -> Result<Resources> {
    let text = match path {
        "-" => {
            let mut text = Vec::new();
            let read = std::io::stdin().lock().take(LARGEST).read_to_end(&mut text);
            read.map_err(|source| Error::System { attempt: "read standard input".into(), source })?;
            text
        }
        path => file::read_bounded(Path::new(path), LARGEST)?,
    };
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.into(), source })
}

fn from_flags(parsed: &Parsed) -> Result<Resources> {
    let text = |flag: &str| parsed.value(flag).unwrap_or_default().to_owned();
    let bytes = |flag: &str| match parsed.value(flag) {
        None => Ok(None),
        Some(value) => match size(value) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Error::usage(format!("--{flag} is {value:?}; it may be 500000, 512m, 2g or -1"))),
        },
    };
    Ok(Resources {
        memory: Some(Memory {
            limit: bytes("memory")?,
            reservation: bytes("memory-reservation")?,
            swap: bytes("memory-swap")?,
            kernel: bytes("kernel-memory")?,
            kernel_tcp: bytes("kernel-memory-tcp")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: parsed.number("cpu-share")?,
            quota: parsed.number("cpu-quota")?,
            burst: parsed.number("cpu-burst")?,
            period: parsed.number("cpu-period")?,
            realtime_runtime: parsed.number("cpu-rt-runtime")?,
            realtime_period: parsed.number("cpu-rt-period")?,
            cpus: text("cpuset-cpus"),
            mems: text("cpuset-mems"),
            idle: parsed.number("cpu-idle")?,
        }),
        pids: Some(Pids { limit: parsed.number("pids-limit")? }),
        block_io: Some(BlockIo { weight: parsed.number("blkio-weight")?, ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// Bytes, with `b`, `k`, `m`, `g` or `t` for powers of 1024; -1 is no limit.
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, shift) = match bare.as_bytes().last()? {
        b'k' => (&bare[..bare.len() - 1], 10),
        b'm' => (&bare[..bare.len() - 1], 20),
        b'g' => (&bare[..bare.len() - 1], 30),
        b't' => (&bare[..bare.len() - 1], 40),
        _ => (bare, 0),
    };
    number.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        let table = [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("-2", None),
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("64M", Some(64 << 20)),
            ("2gb", Some(2 << 30)),
            ("1GiB", Some(1 << 30)),
            ("1t", Some(1 << 40)),
            ("9223372036854775807k", None),
            ("1.5m", None),
            ("", None),
            ("m", None),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
