//! Random builds: a context, an ignore file and a Dockerfile of several stages, all told by one number.
//!
//! Words are drawn from small sets, so that they meet: a copy finds what another stage has made, goes through links, onto files.
//! Some builds fail, on purpose.

mod stage;

use std::path::Path;

/// Numbers that follow from a first one (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Whether something of this probability is so.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A file of a context.
#[derive(Debug)]
enum Content {
    Directory(u32),
    File(u32, String),
    Link(String),
    /// Another name of a file.
    Name(String),
}

/// A build.
#[derive(Debug)]
pub(crate) struct Case {
    files: Vec<(String, Content)>,
    ignored: Option<String>,
    pub(crate) dockerfile: String,
    pub(crate) flags: Vec<String>,
}

const NAMES: &[&str] =
    &["a", "b", "c", "d", "x.txt", "y.txt", "z.go", "A", "two words", "ünï", ".hidden", "e-f"];
const LINKS: &[&str] = &[
    "a",
    "b",
    "../a",
    "/a",
    "/d/b",
    "d",
    "..",
    ".",
    "nowhere",
    "/nowhere",
    "x.txt",
    "d/../b",
    "../../../../a",
];
const PATTERNS: &[&str] = &[
    "*.txt",
    "**/*.txt",
    "!**/y.txt",
    "a",
    "/b",
    "c/",
    "d/*",
    "!d/a",
    "**/a",
    "*/b",
    "# a",
    "",
    " b ",
    "?",
    "[a-c]",
    "!.",
    "**",
    "!*.go",
    "./c",
    "d/../b",
    "e-f",
    "two words",
    "*/*/*",
    "!**/x.txt",
    "**/d/**",
    "d/**/b",
    "[!a]",
    ".*",
];

impl Case {
    /// The build of a number. `newer` uses what came after Dockerfile 1.2.
    pub(crate) fn new(seed: u64, newer: bool) -> Case {
        let mut dice = Dice::new(seed);
        let files = files(&mut dice);
        let ignored = dice.percent(40).then(|| {
            let lines: Vec<&str> = (0..=dice.below(4)).map(|_| dice.one(PATTERNS)).collect();
            lines.join("\n")
        });
        let dockerfile = stage::dockerfile(&mut dice, newer);
        let mut flags = Vec::new();
        for (percent, flag) in
            [(20, "--build-arg=P=given"), (10, "--build-arg=A=over"), (10, "--label=by=hand")]
        {
            if dice.percent(percent) {
                flags.push(flag.to_owned());
            }
        }
        Case { files, ignored, dockerfile, flags }
    }

    /// Writes the context into an empty folder.
    pub(crate) fn lay_out(&self, folder: &Path) {
        use std::os::unix::fs::{PermissionsExt, symlink};
        for (path, content) in &self.files {
            let path = folder.join(path);
            // A name that was drawn twice, or lies in something that is no directory.
            let made = match content {
                Content::Directory(_) => std::fs::create_dir(&path),
                Content::File(_, text) => std::fs::write(&path, text),
                Content::Link(target) => symlink(target, &path),
                Content::Name(of) => std::fs::hard_link(folder.join(of), &path),
            };
            if let (Ok(()), Content::Directory(mode) | Content::File(mode, _)) = (made, content) {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
        if let Some(ignored) = &self.ignored {
            std::fs::write(folder.join(".dockerignore"), ignored).unwrap();
        }
        std::fs::write(folder.join("Dockerfile"), &self.dockerfile).unwrap();
    }

    /// All of it, for who looks at a difference.
    pub(crate) fn shown(&self) -> String {
        let Case { files, ignored, dockerfile, flags } = self;
        format!("{dockerfile}\nflags: {flags:?}\nignored: {ignored:?}\nfiles: {files:?}")
    }
}

fn files(dice: &mut Dice) -> Vec<(String, Content)> {
    let mut folders = vec![String::new()];
    let mut files: Vec<(String, Content)> = Vec::new();
    let mut plain: Vec<String> = Vec::new();
    // What most copies ask for.
    for (path, is_directory) in [("a", false), ("d", true), ("d/b", false), ("b", false), ("x.txt", false)] {
        let has_folder = path.len() < 3 || files.iter().any(|(known, _)| known == "d");
        if !has_folder || dice.percent(20) {
            continue;
        }
        let content =
            if is_directory { Content::Directory(0o755) } else { Content::File(0o644, format!("{path}\n")) };
        if is_directory {
            folders.push(format!("{path}/"))
        } else {
            plain.push(path.to_owned())
        }
        files.push((path.to_owned(), content));
    }
    for number in 0..4 + dice.below(14) {
        let folder = folders[dice.below(folders.len())].clone();
        let path = format!("{folder}{}", dice.one(NAMES));
        if files.iter().any(|(known, _)| *known == path) {
            continue;
        }
        let content = match dice.below(10) {
            0..3 => {
                folders.push(format!("{path}/"));
                Content::Directory([0o755, 0o700, 0o1777, 0o2755, 0o511][dice.below(5)])
            }
            3..5 => Content::Link(dice.one(LINKS).to_owned()),
            5 if !plain.is_empty() => Content::Name(plain[dice.below(plain.len())].clone()),
            _ => {
                plain.push(path.clone());
                let mode = [0o644, 0o600, 0o755, 0o4755, 0o440, 0o2711][dice.below(6)];
                Content::File(mode, format!("content {number}\n"))
            }
        };
        files.push((path, content));
    }
    files
}
