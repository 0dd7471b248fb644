//! Where a repository is, in all the spellings that git knows for a server. Pure.
//!
//! ```text
//! https://[user[:password]@]host[:port]/path       http://…
//! ssh://[user@]host[:port]/path   ssh://…/~user/path   [user@]host:path (as scp has it)
//! git://host[:port]/path
//! ```
//!
//! What stands in an address becomes arguments of a program and words of a shell far away. So a host, a user and a path are made of few
//! characters, none of which either of them understands, and none begins with a dash: programs have taken such for options
//! (CVE-2017-1000117), and configurations of ssh put names into commands (CVE-2023-51385).

use registry_client::Url;
use registry_client::web::{Address, Authorization};

use crate::error::{Error, Result, excerpt};

/// The port of git's own protocol, and of ssh.
pub(crate) const GIT_PORT: u16 = 9418;
const SSH_PORT: u16 = 22;
/// The longest path.
const PATH_LIMIT: usize = 4096;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a web server.
    Web(Url),
    /// Where ssh leads to.
    Ssh(Server),
    /// At a server of git's own protocol.
    Daemon(Server),
}

/// A server, and where on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Who we are there, if that is told.
    pub(crate) user: Option<String>,
    /// A name or an address, an IPv6 address without its brackets.
    pub(crate) host: String,
    /// The port, unless it is the usual one, or whatever the user's configuration says.
    pub(crate) port: Option<u16>,
    /// Absolute, or relative to the home of whoever we are there.
    pub(crate) path: String,
}

impl Place {
    /// What a text means, and who we are there if it says so.
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<Authorization>)> {
        let refuse = |reason| Error::Remote { remote: redacted(text), reason };
        match kind(text).map_err(refuse)? {
            Kind::Web => {
                let address: Address = text.parse().map_err(|_| refuse("it is no address"))?;
                if address.url.path.contains('?') {
                    return Err(refuse("it must not have a query"));
                }
                let path = address.url.path.trim_end_matches('/').to_owned();
                Ok((Self::Web(Url { path, ..address.url }), address.authorization))
            }
            Kind::Ssh(rest) => Ok((Self::Ssh(Server::of_url(rest, SSH_PORT).map_err(refuse)?), None)),
            Kind::Scp => Ok((Self::Ssh(Server::of_scp(text).map_err(refuse)?), None)),
            Kind::Daemon(rest) => {
                let server = Server::of_url(rest, GIT_PORT).map_err(refuse)?;
                match server.user {
                    Some(_) => Err(refuse("git:// knows no users")),
                    None => Ok((Self::Daemon(server), None)),
                }
            }
        }
    }

    /// The repository that a submodule's address `./…` or `../…` means here.
    pub(crate) fn join(&self, relative: &str) -> Result<Self> {
        let refuse = |reason| Error::Remote { remote: excerpt(relative.as_bytes()), reason };
        let path = match self {
            Self::Web(url) => &url.path,
            Self::Ssh(server) | Self::Daemon(server) => &server.path,
        };
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut rest = relative;
        loop {
            if let Some(after) = rest.strip_prefix("../") {
                parts.pop().ok_or_else(|| refuse("it leads out of the server"))?;
                rest = after;
            } else if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else {
                break;
            }
        }
        if rest.split('/').any(|part| part == ".." || part == ".") || rest.contains(['?', '#']) {
            return Err(refuse("it is no plain path"));
        }
        parts.extend(rest.split('/').filter(|part| !part.is_empty()));
        // A home is a directory like others in an address.
        let root = if path.starts_with(['/', '~']) { "/" } else { "" };
        let path = of_home(format!("{root}{}", parts.join("/")));
        let server = |server: &Server| {
            check_path(&path).map_err(refuse)?;
            Ok(Server { path: path.clone(), ..server.clone() })
        };
        Ok(match self {
            Self::Web(url) => Self::parse(&format!("{}/{}", url.origin, parts.join("/")))?.0,
            Self::Ssh(at) => Self::Ssh(server(at)?),
            Self::Daemon(at) => Self::Daemon(server(at)?),
        })
    }

    /// The address without what is secret, and without who we are.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.shown(),
            Self::Ssh(server) => server.shown("ssh"),
            Self::Daemon(server) => server.shown("git"),
        }
    }

    /// The same by each way that proves who answers, and by each that does not: host and path.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Web(url) if url.origin.is_secure => format!("{}{}", url.origin.authority(), url.path),
            Self::Web(url) => format!("unproven {}{}", url.origin.authority(), url.path),
            Self::Ssh(server) => format!("{}/{}", server.authority(), server.path.trim_start_matches('/')),
            Self::Daemon(server) => {
                format!("unproven {}/{}", server.authority(), server.path.trim_start_matches('/'))
            }
        }
    }
}

