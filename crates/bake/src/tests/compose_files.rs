//! Compose files that take from others: `include`, `extends`, `env_file`, several that lie over each other; and what their variables are.
//!
//! What is expected is what `docker buildx bake --print` shows of the same files, except where a test says otherwise.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::support::{environment, file};
use crate::{Plan, Reader, Request, Result};

/// Files that are named, files that are there besides, and variables that are given.
struct Project<'p> {
    named: &'p [&'p str],
    there: &'p [(&'p str, &'p str)],
    given: &'p [(&'p str, &'p str)],
}

impl Project<'_> {
    fn load(&self) -> Result<Plan> {
        let there: BTreeMap<&str, &str> = self.there.iter().copied().collect();
        let read = |path: &str| match path {
            "unreadable" => Err("permission denied".to_owned()),
            path => Ok(there.get(path).map(|text| (*text).to_owned())),
        };
        let files: Vec<_> = self.named.iter().map(|name| file(name, there[name])).collect();
        let request = Request {
            files: &files,
            environment: environment(self.given),
            dotenv: there.get(".env").copied(),
            reader: Some(Reader(&read)),
            ..Request::default()
        };
        request.load()
    }

    /// Each target in a line: context, other contexts, arguments, tags, secrets.
    fn check(&self, expected: Expect) {
        let plan = match self.load() {
            Ok(plan) => plan,
            Err(error) => return expected.assert_eq(&format!("error: {error}\n")),
        };
        let mut shown = String::new();
        for (name, target) in &plan.targets {
            shown.push_str(&format!("{name}: {}", target.context));
            target.contexts.iter().for_each(|(name, value)| shown.push_str(&format!(" {name}:{value}")));
            target.args.iter().for_each(|(name, value)| shown.push_str(&format!(" {name}={value}")));
            target.tags.iter().for_each(|tag| shown.push_str(&format!(" [{tag}]")));
            for secret in &target.secret {
                shown.push_str(&format!(" {}<{}", secret.id, secret.source.clone().unwrap_or_default()));
            }
            shown.push('\n');
        }
        expected.assert_eq(&shown);
    }
}

fn check(named: &[&str], there: &[(&str, &str)], given: &[(&str, &str)], expected: Expect) {
    Project { named, there, given }.check(expected);
}

const EXTENDING: &[(&str, &str)] = &[
    (
        "compose.yaml",
        "services:
  base: {build: {context: b, args: [X=1]}}
  app: {extends: base, build: {args: [Y=1]}}
  far: {extends: {file: sub/f.yaml, service: one}, build: {args: [B, F=1]}}
",
    ),
    (
        "sub/f.yaml",
        "services:
  one: {extends: {file: g.yaml, service: two}, env_file: f.env, image: 'im${V}', environment: {Q: q}}
",
    ),
    (
        "sub/g.yaml",
        "services:
  two: {extends: three, build: {context: ., additional_contexts: {m: ./m}}, profiles: [x]}
  three: {build: {args: [G=3, F=3, Q]}}
",
    ),
    ("sub/f.env", "B=b\n"),
    ("over.yaml", "services:\n  base: {build: {args: [X=2]}}\n"),
];

