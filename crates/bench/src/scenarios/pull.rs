//! Pulling a Debian root file system from a registry on this machine, beside the bare work on the same bytes.

mod shared;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::load::bare_work;
use crate::engines::{Engine, Registry};
use crate::image::{Packing, debian_rootfs};
use crate::lab::Lab;
use crate::layout::Layout;
use crate::measure::{Contestant, Times, in_turns, output, time};
use crate::report::Table;

/// Layers, and how they are packed.
const IMAGES: [(u64, Packing); 4] =
    [(1, Packing::Gzip), (8, Packing::Gzip), (40, Packing::Gzip), (8, Packing::Zstd)];

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let rootfs = debian_rootfs(lab.cache())?;
    let size = std::fs::metadata(&rootfs)?.len() / 1_000_000;
    let registry = Registry::start(&lab.folder().join("registry"))?;
    let title = format!("`pull` of a Debian root file system of {size} MB from a registry on this machine");
    let mut table = Table::new(&title, &["image", "", "median", "skiff is"]);
    for (layers, packing) in IMAGES {
        let folder = lab.folder().join("layout");
        let layout = Layout::make(&rootfs, layers, packing, &folder)?;
        let name = format!("bench:{layers}-{}", packing.name());
        registry.fill(&layout.folder, &name)?;
        let times = compare(lab, &registry.reference(&name), &layout, packing, rounds.min(3))?;
        std::fs::remove_dir_all(&folder)?;
        report(&mut table, &format!("{layers} × {}", packing.name()), &times);
    }
    let times = shared::all_but_one(lab, &registry, &rootfs, rounds.min(3))?;
    report(&mut table, "8 × gzip, all but one layer present", &times);
    let times = shared::apart(lab, &registry, &rootfs, rounds.min(3))?;
    report(&mut table, "8 images of one layer, at once", &times);
    let times = shared::the_same(lab, &registry, &rootfs, rounds.min(3))?;
    report(&mut table, "8 × gzip, by 8 at once", &times);
    table.note(
        "The bare work is decompressing, SHA-256 and writing with fsync of the packed layers that are missing, one after the other, \
         each step in a thread of its own. skopeo copies packed layers and unpacks nothing. Docker 20.10 does not know zstd. \
         Where all but one layer is present, everybody has pulled an image before that differs in its last layer. At once are \
         eight commands: each for an image of its own, of an eighth of the tree, or all for the same one."
            .to_owned(),
    );
    Ok(table)
}

/// Rows of what was pulled in one way: ours first, then the bare work, then the others.
fn report(table: &mut Table, image: &str, times: &[(String, Times)]) {
    let ours = table.compare(image, times);
    let fastest = times.iter().skip(2).map(|(_, times)| times.median()).min().unwrap_or_default();
    let what = format!("`skiff pull` ({image}), beside the fastest other");
    table.goal(&what, 0.3, ours / fastest.as_secs_f64(), "×");
    let bare = times.get(1).map(|(_, times)| times.median()).unwrap_or_default();
    table.goal(&format!("`skiff pull` ({image}), beside bare work"), 1.3, ours / bare.as_secs_f64(), "×");
}

fn compare(
    lab: &Lab,
    reference: &str,
    layout: &Layout,
    packing: Packing,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    let skiff = lab.skiff.empty("pull");
    let scratch = lab.folder().join("bare");
    let copied = lab.folder().join("copied");
    let mut contestants = vec![
        Contestant::new("skiff pull", || {
            let time = skiff.time(&["pull", "-q", reference])?;
            skiff.remove_all()?;
            Ok(time)
        }),
        Contestant::new("bare work", || bare(&layout.blobs, packing, &scratch)),
        Contestant::new("podman pull", || {
            let time = lab.podman.time(&["pull", "-q", "--tls-verify=false", reference])?;
            lab.podman.output(&["rmi", "-f", reference])?;
            Ok(time)
        }),
        Contestant::new("ctr pull", || {
            let mut pull = lab.docker.containerd();
            let time = time(pull.args(["images", "pull", "--plain-http", reference]))?;
            output(lab.docker.containerd().args(["images", "rm", "--sync", reference]))?;
            Ok(time)
        }),
        Contestant::new("skopeo copy", || {
            let target = format!("dir:{}", copied.display());
            let time = time(&mut skopeo(reference, &target))?;
            std::fs::remove_dir_all(&copied).context("remove what skopeo has copied")?;
            Ok(time)
        }),
    ];
    if packing != Packing::Zstd {
        contestants.push(Contestant::new("docker pull", || {
            let time = lab.docker.time(&["pull", "-q", reference])?;
            lab.docker.output(&["rmi", "-f", reference])?;
            Ok(time)
        }));
    }
    in_turns(contestants, rounds)
}

/// The bare work on blobs, one after the other.
fn bare(blobs: &[PathBuf], packing: Packing, scratch: &Path) -> Result<Duration> {
    let start = Instant::now();
    for blob in blobs {
        bare_work(File::open(blob)?, packing, scratch)?;
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(scratch)?;
    Ok(elapsed)
}

fn skopeo(reference: &str, target: &str) -> Command {
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}"), target]);
    copy
}
