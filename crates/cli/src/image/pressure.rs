//! `gc.toml`: how full the disk may get before images go that nobody has used for long, and how long pulls may be broken off.
//!
//! ```toml
//! high = "85%"          # of the file system of the root: when it is fuller, images go …
//! low = "75%"           # … until it is as empty as this; the high mark by default
//! unused-for = "24h"    # images that were used within this time stay; an hour by default
//! keep = ["base/*"]     # and so do those with such a name, as `--filter reference=` takes it
//!
//! unfinished-for = "168h" # what a pull has begun is kept so long for one that goes on; a day by default
//!
//! build-cache = "50GB"  # what builds have left may take this, or so many percent of the disk, or be "unlimited"; by default a
//!                       # tenth of the disk, or 20 GB where that is more, but never more than half of it
//! ```
//!
//! It is looked at after whatever has added an image, and by `skiff image prune --auto`. Without the marks no image is ever removed
//! unasked; what builds have left is bounded without the file, too, and goes before any image where the disk is too full. What is
//! unfinished goes with the next pull or removal that finds it too old.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::build::PrunedBuildCache;
use engine::info::ImageSummary;
use engine::request::parse_decimal_bytes;
use engine::{Pressure, Relief};
use serde::Deserialize;

use super::list::refers;
use super::remove::deleted;
use crate::builder;
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
    build_cache: Option<String>,
}

/// What it asks for.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// None where it only says how long what is unfinished is kept.
    pressure: Option<Pressure>,
    keep: Vec<String>,
    unfinished_for: Duration,
    build_cache: Bound,
}

/// What the cache of builds may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bound {
    /// What the engine thinks right for the disk.
    #[default]
    Usual,
    Bytes(u64),
    Percent(u8),
    Unlimited,
}

/// `skiff image prune --auto`: what the file asks for, now.
pub(super) fn prune(context: &Context) -> Result<u8> {
    let paths = places(context);
    let Some((path, settings)) = find(&paths)? else {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NoSettings { path: shown.join(" and no "), wanted: "high" });
    };
    if settings.pressure.is_none() && settings.build_cache == Bound::Usual {
        let reason = "it does not say when images go (high = …)".to_owned();
        return Err(Error::Settings { path: path.display().to_string(), reason });
    }
    let mut cache = bound_build_cache(context, settings.build_cache)?;
    let relief = relieve(context, &settings, &[])?.unwrap_or_default();
    cache.removed.extend(relief.cache);
    output::print(&deleted(&relief.pruned));
    output::print(&builder::deleted(&cache));
    let reclaimed = units::size(relief.pruned.reclaimed + cache.reclaimed, 4);
    output::print(&format!("Total reclaimed space: {reclaimed}\n"));
    Ok(0)
}

/// After a command that has `added` images, or was a build: does what the file asks for, without removing these images; and bounds the
/// cache of builds, whether or not there is a file. Whatever is wrong with that is worth a word, for the command has done what it
/// was asked to do.
pub(crate) fn relieve_after(context: &Context, added: &[&str]) {
    let done = find(&places(context)).and_then(|found| {
        let bound = found.as_ref().map(|(_, settings)| settings.build_cache).unwrap_or_default();
        bound_build_cache(context, bound)?;
        let Some((path, settings)) = found else { return Ok(None) };
        Ok(relieve(context, &settings, added)?.map(|relief| (path, relief)))
    });
    match done {
        Ok(None) => {}
        Ok(Some((_, relief))) if relief.pruned.removed.is_empty() && relief.cache.is_empty() => {}
        Ok(Some((path, Relief { full, pruned, cache }))) => output::warn(&format!(
            "The disk was {full}% full: removed {} not in use ({}), as {} asks for\n",
            if cache.is_empty() { "images that were" } else { "what was" },
            units::size(pruned.reclaimed, 4),
            path.display()
        )),
        Err(error) => output::complain(&error),
    }
}

/// Costs a query where there is nothing to do. What goes is told in the log alone: it can be made again, and nobody has named it.
fn bound_build_cache(context: &Context, bound: Bound) -> Result<PrunedBuildCache> {
    let engine = context.engine()?;
    let most = match bound {
        Bound::Unlimited => return Ok(PrunedBuildCache::default()),
        Bound::Usual => engine.default_cache_limit()?,
        Bound::Bytes(bytes) => bytes,
        Bound::Percent(percent) => engine.part_of_disk(percent)?,
    };
    let pruned = engine.bound_build_cache(most)?;
    if !pruned.removed.is_empty() {
        tracing::info!(
            entries = pruned.removed.len(),
            bytes = pruned.reclaimed,
            "the cache of builds was too large"
        );
    }
    Ok(pruned)
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
        None if text.unfinished_for.is_none() && text.build_cache.is_none() => {
            return Err("missing field `high`".to_owned());
        }
        None if text.low.is_some() || text.unused_for.is_some() || text.keep.is_some() => {
            return Err("missing field `high`, without which low, unused-for and keep say nothing".to_owned());
        }
        None => None,
    };
    let unfinished_for = span("unfinished-for", text.unfinished_for.as_deref(), UNFINISHED_FOR)?;
    let build_cache = text.build_cache.as_deref().map_or(Ok(Bound::Usual), bound)?;
    Ok(Settings { pressure, keep: text.keep.unwrap_or_default(), unfinished_for, build_cache })
}

/// A time, or what it is where nothing is said.
fn span(name: &str, text: Option<&str>, otherwise: Duration) -> std::result::Result<Duration, String> {
    let Some(text) = text else { return Ok(otherwise) };
    let nanoseconds = time::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    let words = || format!("{name}: {text:?} is not a time such as \"24h\"");
    nanoseconds.map(Duration::from_nanos).ok_or_else(words)
}

fn bound(text: &str) -> std::result::Result<Bound, String> {
    if text == "unlimited" {
        return Ok(Bound::Unlimited);
    }
    if text.ends_with('%') {
        return percent("build-cache", text).map(Bound::Percent);
    }
    let bytes = parse_decimal_bytes(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
    let words = || {
        format!("build-cache: {text:?} is not a size such as \"50GB\", nor a percentage, nor \"unlimited\"")
    };
    bytes.map(Bound::Bytes).ok_or_else(words)
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
            Settings {
                pressure: Some(pressure),
                keep,
                unfinished_for: Duration::from_secs(24 * 3600),
                build_cache: Bound::Usual
            }
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
        let bound =
            |text: &str| parse(format!("build-cache = \"{text}\"").as_bytes()).map(|it| it.build_cache);
        assert_eq!(bound("50GB"), Ok(Bound::Bytes(50_000_000_000)));
        assert_eq!(bound("0"), Ok(Bound::Bytes(0)));
        assert_eq!(bound("25%"), Ok(Bound::Percent(25)));
        assert_eq!(bound("unlimited"), Ok(Bound::Unlimited));
        for text in ["", "-1", "much", "101%", "0%", "%"] {
            assert!(bound(text).unwrap_err().starts_with("build-cache: "), "{text}");
        }
    }

    #[test]
    fn names_are_kept_with_and_without_their_tag() {
        let keep = ["base/*", "app:stable", "host.example:5000/*/*"].map(str::to_owned).to_vec();
        let settings = Settings { keep, ..parse(b"unfinished-for = \"0s\"").unwrap() };
        for name in ["base/os:1", "app:stable", "host.example:5000/a/b:c"] {
            assert!(settings.keeps(name), "{name}");
        }
        for name in ["base:1", "base/os/more:1", "app:latest", "host.example:5000/a:b"] {
            assert!(!settings.keeps(name), "{name}");
        }
    }
}
