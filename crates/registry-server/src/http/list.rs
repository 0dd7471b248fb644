//! Lists: tags, repositories, referrers. All are paged by `n` and `last`, and name the next page in a Link header.

use hyper::header::{CONTENT_TYPE, HeaderName, LINK};
use oci::{Descriptor, Digest, MediaType};
use serde_json::{Map, Value};

use super::refusal::{Code, Refusal};
use super::route::{Query, encode};
use super::{Answer, Service, json, set};
use crate::auth::Caller;
use crate::names::Repository;
use crate::store::Referrer;

/// Entries of a page that nobody has limited, and the most that can be asked for.
const TAGS: u32 = 10_000;
const REPOSITORIES: u32 = 1_000;
/// A referrer has annotations, so a page of them is much larger.
const REFERRERS: u32 = 500;
/// Bytes of such a page, beside which one entry may be as large as a manifest: clients read no larger answers than those.
const PAGE: usize = 1 << 20;

impl Service {
    pub(super) fn tags(&self, name: &Repository, query: &Query) -> Answer {
        let limit = limit(query, TAGS)?;
        let last = query.get("last").unwrap_or_default();
        let unknown = || Refusal::about(Code::NameUnknown, "no such repository", "name", name.as_str());
        let tags = self.store.tags(name, last, limit.saturating_add(1))?.ok_or_else(unknown)?;
        Ok(page_of_tags(name, tags, limit))
    }

    /// The page that is asked for of all `tags`.
    pub(super) fn page_of_all_tags(&self, name: &Repository, mut tags: Vec<String>, query: &Query) -> Answer {
        let limit = limit(query, TAGS)?;
        let key = |tag: &str| (tag.to_ascii_lowercase(), tag.to_owned());
        tags.sort_by_cached_key(|tag| key(tag));
        tags.dedup();
        if let Some(last) = query.get("last") {
            tags.retain(|tag| key(tag) > key(last));
        }
        Ok(page_of_tags(name, tags, limit))
    }

    /// What the caller may see, by itself.
    pub(super) fn catalog(&self, query: &Query, caller: &Caller<'_>) -> Answer {
        let limit = limit(query, REPOSITORIES)?;
        let mut last = query.get("last").unwrap_or_default().to_owned();
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
        let mut names = Vec::new();
        while names.len() < wanted {
            let page = self.store.repositories(&last, REPOSITORIES)?;
            let Some(end) = page.last() else { break };
            last.clone_from(end);
            let visible = |name: &String| Repository::parse(name).is_some_and(|name| caller.may_see(&name));
            names.extend(page.into_iter().filter(visible));
        }
        let more = cut(&mut names, limit);
        let next =
            names.last().filter(|_| more).map(|last| format!("/v2/_catalog?n={limit}&last={}", encode(last)));
        Ok(page(serde_json::json!({ "repositories": names }), next))
    }

    /// Distribution-spec, "Listing Referrers": an index of the manifests that have `subject` as theirs, which may be empty.
    pub(super) fn referrers(&self, name: &Repository, subject: &Digest, query: &Query) -> Answer {
        let limit = limit(query, REFERRERS)?;
        let (last, kind) = (query.get("last").unwrap_or_default(), query.get("artifactType"));
        let most = (limit.saturating_add(1), PAGE);
        let found = self.store.referrers(name, subject, kind, last, most)?;
        Ok(page_of_referrers(name, subject, kind, found.into_iter().map(descriptor).collect(), limit))
    }

    /// The page that is asked for of all that refer to `subject`, which are of the kind that is asked for.
    pub(super) fn page_of_all_referrers(
        &self,
        name: &Repository,
        subject: &Digest,
        found: &[Descriptor],
        query: &Query,
    ) -> Answer {
        let limit = limit(query, REFERRERS)?;
        let mut found: Vec<&Descriptor> = found.iter().collect();
        found.sort_by_key(|entry| entry.digest.as_str());
        found.dedup_by_key(|entry| entry.digest.as_str());
        if let Some(last) = query.get("last") {
            found.retain(|entry| entry.digest.as_str() > last);
        }
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
        // A descriptor always has a form.
        let entries = found.into_iter().filter_map(|entry| serde_json::to_value(entry).ok()).collect();
        Ok(page_of_referrers(name, subject, query.get("artifactType"), entries, limit))
    }
}

/// The first of `found`, which are in the order of their digests, and where the others are.
fn page_of_referrers(
    name: &Repository,
    subject: &Digest,
    kind: Option<&str>,
    mut found: Vec<Value>,
    limit: u32,
) -> hyper::Response<super::Body> {
    let here = u32::try_from(fitting(&found)).unwrap_or(u32::MAX).min(limit);
    let more = cut(&mut found, here);
    let last = found.last().and_then(|entry| entry["digest"].as_str()).filter(|_| more);
    let next = last.map(|last| {
        let kind = kind.map_or_else(String::new, |kind| format!("&artifactType={}", encode(kind)));
        format!("/v2/{name}/referrers/{subject}?n={limit}&last={last}{kind}")
    });
    let media_type = MediaType::OCI_INDEX;
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type.as_str(), "manifests": found,
    });
    let mut response = page(index, next);
    response.headers_mut().remove(CONTENT_TYPE);
    set(&mut response, CONTENT_TYPE, media_type.as_str());
    if kind.is_some() {
        set(&mut response, HeaderName::from_static("oci-filters-applied"), "artifactType");
    }
    response
}

/// How many entries a page has room for; one at least.
fn fitting(entries: &[Value]) -> usize {
    let mut bytes = 0;
    let has_room = |entry: &&Value| {
        bytes += entry.to_string().len();
        bytes <= PAGE
    };
    entries.iter().take_while(has_room).count().max(1)
}

/// The first tags, and where the others are.
fn page_of_tags(name: &Repository, mut tags: Vec<String>, limit: u32) -> hyper::Response<super::Body> {
    let more = cut(&mut tags, limit);
    let next = tags
        .last()
        .filter(|_| more)
        .map(|last| format!("/v2/{name}/tags/list?n={limit}&last={}", encode(last)));
    page(serde_json::json!({ "name": name.as_str(), "tags": tags }), next)
}

fn descriptor(referrer: Referrer) -> Value {
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".to_owned(), referrer.media_type.into());
    descriptor.insert("digest".to_owned(), referrer.digest.into());
    descriptor.insert("size".to_owned(), referrer.size.into());
    if let Some(kind) = referrer.artifact_type {
        descriptor.insert("artifactType".to_owned(), kind.into());
    }
    if let Some(annotations) = referrer.annotations.and_then(|text| serde_json::from_str(&text).ok()) {
        descriptor.insert("annotations".to_owned(), annotations);
    }
    Value::Object(descriptor)
}

/// How many entries are wanted, at most `most`.
fn limit(query: &Query, most: u32) -> Result<u32, Refusal> {
    let Some(text) = query.get("n") else { return Ok(most) };
    let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let Some(number) = number else {
        return Err(Refusal::about(Code::PaginationNumberInvalid, "n is not a number of entries", "n", text));
    };
    Ok(u32::try_from(number).unwrap_or(most).min(most))
}

/// Takes off the entry that was read to know whether there are more.
fn cut<T>(entries: &mut Vec<T>, limit: u32) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    more
}

fn page(content: Value, next: Option<String>) -> hyper::Response<super::Body> {
    let mut response = json(content.to_string());
    if let Some(next) = next {
        set(&mut response, LINK, &format!("<{next}>; rel=\"next\""));
    }
    response
}
