//! The registry server under 32 clients at once, beside Debian's docker-registry: requests and bytes in a second, and what
//! they cost the server in processor time and memory. Generator and server share the machine's cores, so the processor time
//! is the fairer figure: wall time has the generator's in it.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest as _, Sha256};

use crate::engines::Registry;
use crate::http::Client;
use crate::lab::Lab;
use crate::report::{Table, milliseconds};

use super::memory::mebibytes;

const CLIENTS: usize = 32;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Blobs that are read.
const SIZES: [(&str, usize, usize); 3] = [
    ("GET blob, 4 KiB", 4 * KIB, 16_000),
    ("GET blob, 1 MiB", MIB, 2_000),
    ("GET blob, 64 MiB", 64 * MIB, 64),
];
/// Images that are pushed in one turn, each of two blobs of 1 MiB, a config and a manifest.
const PUSHES: usize = 192;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is asked in one turn, and how often.
struct Work {
    name: &'static str,
    kind: Kind,
    count: usize,
}

enum Kind {
    Ask { method: &'static str, path: String },
    Push,
}

/// What one turn has cost.
struct Turn {
    wall: Duration,
    /// Of the server alone.
    busy: Duration,
    requests: usize,
    bytes: u64,
    latencies: Vec<Duration>,
}

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let servers = [
        Registry::ours(&lab.skiff, &lab.folder().join("registry-ours"))?,
        Registry::start(&lab.folder().join("registry-theirs"))?,
    ];
    let work = works();
    for server in &servers {
        fill(server.address())?;
    }
    let rounds = rounds.clamp(1, 3);
    let mut turns: Vec<[Vec<Turn>; 2]> = work.iter().map(|_| Default::default()).collect();
    let mut serial = 0;
    for round in 0..=rounds {
        for (work, turns) in work.iter().zip(&mut turns) {
            for (server, turns) in servers.iter().zip(turns.iter_mut()) {
                serial += PUSHES;
                let turn = take(server, work, serial).with_context(|| work.name)?;
                // The first one warms up.
                if round > 0 {
                    turns.push(turn);
                }
            }
        }
    }
    let title = format!("`registry serve` beside docker-registry, {CLIENTS} clients at once");
    let mut table = Table::new(
        &title,
        &[
            "",
            "",
            "requests/s",
            "MB/s",
            "p50",
            "p99",
            "CPU per request",
            "CPU per GB",
            "throughput",
            "CPU is",
        ],
    );
    for (work, turns) in work.iter().zip(&turns) {
        compare(&mut table, work, turns);
    }
    remember(&mut table, &servers)?;
    table.note(
        "CPU is the server's own. Ours syncs what is pushed before it says so; docker-registry does not. A push is two \
         blobs of 1 MiB, one in one piece and one in four chunks, a config and a manifest."
            .to_owned(),
    );
    Ok(table)
}

fn works() -> Vec<Work> {
    let ask = |name, method, path: &str, count| Work {
        name,
        kind: Kind::Ask { method, path: path.to_owned() },
        count,
    };
    let mut works = vec![
        ask("HEAD manifest", "HEAD", "/v2/bench/manifests/latest", 16_000),
        ask("GET manifest", "GET", "/v2/bench/manifests/latest", 16_000),
    ];
    for (name, size, count) in SIZES {
        works.push(ask(name, "GET", &format!("/v2/bench/blobs/{}", digest(&[&content(size)])), count));
    }
    works.push(Work { name: "push", kind: Kind::Push, count: PUSHES });
    works
}

/// Bytes that do not repeat soon; the same for the same size.
fn content(size: usize) -> Vec<u8> {
    let mut state = size as u64 | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn digest(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Puts there what is read later.
fn fill(address: &str) -> Result<()> {
    let mut client = Client::connect(address)?;
    let mut layers = Vec::new();
    for (_, size, _) in SIZES {
        let content = content(size);
        let name = digest(&[&content]);
        push_whole(&mut client, "bench", &[&content], &name)?;
        layers.push((name, size));
    }
    push_manifest(&mut client, "bench", "latest", &layers)
}

fn begin(client: &mut Client, repository: &str) -> Result<String> {
    let begun = client.ask(("POST", &format!("/v2/{repository}/blobs/uploads/")), "", &[], 202)?;
    path_of(begun.location)
}

/// The path of a location, which may be a whole address.
fn path_of(location: Option<String>) -> Result<String> {
    let location = location.context("no place to go on")?;
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)),
        None => Some(location.as_str()),
    };
    path.map(str::to_owned).context("a location without a path")
}

