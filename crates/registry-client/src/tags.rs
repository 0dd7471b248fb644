//! The tags of a repository, page by page (spec.md, "Listing tags").

use hyper::Method;
use serde::Deserialize;

use crate::error::{Error, Result, excerpt};
use crate::{Need, Repository};

/// Bytes of one page.
const PAGE_LIMIT: u64 = 8 << 20;
/// What is asked for at once; registries may give less.
const PAGE: usize = 1000;
/// The most pages that are read.
const PAGES_LIMIT: usize = 1000;
/// The most tags that are listed.
pub(crate) const TAGS_LIMIT: usize = 200_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the order of the registry.
    ///
    /// # Errors
    /// If they cannot be had, are too many, or one is no tag.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.on_hosts(Need::Resolve, |host| {
            let mut tags: Vec<String> = Vec::new();
            let mut url = self.url(host, &format!("tags/list?n={PAGE}"))?;
            for _ in 0..PAGES_LIMIT {
                let answer = self.ask(host, Method::GET, url.clone(), &[], (&[200], &self.name))?;
                let next = answer.next_page(&url)?;
                let shown = answer.url.shown();
                let page: Page = serde_json::from_slice(&answer.read(PAGE_LIMIT)?)
                    .map_err(|source| Error::Json { url: shown.clone(), source })?;
                let page = page.tags.unwrap_or_default();
                if let Some(bad) = page.iter().find(|tag| !is_tag(tag)) {
                    let reason = format!("names {:?}, which is no tag", excerpt(bad));
                    return Err(Error::Header { url: shown, header: "tags", reason });
                }
                let is_empty = page.is_empty();
                tags.extend(page);
                if tags.len() > TAGS_LIMIT {
                    return Err(Error::TooMuch { url: shown, limit: TAGS_LIMIT as u64, what: "tags" });
                }
                match next {
                    // One that goes on for ever gives empty pages, or the same page.
                    Some(next) if !is_empty && next != url => url = next,
                    _ => return Ok(tags),
                }
            }
            Err(Error::TooMuch { url: url.shown(), limit: PAGES_LIMIT as u64, what: "pages" })
        })
    }
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}
