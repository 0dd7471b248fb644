//! Whatever a graph looks like and whatever became of its parts: a build gives what a build without a cache gives.

use proptest::prelude::*;

use super::*;

/// Something that changes between two builds.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    /// An image, a file or the context.
    Version(usize, u8),
    /// Of eight layers, those of these bits.
    Lose(u8),
    /// The same of keys.
    Forget(u8),
    /// Nodes whose names contain this word are done anew.
    Anew(usize),
}

const SOURCES: [&str; 4] = ["", "a:latest", "b:latest", "https://h/f"];
const WORDS: [&str; 5] = ["RUN x", "RUN", "COPY", "ADD", "["];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Nothing),
        (0..SOURCES.len(), 0..3u8).prop_map(|(source, version)| Change::Version(source, version)),
        any::<u8>().prop_map(Change::Lose),
        any::<u8>().prop_map(Change::Forget),
        (0..WORDS.len()).prop_map(Change::Anew),
    ]
}

/// Stages, each with a base and steps that may take from those before.
fn file() -> impl Strategy<Value = String> {
    let stage = (any::<u8>(), prop::collection::vec((0..8u8, any::<u8>()), 0..4));
    prop::collection::vec(stage, 1..8).prop_map(|stages| {
        let mut text = String::new();
        for (number, (base, steps)) in stages.iter().enumerate() {
            let base = match base % 5 {
                0 => "scratch".to_owned(),
                1 => "a".to_owned(),
                2 => "b".to_owned(),
                _ if number > 0 => format!("s{}", usize::from(*base) % number),
                _ => "a".to_owned(),
            };
            text.push_str(&format!("FROM {base} AS s{number}\n"));
            for (kind, which) in steps {
                let from = usize::from(*which) % number.max(1);
                text.push_str(&match (kind, number) {
                    (0, _) => format!("RUN x{}\n", which % 3),
                    (1, _) => "COPY . /c\n".to_owned(),
                    (2, _) => "ADD https://h/f /f\n".to_owned(),
                    (3, _) => format!("WORKDIR /w{}\n", which % 2),
                    (4, _) => "COPY --link . /c\n".to_owned(),
                    (5, 1..) => format!("COPY --link --from=s{from} /x /\n"),
                    (6, 1..) => format!("COPY --from=s{from} /x /\n"),
                    (7, 1..) => format!("RUN --mount=from=s{from},target=/m --mount=target=/n x\n"),
                    _ => "COPY <<d /d\nx\nd\n".to_owned(),
                });
            }
        }
        text
    })
}

fn masked(mask: u8, digest: &str) -> bool {
    let last = digest.bytes().last().map_or(0, |byte| byte % 8);
    mask & (1 << last) != 0
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_build_gives_what_one_without_a_cache_gives(text in file(), changes in prop::collection::vec(change(), 1..6)) {
        let (graph, target) = lowered(&text);
        let targets = [target];
        let (world, store) = (World::default(), Store::default());
        for change in std::iter::once(&Change::Nothing).chain(&changes) {
            let mut word = "\0";
            match change {
                Change::Nothing => {}
                Change::Version(source, version) => world.set(SOURCES[*source], &version.to_string()),
                Change::Lose(mask) => world.lose_some(|layer| masked(*mask, layer)),
                Change::Forget(mask) => store.forget(|key| masked(*mask, key.as_str())),
                Change::Anew(which) => word = WORDS[*which],
            }
            world.begin();
            let anew = |node: &Node| node.name.contains(word);
            let (result, diary) = build_of((&graph, &targets), (&world, &store), &anew, &Cancel::new());
            let found = result.unwrap();
            for (node, did) in world.log.lock().unwrap().iter() {
                let count = |what: &str| did.iter().filter(|did| **did == what).count();
                prop_assert!(count("perform") <= 1 && count("content") <= 1 && count("source") <= 1, "{node} {did:?}");
            }
            // From nothing: each node is told of, after its inputs.
            let clean = World::default();
            clean.versions.lock().unwrap().clone_from(&world.versions.lock().unwrap());
            let (result, clean_diary) = build_of((&graph, &targets), (&clean, &Store::default()), &|_| false, &Cancel::new());
            prop_assert_eq!(found, result.unwrap());
            for (number, node) in graph.nodes().iter().enumerate() {
                let told = clean_diary.of(number).unwrap();
                for input in &node.inputs {
                    prop_assert!(clean_diary.of(*input).unwrap().ended < told.begun);
                }
                prop_assert!(diary.of(number).is_none_or(|told| told.begun < told.ended));
            }
            // And again: there is nothing to do, and nothing to write.
            world.begin();
            let writes = store.writes.load(Ordering::SeqCst);
            let (result, _) = build_of((&graph, &targets), (&world, &store), &|_| false, &Cancel::new());
            result.unwrap();
            prop_assert_eq!((world.count("perform"), store.writes.load(Ordering::SeqCst) - writes), (0, 0));
        }
    }
}