fn finish(client: &mut Client, path: &str, body: &[&[u8]], name: &str) -> Result<()> {
    let separator = if path.contains('?') { '&' } else { '?' };
    client.ask(("PUT", &format!("{path}{separator}digest={name}")), "", body, 201).map(drop)
}

fn push_whole(client: &mut Client, repository: &str, body: &[&[u8]], name: &str) -> Result<()> {
    let path = begin(client, repository)?;
    finish(client, &path, body, name)
}

fn push_in_chunks(client: &mut Client, repository: &str, body: &[u8], name: &str) -> Result<()> {
    let mut path = begin(client, repository)?;
    let mut at = 0;
    for chunk in body.chunks(body.len() / 4) {
        let range = format!("Content-Range: {at}-{}\r\n", at + chunk.len() - 1);
        path = path_of(client.ask(("PATCH", &path), &range, &[chunk], 202)?.location)?;
        at += chunk.len();
    }
    finish(client, &path, &[], name)
}

fn push_manifest(client: &mut Client, repository: &str, tag: &str, layers: &[(String, usize)]) -> Result<()> {
    let config = format!("{{\"of\":\"{tag}\"}}");
    let name = digest(&[config.as_bytes()]);
    push_whole(client, repository, &[config.as_bytes()], &name)?;
    let layers: Vec<serde_json::Value> = layers
        .iter()
        .map(|(digest, size)| {
            serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size})
        })
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": name, "size": config.len()},
    })
    .to_string();
    let kind = format!("Content-Type: {MANIFEST}\r\n");
    let path = format!("/v2/{repository}/manifests/{tag}");
    client.ask(("PUT", &path), &kind, &[manifest.as_bytes()], 201).map(drop)
}

/// What one push sends, with its names: hashing is not what is measured.
struct Image {
    tag: String,
    blobs: [(Vec<u8>, String); 2],
}

impl Image {
    fn make(serial: usize) -> Self {
        let blob = |number: usize| {
            let mut content = content(MIB);
            content.splice(..8, (serial * 2 + number).to_le_bytes());
            let name = digest(&[&content]);
            (content, name)
        };
        Self { tag: format!("v{serial}"), blobs: [blob(0), blob(1)] }
    }

    fn push(&self, client: &mut Client) -> Result<()> {
        let [(whole, whole_name), (chunked, chunked_name)] = &self.blobs;
        push_whole(client, "pushed", &[whole], whole_name)?;
        push_in_chunks(client, "pushed", chunked, chunked_name)?;
        let layers = [(whole_name.clone(), whole.len()), (chunked_name.clone(), chunked.len())];
        push_manifest(client, "pushed", &self.tag, &layers)
    }
}

/// Has all clients do the work together. `serial` was never given before.
fn take(server: &Registry, work: &Work, serial: usize) -> Result<Turn> {
    let images: Vec<Image> = match work.kind {
        Kind::Push => (0..work.count).map(|number| Image::make(serial + number)).collect(),
        Kind::Ask { .. } => Vec::new(),
    };
    let (next, ready) = (AtomicUsize::new(0), Barrier::new(CLIENTS + 1));
    std::thread::scope(|scope| {
        let (next, ready, images) = (&next, &ready, &images);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    let client = Client::connect(server.address());
                    ready.wait();
                    repeat(client?, work, images, next)
                })
            })
            .collect();
        ready.wait();
        let (start, busy) = (Instant::now(), processor_time(server.id())?);
        let mut turn = Turn {
            wall: Duration::ZERO,
            busy: Duration::ZERO,
            requests: work.count,
            bytes: 0,
            latencies: Vec::new(),
        };
        for client in clients {
            let (latencies, bytes) = client.join().map_err(|_| anyhow!("a client has panicked"))??;
            turn.latencies.extend(latencies);
            turn.bytes += bytes;
        }
        turn.wall = start.elapsed();
        turn.busy = processor_time(server.id())?.saturating_sub(busy);
        turn.latencies.sort_unstable();
        Ok(turn)
    })
}

/// One client's part of the work: until nothing is left.
fn repeat(
    mut client: Client,
    work: &Work,
    images: &[Image],
    next: &AtomicUsize,
) -> Result<(Vec<Duration>, u64)> {
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= work.count {
            return Ok((latencies, bytes));
        }
        let start = Instant::now();
        match &work.kind {
            Kind::Ask { method, path } => {
                let accept = format!("Accept: {MANIFEST}\r\n");
                bytes += client.ask((method, path), &accept, &[], 200)?.length;
            }
            Kind::Push => {
                let image = images.get(number).context("no image is left")?;
                image.push(&mut client)?;
                bytes += 2 * MIB as u64;
            }
        }
        latencies.push(start.elapsed());
    }
}

