//! Which proxy leads to a host, by the rules that Go's programs follow, Docker's among them. Pure: the command line reads the
//! environment.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result, excerpt};
use crate::url::{Origin, unescape};

/// Proxies by the scheme of what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Direct>,
}

/// One proxy, which is talked to without TLS.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.origin)
    }
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    All,
    Network {
        address: IpAddr,
        bits: u32,
    },
    /// A name and what lies below it; `below_only` for `.example.com` and `*.example.com`.
    Name {
        name: String,
        port: Option<u16>,
        below_only: bool,
    },
}

impl Proxies {
    /// From the values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, empty where they are not set.
    ///
    /// # Errors
    /// [`Error::Address`] if one is no address of a proxy that can be used.
    pub fn new(http: &str, https: &str, none: &str) -> Result<Self> {
        let proxy = |text: &str| (!text.trim().is_empty()).then(|| Proxy::parse(text.trim())).transpose();
        let direct = none.split(',').map(str::trim).filter(|rule| !rule.is_empty()).filter_map(Direct::parse);
        Ok(Self { http: proxy(http)?, https: proxy(https)?, direct: direct.collect() })
    }

    /// The proxy that leads to `origin`. This host itself is never asked for through one.
    pub(crate) fn to(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.is_secure { &self.https } else { &self.http };
        let is_direct = origin.is_loopback() || self.direct.iter().any(|rule| rule.holds_for(origin));
        proxy.as_ref().filter(|_| !is_direct)
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self> {
        let refuse =
            |reason| Error::Address { text: excerpt(text.rsplit('@').next().unwrap_or_default()), reason };
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(refuse("only proxies that are addressed by http:// can be used")),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let origin = Origin::new(false, authority)?;
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let text = [unescape(name), b":".to_vec(), unescape(password)].concat();
            format!("Basic {}", STANDARD.encode(text))
        });
        Ok(Self { origin, authorization })
    }
}

impl Direct {
    /// `None` for what makes no sense, which then excepts nothing.
    fn parse(rule: &str) -> Option<Self> {
        if rule == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = rule.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= if address.is_ipv4() { 32 } else { 128 })?;
            return Some(Self::Network { address, bits });
        }
        if let Ok(address) = rule.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Network { address, bits: if address.is_ipv4() { 32 } else { 128 } });
        }
        let (name, port) = match rule.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (rule, None),
        };
        let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let bare = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        let below_only = bare.is_some();
        Some(Self::Name { name: bare.unwrap_or(&name).to_owned(), port, below_only })
    }

    fn holds_for(&self, origin: &Origin) -> bool {
        match self {
            Self::All => true,
            Self::Network { address, bits } => {
                origin.host.parse().is_ok_and(|host: IpAddr| in_network(host, *address, *bits))
            }
            Self::Name { name, port, below_only } => {
                let is_below =
                    origin.host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                port.is_none_or(|port| port == origin.port)
                    && (is_below || (!below_only && origin.host == *name))
            }
        }
    }
}

fn in_network(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            host.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            host.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_through_a_proxy() {
        let none = "plain.example, .below.example,*.star.example,10.0.0.0/8,192.0.2.7,port.example:5000,[2001:db8::1]";
        let proxies = Proxies::new("http://p:3128", "user%40x:se%3Acret@s.example:8080", none).unwrap();
        for (origin, want) in [
            ("registry.example", Some("http://s.example:8080")),
            ("plain.example", None),
            ("a.plain.example", None),
            ("notplain.example", Some("http://s.example:8080")),
            ("below.example", Some("http://s.example:8080")),
            ("x.below.example", None),
            ("x.star.example", None),
            ("10.20.30.40:5000", None),
            ("11.0.0.1", Some("http://s.example:8080")),
            ("192.0.2.7", None),
            ("port.example:5000", None),
            ("port.example", Some("http://s.example:8080")),
            ("[2001:db8::1]:443", None),
            ("localhost:5000", None),
            ("127.3.2.1", None),
            ("[::1]:5000", None),
        ] {
            let found = proxies.to(&Origin::new(true, origin).unwrap()).map(|proxy| proxy.origin.to_string());
            assert_eq!(found.as_deref(), want, "{origin}");
        }
        let plain = proxies.to(&Origin::new(false, "registry.example").unwrap()).unwrap();
        assert_eq!((plain.origin.to_string().as_str(), &plain.authorization), ("http://p:3128", &None));
        let secret = proxies.https.clone().unwrap();
        assert_eq!(secret.authorization, Some(format!("Basic {}", STANDARD.encode("user@x:se:cret"))));
        assert!(!format!("{:?}", Some(Proxy { origin: plain.origin.clone(), ..secret })).contains("cret"));
    }

    #[test]
    fn proxies_that_cannot_be_used_are_refused_without_telling_their_password() {
        for bad in ["socks5://u:secret@x:1", "https://u:secret@x", "http://u:secret@", "u:secret@a b"] {
            let error = Proxies::new(bad, "", "").unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_rule_does_harm(rules in "\\PC{0,60}|[a-z0-9.:/*\\[\\],]{0,40}") {
            let proxies = Proxies::new("p", "p", &rules).unwrap();
            let loopback = Origin::new(true, "127.0.0.1").unwrap();
            proptest::prop_assert!(proxies.to(&loopback).is_none());
        }
    }
}
