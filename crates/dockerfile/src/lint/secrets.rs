//! Names that look as if their values were secrets.

const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// Words that say that it is none after all.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Whether one of the words of a name, between underscores, is that of a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let has =
        |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)));
    has(&SECRET) && !has(&HARMLESS)
}
