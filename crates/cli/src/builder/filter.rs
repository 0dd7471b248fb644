//! `--filter` of the cache of builds: `name`, or `name` with `=`, `!=`, `~=` or `!~=` and a value. All of them must match.
//!
//! | name | what it looks at |
//! |---|---|
//! | `id` | the id; `=` finds a part of it, as with buildx |
//! | `parent`, `parents` | the ids of what it stands upon, one of which must match |
//! | `description`, `type` | what it is |
//! | `inuse`, `mutable`, `immutable`, `shared`, `private` | whether it is so; the value is `true` if there is none |
//! | `until`, `unused-for` | whether it was last used before that time, or so long ago |

use engine::build::BuildCacheEntry;
use oci::Timestamp;
use regex_lite::{Regex, RegexBuilder};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::flags::parse::parse_bool;
use crate::output::zone::Zone;
use crate::values::filter::EXPRESSION_LIMIT;
use crate::values::time;

/// What of the cache of builds is meant.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    conditions: Vec<Condition>,
    /// Last used before this.
    before: Option<Timestamp>,
}

#[derive(Debug)]
struct Condition {
    field: Field,
    wanted: bool,
    test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Parents,
    Description,
    Type,
    InUse,
    Mutable,
    Shared,
}

#[derive(Debug)]
enum Test {
    /// The text is this.
    Is(String),
    /// The expression is found in the text.
    Matches(Regex),
    /// It is so.
    Holds,
}

impl Selection {
    /// Reads every `--filter`. For a command that removes, also what the client configuration asks for under `pruneFilters`.
    pub(crate) fn new(context: &Context, parsed: &Parsed, is_prune: bool) -> Result<Selection> {
        let mut texts: Vec<&str> = parsed.list("filter").collect();
        let is_time = |text: &&str| text.starts_with("until=") || text.starts_with("unused-for=");
        if is_prune && !texts.iter().any(is_time) {
            texts.extend(context.configuration().list("pruneFilters").filter(is_time));
        }
        Selection::parse(&texts, Timestamp::from(std::time::SystemTime::now()))
    }

    /// Everything that was last used before a time.
    pub(crate) fn before(before: Option<Timestamp>) -> Selection {
        Selection { before, conditions: Vec::new() }
    }

    fn parse(texts: &[&str], now: Timestamp) -> Result<Selection> {
        let mut selection = Selection::default();
        let mut seen: Vec<(String, &str)> = Vec::new();
        for text in texts {
            let (name, operator, value) = split(text);
            let fail = |reason| Error::FilterValue { name: "filter", value: (*text).to_owned(), reason };
            let again = (name.clone(), operator);
            if seen.contains(&again) {
                return Err(fail("only one of this name is possible"));
            }
            seen.push(again);
            if matches!(name.as_str(), "until" | "unused-for") {
                if operator != "=" || selection.before.is_some() {
                    return Err(fail("want one of until=… and unused-for=…, such as until=24h"));
                }
                selection.before = Some(time::point(value, now, &Zone::local()).map_err(fail)?);
                continue;
            }
            let (field, holds) = field(&name).ok_or_else(|| Error::Filter { name: name.clone() })?;
            let wanted = holds != operator.starts_with('!');
            selection.conditions.push(condition(field, wanted, operator, value).map_err(fail)?);
        }
        Ok(selection)
    }

    /// Whether there is no filter at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.before.is_none()
    }

    /// Whether this is meant.
    pub(crate) fn takes(&self, entry: &BuildCacheEntry) -> bool {
        let is_old = self.before.is_none_or(|before| entry.last_used < before);
        is_old && self.conditions.iter().all(|condition| condition.takes(entry))
    }
}

impl Condition {
    fn takes(&self, entry: &BuildCacheEntry) -> bool {
        let text = |text: &str| match &self.test {
            Test::Is(wanted) => text == wanted,
            Test::Matches(expression) => expression.is_match(text),
            Test::Holds => !text.is_empty(),
        };
        let found = match self.field {
            Field::Id => text(&entry.id),
            Field::Parents => entry.parents.iter().any(|parent| text(parent)),
            Field::Description => text(&entry.description),
            Field::Type => text(entry.kind.as_str()),
            Field::InUse => entry.in_use,
            Field::Mutable => entry.mutable,
            Field::Shared => entry.shared,
        };
        found == self.wanted
    }
}

