//! Pushing a Debian root file system to an empty registry on this machine: from an archive, so that it has to be compressed,
//! and from another registry, where it is compressed already.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engines::{Engine, Registry};
use crate::image::{Packing, archive, debian_rootfs};
use crate::lab::Lab;
use crate::layout::Layout;
use crate::measure::{Contestant, Times, in_turns, time};
use crate::report::Table;

const NAME: &str = "localhost/debian:push";
/// Layers of the image that comes from another registry.
const LAYERS: u64 = 8;

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let rootfs = debian_rootfs(lab.cache())?;
    let size = std::fs::metadata(&rootfs)?.len() / 1_000_000;
    let title =
        format!("`push` of a Debian root file system of {size} MB to an empty registry on this machine");
    let mut table = Table::new(&title, &["image", "", "median", "skiff is"]);
    let rounds = rounds.min(3);
    let loaded = loaded(lab, &rootfs, rounds)?;
    report(&mut table, "1 layer, from an archive", "skiff push", &loaded);
    let pulled = pulled(lab, &rootfs, rounds)?;
    report(&mut table, "8 × gzip, from a registry", "skiff push", &pulled);
    let copied = copied(lab, &rootfs, rounds)?;
    report(&mut table, "8 × gzip, never stored", "skiff image copy", &copied);
    table.note(
        "From an archive everybody compresses. What was pulled Skiff streams on from where it came, while the others compress it \
         again. The registry is docker-registry, empty each time."
            .to_owned(),
    );
    Ok(table)
}

fn report(table: &mut Table, image: &str, what: &str, times: &[(String, Times)]) {
    let ours = table.compare(image, times);
    let fastest = times.iter().skip(1).map(|(_, times)| times.median()).min().unwrap_or_default();
    table.goal(
        &format!("`{what}` ({image}), beside the fastest other"),
        1.0,
        ours / fastest.as_secs_f64(),
        "×",
    );
}

/// Registries that are empty when somebody pushes.
struct Targets<'a> {
    folder: &'a Path,
    made: Cell<u32>,
}

impl Targets<'_> {
    /// How long `push` takes to a registry of its own, given what to call the image there.
    fn time(&self, push: impl FnOnce(&str) -> Result<Duration>) -> Result<Duration> {
        self.made.set(self.made.get() + 1);
        let folder: PathBuf = self.folder.join(format!("target-{}", self.made.get()));
        let target = Registry::start(&folder)?;
        let time = push(&target.reference("bench:pushed"))?;
        drop(target);
        std::fs::remove_dir_all(&folder).context("remove a registry")?;
        Ok(time)
    }
}

fn skopeo(source: &str, target: &str) -> Command {
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", source]);
    copy.arg(format!("docker://{target}"));
    copy
}

fn loaded(lab: &Lab, rootfs: &Path, rounds: usize) -> Result<Vec<(String, Times)>> {
    let file = archive(rootfs, Packing::Plain, NAME, lab.folder())?;
    let path = file.to_str().context("a path that is not UTF-8")?;
    let skiff = lab.skiff.empty("push");
    skiff.output(&["load", "-i", path])?;
    lab.podman.output(&["load", "-i", path])?;
    lab.docker.output(&["load", "-i", path])?;
    let times = pushes(lab, &skiff, NAME, &format!("docker-archive:{path}"), rounds)?;
    std::fs::remove_file(&file)?;
    Ok(times)
}

fn pulled(lab: &Lab, rootfs: &Path, rounds: usize) -> Result<Vec<(String, Times)>> {
    let source = source(lab, rootfs)?;
    let name = source.reference("bench:source");
    let skiff = lab.skiff.empty("push");
    skiff.output(&["pull", "-q", &name])?;
    lab.podman.output(&["pull", "-q", "--tls-verify=false", &name])?;
    lab.docker.output(&["pull", "-q", &name])?;
    pushes(lab, &skiff, &name, &format!("docker://{name}"), rounds)
}

/// Everybody pushes what it calls `name`; skopeo takes it from `source`.
fn pushes(
    lab: &Lab,
    skiff: &crate::engines::Skiff,
    name: &str,
    source: &str,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    let targets = Targets { folder: lab.folder(), made: Cell::new(0) };
    let by = |engine: &dyn Engine, push: &[&str]| {
        targets.time(|target| {
            engine.output(&["tag", name, target])?;
            let time = engine.time(&[push, &[target]].concat())?;
            engine.output(&["rmi", target])?;
            Ok(time)
        })
    };
    let times = in_turns(
        vec![
            Contestant::new("skiff push", || by(skiff, &["push", "-q"])),
            Contestant::new("podman push", || by(&lab.podman, &["push", "-q", "--tls-verify=false"])),
            Contestant::new("docker push", || by(&lab.docker, &["push", "-q"])),
            Contestant::new("skopeo copy", || targets.time(|target| time(&mut skopeo(source, target)))),
        ],
        rounds,
    )?;
    skiff.remove_all()?;
    lab.podman.output(&["rmi", "-f", name])?;
    lab.docker.output(&["rmi", "-f", name])?;
    Ok(times)
}

fn copied(lab: &Lab, rootfs: &Path, rounds: usize) -> Result<Vec<(String, Times)>> {
    let from = source(lab, rootfs)?;
    let name = from.reference("bench:source");
    let targets = Targets { folder: lab.folder(), made: Cell::new(0) };
    in_turns(
        vec![
            Contestant::new("skiff image copy", || {
                targets.time(|target| lab.skiff.time(&["image", "copy", "-q", &name, target]))
            }),
            Contestant::new("skopeo copy", || {
                targets.time(|target| time(&mut skopeo(&format!("docker://{name}"), target)))
            }),
        ],
        rounds,
    )
}

/// A registry that has the image.
fn source(lab: &Lab, rootfs: &Path) -> Result<Registry> {
    let (layout, folder) = (lab.folder().join("layout"), lab.folder().join("source"));
    drop(std::fs::remove_dir_all(&folder));
    let registry = Registry::start(&folder)?;
    let made = Layout::make(rootfs, LAYERS, Packing::Gzip, &layout)?;
    registry.fill(&made.folder, "bench:source")?;
    std::fs::remove_dir_all(&layout)?;
    Ok(registry)
}
