use super::parse::parse_table;
use super::*;
use crate::commands::{CONTAINER, GLOBAL, IMAGE, SYSTEM, TOP};

static TABLE: &[Flag] = &[
    switch("all", "Everything").short('a'),
    switch("interactive", "Keep stdin").short('i'),
    switch("tty", "A terminal").short('t'),
    value("name", "string", "A name").short('n'),
    list("publish", "list", "A port").short('p'),
    list("old-publish", "list", "").alias("publish"),
];

fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn show(text: &str, interspersed: bool) -> String {
    let flags: Vec<&'static Flag> = TABLE.iter().collect();
    match parse_table(&flags, interspersed, &words(text)) {
        Err(error) => format!("ERROR {error}"),
        Ok(parsed) if parsed.help => "HELP".to_owned(),
        Ok(parsed) => {
            let mut shown = Vec::new();
            for flag in TABLE {
                let values: Vec<&str> =
                    parsed.all(flag.long).filter(|(f, _)| f.long == flag.long).map(|(_, v)| v).collect();
                if !values.is_empty() {
                    shown.push(format!("{}={}", flag.long, values.join(",")));
                }
            }
            shown.push(format!("[{}]", parsed.arguments.join(" ")));
            shown.join(" ")
        }
    }
}

#[test]
fn flags_follow_dockers_rules() {
    for (text, want) in [
        ("", "[]"),
        ("-a x", "all=true [x]"),
        ("--all=false x", "all=false [x]"),
        ("--all=T --tty=0", "all=true tty=false []"),
        ("-a=false x", "all=false [x]"),
        ("-it x", "interactive=true tty=true [x]"),
        ("--name web x", "name=web [x]"),
        ("--name=web x", "name=web [x]"),
        ("--name= x", "name= [x]"),
        ("-n web x", "name=web [x]"),
        ("-nweb x", "name=web [x]"),
        ("-n=web x", "name=web [x]"),
        ("-itnweb x", "interactive=true tty=true name=web [x]"),
        ("-p80:80 -p 81:81 --publish 82 --publish=83 x", "publish=80:80,81:81,82,83 [x]"),
        ("--name a --name b", "name=a,b []"),
        ("--name --all x", "name=--all [x]"),
        ("x -a y", "all=true [x y]"),
        ("-a -- -i x", "all=true [-i x]"),
        ("- x", "[- x]"),
        ("--nope", "ERROR unknown flag: --nope"),
        ("--nope=3", "ERROR unknown flag: --nope"),
        ("-z", "ERROR unknown shorthand flag: 'z' in -z"),
        ("-itz x", "ERROR unknown shorthand flag: 'z' in -itz"),
        ("--name", "ERROR flag needs an argument: --name"),
        ("-n", "ERROR flag needs an argument: 'n' in -n"),
        ("-in", "ERROR flag needs an argument: 'n' in -in"),
        ("--=x", "ERROR bad flag syntax: --=x"),
        ("---x", "ERROR bad flag syntax: ---x"),
        ("--all=x", "ERROR invalid argument \"x\" for \"-a, --all\" flag: not a boolean (true or false)"),
        ("-a --help --nope", "HELP"),
        ("-h", "HELP"),
    ] {
        assert_eq!(show(text, true), want, "{text}");
    }
    for (text, want) in
        [("-a x -i y --nope", "all=true [x -i y --nope]"), ("x -- y", "[x -- y]"), ("-- x -a", "[x -a]")]
    {
        assert_eq!(show(text, false), want, "{text}");
    }
}

#[test]
fn another_spelling_gives_the_same_flag() {
    let flags: Vec<&'static Flag> = TABLE.iter().collect();
    let parsed = parse_table(&flags, true, &words("-p 1 --old-publish 2 -p 3")).unwrap();
    assert_eq!(parsed.list("publish").collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(parsed.text("publish"), Some("3"));
    assert_eq!(parsed.text("name"), None);
    assert_eq!(parsed.tristate("all"), None);
}

fn verbs(group: &'static Group, found: &mut Vec<(String, &'static Verb)>) {
    for entry in group.entries {
        match entry.target {
            Target::Group(inner) => verbs(inner, found),
            Target::Verb(verb) => {
                found.push((format!("{} {}", group.path, entry.name).trim().to_owned(), verb))
            }
            Target::Later(_) => {}
        }
    }
}

fn all_verbs() -> Vec<(String, &'static Verb)> {
    let mut found = Vec::new();
    verbs(&TOP, &mut found);
    found
}

#[test]
fn tables_name_each_flag_and_each_letter_once() {
    let global: Vec<&'static Flag> = GLOBAL.iter().collect();
    let tables = all_verbs().into_iter().map(|(path, verb)| (path, verb.flags().collect()));
    for (path, flags) in tables.chain([("skiff".to_owned(), global)]) {
        for (at, flag) in flags.iter().enumerate() {
            let again = flags[..at]
                .iter()
                .find(|other| other.long == flag.long || (flag.short.is_some() && other.short == flag.short));
            assert!(again.is_none(), "{path}: --{} and --{}", flag.long, again.map_or("", |flag| flag.long));
            if let Standing::Alias(of) = flag.standing {
                assert!(
                    flags.iter().any(|other| other.long == of),
                    "{path}: --{} stands for nothing",
                    flag.long
                );
            }
            if flag.standing == Standing::Works {
                assert!(!flag.about.is_empty(), "{path}: --{} says nothing", flag.long);
            }
        }
    }
}

