//! `load`, `save` and `import`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use engine::Archive;
use engine::request::{Import, LoadImages};
use linux::partial::Partial;

use super::pressure;
use crate::context::{Context, absolute};
use crate::error::{Error, ImportSource, Result};
use crate::flags::Parsed;
use crate::output;

/// Standard input, without a buffer of its own: whoever reads an archive has one.
fn standard_input() -> Result<File> {
    let copy = io::stdin().as_fd().try_clone_to_owned().map_err(Error::Output)?;
    Ok(File::from(copy))
}

/// The values of `--platform`, each of which may be several.
fn platforms(parsed: &Parsed) -> Vec<String> {
    let texts = parsed.list("platform").flat_map(|text| text.split(','));
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// `skiff load`.
pub(crate) fn load(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = LoadImages { platforms: platforms(parsed), all_platforms: parsed.on("all-platforms") };
    if request.all_platforms && !request.platforms.is_empty() {
        return Err(Error::Conflict("--platform can't be used with --all-platforms"));
    }
    let engine = context.engine()?;
    let loaded = match parsed.text("input").filter(|path| !path.is_empty()) {
        Some(path) => engine.load(Archive::Path(&absolute(path)?), &request)?,
        None if rustix::termios::isatty(io::stdin()) => return Err(Error::LoadFromTerminal),
        None => engine.load(Archive::Stream(&mut standard_input()?), &request)?,
    };
    for image in &loaded {
        for (reference, id) in &image.moved {
            output::print(&format!(
                "The image {reference} already exists, renaming the old one with ID {id} to empty string\n"
            ));
        }
        for tag in &image.tags {
            output::print(&format!("Loaded image: {tag}\n"));
        }
        if image.tags.is_empty() {
            output::print(&format!("Loaded image ID: {}\n", image.id));
        }
    }
    let added: Vec<&str> = loaded.iter().map(|image| image.id.as_str()).collect();
    pressure::relieve_after(context, &added);
    Ok(0)
}

/// `skiff save`.
pub(crate) fn save(context: &Context, parsed: &Parsed) -> Result<u8> {
    let platforms = platforms(parsed);
    let engine = context.engine()?;
    match parsed.text("output").filter(|path| !path.is_empty()) {
        Some(path) => {
            let partial = Partial::create(&absolute(path)?)?;
            let mut out = BufWriter::with_capacity(1 << 20, &partial.file);
            engine.save(&parsed.arguments, &platforms, &mut out)?;
            out.flush().map_err(Error::Output)?;
            drop(out);
            partial.finish()?;
        }
        None if rustix::termios::isatty(io::stdout()) => return Err(Error::SaveToTerminal),
        None => {
            let copy = io::stdout().as_fd().try_clone_to_owned().map_err(Error::Output)?;
            let mut out = BufWriter::with_capacity(1 << 20, File::from(copy));
            let saved = engine.save(&parsed.arguments, &platforms, &mut out).map_err(Error::from);
            let saved = saved.and_then(|()| out.flush().map_err(Error::output));
            return match saved {
                Err(_) if output::reader_is_gone() => Err(Error::ReaderGone),
                saved => saved.map(|()| 0),
            };
        }
    }
    Ok(0)
}

/// `skiff import`.
pub(crate) fn import(context: &Context, parsed: &Parsed) -> Result<u8> {
    let source = &parsed.arguments[0];
    if source.contains("://") {
        return Err(Error::ImportUrl { from: ImportSource(source.clone()) });
    }
    let request = Import {
        reference: parsed.arguments.get(1).cloned(),
        changes: parsed.list("change").map(str::to_owned).collect(),
        message: parsed.text("message").map(str::to_owned).filter(|text| !text.is_empty()),
        source: source.clone(),
        platform: parsed.text("platform").map(str::to_owned).filter(|text| !text.is_empty()),
    };
    let mut layer = if source == "-" { standard_input()? } else { linux::file::open(&absolute(source)?)? };
    let image = context.engine()?.import(&mut layer, &request)?;
    output::print(&format!("{}\n", image.id));
    pressure::relieve_after(context, &[&image.id]);
    Ok(0)
}
