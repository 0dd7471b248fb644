//! What is made once more: lost layers, forgotten keys, steps that nobody may look up.

use super::*;

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
        cached [build 2/2] RUN one
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
        cached [build 2/2] RUN one
        done   [stage-1 1/4] FROM docker.io/library/b:latest: source
        cached [stage-1 2/4] RUN two
        cached [stage-1 3/4] COPY --from=build /x /y
        cached [stage-1 4/4] RUN three
    "#]]);
}

/// A cache knows a result again by that, and may forget the keys that nobody has asked for.
#[test]
fn new_keys_are_kept_with_the_one_that_led_to_the_result() {
    let mut scene = Scene::default();
    scene.build("first", STAGES);
    let known = scene.store.all();
    scene.store.kept.lock().unwrap().clear();
    scene.world.set("b:latest", "2");
    scene.build("another base: a copy is found by its content", STAGES);
    let kept = scene.store.kept.lock().unwrap();
    let led = |keys: &&Vec<Key>| keys.iter().any(|key| known.contains_key(key));
    let [found] = kept.iter().filter(led).collect::<Vec<_>>()[..] else { panic!("{kept:?}") };
    assert!(found.len() > 1 && known.contains_key(found.last().unwrap()), "{found:?}");
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
        cached [build 2/2] RUN date
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
        cached [build 2/2] RUN one
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