#[test]
fn services_extend_those_of_other_files_with_the_paths_of_these() {
    check(
        &["compose.yaml"],
        EXTENDING,
        &[("V", "v")],
        expect![[r#"
        app: b X=1 Y=1
        base: b X=1
        far: sub m:sub/m B=b F=1 G=3 Q=q [imv]
    "#]],
    );
    // What lies over a base is not seen by who extends it below.
    check(
        &["compose.yaml", "over.yaml"],
        EXTENDING,
        &[],
        expect![[r#"
        app: b X=1 Y=1
        base: b X=2
        far: sub m:sub/m B=b F=1 G=3 Q=q [im]
    "#]],
    );
}

#[test]
fn what_cannot_be_extended_is_said() {
    for (text, expected) in [
        (
            "services: {app: {extends: zip}}",
            expect![[r#"
            error: target app: it extends zip, which a.yaml does not define
        "#]],
        ),
        (
            "services: {app: {extends: {file: none.yaml, service: x}}}",
            expect![[r#"
                error: a.yaml: read none.yaml: there is no such file
            "#]],
        ),
        (
            "services: {app: {extends: {file: unreadable, service: x}}}",
            expect![[r#"
                error: a.yaml: read unreadable: permission denied
            "#]],
        ),
        (
            "services: {app: {extends: {file: a.yaml, service: app}}}",
            expect![[r#"
            error: extends cycle not allowed: app -> app
        "#]],
        ),
        (
            "services: {app: {extends: {file: b.yaml, service: b}}}",
            expect![[r#"
                error: extends cycle not allowed: app -> b of b.yaml -> app
            "#]],
        ),
        (
            "services: {app: {extends: {file: b.yaml, service: none}}}",
            expect![[r#"
            error: target app: it extends none, which b.yaml does not define
        "#]],
        ),
        (
            "services: {app: {extends: {file: b.yaml}}}",
            expect![[r#"
            error: target app: extends names no service
        "#]],
        ),
        (
            "services: {app: {extends: {file: bad.yaml, service: x}}}",
            expect![[r#"
                error: read bad.yaml:2,1: while parsing a node, did not find expected node content
            "#]],
        ),
    ] {
        let there = [
            ("a.yaml", text),
            ("b.yaml", "services: {b: {extends: {file: a.yaml, service: app}}}"),
            ("bad.yaml", "["),
        ];
        check(&["a.yaml"], &there, &[], expected);
    }
}

const INCLUDING: &[(&str, &str)] = &[
    (
        "compose.yaml",
        "include:
  - path: [sub/a.yaml, sub/b.yaml]
    project_directory: pd
    env_file: [i.env]
  - sub/deep/c.yaml
services:
  main: {build: {context: m, additional_contexts: {a: 'service:a'}}}
",
    ),
    ("i.env", "V=ienv\nONLY=only"),
    ("sub/.env", "W=subenv"),
    (
        "sub/a.yaml",
        "services:
  a:
    build: {context: ., args: ['V=${V}', 'W=${W}', 'K=$$K', E], secrets: [s]}
    env_file: x.env
    environment: [E]
secrets: {s: {file: ./s.txt}}
",
    ),
    ("sub/b.yaml", "services: {a: {build: {args: [X, Z=1, ONLY]}, environment: [ONLY]}}"),
    ("pd/x.env", "X=xx\nE=never"),
    ("sub/x.env", "X=no"),
    ("sub/deep/.env", "V=denv"),
    (
        "sub/deep/c.yaml",
        "include: [e/d.yaml]\nservices: {c: {build: {context: ., args: ['V=${V}', 'W=${W}']}}}",
    ),
    (
        "sub/deep/e/d.yaml",
        "services: {d: {build: {context: x, args: ['V=${V}', 'K=$$K'], additional_contexts: {u: ../u, h: 'https://x/y'}}}}",
    ),
    ("over.yaml", "services: {a: {build: {args: [OVER=1]}}}"),
];

#[test]
fn included_files_are_projects_with_folders_and_variables_of_their_own() {
    // The original puts the folder of `d`, which is included by what is included, twice.
    check(
        &["compose.yaml"],
        INCLUDING,
        &[],
        expect![[r#"
        a: pd K=$K ONLY=only V=ienv W= X=xx Z=1 s<pd/s.txt
        c: sub/deep V=denv W=
        d: sub/deep/e/x h:https://x/y u:sub/deep/u K=$K V=denv
        main: m a:target:a
    "#]],
    );
    // Who calls counts before, and what lies over the whole may change what was included.
    check(
        &["compose.yaml", "over.yaml"],
        INCLUDING,
        &[("V", "environ"), ("E", "e")],
        expect![[r#"
        a: pd E=e K=$K ONLY=only OVER=1 V=environ W= X=xx Z=1 s<pd/s.txt
        c: sub/deep V=environ W=
        d: sub/deep/e/x h:https://x/y u:sub/deep/u K=$K V=environ
        main: m a:target:a
    "#]],
    );
}

#[test]
fn what_has_no_value_takes_that_of_below_away() {
    let lower = "services: { app: { environment: { E: e }, build: { args: { A: '1', B: '2', E }, labels: { L: l } } } }";
    let lower = lower.replace(", E }", ", E: }");
    for (upper, want) in
        [("{ A: , C: }", "B=2 E=e"), ("[A, C=3]", "B=2 C=3 E=e"), ("{ B: x }", "A=1 B=x E=e")]
    {
        let upper = format!("services: {{ app: {{ build: {{ args: {upper}, labels: [L] }} }} }}");
        let there = [("a.yaml", lower.as_str()), ("b.yaml", upper.as_str())];
        let plan = Project { named: &["a.yaml", "b.yaml"], there: &there, given: &[] }.load().unwrap();
        let app = &plan.targets["app"];
        let args: Vec<String> = app.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(args.join(" "), want);
        assert_eq!(app.labels["L"], "");
    }
}

#[test]
fn what_extends_and_lies_over_another_file_keeps_its_marks() {
    let lower = "services: { app: { build: { args: { A: '1' }, tags: [low] } } }";
    let upper = "services: { app: { extends: base, build: { args: { A: }, tags: !override [up] } }, base: { build: { args: { A: '2', B: '2' }, tags: [base] } } }";
    let there = [("a.yaml", lower), ("b.yaml", upper)];
    check(
        &["a.yaml", "b.yaml"],
        &there,
        &[],
        expect![[r#"
        app: . B=2 [up]
        base: . A=2 B=2 [base]
    "#]],
    );
}

#[test]
fn the_folder_of_an_included_project_is_its_usual_context() {
    let there = [
        (
            "compose.yaml",
            "include: [sub/a.yaml]\nservices: { far: { extends: { file: sub/b.yaml, service: b } } }",
        ),
        ("sub/a.yaml", "services: { a: { build: { target: x } } }"),
        ("sub/b.yaml", "services: { b: { build: { target: x } } }"),
    ];
    check(
        &["compose.yaml"],
        &there,
        &[],
        expect![[r#"
        a: sub
        far: .
    "#]],
    );
}

#[test]
fn what_cannot_be_included_is_said() {
    for (text, expected) in [
        (
            "include: [none.yaml]",
            expect![[r#"
                error: a.yaml: read none.yaml: there is no such file
            "#]],
        ),
        (
            "include: [a.yaml]",
            expect![[r#"
            error: include cycle not allowed: a.yaml -> a.yaml
        "#]],
        ),
        (
            "include: [b.yaml]",
            expect![[r#"
            error: include cycle not allowed: a.yaml -> b.yaml -> a.yaml
        "#]],
        ),
        (
            "include: [c.yaml]\nservices: {c: {build: other}}",
            expect![[r#"
            error: a.yaml: services.c is defined by an included file, too
        "#]],
        ),
        (
            "include: [{path: c.yaml, env_file: none.env}]",
            expect![[r#"
            error: a.yaml: env file none.env not found
        "#]],
        ),
        (
            "include: [{path: c.yaml, env_file: bad.env}]",
            expect![[r#"
            error: read bad.env:2,1: a quoted value has no end
        "#]],
        ),
        (
            "include: [{project_directory: x}]",
            expect![[r#"
            error: a.yaml: an entry of include has no path
        "#]],
        ),
        (
            "include: [{path: {a: b}}]",
            expect![[r#"
            error: a.yaml: path of include is no path
        "#]],
        ),
        (
            "include: [c.yaml, c.yaml]",
            expect![[r#"
            c: c
        "#]],
        ),
    ] {
        let there = [
            ("a.yaml", text),
            ("b.yaml", "include: [a.yaml]"),
            ("c.yaml", "services: {c: {build: c}}"),
            ("bad.env", "A=1\nB='x"),
        ];
        check(&["a.yaml"], &there, &[], expected);
    }
}

#[test]
fn how_much_is_read_has_limits() {
    let chain: Vec<(String, String)> =
        (0..40).map(|n| (format!("{n}.yaml"), format!("include: [{}.yaml]", n + 1))).collect();
    let there: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    check(
        &["0.yaml"],
        &there,
        &[],
        expect![[r#"
        error: files that include each other: at most 16 are taken
    "#]],
    );
    let many: Vec<String> = (0..400).map(|n| format!("x{n}.yaml")).collect();
    let all = format!("include: [{}]", many.join(","));
    let mut there: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "services: {}")).collect();
    there.push(("a.yaml", &all));
    check(
        &["a.yaml"],
        &there,
        &[],
        expect![[r#"
            error: a.yaml: read .env: the files that Compose files name are too many
        "#]],
    );
    let large = format!("#{}\nservices: {{}}", "x".repeat(3 << 20));
    let there =
        [("a.yaml", "include: [b.yaml, c.yaml]"), ("b.yaml", large.as_str()), ("c.yaml", large.as_str())];
    check(
        &["a.yaml"],
        &there,
        &[],
        expect![[r#"
            error: a.yaml: read c.yaml: the bytes of files that Compose files name are too many
        "#]],
    );
    // Each includes the next one twice as often: what is there twice is the same, and read again all the same.
    let doubling: Vec<(String, String)> =
        (0..14).map(|n| (format!("{n}.yaml"), format!("include: [{0}.yaml, {0}.yaml]", n + 1))).collect();
    let there: Vec<(&str, &str)> =
        doubling.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert!(Project { named: &["0.yaml"], there: &there, given: &[] }.load().is_err());
}

#[test]
fn arguments_take_what_the_services_programs_have() {
    let there = [
        (
            "compose.yaml",
            "services:
  app:
    env_file: [a.env, {path: b.env, required: true}, {path: none.env, required: false}, {path: raw.env, format: raw}]
    environment: {S: svc, T: }
    build: {args: [A, B, C, R, S, T, X, NONE]}
",
        ),
        ("a.env", "A=a\nB=a\nT=file\nX=${A}x\nS=f"),
        ("b.env", "B=b${A}${S}\nC=${ENVV}"),
        ("raw.env", "R='$A'"),
    ];
    check(
        &["compose.yaml"],
        &there,
        &[],
        expect![[r#"
        app: . A=a B=basvc C= R='$A' S=svc X=ax
    "#]],
    );
    let given = [("A", "env"), ("ENVV", "e"), ("T", "et"), ("X", "ex")];
    check(
        &["compose.yaml"],
        &there,
        &given,
        expect![[r#"
        app: . A=a B=benvsvc C=e R='$A' S=svc T=et X=envx
    "#]],
    );
    for (of_service, expected) in [
        (
            "env_file: none.env",
            expect![[r#"
            error: target app: env file none.env not found
        "#]],
        ),
        (
            "env_file: [{path: a.env, format: toml}]",
            expect![[r#"
            error: target app: env_file a.env: there is no format "toml"
        "#]],
        ),
        (
            "env_file: [{required: false}]",
            expect![[r#"
            error: target app: an entry of env_file has no path
        "#]],
        ),
        (
            "env_file: bad.env",
            expect![[r#"
            error: target app: read bad.env:1: a name and its value have = between them
        "#]],
        ),
        // Of an argument with a value, and of programs that nobody runs here, no file is read: the original would want it.
        (
            "environment: {A: own}\n    env_file: none.env",
            expect![[r#"
            app: . A=own
        "#]],
        ),
    ] {
        let text = format!("services:\n  app:\n    {of_service}\n    build: {{args: [A]}}\n");
        let there = [("c.yaml", text.as_str()), ("bad.env", "A b")];
        check(&["c.yaml"], &there, &[], expected);
    }
}

#[test]
fn several_files_lie_over_each_other() {
    let first = "services:
  app:
    image: im
    profiles: [p]
    env_file: one.env
    build: {context: a, args: {X: 1, Y: 1, O, T}, tags: [t1, t2], secrets: [s], additional_contexts: {c: x}, x-bake: {tags: [b1]}}
secrets: {s: {environment: S}, r: {environment: R}}
";
    let over = "services:
  app:
    image: im2
    env_file: [two.env]
    build: {args: [Y=2, Z=2], tags: [t2, t3], secrets: [r, s], additional_contexts: [c=y, d=z], x-bake: {output: [type=docker]}}
  new: {build: n, profiles: [q]}
";
    for (upper, expected) in [
        // An extension is replaced as a whole.
        (
            over,
            expect![[r#"
            app: a c:y d:z O=two T=two X=1 Y=2 Z=2 [t1] [t2] [t3] s< r<
            new: n
        "#]],
        ),
        (
            "services: {app: {build: ./short}}",
            expect![[r#"
            app: short c:x O=one T=one X=1 Y=1 [t1] [t2] [b1] s<
        "#]],
        ),
        (
            "services: {app: {build: !reset null}, x: {build: a}}",
            expect![[r#"
            x: a
        "#]],
        ),
        (
            "services: {app: {build: !override {context: z}}}",
            expect![[r#"
            app: z [im]
        "#]],
        ),
        (
            "services: {app: {env_file: !override two.env, build: {tags: !override [o], args: {X: 3}}}}",
            expect![[r#"
            app: a c:x O=two T=two X=3 Y=1 [o] [b1] s<
        "#]],
        ),
    ] {
        let there = [
            ("a.yaml", first.replace(", O, T}", ", O: , T: }")),
            ("b.yaml", upper.to_owned()),
            ("one.env", "O=one\nT=one".to_owned()),
            ("two.env", "O=two\nT=two".to_owned()),
        ];
        let there: Vec<(&str, &str)> = there.iter().map(|(name, text)| (*name, text.as_str())).collect();
        check(&["a.yaml", "b.yaml"], &there, &[], expected);
    }
}

#[test]
fn a_project_has_a_name() {
    let file = |name: &str| {
        format!("{name}services: {{app: {{build: {{args: ['P=${{COMPOSE_PROJECT_NAME}}']}}}}}}\n")
    };
    for (name, given, expected) in [
        ("", None, "app: . P=bake\n"),
        ("", Some("given"), "app: . P=given\n"),
        ("name: Foo_Bar.1\n", None, "app: . P=foo_bar1\n"),
        ("name: own-${SUFFIX:-x}\n", Some("given"), "app: . P=own-x\n"),
        ("name: '...'\n", None, "app: . P=bake\n"),
    ] {
        let text = file(name);
        let given: Vec<(&str, &str)> = given.map(|name| ("COMPOSE_PROJECT_NAME", name)).into_iter().collect();
        let there = [("c.yaml", text.as_str())];
        let plan = Project { named: &["c.yaml"], there: &there, given: &given }.load().unwrap();
        let shown = format!("app: . P={}\n", plan.targets["app"].args["P"]);
        assert_eq!(shown, expected, "{name:?}");
    }
}

#[test]
fn paths_are_cleaned_and_begin_at_home() {
    let there = [(
        "sub/compose.yaml",
        "services:
  app: {build: {context: ./a/../b, secrets: [s, {source: t, target: u}], additional_contexts: {x: ./y/, z: 'service:app.2', w: 'docker-image://a'}}}
  app.2: {build: ~/x}
secrets:
  s: {file: ./f}
  t: {environment: T}
",
    )];
    check(
        &["sub/compose.yaml"],
        &there,
        &[("HOME", "/home/me")],
        expect![[r#"
        app: b w:docker-image://a x:y z:target:app_2 s<f t<
        app_2: /home/me/x
    "#]],
    );
}

#[test]
fn variables_of_files_are_the_callers_and_those_of_dotenv() {
    let there = [
        (".env", "TAG=dotenv\nONLY=${TAG}-${GIVEN}\nGIVEN=never"),
        ("compose.yaml", "services: {app: {image: 'a:${TAG}', build: {args: ['O=${ONLY}', GIVEN]}}}"),
    ];
    check(
        &["compose.yaml"],
        &there,
        &[("GIVEN", "given")],
        expect![[r#"
        app: . GIVEN=given O=dotenv-given [a:dotenv]
    "#]],
    );
    check(
        &["compose.yaml"],
        &there,
        &[("GIVEN", "given"), ("TAG", "env")],
        expect![[r#"
        app: . GIVEN=given O=env-given [a:env]
    "#]],
    );
}
