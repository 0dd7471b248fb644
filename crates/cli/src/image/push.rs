//! `skiff push`.
//!
//! What scripts read is as Docker prints it: `TAG: digest: DIGEST size: BYTES` at the end, or with `--quiet` the full name alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::request::PushImage;
use engine::{PushEvent, PushStep};
use serde_json::json;

use super::progress::{Style, pace};
use super::registries;
use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output::{self, units};
use crate::values::environment;

/// How often something that moves is shown anew.
const EVERY: Duration = Duration::from_millis(100);
/// Digits of a layer that are shown.
const SHORT: usize = 12;

/// `skiff push`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let style = match parsed.on("quiet") {
        true => Style::Quiet,
        false => parsed.value("progress", Style::parse)?.unwrap_or_default(),
    };
    let request = PushImage {
        reference: parsed.arguments[0].clone(),
        all_tags: parsed.on("all-tags"),
        platform: parsed
            .text("platform")
            .map(str::to_owned)
            .or_else(|| environment::caller("DOCKER_DEFAULT_PLATFORM"))
            .filter(|platform| !platform.is_empty()),
    };
    let name = request.reference.parse::<oci::Reference>();
    let is_bare = name.is_ok_and(|name| name.tag().is_none() && name.digest().is_none());
    let display = Display::new(style);
    if is_bare && !request.all_tags && matches!(style, Style::Auto | Style::Plain) {
        output::print("Using default tag: latest\n");
    }
    let client = registries::client(context)?;
    let pushed = context.engine()?.push(&client, &request, &|event| display.show(event));
    display.finish();
    for image in pushed? {
        if style == Style::Quiet {
            output::print(&format!("{}\n", image.reference));
        }
    }
    Ok(0)
}

/// Shows how far a push or a copy is.
pub(super) struct Display {
    style: Style,
    is_live: bool,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    /// Layers in the order in which they came.
    order: Vec<String>,
    rows: BTreeMap<String, Row>,
    /// Lines that stand on the terminal.
    drawn: usize,
    last: Option<Instant>,
}

struct Row {
    text: String,
    begun: Option<Instant>,
}

impl Display {
    pub(super) fn new(style: Style) -> Display {
        let is_live = style == Style::Auto && rustix::termios::isatty(std::io::stdout());
        Display { style, is_live, rows: Mutex::default() }
    }

    fn line(&self, id: Option<&str>, status: &str) {
        match (self.style, id) {
            (Style::Quiet, _) => {}
            (Style::Json, Some(id)) => output::print(&format!("{}\n", json!({"status": status, "id": id}))),
            (Style::Json, None) => output::print(&format!("{}\n", json!({"status": status}))),
            (Style::Auto | Style::Plain, Some(id)) => output::print(&format!("{id}: {status}\n")),
            (Style::Auto | Style::Plain, None) => output::print(&format!("{status}\n")),
        }
    }

    /// Shows what happens.
    pub(super) fn show(&self, event: PushEvent<'_>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Begins { repository } => {
                self.line(None, &format!("The push refers to repository [{repository}]"));
            }
            PushEvent::Layer { layer, step } => self.layer(&mut rows, layer, step),
            PushEvent::Changed { name, was, digest } => {
                let why = "not all of its layers could be had as they came, and were compressed anew";
                output::warn(&format!("{name}: {digest} in place of {was}: {why}\n"));
            }
            PushEvent::Done { tag, digest, size } => {
                self.draw(&mut rows, true);
                *rows = Rows::default();
                self.line(None, &format!("{tag}: digest: {digest} size: {size}"));
            }
        }
    }

    fn layer(&self, rows: &mut Rows, layer: &str, step: PushStep<'_>) {
        let id = layer.get(..SHORT).unwrap_or(layer);
        if !rows.rows.contains_key(layer) {
            rows.order.push(layer.to_owned());
            rows.rows.insert(layer.to_owned(), Row { text: String::new(), begun: None });
        }
        let Some(row) = rows.rows.get_mut(layer) else { return };
        let status = match step {
            PushStep::Planned => "Preparing".to_owned(),
            PushStep::Exists => "Layer already exists".to_owned(),
            PushStep::Mounted(from) => format!("Mounted from {from}"),
            PushStep::Complete => "Pushed".to_owned(),
            PushStep::Sent { bytes, size } => {
                let elapsed = row.begun.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
                if self.style == Style::Json {
                    let detail = match size {
                        Some(size) => json!({"current": bytes, "total": size}),
                        None => json!({"current": bytes}),
                    };
                    let line = json!({"status": "Pushing", "progressDetail": detail, "id": id});
                    return output::print(&format!("{line}\n"));
                }
                let all = size.map_or_else(String::new, |size| format!("/{}", units::size(size, 3)));
                let rate = pace(bytes, size.unwrap_or(bytes), elapsed);
                format!("Pushing  {}{all}{rate}", units::size(bytes, 3))
            }
        };
        if self.is_live {
            row.text = format!("{id}: {status}");
            self.draw(rows, !matches!(step, PushStep::Sent { .. }));
        } else if !matches!(step, PushStep::Sent { .. }) {
            self.line(Some(id), &status);
        }
    }

    /// Draws all layers anew, over what stands there.
    fn draw(&self, rows: &mut Rows, force: bool) {
        if !self.is_live || (!force && rows.last.is_some_and(|last| last.elapsed() < EVERY)) {
            return;
        }
        let width = output::width().max(20) - 1;
        let mut text = String::new();
        if rows.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", rows.drawn));
        }
        for row in rows.order.iter().filter_map(|layer| rows.rows.get(layer)) {
            let line: String = row.text.chars().take(width).collect();
            text.push_str(&format!("\r{line}\x1b[K\n"));
        }
        rows.drawn = rows.order.len();
        rows.last = Some(Instant::now());
        output::print(&text);
    }

    /// Shows the last state, also of a push that failed.
    pub(super) fn finish(&self) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw(&mut rows, true);
        *rows = Rows::default();
    }
}
