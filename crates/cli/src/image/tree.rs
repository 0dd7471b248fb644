//! `images --tree`: names, and below each the platforms that it leads to. Those that are not here are faint.

use std::fmt::Write as _;
use std::io::stdout;

use engine::info::{ImagePlatform, ImageSummary, ImageTree};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, units};

const UNTAGGED: &str = "<untagged>";
/// Between two columns.
const SPACE: &str = "   ";
/// What follows the name: title, width, and whether it stands to the right.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];
/// The narrowest that names become on a terminal, for the sake of the other columns.
const NARROWEST: usize = 12;

const BOLD: &str = "1";
const NAME: &str = "1;34";
const FAINT: &str = "2";
const CHIP: &str = "30;42";

/// Refuses what makes no sense with a tree.
pub(super) fn check(parsed: &Parsed) -> Result<()> {
    let with_text = |name: &str| parsed.text(name).is_some_and(|text| !text.is_empty());
    for (is_given, conflict) in [
        (parsed.on("quiet"), "--quiet is not yet supported with --tree"),
        (parsed.on("no-trunc"), "--no-trunc is not yet supported with --tree"),
        (parsed.on("digests"), "--show-digest is not yet supported with --tree"),
        (with_text("format"), "--format is not yet supported with --tree"),
    ] {
        if is_given {
            return Err(Error::Conflict(conflict));
        }
    }
    Ok(())
}

/// Shows `images`; those without a name only if `all` is.
pub(super) fn run(context: &Context, images: &[&ImageSummary], all: bool) -> Result<u8> {
    let mut trees = context.engine()?.image_tree(images)?;
    trees.retain(|tree| all || !tree.names.is_empty());
    trees.sort_by(|a, b| (a.names.is_empty(), &a.names).cmp(&(b.names.is_empty(), &b.names)));
    let is_terminal = rustix::termios::isatty(stdout());
    let width = is_terminal.then(output::width);
    output::print(&render(&trees, width));
    Ok(0)
}

/// As many columns as there is room for; all where nobody says how much there is. Colours are for terminals.
fn render(trees: &[ImageTree], width: Option<usize>) -> String {
    let names = trees.iter().flat_map(|tree| &tree.names).map(|name| name.chars().count());
    let platforms = trees.iter().flat_map(|tree| &tree.platforms);
    let platforms = platforms.map(|platform| platform.platform.chars().count() + 3);
    let nameless = trees.iter().filter(|tree| tree.names.is_empty()).map(|_| UNTAGGED.len());
    let widest = names.chain(platforms).chain(nameless).max().unwrap_or(0).max("IMAGE".len());
    let mut left = width.unwrap_or(usize::MAX);
    let mut columns = 0;
    for (_, column, _) in COLUMNS {
        let needed = column + SPACE.len();
        if left < needed + NARROWEST {
            break;
        }
        left -= needed;
        columns += 1;
    }
    let view = View { name: widest.min(left.max(NARROWEST)), columns, colours: width.is_some() };
    view.render(trees)
}

struct View {
    /// Columns that names take.
    name: usize,
    /// How many of the other columns there are.
    columns: usize,
    colours: bool,
}

impl View {
    fn render(&self, trees: &[ImageTree]) -> String {
        let mut out = String::new();
        if self.colours {
            let _ = writeln!(out, "i Info → {} In Use", self.paint(CHIP, " U "));
        }
        out.push_str(&self.paint(BOLD, &self.name("IMAGE")));
        for (title, width, to_right) in COLUMNS.into_iter().take(self.columns) {
            out.push_str(SPACE);
            out.push_str(&self.paint(BOLD, &cell(title, width, to_right)));
        }
        out.push('\n');
        for tree in trees {
            self.tree(&mut out, tree);
            out.push('\n');
        }
        out
    }

