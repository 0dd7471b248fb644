//! Graphs that are deep, wide and large.

use super::*;

fn built_twice(text: &str) -> (usize, usize, usize) {
    let (graph, target) = lowered(text);
    let (world, store) = (World::default(), Store::default());
    let build = || {
        world.begin();
        let (result, _) = build_of((&graph, &[target]), (&world, &store), &|_| false, &Cancel::new());
        (result.unwrap(), world.count("perform"))
    };
    let (first, again) = (build(), build());
    assert_eq!(first.0, again.0);
    (graph.nodes().len(), first.1, again.1)
}

#[test]
fn ten_thousand_nodes_one_after_the_other() {
    let mut text = "FROM a AS s0\nRUN x\n".to_owned();
    for stage in 1..10_000 {
        text.push_str(&format!("FROM scratch AS s{stage}\nCOPY --from=s{} /x /\n", stage - 1));
    }
    assert_eq!(built_twice(&text), (10_002, 10_000, 0));
}

#[test]
fn ten_thousand_nodes_beside_each_other() {
    let stages: String = (0..10_000).map(|stage| format!("FROM a AS s{stage}\nRUN x{stage}\n")).collect();
    let mounts: String =
        (0..10_000).map(|stage| format!(" \\\n --mount=from=s{stage},target=/{stage}")).collect();
    assert_eq!(built_twice(&format!("{stages}FROM a\nRUN{mounts} y")), (10_002, 10_001, 0));
}

#[test]
fn a_thousand_layers_upon_each_other() {
    let steps: String = (0..1000).map(|step| format!("RUN x{step}\n")).collect();
    assert_eq!(built_twice(&format!("FROM a\n{steps}")), (1001, 1000, 0));
}
