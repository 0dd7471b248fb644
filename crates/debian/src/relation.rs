//! Relations between packages: `libc6 (>= 2.36), awk | mawk:any` (debian-policy 7.1).

use std::fmt;

use crate::error::{Error, Result};
use crate::package::is_package_name;
use crate::version::Version;

/// How versions must relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

/// One package, maybe in certain versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its name, or that of something that packages provide.
    pub name: &'a str,
    /// What stands behind a colon: `any`, or an architecture.
    pub architecture: Option<&'a str>,
    /// Which versions are meant; missing is all.
    pub versions: Option<(Operator, Version)>,
}

/// More in one field are not read.
const LIMIT: usize = 2000;

impl Relation<'_> {
    /// Whether a package, or a thing provided, of this version is meant. What has no version is meant only where none
    /// is asked for.
    #[must_use]
    pub fn admits(&self, version: Option<&Version>) -> bool {
        match (&self.versions, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, bound)), Some(version)) => match operator {
                Operator::Earlier => version < bound,
                Operator::EarlierOrEqual => version <= bound,
                Operator::Equal => version == bound,
                Operator::LaterOrEqual => version >= bound,
                Operator::Later => version > bound,
            },
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)?;
        if let Some(architecture) = self.architecture {
            write!(out, ":{architecture}")?;
        }
        if let Some((operator, version)) = &self.versions {
            let sign = match operator {
                Operator::Earlier => "<<",
                Operator::EarlierOrEqual => "<=",
                Operator::Equal => "=",
                Operator::LaterOrEqual => ">=",
                Operator::Later => ">>",
            };
            write!(out, " ({sign} {version})")?;
        }
        Ok(())
    }
}

/// Reads a field of relations: all of the groups, and one of the alternatives of each.
///
/// # Errors
/// Where it is none, or one that only source packages have (`[amd64]`, `<!nocheck>`).
pub fn parse_relations<'a>(field: &'static str, text: &'a str) -> Result<Vec<Vec<Relation<'a>>>> {
    let mut count = 0;
    let mut groups = Vec::new();
    for group in text.split(',').map(str::trim) {
        // A comma may stand at the end.
        if group.is_empty() {
            continue;
        }
        let alternatives: Result<Vec<_>> = group.split('|').map(|one| parse_one(field, one.trim())).collect();
        let alternatives = alternatives?;
        count += alternatives.len();
        if count > LIMIT {
            return Err(Error::field(field, text, "there are too many relations"));
        }
        groups.push(alternatives);
    }
    Ok(groups)
}

fn parse_one<'a>(field: &'static str, text: &'a str) -> Result<Relation<'a>> {
    let wrong = |reason| Error::field(field, text, reason);
    let (package, versions) = match text.split_once('(') {
        None => (text, None),
        Some((package, rest)) => {
            let inside = rest.strip_suffix(')').ok_or(wrong("a parenthesis stays open"))?;
            (package.trim_end(), Some(parse_versions(inside.trim()).ok_or(wrong("it names no versions"))?))
        }
    };
    let (name, architecture) = match package.split_once(':') {
        None => (package, None),
        Some((name, architecture)) => (name, Some(architecture)),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !is_package_name(name) || architecture.is_some_and(|word| word.is_empty() || !word.bytes().all(plain))
    {
        return Err(wrong("it names no package"));
    }
    Ok(Relation { name, architecture, versions })
}

fn parse_versions(text: &str) -> Option<(Operator, Version)> {
    // The single signs are from old times, when they included equality.
    let signs = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">>", Operator::Later),
        (">=", Operator::LaterOrEqual),
        ("=", Operator::Equal),
        ("<", Operator::EarlierOrEqual),
        (">", Operator::LaterOrEqual),
    ];
    let (rest, operator) =
        signs.iter().find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)))?;
    Some((operator, rest.trim_start().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_groups_of_alternatives() {
        let text = "libc6 (>= 2.36), awk|mawk:any (<< 1:2-3) ,\n perl-base(=5), old (< 1),";
        let groups = parse_relations("Depends", text).unwrap();
        let shown: Vec<String> = groups
            .iter()
            .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
            .collect();
        assert_eq!(shown, ["libc6 (>= 2.36)", "awk | mawk:any (<< 1:2-3)", "perl-base (= 5)", "old (<= 1)"]);
        assert_eq!(parse_relations("Depends", "").unwrap(), Vec::<Vec<_>>::new());
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        for text in [
            "a b",
            "a (1)",
            "a (>= 1",
            "a (>= )",
            "A",
            "a |",
            "a:",
            "a [amd64]",
            "a <!nocheck>",
            "../a",
            "-a",
        ] {
            assert!(parse_relations("Depends", text).is_err(), "{text:?}");
        }
        assert!(parse_relations("Depends", &"a,".repeat(3000)).is_err());
    }

    #[test]
    fn what_has_no_version_fulfils_no_versioned_relation() {
        let (one, two): (Version, Version) = ("1".parse().unwrap(), "2".parse().unwrap());
        for (text, admits) in [
            ("a", [true, true, true]),
            ("a (<< 2)", [false, true, false]),
            ("a (<= 1)", [false, true, false]),
            ("a (= 2)", [false, false, true]),
            ("a (>= 1)", [false, true, true]),
            ("a (>> 1)", [false, false, true]),
        ] {
            let relation = &parse_relations("Depends", text).unwrap()[0][0];
            assert_eq!(
                [None, Some(&one), Some(&two)].map(|version| relation.admits(version)),
                admits,
                "{text}"
            );
        }
    }
}
