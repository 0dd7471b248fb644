//! Pulls that are not alone: of an image most of which is there, and eight at once.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{bare, skopeo};
use crate::engines::{Engine, Registry};
use crate::image::Packing;
use crate::lab::Lab;
use crate::layout::Layout;
use crate::measure::{Contestant, Times, in_turns, output, time, time_at_once};

/// Layers of an image, and pulls at once.
const COUNT: u64 = 8;

/// An image of which all layers but the last came with another one: that is pulled first, each time and by everybody.
pub(super) fn all_but_one(
    lab: &Lab,
    registry: &Registry,
    rootfs: &Path,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    let folder = lab.folder().join("layout");
    let base = Layout::make(rootfs, COUNT, Packing::Gzip, &folder.join("base"))?;
    registry.fill(&base.folder, "bench:base")?;
    let changed = Layout::make_changed(rootfs, COUNT, Packing::Gzip, &folder.join("changed"))?;
    registry.fill(&changed.folder, "bench:changed")?;
    let (base, name) = (&*registry.reference("bench:base"), &*registry.reference("bench:changed"));
    let missing = changed.blobs.last().context("an image without layers")?;
    let skiff = lab.skiff.empty("pull");
    let (scratch, copied) = (lab.folder().join("bare"), lab.folder().join("copied"));
    let names = [base, name];
    let by = |engine: &dyn Engine, pull: &[&str]| -> Result<Duration> {
        engine.output(&[pull, &[base]].concat())?;
        engine.time(&[pull, &[name]].concat())
    };
    let contestants = vec![
        Contestant::new("skiff pull", || {
            let time = by(&skiff, &["pull", "-q"])?;
            skiff.remove_all()?;
            Ok(time)
        }),
        Contestant::new("bare work", || bare(std::slice::from_ref(missing), Packing::Gzip, &scratch)),
        Contestant::new("podman pull", || {
            let time = by(&lab.podman, &["pull", "-q", "--tls-verify=false"])?;
            lab.podman.output(&[&["rmi", "-f"], &names[..]].concat())?;
            Ok(time)
        }),
        Contestant::new("ctr pull", || {
            output(&mut ctr(lab, &["pull", "--plain-http", base]))?;
            let time = time(&mut ctr(lab, &["pull", "--plain-http", name]))?;
            output(&mut ctr(lab, &["rm", "--sync", base, name]))?;
            Ok(time)
        }),
        Contestant::new("skopeo copy", || {
            // Of the places that it copies to, this one knows what it has.
            let target = |tag: &str| format!("oci:{}:{tag}", copied.display());
            output(&mut skopeo(base, &target("base")))?;
            let time = time(&mut skopeo(name, &target("changed")))?;
            std::fs::remove_dir_all(&copied).context("remove what skopeo has copied")?;
            Ok(time)
        }),
        Contestant::new("docker pull", || {
            let time = by(&lab.docker, &["pull", "-q"])?;
            lab.docker.output(&[&["rmi", "-f"], &names[..]].concat())?;
            Ok(time)
        }),
    ];
    let times = in_turns(contestants, rounds)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(times)
}

/// Eight images that share nothing, each an eighth of the tree, pulled at once.
pub(super) fn apart(
    lab: &Lab,
    registry: &Registry,
    rootfs: &Path,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    let folder = lab.folder().join("layout");
    let layouts = Layout::make_apart(rootfs, COUNT, Packing::Gzip, &folder)?;
    let mut names = Vec::new();
    for (number, layout) in layouts.iter().enumerate() {
        let name = format!("bench:part-{number}");
        registry.fill(&layout.folder, &name)?;
        names.push(registry.reference(&name));
    }
    let times = at_once(lab, &names, &layouts, rounds)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(times)
}

/// The same image by eight at once.
pub(super) fn the_same(
    lab: &Lab,
    registry: &Registry,
    rootfs: &Path,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    let folder = lab.folder().join("layout");
    let layout = Layout::make(rootfs, COUNT, Packing::Gzip, &folder)?;
    registry.fill(&layout.folder, "bench:same")?;
    let names = vec![registry.reference("bench:same"); usize::try_from(COUNT)?];
    let times = at_once(lab, &names, &[layout], rounds)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(times)
}

/// Pulls all `names` at once.
fn at_once(lab: &Lab, names: &[String], layouts: &[Layout], rounds: usize) -> Result<Vec<(String, Times)>> {
    let skiff = lab.skiff.empty("pull");
    let (scratch, copied) = (lab.folder().join("bare"), lab.folder().join("copied"));
    let blobs: Vec<_> = layouts.iter().flat_map(|layout| layout.blobs.clone()).collect();
    let mut different: Vec<&str> = names.iter().map(String::as_str).collect();
    different.dedup();
    let pulls = |pull: &[&'static str]| -> Vec<Vec<&str>> {
        names.iter().map(|name| pull.iter().copied().chain([name.as_str()]).collect()).collect()
    };
    let contestants = vec![
        Contestant::new("skiff pull", || {
            let time = skiff.time_at_once(&pulls(&["pull", "-q"]))?;
            skiff.remove_all()?;
            Ok(time)
        }),
        Contestant::new("bare work", || bare(&blobs, Packing::Gzip, &scratch)),
        Contestant::new("podman pull", || {
            let time = lab.podman.time_at_once(&pulls(&["pull", "-q", "--tls-verify=false"]))?;
            lab.podman.output(&[&["rmi", "-f"], &different[..]].concat())?;
            Ok(time)
        }),
        Contestant::new("ctr pull", || {
            let mut all: Vec<_> =
                pulls(&["pull", "--plain-http"]).iter().map(|words| ctr(lab, words)).collect();
            let time = time_at_once(&mut all)?;
            output(&mut ctr(lab, &[&["rm", "--sync"], &different[..]].concat()))?;
            Ok(time)
        }),
        Contestant::new("skopeo copy", || {
            std::fs::create_dir(&copied)?;
            let copy = |(number, name): (usize, &String)| {
                skopeo(name, &format!("dir:{}", copied.join(number.to_string()).display()))
            };
            let time = time_at_once(&mut names.iter().enumerate().map(copy).collect::<Vec<_>>())?;
            std::fs::remove_dir_all(&copied).context("remove what skopeo has copied")?;
            Ok(time)
        }),
        Contestant::new("docker pull", || {
            let time = lab.docker.time_at_once(&pulls(&["pull", "-q"]))?;
            lab.docker.output(&[&["rmi", "-f"], &different[..]].concat())?;
            Ok(time)
        }),
    ];
    in_turns(contestants, rounds)
}

/// What containerd's command line does with images.
fn ctr(lab: &Lab, words: &[&str]) -> Command {
    let mut command = lab.docker.containerd();
    command.arg("images").args(words);
    command
}
