//! Builds of Dockerfiles, beside BuildKit as Debian's dockerd has it, and buildah.
//!
//! ```text
//! cold        nothing is known of any step
//! cached      every step is known
//! one file    the file that the last steps take has other content
//! stages      twenty that do not need each other, and one that takes a file of each
//! contexts    of 50,000 files, of 2 GB; and 500 MB from one stage to another
//! ```

mod recipes;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::engines::{Buildah, Engine};
use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, Times, in_turns};
use crate::report::{Table, milliseconds};
use recipes::Recipe;

/// What the images are called.
const NAME: &str = "localhost/bench:built";

/// A copy of the data, and no builder.
const BARE: &str = "a bare copy, synced";

/// One builder: what it calls itself, and the words before the options of a build.
struct Builder<'a> {
    name: &'static str,
    engine: &'a dyn Engine,
    words: &'static [&'static str],
}

/// Steps.
pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    builds(lab, rounds, "`build` of a Dockerfile", recipes::STEPS)
}

/// Files.
pub(crate) fn files(lab: &mut Lab, rounds: usize) -> Result<Table> {
    builds(lab, rounds, "`build` with large contexts", recipes::FILES)
}

fn builds(lab: &Lab, rounds: usize, title: &str, recipes: &[Recipe]) -> Result<Table> {
    let mut table = Table::new(title, &["", "", "median", "skiff is"]);
    let buildah = Buildah::new(lab.folder())?;
    buildah.import(&lab.folder().join("rootfs.tar"), SMALL)?;
    let builders = [
        Builder { name: "skiff build", engine: &lab.skiff, words: &["build", "-q"] },
        Builder {
            name: "docker build (BuildKit)",
            engine: &lab.docker.with_buildkit(),
            words: &["build", "-q"],
        },
        Builder { name: "buildah build", engine: &buildah, words: &["build", "-q", "--layers"] },
    ];
    for recipe in recipes {
        let folder = lab.folder().join("build");
        let times = compare(&builders, recipe, &folder, rounds.min(recipe.rounds))
            .with_context(|| recipe.name.to_owned())?;
        std::fs::remove_dir_all(&folder)?;
        report(&mut table, recipe, &times);
    }
    table.note(
        "All build on the same busybox image. Docker is BuildKit in Debian's dockerd 20.10; buildah runs steps by crun, with \
         `--layers`. What the commands of the steps themselves take is less than a millisecond each, but for the 20 stages, each of which \
         sleeps for 200 ms. Docker's layers are not synced: what it has built may be gone with the power."
            .to_owned(),
    );
    for builder in &builders {
        drop(builder.engine.output(&["rmi", "-f", NAME]));
    }
    buildah.remove_all()?;
    Ok(table)
}

fn compare(
    builders: &[Builder<'_>],
    recipe: &Recipe,
    folder: &Path,
    rounds: usize,
) -> Result<Vec<(String, Times)>> {
    (recipe.lay_out)(folder)?;
    let contestants = builders.iter().map(|builder| {
        let mut turn = 0;
        Contestant::new(builder.name, move || {
            turn += 1;
            (recipe.before)(folder, turn)?;
            build(builder, recipe, folder)
        })
    });
    let bare = recipe.data.map(|data| Contestant::new(BARE, move || copy(&folder.join(data), folder)));
    in_turns(contestants.chain(bare).collect(), rounds)
}

/// Copies the files of a folder into one file that is on the disk then, as every layer is: what no builder can do without that loses
/// nothing when the power fails.
fn copy(data: &Path, folder: &Path) -> Result<Duration> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(data)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let target = folder.with_extension("copy");
    let begun = Instant::now();
    let mut all = File::create(&target)?;
    let mut buffer = vec![0; 256 << 10];
    for file in files {
        let mut file = File::open(file)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            all.write_all(&buffer[..read])?;
        }
    }
    all.sync_all()?;
    let took = begun.elapsed();
    std::fs::remove_file(target)?;
    Ok(took)
}

fn build(builder: &Builder<'_>, recipe: &Recipe, folder: &Path) -> Result<Duration> {
    let path: PathBuf = folder.to_owned();
    let path = path.to_str().context("a path that is not UTF-8")?;
    let mut words = builder.words.to_vec();
    // The daemon of the lab has no bridge.
    words.push("--network=none");
    words.extend(recipe.is_cold.then_some("--no-cache"));
    words.extend(["-t", NAME, path]);
    builder.engine.time(&words)
}

fn report(table: &mut Table, recipe: &Recipe, times: &[(String, Times)]) {
    let ours = times.first().map(|(_, times)| times.median()).unwrap_or_default().as_secs_f64();
    for (contestant, theirs) in times {
        let ratio = ours / theirs.median().as_secs_f64();
        let cells = [
            recipe.name.to_owned(),
            contestant.clone(),
            milliseconds(theirs.median()),
            format!("{ratio:.3} ×"),
        ];
        table.row(cells);
    }
    let others = times.iter().skip(1).filter(|(name, _)| name != BARE);
    let fastest = others.map(|(_, times)| times.median()).min().unwrap_or_default();
    let commands = recipe.commands.as_secs_f64();
    let but = if recipe.commands.is_zero() {
        String::new()
    } else {
        format!(" but for the {} of its commands", milliseconds(recipe.commands))
    };
    let what = format!("`skiff build` ({}){but}, beside the fastest other", recipe.name);
    table.goal(&what, recipe.wanted, (ours - commands) / (fastest.as_secs_f64() - commands), "×");
    if let Some((_, bare)) = times.iter().find(|(name, _)| name == BARE) {
        let what = format!("`skiff build` ({}), beside a bare copy", recipe.name);
        table.goal(&what, 1.3, ours / bare.median().as_secs_f64(), "×");
    }
    if let Some(limit) = recipe.limit {
        table.goal(&format!("`skiff build` ({})", recipe.name), limit, ours * 1000.0, " ms");
    }
}
