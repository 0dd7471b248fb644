//! Loading a Debian root file system, beside the bare work on the same bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::engines::Engine;
use crate::image::{Packing, archive, debian_rootfs};
use crate::lab::Lab;
use crate::measure::{Contestant, Times, in_turns, output};
use crate::report::{Table, milliseconds};

const NAME: &str = "localhost/debian:bench";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let layer = debian_rootfs(lab.cache())?;
    let size = std::fs::metadata(&layer)?.len();
    let title = format!("`load` of a Debian root file system of {} MB", size / 1_000_000);
    let mut table = Table::new(&title, &["layer", "", "median", "skiff is"]);
    for packing in Packing::ALL {
        let file = archive(&layer, packing, NAME, lab.folder())?;
        let (times, disk) = compare(lab, &layer, &file, packing, rounds.min(5))?;
        let ours = times.first().map(|(_, times)| times.median()).unwrap_or_default();
        for (name, theirs) in &times {
            let (median, ratio) = (theirs.median(), ours.as_secs_f64() / theirs.median().as_secs_f64());
            table.row([
                packing.name().to_owned(),
                name.clone(),
                milliseconds(median),
                format!("{ratio:.3} ×"),
            ]);
        }
        for (peer, wanted) in [("bare work", 1.3), ("podman", 0.15), ("docker", 0.15)] {
            table.goal_beside(&times, peer, wanted);
        }
        let of_layers = format!("disk after `skiff load` ({}), beside the layers", packing.name());
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        table.goal(&of_layers, 1.02, disk as f64 / size as f64, "×");
        std::fs::remove_file(&file)?;
    }
    table.note(
        "The bare work is reading, decompressing, SHA-256 and writing with fsync, each in a thread of its own \
         where there is more than one. Docker 20.10 does not know zstd in an archive."
            .to_owned(),
    );
    Ok(table)
}

fn compare(
    lab: &Lab,
    layer: &Path,
    file: &Path,
    packing: Packing,
    rounds: usize,
) -> Result<(Vec<(String, Times)>, u64)> {
    let path = file.to_str().context("a path that is not UTF-8")?;
    let skiff = lab.skiff.empty("load");
    let scratch = lab.folder().join("bare");
    let mut disk = 0;
    let mut contestants = vec![
        Contestant::new(&format!("skiff load ({})", packing.name()), || {
            let time = skiff.time(&["load", "-i", path])?;
            disk = used(skiff.root())?;
            skiff.remove_all()?;
            Ok(time)
        }),
        Contestant::new("bare work", || {
            let time = bare(layer, file, packing, &scratch)?;
            std::fs::remove_file(&scratch)?;
            Ok(time)
        }),
        Contestant::new("podman load", || {
            let time = lab.podman.time(&["load", "-i", path])?;
            lab.podman.output(&["rmi", "-f", NAME])?;
            Ok(time)
        }),
    ];
    if packing != Packing::Zstd {
        contestants.push(Contestant::new("docker load", || {
            let time = lab.docker.time(&["load", "-i", path])?;
            lab.docker.output(&["rmi", "-f", NAME])?;
            Ok(time)
        }));
    }
    let times = in_turns(contestants, rounds)?;
    Ok((times, disk))
}

/// Bytes that a folder takes on disk.
fn used(folder: &Path) -> Result<u64> {
    let text = output(std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(folder))?;
    Ok(text.split_whitespace().next().context("du said nothing")?.parse()?)
}

/// Finds the layer in the archive and does what has to be done with it.
fn bare(layer: &Path, archive: &Path, packing: Packing, target: &Path) -> Result<Duration> {
    let length = std::fs::metadata(layer)?.len();
    let start = Instant::now();
    let mut packed = File::open(archive)?;
    skip_to_layer(&mut packed)?;
    match packing {
        Packing::Plain => bare_work(packed.take(length), packing, target)?,
        Packing::Gzip | Packing::Zstd => bare_work(packed, packing, target)?,
    }
    Ok(start.elapsed())
}

/// Reads a packed layer, unpacks, hashes, writes the plain one: the least that has to be done with it.
pub(super) fn bare_work(packed: impl Read + 'static, packing: Packing, target: &Path) -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<std::sync::Arc<Vec<u8>>>(8);
    let (to_hash, hash_side) = std::sync::mpsc::sync_channel::<std::sync::Arc<Vec<u8>>>(8);
    std::thread::scope(|scope| -> Result<()> {
        let hasher = scope.spawn(move || {
            let mut hash = Sha256::new();
            while let Ok(chunk) = hash_side.recv() {
                hash.update(chunk.as_slice());
            }
            hash.finalize()
        });
        let writer = scope.spawn(move || -> Result<()> {
            let mut file = File::create(target)?;
            while let Ok(chunk) = receiver.recv() {
                file.write_all(&chunk)?;
            }
            file.sync_all()?;
            Ok(())
        });
        let mut reader: Box<dyn Read> = match packing {
            Packing::Plain => Box::new(packed),
            Packing::Gzip => Box::new(flate2::read::GzDecoder::new(packed)),
            Packing::Zstd => Box::new(zstd::Decoder::new(packed)?.single_frame()),
        };
        loop {
            let mut chunk = vec![0; 256 * 1024];
            let count = reader.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            chunk.truncate(count);
            let chunk = std::sync::Arc::new(chunk);
            sender.send(chunk.clone())?;
            to_hash.send(chunk)?;
        }
        drop((sender, to_hash));
        hasher.join().map_err(|_| anyhow::anyhow!("hashing panicked"))?;
        writer.join().map_err(|_| anyhow::anyhow!("writing panicked"))?
    })
}

/// Leaves `archive` at the first byte of its largest entry, which is its last one.
fn skip_to_layer(archive: &mut File) -> Result<()> {
    use std::io::{Seek, SeekFrom};
    let mut best = (0, 0);
    {
        let mut reader = tar::Archive::new(&mut *archive);
        for entry in reader.entries_with_seek()? {
            let entry = entry?;
            if entry.size() > best.0 {
                best = (entry.size(), entry.raw_file_position());
            }
        }
    }
    archive.seek(SeekFrom::Start(best.1))?;
    Ok(())
}
