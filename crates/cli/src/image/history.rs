//! `history`.

use engine::info::HistoryEntry;
use oci::Timestamp;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::zone::Zone;
use crate::output::{self, units};

const COLUMNS: Columns = Columns {
    headers: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
    raw: &[],
};

/// Images whose layers are dated before 2000 were made to be reproducible: their age says nothing.
const TOO_OLD: i64 = 946_684_800;

/// `skiff history`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let entries = context
        .engine()?
        .history(&parsed.arguments[0], parsed.text("platform").filter(|text| !text.is_empty()))?;
    let view = View {
        now: Timestamp::from(std::time::SystemTime::now()),
        zone: Zone::local(),
        full: parsed.on("no-trunc"),
        human: parsed.tristate("human").unwrap_or(true),
    };
    if parsed.on("quiet") {
        let lines: String = entries.iter().map(|entry| view.id(entry) + "\n").collect();
        output::print(&lines);
        return Ok(0);
    }
    let default = match view.human {
        true => "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        false => "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    };
    let format = Format::parse(parsed.text("format"), default)?;
    let rows: Vec<_> = entries.iter().map(|entry| view.row(entry)).collect();
    output::print(&format.render(&COLUMNS, rows)?);
    Ok(0)
}

struct View {
    now: Timestamp,
    zone: Zone,
    full: bool,
    human: bool,
}

impl View {
    fn id(&self, entry: &HistoryEntry) -> String {
        match &entry.id {
            None => "<missing>".to_owned(),
            Some(id) if self.full => id.clone(),
            Some(id) => units::short_id(id).to_owned(),
        }
    }

    fn row(&self, entry: &HistoryEntry) -> Map<String, Value> {
        let dated = entry.created.filter(|time| time.seconds() > TOO_OLD);
        let age = dated.map_or_else(|| "N/A".to_owned(), |time| units::ago(time, self.now));
        let by = entry.created_by.replace('\t', " ");
        let mut row = Map::new();
        let mut set = |field: &str, text: String| row.insert(field.to_owned(), Value::String(text));
        set("Comment", entry.comment.clone());
        set("CreatedAt", self.zone.rfc3339(entry.created.unwrap_or(Timestamp::EPOCH)));
        set("CreatedBy", if self.full { by } else { units::ellipsis(&by, 45) });
        set("CreatedSince", age);
        set("ID", self.id(entry));
        set("Size", if self.human { units::size(entry.size, 3) } else { entry.size.to_string() });
        row
    }
}
