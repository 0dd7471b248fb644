//! Tables of stages.

use super::*;
use crate::parse::parse;
use crate::source::Source;

fn options() -> Options {
    Options::new("linux/amd64".parse().unwrap())
}

fn file(text: &str) -> Dockerfile {
    let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)))
}

fn plan(text: &str, options: &Options) -> Result<Plan, String> {
    resolve(&file(text), options, &Images::new()).map_err(|error| error.message)
}

/// For where `plan` is something else.
fn again(text: &str, options: &Options) -> Plan {
    plan(text, options).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn shown(base: &Base) -> String {
    match base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(index) => format!("#{index}"),
        Base::Image(key) => format!("{} {}", key.reference.familiar(), key.platform),
        Base::Context(name) => format!("context {name}"),
    }
}

#[test]
fn bases() {
    let given = |name: &str, value: &str| {
        let mut options = options();
        options.arguments.insert(name.to_owned(), value.to_owned());
        options
    };
    let context = |name: &str| Options { contexts: [name.to_owned()].into(), ..options() };
    for (text, options, expected) in [
        ("FROM alpine", options(), vec!["alpine:latest linux/amd64"]),
        ("FROM scratch", options(), vec!["scratch"]),
        ("FROM a AS b\nFROM b", options(), vec!["a:latest linux/amd64", "#0"]),
        ("FROM a AS b\nFROM b AS b\nFROM b", options(), vec!["a:latest linux/amd64", "#0", "#1"]),
        ("FROM b\nFROM a AS b", options(), vec!["b:latest linux/amd64", "a:latest linux/amd64"]),
        ("ARG V=1\nFROM a:$V", options(), vec!["a:1 linux/amd64"]),
        ("ARG V=1\nFROM a:$V", given("V", "2"), vec!["a:2 linux/amd64"]),
        ("ARG A=b\nARG C=$A-c\nFROM $C", options(), vec!["b-c:latest linux/amd64"]),
        ("FROM --platform=linux/arm64 a", options(), vec!["a:latest linux/arm64"]),
        (
            "FROM --platform=$BUILDPLATFORM a",
            Options { platform: "linux/arm64".parse().unwrap(), ..options() },
            vec!["a:latest linux/amd64"],
        ),
        (
            "FROM a",
            Options { platform: "linux/arm64".parse().unwrap(), ..options() },
            vec!["a:latest linux/arm64"],
        ),
        ("FROM a AS b", context("b"), vec!["context b"]),
        ("FROM a", context("a"), vec!["context a"]),
        ("FROM docker.io/library/a:latest", context("a"), vec!["context a"]),
        ("FROM scratch", context("scratch"), vec!["scratch"]),
        (
            "FROM a\nCOPY --from=b:1 /x /y\nCOPY --from=b:1 /x /y",
            options(),
            vec!["a:latest linux/amd64", "b:1 linux/amd64"],
        ),
        (
            "FROM a\nRUN --mount=from=b,target=/x y",
            options(),
            vec!["a:latest linux/amd64", "b:latest linux/amd64"],
        ),
        ("FROM a\nCOPY --from=ctx /x /y", context("ctx"), vec!["a:latest linux/amd64", "context ctx"]),
    ] {
        let plan = plan(text, &options).unwrap_or_else(|error| panic!("{text}: {error}"));
        let bases: Vec<String> = plan.stages.iter().map(|stage| shown(&stage.base)).collect();
        assert_eq!(bases, expected, "{text}");
    }
}

#[test]
fn what_a_target_needs() {
    let text = "FROM a AS one\nFROM b AS two\nCOPY --from=one /x /y\nFROM c AS three\nFROM two AS four\nCOPY --from=2 /x /y\n";
    for (target, expected) in [
        (None, vec![0, 1, 2, 3]),
        (Some("one"), vec![0]),
        (Some("TWO"), vec![0, 1]),
        (Some("2"), vec![2]),
        (Some("0"), vec![0]),
    ] {
        let options = Options { target: target.map(str::to_owned), ..options() };
        let plan = plan(text, &options).unwrap();
        assert_eq!(plan.order, expected, "{target:?}");
        assert!(plan.stages.iter().enumerate().all(|(at, stage)| stage.needed == plan.order.contains(&at)));
        assert_eq!(plan.missing.len(), expected.iter().filter(|at| **at != 3).count(), "{target:?}");
    }
}

