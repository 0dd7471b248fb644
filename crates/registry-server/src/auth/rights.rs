//! Who may do what in which repositories: rules of a configuration, decided purely.

use serde::Deserialize;

use crate::names::Repository;

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Reading anything.
    Pull,
    /// Adding blobs, manifests and tags.
    Push,
    /// Removing them.
    Delete,
}

impl Action {
    /// As scopes of tokens write it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pull, Self::Push, Self::Delete].into_iter().find(|action| action.text() == text)
    }
}

/// One rule; what no rule grants is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Users to whom it applies; `*` is everybody who has a password.
    #[serde(default)]
    pub(crate) users: Vec<String>,
    /// Whether it applies to those without a password, too.
    #[serde(default)]
    pub(crate) everyone: bool,
    /// Repositories: `*` stands for anything within a component, a component `**` for any number of them.
    pub(crate) repositories: Vec<String>,
    /// What it grants.
    pub(crate) actions: Vec<Action>,
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights(pub(crate) Vec<Rule>);

impl Rights {
    /// Whether `user`, or somebody without a name, may do `action` in `repository`.
    pub(crate) fn allow(&self, user: Option<&str>, repository: &Repository, action: Action) -> bool {
        self.0.iter().any(|rule| {
            let is_meant = rule.everyone
                || user.is_some_and(|user| rule.users.iter().any(|known| known == "*" || known == user));
            is_meant
                && rule.actions.contains(&action)
                && rule.repositories.iter().any(|pattern| fits(pattern, repository.as_str()))
        })
    }
}

/// Whether a repository's name fits a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), name.split('/').collect());
    walk(
        &pattern,
        &name,
        |pattern| *pattern == "**",
        |pattern, part| {
            let (pattern, part): (Vec<char>, Vec<char>) = (pattern.chars().collect(), part.chars().collect());
            walk(&pattern, &part, |letter| *letter == '*', |letter, other| letter == other)
        },
    )
}

/// Matches with one kind of wildcard, in time bounded by the product of the lengths: after a failure only the last
/// wildcard can take more.
fn walk<T>(pattern: &[T], text: &[T], any: impl Fn(&T) -> bool, same: impl Fn(&T, &T) -> bool) -> bool {
    let (mut at, mut read, mut retry) = (0, 0, None);
    loop {
        match (pattern.get(at), text.get(read)) {
            (Some(wildcard), _) if any(wildcard) => {
                retry = Some((at + 1, read));
                at += 1;
            }
            (Some(wanted), Some(found)) if same(wanted, found) => {
                at += 1;
                read += 1;
            }
            (None, None) => return true,
            (Some(_) | None, _) => match retry {
                Some((after, from)) if from < text.len() => {
                    retry = Some((after, from + 1));
                    at = after;
                    read = from + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_components() {
        for (pattern, name, fit) in [
            ("team/app", "team/app", true),
            ("team/app", "team/app2", false),
            ("team/*", "team/app", true),
            ("team/*", "team/app/part", false),
            ("team/*", "team", false),
            ("team/**", "team/app/part", true),
            ("**", "a/b/c", true),
            ("**/base", "base", true),
            ("**/base", "x/y/base", true),
            ("**/base", "x/base/y", false),
            ("*-dev/a*b", "x-dev/acb", true),
            ("*-dev/a*b", "x-dev/acbd", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
        let long = "a".repeat(255);
        assert!(!fits(&"*a".repeat(100).replace("aa", "a"), &(long + "b")), "and this ends soon");
    }

    #[test]
    fn what_no_rule_grants_is_refused() {
        let rule = |users: &[&str], everyone, repositories: &[&str], actions: &[Action]| Rule {
            users: users.iter().map(|&user| user.to_owned()).collect(),
            everyone,
            repositories: repositories.iter().map(|&name| name.to_owned()).collect(),
            actions: actions.to_vec(),
        };
        let rights = Rights(vec![
            rule(&["alice"], false, &["**"], &[Action::Pull, Action::Push, Action::Delete]),
            rule(&["*"], false, &["team/**"], &[Action::Pull, Action::Push]),
            rule(&[], true, &["public/*"], &[Action::Pull]),
        ]);
        let may = |user, name, action| rights.allow(user, &Repository::parse(name).unwrap(), action);
        assert!(may(Some("alice"), "any/where", Action::Delete));
        assert!(may(Some("bob"), "team/x", Action::Push));
        assert!(!may(Some("bob"), "team/x", Action::Delete));
        assert!(!may(Some("bob"), "any/where", Action::Pull));
        assert!(may(None, "public/x", Action::Pull) && may(Some("bob"), "public/x", Action::Pull));
        assert!(!may(None, "public/x", Action::Push) && !may(None, "team/x", Action::Pull));
        assert!(!Rights::default().allow(Some("alice"), &Repository::parse("a").unwrap(), Action::Pull));
    }
}
