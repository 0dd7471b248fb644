//! What is refused, with which words, and where.

use super::*;

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
