//! Which operations a file becomes, for one platform and for several.

use std::collections::BTreeSet;

use expect_test::expect;

use super::super::*;
use super::{check, graph_of, lowered_into, options, shown};

#[test]
fn stages_become_operations() {
    check(
        "FROM golang:1 AS build\nWORKDIR /src\nCOPY go.mod .\nRUN --mount=type=cache,target=c make\nFROM scratch\nCOPY --from=build /x y /\n",
        expect![[r#"
            0 image golang:1 linux/amd64 []
            1 directory /src None [0]
            2 context "" []
            3 copy 2:/go.mod -> /src/ [1, 2]
            4 run ["/bin/sh", "-c", "make"] in /src /src/c=None [3]
            5 scratch []
            6 copy 4:/x 4:/y -> / [5, 4]
        "#]],
    );
}

#[test]
fn stages_that_nothing_needs_are_left_out() {
    check(
        "FROM a AS x\nRUN one\nFROM b\nRUN two",
        expect![[r#"
            0 image b:latest linux/amd64 []
            1 run ["/bin/sh", "-c", "two"] in / [0]
        "#]],
    );
}

#[test]
fn sources_of_add() {
    check(
        "FROM scratch\nADD https://h/a/b.tgz?x=1 /d/\nADD https://h/r.git#v1:sub /g\nADD x.tar /t\nADD https://h /u/\n",
        expect![[r#"
            0 scratch []
            1 http https://h/a/b.tgz?x=1 as b.tgz []
            2 copy 1:/b.tgz -> /d/ [0, 1]
            3 git https://h/r.git Some("v1") Some("sub") []
            4 copy 3:/ -> /g [2, 3]
            5 context "" []
            6 copy 5:/x.tar -> /t [4, 5]
            7 http https://h as __unnamed__ []
            8 copy 7:/__unnamed__ -> /u/ [6, 7]
        "#]],
    );
}

#[test]
fn links_documents_and_parents() {
    check(
        "FROM a\nENV V=w\nCOPY --link x /y\nCOPY <<f /d/\n$V\nf\nRUN <<EOF\necho $V\nEOF\nRUN <<EOF\n#!/usr/bin/env python\nx\nEOF\nRUN cat <<EOF\nx\nEOF\nCOPY --parents a/./b/*.c /p/\n",
        expect![[r##"
            0 image a:latest linux/amd64 []
            1 context "" []
            2 scratch []
            3 copy 1:/x -> /y [2, 1]
            4 merge [0, 3]
            5 inline f "w\n" 644 []
            6 copy 5:/f -> /d/ [4, 5]
            7 run ["/bin/sh", "-c", "echo $V\n"] in / [6]
            8 inline EOF "#!/usr/bin/env python\nx\n" 755 []
            9 run ["/bin/sh", "-c", "/dev/pipes/EOF"] in / [7, 8]
            10 run ["/bin/sh", "-c", "cat <<EOF\nx\nEOF"] in / [9]
            11 copy 1:/a -> /p/ [10, 1]
        "##]],
    );
}

#[test]
fn a_program_is_run_for_each_platform_though_the_files_below_it_are_the_same() {
    let mut graph = Graph::default();
    for platform in ["linux/amd64", "linux/arm64"] {
        let options = Options { platform: platform.parse().unwrap(), ..options() };
        lowered_into(&mut graph, "FROM scratch\nCOPY x /\nRUN [\"/x\"]", &options, &Images::new()).unwrap();
    }
    expect![["
        0 scratch []
        1 context \"\" []
        2 copy 1:/x -> / [0, 1]
        3 run [\"/x\"] in / [2]
        4 run [\"/x\"] in / [2]
    "]]
    .assert_eq(&shown(&graph));
    let effects = graph.nodes()[3..].iter().map(|node| node.op.effect());
    assert_eq!(effects.collect::<BTreeSet<_>>().len(), 2, "nor is one's result found for the other");
}

#[test]
fn equal_work_is_one_node_for_all_platforms() {
    let text = "FROM --platform=$BUILDPLATFORM go AS build\nRUN fetch\nARG TARGETARCH\nRUN make\nFROM a\nCOPY --from=build /x /";
    let mut graph = Graph::default();
    for platform in ["linux/amd64", "linux/arm64"] {
        let options = Options { platform: platform.parse().unwrap(), ..options() };
        lowered_into(&mut graph, text, &options, &Images::new()).unwrap();
    }
    let count = |wanted: &str| shown(&graph).matches(wanted).count();
    assert_eq!((count("image go"), count("\"fetch\""), count("\"make\""), count("image a:")), (1, 1, 2, 2));
}

#[test]
fn caches_may_have_a_namespace() {
    let id = |options: &Options| {
        let mut graph = Graph::default();
        let text = "FROM a\nRUN --mount=type=cache,target=/c x";
        lowered_into(&mut graph, text, options, &Images::new()).unwrap();
        let Op::Run(run) = &graph.nodes()[1].op else { panic!("{}", shown(&graph)) };
        let crate::syntax::MountKind::Cache { id, .. } = &run.mounts[0].0.kind else { panic!("{run:?}") };
        id.clone()
    };
    assert_eq!(id(&options()), "/c");
    let mut named = options();
    named.arguments.insert("BUILDKIT_CACHE_MOUNT_NS".to_owned(), "team".to_owned());
    assert_eq!(id(&named), "team/c");
}

#[test]
fn contexts_send_what_is_used() {
    let graph = graph_of(
        "FROM a\nCOPY x ./y/ /z/\nADD https://h/q /\nCOPY --parents s/*/t /p/\nRUN --mount=source=m,target=/m z",
    );
    let paths: Vec<&str> = graph.context_paths[""].iter().map(String::as_str).collect();
    assert_eq!(paths, ["/m", "/s", "/x", "/y"]);
}