    fn tree(&self, out: &mut String, tree: &ImageTree) {
        match tree.names.split_last() {
            None => out.push_str(&self.paint(FAINT, &self.name(UNTAGGED))),
            Some((last, others)) => {
                for name in others {
                    let _ = writeln!(out, "{}", self.paint(NAME, &self.name(name)));
                }
                out.push_str(&self.paint(NAME, &self.name(last)));
            }
        }
        self.details(out, "", &tree.id, [tree.size, tree.content_size], tree.in_use);
        for (place, platform) in tree.platforms.iter().enumerate() {
            let branch = if place + 1 == tree.platforms.len() { "└─ " } else { "├─ " };
            let colour = if platform.is_here { "" } else { FAINT };
            out.push_str(&self.paint(colour, &self.name(&format!("{branch}{}", platform.platform))));
            let ImagePlatform { id, size, content_size, in_use, .. } = platform;
            self.details(out, colour, id, [*size, *content_size], *in_use);
        }
    }

    fn details(&self, out: &mut String, colour: &str, id: &str, sizes: [u64; 2], in_use: bool) {
        let [size, content] = sizes.map(|size| units::size(size, 3));
        let texts = [units::short_id(id), &size, &content];
        for (text, (_, width, to_right)) in texts.into_iter().zip(COLUMNS).take(self.columns) {
            out.push_str(SPACE);
            out.push_str(&self.paint(colour, &cell(text, width, to_right)));
        }
        if self.columns == COLUMNS.len() {
            out.push_str(SPACE);
            let chip = if in_use { self.paint(CHIP, " U ") } else { "   ".to_owned() };
            let _ = write!(out, "{chip}  ");
        }
        out.push('\n');
    }

    /// A name, cut where it is too long.
    fn name(&self, text: &str) -> String {
        let length = text.chars().count();
        if length <= self.name {
            return cell(text, self.name, false);
        }
        let kept: String = text.chars().take(self.name.saturating_sub(3)).collect();
        format!("{kept}...")
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.colours && !colour.is_empty() {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn cell(text: &str, width: usize, to_right: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
    if to_right { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees() -> Vec<ImageTree> {
        let platform = |platform: &str, id: &str, is_here, in_use| ImagePlatform {
            platform: platform.to_owned(),
            id: format!("sha256:{}", id.repeat(64)),
            is_here,
            size: if is_here { 12_345_678 } else { 0 },
            content_size: if is_here { 4_000_000 } else { 0 },
            in_use,
        };
        let tree = |names: &[&str], platforms: Vec<ImagePlatform>| ImageTree {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            id: platforms[0].id.clone(),
            size: platforms.iter().map(|platform| platform.size).sum(),
            content_size: platforms.iter().map(|platform| platform.content_size).sum(),
            in_use: platforms.iter().any(|platform| platform.in_use),
            platforms,
        };
        let amd = platform("linux/amd64", "a", true, true);
        let missing = platform("linux/arm/v7", "b", false, false);
        vec![
            tree(&["app:1", "app:latest"], vec![amd, missing]),
            tree(&[], vec![platform("linux/s390x", "c", true, false)]),
        ]
    }

    #[test]
    fn names_stand_above_their_platforms() {
        let lines = [
            "IMAGE             ID             DISK USAGE   CONTENT SIZE   EXTRA",
            "app:1          ",
            "app:latest        aaaaaaaaaaaa       12.3MB            4MB    U   ",
            "├─ linux/amd64    aaaaaaaaaaaa       12.3MB            4MB    U   ",
            "└─ linux/arm/v7   bbbbbbbbbbbb           0B             0B        ",
            "",
            "<untagged>        cccccccccccc       12.3MB            4MB        ",
            "└─ linux/s390x    cccccccccccc       12.3MB            4MB        ",
            "",
        ];
        assert_eq!(render(&trees(), None).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns_and_what_is_not_here_is_faint() {
        let wide = render(&trees(), Some(80));
        assert!(wide.starts_with("i Info → \x1b[30;42m U \x1b[0m In Use\n"), "{wide}");
        assert!(wide.contains("\x1b[2m└─ linux/arm/v7\x1b[0m   \x1b[2mbbbbbbbbbbbb\x1b[0m"), "{wide}");
        let narrow = render(&trees(), Some(30));
        assert!(narrow.contains("ID") && !narrow.contains("DISK"), "{narrow}");
        let narrowest = render(&trees(), Some(10));
        assert!(narrowest.contains("├─ linux/..."), "{narrowest}");
    }
}
