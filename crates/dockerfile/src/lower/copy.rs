//! COPY and ADD.

use oci::Digest;

use super::name::DOCUMENT;
use super::stage::Context;
use super::state::State;
use super::{CopyOp, Op, Selection, git};
use crate::expand::Lexer;
use crate::ignore::{Matcher, clean, has_wildcards};
use crate::lint;
use crate::source::{Diagnostic, Result, Span};
use crate::stage::Step;
use crate::syntax::{Add, Copy, Heredoc, Text, Transfer};

/// The longest name of a file, in bytes.
const NAME_LIMIT: usize = 255;

/// The values of an instruction, variables replaced.
struct Values {
    paths: Vec<String>,
    destination: String,
    chown: Option<String>,
    chmod: Option<String>,
    checksum: Option<String>,
    exclude: Vec<String>,
    /// What people are shown.
    name: String,
}

/// How a kind of instruction treats its sources.
struct Manner<'a> {
    add: Option<&'a Add>,
    /// Where local files come from; the context if none.
    local: Option<usize>,
    parents: bool,
    checked: bool,
}

impl Context<'_, '_> {
    pub(super) fn copy(&mut self, state: &mut State, step: &Step, copy: &Copy) -> Result<()> {
        let from = step.sources.first().copied().flatten();
        let local = from.map(|stage| self.source(stage, step.instruction.span)).transpose()?;
        let manner = Manner { add: None, local, parents: copy.parents, checked: from.is_none() };
        self.transfer(state, step, &copy.transfer, &manner)
    }

    pub(super) fn add(&mut self, state: &mut State, step: &Step, add: &Add) -> Result<()> {
        let manner = Manner { add: Some(add), local: None, parents: false, checked: true };
        self.transfer(state, step, &add.transfer, &manner)
    }

    fn values(
        &mut self,
        state: &State,
        step: &Step,
        transfer: &Transfer,
        manner: &Manner<'_>,
    ) -> Result<Values> {
        let span = step.instruction.span;
        let mut option =
            |text: &Option<Text>| text.as_ref().map(|text| self.expand(state, text, span)).transpose();
        let (chown, chmod) = (option(&transfer.chown)?, option(&transfer.chmod)?);
        let checksum = manner.add.map(|add| option(&add.checksum)).transpose()?.flatten();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let mut each = |texts: &[Text]| {
            texts.iter().map(|text| self.expand(state, text, span)).collect::<Result<Vec<String>>>()
        };
        let paths: Vec<String> = each(&transfer.paths)?;
        let exclude: Vec<String> = each(&transfer.excludes)?;
        let destination = self.expand(state, &transfer.destination, span)?;
        Ok(Values {
            paths,
            destination,
            chown: some(chown),
            chmod: some(chmod),
            checksum: some(checksum),
            exclude,
            name: self.name(state, step),
        })
    }

    fn transfer(
        &mut self,
        state: &mut State,
        step: &Step,
        transfer: &Transfer,
        manner: &Manner<'_>,
    ) -> Result<()> {
        let span = step.instruction.span;
        let values = self.values(state, step, transfer, manner)?;
        check(&values, transfer, span)?;
        let mut inputs = vec![state.node];
        let mut selections = Vec::new();
        for (path, text) in values.paths.iter().zip(&transfer.paths) {
            let selection = self.selection(path, &values, manner, &mut inputs, step, text.span)?;
            selections.push(selection);
        }
        for heredoc in &transfer.inline {
            selections.push(self.document(state, heredoc, &mut inputs, span)?);
        }
        let copy = CopyOp {
            selections,
            destination: destination(state.cwd(), &values.destination),
            owner: values.chown.clone(),
            mode: values.chmod.clone(),
            exclude: values.exclude.clone(),
        };
        let (op, name) = (Op::Copy(Box::new(copy)), || values.name.clone());
        let node = if transfer.link {
            // A layer of its own, which knows nothing of what is below it.
            inputs[0] = self.graph.add(Op::Scratch, Vec::new(), || "scratch".to_owned(), None)?;
            let layer = self.graph.add(op, inputs, name, Some(span))?;
            self.graph.add(Op::Merge, vec![state.node, layer], name, Some(span))?
        } else {
            self.graph.add(op, inputs, name, Some(span))?
        };
        state.layer(node)?;
        state.steps.commit(words(&values, transfer, manner), true)
    }

