//! What a downloaded file is called, by BuildKit's rules. Pure: what comes out is one name of a file, without slashes, dots
//! alone or control characters.

use crate::Url;
use crate::quoted::rest_of_quoted;
use crate::url::unescape;

/// The longest name of a file, in bytes.
const LONGEST: usize = 255;
/// What a name is called that cannot be one.
const FALLBACK: &str = "download";

/// The last part of an address' path; `None` where that ends in nothing.
#[must_use]
pub fn of_url(url: &Url) -> Option<String> {
    let path = url.path.split('?').next().unwrap_or_default();
    // Unescaped before it is taken apart: an escaped slash separates, too.
    let path = String::from_utf8_lossy(&unescape(path)).into_owned();
    let base = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (!base.is_empty() && base != ".").then(|| safe(base))
}

/// The name that a header `Content-Disposition` gives (RFC 6266); `None` where it gives none, or is malformed.
#[must_use]
pub fn of_disposition(header: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    let (mut plain, mut extended) = (None, None);
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start())?;
        match name.trim().to_ascii_lowercase().as_str() {
            "filename" => plain = Some(value),
            "filename*" => extended = decode(&value),
            _ => {}
        }
        rest = match after.trim_start() {
            "" => "",
            after => after.strip_prefix(';')?,
        };
    }
    let name = extended.or(plain)?;
    if name.is_empty() || name.ends_with('/') {
        return None;
    }
    Some(safe(name.rsplit('/').next().unwrap_or_default()))
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    rest_of_quoted(quoted)
}

/// `UTF-8''na%20me` (RFC 8187).
fn decode(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, escaped) = rest.split_once('\'')?;
    let is_known = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
    is_known.then(|| String::from_utf8(unescape(escaped)).ok())?
}

fn safe(name: &str) -> String {
    let name = name.trim();
    let is_bad = matches!(name, "" | "." | "..")
        || name.len() > LONGEST
        || name.chars().any(|c| c.is_control() || c == '/');
    if is_bad { FALLBACK.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_files() {
        for (url, want) in [
            ("https://host/a/b.tar.gz?x=/c", Some("b.tar.gz")),
            ("https://host/a/b/", Some("b")),
            ("https://host/", None),
            ("https://host", None),
            ("https://host/a%20b", Some("a b")),
            ("https://host/%2e%2e", Some("download")),
            ("https://host/x%2F..%2Fy", Some("y")),
            ("https://host/a%00b", Some("download")),
        ] {
            assert_eq!(of_url(&url.parse().unwrap()).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn headers_name_files() {
        for (header, want) in [
            ("attachment; filename=\"a b.txt\"", Some("a b.txt")),
            ("attachment;filename=a.txt; x=y", Some("a.txt")),
            ("inline; FileName=\"a\\\"b\"", Some("a\"b")),
            ("attachment; filename=x; filename*=UTF-8''%e2%82%ac.txt", Some("€.txt")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\"", Some("download")),
            ("attachment; filename=\"a/\"", None),
            ("attachment; filename=\"open", None),
            ("attachment", None),
            ("attachment; filename", None),
            ("attachment; filename=\"a\"b", None),
            ("", None),
        ] {
            assert_eq!(of_disposition(header).as_deref(), want, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_gives_a_path(header in "(attachment; filename\\*?=)?\\PC{0,60}") {
            if let Some(name) = of_disposition(&header) {
                proptest::prop_assert!(!name.contains(['/', '\0']) && name != ".." && name != "." && !name.is_empty());
            }
        }
    }
}
