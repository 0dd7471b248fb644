//! What is known, and what is needed for that.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_chain_is_run_once() {
    let mut scene = Scene::default();
    scene.build("first", PLAIN);
    scene.build("again", PLAIN);
    scene.world.set("a:latest", "2");
    scene.build("another base", PLAIN);
    scene.world.set("a:latest", "1");
    scene.build("the first base", PLAIN);
    scene.build("another first step", "FROM a\nWORKDIR /w\nRUN 1\nRUN two");
    scene.check(expect![[r#"
        # first
        done   [1/4] FROM docker.io/library/a:latest: source
        done   [2/4] WORKDIR /w: content perform
        done   [3/4] RUN one: content perform
        done   [4/4] RUN two: content perform
        # again
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] WORKDIR /w
        cached [3/4] RUN one
        cached [4/4] RUN two
        # another base
        done   [1/4] FROM docker.io/library/a:latest: source
        done   [2/4] WORKDIR /w: content perform
        done   [3/4] RUN one: content perform
        done   [4/4] RUN two: content perform
        # the first base
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] WORKDIR /w
        cached [3/4] RUN one
        cached [4/4] RUN two
        # another first step
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] WORKDIR /w
        done   [3/4] RUN 1: content perform
        done   [4/4] RUN two: content perform
    "#]]);
}

