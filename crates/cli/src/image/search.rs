//! `skiff search`: repositories that have to do with a word, in Docker Hub or in the registry that stands before it.

use engine::registries::search::{Found, Hit};
use serde_json::{Map, Value};

use super::registries;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::{self, units};
use crate::values::filter::Filters;
use crate::values::integer;

const COLUMNS: Columns = Columns {
    headers: &[
        ("Description", "DESCRIPTION"),
        ("IsOfficial", "OFFICIAL"),
        ("Name", "NAME"),
        ("StarCount", "STARS"),
    ],
    raw: &[],
};
const FILTERS: &[&str] = &["is-automated", "is-official", "stars"];
/// How many are shown where nobody says, and at most.
const USUAL: i64 = 25;
const MOST: i64 = 100;
/// Columns of a description.
const SHORT: usize = 45;

/// `skiff search`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let filters = Filters::new(parsed, FILTERS)?;
    let wanted = Wanted::new(&filters)?;
    let limit = match parsed.value("limit", integer::<i64>)?.unwrap_or(0) {
        0 => USUAL,
        limit if (1..=MOST).contains(&limit) => limit,
        limit => return Err(Error::SearchLimit { limit, most: MOST }),
    };
    let format =
        Format::parse(parsed.text("format"), "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}")?;
    let (registry, term) = place(&parsed.arguments[0])?;
    let client = registries::client(context)?;
    let found = client.search(registry, term, usize::try_from(limit).unwrap_or(0));
    let hits = match found.map_err(|source| Error::Registries(Box::new(source)))? {
        Found::Hits(hits) => hits,
        Found::InCatalog(names) => {
            output::warn(&format!(
                "{registry} offers no search: these are the names of its catalog with {term:?} in them\n"
            ));
            let hit = |name| Hit { name: format!("{registry}/{name}"), ..Hit::default() };
            names.into_iter().map(hit).collect()
        }
    };
    let mut hits: Vec<Hit> = hits.into_iter().filter(|hit| wanted.takes(hit)).collect();
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.stars));
    let view = View { full: parsed.on("no-trunc"), is_json: matches!(format, Format::Json) };
    let rows = hits.iter().map(|hit| view.row(hit)).collect();
    output::print(&format.render(&COLUMNS, rows)?);
    Ok(0)
}

/// The registry that a term names, and what is looked for there.
fn place(text: &str) -> Result<(&str, &str)> {
    if text.contains("://") {
        return Err(Error::SearchScheme { term: text.chars().take(80).collect() });
    }
    let (registry, term) = match text.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
        Some(_) | None => ("docker.io", text),
    };
    Ok(match registry {
        "docker.io" | "index.docker.io" => ("docker.io", term.strip_prefix("library/").unwrap_or(term)),
        other => (other, term),
    })
}

/// What the filters let through.
struct Wanted {
    is_official: Option<bool>,
    is_automated: Option<bool>,
    stars: i64,
}

impl Wanted {
    fn new(filters: &Filters) -> Result<Wanted> {
        let mut stars = 0;
        for value in filters.values("stars") {
            let fail = || Error::FilterValue {
                name: "stars",
                value: value.to_owned(),
                reason: "want a whole number",
            };
            stars = value.parse::<i64>().map_err(|_| fail())?.max(stars);
        }
        let (is_official, is_automated) = (filters.switch("is-official")?, filters.switch("is-automated")?);
        Ok(Wanted { is_official, is_automated, stars })
    }

    fn takes(&self, hit: &Hit) -> bool {
        self.is_official.is_none_or(|wanted| wanted == hit.is_official)
            && self.is_automated.is_none_or(|wanted| wanted == hit.is_automated)
            && hit.stars >= self.stars
    }
}

struct View {
    full: bool,
    is_json: bool,
}

impl View {
    fn row(&self, hit: &Hit) -> Map<String, Value> {
        // What others write may move the cursor of a terminal.
        let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
        let description = clean(&hit.description);
        let official = match (hit.is_official, self.is_json) {
            (true, false) => "[OK]",
            (false, false) => "",
            (true, true) => "true",
            (false, true) => "false",
        };
        let description = if self.full { description } else { units::ellipsis(&description, SHORT) };
        [
            ("Description", description),
            ("IsOfficial", official.to_owned()),
            ("Name", clean(&hit.name)),
            ("StarCount", hit.stars.to_string()),
        ]
        .into_iter()
        .map(|(field, text)| (field.to_owned(), Value::String(text)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_name_the_registry() {
        for (text, expected) in [
            ("busybox", ("docker.io", "busybox")),
            ("user/app", ("docker.io", "user/app")),
            ("library/busybox", ("docker.io", "busybox")),
            ("docker.io/library/x", ("docker.io", "x")),
            ("index.docker.io/x/y", ("docker.io", "x/y")),
            ("localhost/x", ("localhost", "x")),
            ("host:5000/a/b", ("host:5000", "a/b")),
        ] {
            assert_eq!(place(text).unwrap(), expected, "{text}");
        }
        assert!(place("https://host/x").is_err());
    }
}
