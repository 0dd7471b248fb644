//! Tables of Dockerfiles and what is read from them.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::syntax::{Argument, CommandLine, DirectiveName, Healthcheck, Heredoc, Text};

mod mounts;

fn source(text: &str) -> Source {
    Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap()
}

fn file(text: &str) -> Dockerfile {
    let source = source(text);
    parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)))
}

/// The instructions after `FROM x`.
fn kinds(text: &str) -> Vec<Kind> {
    let file = file(&format!("FROM x\n{text}"));
    file.stages[0].instructions.iter().map(|instruction| instruction.kind.clone()).collect()
}

fn kind(text: &str) -> Kind {
    let [one] = <[Kind; 1]>::try_from(kinds(text)).unwrap_or_else(|more| panic!("{text:?}: {more:?}"));
    one
}

/// An error's words and what its place holds.
fn error(text: &str) -> (String, String) {
    let source = source(text);
    let errors = parse(&source).err().unwrap_or_else(|| panic!("{text:?} is taken"));
    let first = errors.first();
    (first.message.clone(), first.span().map(|span| source.slice(span).to_owned()).unwrap_or_default())
}

fn rendered(text: &str, expected: Expect) {
    let source = source(text);
    expected.assert_eq(&parse(&source).unwrap_err().render(&source));
}

fn values(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.value.as_str()).collect()
}

#[test]
fn a_file_falls_into_stages() {
    let file = file("ARG A=1\nFROM a\nRUN x\nfrom b AS Two\ncopy --from=0 /x /y\n");
    assert_eq!(file.arguments.len(), 1);
    assert_eq!(file.stages.len(), 2);
    let from = &file.stages[1].from.kind;
    assert_eq!((from.base.value.as_str(), from.name.as_ref().unwrap().value.as_str()), ("b", "two"));
    assert_eq!(from.written_name.as_ref().unwrap().value, "Two");
    assert_eq!(file.stages[1].instructions[0].keyword.value, "copy");
}

#[test]
fn lines_are_joined_by_continuations() {
    for (text, expected) in [
        ("RUN a \\\n b", "a  b"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN a \\\r\n b\r\n", "a  b"),
        ("RUN a \\\n# comment\n  # another\n b", "a  b"),
        ("RUN a \\\n\n\n b", "a  b"),
        ("RUN a \\\\\nUSER b", "a \\\\"),
        ("RUN a \\\n\\\nb", "a b"),
        ("  \t RUN a", "a"),
        ("RUN a # no comment", "a # no comment"),
        ("RUN a \\", "a"),
        ("RUN \\\n a", "a"),
        ("RU\\\nN a", "a"),
    ] {
        let kinds = kinds(text);
        let Kind::Run(run) = &kinds[0] else { panic!("{text:?}") };
        let CommandLine::Shell(command) = &run.command else { panic!("{text:?}") };
        assert_eq!(command.value, expected, "{text:?}");
    }
    assert_eq!(file("FROM a\nRUN x \\\n\n y\n").empty_continuations.len(), 1);
    assert!(file("FROM a\nRUN x \\\n# c\n y\n\nRUN z\n").empty_continuations.is_empty());
}

#[test]
fn the_other_escape_character_continues_lines() {
    let file = file("# escape=`\nFROM a\nRUN a `\n b\nCOPY C:\\x C:\\y\\\n");
    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].instructions.len(), 2);
}

