//! The file `.gitmodules` (gitmodules, git-config "Syntax"): which repositories lie in a repository. Pure.
//!
//! Its writer is whoever wrote the repository: of what it may say, only `path`, `url` and `update = none` are heard. Git has executed and
//! overwritten things because of the rest: commands in `update`, options in `url` and `path`, names that lead out of `.git/modules`.

use crate::error::{Error, Result};

/// The largest file that is read, in bytes, and the most submodules that it may name.
pub(crate) const SIZE_LIMIT: u64 = 1 << 20;
const COUNT_LIMIT: u64 = 4096;

/// One submodule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) url: String,
    /// Whether it says that it is not to be checked out.
    pub(crate) is_skipped: bool,
}

/// Reads all of it. Later settings of one submodule count, as in git.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Module>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = Reader { rest: bytes, line: 1 };
    let mut modules: Vec<Module> = Vec::new();
    let mut current = None;
    while let Some(item) = reader.item()? {
        match item {
            Item::Section(name) => {
                current = name.map(|name| {
                    let known = modules.iter().position(|module| module.name == name);
                    known.unwrap_or_else(|| {
                        modules.push(Module { name, ..Module::default() });
                        modules.len() - 1
                    })
                });
                if modules.len() as u64 > COUNT_LIMIT {
                    return Err(Error::Limit { limit: COUNT_LIMIT, what: "submodules in .gitmodules" });
                }
            }
            Item::Setting(key, value) => {
                let Some(module) = current.and_then(|place: usize| modules.get_mut(place)) else { continue };
                match key.as_str() {
                    "path" => {
                        let end = value.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
                        module.path = value[..end].to_vec();
                    }
                    "url" => {
                        module.url = String::from_utf8(value)
                            .map_err(|_| reader.wrong("the url of a submodule is no text"))?;
                    }
                    "update" => module.is_skipped = value == b"none",
                    _ => {}
                }
            }
        }
    }
    Ok(modules)
}

