//! Colours of progress: those of BuildKit, what `BUILDKIT_COLORS` says instead, or none (`NO_COLOR`).

/// The sequences that begin a colour; empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Colors {
    pub(super) run: String,
    pub(super) cancel: String,
    pub(super) warning: String,
    pub(super) error: String,
    /// Of what programs say.
    pub(super) faint: &'static str,
}

/// Ends a colour.
pub(super) const RESET: &str = "\x1b[0m";

impl Colors {
    /// None at all.
    pub(super) fn none() -> Colors {
        let none = String::new;
        Colors { run: none(), cancel: none(), warning: none(), error: none(), faint: "" }
    }

    /// By the two variables: `run=green:warning=yellow:error=red:cancel=255,165,0`. What makes no sense is left as it was.
    pub(super) fn of(no_color: Option<&str>, wanted: Option<&str>) -> Colors {
        if no_color.is_some_and(|text| !text.is_empty()) {
            return Colors::none();
        }
        let basic = |name: &str| sequence(name).unwrap_or_default();
        let mut colors = Colors {
            run: basic("blue"),
            cancel: basic("yellow"),
            warning: basic("yellow"),
            error: basic("red"),
            faint: "\x1b[2m",
        };
        for field in wanted.unwrap_or_default().split(':') {
            let Some((name, value)) = field.split_once('=') else { continue };
            let Some(found) = sequence(&value.trim().to_ascii_lowercase()) else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "run" => colors.run = found,
                "cancel" => colors.cancel = found,
                "warning" => colors.warning = found,
                "error" => colors.error = found,
                _ => {}
            }
        }
        colors
    }

    /// A text in a colour.
    pub(super) fn paint(text: &str, color: &str) -> String {
        if color.is_empty() { text.to_owned() } else { format!("{color}{text}{RESET}") }
    }
}

/// The sequence of a colour by its name, or by red, green and blue.
fn sequence(color: &str) -> Option<String> {
    const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    if color == "default" {
        return Some("\x1b[39m".to_owned());
    }
    let (base, name) = color.strip_prefix("light-").map_or((30, color), |name| (90, name));
    if let Some(number) = NAMES.iter().position(|known| *known == name) {
        return Some(format!("\x1b[{}m", base + number));
    }
    let numbers: Vec<u8> = color.split(',').map(|text| text.trim().parse().ok()).collect::<Option<_>>()?;
    match numbers.as_slice() {
        [red, green, blue] => Some(format!("\x1b[38;2;{red};{green};{blue}m")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_that_variables_name() {
        let colors = Colors::of(None, None);
        assert_eq!((colors.run.as_str(), colors.error.as_str()), ("\x1b[34m", "\x1b[31m"));
        assert_eq!(Colors::of(Some("1"), Some("run=green")), Colors::none());
        let colors = Colors::of(Some(""), Some("run=light-green:error=1,2,3:cancel=300,0,0:x=y:warning"));
        assert_eq!((colors.run.as_str(), colors.error.as_str()), ("\x1b[92m", "\x1b[38;2;1;2;3m"));
        assert_eq!((colors.cancel.as_str(), colors.warning.as_str()), ("\x1b[33m", "\x1b[33m"));
        assert_eq!(Colors::paint("a", "\x1b[34m"), "\x1b[34ma\x1b[0m");
    }
}
