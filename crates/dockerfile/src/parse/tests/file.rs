//! Files: stages, lines, directives, documents, comments, places.

use super::*;

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