enum Item {
    /// Of a submodule, or of something else.
    Section(Option<Vec<u8>>),
    Setting(String, Vec<u8>),
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Reader<'_> {
    fn wrong(&self, reason: &'static str) -> Error {
        Error::Modules { line: self.line, reason }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        // A line may end as on Windows.
        if *first == b'\r' && rest.first() == Some(&b'\n') {
            self.rest = rest;
            return self.next();
        }
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    fn peek(&self) -> Option<u8> {
        match self.rest {
            [b'\r', b'\n', ..] => Some(b'\n'),
            [first, ..] => Some(*first),
            [] => None,
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.next();
        }
    }

    fn item(&mut self) -> Result<Option<Item>> {
        loop {
            match self.peek() {
                None => return Ok(None),
                Some(b' ' | b'\t' | b'\n') => {
                    self.next();
                }
                Some(b'#' | b';') => while !matches!(self.next(), None | Some(b'\n')) {},
                Some(b'[') => return self.section().map(Some),
                Some(byte) if byte.is_ascii_alphabetic() => return self.setting().map(Some),
                Some(_) => return Err(self.wrong("neither a section nor a setting")),
            }
        }
    }

    /// `[submodule "name"]`; others are passed over.
    fn section(&mut self) -> Result<Item> {
        self.next();
        let mut kind = Vec::new();
        while let Some(byte) =
            self.peek().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        {
            kind.push(byte.to_ascii_lowercase());
            self.next();
        }
        self.skip_blanks();
        let mut name = None;
        if self.peek() == Some(b'"') {
            self.next();
            let mut text = Vec::new();
            loop {
                match self.next() {
                    None | Some(b'\n' | 0) => return Err(self.wrong("a name is not closed")),
                    Some(b'"') => break,
                    Some(b'\\') => match self.next() {
                        None | Some(b'\n' | 0) => return Err(self.wrong("a name is not closed")),
                        Some(byte) => text.push(byte),
                    },
                    Some(byte) => text.push(byte),
                }
            }
            name = Some(text);
        }
        match self.next() {
            Some(b']') => Ok(Item::Section(name.filter(|_| kind == b"submodule"))),
            _ => Err(self.wrong("a section is not closed")),
        }
    }

    /// `key = value`, or `key` alone.
    fn setting(&mut self) -> Result<Item> {
        let mut key = String::new();
        while let Some(byte) = self.peek().filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            key.push(char::from(byte.to_ascii_lowercase()));
            self.next();
        }
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n' | b'#' | b';') => return Ok(Item::Setting(key, b"true".to_vec())),
            Some(b'=') => self.next(),
            Some(_) => return Err(self.wrong("a setting without '='")),
        };
        self.skip_blanks();
        let mut value = Vec::new();
        // Blanks at the end do not count, unless they are quoted.
        let (mut is_quoted, mut end) = (false, 0);
        loop {
            match self.next() {
                Some(0) => return Err(self.wrong("a value has a zero byte")),
                None | Some(b'\n') if is_quoted => return Err(self.wrong("a quotation is not closed")),
                None | Some(b'\n') => break,
                Some(b'#' | b';') if !is_quoted => {
                    while !matches!(self.next(), None | Some(b'\n')) {}
                    break;
                }
                Some(b'"') => is_quoted = !is_quoted,
                Some(b'\\') => {
                    match self.next() {
                        Some(b'\n') => continue,
                        Some(b'n') => value.push(b'\n'),
                        Some(b't') => value.push(b'\t'),
                        Some(b'b') => value.push(8),
                        Some(byte @ (b'"' | b'\\')) => value.push(byte),
                        _ => return Err(self.wrong("a value with '\\' before nothing that it is for")),
                    }
                    end = value.len();
                    continue;
                }
                Some(byte) => value.push(byte),
            }
            if is_quoted || !matches!(value.last(), Some(b' ' | b'\t')) {
                end = value.len();
            }
        }
        value.truncate(end);
        Ok(Item::Setting(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok(modules) => modules
                .iter()
                .map(|module| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let skipped = if module.is_skipped { " skipped" } else { "" };
                    format!("{}|{}|{}{skipped};", text(&module.name), text(&module.path), module.url)
                })
                .collect(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn files_are_read_as_git_reads_them() {
        for (text, want) in [
            ("", ""),
            (
                "[submodule \"a\"]\n\tpath = lib/a\n\turl = https://host/a.git\n",
                "a|lib/a|https://host/a.git;",
            ),
            ("[submodule \"a\"]\r\n path=a/\r\n url=../a # why\r\n", "a|a|../a;"),
            (
                "# c\n; c\n[core]\n x = y\n[SubModule \"A b\"] path = x y  \n Url = \"../b ; c\" ; d\n",
                "A b|x y|../b ; c;",
            ),
            (
                "[submodule \"a\"]\nurl = 1\n[submodule \"b\"]\nurl = 2\n[submodule \"a\"]\nurl = 3",
                "a||3;b||2;",
            ),
            ("[submodule \"a\"]\nupdate = none", "a|| skipped;"),
            ("[submodule \"a\"]\nupdate = !rm -rf /", "a||;"),
            ("[submodule \"a\\\"\\\\b\"]\nurl = a\\\nb\\tc\nfetchRecurseSubmodules", "a\"\\b||ab\tc;"),
            ("[submodule]\nurl = x\nurl = y", ""),
            ("[submodule.a]\nurl = x", ""),
            ("[submodule \"a\"", "! .gitmodules, line 1: a section is not closed"),
            ("[submodule \"a\n\"]", "! .gitmodules, line 2: a name is not closed"),
            ("\n[submodule \"a\"]\nurl = \"x\n", "! .gitmodules, line 4: a quotation is not closed"),
            ("[submodule \"a\"]\nurl x", "! .gitmodules, line 2: a setting without '='"),
            (
                "[submodule \"a\"]\nurl = \\x",
                "! .gitmodules, line 2: a value with '\\' before nothing that it is for",
            ),
            ("=", "! .gitmodules, line 1: neither a section nor a setting"),
        ] {
            assert_eq!(told(text), want, "{text:?}");
        }
    }

    #[test]
    fn many_submodules_are_too_many() {
        let text: String = (0..5000).map(|n| format!("[submodule \"{n}\"]\n")).collect();
        assert!(told(&text).contains("4096"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_written_does_harm(text in "(\\[submodule \"|\"\\]\n|url|path| = |\\\\|\"|#|\n|\\PC){0,30}") {
            let first = told(&text);
            proptest::prop_assert_eq!(told(&text), first);
        }
    }
}
