//! A repository, and who we are there. Pure.
//!
//! Fetched from is what a server has, named as [`place`](crate::place) says. The rest that git knows is refused by name: `file://` and paths
//! reach into the host, and a remote helper (`ext::…`) runs what it is told.

use registry_client::Url;
use registry_client::web::Authorization;

use crate::error::Result;
use crate::place::Place;

/// A repository, and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) place: Place,
    pub(crate) authorization: Option<Authorization>,
}

impl Remote {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (place, authorization) = Place::parse(text)?;
        Ok(Self { place, authorization })
    }

    /// The repository that a submodule's address `./…` or `../…` means here.
    pub(crate) fn join(&self, relative: &str) -> Result<Self> {
        Ok(Self { place: self.place.join(relative)?, authorization: self.authorization.clone() })
    }

    /// The address without what is secret.
    pub(crate) fn shown(&self) -> String {
        self.place.shown()
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
        let Place::Web(url) = &remote.place else { return None };
        let host = url.origin.authority();
        let header = |name: &str| secret(name).map(|value| Authorization::new(&value));
        let token = |name: &str| {
            let token = secret(name)?;
            Some(Authorization::basic("x-access-token", token.trim_end_matches(['\r', '\n'])))
        };
        let authorization = header(&format!("GIT_AUTH_HEADER.{host}"))
            .or_else(|| token(&format!("GIT_AUTH_TOKEN.{host}")))
            .or_else(|| header("GIT_AUTH_HEADER"))
            .or_else(|| token("GIT_AUTH_TOKEN"))?;
        let origin = &url.origin;
        let is_github = origin.is_secure
            && origin.port == 443
            && matches!(origin.host.as_str(), "github.com" | "www.github.com");
        let path = if is_github { String::new() } else { url.path.clone() };
        Some(Self { below: Url { path, ..url.clone() }, authorization })
    }

    /// Who we are at a repository.
    pub(crate) fn at(&self, place: &Place) -> Option<&Authorization> {
        let Place::Web(url) = place else { return None };
        let rest = url.path.strip_prefix(&self.below.path)?;
        let is_below = url.origin == self.below.origin && (rest.is_empty() || rest.starts_with('/'));
        is_below.then_some(&self.authorization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(credential.at(&Remote::parse(url).unwrap().place).is_some(), want, "{remote} {url}");
        }
        assert!(of("git@host:a", &["GIT_AUTH_TOKEN"]).is_none());
        let web = of("https://host/a", &["GIT_AUTH_TOKEN"]).unwrap();
        assert!(web.at(&Remote::parse("ssh://host:443/a").unwrap().place).is_none());
        let base = Remote::parse("https://u:p@host/group/repo.git").unwrap();
        assert_eq!(base.join("../x").unwrap().authorization, base.authorization);
    }
}