#[test]
fn what_leads_nowhere() {
    let target = |name: &str| Options { target: Some(name.to_owned()), ..options() };
    for (text, options, expected) in [
        ("FROM $X", options(), "base name ($X) should not be blank"),
        (
            "FROM a AS build",
            target("biuld"),
            "target stage \"biuld\" could not be found (did you mean build?)",
        ),
        ("FROM a", target("1"), "target stage \"1\" could not be found"),
        ("FROM a\nCOPY --from=1 /x /y", options(), "invalid stage index 1"),
        ("FROM a\nCOPY --from=-1 /x /y", options(), "invalid stage index -1"),
        ("FROM a\nCOPY --from=$x /x /y", options(), "variable expansion is not supported for --from"),
        ("FROM a AS x\nCOPY --from=x /x /y", options(), "circular dependency detected on stage: x"),
        (
            "FROM a AS x\nCOPY --from=y /x /y\nFROM x AS y",
            options(),
            "circular dependency detected on stage: x",
        ),
        (
            "FROM a AS x\nCOPY --from=y /x /y\nFROM b AS y\nFROM x",
            options(),
            "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"",
        ),
        ("FROM --platform=$NONE a", options(), "empty platform value from expression $NONE"),
        (
            "FROM --platform=$TARGTPLATFORM a",
            options(),
            "empty platform value from expression $TARGTPLATFORM (did you mean TARGETPLATFORM?)",
        ),
        ("ARG A=${B?none}\nFROM a", options(), "failed to process \"${B?none}\": B: none"),
    ] {
        assert_eq!(plan(text, &options).unwrap_err(), expected, "{text}");
    }
    assert!(plan("FROM UPPER", &options()).unwrap_err().starts_with("failed to parse stage name \"UPPER\""));
    assert!(
        plan("FROM --platform=a/b/c/d x", &options())
            .unwrap_err()
            .starts_with("failed to parse platform a/b/c/d")
    );
}

#[test]
fn triggers_come_first_and_bring_their_sources() {
    let file = file("FROM base AS b\nRUN own\nFROM b\nRUN last");
    let key = |name: &str| ImageKey {
        reference: name.parse::<Reference>().unwrap().or_latest(),
        platform: "linux/amd64".into(),
    };
    let mut config = ImageConfig::default();
    config.config.on_build = vec!["COPY --from=tools /x /y".into(), "RUN two".into()];
    let first = resolve(&file, &options(), &Images::new()).unwrap();
    assert_eq!(first.missing.into_iter().collect::<Vec<_>>(), [key("base")]);
    let plan = resolve(&file, &options(), &[(key("base"), config)].into()).unwrap();
    assert_eq!(plan.missing.into_iter().collect::<Vec<_>>(), [key("tools")]);
    let codes: Vec<&str> = plan.stages[0].steps.iter().map(|step| step.instruction.code.as_str()).collect();
    assert_eq!(codes, ["COPY --from=tools /x /y", "RUN two", "RUN own"]);
    // Grandchildren are not triggered.
    assert_eq!(plan.stages[1].steps.len(), 1);
    let own = again("FROM a AS b\nONBUILD RUN x\nFROM b AS c\nRUN y\nFROM c", &options());
    let counts: Vec<usize> = own.stages.iter().map(|stage| stage.steps.len()).collect();
    assert_eq!(counts, [1, 2, 0]);
}

#[test]
fn arguments_that_nobody_asks_for_are_named() {
    let mut options = options();
    for name in ["A", "B", "C", "HTTP_PROXY", "BUILDKIT_SYNTAX", "TARGETARCH"] {
        options.arguments.insert(name.to_owned(), "x".to_owned());
    }
    assert_eq!(plan("ARG A\nFROM x\nARG B", &options).unwrap().unconsumed, ["C"]);
}

#[test]
fn global_variables() {
    let options = Options { platform: "linux/arm/v7".parse().unwrap(), ..options() };
    let globals = plan("ARG A=$TARGETARCH$TARGETVARIANT\nFROM x AS last", &options).unwrap().globals;
    for (name, expected) in [
        ("A", "armv7"),
        ("TARGETPLATFORM", "linux/arm/v7"),
        ("BUILDPLATFORM", "linux/amd64"),
        ("BUILDARCH", "amd64"),
        ("TARGETSTAGE", "last"),
    ] {
        assert_eq!(globals.get(name), Some(expected), "{name}");
    }
    assert_eq!(plan("FROM x", &options).unwrap().globals.get("TARGETSTAGE"), Some("default"));
}

#[test]
fn ten_thousand_stages_take_no_time() {
    let mut text = "FROM a AS s0\n".to_owned();
    for index in 1..10_000 {
        text.push_str(&format!("FROM s{} AS s{index}\nCOPY --from=s{} /x /y\n", index - 1, index / 2));
    }
    let chain = plan(&text, &options()).unwrap();
    assert_eq!(chain.order.len(), 10_000);
    text.push_str("FROM b AS last\nCOPY --from=s9999 /x /y\n");
    assert_eq!(plan(&text, &options()).unwrap().stages.len(), 10_001);
    let circle = text.replace("FROM a AS s0", "FROM a AS s0\nCOPY --from=9999 /x /y");
    assert!(plan(&circle, &options()).unwrap_err().starts_with("circular dependency detected on stage: s"));
}
