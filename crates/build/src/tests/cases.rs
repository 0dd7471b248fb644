//! What is done in which situation, as tables.
//!
//! A line a node: how it ended for the watch (`-` if it was never begun), its name, and what the worker was asked for.

use std::sync::atomic::Ordering;

use expect_test::{Expect, expect};

use super::*;

/// A world, a cache, and what was done in the builds so far.
#[derive(Default)]
struct Scene {
    world: World,
    store: Store,
    transcript: String,
    /// What the target was, of each build.
    trees: Vec<Tree>,
}

impl Scene {
    fn build(&mut self, title: &str, text: &str) {
        self.build_anew(title, text, &[]);
    }

    /// With `--no-cache` for nodes whose names contain one of these words.
    fn build_anew(&mut self, title: &str, text: &str, anew: &[&str]) {
        let (graph, target) = lowered(text);
        self.world.begin();
        let wishes = |node: &Node| anew.iter().any(|word| node.name.contains(word));
        let (result, diary) =
            build_of((&graph, &[target]), (&self.world, &self.store), &wishes, &Cancel::new());
        self.trees.extend(result.unwrap());
        let log = self.world.log.lock().unwrap();
        let line = |(number, node): (usize, &Node)| {
            let told = diary.of(number).map_or("-", |told| told.last.unwrap());
            let did = log.get(&number).map(|did| format!(": {}", did.join(" "))).unwrap_or_default();
            format!("{told:<6} {}{did}\n", node.name)
        };
        let lines: String = graph.nodes().iter().enumerate().map(line).collect();
        self.transcript.push_str(&format!("# {title}\n{lines}"));
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.transcript);
    }
}

const PLAIN: &str = "FROM a\nWORKDIR /w\nRUN one\nRUN two";

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