impl Server {
    /// What stands behind `scheme://`, where characters may be escaped.
    fn of_url(text: &str, usual: u16) -> Result<Self, &'static str> {
        let (authority, path) = text.split_at(text.find('/').ok_or("it has no path")?);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(unescaped(user)?), host),
            None => (None, authority),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("a password cannot be given in it");
        }
        let (host, port) = host_and_port(host)?;
        let path = unescaped(path)?;
        Self::new(user, host, port.filter(|port| *port != usual), &of_home(path))
    }

    /// `[user@]host:path`, where nothing is escaped.
    fn of_scp(text: &str) -> Result<Self, &'static str> {
        let (user, rest) = match text.split_once('@') {
            Some((user, rest)) if !user.contains([':', '/']) => (Some(user.to_owned()), rest),
            _ => (None, text),
        };
        let end = match rest.starts_with('[') {
            true => rest.find(']').map(|end| end + 1).filter(|end| rest[*end..].starts_with(':')),
            false => rest.find(':'),
        };
        let (host, path) = rest.split_at(end.ok_or("it has no path")?);
        let (host, port) = host_and_port(host)?;
        Self::new(user, host, port, &path[1..])
    }

    fn new(user: Option<String>, host: String, port: Option<u16>, path: &str) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        if user.as_ref().is_some_and(|user| {
            user.is_empty() || user.len() > 255 || user.starts_with('-') || !user.bytes().all(plain)
        }) {
            return Err("the user is none that a server would have");
        }
        let path = match path.trim_end_matches('/') {
            "" => return Err("it has no path"),
            path => path.to_owned(),
        };
        check_path(&path)?;
        Ok(Self { user, host, port, path })
    }

    /// `host[:port]`.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    fn shown(&self, scheme: &str) -> String {
        let path = &self.path;
        match (path.starts_with('/'), path.starts_with('~')) {
            (true, _) => format!("{scheme}://{}{path}", self.authority()),
            (_, true) => format!("{scheme}://{}/{path}", self.authority()),
            // Only so can a path be told that is relative to a home.
            _ => format!("{}:{path}", self.authority()),
        }
    }
}

/// A path of an address, in which `/~name` is a home.
fn of_home(path: String) -> String {
    if path.starts_with("/~") { path[1..].to_owned() } else { path }
}

enum Kind<'a> {
    Web,
    Ssh(&'a str),
    Scp,
    Daemon(&'a str),
}

/// How a text names a repository; or why it is not fetched from.
fn kind(text: &str) -> Result<Kind<'_>, &'static str> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err("it is no address");
    }
    let slash = text.find('/').unwrap_or(text.len());
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.find(':') {
            Some(at) if text[at..].starts_with("::") && !text.contains('[') => {
                Err("helpers of git are not run")
            }
            Some(at) if at < slash => Ok(Kind::Scp),
            _ => Err("a path of this host is not fetched from"),
        };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "http" => Ok(Kind::Web),
        "ssh" | "git+ssh" | "ssh+git" => Ok(Kind::Ssh(rest)),
        "git" => Ok(Kind::Daemon(rest)),
        "file" => Err("a path of this host is not fetched from"),
        scheme if scheme.contains("::") => Err("helpers of git are not run"),
        _ => Err("git does not know its scheme, or it is not supported; name it by https://"),
    }
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "no IPv6 address in brackets")?;
            match rest {
                "" => (host, None),
                _ => (host, Some(rest.strip_prefix(':').ok_or("no port after the bracket")?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || host.starts_with(['-', '.']) || host.len() > 253 || !host.bytes().all(plain) {
        return Err("the host is neither a name nor an address");
    }
    let port = match port.filter(|port| !port.is_empty()) {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port != 0).ok_or("the port is none")?)
        }
        Some(_) => return Err("the port is no number"),
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('-') || path.chars().any(char::is_control) || path.len() > PATH_LIMIT {
        return Err("its path is none that a server would have");
    }
    if path.contains('?') {
        return Err("it must not have a query");
    }
    Ok(())
}

