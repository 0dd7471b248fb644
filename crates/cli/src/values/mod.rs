//! Texts of flags to values. All of it is pure but for [`environment`], which is given what it may look up.
//!
//! What the API takes as text too (`-v`, `--ulimit`, `--device`, sizes, …) is parsed by `engine::request`.

pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod keys;
pub(crate) mod mount;
pub(crate) mod time;

/// A whole number, as a flag of kind `int` takes it.
pub(crate) fn integer<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "not a whole number that fits")
}

/// `name=value` of `--sysctl`, `--log-opt` and `--storage-opt`.
pub(crate) fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value"),
    }
}