const STAGES: &str = "FROM a AS build\nRUN one\nFROM b\nRUN two\nCOPY --from=build /x /y\nRUN three";

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
        -      [build 2/2] RUN one
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
        done   [stage-0 2/3] COPY . /src: content perform
        done   [stage-0 3/3] RUN make: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        done   [stage-1 2/2] COPY --from=0 /x /: content perform
        # again: the copy of what was made needs no look at files
        done   [stage-0 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        cached [stage-0 2/3] COPY . /src: content
        cached [stage-0 3/3] RUN make
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        cached [stage-1 2/2] COPY --from=0 /x /
        # other files
        done   [stage-0 1/3] FROM docker.io/library/a:latest: source
        done   [internal] load build context: source
        done   [stage-0 2/3] COPY . /src: content perform
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
        done   preparing inline document: source perform
        done   [4/4] COPY <<d /d: content perform
        # again
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] ADD https://h/f /f: source
        cached [2/4] ADD https://h/f /f
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r
        cached preparing inline document: source
        cached [4/4] COPY <<d /d
        # another base: the copies need their sources, which are known
        done   [1/4] FROM docker.io/library/a:latest: source
        cached [2/4] ADD https://h/f /f: source
        cached [2/4] ADD https://h/f /f: content
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r: content
        cached preparing inline document: source
        cached [4/4] COPY <<d /d: content
        # another file: those after it are copies of the same
        done   [1/4] FROM docker.io/library/a:latest: source
        done   [2/4] ADD https://h/f /f: source perform
        done   [2/4] ADD https://h/f /f: content perform
        cached [3/4] ADD https://h/r.git /r: source
        cached [3/4] ADD https://h/r.git /r: content
        cached preparing inline document: source
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
fn lost_layers_are_made_anew() {
    let mut scene = Scene::default();
    scene.build("first", STAGES);
    scene.world.lose_all();
    scene.build("all are lost", STAGES);
    scene.world.lose("RUN one");
    scene.build("one that nobody needs", STAGES);
    scene.world.lose("COPY");
    scene.build("that which needs it", STAGES);
    scene.check(expect![[r#"
        # first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # all are lost
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # one that nobody needs
        done   [build 1/2] FROM docker.io/library/a:latest: source
        -      [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
        # that which needs it
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        cached [stage-1 4/4] RUN three
    "#]]);
}

/// A layer that was made upon an old base must not come to lie on a new one.
#[test]
fn what_stood_on_a_lost_layer_is_known_if_that_comes_out_the_same() {
    let mut scene = Scene::default();
    for text in
        ["FROM a\nRUN one\nRUN two", "FROM a\nRUN date\nRUN two", "FROM a\nRUN date\nCOPY --from=b /x /"]
    {
        scene.build("first", text);
        scene.world.lose(if text.contains("date") { "RUN date" } else { "RUN one" });
        scene.build("lost", text);
    }
    scene.check(expect![[r#"
        # first
        done   [1/3] FROM docker.io/library/a:latest: source
        done   [2/3] RUN one: content perform
        done   [3/3] RUN two: content perform
        # lost
        done   [1/3] FROM docker.io/library/a:latest: source
        done   [2/3] RUN one: content perform
        cached [3/3] RUN two
        # first
        done   [1/3] FROM docker.io/library/a:latest: source
        done   [2/3] RUN date: content perform
        done   [3/3] RUN two: content perform
        # lost
        done   [1/3] FROM docker.io/library/a:latest: source
        done   [2/3] RUN date: content perform
        done   [3/3] RUN two: content perform
        # first
        done   [1/1] FROM docker.io/library/b:latest: source
        done   [1/3] FROM docker.io/library/a:latest: source
        cached [2/3] RUN date
        done   [3/3] COPY --from=b /x /: content perform
        # lost
        done   [1/1] FROM docker.io/library/b:latest: source
        done   [1/3] FROM docker.io/library/a:latest: source
        done   [2/3] RUN date: content perform
        cached [3/3] COPY --from=b /x /: content
    "#]]);
}

#[test]
fn keys_are_learnt_from_one_another() {
    let mut scene = Scene::default();
    scene.build("first", STAGES);
    let known = scene.store.all();
    scene.world.set("b:latest", "2");
    scene.build("another base", STAGES);
    scene.store.forget(|key| known.contains_key(key));
    scene.build("what the second build has learnt", STAGES);
    scene.check(expect![[r#"
        # first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # another base
        done   [build 1/2] FROM docker.io/library/a:latest: source
        cached [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        cached [stage-1 3/4] COPY --from=build /x /y: content
        done   [stage-1 4/4] RUN three: content perform
        # what the second build has learnt
        done   [build 1/2] FROM docker.io/library/a:latest: source
        -      [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
    "#]]);
}

#[test]
fn what_is_done_anew_is_kept_and_tells_the_rest() {
    let mut scene = Scene::default();
    scene.build("first", STAGES);
    scene.build_anew("it comes out the same, so the rest is known", STAGES, &["RUN one"]);
    scene.build_anew("so does this", STAGES, &["RUN two"]);
    scene.build_anew("all", STAGES, &["RUN", "COPY"]);
    let dated = STAGES.replace("one", "date");
    scene.build("a step that is never the same", &dated);
    scene.build_anew("the rest is not known then", &dated, &["date"]);
    scene.build("what was made last counts", &dated);
    scene.check(expect![[r#"
        # first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # it comes out the same, so the rest is known
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
        # so does this
        done   [build 1/2] FROM docker.io/library/a:latest: source
        cached [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
        # all
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        done   [stage-1 2/4] RUN two: content perform
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # a step that is never the same
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN date: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # the rest is not known then
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN date: content perform
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        done   [stage-1 3/4] COPY --from=build /x /y: content perform
        done   [stage-1 4/4] RUN three: content perform
        # what was made last counts
        done   [build 1/2] FROM docker.io/library/a:latest: source
        -      [build 2/2] RUN date
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
    "#]]);
}

/// A build by one definition, then one that is done anew and comes out as an earlier one: the definition leads there from then on.
#[test]
fn the_last_result_of_a_definition_is_the_one_that_is_known() {
    let mut scene = Scene::default();
    let text = "FROM a AS build\nRUN one\nFROM b\nCOPY --from=build /x /y";
    scene.build("first", text);
    scene.world.shift(1);
    scene.build_anew("one comes out differently", text, &["RUN one"]);
    scene.world.shift(0);
    scene.build_anew("one comes out as at first", text, &["RUN one"]);
    scene.build("what was made at first is known", text);
    assert_eq!(scene.trees[0], scene.trees[2]);
    assert_eq!(scene.trees[3], scene.trees[2]);
    assert_ne!(scene.trees[1], scene.trees[2]);
    scene.check(expect![[r#"
        # first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        done   [stage-1 2/2] COPY --from=build /x /y: content perform
        # one comes out differently
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        done   [stage-1 2/2] COPY --from=build /x /y: content perform
        # one comes out as at first
        done   [build 1/2] FROM docker.io/library/a:latest: source
        done   [build 2/2] RUN one: content perform
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        cached [stage-1 2/2] COPY --from=build /x /y
        # what was made at first is known
        done   [build 1/2] FROM docker.io/library/a:latest: source
        -      [build 2/2] RUN one
        done   [stage-1 1/2] FROM docker.io/library/b:latest: source
        cached [stage-1 2/2] COPY --from=build /x /y
    "#]]);
}

/// Which of two nodes makes it is a matter of luck.
#[test]
fn equal_content_is_made_once() {
    let mut scene = Scene::default();
    // Two stages end with the same files, in different ways.
    let same = "FROM x AS s1\nCOPY . /s\nFROM x AS s2\nCOPY --link . /s\nFROM a\nCOPY --from=s1 /q /\nCOPY --from=s2 /q /";
    // One file at two places.
    let file = "FROM a AS s1\nADD https://h/f /1\nFROM b AS s2\nADD https://i/f /1\nFROM scratch\nCOPY --from=s1 / /\nCOPY --from=s2 / /";
    for (text, anew, performed) in [
        (same, &[][..], 2),
        (same, &[], 0),
        (same, &["["], 2),
        (file, &[], 4),
        (file, &[], 0),
        (file, &["["], 4),
    ] {
        scene.build_anew("", text, anew);
        assert_eq!(scene.world.count("perform"), performed, "{anew:?} {text}");
    }
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
