//! Documents within the file: `RUN <<EOF`, `COPY <<a.txt <<-'b.txt' /dest/`.

use super::lines::Lines;
use crate::expand::{Environment, Lexer};
use crate::source::{Diagnostic, Result, Span};
use crate::syntax::Heredoc;

/// Keeps everything as written, but knows words.
const RAW: Lexer =
    Lexer { escape: '\\', raw_quotes: true, raw_escapes: true, skip_quotes: false, keep_unset: true };
/// The most documents of one instruction.
const LIMIT: usize = 1000;

/// The operator `[fd]<<[-]NAME`, if a word is one; without content.
pub(crate) fn operator(word: &str) -> Option<Heredoc> {
    let digits = word.find(|character: char| !character.is_ascii_digit())?;
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, name) = match rest.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, rest),
    };
    let name = name.trim_start();
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let none = Environment::default();
    let plain = Lexer { keep_unset: true, ..Lexer::new('\\') };
    let raw = Lexer { raw_quotes: true, ..plain };
    let [unquoted] = <[String; 1]>::try_from(plain.expand(name, &none).ok()?.words).ok()?;
    let [written] = <[String; 1]>::try_from(raw.expand(name, &none).ok()?.words).ok()?;
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Some(Heredoc {
        expand: quotes(&unquoted) == quotes(&written),
        name: unquoted,
        chomp,
        descriptor: word[..digits].parse().unwrap_or_default(),
        content: String::new(),
        span: Span::default(),
    })
}

/// Reads the documents that an instruction announces from the lines below it.
pub(super) fn read(line: &str, span: Span, lines: &mut Lines<'_>) -> Result<Vec<Heredoc>> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    // A line that is no sequence of words announces nothing; whatever is wrong with it is found elsewhere.
    let words = RAW.expand(line, &Environment::default()).map(|found| found.words).unwrap_or_default();
    let mut heredocs: Vec<Heredoc> = words.iter().filter_map(|word| operator(word)).collect();
    if heredocs.len() > LIMIT {
        return Err(Diagnostic::error(format!("more than {LIMIT} heredocs in one instruction"), span));
    }
    for heredoc in &mut heredocs {
        fill(heredoc, span, lines)?;
    }
    Ok(heredocs)
}

/// Takes lines up to the one that ends the document.
fn fill(heredoc: &mut Heredoc, span: Span, lines: &mut Lines<'_>) -> Result<()> {
    let mut place: Option<Span> = None;
    while let Some(line) = lines.next()? {
        let mut end = line.content();
        if heredoc.chomp {
            end = end.trim_start_matches('\t');
        }
        let whole = Span::new(line.start, line.start + line.text.len());
        if end == heredoc.name {
            heredoc.span = place.unwrap_or(Span::new(line.start, line.start));
            return Ok(());
        }
        heredoc.content.push_str(line.text);
        place = Some(place.map_or(whole, |place| place.to(whole)));
    }
    let help = format!("no line consists of {:?} alone", heredoc.name);
    Err(Diagnostic::error("unterminated heredoc", span).with_help(help))
}
