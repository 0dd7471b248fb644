//! `gc.toml`: how full the disk may get before images go that nobody has used for long, and how long pulls may be broken off.
//!
//! ```toml
//! high = "85%"          # of the file system of the root: when it is fuller, images go …
//! low = "75%"           # … until it is as empty as this; the high mark by default
//! unused-for = "24h"    # images that were used within this time stay; an hour by default
//! keep = ["base/*"]     # and so do those with such a name, as `--filter reference=` takes it
//!
//! unfinished-for = "168h" # what a pull has begun is kept so long for one that goes on; a day by default
//! ```
//!
//! It is looked at after whatever has added an image, and by `skiff image prune --auto`. Without the marks no image is ever removed
//! unasked. What is unfinished goes with the next pull or removal that finds it too old.

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
const UNFINISHED_FOR: Duration = Duration::from_secs(24 * 3600);
/// An honest one is far smaller.
const LIMIT: u64 = 64 << 10;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    high: Option<String>,
    low: Option<String>,
    unused_for: Option<String>,
    keep: Option<Vec<String>>,
    unfinished_for: Option<String>,
}

/// What it asks for.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// None where it only says how long what is unfinished is kept.
    pressure: Option<Pressure>,
    keep: Vec<String>,
    unfinished_for: Duration,
}

/// `skiff image prune --auto`: what the file asks for, now.
pub(super) fn prune(context: &Context) -> Result<u8> {
    let paths = places(context);
    let Some((path, settings)) = find(&paths)? else {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NoSettings { path: shown.join(" and no "), wanted: "high" });
    };
    let Some(relief) = relieve(context, &settings, &[])? else {
        let reason = "it does not say when images go (high = …)".to_owned();
        return Err(Error::Settings { path: path.display().to_string(), reason });
    };
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
        Ok((_, None)) => {}
        Ok((_, Some(relief))) if relief.pruned.removed.is_empty() => {}
        Ok((path, Some(Relief { full, pruned }))) => output::warn(&format!(
            "The disk was {full}% full: removed images that were not in use ({}), as {} asks for\n",
            units::size(pruned.reclaimed, 4),
            path.display()
        )),
        Err(error) => output::complain(&error),
    }
}

/// How long what is unfinished is kept, as the first file in these folders says. Who cannot be understood has nothing removed, and
/// is told so by whatever looks at the marks.
pub(crate) fn unfinished_for(folders: &[PathBuf]) -> Option<Duration> {
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.join(NAME)).collect();
    find(&paths).ok().map(|found| found.map_or(UNFINISHED_FOR, |(_, settings)| settings.unfinished_for))
}

/// None where the settings have no marks.
fn relieve(context: &Context, settings: &Settings, added: &[&str]) -> Result<Option<Relief>> {
    let Some(pressure) = &settings.pressure else { return Ok(None) };
    let keep = |image: &ImageSummary| {
        added.contains(&image.id.as_str()) || image.tags.iter().any(|name| settings.keeps(name))
    };
    Ok(Some(context.engine()?.relieve(pressure, &keep)?))
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
        Err(error) => Err(fail(linux::chain(&error))),
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<Settings, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let text: Text = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let pressure = match &text.high {
        Some(high) => {
            let high = percent("high", high)?;
            let low = text.low.as_deref().map_or(Ok(high), |low| percent("low", low))?;
            if low > high {
                return Err(format!("low ({low}%) is above high ({high}%)"));
            }
            let unused_for = span("unused-for", text.unused_for.as_deref(), UNUSED_FOR)?;
            Some(Pressure { high, low, unused_for })
        }
        // All others would say nothing without it.
        None if text.unfinished_for.is_none() => return Err("missing field `high`".to_owned()),
        None if text.low.is_some() || text.unused_for.is_some() || text.keep.is_some() => {
            return Err("missing field `high`, without which low, unused-for and keep say nothing".to_owned());
        }
        None => None,
    };
    let unfinished_for = span("unfinished-for", text.unfinished_for.as_deref(), UNFINISHED_FOR)?;
    Ok(Settings { pressure, keep: text.keep.unwrap_or_default(), unfinished_for })
}

/// A time, or what it is where nothing is said.
fn span(name: &str, text: Option<&str>, otherwise: Duration) -> std::result::Result<Duration, String> {
    let Some(text) = text else { return Ok(otherwise) };
    let nanoseconds = time::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    let words = || format!("{name}: {text:?} is not a time such as \"24h\"");
    nanoseconds.map(Duration::from_nanos).ok_or_else(words)
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
        let keep = vec!["base/*".to_owned()];
        assert_eq!(
            settings,
            Settings { pressure: Some(pressure), keep, unfinished_for: Duration::from_secs(24 * 3600) }
        );
        let least = parse(b"high = \"90%\"").unwrap().pressure;
        assert_eq!(least, Some(Pressure { high: 90, low: 90, unused_for: UNUSED_FOR }));
        let unfinished = |text: &str| parse(text.as_bytes()).map(|it| (it.pressure, it.unfinished_for));
        let week = Duration::from_secs(7 * 24 * 3600);
        assert_eq!(unfinished("unfinished-for = \"168h\"").unwrap(), (None, week));
        assert_eq!(unfinished("unfinished-for = \"0s\"").unwrap(), (None, Duration::ZERO));
        assert_eq!(unfinished("high = \"90%\"\nunfinished-for = \"168h\"").unwrap().1, week);
        for other in ["low = \"1%\"", "unused-for = \"1h\"", "keep = []"] {
            let text = format!("{other}\nunfinished-for = \"1h\"");
            assert!(unfinished(&text).unwrap_err().contains("missing field `high`"), "{other}");
        }
        assert!(
            unfinished("unfinished-for = \"soon\"").unwrap_err().contains("unfinished-for: \"soon\" is not")
        );
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
        let settings = Settings { pressure: None, keep, unfinished_for: Duration::ZERO };
        for name in ["base/os:1", "app:stable", "host.example:5000/a/b:c"] {
            assert!(settings.keeps(name), "{name}");
        }
        for name in ["base:1", "base/os/more:1", "app:latest", "host.example:5000/a:b"] {
            assert!(!settings.keeps(name), "{name}");
        }
    }
}
