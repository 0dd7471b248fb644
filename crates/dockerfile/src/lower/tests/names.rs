//! What steps are called for people, and files of documents and of the web in their trees.

use expect_test::expect;

use super::super::*;
use super::{error, graph_of, lowered_into, options, shown};

#[test]
fn names_are_the_files_words_with_what_their_variables_hold() {
    for (text, names) in [
        ("FROM a\nrun x", &["[2/2] RUN x"][..]),
        ("FROM a AS b\nFROM b\nRUN x", &["[stage-1 1/1] RUN x"]),
        (
            "FROM a\nARG V=7\nRUN make \"v=$V\" '$V' \\$V $UNSET ${V:+w}\nCOPY x${V} /y\nWORKDIR /$V",
            &["[2/4] RUN make \"v=7\" '$V' \\$V $UNSET w", "[3/4] COPY x7 /y", "[4/4] WORKDIR /7"],
        ),
        ("FROM a\nARG V=7\nRUN echo \"$V", &["[2/2] RUN echo \"$V"]),
        (
            "FROM a\nARG T=token\nRUN --mount=type=secret,id=t,env=T curl $T https://me:$T@h/x",
            &["[2/2] RUN --mount=type=secret,id=t,env=T curl **** https://xxxxx:xxxxx@h/x"],
        ),
        ("FROM a\nARG T=token\nADD https://$T@h/x /z", &["[2/2] ADD https://xxxxx@h/x /z"]),
        ("FROM a\nRUN <<E\nfirst\nsecond\nE", &["[2/2] RUN <<E (first...)"]),
        ("FROM a\nRUN <<E\n\n only\nE", &["[2/2] RUN <<E (only)"]),
        ("FROM a\nRUN cat <<E\nfirst\nE", &["[2/2] RUN cat <<E"]),
        (
            "FROM a\nRUN <<E\n#!/bin/x\nE",
            &["[internal] preparing inline document", "[2/2] RUN <<E (#!/bin/x)"],
        ),
    ] {
        let graph = graph_of(text);
        let found: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        for name in names {
            assert!(found.contains(name), "{text}: {found:#?}");
        }
    }
    let mut graph = Graph::default();
    let platform = |text: &str| text.parse().unwrap();
    let both = Options { several: true, platform: platform("linux/arm64"), ..options() };
    let text =
        "FROM --platform=$BUILDPLATFORM a AS b\nRUN x\nARG TARGETARCH\nRUN y\nFROM a\nCOPY --from=b /x /y";
    lowered_into(&mut graph, text, &both, &Images::new()).unwrap();
    let found: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    for name in [
        "[linux/amd64 b 2/3] RUN x",
        "[linux/amd64->arm64 b 3/3] RUN y",
        "[linux/arm64 stage-1 2/2] COPY --from=b /x /y",
    ] {
        assert!(found.contains(&name), "{found:#?}");
    }
}

#[test]
fn files_of_the_web_have_the_last_part_of_their_address_for_a_name() {
    let long = "x".repeat(256);
    for (path, want) in [
        ("/a/b.txt", "b.txt"),
        ("/a%20b.txt?q=/c#/d", "a b.txt"),
        ("/%C3%BC/", "ü"),
        ("/a%2fb", "b"),
        ("/..%2f..%2fb", "b"),
        ("/%2e%2e", "__unnamed__"),
        ("/a%00", "__unnamed__"),
        ("/a%0", "__unnamed__"),
        ("/%ff", "__unnamed__"),
        ("/.wh.bin", "__unnamed__"),
        (&format!("/{long}"), "__unnamed__"),
        ("", "__unnamed__"),
    ] {
        let graph = graph_of(&format!("FROM a\nADD [\"https://host{path}\", \"/to/\"]"));
        let Op::Http { name, .. } = &graph.nodes()[1].op else { panic!("{}", shown(&graph)) };
        assert_eq!(name, want, "{path}");
    }
}

#[test]
fn documents_are_files_by_the_last_part_of_their_names() {
    let graph = graph_of("FROM a\nCOPY <<../../etc/x /y/\nhi\n../../etc/x\nRUN <<a/b\n#!/bin/x\na/b");
    expect![[r##"
        0 image a:latest linux/amd64 []
        1 inline x "hi\n" 644 []
        2 copy 1:/x -> /y/ [0, 1]
        3 inline b "#!/bin/x\n" 755 []
        4 run ["/bin/sh", "-c", "/dev/pipes/b"] in / [2, 3]
    "##]]
    .assert_eq(&shown(&graph));
    let long = "x".repeat(256);
    for name in ["..", ".", "a/", ".wh.a", &long] {
        for begin in [format!("COPY <<{name} /y/"), format!("RUN <<{name}")] {
            let message = error(&format!("FROM a\n{begin}\n#!/bin/x\n{name}\n"));
            assert_eq!(message, format!("the heredoc {name:?} does not name a file"));
        }
    }
}
