//! What decides the digest of an operation, and what does not.

use super::super::*;
use super::{graph_of, lowered_into, options};

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
        let graph = graph_of(text);
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
    assert_eq!(git("FROM a\nADD https://h/r.git#v1 /"), git("FROM a\nADD git@h:r.git#v1 /"));
    for other in ["https://h/r.git#v1:sub", "--keep-git-dir=true https://h/r.git#v1"] {
        assert_ne!(git("FROM a\nADD https://h/r.git#v1 /"), git(&format!("FROM a\nADD {other} /")));
    }
    assert_ne!(
        git("FROM a\nADD --keep-git-dir=true https://h/r.git#v1 /"),
        git("FROM a\nADD --keep-git-dir=true https://h/r.git#v2 /")
    );
}
