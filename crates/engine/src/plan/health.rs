//! Health checks: the user's and the image's wishes merged, checked, and turned into a program and its schedule.

use monitor::Schedule;
use oci::Healthcheck;

use crate::spec::ProcessSpec;
use crate::{Error, Result};

const MILLISECOND: i64 = 1_000_000;

/// What the user leaves open is the image's. Missing where nothing is checked.
pub(super) fn merge(own: Option<&Healthcheck>, images: Option<&Healthcheck>) -> Result<Option<Healthcheck>> {
    let own = own.cloned().unwrap_or_default();
    check(&own)?;
    let images = images.cloned().unwrap_or_default();
    let or = |own: i64, images: i64| if own == 0 { images } else { own };
    let merged = Healthcheck {
        test: if own.test.is_empty() { images.test } else { own.test },
        interval: or(own.interval, images.interval),
        timeout: or(own.timeout, images.timeout),
        start_period: or(own.start_period, images.start_period),
        start_interval: or(own.start_interval, images.start_interval),
        retries: or(own.retries, images.retries),
    };
    super::spec::check_texts("health check", &merged.test)?;
    // `NONE` is kept: it says that the image's check is not wanted.
    Ok((!merged.test.is_empty()).then_some(merged))
}

fn check(own: &Healthcheck) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidHealthcheck { reason });
    for (name, duration) in [
        ("Interval", own.interval),
        ("Timeout", own.timeout),
        ("StartPeriod", own.start_period),
        ("StartInterval", own.start_interval),
    ] {
        if duration != 0 && duration < MILLISECOND {
            return invalid(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if own.retries < 0 {
        return invalid("Retries in Healthcheck cannot be negative".to_owned());
    }
    Ok(())
}

/// The program that checks; missing where none does.
pub(crate) fn command(process: &ProcessSpec) -> Option<Vec<String>> {
    let test = &process.health.as_ref()?.test;
    let (kind, rest) = test.split_first()?;
    match (kind.as_str(), rest) {
        ("CMD", [_, ..]) => Some(rest.to_vec()),
        ("CMD-SHELL", [_, ..]) => {
            let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
            let mut command = if process.shell.is_empty() { default() } else { process.shell.clone() };
            command.extend_from_slice(rest);
            Some(command)
        }
        // `NONE`, and whatever an image may say that nobody understands.
        _ => None,
    }
}

/// What an image says cannot be refused, so it is made to fit: nothing shorter than a millisecond is a time.
pub(crate) fn schedule(check: &Healthcheck) -> Schedule {
    let default = Schedule::default();
    let time = |nanoseconds: i64, default: u64| match nanoseconds {
        0 => default,
        nanoseconds => u64::try_from(nanoseconds / MILLISECOND).ok().filter(|ms| *ms > 0).unwrap_or(default),
    };
    Schedule {
        interval_ms: time(check.interval, default.interval_ms),
        timeout_ms: time(check.timeout, default.timeout_ms),
        start_period_ms: time(check.start_period, default.start_period_ms),
        start_interval_ms: time(check.start_interval, default.start_interval_ms),
        retries: u32::try_from(check.retries).ok().filter(|n| *n > 0).unwrap_or(default.retries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(words: &[&str]) -> Healthcheck {
        Healthcheck { test: words.iter().map(|word| (*word).to_owned()).collect(), ..Healthcheck::default() }
    }

    #[test]
    fn what_the_user_leaves_open_is_the_images() {
        let image = Healthcheck { interval: 7_000_000, retries: 2, ..test(&["CMD", "image"]) };
        let merged =
            |own: Option<Healthcheck>, image: Option<&Healthcheck>| merge(own.as_ref(), image).unwrap();
        assert_eq!(merged(None, Some(&image)), Some(image.clone()));
        let own = Healthcheck { retries: 5, ..Healthcheck::default() };
        assert_eq!(
            merged(Some(own.clone()), Some(&image)),
            Some(Healthcheck { retries: 5, ..image.clone() })
        );
        assert_eq!(merged(Some(own), None), None, "times of nothing");
        let none = merged(Some(test(&["NONE"])), Some(&image)).unwrap();
        assert_eq!(none.test, ["NONE"]);
    }

    #[test]
    fn a_test_becomes_a_program() {
        let program = |words: &[&str], shell: &[&str]| {
            let shell = shell.iter().map(|word| (*word).to_owned()).collect();
            let process = ProcessSpec { health: Some(test(words)), shell, ..ProcessSpec::default() };
            command(&process).map(|words| words.join("|"))
        };
        for (words, shell, want) in [
            (&["CMD", "a", "b c"][..], &[][..], Some("a|b c")),
            (&["CMD-SHELL", "a && b"], &[], Some("/bin/sh|-c|a && b")),
            (&["CMD-SHELL", "a"], &["ash", "-ec"], Some("ash|-ec|a")),
            (&["NONE"], &[], None),
            (&["CMD"], &[], None),
            (&["WHAT", "a"], &[], None),
        ] {
            assert_eq!(program(words, shell).as_deref(), want, "{words:?}");
        }
    }

    #[test]
    fn times_below_a_millisecond_are_refused_and_an_images_are_not_believed() {
        for (check, complaint) in [
            (
                Healthcheck { interval: 999_999, ..Healthcheck::default() },
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                Healthcheck { timeout: -1, ..Healthcheck::default() },
                "Timeout in Healthcheck cannot be less than 1ms",
            ),
            (
                Healthcheck { retries: -1, ..Healthcheck::default() },
                "Retries in Healthcheck cannot be negative",
            ),
        ] {
            assert_eq!(merge(Some(&check), None).unwrap_err().to_string(), complaint);
        }
        let odd = Healthcheck {
            interval: 5,
            timeout: -7,
            retries: -1,
            start_period: i64::MAX,
            ..test(&["CMD", "x"])
        };
        let default = Schedule::default();
        let found = schedule(&merge(None, Some(&odd)).unwrap().unwrap());
        assert_eq!((found.interval_ms, found.timeout_ms, found.retries), (30_000, 30_000, 3));
        assert_eq!(found.start_interval_ms, default.start_interval_ms);
    }
}
