//! Tables of Dockerfiles and what the checks say.

use std::collections::BTreeMap;

use expect_test::expect;

use super::*;
use crate::ignore::Matcher;
use crate::lower::{Graph, Inputs, lower};
use crate::parse::parse;
use crate::stage::{Images, Options, resolve};

/// All that is said of a file: by BuildKit's rules, or by those named.
fn report(text: &str, config: Option<&str>, ignored: Option<&[&str]>) -> Report {
    let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let file = parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)));
    let options = Options { all_stages: true, ..Options::new("linux/amd64".parse().unwrap()) };
    let given = config.map(|config| Config::parse(config).unwrap());
    let mut linter = Linter::new(&file, given).unwrap();
    check_tree(&file, &options, &mut linter);
    let ignored = ignored.map(|patterns| Matcher::new(patterns).unwrap());
    let images = Images::new();
    if let Ok(plan) = resolve(&file, &options, &images) {
        let contexts = BTreeMap::new();
        let inputs = Inputs {
            plan: &plan,
            options: &options,
            images: &images,
            contexts: &contexts,
            ignored: ignored.as_ref(),
            escape: file.escape,
        };
        lower(&mut Graph::default(), &inputs, &mut linter).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    linter.finish(&source)
}

fn found(text: &str, config: Option<&str>) -> Vec<(&'static str, String, u32)> {
    let report = report(text, config, None);
    let source = Source::new("x", text.as_bytes().to_vec()).unwrap();
    let line = |span: Span| source.line_of(span.start);
    report
        .warnings
        .iter()
        .map(|warning| (warning.rule.name, warning.message.clone(), line(warning.span)))
        .collect()
}

#[test]
fn each_rule_of_buildkit_says_its_words() {
    for (text, rule, message, line) in [
        ("FROM a AS Base", "StageNameCasing", "Stage name 'Base' should be lowercase", 1),
        ("FROM a as base", "FromAsCasing", "'as' and 'FROM' keywords' casing do not match", 1),
        ("FROM a\nRUN x \\\n\n y", "NoEmptyContinuation", "Empty continuation line", 3),
        (
            "FROM a\nRun x",
            "ConsistentInstructionCasing",
            "Command 'Run' should match the case of the command majority (uppercase)",
            2,
        ),
        (
            "from a\nrun x\nCOPY b /c",
            "ConsistentInstructionCasing",
            "Command 'COPY' should match the case of the command majority (lowercase)",
            3,
        ),
        (
            "FROM a AS x\nFROM b AS x",
            "DuplicateStageName",
            "Duplicate stage name \"x\", stage names should be unique",
            2,
        ),
        (
            "FROM a AS scratch",
            "ReservedStageName",
            "Stage name should not use the same name as reserved stage \"scratch\"",
            1,
        ),
        (
            "FROM a\nCMD x",
            "JSONArgsRecommended",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            2,
        ),
        (
            "FROM a\nENTRYPOINT x",
            "JSONArgsRecommended",
            "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
            2,
        ),
        (
            "FROM a\nMAINTAINER x",
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label",
            2,
        ),
        ("FROM a:${TAGG:-1}\n", "UndefinedArgInFrom", "FROM argument 'TAGG' is not declared", 1),
        (
            "ARG TAG=1\nFROM a:${TAGG:-1}",
            "UndefinedArgInFrom",
            "FROM argument 'TAGG' is not declared (did you mean TAG?)",
            2,
        ),
        (
            "FROM a\nWORKDIR x",
            "WorkdirRelativePath",
            "Relative workdir \"x\" can have unexpected results if the base image changes",
            2,
        ),
        ("FROM a\nENV B=$A", "UndefinedVar", "Usage of undefined variable '$A'", 2),
        (
            "FROM a\nENV FOO=1\nLABEL x=$FOOO",
            "UndefinedVar",
            "Usage of undefined variable '$FOOO' (did you mean $FOO?)",
            3,
        ),
        (
            "FROM a\nCMD [\"x\"]\nCMD [\"y\"]",
            "MultipleInstructionsDisallowed",
            "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            2,
        ),
        (
            "FROM a\nENV b c",
            "LegacyKeyValueFormat",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            2,
        ),
        (
            "FROM --platform=$TARGETPLATFORM a",
            "RedundantTargetPlatform",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            1,
        ),
        (
            "FROM a\nARG DB_PASSWORD",
            "SecretsUsedInArgOrEnv",
            "Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")",
            2,
        ),
        (
            "FROM a\nENV token=1",
            "SecretsUsedInArgOrEnv",
            "Do not use ARG or ENV instructions for sensitive data (ENV \"token\")",
            2,
        ),
        (
            "ARG V\nFROM a:$V",
            "InvalidDefaultArgInFrom",
            "Default value for ARG a:$V results in empty or invalid base image name",
            2,
        ),
        (
            "FROM --platform=linux/arm64 a",
            "FromPlatformFlagConstDisallowed",
            "FROM --platform flag should not use constant value \"linux/arm64\"",
            1,
        ),
        (
            "FROM a\nEXPOSE 80/TCP",
            "ExposeProtoCasing",
            "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            2,
        ),
        (
            "FROM a\nEXPOSE 127.0.0.1:80:80",
            "ExposeInvalidFormat",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
            2,
        ),
    ] {
        assert_eq!(found(text, None), [(rule, message.to_owned(), line)], "{text:?}");
    }
}

