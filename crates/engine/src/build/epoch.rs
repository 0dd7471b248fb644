//! `SOURCE_DATE_EPOCH`: the time of what is made, in seconds, or whose time it is.
//!
//! | value | the time |
//! |---|---|
//! | none, or an empty one | none |
//! | a number | it |
//! | `context` | that of the main context |
//! | the name of a context | its time |
//! | the name of a stage that only fetches | that of what it fetches ([`dockerfile::stage::fetched_by`]) |
//!
//! A repository has the time of its commit; a file of the web that of its last change, as its server says, else, if it is an archive, that of
//! the file in it that was changed last. Folders and images have none, and the build then has none either. `--build-arg` and the environment
//! count before `ARG SOURCE_DATE_EPOCH=…` above the first stage; both may say any of it (BuildKit: since dockerfile 1.24).

use dockerfile::lower::GitSource;
use dockerfile::source::Diagnostic;
use dockerfile::stage::{Fetched, Options, fetched_by, global_arguments};
use dockerfile::syntax::Dockerfile;
use oci::Timestamp;

use super::error::BuildError;
use super::progress::Progress;
use super::session::Session;
use super::sources::{self, NamedBy};
use crate::Result;
use crate::request::{Build, BuildContext, EPOCH, NamedContext};

/// The value that stands for the main context.
const CONTEXT: &str = "context";

/// Whose time it is.
enum Whose<'a> {
    Nobodys,
    Repository(GitSource, NamedBy),
    /// A context that is elsewhere.
    Context(&'a str),
    File(String),
}

/// Declares to the session what time it is; the text that the argument has from now on, where it was no number.
pub(super) fn declare(
    session: &Session<'_>,
    file: &Dockerfile,
    options: &Options,
    faulty: impl Fn(Diagnostic) -> crate::Error,
    progress: &Progress<'_>,
) -> Result<Option<String>> {
    let globals = global_arguments(file, options, "", true).map_err(&faulty)?;
    let given = session.request.arguments.get(EPOCH).map(String::as_str);
    let text = given.or_else(|| globals.get(EPOCH)).unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(time) = Build::time_of(text) {
        session.declared.get_or_init(|| time);
        return Ok(None);
    }
    let unknown = || crate::Error::from(BuildError::Epoch { text: text.chars().take(80).collect() });
    let whose = match whose(session.request, text) {
        Some(whose) => whose,
        None => match fetched_by(file, options, text).map_err(&faulty)?.ok_or_else(unknown)? {
            Fetched::Git(source) => Whose::Repository(source, NamedBy::Dockerfile),
            Fetched::Web(url) => Whose::File(url),
        },
    };
    let seconds = time_of(session, whose, text, progress)?;
    let time = match seconds {
        Some(seconds) => Some(Timestamp::new(seconds, 0).ok_or_else(unknown)?),
        None => None,
    };
    if let Some(time) = time {
        session.declared.get_or_init(|| time);
    }
    Ok(Some(time.map_or_else(String::new, |time| time.seconds().to_string())))
}

/// By the contexts that there are.
fn whose<'a>(request: &'a Build, text: &str) -> Option<Whose<'a>> {
    if text == CONTEXT {
        return Some(match &request.context {
            BuildContext::Remote(url) => Whose::Context(url),
            BuildContext::Empty | BuildContext::Directory(_) | BuildContext::Stream(_) => Whose::Nobodys,
        });
    }
    Some(match request.contexts.get(&text.to_lowercase()).or_else(|| request.contexts.get(text))? {
        NamedContext::Remote(url) => Whose::Context(url),
        NamedContext::Directory(_)
        | NamedContext::Image(_)
        | NamedContext::Layout { .. }
        | NamedContext::Made(_) => Whose::Nobodys,
    })
}

fn time_of(
    session: &Session<'_>,
    whose: Whose<'_>,
    text: &str,
    progress: &Progress<'_>,
) -> Result<Option<i64>> {
    if matches!(whose, Whose::Nobodys) {
        return Ok(None);
    }
    let title = format!("[internal] look up the time of {text}");
    progress.internal(&title, |part| match whose {
        Whose::Nobodys => Ok(None),
        Whose::Repository(source, by) => sources::committed(session, &source, by).map(Some),
        Whose::Context(url) => sources::time_of_context(session, url, part),
        Whose::File(url) => sources::modified(session, &url, part),
    })
}
