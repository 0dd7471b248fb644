//! `cp`.

use std::io;
use std::os::fd::AsFd;

use engine::request::{CopyIn, CopyOut, Near};

use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, units};

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    /// A path in a container.
    Container(&'a str, &'a str),
    /// A path of the caller's.
    Local(&'a str),
    /// Standard input or output.
    Stream,
}

/// `CONTAINER:PATH`, `PATH` or `-`. A path with a colon needs a slash or a dot in front; one with nothing before its colon
/// is a path of the caller's, as with Docker.
fn side(text: &str) -> Side<'_> {
    if text == "-" {
        return Side::Stream;
    }
    match text.split_once(':') {
        Some(("", path)) => Side::Local(path),
        Some((container, path)) if !text.starts_with(['/', '.']) => Side::Container(container, path),
        Some(_) | None => Side::Local(text),
    }
}

/// `skiff cp`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let (from, to) = (parsed.arguments[0].as_str(), parsed.arguments[1].as_str());
    for (text, name) in [(from, "source"), (to, "destination")] {
        if text.is_empty() {
            return Err(Error::EmptyCopy { name });
        }
    }
    let (follow, archive) = (parsed.on("follow-link"), parsed.on("archive"));
    let bytes = match (side(from), side(to)) {
        (Side::Container(..), Side::Container(..)) => return Err(Error::CopyBetween),
        (Side::Local(_) | Side::Stream, Side::Local(_) | Side::Stream) => return Err(Error::CopyNowhere),
        (Side::Container(name, path), Side::Local(target)) => {
            let target = spelled(target)?;
            let request = CopyOut { source: path, target: Near::Path(&target), follow, archive };
            context.engine()?.copy_out(name, request)?
        }
        (Side::Container(name, path), Side::Stream) => {
            if rustix::termios::isatty(io::stdout()) {
                return Err(Error::CopyToTerminal);
            }
            let out = io::stdout();
            let request = CopyOut { source: path, target: Near::Stream(out.as_fd()), follow, archive };
            return match context.engine()?.copy_out(name, request) {
                Err(_) if output::reader_is_gone() => Err(Error::ReaderGone),
                copied => copied.map(|_| 0).map_err(Error::from),
            };
        }
        (Side::Local(source), Side::Container(name, path)) => {
            let source = spelled(source)?;
            let request = CopyIn { source: Near::Path(&source), target: path, follow, archive };
            context.engine()?.copy_in(name, request)?
        }
        (Side::Stream, Side::Container(name, path)) => {
            let stdin = io::stdin();
            let request = CopyIn { source: Near::Stream(stdin.as_fd()), target: path, follow, archive };
            context.engine()?.copy_in(name, request)?
        }
    };
    // As Docker: to somebody who watches, unless told otherwise.
    let quiet = parsed.tristate("quiet").unwrap_or_else(|| !rustix::termios::isatty(io::stdout()));
    if !quiet && from != "-" {
        output::warn(&format!("Successfully copied {} to {to}\n", units::size(bytes, 3)));
    }
    Ok(0)
}

/// The path seen from `/`, with what stands at its end.
fn spelled(path: &str) -> Result<String> {
    // An argument is UTF-8; the working directory need not be.
    absolute(path)?
        .into_os_string()
        .into_string()
        .map_err(|path| Error::NotUtf8 { number: 0, shown: path.to_string_lossy().into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_tells_containers_from_paths() {
        for (text, want) in [
            ("c:/a", Side::Container("c", "/a")),
            ("c:a:b", Side::Container("c", "a:b")),
            ("/a:b", Side::Local("/a:b")),
            ("./a:b", Side::Local("./a:b")),
            ("a", Side::Local("a")),
            (":/a", Side::Local("/a")),
            ("-", Side::Stream),
        ] {
            assert_eq!(side(text), want);
        }
    }
}
