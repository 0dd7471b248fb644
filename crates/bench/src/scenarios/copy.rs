//! Copying a tree of 500 MB out of a container, and into one.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-cp";
const FOLDERS: usize = 50;
const FILES: usize = 40;
const BYTES: usize = 250_000;

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let tree = tree(&lab.folder().join("tree"))?;
    let out = lab.folder().join("copied");
    let lab = &*lab;
    let engines = lab.engines();
    for engine in engines {
        engine.output(&["run", "-d", "--name", NAME, "--network", "none", SMALL, "sleep", "100000"])?;
    }
    let from = tree.to_str().context("a path that is not UTF-8")?;
    let to = out.to_str().context("a path that is not UTF-8")?;
    let (inside, outside) = (format!("{NAME}:/tree"), format!("{NAME}:/"));
    let contestants = engines.map(|engine| {
        let (inside, outside, out) = (&inside, &outside, &out);
        Contestant::new(&format!("{} cp, in and out", engine.name()), move || {
            let time = engine.time(&["cp", from, outside])? + engine.time(&["cp", inside, to])?;
            std::fs::remove_dir_all(out)?;
            engine.output(&["exec", NAME, "rm", "-r", "/tree"])?;
            Ok(time)
        })
    });
    let times = in_turns(contestants.into(), rounds.min(5))?;
    for engine in engines {
        engine.output(&["rm", "-f", NAME])?;
    }
    std::fs::remove_dir_all(&tree)?;
    let mut table = Table::of_times("`cp` of a tree of 500 MB, into a container and out of it", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}

/// Makes two thousand files of a quarter of a megabyte without a zero in them, so that nobody takes them for sparse.
fn tree(folder: &Path) -> Result<PathBuf> {
    for number in 0..FOLDERS * FILES {
        let folder = folder.join(format!("folder-{}", number / FILES));
        std::fs::create_dir_all(&folder)?;
        let mut file = std::fs::File::create(folder.join(format!("file-{number}")))?;
        file.write_all(&vec![u8::try_from(number % 255 + 1)?; BYTES])?;
    }
    Ok(folder.to_owned())
}
