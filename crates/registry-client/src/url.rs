//! Addresses, as far as registries need them: absolute `http` and `https`, and what a `Location` or `Link` says
//! relative to one (RFC 3986, 5.2, without fragments). Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, excerpt};

/// The longest address that is followed; signed ones of object stores have some two thousand bytes.
const LIMIT: usize = 16 << 10;

/// Who is talked to: what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Whether by TLS.
    pub is_secure: bool,
    /// A name or an address, in lower case; an IPv6 address without its brackets.
    pub host: String,
    /// The port, always told.
    pub port: u16,
}

/// Where to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whom.
    pub origin: Origin,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Origin {
    /// An origin from `host[:port]`.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none.
    pub fn new(is_secure: bool, authority: &str) -> Result<Self> {
        let refuse = |reason| Error::Address { text: excerpt(authority), reason };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| refuse("a bracket is not closed"))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| refuse("no IPv6 address in brackets"))?;
                match port {
                    "" => (host, None),
                    _ => (
                        host,
                        Some(port.strip_prefix(':').ok_or_else(|| refuse("no port after the bracket"))?),
                    ),
                }
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.starts_with(['.', '-']) || host.len() > 253 || !host.bytes().all(is_name) {
            return Err(refuse("the host is neither a name nor an address"));
        }
        let port = match port.filter(|port| !port.is_empty()) {
            None => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| refuse("the port is larger than 65535"))?
            }
            Some(_) => return Err(refuse("the port is no number")),
        };
        Ok(Self { is_secure, host: host.to_ascii_lowercase(), port })
    }

    /// `host[:port]`, the port unless it is the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.is_secure { 443 } else { 80 } {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Whether it is this host itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Url {
    /// The address that `text`, found at this one, stands for.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none that can be asked.
    pub fn join(&self, text: &str) -> Result<Self> {
        if text.len() > LIMIT {
            return Err(Error::Address { text: excerpt(text), reason: "it is longer than 16 KiB" });
        }
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        if has_scheme(text) {
            return text.parse();
        }
        if let Some(rest) = text.strip_prefix("//") {
            let scheme = if self.origin.is_secure { "https" } else { "http" };
            return format!("{scheme}://{rest}").parse();
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let path = match text.as_bytes().first() {
            None => self.path.clone(),
            Some(b'/') => text.to_owned(),
            Some(b'?') => format!("{own}{text}"),
            Some(_) => {
                let folder = own.rfind('/').map_or("/", |end| &own[..=end]);
                format!("{folder}{text}")
            }
        };
        Ok(Self { origin: self.origin.clone(), path: checked_path(&path)? })
    }

    /// With one more `name=value` in the query; both are escaped.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{separator}{}={}", self.path, escape(name), escape(value));
        Self { origin: self.origin.clone(), path }
    }

    /// Without the query, in which object stores keep signatures: for errors and logs.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path.split('?').next().unwrap_or_default())
    }
}

fn has_scheme(text: &str) -> bool {
    let name = text.split([':', '/', '?']).next().unwrap_or_default();
    text[name.len()..].starts_with(':')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A path with its dots resolved, in which nothing can end a line or a header.
fn checked_path(path: &str) -> Result<String> {
    if !path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`')) {
        return Err(Error::Address { text: excerpt(path), reason: "it has characters that must be escaped" });
    }
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    let path = format!("/{}", parts.join("/"));
    Ok(query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

/// Percent-escapes all that is not unreserved (RFC 3986, 2.3).
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// With all percent-escapes undone that are any.
#[must_use]
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            bytes.push(u8::try_from(high << 4 | low).unwrap_or(0));
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Address { text: excerpt(text), reason };
        if text.len() > LIMIT {
            return Err(refuse("it is longer than 16 KiB"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("neither http:// nor https://"))?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(refuse("neither http:// nor https://")),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(refuse("an address must not hold credentials"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { origin: Origin::new(is_secure, authority)?, path: checked_path(&path)? })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.is_secure { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved_against_the_one_they_stand_at() {
        let base: Url = "https://Host.example/v2/a/blobs/uploads/?x=1".parse().unwrap();
        for (text, want) in [
            ("/v2/b", "https://host.example/v2/b"),
            ("c?d=e", "https://host.example/v2/a/blobs/uploads/c?d=e"),
            ("?n=2", "https://host.example/v2/a/blobs/uploads/?n=2"),
            ("../u", "https://host.example/v2/a/blobs/u"),
            ("/../../etc", "https://host.example/etc"),
            ("//cdn.example:8443/x#part", "https://cdn.example:8443/x"),
            ("http://[::1]:5000", "http://[::1]:5000/"),
            ("HTTPS://cdn.example:443/%20", "https://cdn.example/%20"),
            ("", "https://host.example/v2/a/blobs/uploads/?x=1"),
            ("a:b", "!"),
            ("ftp://x/", "!"),
            ("javascript:x", "!"),
            ("https://user:secret@x/", "!"),
            ("https://x y/", "!"),
            ("/a b", "!"),
            ("/a\r\nHost: x", "!"),
            ("https://x:99999/", "!"),
            ("https://x:1x/", "!"),
            ("https:///x", "!"),
        ] {
            let joined = base.join(text).map_or_else(|_| "!".to_owned(), |url| url.to_string());
            assert_eq!(joined, want, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_has_no_signature() {
        let url: Url = "https://s.example/blob?signature=secret".parse().unwrap();
        assert_eq!(url.shown(), "https://s.example/blob");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_an_address_can_end_no_line(text in "\\PC{0,60}|[a-z:/?.#@\\[\\]0-9\r\n ]{0,40}") {
            let base: Url = "https://host/v2/".parse().unwrap();
            if let Ok(url) = base.join(&text) {
                proptest::prop_assert!(url.path.starts_with('/'));
                proptest::prop_assert!(url.to_string().bytes().all(|b| b.is_ascii_graphic()));
                proptest::prop_assert_eq!(url.to_string().parse::<Url>().unwrap(), url);
            }
        }
    }
}
