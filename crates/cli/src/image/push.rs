//! `skiff push`.
//!
//! What scripts read is as Docker prints it: `TAG: digest: DIGEST size: BYTES` at the end, or with `--quiet` the full name alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use engine::registries::Notice;
use engine::request::PushImage;
use engine::{PushEvent, PushStep};
use oci::Descriptor;
use serde_json::json;

use super::notice::Word;
use super::progress::{Style, pace};
use super::registries;
use super::rows::{Extent, Rows};
use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output::{self, units};
use crate::values::environment;

/// Digits of a layer that are shown.
const SHORT: usize = 12;

/// `skiff push`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let style = Style::of(parsed)?;
    let request = PushImage {
        reference: parsed.arguments[0].clone(),
        all_tags: parsed.on("all-tags"),
        platform: parsed
            .text("platform")
            .map(str::to_owned)
            .or_else(environment::default_platform)
            .filter(|platform| !platform.is_empty()),
    };
    let name = request.reference.parse::<oci::Reference>();
    let is_bare = name.is_ok_and(|name| name.tag().is_none() && name.digest().is_none());
    let display = Arc::new(Display::new(style));
    if is_bare && !request.all_tags && matches!(style, Style::Auto | Style::Plain) {
        output::print("Using default tag: latest\n");
    }
    let hears = Arc::clone(&display);
    let client = registries::telling(context, move |notice| hears.notice(notice))?;
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
    rows: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    /// Layers in the order in which they came.
    order: Vec<String>,
    rows: BTreeMap<String, Row>,
    /// They, as they stand on the terminal.
    block: Rows,
}

struct Row {
    text: String,
    is_done: bool,
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
            PushEvent::InsteadOfIndex { name, index, manifest } => self.instead(name, index, manifest),
            PushEvent::Done { tag, digest, size } => {
                self.draw_to(&mut rows, Extent::All);
                *rows = Layers::default();
                self.line(None, &format!("{tag}: digest: {digest} size: {size}"));
            }
        }
    }

    /// Tells that one image was pushed in the place of an index, in Docker's words.
    fn instead(&self, name: &str, index: &Descriptor, manifest: &Descriptor) {
        if self.style == Style::Json {
            let of = |what: &Descriptor| json!({"mediaType": what.media_type, "digest": what.digest, "size": what.size});
            let aux = json!({"manifestPushedInsteadOfIndex": true, "originalIndex": of(index), "selectedManifest": of(manifest)});
            return output::print(&format!("{}\n", json!({"progressDetail": {}, "aux": aux})));
        }
        let why = "Not all multiplatform-content is present and only the available single-platform image was pushed";
        output::warn(&format!("{name}: {why}\n{} -> {}\n", index.digest, manifest.digest));
    }

    fn layer(&self, rows: &mut Layers, layer: &str, step: PushStep<'_>) {
        let id = layer.get(..SHORT).unwrap_or(layer);
        if !rows.rows.contains_key(layer) {
            rows.order.push(layer.to_owned());
            rows.rows.insert(layer.to_owned(), Row { text: String::new(), is_done: false, begun: None });
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
            row.is_done = !matches!(step, PushStep::Planned | PushStep::Sent { .. });
            self.draw(rows, !matches!(step, PushStep::Sent { .. }));
        } else if !matches!(step, PushStep::Sent { .. }) {
            self.line(Some(id), &status);
        }
    }

    /// Shows what makes it take longer.
    pub(super) fn notice(&self, notice: &Notice) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Word { blob, text, status } = Word::of(notice);
        let id = blob.as_deref().map(|blob| blob.get(..SHORT).unwrap_or(blob));
        if self.style == Style::Json {
            let line = json!({"status": status, "id": id.unwrap_or_default(), "detail": text});
            return output::print(&format!("{line}\n"));
        }
        if !self.is_live {
            return self.line(id, &text);
        }
        match blob.as_deref().and_then(|blob| rows.rows.get_mut(blob)) {
            // It stands there until the layer moves again.
            Some(row) => row.text = format!("{}: {text}", id.unwrap_or_default()),
            None => {
                output::print(&rows.block.lift());
                self.line(id, &text);
            }
        }
        self.draw(&mut rows, true);
    }

    /// Draws all layers anew, over what stands there.
    fn draw(&self, rows: &mut Layers, force: bool) {
        if self.is_live && (force || rows.block.is_due()) {
            self.draw_to(rows, Extent::Terminal);
        }
    }

    fn draw_to(&self, rows: &mut Layers, extent: Extent) {
        if self.is_live {
            let all = rows.order.iter().filter_map(|layer| rows.rows.get(layer));
            let all: Vec<_> = all.map(|row| (row.text.clone(), row.is_done)).collect();
            output::print(&rows.block.draw(&all, extent));
        }
    }

    /// Shows the last state, also of a push that failed.
    pub(super) fn finish(&self) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw_to(&mut rows, Extent::All);
        *rows = Layers::default();
    }
}
