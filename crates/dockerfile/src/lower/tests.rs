//! Tables of Dockerfiles, and the graphs and configs that they are lowered to.

use expect_test::{Expect, expect};

use super::*;
use crate::parse::parse;
use crate::source::{Diagnostic, Source};
use crate::stage::{ImageKey, resolve};

fn options() -> Options {
    Options::new("linux/amd64".parse().unwrap())
}

fn lowered_into(
    graph: &mut Graph,
    text: &str,
    options: &Options,
    images: &Images,
) -> Result<Made, Diagnostic> {
    let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let file = parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)));
    let plan = resolve(&file, options, images)?;
    let contexts = BTreeMap::new();
    let inputs =
        Inputs { plan: &plan, options, images, contexts: &contexts, ignored: None, escape: file.escape };
    lower(graph, &inputs, &mut Linter::default())
}

fn made(text: &str) -> Made {
    lowered_into(&mut Graph::default(), text, &options(), &Images::new())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    lowered_into(&mut Graph::default(), text, &options(), &Images::new()).unwrap_err().message
}

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
        let mut graph = Graph::default();
        lowered_into(&mut graph, text, &options(), &Images::new()).unwrap();
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
        let mut graph = Graph::default();
        let text = format!("FROM a\nADD [\"https://host{path}\", \"/to/\"]");
        lowered_into(&mut graph, &text, &options(), &Images::new()).unwrap();
        let Op::Http { name, .. } = &graph.nodes()[1].op else { panic!("{}", shown(&graph)) };
        assert_eq!(name, want, "{path}");
    }
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
fn documents_are_files_by_the_last_part_of_their_names() {
    let mut graph = Graph::default();
    let text = "FROM a\nCOPY <<../../etc/x /y/\nhi\n../../etc/x\nRUN <<a/b\n#!/bin/x\na/b";
    lowered_into(&mut graph, text, &options(), &Images::new()).unwrap();
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

/// Each operation in a line.
fn shown(graph: &Graph) -> String {
    let line = |(number, node): (usize, &Node)| {
        let what = match &node.op {
            Op::Scratch => "scratch".to_owned(),
            Op::Image { reference, platform } => format!("image {} {platform}", reference.familiar()),
            Op::Context { name, .. } => format!("context {name:?}"),
            Op::Http { url, name, .. } => format!("http {url} as {name}"),
            Op::Git(git) => format!("git {} {:?} {:?}", git.remote, git.reference, git.subdirectory),
            Op::Inline { name, content, mode } => format!("inline {name} {content:?} {mode:o}"),
            Op::Run(run) => {
                let mounts = run.mounts.iter().map(|(mount, input)| format!(" {}={input:?}", mount.target));
                format!("run {:?} in {}{}", run.args, run.cwd, mounts.collect::<String>())
            }
            Op::Copy(copy) => {
                let from =
                    copy.selections.iter().map(|one| format!("{}:{}", node.inputs[one.input], one.path));
                format!("copy {} -> {}", from.collect::<Vec<_>>().join(" "), copy.destination)
            }
            Op::MakeDirectory { path, owner } => format!("directory {path} {owner:?}"),
            Op::Merge => "merge".to_owned(),
        };
        format!("{number} {what} {:?}\n", node.inputs)
    };
    graph.nodes().iter().enumerate().map(line).collect()
}

fn check(text: &str, expected: Expect) {
    let mut graph = Graph::default();
    lowered_into(&mut graph, text, &options(), &Images::new())
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    expected.assert_eq(&shown(&graph));
}

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
fn digests_follow_what_decides_and_nothing_else() {
    let digest = |text: &str, options: &Options| {
        let mut graph = Graph::default();
        let made = lowered_into(&mut graph, text, options, &Images::new()).unwrap();
        graph.nodes()[made.node].digest.clone()
    };
    let base = digest("FROM a\nRUN x", &options());
    let mut proxied = options();
    proxied.arguments.insert("HTTP_PROXY".into(), "http://p".into());
    for same in ["# c\nFROM a AS other\nRUN  x", "FROM a\n\n\nRUN \\\n x", "FROM a:latest\nLABEL a=b\nRUN x"]
    {
        assert_eq!(digest(same, &options()), base, "{same:?}");
    }
    assert_eq!(digest("FROM a\nRUN x", &proxied), base);
    for other in [
        "FROM b\nRUN x",
        "FROM a\nRUN y",
        "FROM a\nENV A=1\nRUN x",
        "FROM a\nUSER u\nRUN x",
        "FROM a\nRUN --network=none x",
        "FROM a\nRUN --mount=type=cache,target=/c x",
        "FROM a\nRUN --mount=type=secret,id=s x",
        "FROM a\nRUN [\"x\"]",
        "FROM a\nSHELL [\"/bin/bash\"]\nRUN x",
    ] {
        assert_ne!(digest(other, &options()), base, "{other:?}");
    }
    assert_ne!(digest("FROM a\nARG HTTP_PROXY\nRUN x", &proxied), base);
}

#[test]
fn histories_have_dockers_words() {
    for (text, expected) in [
        ("RUN x  y", "RUN /bin/sh -c x  y # buildkit"),
        ("RUN [\"x\", \"y z\"]", "RUN x y z # buildkit"),
        ("ENV a=1 b=\"x y\"", "ENV a=1 b=x y"),
        ("LABEL a=b", "LABEL a=b"),
        ("CMD [\"a\", \"b \\\"c\"]", "CMD [\"a\" \"b \\\"c\"]"),
        ("CMD a b", "CMD [\"/bin/sh\" \"-c\" \"a b\"]"),
        ("ENTRYPOINT [\"a\"]", "ENTRYPOINT [\"a\"]"),
        ("EXPOSE 443 80/udp", "EXPOSE [443/tcp 80/udp]"),
        ("EXPOSE 8000-8002", "EXPOSE [8000/tcp 8001/tcp 8002/tcp]"),
        ("VOLUME /a /b", "VOLUME [/a /b]"),
        ("USER a:b", "USER a:b"),
        ("WORKDIR /a/../b", "WORKDIR /b"),
        ("WORKDIR x", "WORKDIR /x"),
        ("ARG A=1 B", "ARG A=1 B"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGTERM"),
        ("SHELL [\"a\", \"b\"]", "SHELL [a b]"),
        ("MAINTAINER me <m@x>", "MAINTAINER me <m@x>"),
        ("COPY --chown=a:b --chmod=755 x y /z/", "COPY --chown=a:b --chmod=755 x y /z/ # buildkit"),
        ("COPY --parents x /z/", "COPY --parents x /z/ # buildkit"),
        ("ADD https://h/x /z", "ADD https://h/x /z # buildkit"),
        ("ADD https://me:secret@h/x@y /z", "ADD https://xxxxx:xxxxx@h/x@y /z # buildkit"),
        ("ARG T=token\nADD https://$T@h/x.git#main /z", "ADD https://xxxxx@h/x.git#main /z # buildkit"),
        ("ADD ssh://git@h/x.git /z", "ADD ssh://git@h/x.git /z # buildkit"),
        ("COPY <<f /z\nf", "COPY <<f /z # buildkit"),
        ("HEALTHCHECK NONE", r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}"#),
        (
            "HEALTHCHECK --interval=90s --timeout=1500ms --retries=2 CMD x y",
            r#"HEALTHCHECK &{["CMD-SHELL" "x y"] "1m30s" "1.5s" "0s" "0s" '\x02'}"#,
        ),
    ] {
        let history = made(&format!("FROM a\n{text}")).config.history;
        assert_eq!(history.last().unwrap().created_by, expected, "{text}");
        assert_eq!(history.last().unwrap().comment, "buildkit.dockerfile.v0");
    }
    let history = made("FROM a\nARG A=1\nARG B\nRUN x").config.history;
    assert_eq!(history[2].created_by, "RUN |2 A=1 B= /bin/sh -c x # buildkit");
    let empty: Vec<bool> = history.iter().map(|step| step.empty_layer).collect();
    assert_eq!(empty, [true, true, false]);
}

#[test]
fn configs() {
    let config = made("FROM a\nENV A=1 B=$A\nENV A=2 C=$A\nARG A=3\nLABEL l=$A\nUSER u\nEXPOSE 80\nVOLUME /v\nSTOPSIGNAL 9\nSHELL [\"s\"]\nENTRYPOINT e\nCMD [\"c\"]\nONBUILD RUN x\nWORKDIR w\nMAINTAINER m").config;
    let inner = &config.config;
    let path = format!("PATH={}", config::DEFAULT_PATH);
    assert_eq!(inner.env, [path.as_str(), "A=2", "B=", "C=1"]);
    assert_eq!(inner.labels.get("l").map(String::as_str), Some("3"));
    assert_eq!(inner.entrypoint.as_deref(), Some(&["s".to_owned(), "e".to_owned()][..]));
    assert_eq!(inner.cmd.as_deref(), Some(&["c".to_owned()][..]));
    assert_eq!(
        (inner.user.as_str(), inner.working_dir.as_str(), inner.stop_signal.as_str()),
        ("u", "/w", "9")
    );
    assert_eq!(inner.on_build, ["RUN x"]);
    assert!(inner.exposed_ports.contains("80/tcp") && inner.volumes.contains("/v"));
    assert_eq!((config.author.as_str(), config.platform.to_string().as_str()), ("m", "linux/amd64"));
}

#[test]
fn a_base_hands_its_config_on() {
    let key = ImageKey { reference: "a:latest".parse().unwrap(), platform: "linux/amd64".into() };
    let mut base = ImageConfig { platform: "linux/amd64".parse().unwrap(), ..ImageConfig::default() };
    base.config.env = vec!["PATH=/p".into(), "X=1".into()];
    base.config.cmd = Some(vec!["base".into()]);
    base.config.working_dir = "/base".into();
    base.config.on_build = vec!["RUN triggered".into()];
    let images: Images = [(key, base)].into();
    let of = |text: &str| lowered_into(&mut Graph::default(), text, &options(), &images).unwrap().config;
    let kept = of("FROM a\nENV Y=$X\nWORKDIR sub");
    assert_eq!(kept.config.env, ["PATH=/p", "X=1", "Y=1"]);
    assert_eq!(
        (kept.config.working_dir.as_str(), kept.config.cmd.clone().unwrap()),
        ("/base/sub", vec!["base".to_owned()])
    );
    assert!(kept.config.on_build.is_empty());
    assert_eq!(kept.history[0].created_by, "RUN /bin/sh -c triggered # buildkit");
    // The base's command is not for another entrypoint; the stage's own is.
    assert_eq!(of("FROM a\nENTRYPOINT [\"e\"]").config.cmd, None);
    assert_eq!(of("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]").config.cmd, Some(vec!["c".to_owned()]));
    assert_eq!(of("FROM a AS b\nCMD [\"c\"]\nFROM b\nENTRYPOINT [\"e\"]").config.cmd, None);
    assert_eq!(of("FROM a AS b\nARG Q=1\nFROM b\nLABEL q=$Q").config.labels.get("q").unwrap(), "1");
}

#[test]
fn values_that_are_none() {
    for (text, expected) in [
        ("FROM a\nEXPOSE x", "invalid containerPort: x"),
        ("FROM a\nEXPOSE 80/foo", "invalid proto: foo"),
        ("FROM a\nEXPOSE 70000", "invalid containerPort: 70000"),
        ("FROM a\nEXPOSE x:1:1", "invalid IP address: x"),
        ("FROM a\nSTOPSIGNAL SIGFOO", "invalid signal: SIGFOO"),
        ("FROM a\nSTOPSIGNAL 65", "invalid signal: 65"),
        (
            "FROM a\nCOPY --chmod=999 x /y",
            "invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
        ),
        ("FROM a\nCOPY https://h/x /y", "source can't be a URL for COPY"),
        ("FROM a\nCOPY git@h:x /y", "source can't be a git ref for COPY"),
        ("FROM a\nADD --checksum=sha256:x a /y", "checksum requires HTTP(S) or Git sources"),
        (
            "FROM a\nADD --checksum=sha256:x https://h/a https://h/b /y/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "FROM a\nADD --keep-git-dir https://h/a.git?keep-git-dir=false /y",
            "inconsistent keep-git-dir configuration",
        ),
        ("FROM a\nADD https://h/a.git#:../x /y", "a subdirectory of a repository lies inside it"),
        ("FROM a\nRUN --mount=target=/ x", "invalid mount target \"/\""),
        ("FROM a\nRUN --mount=type=foo,target=/x y", "unsupported mount type \"foo\""),
        ("FROM a\nENV A=${B:?needed}", "failed to process \"${B:?needed}\": B: needed"),
        ("FROM a\nVOLUME $X", "VOLUME specified can not be an empty string"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn contexts_send_what_is_used() {
    let mut graph = Graph::default();
    let text = "FROM a\nCOPY x ./y/ /z/\nADD https://h/q /\nCOPY --parents s/*/t /p/\nRUN --mount=source=m,target=/m z";
    lowered_into(&mut graph, text, &options(), &Images::new()).unwrap();
    let paths: Vec<&str> = graph.context_paths[""].iter().map(String::as_str).collect();
    assert_eq!(paths, ["/m", "/s", "/x", "/y"]);
}

#[test]
fn long_files_are_bounded() {
    let mut chain = "FROM a AS s0\n".to_owned();
    for index in 1..10_000 {
        chain.push_str(&format!("FROM s{} AS s{index}\nENV V{}=1\n", index - 1, index % 500));
    }
    assert_eq!(error(&chain), "the image would have more than 8192 steps");
    assert_eq!(
        error(&format!("FROM a\n{}", "RUN x\n".repeat(2000))),
        "the image would have more than 1024 layers"
    );
    let wide: String = (0..10_000).map(|index| format!("FROM a AS s{index}\nRUN x{index}\n")).collect();
    assert_eq!(made(&wide).layers.len(), 1);
}

#[test]
fn proxies_and_secrets_are_in_no_digest_and_no_config() {
    let text = "FROM a\nARG A=1\nRUN --mount=type=secret,id=token --mount=type=ssh x\nRUN y";
    let lowered = |proxy: Option<&str>| {
        let mut options = options();
        for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
            options.arguments.extend(proxy.map(|proxy| (name.to_owned(), proxy.to_owned())));
        }
        let mut graph = Graph::default();
        let made = lowered_into(&mut graph, text, &options, &Images::new()).unwrap();
        (graph, made.config)
    };
    let (plain, plain_config) = lowered(None);
    let (proxied, config) = lowered(Some("http://me:hunter2@proxy"));
    assert_eq!(config, plain_config);
    assert!(!format!("{config:?}").contains("hunter2"));
    for (node, plain) in proxied.nodes().iter().zip(plain.nodes()) {
        assert_eq!((&node.digest, node.op.effect()), (&plain.digest, plain.op.effect()));
        if let Op::Run(run) = &node.op {
            assert_eq!(run.proxies.len(), 3);
            assert!(!run.env.iter().chain(&run.args).any(|text| text.contains("hunter2")));
        }
    }
}

#[test]
fn what_an_operation_does_is_apart_from_where_its_sources_are() {
    let effect = |text: &str, wanted: fn(&Op) -> bool| {
        let mut graph = Graph::default();
        lowered_into(&mut graph, text, &options(), &Images::new()).unwrap();
        graph.nodes().iter().find(|node| wanted(&node.op)).unwrap().op.effect()
    };
    let image = |text: &str| effect(text, |op| matches!(op, Op::Image { .. }));
    assert_eq!(image("FROM a\nRUN x"), image("FROM b:1\nRUN x"));
    let run = |text: &str| effect(text, |op| matches!(op, Op::Run(_)));
    assert_eq!(run("FROM a\nRUN x"), run("FROM b\nWORKDIR /\nRUN x"));
    assert_ne!(run("FROM a\nRUN x"), run("FROM a\nRUN y"));
    let http = |text: &str| effect(text, |op| matches!(op, Op::Http { .. }));
    assert_eq!(http("FROM a\nADD https://h/f /"), http("FROM a\nADD https://i/d/f /"));
    assert_ne!(http("FROM a\nADD https://h/f /"), http("FROM a\nADD https://h/g /"));
    let git = |text: &str| effect(text, |op| matches!(op, Op::Git(_)));
    assert_eq!(git("FROM a\nADD https://h/r.git#v1 /"), git("FROM a\nADD https://h/r.git#v2 /"));
    for other in ["https://i/r.git#v1", "https://h/r.git#v1:sub", "--keep-git-dir=true https://h/r.git#v1"] {
        assert_ne!(git("FROM a\nADD https://h/r.git#v1 /"), git(&format!("FROM a\nADD {other} /")));
    }
    assert_ne!(
        git("FROM a\nADD --keep-git-dir=true https://h/r.git#v1 /"),
        git("FROM a\nADD --keep-git-dir=true https://h/r.git#v2 /")
    );
}

#[test]
fn a_long_chain_of_stages_shares_its_variables() {
    let mut chain = "FROM a AS s0\nENV V=image\nARG V=argument\n".to_owned();
    for index in 1..8000 {
        chain.push_str(&format!("FROM s{} AS s{index}\nENV V{index}=$V\n", index - 1));
    }
    let config = made(&chain).config;
    assert_eq!((config.config.env.len(), config.history.len()), (8001, 8001));
    // A variable of the image comes before an argument of the base.
    assert_eq!(config.config.env.last().map(String::as_str), Some("V7999=image"));
    // Those that branch off share them, too, and do not see what others set.
    let side: String =
        (1..500).map(|index| format!("FROM s{index} AS t{index}\nENV T{index}=$V{}\n", index + 1)).collect();
    let copies: String = (1..500).map(|index| format!("COPY --from=t{index} /x /\n")).collect();
    let config = made(&format!("{chain}{side}FROM t499\n{copies}")).config;
    assert_eq!(config.config.env.last().map(String::as_str), Some("T499="));
}
