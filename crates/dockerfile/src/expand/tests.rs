//! Tables of words and what becomes of them.

use proptest::prelude::*;

use super::*;

fn env() -> Environment {
    [
        ("A", "hello"),
        ("EMPTY", ""),
        ("TWO", "a  b"),
        ("PATH", "/usr/local/bin:/usr/bin"),
        ("FILE", "archive.tar.gz"),
        ("STAR", "a*c*e"),
        ("NL", "one\ntwo"),
        ("1", "first"),
        ("UML", "\u{e4}\u{f6}\u{fc}"),
    ]
    .into_iter()
    .collect()
}

fn text(word: &str) -> String {
    Lexer::new('\\').expand(word, &env()).unwrap_or_else(|error| panic!("{word:?}: {error}")).text
}

fn error(word: &str) -> String {
    let error = Lexer::new('\\').expand(word, &env()).unwrap_err().to_string();
    let prefix = format!("failed to process {word:?}: ");
    error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn variables_quotes_and_escapes() {
    for (word, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("a b  c", "a b  c"),
        ("$A", "hello"),
        ("${A}", "hello"),
        ("x${A}y", "xhelloy"),
        ("$A$A", "hellohello"),
        ("$Ax", ""),
        ("$NONE.", "."),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$ A", "$ A"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ("\"$A\"", "hello"),
        ("'a\\b'", "a\\b"),
        ("\"a\\b\"", "a\\b"),
        ("\"a\\\"b\"", "a\"b"),
        ("\"a\\\\b\"", "a\\b"),
        ("\"\\$A\"", "$A"),
        ("\"it's\"", "it's"),
        ("'say \"x\"'", "say \"x\""),
        ("a\\ b", "a b"),
        ("a\\", "a"),
        ("$1", "first"),
        ("$12", ""),
        ("$@", ""),
        ("$*x", "x"),
        ("$?", ""),
        ("$-", ""),
        ("$#x", "x"),
        ("$$A", "A"),
        ("$UML", "\u{e4}\u{f6}\u{fc}"),
        ("\u{e4}$A\u{f6}", "\u{e4}hello"),
    ] {
        if word == "\u{e4}$A\u{f6}" {
            // A letter of any language goes on with the name.
            assert_eq!(text(word), "\u{e4}", "{word}");
            continue;
        }
        assert_eq!(text(word), expected, "{word:?}");
    }
}

#[test]
fn defaults_alternatives_and_demands() {
    for (word, expected) in [
        ("${A:-x}", "hello"),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-x}", "x"),
        ("${A-x}", "hello"),
        ("${EMPTY-x}", ""),
        ("${NONE-x}", "x"),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${NONE:+x}", ""),
        ("${A+x}", "x"),
        ("${EMPTY+x}", "x"),
        ("${NONE+x}", ""),
        ("${A:?x}", "hello"),
        ("${A?x}", "hello"),
        ("${EMPTY?x}", ""),
        ("${NONE:-$A}", "hello"),
        ("${NONE:-${EMPTY:-${A}}}", "hello"),
        ("${NONE:-a b}", "a b"),
        ("${NONE:-'$A'}", "$A"),
        ("${NONE:-\"$A\"}", "hello"),
        ("${NONE:-\\}}", "}"),
        ("${NONE:-}", ""),
        ("\"${NONE:-x}\"", "x"),
    ] {
        assert_eq!(text(word), expected, "{word:?}");
    }
    for (word, expected) in [
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?}", "NONE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NONE:?give $A}", "NONE: give hello"),
    ] {
        assert_eq!(error(word), expected, "{word:?}");
    }
}

#[test]
fn trimming() {
    for (word, expected) in [
        ("${FILE#archive.}", "tar.gz"),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "archive.tar"),
        ("${FILE%%.*}", "archive"),
        ("${FILE%.gz}", "archive.tar"),
        ("${FILE#nothing}", "archive.tar.gz"),
        ("${FILE%nothing}", "archive.tar.gz"),
        ("${FILE#???????}", ".tar.gz"),
        ("${FILE##*}", ""),
        ("${FILE#*}", "archive.tar.gz"),
        ("${FILE%*}", "archive.tar.gz"),
        ("${FILE%%*}", ""),
        ("${A#}", "hello"),
        ("${A##}", "hello"),
        ("${A%l*}", "hel"),
        ("${A%%l*}", "he"),
        ("${A#*l}", "lo"),
        ("${A##*l}", "o"),
        ("${STAR#a\\*}", "c*e"),
        ("${STAR%\\**}", "a*c"),
        ("${STAR%%\\**}", "a"),
        ("${PATH#*/bin:}", "/usr/bin"),
        ("${NL##*}", "\ntwo"),
        ("${NL#one?}", "one\ntwo"),
        ("${NONE#x}", ""),
        ("${UML#?}", "\u{f6}\u{fc}"),
        ("${UML%?}", "\u{e4}\u{f6}"),
        ("${FILE#[a]}", "archive.tar.gz"),
        ("${FILE#$NONE*.}", "tar.gz"),
    ] {
        assert_eq!(text(word), expected, "{word:?}");
    }
}

