//! Instructions and their values.

use super::*;

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
