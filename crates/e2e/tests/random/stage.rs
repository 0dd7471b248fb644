//! The text of a random Dockerfile.

use super::Dice;

/// What one Dockerfile is written with.
struct Writer<'d> {
    dice: &'d mut Dice,
    newer: bool,
    /// How many stages there are before this one.
    stages: usize,
    out: String,
}

const SOURCES: &[&str] = &[
    "a", "b", "c", "d", ".", "./", "d/", "*", "*.txt", "d/*", "?", "[a-c]", "d/.", "./d/../a", "/a", "/",
    "x.txt", "*/a", ".hidden", "e-f", "A", "$A", "d*", "../a", "**/a", "y.txt", "z.go",
];
const TAKEN: &[&str] = &[
    "/r",
    "/r/",
    "/r/*",
    "/data",
    "/data/one",
    "/to-data",
    "/to-data/",
    "/to-data/sub",
    "/w",
    "/data/s*",
    "/etc/passwd",
    "/data/../data/one",
    "/far",
    "/far/sub/two",
    "/r/a",
    "/r/new",
    "data/one",
    "/d*/one",
];
const PLACES: &[&str] = &[
    "/r/",
    "/r",
    "/r/new",
    "/r/deep/er/",
    "/",
    ".",
    "./",
    "rel",
    "rel/",
    "/to-data/",
    "/to-data",
    "/to-data/in/",
    "/data",
    "/data/",
    "/data/one",
    "/data/sub",
    "/far/",
    "/far/two",
    "$B",
    "/r/$A",
    "/w/x/../y/",
    "/to-one",
    "//r//s/",
    "..",
    "/dangling",
    "/dangling/x",
    "/loop",
];
const WORDS: &[&str] = &[
    "x",
    "$A",
    "${B}",
    "${A:-none}",
    "${Z:-$B}",
    "${A:+set}",
    "${Z:+set}",
    "\"$A $B\"",
    "'$A'",
    "\\$A",
    "a\\ b",
    "\"q \\\"r\\\"\"",
    "$A$B",
    "${A}b",
    "pre-$P",
    "\"\"",
    "''",
    "a=b",
    "$$A",
    "\\\\",
    "\"a'b\"",
    "'a\"b'",
    "$Z",
    "${Z:-${B:-$A}}",
    "#no",
];
const NEWER_WORDS: &[&str] = &[
    "${A#x}",
    "${B##*/}",
    "${B%/*}",
    "${A%%b*}",
    "${B/r/q}",
    "${B//d/D}",
    "${A-none}",
    "${Z-none}",
    "${A+set}",
    "${B#/}",
    "${B/\\//-}",
    "${W%?}",
    "${B#*[a-d]}",
    "${A:-${B#/}}",
];
const OWNERS: &[&str] =
    &["app", "app:app", "7", "7:8", "1000:wheel", "root", "0:0", "app:5", "nobody", ":app", "$U"];
/// Directories that are made on the way are 0755 with each of these; with others, builders differ about them.
const MODES: &[&str] = &["755", "0755", "4755", "1755"];
const SYMBOLIC: &[&str] = &["u+x", "go-rwx", "a=r", "g=u,o=", "u=rwX,go=rX", "+w", "o+t"];
const COMMANDS: &[&str] = &[
    "mkdir -p /r/made/deep",
    "echo \"$A $B $P\" > /r/said",
    "rm -rf /data/sub",
    "rm -rf /data/one",
    "ln -s /data /r/l",
    "ln -sf one /data/new",
    "chmod 4750 /r/said",
    "chown -R 3:4 /r",
    "mv /data/sub /r/moved",
    "cp -a /data /r/copied",
    "ln /data/one /r/hard",
    "rm -rf /r",
    "mkdir -m 1777 /r/sticky",
    "touch /data/sub/touched",
    "pwd > /r/pwd",
    "id > /r/id",
    "umask > /r/umask",
    "echo x > rel-out",
    "rm -rf /data && mkdir /data && echo n > /data/one",
    "rm -f /to-data; mkdir /to-data",
    "mkfifo /r/pipe",
    "env | grep -v '^HOSTNAME=' | sort > /r/env",
    "ls -la / /r /data > /dev/null",
    "chmod 700 /data",
    "mv /data /moved; mkdir /data",
    "dd if=/dev/zero of=/r/hole bs=1 count=1 seek=100000",
    "mkdir /r/opaque; echo 1 > /r/opaque/f; rm -r /r/opaque; mkdir /r/opaque",
    "echo $0 $# > /r/shell",
    "ls -l /proc/self/fd | wc -l > /r/fds",
    "cat /proc/self/status | grep -E '^(Cap|NoNew|Groups|Uid|Gid)' > /dev/null",
    "printf 'a\\n\\tb' > /r/printed",
];

