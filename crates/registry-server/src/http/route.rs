//! What a request is about, from its path and query. Names may hold slashes and words such as `blobs`, so a path is read
//! from its end.

use oci::Digest;

use super::refusal::{Code, Refusal};
use crate::names::{Reference, Repository, UploadId};

/// An endpoint of the specification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Version,
    Catalog,
    Tags(Repository),
    Manifest(Repository, Reference),
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, UploadId),
    Referrers(Repository, Digest),
}

impl Route {
    /// Reads a path as it was sent.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let nowhere =
            || Refusal::new(Code::Unsupported, "no such endpoint").status(hyper::StatusCode::NOT_FOUND);
        let path = decode(path).ok_or_else(nowhere)?;
        let Some(path) = path.strip_prefix("/v2") else { return Err(nowhere()) };
        if matches!(path, "" | "/") {
            return Ok(Self::Version);
        }
        if path == "/_catalog" {
            return Ok(Self::Catalog);
        }
        let path = path.strip_prefix('/').ok_or_else(nowhere)?;
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(repository(name)?));
        }
        if let Some(name) =
            path.strip_suffix("/blobs/uploads").or_else(|| path.strip_suffix("/blobs/uploads/"))
        {
            return Ok(Self::Uploads(repository(name)?));
        }
        let (rest, last) = path.rsplit_once('/').ok_or_else(nowhere)?;
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            let name = repository(name)?;
            let id = UploadId::parse(last).ok_or_else(|| unknown_upload(last))?;
            return Ok(Self::Upload(name, id));
        }
        let (name, kind) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        match kind {
            "manifests" => {
                let name = repository(name)?;
                Reference::parse(last)
                    .map(|reference| Self::Manifest(name, reference))
                    .ok_or_else(|| bad_reference(last))
            }
            "blobs" => Ok(Self::Blob(repository(name)?, digest(last)?)),
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            _ => Err(nowhere()),
        }
    }
}

pub(crate) fn unknown_upload(id: &str) -> Refusal {
    Refusal::about(
        Code::BlobUploadUnknown,
        "no such upload: it is finished, cancelled or expired",
        "upload",
        id,
    )
}

fn bad_reference(text: &str) -> Refusal {
    if text.contains(':') {
        return Refusal::about(Code::DigestInvalid, "not a digest", "digest", text);
    }
    Refusal::about(Code::TagInvalid, "not a tag", "tag", text)
}

pub(crate) fn repository(text: &str) -> Result<Repository, Refusal> {
    Repository::parse(text)
        .ok_or_else(|| Refusal::about(Code::NameInvalid, "not a repository's name", "name", text))
}

/// A digest by which content can be stored.
pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    let digest: Digest = text.parse().map_err(|error: oci::Error| {
        Refusal::about(Code::DigestInvalid, error.to_string(), "digest", text)
    })?;
    if digest.algorithm() == oci::Algorithm::Other {
        let why = "content is named by sha256 or sha512 here";
        return Err(Refusal::about(Code::DigestInvalid, why, "digest", text));
    }
    Ok(digest)
}

/// The parameters of a query, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A plus is a space in a query, and in none of the values that are asked for here.
            Some((decode(name)?, decode(value)?))
        };
        Self(text.unwrap_or_default().split('&').filter(|text| !text.is_empty()).filter_map(pair).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Undoes percent-encoding; `None` where it is broken or hides what is no text.
pub(crate) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes what may not stand in a query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if plain(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match Route::parse(path) {
            Ok(route) => format!("{route:?}"),
            Err(refusal) => format!("{}", refusal.response().status().as_u16()),
        }
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"");
        let id = "0123456789abcdef0123456789abcdef";
        for (path, route) in [
            ("/v2", "Version".to_owned()),
            ("/v2/", "Version".to_owned()),
            ("/v2/_catalog", "Catalog".to_owned()),
            ("/v2/a/b/tags/list", "Tags(a/b)".to_owned()),
            ("/v2/tags/list/tags/list", "Tags(tags/list)".to_owned()),
            ("/v2/a/manifests/latest", "Manifest(a, Tag(latest))".to_owned()),
            ("/v2/manifests/manifests/manifests", "Manifest(manifests, Tag(manifests))".to_owned()),
            (&format!("/v2/a/manifests/{digest}"), format!("Manifest(a, Digest({digest}))")),
            (&format!("/v2/a/blobs/{digest}"), format!("Blob(a, {digest})")),
            (&format!("/v2/a/blobs/{}", digest.as_str().replace(':', "%3A")), format!("Blob(a, {digest})")),
            ("/v2/a/blobs/uploads/", "Uploads(a)".to_owned()),
            ("/v2/a/blobs/uploads", "Uploads(a)".to_owned()),
            ("/v2/a/blobs/uploads/blobs/uploads/", "Uploads(a/blobs/uploads)".to_owned()),
            (&format!("/v2/a/blobs/uploads/{id}"), format!("Upload(a, {id})")),
            (&format!("/v2/a/referrers/{digest}"), format!("Referrers(a, {digest})")),
        ] {
            assert_eq!(shown(path), route, "{path}");
        }
        for (path, status) in [
            ("/", "404"),
            ("/v1/", "404"),
            ("/v2/a", "404"),
            ("/v2//tags/list", "400"),
            ("/v2/A/tags/list", "400"),
            ("/v2/../tags/list", "400"),
            ("/v2/a/blobs/sha256:abc", "400"),
            ("/v2/a/blobs/blake3:abc", "400"),
            ("/v2/a/manifests/-x", "400"),
            ("/v2/a/manifests/a%2Fb", "404"),
            ("/v2/a/blobs/uploads/../../etc", "404"),
            ("/v2/a/blobs/uploads/xyz", "404"),
            ("/v2/a/%zz/x", "404"),
            ("/v2/a/%ff/x", "404"),
        ] {
            assert_eq!(shown(path), status, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded_and_may_repeat() {
        let query = Query::parse(Some("digest=sha256%3Aab&tag=a&tag=b&n"));
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((query.get("n"), query.get("none")), (Some(""), None));
        assert_eq!(decode(&encode("a&b=c d/ä")).unwrap(), "a&b=c d/ä");
    }
}
