//! The contexts of a build: where each comes from, the Dockerfile in the main one, and what ignore files leave out.
//!
//! A directory is opened when the Dockerfile is read, and looked into when a step asks; a stream is read to its end first, as
//! its Dockerfile may come last. What comes from elsewhere is fetched before anything is known of the stages.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use build::Source;
use dockerfile::ignore::{self, Matcher};
use dockerfile::source::FILE_LIMIT;

use super::context::{self, Files, Hashes, Received};
use super::copy;
use super::error::BuildError;
use super::frontend::Text;
use super::known::Known;
use super::named::Named;
use super::progress::Progress;
use super::session::Session;
use super::tree::Tree;
use crate::request::{BuildContext, DockerfileSource, NamedContext};
use crate::{Error, Result};

/// The names under which a Dockerfile is looked for.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];
/// What the ignore file of a context is called.
const IGNORE: &str = ".dockerignore";
/// Bytes of an ignore file.
const IGNORE_LIMIT: u64 = 1 << 20;

/// Where the main context's files are.
enum Main {
    Nothing,
    Directory(PathBuf),
    Tree(Tree),
}

/// All contexts of a build.
pub(super) struct Contexts<'s> {
    session: &'s Session<'s>,
    main: Main,
    ignored: Option<Matcher>,
    /// Those that have names and are no directories.
    pub(super) named: Named,
    open: Mutex<BTreeMap<String, (Tree, Arc<Known>)>>,
}

impl<'s> Contexts<'s> {
    /// Opens the main context and reads the Dockerfile, with the ignore file that goes with it.
    pub(super) fn open(session: &'s Session<'s>, progress: &Progress<'_>) -> Result<(Contexts<'s>, Text)> {
        let mut alone = None;
        let main = match &session.request.context {
            BuildContext::Empty => Main::Nothing,
            BuildContext::Directory(path) => Main::Directory(path.clone()),
            BuildContext::Stream(stream) => match received(session, stream, progress)? {
                Received::Dockerfile(text) => {
                    alone = Some(text);
                    Main::Nothing
                }
                Received::Tree(tree) => Main::Tree(tree),
            },
            BuildContext::Remote(url) => match super::sources::remote(session, url, progress)? {
                Received::Dockerfile(text) => {
                    alone = Some(text);
                    Main::Nothing
                }
                Received::Tree(tree) => Main::Tree(tree),
            },
        };
        let mut contexts =
            Contexts { session, main, ignored: None, named: Named::default(), open: Mutex::default() };
        let (name, bytes) = match alone {
            Some(text) => ("Dockerfile".to_owned(), text),
            None => progress.internal("[internal] load build definition from Dockerfile", |part| {
                let (name, bytes) = contexts.dockerfile()?;
                part.progress("transferring dockerfile:", bytes.len() as u64, None, true);
                Ok((name, bytes))
            })?,
        };
        contexts.ignored = progress.internal("[internal] load .dockerignore", |part| {
            let found = contexts.ignore_file(&name)?;
            part.progress("transferring context:", found.as_ref().map_or(2, Vec::len) as u64, None, true);
            found.map(|bytes| matcher(&bytes)).transpose()
        })?;
        if let (Main::Tree(tree), Some(ignored)) = (&contexts.main, &contexts.ignored) {
            let step = build::Step::new(0, session.cancel, &|_| {});
            contexts.main = Main::Tree(copy::without(session, tree, ignored, &step)?);
        }
        let ignored = contexts.ignored.clone();
        Ok((contexts, Text { name, bytes, ignored }))
    }

    /// The Dockerfile, and what people call it.
    fn dockerfile(&self) -> Result<(String, Vec<u8>)> {
        let missing = |name: &str| Error::from(BuildError::NoDockerfile { name: name.to_owned() });
        match &self.session.request.dockerfile {
            DockerfileSource::Text(text) => Ok(("Dockerfile".to_owned(), text.clone())),
            DockerfileSource::File(path) => {
                let shown = path.display().to_string();
                let (folder, name) = split(path);
                let bytes = context::read_file(folder, name, FILE_LIMIT as u64)?;
                bytes.map(|bytes| (shown.clone(), bytes)).ok_or_else(|| missing(&shown))
            }
            DockerfileSource::InContext(path) => {
                let bytes = self.file(path, FILE_LIMIT as u64)?;
                bytes.map(|bytes| (path.clone(), bytes)).ok_or_else(|| missing(path))
            }
            DockerfileSource::Default => {
                for name in NAMES {
                    if let Some(bytes) = self.file(name, FILE_LIMIT as u64)? {
                        return Ok((name.to_owned(), bytes));
                    }
                }
                Err(missing(NAMES[0]))
            }
        }
    }

