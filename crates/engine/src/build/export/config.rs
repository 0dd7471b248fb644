//! Times and history of an image.
//!
//! Without `SOURCE_DATE_EPOCH` a step was done when its layer was stored, a step without a layer when the one before it was (or,
//! where no layer comes before it, the first of this build), and an image was made when its last step was. So a build of
//! which the cache knows every step gives the image that it gave before; also where the cache is another machine's, for that says when
//! its layers were made.

use oci::{DiffId, History, ImageConfig, Timestamp};
use rustix::fs::stat;

use super::Product;
use crate::Result;
use crate::build::session::Session;
use crate::build::shared::SharedCache;

/// A product with the digests of its layers, and all times in its config.
pub(super) fn finished(
    session: &Session<'_>,
    cache: Option<&SharedCache<'_>>,
    product: Product,
) -> Result<Product> {
    let Product { platform, mut config, tree, layer_names } = product;
    config.rootfs.diff_ids = tree.diff_ids();
    complete_history(&mut config, &layer_names);
    let stored = |layer: &DiffId| {
        let known = stored(session, layer)?;
        Some(cache.and_then(|cache| cache.claimed_time(layer)).map_or(known, |claimed| claimed.min(known)))
    };
    let times: Vec<Option<Timestamp>> = match session.timestamp() {
        Some(epoch) => vec![Some(epoch); config.rootfs.diff_ids.len()],
        None => config.rootfs.diff_ids.iter().map(stored).collect(),
    };
    set_times(&mut config, &times);
    if let Some(epoch) = session.timestamp() {
        for step in config.history.iter_mut().filter(|step| step.created.is_none()) {
            step.created = Some(epoch);
        }
        config.created = Some(epoch);
    }
    if config.created.is_none() {
        config.created = config.history.iter().rev().find_map(|step| step.created);
    }
    Ok(Product { platform, config, tree, layer_names })
}

/// When a layer was stored here.
pub(in crate::build) fn stored(session: &Session<'_>, layer: &DiffId) -> Option<Timestamp> {
    let found = stat(session.engine.store.layer_path(layer)).ok()?;
    // A second is enough for people, and what file systems agree on.
    Timestamp::new(found.st_mtime, 0)
}

/// Sees to it that each layer has its line in the history.
fn complete_history(config: &mut ImageConfig, names: &[String]) {
    let layers = config.rootfs.diff_ids.len();
    let mut told = config.history.iter().filter(|step| !step.empty_layer).count();
    while told < layers {
        let name = names.len().checked_sub(layers - told).and_then(|place| names.get(place));
        let created_by = name.cloned().unwrap_or_default();
        config.history.push(History { created_by, ..History::default() });
        told += 1;
    }
    // Lines of layers that are not there belong to what has none.
    for step in config.history.iter_mut().rev().filter(|step| !step.empty_layer) {
        if told == layers {
            break;
        }
        step.empty_layer = true;
        told -= 1;
    }
}

/// Fills in the times of steps, given those of the layers.
fn set_times(config: &mut ImageConfig, times: &[Option<Timestamp>]) {
    let mut layers = times.iter();
    for step in config.history.iter_mut().filter(|step| !step.empty_layer) {
        let time = layers.next().copied().flatten();
        step.created = step.created.or(time);
    }
    // Of steps without a layer: those of this build follow the base's.
    let first_own = config.history.iter().position(|step| step.created.is_none());
    let Some(first_own) = first_own else { return };
    let (base, own) = config.history.split_at_mut(first_own);
    let before = base.iter().rev().find_map(|step| step.created);
    let mut last = own.iter().find_map(|step| step.created).or(before);
    for step in own {
        match step.created {
            Some(time) => last = Some(time),
            None => step.created = last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Option<Timestamp> {
        Timestamp::new(seconds, 0)
    }

    fn config(steps: &[(Option<i64>, bool)]) -> ImageConfig {
        let step = |&(created, empty_layer): &(Option<i64>, bool)| History {
            created: created.and_then(time),
            empty_layer,
            ..History::default()
        };
        ImageConfig { history: steps.iter().map(step).collect(), ..ImageConfig::default() }
    }

    fn shown(config: &ImageConfig) -> Vec<Option<i64>> {
        config.history.iter().map(|step| step.created.map(Timestamp::seconds)).collect()
    }

    #[test]
    fn steps_without_a_layer_have_the_time_of_the_layer_before_or_of_the_first() {
        let mut image = config(&[
            (Some(5), false),
            (None, true),
            (None, false),
            (None, true),
            (None, false),
            (None, true),
        ]);
        set_times(&mut image, &[time(1), time(20), time(30)]);
        assert_eq!(shown(&image), [Some(5), Some(20), Some(20), Some(20), Some(30), Some(30)]);
        let mut image = config(&[(Some(5), false), (None, true)]);
        set_times(&mut image, &[time(1)]);
        assert_eq!(shown(&image), [Some(5), Some(5)], "with no layer of its own it is as old as its base");
        let mut image = config(&[(None, true)]);
        set_times(&mut image, &[]);
        assert_eq!(shown(&image), [None], "there is no time that would be the same tomorrow");
    }

    #[test]
    fn every_layer_has_a_line() {
        let layer = |text: &str| DiffId::try_from(oci::Digest::of(text.as_bytes())).unwrap();
        let mut image = config(&[(None, false), (None, true)]);
        image.rootfs.diff_ids = ["a", "b", "c"].map(layer).to_vec();
        complete_history(&mut image, &["one".to_owned(), "two".to_owned()]);
        let lines: Vec<_> =
            image.history.iter().map(|step| (step.created_by.as_str(), step.empty_layer)).collect();
        assert_eq!(lines, [("", false), ("", true), ("one", false), ("two", false)]);
        image.rootfs.diff_ids.truncate(1);
        complete_history(&mut image, &[]);
        assert_eq!(image.history.iter().filter(|step| !step.empty_layer).count(), 1);
    }
}