/// What a name stands for, and whether it is that or its opposite.
fn field(name: &str) -> Option<(Field, bool)> {
    Some(match name {
        "id" => (Field::Id, true),
        "parent" | "parents" => (Field::Parents, true),
        "description" => (Field::Description, true),
        "type" => (Field::Type, true),
        "inuse" => (Field::InUse, true),
        "mutable" => (Field::Mutable, true),
        "immutable" => (Field::Mutable, false),
        "shared" => (Field::Shared, true),
        "private" => (Field::Shared, false),
        _ => return None,
    })
}

/// Name, operator (none, `=`, `!=`, `~=` or `!~=`) and value.
fn split(text: &str) -> (String, &'static str, &str) {
    let Some((name, value)) = text.split_once('=') else { return (text.trim().to_ascii_lowercase(), "", "") };
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    let name = name.trim();
    let operators = [("!~", "!~="), ("~", "~="), ("!", "!="), ("", "=")];
    let found = operators.iter().find_map(|(end, operator)| Some((name.strip_suffix(end)?, *operator)));
    let (name, operator) = found.unwrap_or((name, "="));
    (name.trim().to_ascii_lowercase(), operator, value)
}

fn condition(
    field: Field,
    wanted: bool,
    operator: &str,
    value: &str,
) -> std::result::Result<Condition, &'static str> {
    let expression = || {
        let built = RegexBuilder::new(value).size_limit(EXPRESSION_LIMIT).build();
        built.map(Test::Matches).map_err(|_| "want a regular expression")
    };
    if matches!(field, Field::InUse | Field::Mutable | Field::Shared) {
        if operator.contains('~') {
            return Err("want true or false");
        }
        let on = if value.is_empty() { Some(true) } else { parse_bool(value) };
        let on = on.ok_or("want true or false")?;
        return Ok(Condition { field, wanted: wanted == on, test: Test::Holds });
    }
    let test = match operator {
        "" => Test::Holds,
        "~=" | "!~=" => expression()?,
        // As buildx has it.
        "=" if field == Field::Id => expression()?,
        _ => Test::Is(value.to_owned()),
    };
    Ok(Condition { field, wanted, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, operator, value, and the truth of it for something that is not in use and not shared.
    #[test]
    fn filters_are_taken_apart_at_their_operator() {
        for (text, want) in [
            ("id=abc", ("id", "=", "abc")),
            ("ID == abc", ("id", "=", "abc")),
            ("id!=abc", ("id", "!=", "abc")),
            ("description~=RUN a=b", ("description", "~=", "RUN a=b")),
            ("description!~=x", ("description", "!~=", "x")),
            ("shared", ("shared", "", "")),
            ("=", ("", "=", "")),
        ] {
            let (name, operator, value) = split(text);
            assert_eq!((name.as_str(), operator, value), want, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let parse = |texts: &[&str]| Selection::parse(texts, Timestamp::new(1_000_000, 0).unwrap());
        for texts in [
            &["nope=1"][..],
            &["id~=("],
            &["shared=perhaps"],
            &["shared~=true"],
            &["until=24h", "unused-for=1h"],
            &["until!=24h"],
            &["until=soon"],
            &["type=a", "type=b"],
            &["="],
            &[""],
        ] {
            assert!(parse(texts).is_err(), "{texts:?}");
        }
        for texts in [
            &[][..],
            &["type!=a", "type!~=b", "type~=."],
            &["until=24h"],
            &["unused-for=1h30m", "shared=0", "private", "inuse!=1"],
        ] {
            assert!(parse(texts).is_ok(), "{texts:?}");
        }
    }

    #[test]
    fn switches_are_what_they_say_and_opposites_are_opposites() {
        let wanted = |text: &str| {
            let selection = Selection::parse(&[text], Timestamp::EPOCH).unwrap();
            let condition = &selection.conditions[0];
            (condition.field, condition.wanted)
        };
        for (text, want) in [
            ("shared", (Field::Shared, true)),
            ("shared=false", (Field::Shared, false)),
            ("shared!=true", (Field::Shared, false)),
            ("shared!=false", (Field::Shared, true)),
            ("private", (Field::Shared, false)),
            ("private=false", (Field::Shared, true)),
            ("immutable=1", (Field::Mutable, false)),
            ("inuse=true", (Field::InUse, true)),
        ] {
            assert_eq!(wanted(text), want, "{text}");
        }
    }
}
