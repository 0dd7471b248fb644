//! `skip=…;error=…;experimental=…`.

use std::collections::BTreeSet;

/// Which rules hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Rules that say nothing.
    pub skip: BTreeSet<String>,
    /// No rule says anything.
    pub skip_all: bool,
    /// Rules on trial that are wanted.
    pub experimental: BTreeSet<String>,
    /// All of those are wanted.
    pub experimental_all: bool,
    /// What is found is an error.
    pub error: bool,
}

/// The most options; there are three.
const OPTIONS: usize = 3;

impl Config {
    /// Reads options as the directive and `BUILDKIT_DOCKERFILE_CHECK` have them.
    ///
    /// # Errors
    /// If an option is unknown or has a bad value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(config);
        }
        for part in text.splitn(OPTIONS, ';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("invalid check option {part:?}"));
            };
            let value = value.trim();
            let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
            match key.trim() {
                "skip" if value == "all" => config.skip_all = true,
                "skip" => config.skip = names(),
                "experimental" if value == "all" => config.experimental_all = true,
                "experimental" => config.experimental = names(),
                "error" => {
                    config.error = match value {
                        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                        _ => {
                            return Err(format!(
                                "failed to parse check option {part:?}: strconv.ParseBool: parsing {value:?}: invalid syntax"
                            ));
                        }
                    }
                }
                key => return Err(format!("invalid check option {key:?}")),
            }
        }
        Ok(config)
    }

    pub(super) fn skips(&self, rule: &str) -> bool {
        self.skip_all || self.skip.contains(rule)
    }

    pub(super) fn experiments(&self, rule: &str) -> bool {
        self.experimental_all || self.experimental.contains(rule)
    }
}