#[test]
fn directives_stand_at_the_top_alone() {
    for (text, expected) in [
        ("# syntax=a/b:1\nFROM x", vec![(DirectiveName::Syntax, "a/b:1")]),
        (
            "#SYNTAX = a b \n#Check=skip=all\nFROM x",
            vec![(DirectiveName::Syntax, "a b"), (DirectiveName::Check, "skip=all")],
        ),
        ("\u{feff}# escape=\\\r\nFROM x", vec![(DirectiveName::Escape, "\\")]),
        ("# hello\n# escape=`\nFROM x", vec![]),
        ("\n# escape=`\nFROM x", vec![]),
        ("FROM x\n# escape=`\n", vec![]),
        ("# unknown=1\n# escape=`\nFROM x", vec![]),
        ("  # escape=`\nFROM x", vec![(DirectiveName::Escape, "`")]),
        ("# escape=\nFROM x", vec![]),
    ] {
        let file = file(text);
        let found: Vec<_> = file.directives.iter().map(|d| (d.name, d.value.value.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
    }
    assert_eq!(
        error("# escape=x\nFROM a"),
        ("invalid escape token 'x' does not match ` or \\".into(), "x".into())
    );
    assert_eq!(error("# check=a\n#CHECK=b\nFROM a").0, "only one check parser directive can be used");
}

#[test]
fn the_frontend_is_found_in_several_kinds_of_file() {
    for (text, expected) in [
        ("# syntax=docker/dockerfile:1\nFROM a", Some("docker/dockerfile:1")),
        ("#!/usr/bin/env x\n# syntax = a/b --flag\n", Some("a/b")),
        ("# escape=`\n# syntax=a\n", Some("a")),
        ("// syntax=a\nx", Some("a")),
        ("{\"syntax\": \"a/b\", \"x\": [1]}", Some("a/b")),
        ("\u{feff}{\n\"syntax\": \"a\"}", Some("a")),
        ("{\"syntax\": 1}", None),
        ("{\"syntax\": \"a\"", None),
        ("FROM a\n# syntax=a\n", None),
        ("# other\n# syntax=a\n", None),
        ("", None),
    ] {
        assert_eq!(detect_syntax(&source(text)).map(|found| found.0).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn exec_and_shell_form() {
    let exec = |strings: &[&str]| CommandLine::Exec(strings.iter().map(|s| (*s).to_owned()).collect());
    for (text, expected) in [
        ("CMD [\"a\", \"b c\"]", exec(&["a", "b c"])),
        ("CMD []", exec(&[])),
        ("CMD [ \"\\u0041\\n\" ]  ", exec(&["A\n"])),
        ("CMD [\"a\", \\\n \"b\"]", exec(&["a", "b"])),
    ] {
        assert_eq!(kind(text), Kind::Cmd(expected), "{text:?}");
    }
    for (text, expected) in [
        ("CMD ['a']", "['a']"),
        ("CMD [a]", "[a]"),
        ("CMD [\"a\"] x", "[\"a\"] x"),
        ("CMD", ""),
        ("CMD  a  b ", "a  b"),
    ] {
        let Kind::Cmd(CommandLine::Shell(found)) = kind(text) else { panic!("{text:?}") };
        assert_eq!(found.value, expected, "{text:?}");
    }
}

#[test]
fn pairs() {
    let pairs = |text: &str| -> Vec<(String, String, bool)> {
        let (Kind::Env(pairs) | Kind::Label(pairs)) = kind(text) else { panic!("{text:?}") };
        pairs.into_iter().map(|pair| (pair.name.value, pair.value.value, pair.legacy)).collect()
    };
    for (text, expected) in [
        ("ENV a=1 b=2", vec![("a", "1", false), ("b", "2", false)]),
        ("ENV a=\"x y\" b='z'", vec![("a", "\"x y\"", false), ("b", "'z'", false)]),
        ("ENV a=x\\ y", vec![("a", "x\\ y", false)]),
        ("ENV a= b=", vec![("a", "", false), ("b", "", false)]),
        ("ENV a b c", vec![("a", "b c", true)]),
        ("ENV a   b  c", vec![("a", "b  c", true)]),
        ("ENV a b=c", vec![("a", "b=c", true)]),
        ("LABEL \"a b\"=c", vec![("\"a b\"", "c", false)]),
        ("LABEL a=b=c", vec![("a", "b=c", false)]),
        ("ENV a=\"b\\\n c\"", vec![("a", "\"b c\"", false)]),
        ("ENV a=\"b\\\"c\" d=e", vec![("a", "\"b\\\"c\"", false), ("d", "e", false)]),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(a, b, c)| (a.to_owned(), b.to_owned(), c)).collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }
}

#[test]
fn arguments() {
    let arguments = |text: &str| -> Vec<(String, Option<String>)> {
        let Kind::Arg(arguments) = kind(text) else { panic!("{text:?}") };
        let plain = |argument: Argument| (argument.name.value, argument.default.map(|text| text.value));
        arguments.into_iter().map(plain).collect()
    };
    assert_eq!(arguments("ARG a"), [("a".to_owned(), None)]);
    let expected = [
        ("a".to_owned(), Some("1".to_owned())),
        ("b".to_owned(), None),
        ("c".to_owned(), Some(String::new())),
    ];
    assert_eq!(arguments("ARG a=1 b c="), expected);
}

#[test]
fn copies() {
    let Kind::Copy(copy) =
        kind("COPY --from=x --chown=a:b --chmod=755 --link --parents --exclude=*.a --exclude=b s1 s2 /d/")
    else {
        panic!()
    };
    assert_eq!(values(&copy.transfer.paths), ["s1", "s2"]);
    assert_eq!(copy.transfer.destination.value, "/d/");
    assert_eq!(copy.from.unwrap().value, "x");
    assert!(copy.transfer.link && copy.parents);
    assert_eq!(values(&copy.transfer.excludes), ["*.a", "b"]);
    let Kind::Add(add) =
        kind("ADD --keep-git-dir=false --checksum=sha256:a --unpack --link=FALSE [\"a b\", \"/c\"]")
    else {
        panic!()
    };
    assert_eq!((add.keep_git_dir, add.unpack, add.transfer.link), (Some(false), Some(true), false));
    assert_eq!(values(&add.transfer.paths), ["a b"]);
    let Kind::Copy(copy) = kind("COPY --chown=\"a b\" -- --x /y") else { panic!() };
    assert_eq!(copy.transfer.chown.unwrap().value, "a b");
    assert_eq!(values(&copy.transfer.paths), ["--x"]);
}

#[test]
fn heredocs() {
    let documents = |text: &str| -> Vec<Heredoc> {
        let mut kinds = kinds(text);
        if let Kind::Run(run) = &mut kinds[0] {
            return std::mem::take(&mut run.heredocs);
        }
        let Kind::Copy(copy) = &mut kinds[0] else { panic!("{text:?}") };
        std::mem::take(&mut copy.transfer.inline)
    };
    for (text, expected) in [
        ("RUN <<EOF\na\nb\nEOF\n", vec![("EOF", true, "a\nb\n")]),
        ("RUN <<-EOF\n\ta\n\t\tb\n\tEOF\n", vec![("EOF", true, "a\nb\n")]),
        ("RUN <<'EOF'\na\nEOF", vec![("EOF", false, "a\n")]),
        ("RUN <<\"E F\"\na\nE F", vec![("E F", false, "a\n")]),
        ("RUN 3<<EOF cat\nEOF", vec![("EOF", true, "")]),
        ("RUN <<A cat <<B\n1\nA\n2\nB\n", vec![("A", true, "1\n"), ("B", true, "2\n")]),
        ("RUN <<EOF\r\na\r\nEOF\r\n", vec![("EOF", true, "a\r\n")]),
        ("COPY <<a <<'b' /d/\n1\na\n2\nb\n", vec![("a", true, "1\n"), ("b", false, "2\n")]),
        ("RUN <<EOF\n# no comment\n\\\nEOF\n", vec![("EOF", true, "# no comment\n\\\n")]),
        ("RUN cat <<<x", vec![]),
        ("RUN echo '<<EOF'", vec![]),
        ("RUN [\"<<EOF\"]", vec![]),
        ("RUN a << b", vec![]),
        ("RUN it's <<EOF", vec![]),
    ] {
        let found = documents(text);
        let found: Vec<_> = found.iter().map(|h| (h.name.as_str(), h.expand, h.body())).collect();
        let expected: Vec<_> = expected.into_iter().map(|(n, e, c)| (n, e, c.to_owned())).collect();
        assert_eq!(found, expected, "{text:?}");
    }
    assert_eq!(documents("RUN 3<<EOF cat\nEOF")[0].descriptor, 3);
    assert_eq!(kinds("CMD <<EOF\nUSER a\n").len(), 2);
    let Kind::Onbuild(trigger) = kind("ONBUILD COPY <<a /b\nx\na\n") else { panic!() };
    assert_eq!(trigger.expression, "COPY <<a /b\nx\na");
    let Kind::Copy(copy) = kind("COPY <<a b /c/\nx\na\n") else { panic!() };
    assert_eq!((values(&copy.transfer.paths), copy.transfer.inline.len()), (vec!["b"], 1));
}

#[test]
fn health_checks() {
    assert_eq!(kind("HEALTHCHECK none"), Kind::Healthcheck(Healthcheck::None));
    let text = "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1.5h --start-interval=0 --retries=4 CMD a b";
    let Kind::Healthcheck(Healthcheck::Command {
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
        ..
    }) = kind(text)
    else {
        panic!()
    };
    let expected = (90_000_000_000, 500_000_000, 5_400_000_000_000, 0, 4);
    assert_eq!((interval, timeout, start_period, start_interval, retries), expected);
}

#[test]
fn durations_are_gos() {
    for (text, expected) in [
        ("0", Ok(0)),
        ("1s", Ok(1_000_000_000)),
        ("-1s", Ok(-1_000_000_000)),
        (".5s", Ok(500_000_000)),
        ("1.000000001s", Ok(1_000_000_001)),
        ("1h1m1s1ms1us1ns", Ok(3_661_001_001_001)),
        ("1\u{b5}s", Ok(1000)),
        ("", Err("time: invalid duration \"\"")),
        ("5", Err("time: missing unit in duration \"5\"")),
        ("5x", Err("time: unknown unit \"x\" in duration \"5x\"")),
        (".s", Err("time: invalid duration \".s\"")),
        ("1..2s", Err("time: invalid duration \"1..2s\"")),
        ("99999999999h", Err("time: invalid duration \"99999999999h\"")),
    ] {
        assert_eq!(duration::parse(text), expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn sizes_are_dockers() {
    for (text, expected) in [
        ("64", Some(64)),
        ("64b", Some(64)),
        ("64k", Some(65536)),
        ("1.5KiB", Some(1536)),
        ("2 MB", Some(2 << 20)),
        ("1g", Some(1 << 30)),
        ("", None),
        ("x", None),
        ("1x", None),
        ("-1", None),
        ("1kx", None),
        ("9999999p", None),
    ] {
        assert_eq!(size::parse(text), expected, "{text}");
    }
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    for (text, message, place) in [
        ("FROM a b", "FROM requires either one or three arguments", "a b"),
        ("FROM", "FROM requires either one or three arguments", "FROM"),
        ("FROM a is b", "FROM requires either one or three arguments", "a is b"),
        (
            "FROM a AS 1b",
            "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
            "1b",
        ),
        ("FROM --foo=1 a", "unknown flag: --foo", "--foo=1"),
        ("FROM --platfrom=1 a", "unknown flag: --platfrom (did you mean platform?)", "--platfrom=1"),
        ("FROM a\nCOPY --link=x a b", "expecting boolean value for flag --link, not: x", "--link=x"),
        ("FROM a\nCOPY --link= a b", "missing a value on flag: --link", "--link="),
        ("FROM a\nCOPY --from a b", "missing a value on flag: --from", "--from"),
        ("FROM a\nCOPY --from=a --from=b a b", "duplicate flag specified: --from", "--from=b"),
        (
            "FROM a\nCOPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined.",
            "a",
        ),
        (
            "FROM a\nADD [\"a\"]",
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined.",
            "[\"a\"]",
        ),
        ("FROM a\nCOPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination", "<<EOF"),
        ("FROM a\nRUN [1]", "when using JSON array syntax, arrays must be comprised of strings only", "[1]"),
        ("FROM a\nRUN <<EOF\nx\n", "unterminated heredoc", "RUN <<EOF"),
        ("FROM a\nRUN --network=x y", "invalid network mode \"x\"", "--network=x"),
        ("FROM a\nRUN --security=x y", "security \"x\" is not valid", "--security=x"),
        ("FROM a\nENV a", "ENV must have two arguments", "a"),
        ("FROM a\nENV", "ENV requires at least one argument", "ENV"),
        ("FROM a\nENV a=1 b", "Syntax error - can't find = in \"b\". Must be of the form: name=value", "b"),
        ("FROM a\nLABEL =b", "LABEL names can not be blank", "=b"),
        ("FROM a\nARG =b", "ARG names can not be blank", "=b"),
        ("FROM a\nARG", "ARG requires at least one argument", "ARG"),
        ("FROM a\nUSER", "USER requires exactly one argument", "USER"),
        ("FROM a\nEXPOSE", "EXPOSE requires at least one argument", "EXPOSE"),
        ("FROM a\nVOLUME [\"\"]", "VOLUME specified can not be an empty string", "[\"\"]"),
        ("FROM a\nVOLUME []", "VOLUME requires at least one argument", "[]"),
        ("FROM a\nSHELL a b", "SHELL requires the arguments to be in JSON form, not \"a b\"", "a b"),
        ("FROM a\nSHELL []", "SHELL requires at least one argument", "[]"),
        ("FROM a\nONBUILD", "ONBUILD requires at least one argument", "ONBUILD"),
        (
            "FROM a\nONBUILD onbuild RUN x",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            "onbuild RUN x",
        ),
        ("FROM a\nONBUILD from x", "FROM isn't allowed as an ONBUILD trigger", "from"),
        ("FROM a\nONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger", "MAINTAINER"),
        ("FROM a\nHEALTHCHECK", "HEALTHCHECK requires at least one argument", "HEALTHCHECK"),
        ("FROM a\nHEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", "NONE x"),
        ("FROM a\nHEALTHCHECK FOO x", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)", "FOO x"),
        ("FROM a\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", "CMD"),
        (
            "FROM a\nHEALTHCHECK --interval=1us CMD x",
            "Interval \"interval\" cannot be less than 1ms",
            "--interval=1us",
        ),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)", "--retries=-1"),
        (
            "FROM a\nHEALTHCHECK --retries=x CMD x",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
            "--retries=x",
        ),
        ("FRON a", "unknown instruction: FRON (did you mean FROM?)", "FRON"),
        ("FROM a\nruun x", "unknown instruction: ruun (did you mean run?)", "ruun"),
        ("FROM a\nGREETINGS x", "unknown instruction: GREETINGS", "GREETINGS"),
        ("RUN x\nFROM a", "no build stage in current context", "RUN"),
        ("", "file with no instructions", ""),
        ("# a\n\n", "file with no instructions", ""),
        ("ARG a", "dockerfile contains no stages to build", ""),
    ] {
        assert_eq!(error(text), (message.to_owned(), place.to_owned()), "{text:?}");
    }
}

#[test]
fn an_error_is_shown_with_its_line() {
    rendered(
        "FROM a\nRUN x \\\n  && y\nCOPPY a b\nENV a\n",
        expect![[r#"
            error: unknown instruction: COPPY (did you mean COPY?)
             --> Dockerfile:4:1
              |
            4 | COPPY a b
              | ^^^^^

            error: ENV must have two arguments
             --> Dockerfile:5:5
              |
            5 | ENV a
              |     ^
        "#]],
    );
}

#[test]
fn a_place_after_a_continuation_is_in_its_own_line() {
    let source = source("FROM a\nCOPY --link \\\n  --chwon=x \\\n a b\n");
    let errors = parse(&source).unwrap_err();
    let position = source.position(errors.first().span().unwrap().start);
    assert_eq!((position.line, position.column), (3, 3));
}

#[test]
fn comments_above_are_kept() {
    let file = file(
        "# build says what it is\nFROM a AS build\n# one\n# two\nARG x\n# far\n\nARG y\n# far\n#\nARG z\n",
    );
    let comments = |index: usize| file.stages[0].instructions[index].comments.clone();
    assert_eq!(file.stages[0].from.comments, ["build says what it is"]);
    assert_eq!(comments(0), ["one", "two"]);
    assert!(comments(1).is_empty() && comments(2).is_empty());
}

#[test]
fn triggers_are_one_instruction() {
    let trigger =
        |text: &str| parse_trigger(&source(text)).map(|one| one.kind.name()).map_err(|error| error.message);
    assert_eq!(trigger("RUN a b"), Ok("RUN"));
    assert_eq!(trigger("COPY <<a /b\nx\na"), Ok("COPY"));
    assert_eq!(trigger("RUN a\nRUN b"), Err("onbuild trigger should be a single expression".into()));
    assert_eq!(trigger(""), Err("onbuild trigger should be a single expression".into()));
    assert_eq!(trigger("FROM a"), Err("FROM isn't allowed as an ONBUILD trigger".into()));
    assert_eq!(trigger("ONBUILD RUN a"), Err("ONBUILD isn't allowed as an ONBUILD trigger".into()));
}

#[test]
fn bytes_that_are_no_text_matter_outside_comments_alone() {
    let bytes = |bytes: &[u8]| {
        parse(&Source::new("x", bytes.to_vec()).unwrap()).map_err(|e| e.first().message.clone())
    };
    assert!(bytes(b"# caf\xe9\nFROM a\n").is_ok());
    assert!(bytes(b"FROM a\nRUN x \\\n# caf\xe9\n y\n").is_ok());
    assert_eq!(bytes(b"FROM a\nRUN \xff\n").unwrap_err(), "this is not UTF-8");
}

#[test]
fn sizes_are_bounded_and_reading_is_quick() {
    let line = |length: usize| format!("FROM a\nRUN {}\n", "x".repeat(length - 4));
    assert!(parse(&source(&line(65535))).is_ok());
    assert_eq!(error(&line(65536)).0, "dockerfile line greater than max allowed size of 65535");
    let stages = "FROM a AS b\nRUN x\n".repeat(10_000);
    assert_eq!(file(&stages).stages.len(), 10_000);
    let many = format!("FROM a\n{}", "ARG a\n".repeat(INSTRUCTION_LIMIT + 10));
    assert_eq!(error(&many).0, format!("the Dockerfile has more than {INSTRUCTION_LIMIT} instructions"));
    let continued = format!("FROM a\nRUN x{}\n", " \\\ny".repeat(1_000_000));
    assert!(parse(&source(&continued)).is_ok());
    let quotes = format!("FROM a\nRUN <<x {}\n", "\\\n\"$\" ".repeat(100_000));
    assert_eq!(error(&quotes).0, "unterminated heredoc");
    let onbuild = format!("FROM a\n{}RUN x\n", "ONBUILD ".repeat(8_000));
    assert!(error(&onbuild).0.starts_with("Chaining ONBUILD"));
    let nested = format!("FROM a\nCMD {}\n", "[".repeat(60_000));
    assert!(parse(&source(&nested)).is_ok());
}

/// Every place that a file's tree names.
fn spans(file: &Dockerfile) -> Vec<Span> {
    let text = format!("{file:?}");
    let numbers = |part: &str| {
        part.split(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty()).unwrap().parse().unwrap()
    };
    text.split("Span { start: ")
        .skip(1)
        .map(|part| Span { start: numbers(part), end: numbers(part.split("end: ").nth(1).unwrap()) })
        .collect()
}

/// Pieces from which Dockerfiles are put together.
const PIECES: [&str; 40] = [
    "FROM ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "CMD ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "SHELL ",
    "VOLUME ",
    "EXPOSE ",
    "USER ",
    "a",
    "b=c",
    "\"",
    "'",
    "\\",
    "\\\n",
    "\n",
    "\n\n",
    " ",
    "\t",
    "# x\n",
    "# escape=`\n",
    "`\n",
    "<<EOF",
    "<<-'E'",
    "\nEOF\n",
    "--mount=type=cache,target=/x ",
    "--from=a ",
    "[\"a\"]",
    "[",
    "$a",
    "${a:-",
    "}",
    "\r\n",
    "\u{e4}",
    "CMD",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let source = Source::new("f", bytes).unwrap();
        drop(parse(&source).map_err(|errors| errors.render(&source)));
        drop(parse_trigger(&source));
        drop(detect_syntax(&source));
    }

    #[test]
    fn places_lie_inside_the_text(pieces in proptest::collection::vec(0usize..PIECES.len(), 0..40)) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        for text in [text.clone(), format!("FROM x\n{text}")] {
            let source = source(&text);
            let inside = |span: Span| source.text().get(span.range()).is_some();
            match parse(&source) {
                Ok(file) => prop_assert!(spans(&file).into_iter().all(inside), "{:?}", text),
                Err(errors) => {
                    prop_assert!(errors.iter().flat_map(|e| &e.labels).all(|label| inside(label.span)), "{:?}", text);
                    prop_assert!(!errors.render(&source).is_empty());
                }
            }
        }
    }
}
