//! What is built: a Dockerfile and its context, laid out in a folder, and what changes between two builds.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::lab::SMALL;

/// A comparison.
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// Makes the folder with all that is in it.
    pub(super) lay_out: fn(&Path) -> Result<()>,
    /// What happens before each build, outside of what is timed; the turn counts from 1.
    pub(super) before: fn(&Path, u32) -> Result<()>,
    /// Whether all steps are done anew each time.
    pub(super) is_cold: bool,
    /// The most that is wanted beside the fastest other.
    pub(super) wanted: f64,
    /// The most milliseconds that are wanted.
    pub(super) limit: Option<f64>,
    /// Rounds at most, of what takes long.
    pub(super) rounds: usize,
    /// What the commands themselves take at least, whoever builds, for the longest way through the steps.
    pub(super) commands: Duration,
    /// The folder whose files are copied, where that is most of the work.
    pub(super) data: Option<&'static str>,
}

/// How long each of the stages that are built at once sleeps.
const SLEEP: Duration = Duration::from_millis(200);

/// Of steps: what the builder takes beside the commands.
pub(super) const STEPS: &[Recipe] = &[
    Recipe {
        name: "10 steps, cold",
        lay_out: ten_steps,
        before: nothing,
        is_cold: true,
        wanted: 0.2,
        limit: None,
        rounds: 10,
        commands: Duration::ZERO,
        data: None,
    },
    Recipe {
        name: "10 steps, cached",
        lay_out: ten_steps,
        before: nothing,
        is_cold: false,
        wanted: 0.1,
        limit: Some(50.0),
        rounds: 20,
        commands: Duration::ZERO,
        data: None,
    },
    Recipe {
        name: "one file changed",
        lay_out: with_source,
        before: change,
        is_cold: false,
        wanted: 0.2,
        limit: None,
        rounds: 10,
        commands: Duration::ZERO,
        data: None,
    },
    Recipe {
        name: "20 stages at once",
        lay_out: stages,
        before: nothing,
        is_cold: true,
        wanted: 0.2,
        limit: None,
        rounds: 3,
        commands: SLEEP,
        data: None,
    },
];

/// Of files: these take minutes.
pub(super) const FILES: &[Recipe] = &[
    Recipe {
        name: "context of 50,000 files",
        lay_out: many_files,
        before: nothing,
        is_cold: true,
        wanted: 0.2,
        limit: None,
        rounds: 3,
        commands: Duration::ZERO,
        data: None,
    },
    Recipe {
        name: "context of 50,000 files, cached",
        lay_out: many_files,
        before: nothing,
        is_cold: false,
        wanted: 0.1,
        limit: None,
        rounds: 3,
        commands: Duration::ZERO,
        data: None,
    },
    Recipe {
        name: "context of 2 GB",
        lay_out: large_files,
        before: nothing,
        is_cold: true,
        wanted: 0.2,
        limit: None,
        rounds: 2,
        commands: Duration::ZERO,
        data: Some("data"),
    },
    Recipe {
        name: "500 MB from a stage",
        lay_out: between_stages,
        before: nothing,
        is_cold: true,
        wanted: 0.2,
        limit: None,
        rounds: 2,
        commands: Duration::ZERO,
        data: Some("data"),
    },
];

fn nothing(_: &Path, _: u32) -> Result<()> {
    Ok(())
}

fn dockerfile(folder: &Path, text: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("Dockerfile"), text)?)
}

fn ten_steps(folder: &Path) -> Result<()> {
    let mut text = format!("FROM {SMALL}\n");
    for step in 1..=10 {
        writeln!(text, "RUN echo {step} > /step-{step}")?;
    }
    dockerfile(folder, &text)
}

fn with_source(folder: &Path) -> Result<()> {
    let text = format!(
        "FROM {SMALL}\nRUN echo dependencies > /dependencies\nWORKDIR /work\nCOPY lock .\nRUN cat lock > installed\nCOPY . .\n\
         RUN cat source > built\n"
    );
    dockerfile(folder, &text)?;
    std::fs::write(folder.join("lock"), "one\n")?;
    std::fs::write(folder.join("source"), "0\n")?;
    for number in 0..100 {
        std::fs::write(folder.join(format!("file-{number}")), number.to_string())?;
    }
    Ok(())
}

fn change(folder: &Path, turn: u32) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(std::fs::write(folder.join("source"), format!("{turn} {}\n", now.as_nanos()))?)
}

fn stages(folder: &Path) -> Result<()> {
    let sleep = SLEEP.as_secs_f64();
    let mut text = String::new();
    for stage in 1..=20 {
        writeln!(text, "FROM {SMALL} AS stage{stage}\nRUN sleep {sleep}; echo {stage} > /made-{stage}")?;
    }
    writeln!(text, "FROM {SMALL}")?;
    for stage in 1..=20 {
        writeln!(text, "COPY --from=stage{stage} /made-{stage} /")?;
    }
    dockerfile(folder, &text)
}

fn many_files(folder: &Path) -> Result<()> {
    dockerfile(folder, &format!("FROM {SMALL}\nCOPY tree /tree\n"))?;
    for directory in 0..500 {
        let place = folder.join(format!("tree/{:02}/{directory:03}", directory % 20));
        std::fs::create_dir_all(&place)?;
        for file in 0..100 {
            std::fs::write(
                place.join(format!("file-{file:02}.txt")),
                format!("{directory} {file}\n").repeat(40),
            )?;
        }
    }
    Ok(())
}

/// Bytes that do not compress to nothing and need no source of chance.
fn fill(path: &Path, megabytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ megabytes;
    let mut block = vec![0_u8; 1 << 20];
    for _ in 0..megabytes {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(())
}

fn large_files(folder: &Path) -> Result<()> {
    dockerfile(folder, &format!("FROM {SMALL}\nCOPY data /data\n"))?;
    std::fs::create_dir_all(folder.join("data"))?;
    (0..20).try_for_each(|number| fill(&folder.join(format!("data/{number:02}")), 100 + number % 2))
}

fn between_stages(folder: &Path) -> Result<()> {
    dockerfile(
        folder,
        &format!("FROM {SMALL} AS made\nCOPY data /data\nFROM {SMALL}\nCOPY --from=made /data /data\n"),
    )?;
    std::fs::create_dir_all(folder.join("data"))?;
    (0..5).try_for_each(|number| fill(&folder.join(format!("data/{number}")), 100))
}
