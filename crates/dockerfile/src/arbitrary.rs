//! Tests of the whole way, from bytes to a graph with all checks and reports: whatever a file says, nothing panics, and what is made
//! keeps its promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::expand::Environment;
use crate::ignore::Matcher;
use crate::lint::{Config, Linter, check_tree, sarif};
use crate::lower::{Graph, Inputs, lower};
use crate::parse::parse;
use crate::source::Source;
use crate::stage::{Images, Options, resolve};

fn go(text: &[u8], ignored: &str) {
    let Ok(source) = Source::new("Dockerfile", text.to_vec()) else { return };
    let file = match parse(&source) {
        Ok(file) => file,
        Err(errors) => {
            drop(errors.render(&source));
            return;
        }
    };
    let options = Options { all_stages: true, ..Options::new("linux/amd64".parse().unwrap()) };
    let Ok(mut linter) = Linter::new(&file, Config::parse("experimental=all").ok()) else { return };
    check_tree(&file, &options, &mut linter);
    let (images, contexts, ignored) = (Images::new(), BTreeMap::new(), Matcher::new([ignored]).ok());
    let mut graph = Graph::default();
    let made = resolve(&file, &options, &images).and_then(|plan| {
        let inputs = Inputs {
            plan: &plan,
            options: &options,
            images: &images,
            contexts: &contexts,
            ignored: ignored.as_ref(),
            escape: file.escape,
        };
        lower(&mut graph, &inputs, &mut linter)
    });
    for (number, node) in graph.nodes().iter().enumerate() {
        assert!(node.inputs.iter().all(|input| *input < number), "inputs come first");
    }
    let report = linter.finish(&source);
    let report = match made {
        Ok(made) => {
            assert!(made.node < graph.nodes().len() && made.layers.iter().all(|layer| *layer <= made.node));
            report
        }
        Err(error) => report.with_error(error),
    };
    drop((report.to_text(), report.to_json(), sarif(&[&report], "1")));
}

/// A line that is nearly right.
fn line() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select(vec![
        "FROM",
        "from",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "ARG",
        "LABEL",
        "WORKDIR",
        "USER",
        "CMD",
        "ENTRYPOINT",
        "EXPOSE",
        "VOLUME",
        "SHELL",
        "ONBUILD",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "MAINTAINER",
        "#",
        "# syntax=",
        "# check=",
        "",
    ]);
    let word = prop::sample::select(vec![
        "a",
        "scratch",
        "AS",
        "s",
        "s2",
        "--from=s",
        "--link",
        "--parents",
        "--chmod=7",
        "--chown=$A",
        "--exclude=*.c",
        "--checksum=sha256:x",
        "--unpack",
        "--keep-git-dir",
        "--mount=type=bind,from=s,target=/m",
        "--mount=type=cache",
        "--mount=type=secret,id=x,env=Y",
        "--network=none",
        "--platform=$BUILDPLATFORM",
        "--interval=1s",
        "$A",
        "${A:-b}",
        "${A%%*}",
        "${A/b/c}",
        "${A",
        "A=1",
        "A",
        "B=$A$B",
        "/x",
        "./y/*",
        "../..",
        "https://h/f",
        "https://h/r.git#v:..",
        "git@h:r",
        "<<EOF",
        "<<-\"E\"",
        "EOF",
        "[\"x\", \"y\"]",
        "[\"",
        "\\",
        "`",
        "'",
        "\"",
        "&&",
        "|",
        "80/tcp",
        "1-9",
        "NONE",
        "CMD",
        "COPY",
        "\t",
        "\u{301}",
        "\u{feff}",
        "é",
        "\0",
    ]);
    (keyword, prop::collection::vec(word, 0..5))
        .prop_map(|(keyword, words)| format!("{keyword} {}\n", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_at_lines_that_are_nearly_right(lines in prop::collection::vec(line(), 1..8), ignored in "[!*/a-c]{0,4}") {
        go(format!("FROM a AS s\n{}", lines.concat()).as_bytes(), &ignored);
        // Each alone, too, so that a line before it that is wrong hides nothing.
        for line in lines {
            go(format!("FROM a AS s\nARG A=1\nFROM a\n{line}").as_bytes(), &ignored);
        }
    }

    #[test]
    fn nothing_panics_at_any_text(text in "\\PC{0,60}", keyword in "(RUN|COPY|ENV|LABEL|HEALTHCHECK|EXPOSE|ADD|FROM) ") {
        go(text.as_bytes(), "");
        go(format!("FROM a\n{keyword}{text}").as_bytes(), "");
    }

    #[test]
    fn nothing_panics_at_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        go(&bytes, "");
        go(&[b"FROM a\nRUN ", bytes.as_slice()].concat(), "");
    }

    /// Against a list that is searched: copies share what they have in common, and nothing else.
    #[test]
    fn variables_are_what_was_set_last_in_the_order_of_the_first_time(
        steps in prop::collection::vec((0..3usize, "[a-f]{0,2}", any::<u8>(), any::<bool>()), 0..200),
    ) {
        let mut worlds: Vec<(Environment, Vec<(String, String)>)> = vec![Default::default(); 3];
        for (which, name, value, copies) in steps {
            if copies {
                worlds[(which + 1) % 3] = worlds[which].clone();
            }
            let (env, list) = &mut worlds[which];
            let value = value.to_string();
            env.set(name.as_str(), value.as_str());
            match list.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => list.push((name, value)),
            }
        }
        for (env, list) in worlds {
            prop_assert_eq!(env.len(), list.len());
            prop_assert!(list.iter().all(|(name, value)| env.get(name) == Some(value)));
            prop_assert!(env.get("nobody").is_none());
            let pairs: Vec<(String, String)> = env.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(pairs, list);
        }
    }
}

