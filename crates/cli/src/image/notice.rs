//! What is said of a wait before another attempt, and of a limit that a registry sets: the same for whatever talks to one.

use std::time::Duration;

use engine::registries::Notice;

/// What is said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// The blob, or what it belongs to, of which it is said.
    pub(super) blob: Option<String>,
    /// All of it.
    pub(super) text: String,
    /// What programs read, in Docker's words.
    pub(super) status: String,
}

impl Word {
    pub(super) fn of(notice: &Notice) -> Word {
        match notice {
            Notice::Retry { blob, wait, failed, attempts, why } => {
                let status = retrying(*wait);
                let text = format!("{status} (attempt {} of {attempts}): {why}", failed + 1);
                Word { blob: blob.as_ref().map(|blob| blob.encoded().to_owned()), text, status }
            }
            Notice::Limit { registry, remaining, limit, window } => {
                let within = window.map_or_else(String::new, |window| {
                    format!(" within {}", count(window.as_secs().div_ceil(60), "minute"))
                });
                let text = format!("{registry} lets you make {remaining} more of {limit} requests{within}");
                Word { blob: None, status: text.clone(), text }
            }
        }
    }
}

fn retrying(wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    format!("Retrying in {}", count(seconds.try_into().unwrap_or(u64::MAX), "second"))
}

fn count(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let told = |ms| retrying(Duration::from_millis(ms));
        assert_eq!(
            [told(0), told(1000), told(1001)],
            ["Retrying in 1 second", "Retrying in 1 second", "Retrying in 2 seconds"]
        );
    }

    #[test]
    fn a_wait_is_told_with_its_reason_and_a_limit_with_its_numbers() {
        let blob = oci::Digest::of(b"a");
        let wait = Duration::from_secs(2);
        let why = "the registry answers 503".to_owned();
        let word = Word::of(&Notice::Retry { blob: Some(blob.clone()), wait, failed: 1, attempts: 6, why });
        let text = "Retrying in 2 seconds (attempt 2 of 6): the registry answers 503";
        let status = "Retrying in 2 seconds";
        let wanted =
            Word { blob: Some(blob.encoded().to_owned()), text: text.to_owned(), status: status.to_owned() };
        assert_eq!(word, wanted);
        let window = Some(Duration::from_secs(60));
        let limit = Notice::Limit { registry: "a.test".to_owned(), remaining: 1, limit: 2, window };
        assert_eq!(Word::of(&limit).text, "a.test lets you make 1 more of 2 requests within 1 minute");
    }
}
