//! What a terminal shows of what was written to it.
//!
//! A model of what terminals have in common that draw rows anew when they become narrower (those of GNOME, KDE, macOS, Windows, tmux):
//! characters of one and of two columns, wrapping, scrolling, the cursor, erasing. A sequence that it does not know fails the test.

use std::mem::take;

/// A terminal, with all that has left it above.
#[derive(Clone, Debug)]
pub struct Picture {
    width: usize,
    height: usize,
    rows: Vec<Row>,
    row: usize,
    column: usize,
    wraps: bool,
    shows_cursor: bool,
    /// The beginning of a sequence.
    begun: String,
    wrapped: usize,
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// A character, and nothing in the second column of one that has two.
    cells: Vec<Option<char>>,
    /// Its line goes on in the next row.
    goes_on: bool,
}

impl Picture {
    /// An empty terminal of so many columns and rows.
    pub fn new(width: usize, height: usize) -> Picture {
        Picture {
            width,
            height,
            rows: vec![Row::default()],
            row: 0,
            column: 0,
            wraps: true,
            shows_cursor: true,
            begun: String::new(),
            wrapped: 0,
        }
    }

    /// All rows from the first that was ever written, without blanks at their ends; the empty ones at the end are left out.
    pub fn rows(&self) -> Vec<String> {
        let text = |row: &Row| row.cells.iter().flatten().collect::<String>().trim_end().to_owned();
        let mut rows: Vec<String> = self.rows.iter().map(text).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// How often a line was too long for its row.
    pub fn wrapped(&self) -> usize {
        self.wrapped
    }

    /// Whether it is as a program should leave it: the cursor shown at the beginning of a row, and lines wrapping.
    pub fn is_at_rest(&self) -> bool {
        self.shows_cursor && self.wraps && self.column == 0 && self.begun.is_empty()
    }

    /// Shows what was written.
    pub fn write(&mut self, text: &str) {
        for character in text.chars() {
            match (self.begun.is_empty(), character) {
                (false, _) => self.sequence(character),
                (true, '\x1b') => self.begun.push(character),
                (true, '\r') => self.column = 0,
                // The driver adds the carriage return.
                (true, '\n') => (self.row, self.column) = (self.row + 1, 0),
                (true, _) => self.put(character),
            }
            while self.rows.len() <= self.row {
                self.rows.push(Row::default());
            }
        }
    }

    /// The row at the top of what is seen.
    fn top(&self) -> usize {
        self.rows.len().saturating_sub(self.height)
    }

    fn put(&mut self, character: char) {
        let columns = columns(character);
        assert!(!character.is_control(), "{character:?} is obeyed");
        if columns == 0 {
            return;
        }
        if self.column + columns > self.width {
            if self.wraps {
                self.wrapped += 1;
                self.rows[self.row].goes_on = true;
                (self.row, self.column) = (self.row + 1, 0);
                if self.rows.len() <= self.row {
                    self.rows.push(Row::default());
                }
            } else {
                self.column = self.width.saturating_sub(columns);
            }
        }
        let cells = &mut self.rows[self.row].cells;
        cells.resize(cells.len().max(self.column + columns), Some(' '));
        cells[self.column] = Some(character);
        if columns == 2 {
            cells[self.column + 1] = None;
        }
        self.column += columns;
    }

    fn sequence(&mut self, character: char) {
        self.begun.push(character);
        if character == '[' || !('\x40'..='\x7e').contains(&character) {
            return;
        }
        let sequence = take(&mut self.begun);
        let numbers = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix(character));
        let numbers = numbers.unwrap_or_else(|| panic!("{sequence:?} is no sequence"));
        let count = numbers.parse().unwrap_or(1);
        match (numbers, character) {
            (_, 'A') => self.row = self.row.saturating_sub(count).max(self.top()),
            ("", 'K') => self.rows[self.row].cells.truncate(self.column),
            ("", 'J') => {
                self.rows[self.row].cells.truncate(self.column);
                // What is erased is still there, and empty.
                self.rows[self.row + 1..].iter_mut().for_each(|row| *row = Row::default());
            }
            ("?25", 'l' | 'h') => self.shows_cursor = character == 'h',
            ("?7", 'l' | 'h') => self.wraps = character == 'h',
            (_, 'm') => {}
            _ => panic!("{sequence:?} is not known"),
        }
        if matches!(character, 'K' | 'J') {
            self.rows[self.row].goes_on = false;
        }
    }

