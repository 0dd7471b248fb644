//! Which repositories are fetched from, and who we are there. Pure.
//!
//! Fetched from is what `https://` and `http://` name. What else git knows is refused by name: `ssh://` and `user@host:path` need a program
//! and keys, `git://` proves nothing, `file://` and paths reach into the host, and a remote helper (`ext::…`) runs what it is told.

use registry_client::Url;
use registry_client::web::{Address, Authorization};

use crate::error::{Error, Result, excerpt};

/// A repository, and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) url: Url,
    pub(crate) authorization: Option<Authorization>,
}

impl Remote {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Remote { remote: redacted(text), reason };
        if let Some(reason) = refusal(text) {
            return Err(refuse(reason));
        }
        let address: Address = text.parse().map_err(|_| refuse("it is no address"))?;
        if address.url.path.contains('?') {
            return Err(refuse("it must not have a query"));
        }
        let path = address.url.path.trim_end_matches('/').to_owned();
        Ok(Self { url: Url { path, ..address.url }, authorization: address.authorization })
    }

    /// The repository that a submodule's address `./…` or `../…` means here.
    pub(crate) fn join(&self, relative: &str) -> Result<Self> {
        let refuse = |reason| Error::Remote { remote: excerpt(relative.as_bytes()), reason };
        let mut parts: Vec<&str> = self.url.path.split('/').filter(|part| !part.is_empty()).collect();
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
        let address = format!("{}/{}", self.url.origin, parts.join("/"));
        Ok(Self { authorization: self.authorization.clone(), ..Self::parse(&address)? })
    }

    /// The address without what is secret.
    pub(crate) fn shown(&self) -> String {
        self.url.shown()
    }
}

/// Why something is not fetched from.
fn refusal(text: &str) -> Option<&'static str> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Some("it is no address");
    }
    let slash = text.find('/').unwrap_or(text.len());
    let Some((scheme, _)) = text.split_once("://") else {
        return Some(match text.find(':') {
            Some(at) if text[at..].starts_with("::") => "helpers of git are not run",
            Some(at) if at < slash => "git over ssh is not supported; name it by https://",
            _ => "a path of this host is not fetched from",
        });
    };
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "http" => None,
        "ssh" | "git+ssh" | "ssh+git" => Some("git over ssh is not supported; name it by https://"),
        "git" => Some("git:// is not supported, for nobody proves who he is there; name it by https://"),
        "file" => Some("a path of this host is not fetched from"),
        scheme if scheme.contains("::") => Some("helpers of git are not run"),
        _ => Some("git does not know its scheme, or it is not supported; name it by https://"),
    }
}

/// An address without a user and a password.
fn redacted(text: &str) -> String {
    let text = excerpt(text.as_bytes());
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text,
    }
}

/// Who we are at some repositories.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// The repositories at or below that.
    below: Url,
    authorization: Authorization,
}

impl Credential {
    /// By the secrets of a build: `GIT_AUTH_HEADER` is a header's value, `GIT_AUTH_TOKEN` a token; those with `.<host>` behind them
    /// are looked for first. As in BuildKit they are for the repository that is named and for no other, but on github.com for all.
    pub(crate) fn of_secrets(remote: &Remote, secret: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let host = remote.url.origin.authority();
        let header = |name: &str| secret(name).map(|value| Authorization::new(&value));
        let token = |name: &str| {
            let token = secret(name)?;
            Some(Authorization::basic("x-access-token", token.trim_end_matches(['\r', '\n'])))
        };
        let authorization = header(&format!("GIT_AUTH_HEADER.{host}"))
            .or_else(|| token(&format!("GIT_AUTH_TOKEN.{host}")))
            .or_else(|| header("GIT_AUTH_HEADER"))
            .or_else(|| token("GIT_AUTH_TOKEN"))?;
        let origin = &remote.url.origin;
        let is_github = origin.is_secure
            && origin.port == 443
            && matches!(origin.host.as_str(), "github.com" | "www.github.com");
        let path = if is_github { String::new() } else { remote.url.path.clone() };
        Some(Self { below: Url { path, ..remote.url.clone() }, authorization })
    }

