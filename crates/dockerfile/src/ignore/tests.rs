//! Tables of patterns and paths, and a slow matcher to compare with.

use proptest::prelude::*;

use super::*;

fn matcher(patterns: &[&str]) -> Matcher {
    Matcher::new(patterns).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn one_pattern() {
    for (pattern, path, expected) in [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("dir/**", "directory/x", false),
        ("**/dir", "dir", true),
        ("**/dir", "a/dir", true),
        ("**/dir", "a/dir/x", true),
        ("**/dir", "adir", false),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "file", true),
        ("**file", "xfile", true),
        ("**file", "dir/xfile", true),
        ("**/file", "xfile", false),
        ("**f*e", "xfile", false),
        ("**f*e", "x/file", true),
        ("**/*.txt", "a.txt", true),
        ("**/*.txt", "x/y/a.txt", true),
        ("**/**/*.txt", "dir/file.txt", true),
        ("a**b", "ab", true),
        ("a**b", "a/b", true),
        ("a**b", "ax/b", true),
        ("a**b", "axb", false),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/xb", false),
        ("a**", "abc/d", true),
        ("*", "a", true),
        ("*", "a/b", true),
        ("*/b", "a/b", true),
        ("*/b", "b", false),
        ("a*c", "abbc", true),
        ("a*c", "a/c", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("a?c", "a\u{e4}c", true),
        ("[a-c]x", "bx", true),
        ("[a-c]x", "dx", false),
        ("[^a-c]x", "dx", true),
        ("[^a-c]x", "ax", false),
        ("[a\\-z]x", "-x", true),
        ("[a\\-z]x", "bx", false),
        ("[*]x", "*x", true),
        ("[*]x", "ax", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a\\db", "adb", true),
        ("a.b", "a.b", true),
        ("a.b", "axb", false),
        ("a.*", "axb", false),
        ("a+(b)|{c}$^*", "a+(b)|{c}$^x", true),
        ("./a/../b", "b", true),
        ("a/", "a", true),
        ("a/", "a/b", true),
        (".", "a", false),
        ("", "a", false),
        ("..", "a", false),
        ("../x", "x", false),
        ("a", "a/b/c", true),
        ("a", "ab", false),
        ("a/b", "a", false),
        ("***", "a/b", true),
        ("a]", "a]", true),
    ] {
        assert_eq!(matcher(&[pattern]).is_match(path), expected, "{pattern:?} {path:?}");
    }
}

#[test]
fn the_last_line_that_matches_decides() {
    for (patterns, path, expected) in [
        (vec!["*", "!a"], "a", false),
        (vec!["*", "!a"], "b", true),
        (vec!["!a", "*"], "a", true),
        (vec!["dir", "!dir/keep"], "dir/keep", false),
        (vec!["dir", "!dir/keep"], "dir/other", true),
        (vec!["dir", "!dir/keep"], "dir/keep/below", false),
        (vec!["dir", "!dir/keep", "dir/keep/not"], "dir/keep/not", true),
        (vec!["**/*.md", "!README.md"], "README.md", false),
        (vec!["**/*.md", "!README.md"], "docs/README.md", true),
        (vec!["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true),
        (vec!["*.md", "README-secret.md", "!README*.md"], "README-secret.md", false),
        (vec!["a", "!a", "a"], "a", true),
        (vec!["docs", "!docs/**"], "docs/a", false),
        (vec!["docs", "!docs/**"], "docs", true),
        (vec![], "a", false),
    ] {
        assert_eq!(matcher(&patterns).is_match(path), expected, "{patterns:?} {path:?}");
    }
}

#[test]
fn a_walk_leaves_out_what_nothing_brings_back() {
    for (patterns, directory, expected) in [
        (vec!["a"], "a", true),
        (vec!["a"], "b", false),
        (vec!["a"], "a/b", true),
        (vec!["a", "!a/b/c"], "a", false),
        (vec!["a", "!a/b/c"], "a/b", false),
        (vec!["a", "!a/b/c"], "a/x", true),
        (vec!["*", "!src/**"], "src", false),
        (vec!["*", "!src/**"], "other", true),
        (vec!["*", "!src/*/x"], "src/a", false),
        (vec!["*", "!src/*/x"], "src/a/b", true),
        (vec!["*", "!**/x"], "any", false),
        (vec!["*", "!*.txt"], "any", true),
        (vec!["*", "!?ny/a"], "any", false),
        (vec!["*", "!a/**/x"], "a/b/c", false),
        (vec!["*", "!a/**/x"], "b", true),
    ] {
        let matcher = matcher(&patterns);
        let matched = matcher.is_match(directory);
        assert_eq!(matcher.prunes(directory, matched), expected, "{patterns:?} {directory:?}");
    }
}

#[test]
fn wanted_paths_are_looked_for_where_they_may_be() {
    for (pattern, directory, expected) in [
        ("a/b", "a", true),
        ("a/b", "b", false),
        ("a", "a/b", true),
        ("*.c", "x", false),
        ("**/*.c", "x/y", true),
        ("x/*/z", "x/y", true),
        ("x/*/z", "x/y/w", false),
    ] {
        assert_eq!(matcher(&[pattern]).may_match_below(directory), expected, "{pattern:?} {directory:?}");
    }
}

#[test]
fn patterns_that_are_none() {
    for (pattern, message) in [
        ("!", "illegal exclusion pattern: \"!\""),
        ("[", "syntax error in pattern: \"[\""),
        ("[]", "syntax error in pattern: \"[]\""),
        ("[^]", "syntax error in pattern: \"[^]\""),
        ("[a", "syntax error in pattern: \"[a\""),
        ("[a-]", "syntax error in pattern: \"[a-]\""),
        ("[-a]", "syntax error in pattern: \"[-a]\""),
        ("a[b-", "syntax error in pattern: \"a[b-\""),
        ("x/[a", "syntax error in pattern: \"x/[a\""),
        ("a\\", "syntax error in pattern: \"a\\\\\""),
        ("[\\", "syntax error in pattern: \"[\\\\\""),
    ] {
        assert_eq!(Matcher::new([pattern]).unwrap_err().to_string(), message, "{pattern}");
        if pattern != "!" {
            assert_eq!(Glob::new(pattern).unwrap_err().to_string(), message, "{pattern}");
        }
    }
}

#[test]
fn a_glob_knows_no_double_star() {
    for (pattern, path, expected) in [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("**", "a/b", false),
        ("a/**/b", "a/x/b", true),
        ("a/**/b", "a/x/y/b", false),
        ("a???b", "a\u{263a}\u{263a}\u{263a}b", true),
        ("[x\\-]", "-", true),
        ("[\\]a]", "]", true),
        ("ab[^e-g]", "abc", true),
        ("a[^a]", "a/", true),
        ("*x", "xxx", true),
        ("a", "a/b", false),
        ("", "", true),
    ] {
        assert_eq!(Glob::new(pattern).unwrap().is_match(path), expected, "{pattern:?} {path:?}");
    }
    assert!(has_wildcards("a*") && has_wildcards("[") && has_wildcards("?") && !has_wildcards("a\\*b"));
    assert!(Glob::new("a/*/c").unwrap().may_match_below("a/b"));
    assert!(!Glob::new("a/*/c").unwrap().may_match_below("b"));
}

#[test]
fn names_that_are_no_text_are_matched_too() {
    assert!(matcher(&["a*"]).is_match(b"a\xff"));
    assert!(matcher(&["a?"]).is_match(b"a\xff"));
    assert!(!matcher(&["a?"]).is_match(b"a\xff\xfe"));
}

#[test]
fn an_ignore_file() {
    let file = b"\xef\xbb\xbf# comment\n #not\n\na/b/\n /abs \n! x/../y \n!\n./c\r\n/\n.\n";
    assert_eq!(read(file), ["#not", "a/b", "abs", "!y", "!", "c", "/", "."]);
    assert!(read(b"").is_empty());
}

#[test]
fn paths_are_cleaned_as_go_does() {
    for (path, expected) in [
        ("", "."),
        (".", "."),
        ("/", "/"),
        ("//a//b/", "/a/b"),
        ("a/./b/../c", "a/c"),
        ("../a", "../a"),
        ("/../a", "/a"),
        ("a/..", "."),
        ("a/../../b", "../b"),
        ("...", "..."),
    ] {
        assert_eq!(clean(path), expected, "{path:?}");
    }
}

#[test]
fn no_pattern_takes_long() {
    let path = format!("{}b", "a".repeat(4000));
    for pattern in ["a*".repeat(200), "**/a".repeat(100), "[ab]*".repeat(100), "?*".repeat(200)] {
        let matcher = matcher(&[&format!("{pattern}c")]);
        assert!(!matcher.is_match(&path), "{pattern}");
        assert!(!Glob::new(&format!("{pattern}c")).unwrap().is_match(&path));
    }
}

/// What the rules say, the slow way.
fn slow(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            let below = |at: &usize| path[at - 1] == '/' && slow(rest, &path[*at..]);
            rest.is_empty() || slow(rest, path) || (1..=path.len()).any(|at| below(&at))
        }
        ['*', rest @ ..] => {
            let reach = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=reach).any(|at| slow(rest, &path[at..]))
        }
        ['?', rest @ ..] => path.split_first().is_some_and(|(c, more)| *c != '/' && slow(rest, more)),
        [literal, rest @ ..] => path.split_first().is_some_and(|(c, more)| c == literal && slow(rest, more)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nothing_panics(patterns in proptest::collection::vec("\\PC{0,12}|[*?\\[\\]\\\\!/^a-]{0,12}", 0..4), path in proptest::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(matcher) = Matcher::new(&patterns) {
            let matched = matcher.is_match(&path);
            prop_assert!(matched || !matcher.prunes(&path, matched));
        }
        for pattern in &patterns {
            drop(Glob::new(pattern).map(|glob| glob.is_match(&path)));
        }
        drop(read(&path));
    }

    #[test]
    fn pieces_agree_with_the_rules(pattern in "x?[ab*?/]{0,7}", path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
        let cleaned = clean(&pattern);
        // What is only a beginning or an end is compared in another way, which the tables show.
        let plain = |text: &str| !text.contains(['*', '?']);
        let other = cleaned.strip_prefix("**").is_some_and(plain) || cleaned.strip_suffix("**").is_some_and(plain);
        prop_assume!(!other);
        let characters = |text: &str| text.chars().collect::<Vec<char>>();
        let expected = std::iter::once(path.len())
            .chain(path.match_indices('/').map(|(at, _)| at))
            .any(|end| slow(&characters(&cleaned), &characters(&path[..end])));
        prop_assert_eq!(matcher(&[&cleaned]).is_match(&path), expected, "{}", cleaned);
    }

    #[test]
    fn a_walk_finds_what_single_questions_find(patterns in proptest::collection::vec("!?[ab*]{1,3}(/[ab*]{1,3}){0,2}", 1..5), path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
        let matcher = Matcher::new(&patterns).unwrap();
        let mut parents = Parents::default();
        let mut pruned = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            let (matched, below) = matcher.walk(part, &parents);
            // A walk does not ask an exception about a directory that is not matched, and so does not know of it below.
            prop_assert!(matcher.has_exceptions() || matched == matcher.is_match(part), "{:?} {}", patterns, part);
            prop_assert!(!pruned || matched, "{:?} {}", patterns, part);
            pruned |= matcher.prunes(part, matched);
            parents = below;
        }
    }
}
