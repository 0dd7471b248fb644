//! `diff`, `export` and `commit`.

use std::io;
use std::os::fd::AsFd;

use engine::ChangeKind;
use engine::request::Commit;
use linux::partial::Partial;
use serde_json::{Map, Value};

use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::image::pressure::relieve_after;
use crate::output;
use crate::output::list::{Columns, Format};

const COLUMNS: Columns = Columns {
    headers: &[("Type", "CHANGE TYPE"), ("Path", "PATH")],
    raw: &[("type", "Type"), ("path", "Path")],
};

/// `skiff diff`.
pub(crate) fn diff(context: &Context, parsed: &Parsed) -> Result<u8> {
    let plain = "{{.Type}} {{.Path}}";
    let format = Format::parse(Some(parsed.text("format").unwrap_or(plain)), "{{.Type}}\t{{.Path}}")?;
    let row = |change: engine::Change| {
        let letter = match change.kind {
            ChangeKind::Modified => "C",
            ChangeKind::Added => "A",
            ChangeKind::Deleted => "D",
        };
        let path = String::from_utf8_lossy(&change.path).into_owned();
        Map::from_iter([("Type".to_owned(), Value::from(letter)), ("Path".to_owned(), Value::from(path))])
    };
    let rows = context.engine()?.diff(&parsed.arguments[0])?.into_iter().map(row).collect();
    output::print(&format.render(&COLUMNS, rows)?);
    Ok(0)
}

/// `skiff export`.
pub(crate) fn export(context: &Context, parsed: &Parsed) -> Result<u8> {
    let engine = context.engine()?;
    let name = &parsed.arguments[0];
    match parsed.text("output").filter(|path| !path.is_empty()) {
        Some(path) => {
            let partial = Partial::create(&absolute(path)?)?;
            engine.export(name, partial.file.as_fd())?;
            partial.finish()?;
        }
        None if rustix::termios::isatty(io::stdout()) => return Err(Error::ExportToTerminal),
        None => {
            return match engine.export(name, io::stdout().as_fd()) {
                Err(_) if output::reader_is_gone() => Err(Error::ReaderGone),
                exported => exported.map(|()| 0).map_err(Error::from),
            };
        }
    }
    Ok(0)
}

/// `skiff commit`.
pub(crate) fn commit(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = Commit {
        reference: parsed.arguments.get(1).cloned().filter(|name| !name.is_empty()),
        author: parsed.text("author").unwrap_or_default().to_owned(),
        message: parsed.text("message").unwrap_or_default().to_owned(),
        changes: parsed.list("change").map(str::to_owned).collect(),
        pause: parsed.tristate("pause").unwrap_or(true) && !parsed.on("no-pause"),
    };
    let id = context.engine()?.commit(&parsed.arguments[0], &request)?;
    output::print(&format!("{id}\n"));
    relieve_after(context, &[&id.to_string()]);
    Ok(0)
}
