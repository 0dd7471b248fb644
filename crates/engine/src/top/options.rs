//! The options of `ps`, as far as they choose columns; those that choose processes have nothing to say here.
//!
//! Three styles, as `ps` has them: with a dash (`-ef`), without one (`aux`), and long ones (`--format`). Lists of columns
//! may be given several times, and stand behind what else was chosen.

use super::columns::Column;
use crate::{Error, Result};

const FULL: &str = "user=UID,pid,ppid,c,stime,tname,time,cmd";
const EXTRA_FULL: &str = "user=UID,pid,ppid,c,sz,rss,psr,stime,tname,time,cmd";
const LONG: &str = "f,s,uid,pid,ppid,c,opri,ni,addr,sz,wchan,tname,time,ucmd";
const LONG_FULL: &str = "f,s,user=UID,pid,ppid,c,opri,ni,addr,sz,wchan,stime,tname,time,cmd";
const JOBS: &str = "pid,pgid,sid,tname,time,ucmd";
const JOBS_FULL: &str = "user=UID,pid,ppid,pgid,sid,c,stime,tname,time,cmd";
const PLAIN: &str = "pid,tname,time,ucmd";
const BSD: &str = "pid,tname=TTY,stat,bsdtime=TIME,args";
const BSD_USER: &str = "user,pid,%cpu,%mem,vsz,rss,tname,stat,start_time,bsdtime,args";
const BSD_LONG: &str = "f,uid,pid,ppid,priority,ni,vsz,rss,wchan,stat,tname,bsdtime,args";
const BSD_JOBS: &str = "ppid,pid,pgid,sid,tname,tpgid,stat,uid,bsdtime,args";

/// What the letters have asked for.
#[derive(Default)]
struct Chosen {
    full: bool,
    extra: bool,
    long: bool,
    jobs: bool,
    /// A word without a dash.
    bsd: bool,
    bsd_layout: Option<&'static str>,
    columns: Vec<Column>,
}

/// The columns that `words` ask for; those of `-ef` without any.
pub(super) fn parse(words: &[String]) -> Result<Vec<Column>> {
    if words.is_empty() {
        return list(FULL);
    }
    let mut chosen = Chosen::default();
    let mut words = words.iter().flat_map(|word| word.split_ascii_whitespace());
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            chosen.long_option(word, long, &mut words)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            chosen.dashed(word, letters, &mut words)?;
        } else {
            chosen.undashed(word, &mut words)?;
        }
    }
    if !chosen.columns.is_empty() {
        return Ok(chosen.columns);
    }
    list(chosen.layout())
}

impl Chosen {
    fn dashed<'a>(
        &mut self,
        word: &str,
        letters: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        for (at, letter) in letters.char_indices() {
            match letter {
                // Which processes, how wide, which clock: there is one answer here.
                'e' | 'A' | 'a' | 'd' | 'N' | 'w' | 'y' | 'c' | 'H' => {}
                'f' => self.full = true,
                'F' => (self.full, self.extra) = (true, true),
                'l' => self.long = true,
                'j' => self.jobs = true,
                'o' | 'O' => {
                    let tail = &letters[at + 1..];
                    let text = if tail.is_empty() { rest.next() } else { Some(tail) };
                    return self.add(word, text);
                }
                _ => return Err(unknown(word)),
            }
        }
        Ok(())
    }

    fn undashed<'a>(&mut self, word: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Result<()> {
        self.bsd = true;
        for (at, letter) in word.char_indices() {
            match letter {
                'a' | 'x' | 'w' | 'g' | 'r' | 'T' | 'c' | 'e' | 'f' => {}
                'u' => self.bsd_layout = Some(BSD_USER),
                'l' => self.bsd_layout = Some(BSD_LONG),
                'j' => self.bsd_layout = Some(BSD_JOBS),
                'o' => {
                    let tail = &word[at + 1..];
                    let text = if tail.is_empty() { rest.next() } else { Some(tail) };
                    return self.add(word, text);
                }
                _ => return Err(unknown(word)),
            }
        }
        Ok(())
    }

    fn long_option<'a>(
        &mut self,
        word: &'a str,
        long: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        match name {
            "format" => {
                let text = value.or_else(|| rest.next());
                self.add(word, text)
            }
            "forest" | "headers" => Ok(()),
            _ => Err(unknown(word)),
        }
    }

    fn add(&mut self, word: &str, text: Option<&str>) -> Result<()> {
        let text = text.ok_or_else(|| Error::ProcessOption {
            text: word.to_owned(),
            reason: "needs a list of columns",
        })?;
        self.columns.extend(list(text)?);
        Ok(())
    }

    fn layout(&self) -> &'static str {
        match self {
            Chosen { bsd_layout: Some(layout), .. } => layout,
            Chosen { bsd: true, .. } => BSD,
            Chosen { long: true, full: true, .. } => LONG_FULL,
            Chosen { long: true, .. } => LONG,
            Chosen { jobs: true, full: true, .. } => JOBS_FULL,
            Chosen { jobs: true, .. } => JOBS,
            Chosen { extra: true, .. } => EXTRA_FULL,
            Chosen { full: true, .. } => FULL,
            _ => PLAIN,
        }
    }
}