    /// Has another size from now on: each line is laid out anew.
    pub fn resize(&mut self, width: usize, height: usize) {
        let old = take(&mut self.rows);
        let cursor = (take(&mut self.row), take(&mut self.column));
        (self.width, self.height) = (width, height);
        self.rows.push(Row::default());
        let mut column = 0;
        for (number, row) in old.into_iter().enumerate() {
            for (at, cell) in row.cells.iter().enumerate() {
                if (number, at) == cursor {
                    (self.row, self.column) = (self.rows.len() - 1, column);
                }
                let Some(character) = cell else { continue };
                let columns = columns(*character);
                if column + columns > width {
                    self.rows.last_mut().expect("a row").goes_on = true;
                    self.rows.push(Row::default());
                    column = 0;
                }
                let last = self.rows.last_mut().expect("a row");
                last.cells.push(Some(*character));
                last.cells.resize(last.cells.len() + columns - 1, None);
                column += columns;
            }
            if number == cursor.0 && cursor.1 >= row.cells.len() {
                (self.row, self.column) = (self.rows.len() - 1, column.min(width));
            }
            if !row.goes_on {
                self.rows.push(Row::default());
                column = 0;
            }
        }
        self.rows.pop();
        while self.rows.len() > self.row + 1 && self.rows.last().is_some_and(|row| row.cells.is_empty()) {
            self.rows.pop();
        }
    }
}

/// How many columns terminals give to a character: those that tests use.
fn columns(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2705 | 0x26a1 | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xff01..=0xff60 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1faff => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize, height: usize, text: &str) -> (String, usize) {
        let mut picture = Picture::new(width, height);
        picture.write(text);
        (picture.rows().join("|"), picture.wrapped())
    }

    #[test]
    fn it_shows_what_terminals_show() {
        for (text, want, wrapped) in [
            ("abc\ndef\n", "abc|def", 0),
            ("abcd\n", "abcd", 0),
            ("abcde\n", "abcd|e", 1),
            ("\u{65e5}\u{672c}\u{8a9e}", "\u{65e5}\u{672c}|\u{8a9e}", 1),
            ("a\u{65e5}\u{672c}", "a\u{65e5}|\u{672c}", 1),
            ("\x1b[?7labcdef\x1b[?7h\n", "abcf", 0),
            ("ab\rc\x1b[K", "c", 0),
            ("a\nb\nc\n\x1b[2A\rX\n", "a|X|c", 0),
            ("a\nb\nc\nd\n\x1b[9A\rX\x1b[J", "a|b|X", 0),
            ("\x1b[31mred\x1b[0m", "red", 0),
        ] {
            assert_eq!(shown(4, 3, text), (want.to_owned(), wrapped), "{text:?}");
        }
    }

    #[test]
    fn a_line_is_laid_out_anew() {
        let mut picture = Picture::new(6, 9);
        picture.write("abcdef\ngh\n");
        picture.resize(4, 9);
        assert_eq!(picture.rows(), ["abcd", "ef", "gh"]);
        picture.write("\x1b[1A\rGH\nend");
        assert_eq!(picture.rows(), ["abcd", "ef", "GH", "end"]);
        picture.resize(8, 9);
        picture.write("ing");
        assert_eq!(picture.rows(), ["abcdef", "GH", "ending"]);
    }
}