#[test]
fn what_is_well_written_is_not_spoken_of() {
    for text in [
        "FROM a AS base\nFROM base",
        "from a as base",
        "ARG V=1\nFROM a:$V",
        "FROM a\nARG X\nENV Y=$X",
        "FROM a\nARG X=1\nLABEL y=${X} z=$PATH",
        "FROM a\nWORKDIR /x\nWORKDIR y",
        "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nCMD x",
        "FROM a\nCMD [\"x\"]\nFROM b\nCMD [\"y\"]",
        "FROM a\nENV PUBLIC_KEY=1 TOKEN_FILE=2 API_VERSION=3 KEYBOARD=4",
        "FROM --platform=$BUILDPLATFORM a",
        "FROM --platform=linux/arm64 a AS build-arm64",
        "FROM a\nEXPOSE 80 443/tcp 8000-8010/udp",
        "FROM a\nRUN echo $NOT_OURS",
        "FROM a\nENV A=${B:-x}\nENV C=\\$D",
    ] {
        let found = found(text, None);
        let only_default = text.contains("${B:-x}") && found.len() == 1 && found[0].0 == "UndefinedVar";
        assert!(found.is_empty() || only_default, "{text:?}: {found:?}");
    }
}

#[test]
fn files_that_are_ignored_cannot_be_copied() {
    let said = |text: &str, patterns: &[&str]| -> Vec<String> {
        report(text, None, Some(patterns)).warnings.into_iter().map(|warning| warning.message).collect()
    };
    let copied = |verb: &str, path: &str| {
        vec![format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore")]
    };
    assert_eq!(said("FROM a\nCOPY Dockerfile /", &["Dockerfile"]), copied("Copy", "Dockerfile"));
    assert_eq!(said("FROM a\nADD x/y.c /", &["x"]), copied("Add", "x/y.c"));
    assert_eq!(said("FROM a\nCOPY . /", &["*"]), copied("Copy", "."));
    assert!(said("FROM a\nCOPY . /", &["x"]).is_empty());
    assert!(said("FROM a\nCOPY x /", &["*", "!x"]).is_empty());
    assert!(said("FROM a\nCOPY --from=b x /", &["x"]).is_empty());
}

#[test]
fn comments_and_directives_choose() {
    let named =
        |text: &str| -> Vec<&'static str> { found(text, None).into_iter().map(|found| found.0).collect() };
    assert!(named("# check=skip=all\nFROM a\nMAINTAINER x\nCMD y").is_empty());
    assert_eq!(
        named("# check=skip=MaintainerDeprecated, Other\nFROM a\nMAINTAINER x\nCMD y"),
        ["JSONArgsRecommended"]
    );
    assert_eq!(
        named("FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER x\nMAINTAINER y"),
        ["MaintainerDeprecated"]
    );
    assert_eq!(
        named("FROM a\n# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y"),
        ["JSONArgsRecommended"]
    );
    assert_eq!(named("FROM a\n# check=nonsense\nMAINTAINER x"), ["MaintainerDeprecated"]);
    let described = "# check=experimental=all;skip=DL3006\n# other says\nFROM a AS build\n";
    assert_eq!(named(described), ["InvalidDefinitionDescription"]);
    assert!(
        named("# check=experimental=InvalidDefinitionDescription\n# build says\nFROM a AS build\n")
            .is_empty()
    );
    assert!(named("# other\nFROM a AS build\n").is_empty());
    let failing = report("# check=error=true\nFROM a\nMAINTAINER x\nCMD y", None, None);
    assert_eq!(
        failing.violation().unwrap(),
        "lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated"
    );
    assert_eq!((failing.exit_code(), report("FROM a", None, None).exit_code()), (1, 0));
    for (options, message) in [
        ("skip", "invalid check option \"skip\""),
        ("foo=bar", "invalid check option \"foo\""),
        (
            "error=maybe",
            "failed to parse check option \"error=maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
    ] {
        assert_eq!(Config::parse(options).unwrap_err(), message);
    }
}

#[test]
fn each_rule_of_hadolint_speaks_up() {
    for (rule, bad, good) in [
        ("DL3001", "FROM a\nRUN service x start", "FROM a\nRUN echo service"),
        ("DL3002", "FROM a\nUSER root", "FROM a\nUSER root\nUSER x"),
        ("DL3003", "FROM a\nRUN cd /x && make", "FROM a\nRUN make -C /x"),
        ("DL3004", "FROM a\nRUN sudo x", "FROM a\nRUN pseudo x"),
        ("DL3006", "FROM a", "FROM a:1 AS b\nFROM b\nFROM scratch"),
        ("DL3007", "FROM a:latest", "FROM a:1"),
        (
            "DL3008",
            "FROM a\nRUN apt-get update && apt-get install -y curl",
            "FROM a\nRUN apt-get install -y curl=1 ./x.deb",
        ),
        (
            "DL3009",
            "FROM a\nRUN apt-get update",
            "FROM a\nRUN --mount=type=cache,target=/var/lib/apt apt-get update",
        ),
        ("DL3009", "FROM a\nRUN apt-get update", "FROM a\nRUN apt-get update && rm -rf /var/lib/apt/lists/*"),
        ("DL3013", "FROM a\nRUN pip install x", "FROM a\nRUN pip install x==1 && pip install -r r.txt"),
        ("DL3014", "FROM a\nRUN apt-get install x", "FROM a\nRUN apt-get install -qy x"),
        ("DL3015", "FROM a\nRUN apt-get install x", "FROM a\nRUN apt-get install --no-install-recommends x"),
        ("DL3016", "FROM a\nRUN npm install x", "FROM a\nRUN npm install && npm i @s/x@1"),
        ("DL3018", "FROM a\nRUN apk add x", "FROM a\nRUN apk add x=1 y~2"),
        ("DL3019", "FROM a\nRUN apk add x", "FROM a\nRUN apk add --no-cache x"),
        ("DL3020", "FROM a\nADD x /y", "FROM a\nADD x.tar.gz https://h/x /y/"),
        ("DL3021", "FROM a\nCOPY a b /c", "FROM a\nCOPY a b /c/"),
        ("DL3027", "FROM a\nRUN apt install x", "FROM a\nRUN apt-cache x"),
        ("DL3028", "FROM a\nRUN gem install x", "FROM a\nRUN gem install x:1 && gem install y -v 1"),
        (
            "DL3042",
            "FROM a\nRUN pip install x",
            "FROM a\nRUN --mount=type=cache,target=/root/.cache pip install x",
        ),
        ("DL3045", "FROM a\nCOPY a b", "FROM a\nWORKDIR /x\nCOPY a b"),
        ("DL3047", "FROM a\nRUN wget http://x", "FROM a\nRUN wget -q http://x"),
        ("DL4001", "FROM a\nRUN wget -q x\nRUN curl x", "FROM a\nRUN curl x\nRUN curl y"),
        (
            "DL4006",
            "FROM a\nRUN a | b",
            "FROM a\nRUN a || b; echo '|'\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b",
        ),
    ] {
        let config = format!("experimental={rule}");
        let says = |text: &str| found(text, Some(&config)).iter().any(|found| found.0 == rule);
        assert!(says(bad), "{rule}: {bad:?}");
        assert!(!says(good), "{rule}: {good:?}");
        assert!(!found(bad, None).iter().any(|found| found.0 == rule), "{rule} is asked for");
    }
}

#[test]
fn a_report_for_people() {
    let text = report("FROM a\nMAINTAINER x\nUSER y\nCMD y \\\n  z\n", None, None).to_text();
    // Blanks at the ends of lines are BuildKit's.
    expect![[r#"
        Check complete, 2 warnings have been found!

        WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
        Maintainer instruction is deprecated in favor of using label
        Dockerfile:2
        --------------------
           1 |     FROM a$
           2 | >>> MAINTAINER x$
           3 |     USER y$
           4 |     CMD y \$
        --------------------

        WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
        JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
        Dockerfile:4
        --------------------
           3 |     USER y$
           4 | >>> CMD y \$
           5 | >>>   z$
           6 |     $
        --------------------
    "#]]
    .assert_eq(
        &text
            .lines()
            .map(|line| if line.contains(" | ") { format!("{line}$\n") } else { format!("{line}\n") })
            .collect::<String>(),
    );
    assert_eq!(report("FROM a", None, None).to_text(), "Check complete, no warnings found.\n");
    let broken = report("FROM a", None, None).with_error(Diagnostic::error("no", None));
    assert_eq!((broken.to_text().as_str(), broken.exit_code()), ("", 1));
}

#[test]
fn a_report_for_programs() {
    let report =
        report("FROM a\nMAINTAINER x", None, None).with_error(Diagnostic::error("no", Span::new(0, 4)));
    let json = report.to_json();
    assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
    assert_eq!(json["warnings"][0]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(json["sources"][0]["data"], "RlJPTSBhCk1BSU5UQUlORVIgeA==");
    assert_eq!(json["sources"][0]["filename"], "Dockerfile");
    let definition = &json["sources"][0]["definition"];
    assert_eq!(definition["def"][0], "GhQKEmxvY2FsOi8vZG9ja2VyZmlsZQ==");
    assert_eq!(definition["metadata"].as_object().unwrap().len(), 2);
    assert_eq!(json["buildError"]["message"], "no");
    let sarif = sarif(&[&report], "1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(results.len(), 2);
    let index = usize::try_from(results[0]["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][index]["id"], results[0]["ruleId"]);
    let region = &results[0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!((region["startLine"].as_u64(), region["endColumn"].as_u64()), (Some(2), Some(13)));
}

#[test]
fn there_are_the_rules_that_there_should_be() {
    let own = RULES.iter().filter(|rule| !rule.name.starts_with("DL")).count();
    assert_eq!(own, 22);
    assert!(RULES.iter().all(|rule| rule.url.starts_with("https://") && !rule.description.is_empty()));
}