#[test]
fn what_a_known_copy_was_taken_from_is_not_needed() {
    let mut scene = Scene::default();
    scene.build("first", STAGES);
    scene.build("again", STAGES);
    scene.world.set("b:latest", "2");
    scene.build("another base: the copy is known by its content", STAGES);
    scene.check(expect![[r#"
        # first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # again
        done   [build 1/2] FROM docker.io/library/a:latest: source
        cached [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
        # another base: the copy is known by its content
        done   [build 1/2] FROM docker.io/library/a:latest: source
        cached [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        cached [stage-1 3/4] COPY --from=build /x /y: content
        done   [stage-1 4/4] RUN three: content perform
    "#]]);
}

#[test]
fn files_of_the_caller_count_by_their_content() {
    let mut scene = Scene::default();
    let text = "FROM a\nCOPY . /src\nRUN make\nFROM b\nCOPY --from=0 /x /";
    scene.build("first", text);
    scene.build("again: the copy of what was made needs no look at files", text);
    scene.world.set("", "2");
    scene.build("other files", text);
    scene.check(expect![[r#"
        # first
        done   [stage-0 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        done   [stage-0 2/3] COPY . /src: taken content perform
        done   [stage-0 3/3] RUN make: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        done   [stage-1 2/2] COPY --from=0 /x /: content perform
        # again: the copy of what was made needs no look at files
        done   [stage-0 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        cached [stage-0 2/3] COPY . /src: taken
        cached [stage-0 3/3] RUN make
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        cached [stage-1 2/2] COPY --from=0 /x /
        # other files
        done   [stage-0 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        done   [stage-0 2/3] COPY . /src: taken content perform
        done   [stage-0 3/3] RUN make: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        done   [stage-1 2/2] COPY --from=0 /x /: content perform
    "#]]);
}

#[test]
fn sources_are_fetched_when_somebody_needs_their_files() {
    let mut scene = Scene::default();
    let text = "FROM a\nADD https://h/f /f\nADD https://h/r.git /r\nCOPY <<d /d\nx\nd\n";
    scene.build("first", text);
    scene.build("again", text);
    scene.world.set("a:latest", "2");
    scene.build("another base: the copies need their sources, which are known", text);
    scene.world.set("https://h/f", "2");
    scene.build("another file: those after it are copies of the same", text);
    scene.check(expect![[r#"
        # first
        done   [1/4] FROM docker.io/library/a:latest: source
        done   [2/4] ADD https://h/f /f: source perform
        done   [2/4] ADD https://h/f /f: content perform
        done   [3/4] ADD https://h/r.git /r: source perform
        done   [3/4] ADD https://h/r.git /r: content perform
        done   [internal] preparing inline document: source perform
        done   [4/4] COPY <<d /d: content perform
        # again
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] ADD https://h/f /f: source
        cached [2/4] ADD https://h/f /f
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r
        cached [internal] preparing inline document: source
        cached [4/4] COPY <<d /d
        # another base: the copies need their sources, which are known
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] ADD https://h/f /f: source
        cached [2/4] ADD https://h/f /f: content
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r: content
        cached [internal] preparing inline document: source
        cached [4/4] COPY <<d /d: content
        # another file: those after it are copies of the same
        done   [1/4] FROM docker.io/library/a:latest: source
        done   [2/4] ADD https://h/f /f: source perform
        done   [2/4] ADD https://h/f /f: content perform
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r: content
        cached [internal] preparing inline document: source
        cached [4/4] COPY <<d /d: content
    "#]]);
}

#[test]
fn a_linked_layer_knows_nothing_of_its_base() {
    let mut scene = Scene::default();
    let text = "FROM a\nCOPY --link --from=c /x /y\nRUN one";
    scene.build("first", text);
    scene.build("again", text);
    scene.world.set("a:latest", "2");
    scene.build("another base", text);
    scene.check(expect![[r#"
        # first
        done   [1/1] FROM docker.io/library/c:latest: source
        done   [1/3] FROM docker.io/library/a:latest: source
        done   scratch: source
        done   [2/3] COPY --link --from=c /x /y: content perform
        done   [2/3] COPY --link --from=c /x /y
        done   [3/3] RUN one: content perform
        # again
        done   [1/1] FROM docker.io/library/c:latest: source
        done   [1/3] FROM docker.io/library/a:latest: source
        done   scratch: source
        cached [2/3] COPY --link --from=c /x /y
        cached [2/3] COPY --link --from=c /x /y
        cached [3/3] RUN one
        # another base
        done   [1/1] FROM docker.io/library/c:latest: source
        done   [1/3] FROM docker.io/library/a:latest: source
        done   scratch: source
        cached [2/3] COPY --link --from=c /x /y
        cached [2/3] COPY --link --from=c /x /y
        done   [3/3] RUN one: content perform
    "#]]);
}

#[test]
fn nothing_is_wanted_of_no_target_and_the_same_of_two() {
    let (world, store) = (World::default(), Store::default());
    let (graph, target) = lowered(PLAIN);
    let build = |targets: &[usize]| build_of((&graph, targets), (&world, &store), &|_| false, &Cancel::new());
    let (result, diary) = build(&[]);
    assert!(result.unwrap().is_empty() && diary.of(0).is_none());
    let (result, diary) = build(&[1]);
    assert!(result.unwrap().len() == 1 && diary.of(2).is_none());
    let (result, _) = build(&[target, 1, target]);
    let trees = result.unwrap();
    assert!(trees.len() == 3 && trees[0] == trees[2] && trees[0] != trees[1]);
    assert_eq!(world.count("perform"), 3);
}

#[test]
fn a_cache_that_has_it_all_is_read_alone() {
    let mut scene = Scene::default();
    for text in [PLAIN, STAGES, "FROM a\nCOPY . /s\nRUN x\nADD https://h/f /f\nCOPY --link . /t"] {
        scene.build("", text);
        let writes = scene.store.writes.load(Ordering::SeqCst);
        scene.build("", text);
        assert_eq!(scene.store.writes.load(Ordering::SeqCst), writes, "{text}");
    }
    assert!(scene.store.reads.load(Ordering::SeqCst) > 0);
}

const COPIED: &str = "FROM a AS s\nCOPY . /src\nRUN make\nFROM b\nCOPY --from=s /x /\nRUN --mount=target=/c --mount=from=s,target=/m end";

/// Who has no files of the stages before needs none of them, though these are made of files of the caller.
#[test]
fn what_was_made_of_the_callers_files_is_known_without_what_made_it() {
    let mut scene = Scene::default();
    scene.build("first", COPIED);
    scene.world.lose("COPY . /src");
    scene.world.lose("RUN make");
    scene.build("without the layers of the first stage", COPIED);
    scene.world.set("", "2");
    scene.build("other files", COPIED);
    scene.check(expect![[r#"
        # first
        done   [s 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        done   [s 2/3] COPY . /src: taken content perform
        done   [s 3/3] RUN make: content perform
        done   [stage-1 1/3] FROM docker.io/library/b:latest: source
        done   [stage-1 2/3] COPY --from=s /x /: content perform
        done   [stage-1 3/3] RUN --mount=target=/c --mount=from=s,target=/m end: taken content perform
        # without the layers of the first stage
        done   [s 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        cached [s 2/3] COPY . /src: taken
        cached [s 3/3] RUN make
        done   [stage-1 1/3] FROM docker.io/library/b:latest: source
        cached [stage-1 2/3] COPY --from=s /x /
        cached [stage-1 3/3] RUN --mount=target=/c --mount=from=s,target=/m end: taken
        # other files
        done   [s 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        done   [s 2/3] COPY . /src: taken content perform
        done   [s 3/3] RUN make: content perform
        done   [stage-1 1/3] FROM docker.io/library/b:latest: source
        done   [stage-1 2/3] COPY --from=s /x /: content perform
        done   [stage-1 3/3] RUN --mount=target=/c --mount=from=s,target=/m end: taken content perform
    "#]]);
}

/// A build that needs next to nothing hears of all there is, so that its cache is of use to whoever needs more.
#[test]
fn who_asks_for_all_hears_of_what_nobody_needed() {
    for text in [
        STAGES,
        COPIED,
        "FROM a AS s\nADD https://h/f /f\nCOPY --link . /t\nFROM s AS t\nRUN x\nFROM b\nCOPY --from=t /x /",
    ] {
        let mut scene = Scene::default();
        scene.build("", text);
        let all = scene.store.all();
        scene.store.found.lock().unwrap().clear();
        scene.build("", text);
        assert_eq!(scene.world.count("perform"), 0, "{text}");
        let found = scene.store.found.lock().unwrap().clone();
        let heard: BTreeSet<&str> = all
            .iter()
            .filter(|(key, _)| found.contains(key))
            .map(|(_, record)| record.layer.as_str())
            .collect();
        let made: BTreeSet<&str> = all.values().map(|record| record.layer.as_str()).collect();
        assert_eq!(heard, made, "{text}");
        // With what it has heard of, nothing is made anew.
        scene.store.forget(|key| !found.contains(key));
        scene.build("", text);
        assert_eq!(scene.world.count("perform"), 0, "{text}");
    }
}

#[test]
fn steps_that_nobody_needed_are_told_from_the_first_to_the_last() {
    let long = "FROM a AS build\nRUN 1\nRUN 2\nRUN 3\nRUN 4\nFROM b\nCOPY --from=build /x /y\nRUN two\n";
    let (graph, target) = lowered(long);
    let (world, store) = (World::default(), Store::default());
    let build = || build_of((&graph, &[target]), (&world, &store), &|_| false, &Cancel::new());
    build().0.unwrap();
    let (result, diary) = build();
    result.unwrap();
    let chain: Vec<usize> = (0..graph.nodes().len())
        .filter(|node| {
            graph.nodes()[*node].name.starts_with("[build") && !graph.nodes()[*node].inputs.is_empty()
        })
        .map(|node| diary.of(node).unwrap().ended)
        .collect();
    assert_eq!(chain.len(), 4);
    assert!(chain.is_sorted(), "{chain:?}");
}