    /// A document in the Dockerfile.
    fn document(
        &mut self,
        state: &State,
        heredoc: &Heredoc,
        inputs: &mut Vec<usize>,
        span: Span,
    ) -> Result<Selection> {
        let mut content = heredoc.body();
        if heredoc.expand {
            content = self.expand_with(Lexer::heredoc(), state, &content, heredoc.span, span)?;
        }
        let name = document_name(heredoc)?;
        let path = format!("/{name}");
        let op = Op::Inline { name, content, mode: 0o644 };
        let node = self.graph.add(op, Vec::new(), || DOCUMENT.to_owned(), Some(heredoc.span))?;
        Ok(whole(input(inputs, node), path))
    }

    /// One source.
    fn selection(
        &mut self,
        path: &str,
        values: &Values,
        manner: &Manner<'_>,
        inputs: &mut Vec<usize>,
        step: &Step,
        span: Span,
    ) -> Result<Selection> {
        let unpack = manner.add.and_then(|add| add.unpack);
        let is_http = path.starts_with("http://") || path.starts_with("https://");
        let remote = git::is_git(path) || is_http;
        let Some(add) = manner.add.filter(|_| remote) else {
            if remote {
                let what = if git::is_git(path) { "git ref" } else { "URL" };
                return Err(Diagnostic::error(format!("source can't be a {what} for COPY"), span)
                    .with_help("ADD takes files from elsewhere"));
            }
            let node = manner.local.map_or_else(|| self.context(), Ok)?;
            self.graph.uses(node, if manner.parents { parent_of(path) } else { path });
            let input = input(inputs, node);
            return Ok(self.local(path, manner, input, unpack.unwrap_or(manner.add.is_some()), step));
        };
        let name = || values.name.clone();
        let refuse = |message: String| Diagnostic::error(message, span);
        if git::is_git(path) {
            let git = git::parse(path, add.keep_git_dir, values.checksum.as_deref()).map_err(refuse)?;
            let node = self.graph.add(Op::Git(git), Vec::new(), name, Some(span))?;
            return Ok(whole(input(inputs, node), "/".to_owned()));
        }
        let checksum = values.checksum.as_ref().map(|text| text.parse::<Digest>()).transpose();
        let checksum = checksum.map_err(|error| refuse(error.to_string()))?;
        let file = file_name(path);
        let op = Op::Http { url: path.to_owned(), name: file.clone(), checksum };
        let node = self.graph.add(op, Vec::new(), name, Some(span))?;
        let selection = whole(input(inputs, node), format!("/{file}"));
        Ok(Selection { unpack: unpack.unwrap_or_default(), ..selection })
    }

    /// Files of a context, a stage or an image.
    fn local(
        &mut self,
        path: &str,
        manner: &Manner<'_>,
        input: usize,
        unpack: bool,
        step: &Step,
    ) -> Selection {
        if let Some(ignored) = self.inputs.ignored.filter(|_| manner.checked) {
            let verb = if manner.add.is_some() { "Add" } else { "Copy" };
            if let Some(shown) = ignored_source(path, ignored) {
                let message =
                    format!("Attempting to {verb} file {shown:?} that is excluded by .dockerignore");
                self.linter.warn(&lint::COPY_IGNORED_FILE, step.instruction.span, message);
            }
        }
        let rooted = |path: &str| clean(&format!("/{path}"));
        if !manner.parents {
            return Selection { input, path: rooted(path), parents: None, unpack, local: true };
        }
        let (base, pattern) = path.split_once("/./").unwrap_or(("/", path));
        let pattern = rooted(pattern).trim_start_matches('/').to_owned();
        Selection { input, path: rooted(base), parents: Some(pattern), unpack, local: true }
    }
}

/// What an input has at a path, as it is.
fn whole(input: usize, path: String) -> Selection {
    Selection { input, path, parents: None, unpack: false, local: false }
}

/// The part of a source of `--parents` before anything that may be a pattern.
fn parent_of(path: &str) -> &str {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        if has_wildcards(part) {
            return &path[..end];
        }
        end += part.len();
    }
    path
}

