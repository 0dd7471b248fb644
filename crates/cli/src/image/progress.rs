//! How far a pull is: on a terminal one line a layer, with rate and remaining time; else a line for each step; or JSON as the
//! API of Docker has it.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use engine::info::Pulled;
use engine::registries::Notice;
use engine::request::PullImage;
use engine::{PullEvent, PullStep};
use serde_json::json;

use super::notice::Word;
use super::rows::{EVERY, Extent, Rows};
use crate::flags::Parsed;
use crate::output::{self, units};

/// Digits of a digest that are shown.
const SHORT: usize = 12;

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Stdout,
    Stderr,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// What suits where it goes.
    #[default]
    Auto,
    Plain,
    Json,
    /// The name alone, at the end.
    Quiet,
}

impl Style {
    /// What `--quiet` and `--progress` ask for.
    pub(super) fn of(parsed: &Parsed) -> crate::error::Result<Self> {
        let asked = parsed.value("progress", Style::parse)?.unwrap_or_default();
        Ok(if parsed.on("quiet") { Style::Quiet } else { asked })
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "auto" => Ok(Self::Auto),
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            _ => Err("must be one of \"auto\", \"plain\" or \"json\""),
        }
    }
}

/// Shows how far a pull is.
pub(crate) struct Display {
    out: Out,
    style: Style,
    is_live: bool,
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    all: Vec<Layer>,
    rows: Rows,
}

struct Layer {
    digest: String,
    size: u64,
    step: PullStep,
    begun: Option<Instant>,
    told: Option<Instant>,
    /// What it waits for.
    note: Option<String>,
}

impl Display {
    pub(crate) fn new(out: Out, style: Style) -> Display {
        let is_terminal = match out {
            Out::Stdout => rustix::termios::isatty(io::stdout()),
            Out::Stderr => rustix::termios::isatty(io::stderr()),
        };
        Display { out, style, is_live: is_terminal && style == Style::Auto, layers: Mutex::default() }
    }

    fn say(&self, text: &str) {
        match self.out {
            Out::Stdout => output::print(text),
            Out::Stderr => output::warn(text),
        }
    }

    fn line(&self, id: Option<&str>, status: &str) {
        match (self.style, id) {
            (Style::Quiet, _) => {}
            (Style::Json, Some(id)) => self.say(&format!("{}\n", json!({"status": status, "id": id}))),
            (Style::Json, None) => self.say(&format!("{}\n", json!({"status": status}))),
            (Style::Auto | Style::Plain, Some(id)) => self.say(&format!("{id}: {status}\n")),
            (Style::Auto | Style::Plain, None) => self.say(&format!("{status}\n")),
        }
    }

