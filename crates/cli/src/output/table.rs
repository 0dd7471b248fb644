//! Columns separated by tabs to columns separated by blanks.

use super::units;

/// No column is narrower, the blanks behind it included.
const MINIMUM: usize = 10;
/// Blanks between two columns.
const PADDING: usize = 3;

/// Lays out lines whose cells end in tabs; what follows the last tab of a line is not padded.
pub(crate) fn layout(text: &str) -> String {
    layout_from(text, MINIMUM)
}

/// The same with another least width of a column.
pub(crate) fn layout_from(text: &str, minimum: usize) -> String {
    padded(text, minimum, PADDING)
}

/// The same without a least width, and so many blanks behind a column.
pub(crate) fn compact(text: &str, padding: usize) -> String {
    padded(text, 0, padding)
}

fn padded(text: &str, minimum: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        for (column, cell) in line[..line.len() - 1].iter().enumerate() {
            if widths.len() <= column {
                widths.push(minimum);
            }
            widths[column] = widths[column].max(units::columns(cell) + padding);
        }
    }
    let mut out = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < line.len() {
                let blanks = widths[column] - units::columns(cell);
                out.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            layout("ID\tNAME\tX\nabcdefabcdef\tä\t\nb\tlongish-name\tz\n"),
            "ID             NAME           X\nabcdefabcdef   ä              \nb              longish-name   z\n"
        );
        assert_eq!(layout("A\tB\n"), "A         B\n");
        assert_eq!(layout(""), "");
        assert_eq!(layout("no tabs\n"), "no tabs\n");
    }
}
