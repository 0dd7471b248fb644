//! What is asked, and what is found.

use super::asked::call_of;
use super::subject::Checked;
use super::*;

fn checked(text: &str, env: &[&str]) -> (Source, Checked) {
    let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let options = Options { all_stages: true, ..Options::new("linux/amd64".parse().unwrap()) };
    let subject = Subject { source: &source, options: &options, ignored: None };
    let here = |key: &ImageKey| {
        let mut config = ImageConfig { platform: "linux/amd64".parse().unwrap(), ..ImageConfig::default() };
        config.config.env = env.iter().map(|one| (*one).to_owned()).collect();
        key.reference.familiar().starts_with("here").then_some(config)
    };
    let checked = subject.check(&here);
    (source, checked)
}

#[test]
fn variables_of_a_base_that_is_not_here_are_not_called_undefined() {
    let found = |text: &str, env: &[&str]| checked(text, env).1.report.warnings.len();
    assert_eq!(found("FROM here\nENV A=$B\n", &[]), 1);
    assert_eq!(found("FROM here\nENV A=$B\n", &["B=1"]), 0);
    assert_eq!(found("FROM there\nENV A=$B\n", &[]), 0);
    assert_eq!(found("FROM there AS a\nFROM a\nENV A=$B\n", &[]), 0);
    assert_eq!(found("FROM scratch\nENV A=$B\n", &[]), 1);
    assert_eq!(found("FROM there\nFROM scratch\nENV A=$B\n", &[]), 1);
    assert_eq!(found("FROM there\nMAINTAINER x\n", &[]), 1);
}

#[test]
fn what_cannot_be_built_is_said_with_its_line() {
    let (source, found) = checked("FROM a\nFRON b\nRUM c\n", &[]);
    let error = found.report.build_error.unwrap();
    assert_eq!(
        error.message,
        "dockerfile parse error on line 2: unknown instruction: FRON (did you mean FROM?)"
    );
    assert_eq!(found.errors.len(), 2);
    assert!(found.errors[1].render(&source).contains("3 | RUM c\n  | ^^^"));
    let (_, found) = checked("# check=foo=1\nFROM a\n", &[]);
    assert!(found.report.build_error.unwrap().message.starts_with("failed to parse check options"));
}

#[test]
fn what_was_found_before_the_first_error_is_said() {
    let rules = |text: &str| {
        let report = checked(text, &[]).1.report;
        assert!(report.build_error.is_some(), "{text}");
        report.warnings.iter().map(|warning| warning.rule.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        rules("FROM a as b\nMAINTAINER x\nRUM c\nMAINTAINER y\n"),
        "FromAsCasing MaintainerDeprecated"
    );
    assert_eq!(rules("RUM c\nFROM a as b\n"), "");
    assert_eq!(rules("FROM a as b\nRUN <<EOF\n"), "FromAsCasing");
    assert_eq!(rules("# check=skip=FromAsCasing\nFROM a as b\nRUM c\n"), "");
    // Most instructions are written otherwise, also behind the error.
    assert_eq!(rules("from a\nRUM c\nRUN d\nRUN e\n"), "ConsistentInstructionCasing");
    // Without a stage there is no line at fault.
    assert_eq!(rules("arg A\nARG B\n"), "");
}

#[test]
fn calls_have_a_method_and_a_format() {
    let call = |text: &str| call_of(text).map(|call| call.map(|call| (call.method, call.format)));
    for (text, want) in [
        ("build", None),
        ("check", Some((Method::Check, Format::Text))),
        ("lint,format=json", Some((Method::Check, Format::Json))),
        ("check,format=sarif", Some((Method::Check, Format::Sarif))),
        ("outline", Some((Method::Outline, Format::Text))),
        ("targets,format=json", Some((Method::Targets, Format::Json))),
    ] {
        assert_eq!(call(text).unwrap(), want, "{text}");
    }
    assert!(call("x").is_err() && call("check,format=xml").is_err() && call("check,a=b").is_err());
    assert!(call_of("check,ignorestatus=1").unwrap().unwrap().ignore_status);
}