#[test]
fn replacing() {
    for (word, expected) in [
        ("${A/l/L}", "heLlo"),
        ("${A//l/L}", "heLLo"),
        ("${A/l*/p}", "hep"),
        ("${A/x/y}", "hello"),
        ("${A//l/}", "heo"),
        ("${A//?/x}", "xxxxx"),
        ("${A/*/x}", "x"),
        ("${A//*/x}", "x"),
        ("${A///-}", "-h-e-l-l-o-"),
        ("${EMPTY//*/x}", "x"),
        ("${NONE/a/b}", ""),
        ("${PATH//\\//_}", "_usr_local_bin:_usr_bin"),
        ("${A/l/$EMPTY}", "helo"),
        ("${A/$EMPTY/x}", "xhello"),
        ("${STAR//\\*/-}", "a-c-e"),
        ("${A/hel/$A}", "hellolo"),
        ("${NL//*/x}", "x\nx"),
    ] {
        assert_eq!(text(word), expected, "{word:?}");
    }
}

#[test]
fn what_is_no_substitution() {
    for (word, expected) in [
        ("${", "syntax error: missing '}'"),
        ("${A", "syntax error: missing '}'"),
        ("${A:", "syntax error: missing '}'"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A:-\"x", "syntax error: missing '}'"),
        ("${A#x", "syntax error: missing '}'"),
        ("${A/x", "syntax error: missing '/' in ${}"),
        ("${A/x/y", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:-x}", "syntax error: bad substitution"),
        ("${{A}}", "syntax error: bad substitution"),
        ("${A;x}", "unsupported modifier (;) in substitution"),
        ("${A:x}", "unsupported modifier (:x) in substitution"),
        ("${A:#x}", "unsupported modifier (:#) in substitution"),
        ("${A:%x}", "unsupported modifier (:%) in substitution"),
        ("${A^^}", "unsupported modifier (^) in substitution"),
        ("${A#a\\b}", "invalid pattern (a\\b) in substitution: invalid escape '\\b'"),
        ("'", "unexpected end of statement while looking for matching single-quote"),
        ("a\"b", "unexpected end of statement while looking for matching double-quote"),
    ] {
        assert_eq!(error(word), expected, "{word:?}");
    }
}

#[test]
fn an_error_knows_where_it_is() {
    for (word, at) in [("ab${}", 2), ("x '", 2), ("${A:-${B:?no}}", 5), ("a\"b${A", 3)] {
        assert_eq!(Lexer::new('\\').expand(word, &env()).unwrap_err().at, at, "{word}");
    }
}

#[test]
fn splitting_into_words() {
    for (word, expected) in [
        ("a b  c", vec!["a", "b", "c"]),
        (" a\tb ", vec!["a", "b"]),
        ("'a b' c", vec!["a b", "c"]),
        ("\"a b\"c d", vec!["a bc", "d"]),
        ("a\\ b c", vec!["a b", "c"]),
        ("$TWO c", vec!["a", "b", "c"]),
        ("\"$TWO\" c", vec!["a  b", "c"]),
        ("x$TWO", vec!["xa", "b"]),
        ("'' a", vec!["a"]),
        ("", vec![]),
        ("$EMPTY", vec![]),
    ] {
        assert_eq!(Lexer::new('\\').expand(word, &env()).unwrap().words, expected, "{word:?}");
    }
}

#[test]
fn the_other_escape_character() {
    let lexer = Lexer::new('`');
    for (word, expected) in
        [("`$A", "$A"), ("C:\\x", "C:\\x"), ("\"`\"\"", "\""), ("a` b", "a b"), ("${NONE:-`}}", "}")]
    {
        assert_eq!(lexer.expand(word, &env()).unwrap().text, expected, "{word}");
    }
}

#[test]
fn the_options() {
    let env = env();
    let raw = Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\') };
    for (word, expected) in [
        ("'a' \"b\" \\c", "'a' \"b\" \\c"),
        ("$NONE ${NONE} ${NONE:-x} ${NONE/a/b} ${NONE#x}", "$NONE ${NONE} ${NONE:-x} ${NONE/a/b} ${NONE#x}"),
        ("$A", "hello"),
    ] {
        assert_eq!(raw.expand(word, &env).unwrap().text, expected, "{word}");
    }
    assert_eq!(Lexer::heredoc().expand("it's \"$A\" \\$A\n", &env).unwrap().text, "it's \"hello\" $A\n");
}