/// Dockerfiles as people write them.
const REAL: &[&str] = &[
    include_str!("../../e2e/tests/dockerfiles/node/Dockerfile"),
    include_str!("../../e2e/tests/dockerfiles/go/Dockerfile"),
    include_str!("../../e2e/tests/dockerfiles/nginx/Dockerfile"),
    include_str!("../../e2e/tests/dockerfiles/python/Dockerfile"),
    "# check=skip=all\nARG A=1\nFROM --platform=$BUILDPLATFORM scratch AS s\nADD --checksum=sha256:x --chown=a:b https://h/f /x\n\
     COPY <<-\"E\" <<F /y/\n\ta\nE\n$A\nF\nONBUILD RUN --mount=type=cache,id=$A,sharing=locked,uid=1,mode=0700 [\"a\", \"b\"]\n\
     HEALTHCHECK --interval=1m --start-interval=5s CMD a || b\nENV A=${A:+b} B=\"${A%%*}\" C=${B/x/y}\nEXPOSE 1-2/udp $A\n",
];

proptest! {
    #[test]
    fn real_files_that_were_changed_anywhere_end_in_a_graph_or_an_error(
        number in 0..REAL.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..7_u8, any::<u8>(), 0..40_usize), 1..8),
        ignored in "[-!*?/a-c.\\[\\]^\\\\ #]{0,12}",
    ) {
        let mut text = REAL[number].as_bytes().to_vec();
        for (at, kind, byte, length) in changes {
            let at = at.index(text.len().max(1)).min(text.len());
            let end = text.len().min(at + length);
            match kind {
                0 => text.insert(at, byte),
                1 => drop(text.drain(at..end)),
                // A piece once more, here or at the end.
                2 => { let piece = text[at..end].to_vec(); drop(text.splice(at..at, piece)) }
                3 => text.extend_from_within(at..end),
                4 => drop(text.splice(at..end, *b"${A:-$")),
                5 => drop(text.splice(at..at, *b"\\\n")),
                _ => text.truncate(end.max(1)),
            }
        }
        go(&text, &ignored);
    }
}