    /// Shows what happens.
    pub(crate) fn show(&self, event: PullEvent<'_>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PullEvent::Begins { name, repository } => {
                *layers = Layers::default();
                self.line(Some(name), &format!("Pulling from {repository}"));
            }
            PullEvent::Layer { digest, size, step } => self.layer(&mut layers, digest, size, step),
            PullEvent::Done { digest, .. } => {
                self.draw_to(&mut layers, Extent::All);
                *layers = Layers::default();
                self.line(None, &format!("Digest: {digest}"));
            }
        }
    }

    fn layer(&self, layers: &mut Layers, digest: &str, size: u64, step: PullStep) {
        let place = layers.all.iter().position(|layer| layer.digest == digest);
        let place = place.unwrap_or_else(|| {
            layers.all.push(Layer {
                digest: digest.to_owned(),
                size,
                step: PullStep::Planned,
                begun: None,
                told: None,
                note: None,
            });
            layers.all.len() - 1
        });
        let layer = &mut layers.all[place];
        layer.step = step;
        layer.note = None;
        let begun = *layer.begun.get_or_insert_with(Instant::now);
        if self.is_live {
            let force = matches!(step, PullStep::Exists | PullStep::Complete);
            return self.draw(layers, force);
        }
        let id = layer.digest.get(..SHORT).unwrap_or(&layer.digest);
        match step {
            PullStep::Planned => self.line(Some(id), "Pulling fs layer"),
            PullStep::Exists => self.line(Some(id), "Already exists"),
            PullStep::Complete => self.line(Some(id), "Pull complete"),
            PullStep::Received(current) if self.style == Style::Json => {
                let is_due = layer.told.is_none_or(|told| told.elapsed() >= EVERY) || current == layer.size;
                if is_due {
                    layer.told = Some(Instant::now());
                    let detail = json!({"current": current, "total": layer.size});
                    let elapsed = begun.elapsed().as_millis();
                    let line = json!({"status": "Downloading", "progressDetail": detail, "elapsedMs": elapsed, "id": id});
                    self.say(&format!("{line}\n"));
                }
            }
            PullStep::Received(_) => {}
        }
    }

    /// Shows what makes it take longer.
    pub(crate) fn notice(&self, notice: &Notice) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let Word { blob, text, status } = Word::of(notice);
        let id = blob.as_deref();
        let layer = layers.all.iter_mut().find(|layer| Some(layer.digest.as_str()) == id);
        match (self.is_live, layer) {
            (true, Some(layer)) => {
                layer.note = Some(text);
                self.draw(&mut layers, true);
            }
            _ => self.beside(&mut layers, id.and_then(|id| id.get(..SHORT)), &text, &status),
        }
    }

    /// A line above the layers, which are drawn anew below it.
    fn beside(&self, layers: &mut Layers, id: Option<&str>, text: &str, status: &str) {
        if self.style == Style::Json {
            self.say(&format!(
                "{}\n",
                json!({"status": status, "id": id.unwrap_or_default(), "detail": text})
            ));
            return;
        }
        self.say(&layers.rows.lift());
        self.line(id, text);
        if self.is_live && !layers.all.is_empty() {
            self.draw(layers, true);
        }
    }

    /// Draws layers anew, over what stands there.
    fn draw(&self, layers: &mut Layers, force: bool) {
        if self.is_live && (force || layers.rows.is_due()) {
            self.draw_to(layers, Extent::Terminal);
        }
    }

    fn draw_to(&self, layers: &mut Layers, extent: Extent) {
        if self.is_live {
            let rows: Vec<_> = layers.all.iter().map(|layer| (layer.line(), layer.is_done())).collect();
            self.say(&layers.rows.draw(&rows, extent));
        }
    }

    /// Shows the last state, also of a pull that failed.
    pub(crate) fn finish(&self) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw_to(&mut layers, Extent::All);
        *layers = Layers::default();
    }

    /// Says how it ended: whether anything is new, and the full name, which scripts read from the last line.
    pub(crate) fn status(&self, request: &PullImage, pulled: &[Pulled]) {
        let Some(last) = pulled.last() else { return };
        let (familiar, full) = match request.all_tags {
            true => {
                let name = last.reference.parse::<oci::Reference>();
                name.map_or_else(
                    |_| (last.familiar.clone(), last.reference.clone()),
                    |name| (name.familiar_name(), name.name()),
                )
            }
            false => (last.familiar.clone(), last.reference.clone()),
        };
        let status = match pulled.iter().any(|image| image.is_new) {
            true => format!("Status: Downloaded newer image for {familiar}"),
            false => format!("Status: Image is up to date for {familiar}"),
        };
        self.line(None, &status);
        // Before a container's own output nobody looks for it.
        if self.out == Out::Stdout && self.style != Style::Json {
            self.say(&format!("{full}\n"));
        }
    }
}

impl Layer {
    fn is_done(&self) -> bool {
        matches!(self.step, PullStep::Exists | PullStep::Complete)
    }

    fn line(&self) -> String {
        let id = self.digest.get(..SHORT).unwrap_or(&self.digest);
        if let Some(note) = &self.note {
            return format!("{id}: {note}");
        }
        let step = match self.step {
            PullStep::Planned => "Waiting".to_owned(),
            PullStep::Exists => "Already exists".to_owned(),
            PullStep::Complete => "Pull complete".to_owned(),
            PullStep::Received(current) => {
                let elapsed = self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                let size = units::size(self.size, 3);
                format!(
                    "Downloading  {}/{size}{}",
                    units::size(current, 3),
                    pace(current, self.size, elapsed)
                )
            }
        };
        format!("{id}: {step}")
    }
}

/// Rate and remaining time, once there is something to tell them by.
pub(super) fn pace(current: u64, size: u64, elapsed: f64) -> String {
    if elapsed < 0.3 || current == 0 {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "nobody reads so many digits")]
    let (current, left) = (current as f64, size.saturating_sub(current) as f64);
    let rate = current / elapsed;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and fits"
    )]
    let shown = units::size(rate as u64, 3);
    format!("  {shown}/s  {:.0}s", (left / rate).ceil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time() {
        assert_eq!(pace(10_000_000, 40_000_000, 2.0), "  5MB/s  6s");
        assert_eq!(pace(0, 40_000_000, 2.0), "");
        assert_eq!(pace(1000, 1000, 0.1), "");
        assert_eq!(pace(1000, 1000, 1.0), "  1kB/s  0s");
    }
}
