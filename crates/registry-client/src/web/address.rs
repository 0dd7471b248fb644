//! Addresses as people write them: with a user, with characters that must be escaped. Pure.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Url;
use crate::error::{Error, Result, excerpt};
use crate::url::unescape;

/// Where something is, and who we are there if the text says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where; nothing in it is a secret but what its query may hold.
    pub url: Url,
    /// What the user and the password in the text amount to.
    pub authorization: Option<Authorization>,
}

/// The value of an `Authorization` header. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(String);

impl Authorization {
    /// A value as it is, without the ends of lines that files have at their end.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// A name and a password (RFC 7617).
    #[must_use]
    pub fn basic(name: &str, password: &str) -> Self {
        Self::of_bytes(&[name.as_bytes(), b":", password.as_bytes()].concat())
    }

    /// A token (RFC 6750), without the ends of lines that files have at their end.
    #[must_use]
    pub fn bearer(token: &str) -> Self {
        Self(format!("Bearer {}", token.trim_end_matches(['\r', '\n'])))
    }

    fn of_bytes(text: &[u8]) -> Self {
        Self(format!("Basic {}", STANDARD.encode(text)))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// By the secrets that a build has for a host: `HTTP_AUTH_TOKEN_<host>` is a bearer's token, `HTTP_AUTH_HEADER_<host>` all of
    /// a header's value. Where there are both the token counts, as in BuildKit. The host is named without its port.
    pub fn of_secrets(url: &Url, mut secret: impl FnMut(&str) -> Option<String>) -> Option<Self> {
        let host = &url.origin.host;
        let token = secret(&format!("HTTP_AUTH_TOKEN_{host}")).map(|token| Self::bearer(&token));
        token.or_else(|| secret(&format!("HTTP_AUTH_HEADER_{host}")).map(|value| Self::new(&value)))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authorization")
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(Error::Address { text: excerpt(text), reason: "neither http:// nor https://" })?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, authority) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let url = format!("{scheme}://{authority}{}", escaped(path)).parse()?;
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            Authorization::of_bytes(&[unescape(name), b":".to_vec(), unescape(password)].concat())
        });
        Ok(Self { url, authorization })
    }
}

/// With all escaped that no address may hold as it is; what is escaped already stays.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        let may_stay = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if may_stay {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (text, want, proof) in [
            ("https://host/a b/ü.tar?q=<x>#part", "https://host/a%20b/%C3%BC.tar?q=%3Cx%3E", None),
            ("https://host/a%20b", "https://host/a%20b", None),
            ("http://user:p%40ss@host:8080/x", "http://host:8080/x", Some("Basic dXNlcjpwQHNz")),
            ("https://token@host", "https://host/", Some("Basic dG9rZW46")),
            ("https://a@b@host/", "https://host/", Some("Basic YUBiOg==")),
            ("HTTPS://HOST/@x", "https://host/@x", None),
            ("ftp://host/", "!", None),
            ("host/x", "!", None),
            ("https://ho st/", "!", None),
        ] {
            let address = text.parse::<Address>();
            let found = address.as_ref().map_or("!".to_owned(), |address| address.url.to_string());
            assert_eq!(found, want, "{text}");
            let authorization = address.ok().and_then(|address| address.authorization);
            assert_eq!(authorization.as_ref().map(Authorization::value), proof, "{text}");
            assert!(!format!("{authorization:?}").contains("Basic"));
        }
    }

    #[test]
    fn a_secret_is_taken_for_its_host_alone() {
        let url: Url = "https://Host.example:8443/x".parse().unwrap();
        let of = |secrets: &[(&str, &str)]| {
            let find = |name: &str| secrets.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Authorization::of_secrets(&url, find).map(|found| found.value().to_owned())
        };
        assert_eq!(of(&[("HTTP_AUTH_TOKEN_host.example", "t\n")]).unwrap(), "Bearer t");
        assert_eq!(of(&[("HTTP_AUTH_HEADER_host.example", "Basic eA==\r\n")]).unwrap(), "Basic eA==");
        let both = [("HTTP_AUTH_HEADER_host.example", "h"), ("HTTP_AUTH_TOKEN_host.example", "t")];
        assert_eq!(of(&both).unwrap(), "Bearer t");
        assert_eq!(of(&[("HTTP_AUTH_TOKEN_other.example", "t"), ("HTTP_AUTH_TOKEN_", "t")]), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_nothing_ends_a_line(text in "(https?://)?\\PC{0,60}|https://[a-z:/?.#@\r\n ]{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                proptest::prop_assert!(address.url.to_string().bytes().all(|b| b.is_ascii_graphic()));
                if let Some(authorization) = address.authorization {
                    proptest::prop_assert!(authorization.value().bytes().all(|b| (b' '..=b'~').contains(&b)));
                }
            }
        }
    }
}