#[test]
fn every_alias_leads_to_its_verb() {
    let found = all_verbs();
    for (path, verb) in &found {
        assert!(
            verb.aliases.is_empty() || verb.aliases.contains(&path.as_str()),
            "{path} is no alias of itself"
        );
        for alias in verb.aliases {
            let (_, other) =
                found.iter().find(|(path, _)| path == alias).unwrap_or_else(|| panic!("no {alias}"));
            assert!(std::ptr::eq(*verb, *other), "{alias} is not {path}");
        }
    }
    for group in [&CONTAINER, &IMAGE, &SYSTEM] {
        assert!(group.entries.iter().all(|entry| entry.section != Section::Common), "{}", group.path);
    }
}

#[test]
fn help_is_laid_out_in_columns() {
    let (path, verb) = all_verbs().into_iter().find(|(path, _)| path == "stop").unwrap();
    assert_eq!(
        help::verb(verb, &path, 60),
        "Usage:  skiff stop [OPTIONS] CONTAINER [CONTAINER...]\n\nStop running containers\n\nAliases:\n  \
         skiff container stop, skiff stop\n\nOptions:\n  \
         -s, --signal string   Signal that asks it to stop\n  \
         -t, --timeout int     Seconds until SIGKILL; -1 waits for\n                        ever\n"
    );
    for (path, verb) in all_verbs() {
        let text = help::verb(verb, &path, 80);
        let long = text.lines().skip(4).find(|line| line.chars().count() > 80 && !line.contains("skiff "));
        assert_eq!(long, None, "{path}");
    }
}

#[test]
fn counts_of_arguments_are_refused_in_dockers_words() {
    for (arguments, count, want) in [
        (Arguments::Exactly(0), 1, "accepts no arguments"),
        (Arguments::Exactly(1), 0, "requires 1 argument"),
        (Arguments::Exactly(2), 1, "requires 2 arguments"),
        (Arguments::AtLeast(1), 0, "requires at least 1 argument"),
        (Arguments::AtMost(1), 2, "requires at most 1 argument"),
        (Arguments::Between(1, 2), 3, "requires at least 1 and at most 2 arguments"),
    ] {
        assert_eq!(arguments.refuse(count).as_deref(), Some(want));
    }
    for (arguments, count) in
        [(Arguments::Exactly(0), 0), (Arguments::AtLeast(0), 5), (Arguments::Between(1, 2), 2)]
    {
        assert_eq!(arguments.refuse(count), None);
    }
}

/// Flags that hold without being looked at.
const NEEDLESS: &[&str] = &[
    // Without a registry there is no progress to be silent about.
    "run --quiet",
    "create --quiet",
    "load --quiet",
    // Images without a name are shown as it is, and there are no intermediate ones.
    "images --all",
    // Log lines have no attributes without options that add them.
    "logs --details",
];

#[test]
fn no_flag_that_works_is_ignored_in_silence() {
    const SOURCES: &[&str] = &[
        include_str!("../build/bake.rs"),
        include_str!("../build/bake/allow.rs"),
        include_str!("../build/bake/definition.rs"),
        include_str!("../build/bake/words.rs"),
        include_str!("../build/call/asked.rs"),
        include_str!("../build/call/mod.rs"),
        include_str!("../build/mod.rs"),
        include_str!("../build/progress/mod.rs"),
        include_str!("../build/request.rs"),
        include_str!("../build/results.rs"),
        include_str!("../builder/filter.rs"),
        include_str!("../builder/mod.rs"),
        include_str!("../container/copy.rs"),
        include_str!("../container/create.rs"),
        include_str!("../container/exec.rs"),
        include_str!("../container/files.rs"),
        include_str!("../container/list.rs"),
        include_str!("../container/logs.rs"),
        include_str!("../container/mod.rs"),
        include_str!("../container/remove.rs"),
        include_str!("../container/run.rs"),
        include_str!("../container/start.rs"),
        include_str!("../container/stats.rs"),
        include_str!("../container/stop.rs"),
        include_str!("../container/update.rs"),
        include_str!("../events.rs"),
        include_str!("../image/archive.rs"),
        include_str!("../image/bootstrap.rs"),
        include_str!("../image/copy.rs"),
        include_str!("../image/history.rs"),
        include_str!("../image/list.rs"),
        include_str!("../image/login.rs"),
        include_str!("../image/manifest.rs"),
        include_str!("../image/progress.rs"),
        include_str!("../image/pull.rs"),
        include_str!("../image/push.rs"),
        include_str!("../image/referrers.rs"),
        include_str!("../image/remove.rs"),
        include_str!("../image/repair.rs"),
        include_str!("../image/search.rs"),
        include_str!("../image/tree.rs"),
        include_str!("../inspect/mod.rs"),
        include_str!("../registry.rs"),
        include_str!("../system.rs"),
        include_str!("../usage.rs"),
        include_str!("../values/filter.rs"),
    ];
    for (path, verb) in all_verbs() {
        for flag in verb.flags().filter(|flag| flag.standing == Standing::Works) {
            let name = format!("{} --{}", path.rsplit(' ').next().unwrap_or(&path), flag.long);
            let quoted = format!("\"{}\"", flag.long);
            let read = SOURCES.iter().any(|source| source.contains(&quoted));
            assert!(read || NEEDLESS.contains(&name.as_str()), "nobody reads {name}");
        }
    }
}