/// With `%41` as what it stands for.
fn unescaped(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is no text")
}

/// An address without credentials.
fn redacted(text: &str) -> String {
    excerpt(oci::address_without_credentials(text).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(place: Result<Place>) -> String {
        let server = |kind: &str, server: Server| {
            let user = server.user.map(|user| format!("{user}@")).unwrap_or_default();
            let port = server.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{kind} {user}{}{port} {}", server.host, server.path)
        };
        match place {
            Ok(Place::Web(url)) => url.to_string(),
            Ok(Place::Ssh(at)) => server("ssh", at),
            Ok(Place::Daemon(at)) => server("git", at),
            Err(error) => format!("! {error}"),
        }
    }

    fn parsed(text: &str) -> Result<Place> {
        Place::parse(text).map(|(place, _)| place)
    }

    #[test]
    fn servers_are_named_in_all_of_gits_spellings() {
        for (text, want) in [
            ("https://host/a/b.git/", "https://host/a/b.git"),
            ("http://user:secret@Host:8080/a b.git", "http://host:8080/a%20b.git"),
            ("git@host:a/b.git", "ssh git@host a/b.git"),
            ("host:a/b.git/", "ssh host a/b.git"),
            ("me@Host:/srv/a b'c.git", "ssh me@host /srv/a b'c.git"),
            ("git@[::1]:a", "ssh git@::1 a"),
            ("host:a@b:c", "ssh host a@b:c"),
            ("ssh://git@host/a.git", "ssh git@host /a.git"),
            ("ssh://host:22/a", "ssh host /a"),
            ("git+ssh://j.d%2Be@host:2222/~me/a%20b.git", "ssh j.d+e@host:2222 ~me/a b.git"),
            ("ssh://[fe80::1]:29418/a", "ssh fe80::1:29418 /a"),
            ("git://host/a.git/", "git host /a.git"),
            ("git://host:9418/~u/a", "git host ~u/a"),
            ("git://host:9419/a", "git host:9419 /a"),
        ] {
            assert_eq!(told(parsed(text)), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_server_or_would_be_an_option_is_refused() {
        for (text, want) in [
            ("file:///etc", "a path of this host"),
            ("/etc", "a path of this host"),
            ("../x", "a path of this host"),
            ("a/b:c", "a path of this host"),
            ("ext::sh -c id", "helpers"),
            ("ext::https://host/", "helpers"),
            ("-u", "no address"),
            ("--upload-pack=id", "no address"),
            ("https://host/a\nb", "no address"),
            ("https://host/a?b", "query"),
            ("ftp://host/a", "scheme"),
            ("ftp://u:secret@host/a", "scheme"),
            ("ssh://-oProxyCommand=id/a", "neither a name"),
            ("ssh://-oProxyCommand=id@host/a", "the user"),
            ("ssh://%2doProxyCommand=id@host/a", "the user"),
            ("ssh://u@-v/a", "neither a name"),
            ("ssh://host:-1/a", "no number"),
            ("ssh://host:0/a", "the port"),
            ("ssh://host:99999/a", "the port"),
            ("ssh://u:secret@host/a", "password"),
            ("ssh://u%3Asecret@host/a", "password"),
            ("ssh://$(id)@host/a", "the user"),
            ("ssh://u@ho`id`st/a", "neither a name"),
            ("ssh://host", "no path"),
            ("ssh://host/", "no path"),
            ("ssh://host/a%0ab", "its path"),
            ("ssh://host/%ff", "no text"),
            ("ssh://[host]/a", "no IPv6"),
            ("git@-host:a", "neither a name"),
            ("-git@host:a", "no address"),
            ("git@host:-a", "its path"),
            ("git@host:", "no path"),
            ("@host:a", "the user"),
            ("u;id@host:a", "the user"),
            ("ho;st:a", "neither a name"),
            ("git://u@host/a", "no users"),
            ("git://host/a%00b", "its path"),
            ("git://host\\x/a", "neither a name"),
        ] {
            let told = told(parsed(text));
            assert!(told.starts_with("! ") && told.contains(want), "{text:?}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn addresses_of_submodules_stay_on_their_server() {
        for (base, relative, want) in [
            ("https://u:p@host/group/repo.git", "../lib.git", "https://host/group/lib.git"),
            ("https://host/group/repo.git", "../../other/lib.git", "https://host/other/lib.git"),
            ("https://host/group/repo.git", "./sub", "https://host/group/repo.git/sub"),
            ("https://host/group/repo.git", "././../x/", "https://host/group/x"),
            ("https://host/group/repo.git", "../../../x", "leads out"),
            ("https://host/group/repo.git", "../../../../etc", "leads out"),
            ("https://host/group/repo.git", "../a/../../../b", "no plain path"),
            ("https://host/group/repo.git", "../x?y", "no plain path"),
            ("https://host/group/repo.git", "../x\ny", "no address"),
            ("git@host:group/repo.git", "../lib.git", "ssh git@host group/lib.git"),
            ("git@host:group/repo.git", "../../lib.git", "ssh git@host lib.git"),
            ("git@host:repo.git", "../../lib.git", "leads out"),
            ("ssh://host:2222/srv/repo", "../-x", "ssh host:2222 /srv/-x"),
            ("git@host:repo", "../-x", "its path"),
            ("git@host:repo", "../x\ny", "its path"),
            ("ssh://host:2222/~me/a", "../../b", "ssh host:2222 /b"),
            ("ssh://host:2222/~me/a", "../b", "ssh host:2222 ~me/b"),
            ("git://host/a/b", "../c", "git host /a/c"),
        ] {
            let told = told(parsed(base).unwrap().join(relative));
            assert!(told.contains(want), "{base} {relative:?}: {told}");
        }
    }

    #[test]
    fn nothing_of_who_we_are_is_shown_or_decides() {
        for (text, shown, identity) in [
            ("https://u:p@host/a/b.git", "https://host/a/b.git", "host/a/b.git"),
            ("git@host:a/b.git", "host:a/b.git", "host/a/b.git"),
            ("ssh://me@host/a/b.git", "ssh://host/a/b.git", "host/a/b.git"),
            ("ssh://me@host:2222/~me/b", "ssh://host:2222/~me/b", "host:2222/~me/b"),
            ("git://host/a/b.git", "git://host/a/b.git", "unproven host/a/b.git"),
            ("http://me@host/a/b.git", "http://host/a/b.git", "unproven host/a/b.git"),
            ("git@[::1]:a", "[::1]:a", "[::1]/a"),
        ] {
            let place = parsed(text).unwrap();
            assert_eq!((place.shown().as_str(), place.identity().as_str()), (shown, identity), "{text}");
            assert_eq!(parsed(shown).unwrap().identity(), identity, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_no_option_and_no_word_of_a_shell(text in "(ssh://|git://|)(\\PC{0,8}@)?\\PC{0,12}[:/]\\PC{0,20}") {
            if let Ok(Place::Ssh(at) | Place::Daemon(at)) = parsed(&text) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "._+-:".contains(c);
                for word in at.user.iter().chain([&at.host]) {
                    proptest::prop_assert!(!word.starts_with('-') && word.chars().all(plain));
                }
                proptest::prop_assert!(!at.path.starts_with('-') && !at.path.chars().any(char::is_control));
            }
        }
    }
}
