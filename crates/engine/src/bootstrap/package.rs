//! A verified package file: its control files, and its files into a tree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use debian::deb::{self, Layout};
use image::tar::{Kind, Limits, Parser};

use super::Chosen;
use super::error::BootstrapError as Failure;
use super::tree::{Clash, Tree};

/// Bytes of all control files together; the largest are the sums of packages with 100,000 files.
const CONTROL_LIMIT: u64 = 64 << 20;

/// An open package file.
pub(super) struct Opened {
    name: String,
    file: File,
    layout: Layout,
}

impl Opened {
    pub(super) fn new(chosen: &Chosen<'_>) -> Result<Opened, Failure> {
        let name = chosen.package.full_name();
        let mut file = linux::file::open(&chosen.path).map_err(Failure::File)?;
        let layout = deb::layout(&mut file)
            .map_err(|source| Failure::PackageFile { package: name.clone(), source })?;
        Ok(Opened { name, file, layout })
    }

    /// Puts its files into a tree.
    pub(super) fn unpack(
        &self,
        owner: &str,
        tree: &mut Tree,
        clash: &dyn Fn(&str) -> Clash,
    ) -> Result<(), Failure> {
        let mut part = Section { file: &self.file, range: self.layout.data.range.clone() };
        let mut tar = image::decompressed(&self.name, &mut part).map_err(|source| self.failed(source))?;
        tree.add(owner, &mut tar, clash)
    }

    /// What dpkg is told, by name: `control`, `md5sums`, …
    pub(super) fn control(&self) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let mut part = Section { file: &self.file, range: self.layout.control.range.clone() };
        let tar = image::decompressed(&self.name, &mut part).map_err(|source| self.failed(source))?;
        let unusable = |reason: String| Failure::Contents { package: self.name.clone(), reason };
        let mut bytes = Vec::new();
        tar.take(CONTROL_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| unusable(format!("its control files cannot be decompressed: {source}")))?;
        if bytes.len() as u64 > CONTROL_LIMIT {
            return Err(unusable("its control files are too large".to_owned()));
        }
        let mut entries = Vec::new();
        let mut parser = Parser::new(Limits { entries: 1000, ..Limits::default() });
        let mut take = |entry| {
            entries.push(entry);
            Ok::<(), image::tar::Error>(())
        };
        let tar = |source| Failure::Tar { package: self.name.clone(), source };
        parser.push(&bytes, &mut take).map_err(tar)?;
        parser.finish().map_err(tar)?;
        let mut files = BTreeMap::new();
        for entry in entries {
            let (Kind::File(content), Ok(name)) = (&entry.kind, std::str::from_utf8(entry.path.as_bytes()))
            else {
                continue;
            };
            let content = match content.extents() {
                [] => Some(Vec::new()),
                [one] if one.length == content.size => {
                    let start = usize::try_from(one.source).ok();
                    let length = usize::try_from(one.length).ok();
                    let range =
                        start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
                    range.and_then(|range| bytes.get(range)).map(<[u8]>::to_vec)
                }
                _ => None,
            };
            let content = content.ok_or_else(|| unusable("its control files are not whole".to_owned()))?;
            files.insert(name.to_owned(), content);
        }
        Ok(files)
    }

    fn failed(&self, source: image::Error) -> Failure {
        Failure::Unpack { package: self.name.clone(), source }
    }
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    range: std::ops::Range<u64>,
}

impl Read for Section<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let take = left.min(bytes.len());
        let read = self.file.read_at(&mut bytes[..take], self.range.start)?;
        self.range.start += read as u64;
        Ok(read)
    }
}
