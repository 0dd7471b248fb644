//! `images`.

use engine::info::ImageSummary;
use oci::Timestamp;
use serde_json::{Map, Value};

use super::tree;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::zone::Zone;
use crate::output::{self, units};
use crate::values::filter::{self, Filters};
use crate::values::time;

const COLUMNS: Columns = Columns {
    headers: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    raw: &[
        ("repository", "Repository"),
        ("tag", "Tag"),
        ("image_id", "ID"),
        ("created_at", "CreatedAt"),
        ("virtual_size", "Size"),
    ],
};

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];
const NONE: &str = "<none>";

/// `skiff images`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let filters = Filters::new(parsed, FILTERS)?;
    if parsed.on("tree") {
        tree::check(parsed)?;
    }
    let images = context.engine()?.images()?;
    let selection = Selection::new(&filters, &images)?;
    let mut references: Vec<&str> = filters.values("reference").collect();
    references.extend(parsed.arguments.first().map(String::as_str));
    let digests = parsed.on("digests");
    let default = match digests {
        true => "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        false => "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    };
    let asked = context.format(parsed, "imagesFormat");
    let format = Format::parse(asked.as_deref(), default)?;
    let digests = digests || asked.as_deref().is_some_and(|format| format.contains(".Digest"));
    let view = View {
        now: Timestamp::from(std::time::SystemTime::now()),
        zone: if format.uses("CreatedAt") { Zone::local() } else { Zone::UTC },
        full: parsed.on("no-trunc"),
        digests,
    };
    let mut rows = Vec::new();
    let mut ids = Vec::new();
    // What a name leads to for other platforms has no row of its own.
    let has_row = |image: &&ImageSummary| parsed.on("all") || !image.is_platform();
    let mut shown: Vec<&ImageSummary> =
        images.iter().filter(|image| selection.takes(image)).filter(has_row).collect();
    shown.sort_by_key(|image| std::cmp::Reverse(image.created));
    if parsed.on("tree") {
        let named =
            |image: &&ImageSummary| references.is_empty() || !names(image, &references, true).is_empty();
        shown.retain(named);
        return tree::run(context, &shown, parsed.on("all") || filters.values("dangling").next().is_some());
    }
    for image in shown {
        for name in names(image, &references, digests) {
            let id = if view.full { image.id.as_str() } else { units::short_id(&image.id) };
            ids.push(id);
            rows.push(view.row(image, &name));
        }
    }
    if parsed.on("quiet") {
        ids.dedup();
        output::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    } else {
        output::print(&format.render(&COLUMNS, rows)?);
    }
    Ok(0)
}

/// One name of an image, as a row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// The rows of one image: a name each, those that match one of `references`; one without where there is no name.
fn names(image: &ImageSummary, references: &[&str], digests: bool) -> Vec<Name> {
    let none = || NONE.to_owned();
    let digest_of = |repository: &str| {
        let split = image.repo_digests.iter().filter_map(|text| text.split_once('@'));
        split.filter(|(name, _)| *name == repository).map(|(_, digest)| digest.to_owned()).next()
    };
    let mut names = Vec::new();
    for text in
        image.tags.iter().filter(|text| references.is_empty() || references.iter().any(|r| refers(r, text)))
    {
        let (repository, tag) = split_tag(text);
        // One image may have come under several digests: each tag has its own.
        let digest = image.tag_digests.get(text).cloned().or_else(|| digest_of(repository));
        let digest = digest.unwrap_or_else(none);
        names.push(Name { repository: repository.to_owned(), tag: tag.to_owned(), digest });
    }
    for (repository, digest) in image.repo_digests.iter().filter_map(|text| text.split_once('@')) {
        let tagged = names.iter().any(|name| name.repository == repository);
        let wanted = references.is_empty() || references.iter().any(|r| refers(r, repository));
        if !tagged && wanted && (digests || image.tags.is_empty()) {
            names.push(Name { repository: repository.to_owned(), tag: none(), digest: digest.to_owned() });
        }
    }
    if names.is_empty() && references.is_empty() {
        names.push(Name { repository: none(), tag: none(), digest: none() });
    }
    names
}

/// Name and tag of a familiar reference; a colon before a slash belongs to a port.
pub(super) fn split_tag(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, NONE),
    }
}

/// Whether `pattern` names `reference`: with its tag, or without, or by the last part of its path.
pub(super) fn refers(pattern: &str, reference: &str) -> bool {
    let (name, _) = split_tag(reference);
    filter::glob(pattern, reference) || filter::glob(pattern, name)
}

struct View {
    now: Timestamp,
    zone: Zone,
    full: bool,
    digests: bool,
}

