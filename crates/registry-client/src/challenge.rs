//! The header `WWW-Authenticate` (RFC 9110, 11.6.1; RFC 6750, 3): which ways of proving who we are a registry takes. Pure.
//!
//! Several challenges may stand in one header, separated by the same comma that separates parameters: a word that is
//! followed by no `=` begins the next.

use crate::quoted::rest_of_quoted;

/// The most challenges, and the most parameters of one, that are read.
const LIMIT: usize = 16;

/// One way that the registry takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which somebody else gives.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// Who gives it.
    pub realm: String,
    /// For whom it is.
    pub service: Option<String>,
    /// What it allows, separated by blanks.
    pub scope: Option<String>,
    /// `invalid_token`, `insufficient_scope`.
    pub error: Option<String>,
}

/// Reads a header; what makes no sense in it is left out, together with ways that are not known here.
#[must_use]
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut scheme: Option<String> = None;
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() || challenges.len() >= LIMIT {
            break;
        }
        let (word, after) = token(rest);
        if word.is_empty() {
            // Nothing that follows can be trusted to begin where it seems to.
            break;
        }
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(after) if scheme.is_some() && !after.starts_with('=') => {
                let Some((value, after)) = value(after.trim_start_matches([' ', '\t'])) else { break };
                if parameters.len() < LIMIT {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            Some(_) => break,
            None => {
                challenges.extend(scheme.take().and_then(|scheme| challenge(&scheme, &mut parameters)));
                scheme = Some(word.to_ascii_lowercase());
                rest = after;
            }
        }
    }
    challenges.extend(scheme.and_then(|scheme| challenge(&scheme, &mut parameters)));
    challenges
}

fn challenge(scheme: &str, parameters: &mut Vec<(String, String)>) -> Option<Challenge> {
    let mut bearer = Bearer::default();
    for (name, value) in parameters.drain(..) {
        let value = (!value.is_empty()).then_some(value);
        match name.as_str() {
            // The first one counts, so that nothing appended can move it.
            "realm" if bearer.realm.is_empty() => bearer.realm = value.unwrap_or_default(),
            "service" => bearer.service = bearer.service.or(value),
            "scope" => bearer.scope = bearer.scope.or(value),
            "error" => bearer.error = bearer.error.or(value),
            _ => {}
        }
    }
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" if !bearer.realm.is_empty() => Some(Challenge::Bearer(bearer)),
        _ => None,
    }
}

/// The token (RFC 9110, 5.6.2) that begins here.
fn token(text: &str) -> (&str, &str) {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
    text.split_at(end)
}

/// A token or a quoted text; `None` if it does not end.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Addresses without quotes are against the rules, and in use.
        let end = text.find([',', ' ', '\t', '"']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    rest_of_quoted(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: text(service),
            scope: text(scope),
            error: None,
        })
    }

    #[test]
    fn challenges_of_known_registries() {
        for (header, want) in [
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                r#"Basic realm="a, Bearer realm=\"x\"", Bearer realm=https://t/x ,service=s"#,
                vec![Challenge::Basic, bearer("https://t/x", Some("s"), None)],
            ),
            ("Negotiate, NTLM, BEARER REALM=\"https://t\"", vec![bearer("https://t", None, None)]),
            ("Bearer service=\"x\"", vec![]),
            ("Bearer realm=\"https://t\", realm=\"https://evil\"", vec![bearer("https://t", None, None)]),
            ("Bearer realm=\"unclosed", vec![]),
            ("", vec![]),
            ("=,=", vec![]),
        ] {
            assert_eq!(parse(header), want, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_said_does_harm(header in "\\PC{0,80}|((Basic|Bearer|realm|scope|[a-z]{1,3})[ =,\"\\\\]{1,3}){0,30}") {
            proptest::prop_assert!(parse(&header).len() <= LIMIT + 1);
        }

        #[test]
        fn quoted_text_comes_back_as_it_was(realm in "[ -~]{1,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer scope=\"s\", realm=\"{quoted}\"");
            proptest::prop_assert_eq!(parse(&header), vec![bearer(&realm, None, Some("s"))]);
        }
    }
}