/// What a process has spent of the processors so far, with all of its threads.
fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // utime and stime, the 14th and 15th of all fields; a tick is 10 ms.
    let ticks: u64 =
        fields.get(11..13).unwrap_or_default().iter().filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// A turn's figures.
struct Figures {
    requests_per_second: f64,
    megabytes_per_second: f64,
    p50: Duration,
    p99: Duration,
    per_request: Duration,
    /// Seconds of the processor.
    per_gigabyte: Option<f64>,
}

impl Figures {
    /// Of the median turn by wall time; the processor time, which is counted coarsely, of all of them.
    fn of(turns: &[Turn]) -> Self {
        let mut order: Vec<&Turn> = turns.iter().collect();
        order.sort_unstable_by_key(|turn| turn.wall);
        let busy: Duration = turns.iter().map(|turn| turn.busy).sum();
        let requests: usize = turns.iter().map(|turn| turn.requests).sum();
        let bytes: u64 = turns.iter().map(|turn| turn.bytes).sum();
        let gigabytes = bytes as f64 / 1e9;
        let median = order.get(order.len() / 2);
        let wall = median.map_or(1.0, |turn| turn.wall.as_secs_f64());
        let latency = |part: f64| {
            let latencies = median.map(|turn| turn.latencies.as_slice()).unwrap_or_default();
            // Never negative, and never beyond the last one.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list")]
            let at = (latencies.len() as f64 * part) as usize;
            latencies.get(at.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self {
            requests_per_second: median.map_or(0, |turn| turn.requests) as f64 / wall,
            megabytes_per_second: median.map_or(0, |turn| turn.bytes) as f64 / 1e6 / wall,
            p50: latency(0.5),
            p99: latency(0.99),
            per_request: busy / u32::try_from(requests.max(1)).unwrap_or(u32::MAX),
            per_gigabyte: (gigabytes > 0.1).then(|| busy.as_secs_f64() / gigabytes),
        }
    }
}

fn compare(table: &mut Table, work: &Work, turns: &[Vec<Turn>; 2]) {
    let figures = turns.each_ref().map(|turns| Figures::of(turns));
    let [ours, theirs] = &figures;
    let throughput = ours.requests_per_second / theirs.requests_per_second;
    let busy = ours.per_request.as_secs_f64() / theirs.per_request.as_secs_f64().max(1e-9);
    for (name, figures, ratios) in [
        ("skiff", ours, [format!("{throughput:.2} ×"), format!("{busy:.2} ×")]),
        ("docker-registry", theirs, [String::new(), String::new()]),
    ] {
        let per_gigabyte = figures.per_gigabyte.map_or(String::new(), |seconds| format!("{seconds:.2} s"));
        let [throughput, busy] = ratios;
        table.row([
            work.name.to_owned(),
            name.to_owned(),
            format!("{:.0}", figures.requests_per_second),
            format!("{:.0}", figures.megabytes_per_second),
            milliseconds(figures.p50),
            milliseconds(figures.p99),
            format!("{:.0} µs", figures.per_request.as_secs_f64() * 1e6),
            per_gigabyte,
            throughput,
            busy,
        ]);
    }
    table.goal(
        &format!("registry: time for {}, beside docker-registry", work.name),
        0.5,
        1.0 / throughput,
        "×",
    );
}

/// The most that the servers have had in memory, and what they have after all of it.
fn remember(table: &mut Table, servers: &[Registry; 2]) -> Result<()> {
    let mut most = Vec::new();
    for (server, name) in servers.iter().zip(["skiff", "docker-registry"]) {
        let field = |file: &str, field: &str| -> Result<f64> {
            let text = fs::read_to_string(format!("/proc/{}/{file}", server.id()))?;
            let line = text.lines().find(|line| line.starts_with(field)).context("no such field")?;
            line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).context("not a number")
        };
        let (peak, now) = (field("status", "VmHWM:")?, field("smaps_rollup", "Pss:")?);
        table.note(format!(
            "Memory of {name}: at most {}, {} (PSS) at the end.",
            mebibytes(peak),
            mebibytes(now)
        ));
        most.push(peak);
    }
    if let [ours, theirs] = most.as_slice() {
        table.goal("registry: memory at its peak, beside docker-registry", 0.5, ours / theirs, "×");
    }
    Ok(())
}