fn unknown(word: &str) -> Error {
    Error::ProcessOption {
        text: word.chars().take(80).collect(),
        reason: "is not among the options of ps that Skiff knows: -e -f -F -l -j aux -o COLUMNS",
    }
}

/// Columns with commas between them; one with `=` has a title of its own, which reaches to the end: it may hold commas.
/// What is built in gives each column its title, and ends none.
fn list(text: &str) -> Result<Vec<Column>> {
    let built_in =
        [FULL, EXTRA_FULL, LONG, LONG_FULL, JOBS, JOBS_FULL, PLAIN, BSD, BSD_USER, BSD_LONG, BSD_JOBS];
    let is_built_in = built_in.contains(&text);
    let mut columns = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(',').unwrap_or(rest.len());
        let (name, title, after) = match rest.find('=').filter(|at| *at < end) {
            Some(at) if is_built_in => (&rest[..at], Some(&rest[at + 1..end]), &rest[end..]),
            Some(at) => (&rest[..at], Some(&rest[at + 1..]), ""),
            None => (&rest[..end], None, &rest[end..]),
        };
        let fail = || Error::ProcessColumn { name: name.chars().take(80).collect() };
        columns.push(Column::named(name.trim(), title).ok_or_else(fail)?);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(words: &str) -> String {
        let words: Vec<String> =
            words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match parse(&words) {
            Ok(columns) => columns.into_iter().map(|column| column.title).collect::<Vec<_>>().join(" "),
            Err(error) => format!("ERROR {error}"),
        }
    }

    #[test]
    fn options_choose_the_columns_of_ps() {
        for (words, want) in [
            ("", "UID PID PPID C STIME TTY TIME CMD"),
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e -f -ww", "UID PID PPID C STIME TTY TIME CMD"),
            ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
            ("-e", "PID TTY TIME CMD"),
            ("-el", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("auxww", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("axj", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,ppid -o cmd", "PID PPID CMD"),
            (
                "-opid,user=WHO IS IT",
                "ERROR ps: IS is not among the options of ps that Skiff knows: -e -f -F -l -j aux -o COLUMNS",
            ),
            ("-o pid,user=WHO,IS", "PID WHO,IS"),
            ("axo pid,%cpu", "PID %CPU"),
            ("--format=pid,rss", "PID RSS"),
            ("--format pid", "PID"),
            ("-o PID", "PID"),
            ("-o pid,nonsense", "ERROR ps: unknown column: nonsense"),
            ("-o", "ERROR ps: -o needs a list of columns"),
            (
                "-eZ",
                "ERROR ps: -eZ is not among the options of ps that Skiff knows: -e -f -F -l -j aux -o COLUMNS",
            ),
            (
                "--sort=pid",
                "ERROR ps: --sort=pid is not among the options of ps that Skiff knows: -e -f -F -l -j aux -o COLUMNS",
            ),
        ] {
            assert_eq!(titles(words), want, "{words}");
        }
    }
}