/// A Dockerfile of one to four stages.
pub(super) fn dockerfile(dice: &mut Dice, newer: bool) -> String {
    let mut writer = Writer { dice, newer, stages: 0, out: String::new() };
    writer.file();
    writer.out
}

impl Writer<'_> {
    fn file(&mut self) {
        if self.dice.percent(10) {
            self.line("# escape=\\");
        }
        if self.dice.percent(50) {
            self.line("ARG P=global");
            self.line("ARG Q=base");
        }
        let global = self.out.contains("ARG Q");
        let count = 1 + self.dice.below(4);
        for number in 0..count {
            let base = match self.dice.below(10) {
                0..3 if number > 0 => format!("s{}", self.dice.below(number)),
                3 if global => "${Q:-x}".to_owned(),
                4 => "scratch".to_owned(),
                _ => "base".to_owned(),
            };
            let from = self.dice.one(&["FROM", "from", "From"]);
            self.line(&format!("{from} {base} AS s{number}"));
            if self.dice.percent(60) {
                self.line("ENV A=xab B=/r/dir");
            }
            if self.dice.percent(30) {
                self.line("ARG P");
            }
            if self.dice.percent(30) {
                self.line("ARG U=12:34");
            }
            if base != "scratch" && self.dice.percent(80) {
                self.line("RUN mkdir -p /r; chmod 777 /r");
            }
            for _ in 0..1 + self.dice.below(7) {
                let instruction = self.instruction(base == "scratch");
                let late = self.dice.percent(4) && !instruction.contains("<<");
                self.line(&if late { format!("ONBUILD {instruction}") } else { instruction });
            }
            self.stages += 1;
        }
    }

    fn line(&mut self, line: &str) {
        if self.dice.percent(5) {
            self.out.push_str("# a remark\n");
        }
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn instruction(&mut self, is_empty: bool) -> String {
        match self.dice.below(22) {
            0..5 => self.copy("COPY"),
            5 => self.copy("ADD"),
            6..8 if self.stages > 0 => self.copy_from(),
            8 if self.stages > 0 => self.bind(is_empty),
            6..13 if !is_empty => self.run(),
            13 => format!(
                "WORKDIR {}",
                self.dice.one(&["/w", "w", "../w", "/to-data", "$B", "/w/x", "\"/w d\"", "."])
            ),
            14 => self.pairs("ENV", &["A", "B", "Z", "W", "PATH"]),
            15 => self.pairs("LABEL", &["a", "a.b", "\"c d\"", "e$A"]),
            16 => format!("ARG {}={}", self.dice.one(&["A", "P", "Z", "R"]), self.word()),
            17 if !is_empty => format!(
                "USER {}",
                self.dice.one(&["app", "0", "root", "1000:10", "nobody", "7", "app:audio"])
            ),
            18 => self
                .dice
                .one(&[
                    "CMD [\"a\", \"$A\"]",
                    "CMD run $A \"x\"",
                    "ENTRYPOINT [\"/e\"]",
                    "ENTRYPOINT go 'on'",
                    "CMD [bad]",
                    "CMD []",
                ])
                .to_owned(),
            19 => self
                .dice
                .one(&[
                    "EXPOSE 80",
                    "EXPOSE 53/udp 90-92",
                    "VOLUME /v $B",
                    "VOLUME [\"/v\"]",
                    "STOPSIGNAL SIGINT",
                    "STOPSIGNAL 9",
                ])
                .to_owned(),
            20 => self
                .dice
                .one(&[
                    "SHELL [\"/bin/sh\", \"-ec\"]",
                    "HEALTHCHECK NONE",
                    "HEALTHCHECK --interval=5s --retries=2 CMD a $A",
                    "HEALTHCHECK CMD [\"x\"]",
                ])
                .to_owned(),
            _ => self.pairs("ENV", &["A", "B"]),
        }
    }

    fn word(&mut self) -> &'static str {
        if self.newer && self.dice.percent(40) { self.dice.one(NEWER_WORDS) } else { self.dice.one(WORDS) }
    }

    fn pairs(&mut self, name: &str, keys: &[&str]) -> String {
        if self.dice.percent(15) {
            return format!("{name} {} {}", self.dice.one(&keys[..1]), self.word());
        }
        let mut line = name.to_owned();
        for _ in 0..=self.dice.below(2) {
            let key = self.dice.one(keys);
            let value = if key == "PATH" { "/bin:/usr/bin:/more" } else { self.word() };
            let between = if self.dice.percent(10) { " \\\n  " } else { " " };
            line.push_str(&format!("{between}{key}={value}"));
        }
        line
    }

    fn flags(&mut self) -> String {
        let mut flags = String::new();
        if self.dice.percent(25) {
            flags.push_str(&format!(" --chown={}", self.dice.one(OWNERS)));
        }
        if self.newer {
            // With both of them, BuildKit forgets `--link`.
            if self.dice.percent(20) {
                let modes = if self.dice.percent(50) { SYMBOLIC } else { MODES };
                flags.push_str(&format!(" --chmod={}", self.dice.one(modes)));
            } else if self.dice.percent(20) {
                flags.push_str(" --link");
            }
            if self.dice.percent(10) {
                flags.push_str(&format!(" --exclude={}", self.dice.one(&["*/b", "two words/*", "sub/**"])));
            }
        }
        flags
    }

    fn copy(&mut self, name: &str) -> String {
        let flags = self.flags();
        if self.newer && self.dice.percent(8) {
            return format!(
                "{name}{flags} <<ONE <<-'TWO' {}/\nfirst $A\nONE\n\tsecond $A\n\tTWO",
                self.dice.one(&["/r", "/h", "rel"])
            );
        }
        let mut words: Vec<&str> = (0..=self.dice.below(3) / 2).map(|_| self.dice.one(SOURCES)).collect();
        words.push(if words.len() > 1 {
            self.dice.one(&["/r/", "/many/", "./", "/to-data/"])
        } else {
            self.dice.one(PLACES)
        });
        if self.dice.percent(15) {
            return format!("{name}{flags} {words:?}");
        }
        format!("{name}{flags} {}", words.join(" "))
    }

    fn copy_from(&mut self) -> String {
        let flags = self.flags();
        let from = self.from();
        format!("COPY --from={from}{flags} {} {}", self.dice.one(TAKEN), self.dice.one(PLACES))
    }

    fn from(&mut self) -> String {
        match self.dice.below(6) {
            0 => "base".to_owned(),
            1 => self.dice.below(self.stages).to_string(),
            _ => format!("s{}", self.dice.below(self.stages)),
        }
    }

    fn bind(&mut self, is_empty: bool) -> String {
        if is_empty {
            return self.copy_from();
        }
        let (from, mode) = (self.from(), self.dice.one(&["", ",rw", ",readonly"]));
        let places = ["/data/sub", "/to-data/sub", "/tmp", "/m", "/r/m", "m", "/to-data/m"];
        let target = self.dice.one(&places[..if self.newer { places.len() } else { 3 }]);
        let source = self.dice.one(&["/data", "/to-data", "/data/one", "/", "data/sub"]);
        let script = self.dice.one(&[
            "true",
            "ls -A /m > /r/listed",
            "echo x > /m/one; true",
            "cp -a /data/sub /r/bound",
        ]);
        format!(
            "RUN --mount=from={from},source={source},target={target}{mode} ({script}) 2> /dev/null || true"
        )
    }

    fn run(&mut self) -> String {
        let count = 1 + self.dice.below(3);
        let commands: Vec<&str> = (0..count).map(|_| self.dice.one(COMMANDS)).collect();
        match self.dice.below(10) {
            0 => format!("RUN [\"sh\", \"-c\", {:?}]", commands[0]),
            1 if self.newer => format!("RUN <<E\n{}\ntrue\nE", commands.join("\n")),
            2 if self.newer => "RUN cat <<E > /r/doc; true\n$A ${B} \\$A\nE".to_owned(),
            3 => format!("RUN {} ; \\\n  # within\n  true", commands.join("; \\\n")),
            // BuildKit of Dockerfile 1.2 leaves what it has made to mount on.
            number @ (4 | 5) => {
                let target = if self.newer { "/r/t" } else { "/tmp" };
                let kind = if number == 4 { "tmpfs" } else { "cache" };
                format!("RUN --mount=type={kind},target={target} ({}); true", commands.join("; "))
            }
            _ => format!("RUN ({}) 2> /dev/null; true", commands.join("; ")),
        }
    }
}
