//! ADD and COPY.

use super::super::flags::{Flags, Shape};
use super::super::heredoc_operator;
use super::Line;
use crate::source::{Diagnostic, Result};
use crate::syntax::{Add, Copy, Heredoc, Kind, Transfer};

impl Line<'_> {
    pub(super) fn add(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("chown", Shape::Once),
            ("chmod", Shape::Once),
            ("link", Shape::Switch),
            ("exclude", Shape::Each),
            ("keep-git-dir", Shape::Switch),
            ("checksum", Shape::Once),
            ("unpack", Shape::Switch),
        ])?;
        Ok(Kind::Add(Add {
            transfer: self.transfer(heredocs, &mut flags)?,
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.take("checksum"),
            unpack: flags.switch("unpack"),
        }))
    }

    pub(super) fn copy(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("chown", Shape::Once),
            ("chmod", Shape::Once),
            ("link", Shape::Switch),
            ("exclude", Shape::Each),
            ("from", Shape::Once),
            ("parents", Shape::Switch),
        ])?;
        Ok(Kind::Copy(Copy {
            transfer: self.transfer(heredocs, &mut flags)?,
            from: flags.take("from"),
            parents: flags.switch("parents").unwrap_or_default(),
        }))
    }

    /// Sources and destination of ADD and COPY.
    fn transfer(&self, heredocs: Vec<Heredoc>, flags: &mut Flags) -> Result<Transfer> {
        let upper = self.upper();
        let mut words = self.paths();
        if words.len() < 2 {
            let count = "requires at least two arguments, but only one was provided";
            return self.refuse(format!("{upper} {count}. Destination could not be determined."));
        }
        let destination = words.pop().unwrap_or_default();
        let documents = self.json.is_none();
        if documents && heredoc_operator(&destination.value).is_some() {
            let message = format!("{upper} cannot accept a heredoc as a destination");
            return Err(Diagnostic::error(message, destination.span));
        }
        let (mut paths, mut inline) = (Vec::new(), Vec::new());
        for word in words {
            let announced = documents.then(|| heredoc_operator(&word.value)).flatten();
            let Some(operator) = announced else {
                paths.push(word);
                continue;
            };
            // Of several documents with one name the last one counts.
            match heredocs.iter().rfind(|heredoc| heredoc.name == operator.name) {
                Some(heredoc) => inline.push(heredoc.clone()),
                None => paths.push(word),
            }
        }
        Ok(Transfer {
            paths,
            inline,
            destination,
            chown: flags.take("chown"),
            chmod: flags.take("chmod"),
            link: flags.switch("link").unwrap_or_default(),
            excludes: flags.take_each("exclude"),
        })
    }
}