/// The position of a node among the inputs, the first not counted.
fn input(inputs: &mut Vec<usize>, node: usize) -> usize {
    let known = inputs.iter().skip(1).position(|input| *input == node);
    known.map_or_else(
        || {
            inputs.push(node);
            inputs.len() - 1
        },
        |at| at + 1,
    )
}

/// An absolute path; a slash at the end stays, and `.` has one.
fn destination(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    let directory =
        path.is_empty() || path.ends_with('/') || matches!(path.rsplit('/').next(), Some("." | ".."));
    let cleaned = clean(&joined);
    if directory && cleaned != "/" { format!("{cleaned}/") } else { cleaned }
}

/// What the file of a document is called: the last part of the document's name.
pub(super) fn document_name(heredoc: &Heredoc) -> Result<String> {
    let name = heredoc.name.rsplit('/').next().unwrap_or_default();
    if !is_name(name) {
        let message = format!("the heredoc {:?} does not name a file", heredoc.name);
        return Err(Diagnostic::error(message, None).with_help("the word behind << is the file's name"));
    }
    Ok(name.to_owned())
}

/// The last part of a URL's path, escapes undone: what a file that was fetched is called.
#[must_use]
pub fn file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once('/').and_then(|(_, path)| unescaped(path)).unwrap_or_default();
    let last = path.trim_end_matches('/').rsplit('/').next();
    last.filter(|name| is_name(name)).unwrap_or("__unnamed__").to_owned()
}

/// With the bytes that `%2F` and the like stand for; none if that is no text.
fn unescaped(path: &str) -> Option<String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (mut plain, mut bytes) = (Vec::with_capacity(path.len()), path.bytes());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(plain).ok()
}

/// Whether a file of a layer may be called so.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= NAME_LIMIT
        && !text.contains(['/', '\0'])
        && !text.starts_with(".wh.")
}

/// The source as it is named, if the ignore file leaves it out. With exceptions nobody can tell without the files.
fn ignored_source(path: &str, ignored: &Matcher) -> Option<String> {
    if ignored.has_exceptions() {
        return None;
    }
    let cleaned = clean(path);
    if matches!(cleaned.as_str(), "." | "/")
        && !ignored.patterns().any(|(text, _)| matches!(text, "*" | "**" | "**/*"))
    {
        return None;
    }
    ignored.is_match(&cleaned).then_some(cleaned)
}

fn check(values: &Values, transfer: &Transfer, span: Span) -> Result<()> {
    if let (Some(mode), Some(text)) = (&values.chmod, &transfer.chmod)
        && !is_mode(mode)
    {
        let message =
            format!("invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777");
        return Err(Diagnostic::error(message, text.span));
    }
    if values.checksum.is_some() {
        let [one] = values.paths.as_slice() else {
            return Err(Diagnostic::error("checksum can't be specified for multiple sources", span));
        };
        if !git::is_git(one) && !one.starts_with("http://") && !one.starts_with("https://") {
            return Err(Diagnostic::error("checksum requires HTTP(S) or Git sources", span));
        }
    }
    Matcher::new(&values.exclude).map_err(|error| Diagnostic::error(error.to_string(), span))?;
    Ok(())
}

/// Octal up to 07777, or `u+x,go=r` and the like.
fn is_mode(text: &str) -> bool {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    }
    text.split(',').all(|clause| {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        actions.starts_with(['+', '-', '=']) && actions.chars().all(|c| "+-=rwxXstugo".contains(c))
    })
}

/// The history's words.
fn words(values: &Values, transfer: &Transfer, manner: &Manner<'_>) -> String {
    let mut words = vec![if manner.add.is_some() { "ADD" } else { "COPY" }.to_owned()];
    words.extend(manner.parents.then(|| "--parents".to_owned()));
    words.extend(values.chown.as_ref().map(|owner| format!("--chown={owner}")));
    words.extend(values.chmod.as_ref().map(|mode| format!("--chmod={mode}")));
    words.extend(values.paths.iter().map(|path| oci::address_without_credentials(path).into_owned()));
    words.extend(transfer.inline.iter().map(|heredoc| format!("<<{}", heredoc.name)));
    words.push(values.destination.clone());
    format!("{} # buildkit", words.join(" "))
}
