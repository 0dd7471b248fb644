use super::*;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn find(name: &str) -> &'static Command {
    COMMANDS.iter().find(|command| command.name == name).unwrap()
}

#[test]
fn flags_are_taken_in_every_form_that_engines_write() {
    for line in ["-b /x --pid-file=/p c1", "--bundle /x -pid-file /p c1", "c1 --bundle=/x --pid-file /p"] {
        let parsed = args::parse_command(find("create"), &words(line)).unwrap();
        assert_eq!(parsed.value("bundle"), Some("/x"), "{line}");
        assert_eq!(parsed.value("pid-file"), Some("/p"), "{line}");
        assert_eq!(parsed.arguments, ["c1"], "{line}");
    }
}

#[test]
fn words_after_the_container_belong_to_the_program() {
    let parsed = args::parse_command(find("exec"), &words("-td -e A=b=c --env X=1 c1 ls -l --help")).unwrap();
    assert!(parsed.on("tty") && parsed.on("detach") && !parsed.on("help"));
    assert_eq!(parsed.values("env").collect::<Vec<_>>(), ["A=b=c", "X=1"]);
    assert_eq!(parsed.arguments, ["c1", "ls", "-l", "--help"]);
}

#[test]
fn switches_can_be_turned_off_and_two_dashes_end_flags() {
    let parsed = args::parse_command(find("delete"), &words("--force=false -- -odd")).unwrap();
    assert!(!parsed.on("force"));
    assert_eq!(parsed.id(), "-odd");
}

#[test]
fn wrong_words_are_named() {
    let table = [
        ("delete", "--forse c1", "flag \"--forse\" is unknown"),
        ("delete", "--force=maybe c1", "--force is \"maybe\"; it may be true or false"),
        ("create", "c1 --bundle", "--bundle needs a value"),
        ("start", "a b", "2 arguments are not what is wanted: skiff oci start ID"),
        ("exec", "-tx c1 ls", "flag \"-tx\" is unknown"),
    ];
    for (command, line, expected) in table {
        assert_eq!(args::parse_command(find(command), &words(line)).unwrap_err().to_string(), expected);
    }
}

#[test]
fn global_flags_end_at_the_command() {
    let line = words("--root /r --log-format=json --systemd-cgroup=false delete --force c1");
    let (global, rest) = args::parse_leading(GLOBAL, &line).unwrap();
    assert_eq!((global.value("root"), global.on("systemd-cgroup")), (Some("/r"), false));
    assert_eq!(rest, ["delete", "--force", "c1"]);
}

#[test]
fn ids_become_folders_and_nothing_else() {
    for id in ["a", "A_b+c-d.e", "..."] {
        container::check_id(id).unwrap();
    }
    for id in ["", ".", "..", "a/b", "a b", "ä", "a\n", &"x".repeat(256)] {
        assert!(container::check_id(id).is_err(), "{id:?}");
    }
}

#[test]
fn signals_have_numbers_and_names() {
    let table = [
        ("9", Some(9)),
        ("KILL", Some(9)),
        ("SIGTERM", Some(15)),
        ("sigwinch", Some(28)),
        ("RTMIN+3", Some(37)),
        ("SIGRTMAX", Some(64)),
        ("0", None),
        ("65", None),
        ("RTMIN+31", None),
        ("NOPE", None),
    ];
    for (text, expected) in table {
        assert_eq!(signals::parse(text), expected, "{text}");
    }
}

#[test]
fn a_program_of_the_right_name_is_a_runtime() {
    for (name, expected) in
        [("/usr/bin/runc", true), ("skiff-oci", true), ("skiff", false), ("/runc/skiff", false)]
    {
        assert_eq!(is_implied_by(name), expected, "{name}");
    }
}