    /// Who we are at a repository.
    pub(crate) fn at(&self, url: &Url) -> Option<&Authorization> {
        let rest = url.path.strip_prefix(&self.below.path)?;
        let is_below = url.origin == self.below.origin && (rest.is_empty() || rest.starts_with('/'));
        is_below.then_some(&self.authorization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(remote: Result<Remote>) -> String {
        remote.map_or_else(|error| format!("! {error}"), |remote| remote.url.to_string())
    }

    #[test]
    fn only_web_servers_are_fetched_from() {
        for (text, want) in [
            ("https://host/a/b.git/", "https://host/a/b.git"),
            ("http://user:secret@Host:8080/a b.git", "http://host:8080/a%20b.git"),
            ("git@host:a/b.git", "ssh is not supported"),
            ("host:a/b.git", "ssh is not supported"),
            ("ssh://git@host/a.git", "ssh is not supported"),
            ("git://host/a.git", "git:// is not supported"),
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
        ] {
            let told = told(Remote::parse(text));
            assert!(told.contains(want), "{text:?}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        assert!(!told(Remote::parse("ftp://u:secret@host/a")).contains("secret"));
    }

    #[test]
    fn addresses_of_submodules_stay_on_their_server() {
        let base = Remote::parse("https://u:p@host/group/repo.git").unwrap();
        for (relative, want) in [
            ("../lib.git", "https://host/group/lib.git"),
            ("../../other/lib.git", "https://host/other/lib.git"),
            ("./sub", "https://host/group/repo.git/sub"),
            ("././../x/", "https://host/group/x"),
            ("../../../x", "leads out"),
            ("../../../../etc", "leads out"),
            ("../a/../../../b", "no plain path"),
            ("../x?y", "no plain path"),
            ("../x\ny", "no address"),
        ] {
            let told = told(base.join(relative));
            assert!(told.contains(want), "{relative:?}: {told}");
        }
        assert_eq!(base.join("../x").unwrap().authorization, base.authorization);
    }

    #[test]
    fn a_secret_is_for_one_repository() {
        let of = |remote: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let secret = move |name: &str| names.iter().any(|n| n == name).then(|| name.to_owned());
            Credential::of_secrets(&Remote::parse(remote).unwrap(), &secret)
        };
        let all =
            ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN.host:8443", "GIT_AUTH_HEADER.host:8443"];
        for (names, want) in [
            (&all[..], Some(Authorization::new(all[3]))),
            (&all[..3], Some(Authorization::basic("x-access-token", all[2]))),
            (&all[..2], Some(Authorization::new(all[1]))),
            (&all[..1], Some(Authorization::basic("x-access-token", all[0]))),
            (&["GIT_AUTH_TOKEN.host", "GIT_AUTH_TOKEN.other"][..], None),
        ] {
            let found = of("https://host:8443/a", names).map(|credential| credential.authorization);
            assert_eq!(found, want, "{names:?}");
        }
        for (remote, url, want) in [
            ("https://host/a/b", "https://host/a/b", true),
            ("https://host/a/b", "https://host/a/b/c", true),
            ("https://host/a/b", "https://host/a/bc", false),
            ("https://host/a/b", "https://host/a", false),
            ("https://host/a/b", "http://host/a/b", false),
            ("https://host/a/b", "https://host:444/a/b", false),
            ("https://github.com/a/b", "https://github.com/c/d", true),
            ("https://github.com/a/b", "https://www.github.com/c/d", false),
            ("http://github.com/a/b", "http://github.com/c/d", false),
        ] {
            let credential = of(remote, &["GIT_AUTH_TOKEN"]).unwrap();
            assert_eq!(credential.at(&Remote::parse(url).unwrap().url).is_some(), want, "{remote} {url}");
        }
    }
}