    /// The ignore file: that of the Dockerfile counts before that of the context.
    fn ignore_file(&self, dockerfile: &str) -> Result<Option<Vec<u8>>> {
        let own = format!("{dockerfile}{IGNORE}");
        let own = match &self.session.request.dockerfile {
            DockerfileSource::Text(_) => None,
            DockerfileSource::File(_) => {
                let path = PathBuf::from(own);
                let (folder, name) = split(&path);
                context::read_file(folder, name, IGNORE_LIMIT)?
            }
            DockerfileSource::Default | DockerfileSource::InContext(_) => self.file(&own, IGNORE_LIMIT)?,
        };
        match own {
            Some(own) => Ok(Some(own)),
            None => self.file(IGNORE, IGNORE_LIMIT),
        }
    }

    /// A file of the main context.
    fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.main {
            Main::Nothing => Ok(None),
            Main::Directory(directory) => context::read_file(directory, Path::new(path), limit),
            Main::Tree(tree) => self.session.view(tree)?.read(path, limit),
        }
    }

    /// A context by its name, and the platform of an image; the main one has no name.
    pub(super) fn find(&self, name: &str, platform: Option<&str>) -> Result<Source<Tree>> {
        let here = |tree: Tree, identity| Source::Here { tree, identity };
        if name.is_empty() {
            return Ok(match &self.main {
                Main::Nothing => here(Tree::empty(), None),
                Main::Directory(path) => here(self.directory("", path, self.ignored.as_ref())?, None),
                Main::Tree(tree) => here(tree.clone(), None),
            });
        }
        if let Some(source) = self.named.source(self.session, name, platform)? {
            return Ok(source);
        }
        let Some(NamedContext::Directory(path)) = self.session.request.contexts.get(name) else {
            return Err(BuildError::NoContext { name: name.to_owned() }.into());
        };
        let ignored = context::read_file(path, Path::new(IGNORE), IGNORE_LIMIT)?;
        let ignored = ignored.map(|bytes| matcher(&bytes)).transpose()?;
        Ok(here(self.directory(name, path, ignored.as_ref())?, None))
    }

    /// A directory, opened once.
    fn directory(&self, name: &str, path: &Path, ignored: Option<&Matcher>) -> Result<Tree> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tree, _)) = open.get(name) {
            return Ok(tree.clone());
        }
        let shown = if name.is_empty() { "context" } else { name };
        let known = Arc::new(Known::of(self.session.engine, path)?);
        let files =
            Files::open(path, (shown, &self.session.nonce), ignored, Arc::clone(&known) as Arc<dyn Hashes>)?;
        let tree = Tree::Files(Arc::new(files));
        open.insert(name.to_owned(), (tree.clone(), known));
        Ok(tree)
    }
}

impl Drop for Contexts<'_> {
    /// What was learnt of files serves the next build, however this one ended.
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, known) in open.values() {
            known.write(self.session.engine);
        }
    }
}

/// The folder of a path, and the last name of it.
fn split(path: &Path) -> (&Path, &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder, path.file_name().map_or(path, Path::new))
}

fn matcher(bytes: &[u8]) -> Result<Matcher> {
    Matcher::new(ignore::read(bytes)).map_err(|source| BuildError::IgnoreFile { source }.into())
}

/// Reads a stream to its end.
fn received(session: &Session<'_>, stream: &OwnedFd, progress: &Progress<'_>) -> Result<Received> {
    progress.internal("[internal] load remote build context", |part| {
        let again = stream.try_clone().map_err(|source| BuildError::Context { source })?;
        let tell = |bytes| part.progress("transferring context:", bytes, None, false);
        context::receive(session, again, FILE_LIMIT as u64, session.cancel, &tell)
    })
}