impl View {
    fn row(&self, image: &ImageSummary, name: &Name) -> Map<String, Value> {
        let mut row = Map::new();
        let mut set = |field: &str, text: String| row.insert(field.to_owned(), Value::String(text));
        let id = if self.full { image.id.as_str() } else { units::short_id(&image.id) };
        set("Containers", image.containers.to_string());
        set("CreatedAt", image.created.map_or_else(|| "N/A".to_owned(), |time| self.zone.date(time)));
        set(
            "CreatedSince",
            image.created.map_or_else(|| "N/A".to_owned(), |time| units::ago(time, self.now)),
        );
        set("Digest", if self.digests { name.digest.clone() } else { NONE.to_owned() });
        set("ID", id.to_owned());
        set("Repository", name.repository.clone());
        set("SharedSize", "N/A".to_owned());
        set("Size", units::size(image.size, 3));
        set("Tag", name.tag.clone());
        set("UniqueSize", "N/A".to_owned());
        row
    }
}

/// The filters of `images` and `image prune`.
pub(crate) struct Selection<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl<'a> Selection<'a> {
    /// Looks up what the filters name among `images`.
    pub(crate) fn new(filters: &'a Filters, images: &[ImageSummary]) -> Result<Selection<'a>> {
        let created = |name: &'static str| -> Result<Option<Timestamp>> {
            let Some(value) = filters.values(name).last() else { return Ok(None) };
            let tagged = format!("{value}:latest");
            let named = |image: &&ImageSummary| {
                image.tags.iter().any(|tag| tag == value || *tag == tagged)
                    || image.id == value
                    || image.id.trim_start_matches("sha256:").starts_with(value)
            };
            let fail = || Error::FilterValue { name, value: value.to_owned(), reason: "no such image" };
            Ok(images.iter().find(named).ok_or_else(fail)?.created)
        };
        let now = Timestamp::from(std::time::SystemTime::now());
        let until = filters.values("until").last().map(|value| {
            let fail = |reason| Error::FilterValue { name: "until", value: value.to_owned(), reason };
            time::point(value, now, &Zone::local()).map_err(fail)
        });
        let (before, since) = (created("before")?, created("since")?);
        Ok(Selection {
            filters,
            dangling: filters.switch("dangling")?,
            before,
            since,
            until: until.transpose()?,
        })
    }

    /// The same, whatever has a name or not.
    pub(crate) fn without_dangling(self) -> Selection<'a> {
        Selection { dangling: None, ..self }
    }

    /// Whether `image` passes.
    pub(crate) fn takes(&self, image: &ImageSummary) -> bool {
        self.dangling.is_none_or(|dangling| dangling == image.is_dangling())
            && self.before.is_none_or(|before| image.created.is_some_and(|time| time < before))
            && self.since.is_none_or(|since| image.created.is_some_and(|time| time > since))
            && self.until.is_none_or(|until| image.created.is_none_or(|time| time < until))
            && self.filters.labels(|key| image.labels.get(key).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageSummary {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ImageSummary {
            id: "sha256:0123456789abcdef".to_owned(),
            tags: own(tags),
            repo_digests: own(digests),
            tag_digests: Default::default(),
            created: None,
            size: 4_261_550,
            labels: Default::default(),
            containers: 0,
            through: Vec::new(),
            in_use: false,
            last_used: Timestamp::EPOCH,
        }
    }

    fn shown(image: &ImageSummary, references: &[&str], digests: bool) -> Vec<String> {
        let line = |name: &Name| format!("{} {} {}", name.repository, name.tag, name.digest);
        names(image, references, digests).iter().map(line).collect()
    }

    #[test]
    fn an_image_has_a_row_for_each_name() {
        let tagged = image(&["busybox:latest", "reg:5000/b:1"], &["busybox@sha256:aa", "other@sha256:bb"]);
        assert_eq!(shown(&tagged, &[], false), ["busybox latest sha256:aa", "reg:5000/b 1 <none>"]);
        assert_eq!(
            shown(&tagged, &[], true),
            ["busybox latest sha256:aa", "reg:5000/b 1 <none>", "other <none> sha256:bb"]
        );
        let mut both = image(&["a:1", "a:2"], &["a@sha256:aa", "a@sha256:bb"]);
        both.tag_digests.insert("a:2".to_owned(), "sha256:bb".to_owned());
        assert_eq!(shown(&both, &[], true), ["a 1 sha256:aa", "a 2 sha256:bb"]);
        assert_eq!(shown(&tagged, &["busy*"], false), ["busybox latest sha256:aa"]);
        assert_eq!(shown(&tagged, &["busybox:1"], false), [""; 0]);
        assert_eq!(shown(&image(&[], &[]), &[], false), ["<none> <none> <none>"]);
        assert_eq!(shown(&image(&[], &["a@sha256:cc"]), &[], false), ["a <none> sha256:cc"]);
        assert_eq!(shown(&image(&[], &[]), &["x"], false), [""; 0]);
    }
}
