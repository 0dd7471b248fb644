//! The header `Link` (RFC 8288), by which lists of tags and referrers go on. Pure.

/// The target of the first link of relation `next`.
#[must_use]
pub fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, mut after) = rest.strip_prefix('<')?.split_once('>')?;
        loop {
            let (parameter, end) = split_parameter(after);
            if is_next(parameter) {
                return Some(target);
            }
            match end.strip_prefix(';') {
                Some(further) => after = further,
                None => {
                    rest = end;
                    break;
                }
            }
        }
    }
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel")
        && value
            .trim()
            .trim_matches('"')
            .split_ascii_whitespace()
            .any(|word| word.eq_ignore_ascii_case("next"))
}

/// Splits behind one parameter: before the next comma or semicolon that stands in no quotes.
fn split_parameter(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' | b';' if !is_quoted => return text.split_at(at),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (header, want) in [
            ("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("/v2/a/tags/list?n=2&last=b")),
            ("<https://x/y>;rel=next", Some("https://x/y")),
            ("<a>; rel=prev; title=\"x, <b>; rel=next\", <c,d>; Rel=\"last NEXT\"", Some("c,d")),
            ("<a>; rel=prev", None),
            ("<a>", None),
            ("a; rel=next", None),
            ("<a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next(header), want, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_said_does_harm(header in "\\PC{0,80}|[<>;,=\"\\\\ a-z]{0,60}") {
            if let Some(target) = next(&header) {
                let written = format!("<{target}>");
                proptest::prop_assert!(header.contains(&written));
            }
        }
    }
}
