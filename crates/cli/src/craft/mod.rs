//! What is made from the table of commands beside the parser and `--help`: completions of shells, and man pages.
//!
//! The scripts that shells load know nothing: they ask the program, which knows its flags and the names of what is there.

mod complete;
mod man;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

const BASH: &str = include_str!("skiff.bash");
const ZSH: &str = include_str!("skiff.zsh");
const FISH: &str = include_str!("skiff.fish");

/// `skiff completion`.
pub(crate) fn completion(_: &Context, parsed: &Parsed) -> Result<u8> {
    let script = match parsed.arguments[0].as_str() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        other => return Err(Error::Shell { name: other.to_owned() }),
    };
    output::print(script);
    Ok(0)
}

/// `skiff __complete`: what the last of the words may become, one a line, with what it is behind a tab. `:files` at the
/// end says that the shell's own completion of files is wanted.
pub(crate) fn complete(context: &Context, parsed: &Parsed) -> Result<u8> {
    let found = complete::complete(context, &parsed.arguments);
    let mut text = String::new();
    for (word, about) in &found.words {
        text.push_str(word);
        if !about.is_empty() {
            text.push('\t');
            text.push_str(about.lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    if found.files {
        text.push_str(":files\n");
    }
    output::print(&text);
    Ok(0)
}

/// `skiff man`: writes a page for every command into a directory.
pub(crate) fn man(_: &Context, parsed: &Parsed) -> Result<u8> {
    let folder = crate::context::absolute(parsed.arguments[0].as_str())?;
    linux::file::create_dirs(&folder, 0o755)?;
    for (name, page) in man::pages() {
        let path = folder.join(name);
        linux::file::remove_if_exists(&path)?;
        match page {
            man::Page::Text(text) => {
                linux::file::write(&path, text.as_bytes())?;
                linux::file::set_mode(&path, 0o644)?;
            }
            man::Page::Link(target) => rustix::fs::symlink(target, &path)
                .map_err(|source| Error::System { attempt: "link a man page", source })?,
        }
    }
    Ok(0)
}
