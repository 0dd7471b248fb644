//! How a build goes, on standard error.
//!
//! ```text
//! events, from many threads ─► trace ─┬─► plain     line by line
//!                              (state) ├─► tty       a window that is drawn over and over
//!                                      └─► summary   at the end
//!                           ─► json                 a line for each event
//! ```
//!
//! What draws is pure: events, times and sizes in, bytes out. Here is what is not: the clock, the terminal, the lock.

mod characters;
mod colors;
mod json;
mod plain;
mod screen;
mod sieve;
mod summary;
#[cfg(test)]
mod tests;
mod trace;
mod tty;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::Timestamp;
use engine::build::BuildEvent;

use self::colors::Colors;
use self::json::RawJson;
use self::plain::Plain;
use self::trace::{Finding, Trace};
use self::tty::{Size, Tty};
use super::fault::Fault;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;
use crate::values::environment;

/// How often something is drawn while things happen.
pub(crate) const EVERY: Duration = Duration::from_millis(100);
/// What `#0` says.
const BUILDER: &str = "building with \"default\" instance using skiff driver";
/// The same at the right of a window.
const BUILDER_SHORT: &str = "skiff:default";

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Tty,
    RawJson,
    /// Not at all; the image's id is printed at the end.
    Quiet,
    /// Not at all.
    Nothing,
}

impl Mode {
    /// What `--progress`, `--quiet` and `BUILDKIT_PROGRESS` ask for.
    pub(crate) fn of(parsed: &Parsed) -> Result<Mode> {
        let given = parsed.text("progress").map(str::to_owned);
        let found = given.clone().or_else(|| environment::caller("BUILDKIT_PROGRESS"));
        let asked = found.filter(|text| !text.is_empty()).unwrap_or_else(|| "auto".to_owned());
        if parsed.on("quiet") {
            // What the environment wants is for when nobody says anything.
            return match given.as_deref() {
                None | Some("" | "auto" | "quiet") => Ok(Mode::Quiet),
                Some(progress) => Err(Fault::QuietProgress { progress: progress.to_owned() }.into()),
            };
        }
        let is_terminal = rustix::termios::isatty(rustix::stdio::stderr());
        match asked.as_str() {
            "auto" if is_terminal => Ok(Mode::Tty),
            "auto" | "plain" => Ok(Mode::Plain),
            "tty" if is_terminal => Ok(Mode::Tty),
            "tty" => Err(Fault::NoConsole.into()),
            "rawjson" => Ok(Mode::RawJson),
            "quiet" => Ok(Mode::Quiet),
            "none" => Ok(Mode::Nothing),
            _ => Err(Fault::Progress { progress: asked }.into()),
        }
    }
}

/// Shows how a build goes.
pub(crate) struct Display {
    begun: Instant,
    /// Whether all that is known of warnings is shown.
    expanded: bool,
    /// Whether it is said at the end where the time went.
    times: bool,
    warning: String,
    state: Mutex<State>,
}

struct State {
    trace: Trace,
    renderer: Renderer,
    last: Option<Duration>,
}

enum Renderer {
    Plain(Plain),
    Tty(Tty),
    RawJson(RawJson),
    Silent,
}

/// A text without what a terminal would obey: errors name files of others, and repeat what servers say.
pub(super) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| c.is_control() && c != '\n';
    text.chars().map(|c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl Display {
    /// In this mode; `times` is what `--timings` says.
    pub(crate) fn new(mode: Mode, expanded: bool, times: Option<bool>) -> Display {
        let variable = |name| environment::caller(name);
        let is_terminal = rustix::termios::isatty(rustix::stdio::stderr());
        let colors = match is_terminal {
            true => Colors::of(variable("NO_COLOR").as_deref(), variable("BUILDKIT_COLORS").as_deref()),
            false => Colors::none(),
        };
        let log_rows =
            variable("BUILDKIT_TTY_LOG_LINES").and_then(|text| text.parse().ok()).filter(|rows| *rows > 0);
        let warning = colors.warning.clone();
        let renderer = match mode {
            Mode::Plain => Renderer::Plain(Plain::new(BUILDER)),
            Mode::Tty => Renderer::Tty(Tty::new(colors, log_rows, BUILDER_SHORT)),
            Mode::RawJson => Renderer::RawJson(RawJson::new(now())),
            Mode::Quiet | Mode::Nothing => Renderer::Silent,
        };
        let trace = Trace::new(mode == Mode::Plain, is_terminal);
        let times = times.unwrap_or(mode == Mode::Tty) && matches!(mode, Mode::Plain | Mode::Tty);
        let state = Mutex::new(State { trace, renderer, last: None });
        Display { begun: Instant::now(), expanded, times, warning, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event up, and shows it if it is time to.
    pub(crate) fn show(&self, event: BuildEvent<'_>) {
        let mut state = self.state();
        let time = self.begun.elapsed();
        if let Renderer::RawJson(json) = &mut state.renderer {
            output::warn(&json.line(&event, time));
            return;
        }
        state.trace.apply(&event, time);
        if state.last.is_none_or(|last| time.saturating_sub(last) >= EVERY) {
            state.draw(time, false);
        }
    }

    /// Shows how much time has passed, and what was not due before.
    pub(crate) fn refresh(&self) {
        self.state().draw(self.begun.elapsed(), false);
    }

    /// Shows the end: the last state, what failed steps have said, what the checks found, where the time went.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        let time = self.begun.elapsed();
        state.draw(time, true);
        match &state.renderer {
            Renderer::RawJson(_) => {}
            Renderer::Silent => output::warn_bytes(&state.trace.failures()),
            Renderer::Plain(_) | Renderer::Tty(_) => {
                output::warn_bytes(&state.trace.failures());
                output::warn(&summary::warnings(&state.trace.warnings, self.expanded, &self.warning));
                if self.times {
                    output::warn(&summary::times(&state.trace, time));
                }
            }
        }
    }

    /// What the checks found, as `--metadata-file` has it.
    pub(crate) fn warnings(&self) -> Vec<serde_json::Value> {
        self.state().trace.warnings.iter().map(Finding::to_json).collect()
    }
}

impl State {
    fn draw(&mut self, time: Duration, all: bool) {
        let State { trace, renderer, last } = self;
        *last = Some(time);
        match renderer {
            Renderer::Plain(plain) => output::warn_bytes(&plain.print(trace, time)),
            Renderer::Tty(tty) => output::warn(&tty.draw(trace, time, size(), all)),
            Renderer::RawJson(_) | Renderer::Silent => {}
        }
    }
}

/// Rows and columns of the terminal behind standard error.
fn size() -> Size {
    let found = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
    let found = found.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    found.map_or(Size { width: 80, height: 10 }, |size| Size {
        width: usize::from(size.ws_col),
        height: usize::from(size.ws_row),
    })
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    Timestamp::new(seconds, since.subsec_nanos()).unwrap_or(Timestamp::EPOCH)
}
