//! `gc.toml`: how full the disk may get before images go that nobody has used for long.
//!
//! ```toml
//! high = "85%"          # of the file system of the root: when it is fuller, images go …
//! low = "75%"           # … until it is as empty as this; the high mark by default
//! unused-for = "24h"    # images that were used within this time stay; an hour by default
//! keep = ["base/*"]     # and so do those with such a name, as `--filter reference=` takes it
//! ```
//!
//! It is looked at after whatever has added an image, and by `skiff image prune --auto`. Without the file nothing is ever removed
//! unasked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::info::ImageSummary;
use engine::{Pressure, Relief};
use serde::Deserialize;

use super::list::refers;
use super::remove::deleted;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{self, units};
use crate::values::time;

const NAME: &str = "gc.toml";
/// What is younger may be about to be used. When an image was used is known to the hour.
const UNUSED_FOR: Duration = Duration::from_secs(3600);
/// An honest one is far smaller.
const LIMIT: u64 = 64 << 10;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    high: String,
    low: Option<String>,
    unused_for: Option<String>,
    #[serde(default)]
    keep: Vec<String>,
}

/// What it asks for.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    pressure: Pressure,
    keep: Vec<String>,
}

/// `skiff image prune --auto`: what the file asks for, now.
pub(super) fn prune(context: &Context) -> Result<u8> {
    let paths = places(context);
    let Some((_, settings)) = find(&paths)? else {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NoSettings { path: shown.join(" and no "), wanted: "high" });
    };
    let relief = relieve(context, &settings, &[])?;
    output::print(&deleted(&relief.pruned));
    output::print(&format!("Total reclaimed space: {}\n", units::size(relief.pruned.reclaimed, 4)));
    Ok(0)
}

/// After a command that has `added` images: does what the file asks for, if there is one, without removing these. Whatever is
/// wrong with that is worth a word, for the command has done what it was asked to do.
pub(crate) fn relieve_after(context: &Context, added: &[&str]) {
    let relief = match find(&places(context)) {
        Ok(None) => return,
        Ok(Some((path, settings))) => relieve(context, &settings, added).map(|relief| (path, relief)),
        Err(error) => Err(error),
    };
    match relief {
        Ok((_, relief)) if relief.pruned.removed.is_empty() => {}
        Ok((path, Relief { full, pruned })) => output::warn(&format!(
            "The disk was {full}% full: removed images that were not in use ({}), as {} asks for\n",
            units::size(pruned.reclaimed, 4),
            path.display()
        )),
        Err(error) => output::complain(&error),
    }
}

fn relieve(context: &Context, settings: &Settings, added: &[&str]) -> Result<Relief> {
    let keep = |image: &ImageSummary| {
        added.contains(&image.id.as_str()) || image.tags.iter().any(|name| settings.keeps(name))
    };
    Ok(context.engine()?.relieve(&settings.pressure, &keep)?)
}

fn places(context: &Context) -> Vec<PathBuf> {
    context.settings().into_iter().map(|folder| folder.join(NAME)).collect()
}

/// The first file that is there.
fn find(paths: &[PathBuf]) -> Result<Option<(PathBuf, Settings)>> {
    for path in paths {
        if let Some(settings) = read(path)? {
            return Ok(Some((path.clone(), settings)));
        }
    }
    Ok(None)
}

/// None where there is no such file.
fn read(path: &Path) -> Result<Option<Settings>> {
    let fail = |reason| Error::Settings { path: path.display().to_string(), reason };
    match linux::file::read_bounded(path, LIMIT) {
        Ok(bytes) => parse(&bytes).map(Some).map_err(fail),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(fail(crate::error::chain(&error))),
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<Settings, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let text: Text = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let high = percent("high", &text.high)?;
    let low = text.low.as_deref().map_or(Ok(high), |low| percent("low", low))?;
    if low > high {
        return Err(format!("low ({low}%) is above high ({high}%)"));
    }
    let unused_for = text.unused_for.as_deref().map_or(Ok(UNUSED_FOR), |text| {
        let nanoseconds = time::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
        let words = || format!("unused-for: {text:?} is not a time such as \"24h\"");
        nanoseconds.map(Duration::from_nanos).ok_or_else(words)
    })?;
    Ok(Settings { pressure: Pressure { high, low, unused_for }, keep: text.keep })
}

fn percent(name: &str, text: &str) -> std::result::Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let percent: Option<u8> = number.filter(|percent| (1..=100).contains(percent));
    percent.ok_or_else(|| format!("{name}: {text:?} is not a percentage such as \"85%\", from 1% to 100%"))
}

impl Settings {
    /// Whether an image of this name stays.
    fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|pattern| refers(pattern, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_wrong_with_it_is_named() {
        let settings =
            parse(b"high = \"85%\"\nlow = \"75%\"\nunused-for = \"1h30m\"\nkeep = [\"base/*\"]").unwrap();
        let pressure = Pressure { high: 85, low: 75, unused_for: Duration::from_secs(5400) };
        assert_eq!(settings, Settings { pressure, keep: vec!["base/*".to_owned()] });
        let least = parse(b"high = \"90%\"").unwrap().pressure;
        assert_eq!(least, Pressure { high: 90, low: 90, unused_for: UNUSED_FOR });
        let wrong = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(wrong("").contains("missing field `high`"), "{}", wrong(""));
        assert!(
            wrong("high = \"90%\"\nhihg = 1").contains("line 2"),
            "{}",
            wrong("high = \"90%\"\nhihg = 1")
        );
        assert_eq!(
            wrong("high = \"90\""),
            "high: \"90\" is not a percentage such as \"85%\", from 1% to 100%"
        );
        for text in ["\"0%\"", "\"101%\"", "\"-1%\"", "\"%\""] {
            assert!(wrong(&format!("high = {text}")).contains("is not a percentage"));
        }
        assert_eq!(wrong("high = \"50%\"\nlow = \"60%\""), "low (60%) is above high (50%)");
        assert!(wrong("high = \"50%\"\nunused-for = \"-1h\"").contains("is not a time"));
        assert!(parse(b"high = \"\xff\"").is_err());
    }

    #[test]
    fn names_are_kept_with_and_without_their_tag() {
        let keep = ["base/*", "app:stable", "host.example:5000/*/*"].map(str::to_owned).to_vec();
        let settings = Settings { pressure: Pressure { high: 1, low: 1, unused_for: Duration::ZERO }, keep };
        for name in ["base/os:1", "app:stable", "host.example:5000/a/b:c"] {
            assert!(settings.keeps(name), "{name}");
        }
        for name in ["base:1", "base/os/more:1", "app:latest", "host.example:5000/a:b"] {
            assert!(!settings.keeps(name), "{name}");
        }
    }
}