#[test]
fn what_was_used_is_known() {
    let found = Lexer::new('\\').expand("$A ${NONE:-$OTHER} '$NOT' ${A+x}", &env()).unwrap();
    assert_eq!(found.matched.into_iter().collect::<Vec<_>>(), ["A"]);
    assert_eq!(found.unmatched.into_iter().collect::<Vec<_>>(), ["NONE", "OTHER"]);
}

#[test]
fn near_names_are_offered() {
    for (name, options, expected) in [
        ("RNU", vec!["RUN", "ENV"], Some("RUN")),
        ("RUNN", vec!["RUN"], Some("RUN")),
        ("XYZ", vec!["RUN"], None),
        ("RUN", vec!["RUNN", "RUN"], None),
        ("abd", vec!["abc", "abe"], Some("abc")),
        ("", vec!["ab"], Some("ab")),
    ] {
        assert_eq!(suggestion(name, options), expected, "{name}");
    }
}

#[test]
fn growth_and_depth_are_bounded() {
    let mut env = Environment::default();
    env.set("a", "x".repeat(RESULT_LIMIT / 2 + 1));
    // If the whole of it were made before it is measured, there would be no memory for it.
    env.set("b", "y".repeat(RESULT_LIMIT));
    for word in ["$a$a", "\"$a$a\"", "${a//x/yy}", "${a//x/$b}", "${none:-$a$a}"] {
        let error = Lexer::new('\\').expand(word, &env).unwrap_err().to_string();
        assert!(error.ends_with("it would become longer than 1048576 bytes"), "{error}");
    }
    let deep = "${a:-".repeat(100_000);
    let error = Lexer::new('\\').expand(&deep, &env).unwrap_err().to_string();
    assert!(error.len() < 1000 && error.contains("more than 100 deep"), "{error}");
}

#[test]
fn patterns_that_make_others_go_back_take_no_time() {
    let mut env = Environment::default();
    env.set("v", "a".repeat(20_000));
    let stars = "a*".repeat(200);
    for word in [format!("${{v#{stars}b}}"), format!("${{v%b{stars}}}"), format!("${{v//{stars}b/x}}")] {
        assert_eq!(Lexer::new('\\').expand(&word, &env).unwrap().text.len(), 20_000);
    }
}

/// What the pattern says, the slow way.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => {
            let reach = text.iter().position(|c| *c == '\n').unwrap_or(text.len());
            (0..=reach).any(|skip| matches(rest, &text[skip..]))
        }
        Some(('?', rest)) => text.split_first().is_some_and(|(c, more)| *c != '\n' && matches(rest, more)),
        Some((literal, rest)) => {
            text.split_first().is_some_and(|(c, more)| c == literal && matches(rest, more))
        }
    }
}

proptest! {
    #[test]
    fn no_word_panics(word in "[\\PC\\n]{0,60}|[$\\{\\}:/#%*?'\"\\\\aA+-]{0,40}", escape in "[\\\\`]") {
        let escape = escape.chars().next().unwrap();
        for lexer in [Lexer::new(escape), Lexer::heredoc(), Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new(escape) }] {
            match lexer.expand(&word, &env()) {
                Ok(found) => prop_assert!(found.words.iter().map(String::len).sum::<usize>() <= found.text.len()),
                Err(error) => prop_assert!(word.is_char_boundary(error.at)),
            }
        }
    }

    #[test]
    fn a_word_without_special_characters_stays_as_it_is(word in "[a-zA-Z0-9 ./:=_-]{0,40}") {
        prop_assert_eq!(text(&word), word);
    }

    #[test]
    fn trimming_takes_what_the_pattern_matches(pattern in "[ab*?]{1,6}", value in "[ab\\n]{0,8}") {
        let mut env = Environment::default();
        env.set("v", value.clone());
        let get = |word: String| Lexer::new('\\').expand(&word, &env).unwrap().text;
        let (p, v): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
        let starts: Vec<usize> = (0..=v.len()).filter(|end| matches(&p, &v[..*end])).collect();
        let ends: Vec<usize> = (0..=v.len()).filter(|start| matches(&p, &v[*start..])).collect();
        let rest = |at: Option<&usize>| at.map_or(value.clone(), |at| v[*at..].iter().collect());
        let head = |at: Option<&usize>| at.map_or(value.clone(), |at| v[..*at].iter().collect());
        prop_assert_eq!(get(format!("${{v#{pattern}}}")), rest(starts.first()));
        prop_assert_eq!(get(format!("${{v##{pattern}}}")), rest(starts.last()));
        prop_assert_eq!(get(format!("${{v%{pattern}}}")), head(ends.last()));
        prop_assert_eq!(get(format!("${{v%%{pattern}}}")), head(ends.first()));
    }
}
