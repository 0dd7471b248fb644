//! What a cache says: its layers, and which keys lead to them.
//!
//! ```text
//! manifest { artifactType, config: keys, layers: blobs }            image-manifest=true
//! index { manifests: blobs …, config }                              image-manifest=false
//! manifest of an image { annotations: { dev.skiff.cache: keys } }   type=inline
//! ```

use std::collections::{BTreeMap, BTreeSet};

use oci::{Descriptor, DiffId, Digest};
use serde::{Deserialize, Serialize};

use super::Imported;
use crate::Result;
use crate::build::BuildError;
use crate::build::blobs::Blobs;

/// The config's media type, and that of the artifact.
pub(super) const CONFIG: &str = "application/vnd.skiff.cacheconfig.v1+json";
pub(super) const ARTIFACT: &str = "application/vnd.skiff.cache.v1";
/// The annotation of an image that is its own cache.
pub(super) const ANNOTATION: &str = "dev.skiff.cache.v1";

/// The most bytes of keys in an annotation: registries take manifests of some megabytes, and this one has more in it.
pub(super) const INLINE: u64 = 1 << 20;
/// No less than a layer and a key take as text, with the quotes escaped.
const LAYER_BYTES: u64 = 512;
const RECORD_BYTES: u64 = 112;

/// The most layers and keys that are read.
pub(super) const LAYERS: usize = 10_000;
const RECORDS: usize = 50_000;
/// The largest layer that is believed in, in bytes.
const SIZE: u64 = 1 << 40;

/// All that a cache says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) layers: Vec<Layer>,
    pub(super) records: Vec<Record>,
}

/// A layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    pub(super) diff_id: DiffId,
    /// Bytes of the tar.
    pub(super) size: u64,
    /// When it was made, in seconds since 1970: an image says so, and is to be the same wherever it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<i64>,
    /// What it is in the place where the cache is.
    pub(super) blob: Descriptor,
}

/// A key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) key: Digest,
    /// The place of its layer.
    pub(super) layer: usize,
}

impl Document {
    /// Adds a layer, and the keys that lead to it, the best ones first.
    pub(super) fn add(
        &mut self,
        (diff_id, size, made): (&DiffId, u64, Option<i64>),
        blob: &Descriptor,
        keys: Vec<Digest>,
    ) {
        let place = self.layers.len();
        let blob = Descriptor::new(blob.media_type.clone(), blob.digest.clone(), blob.size);
        self.layers.push(Layer { diff_id: diff_id.clone(), size, made, blob });
        self.records.extend(keys.into_iter().map(|key| Record { key, layer: place }));
    }

    /// Leaves out the last keys of each layer, as far as the whole would be too long for those who read it.
    pub(super) fn fit(&mut self, limit: u64) {
        let left = limit.saturating_sub(self.layers.len() as u64 * LAYER_BYTES) / RECORD_BYTES;
        let most = usize::try_from(left).unwrap_or(RECORDS).min(RECORDS);
        if self.records.len() <= most {
            return;
        }
        let mut counts = vec![0_usize; self.layers.len()];
        let mut ranked: Vec<(usize, Record)> = Vec::with_capacity(self.records.len());
        for record in self.records.drain(..) {
            let rank = counts.get_mut(record.layer).map_or(0, |count| {
                *count += 1;
                *count
            });
            ranked.push((rank, record));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.truncate(most);
        self.records = ranked.into_iter().map(|(_, record)| record).collect();
    }

    /// Reads one. `blobs` are those that the manifest names: no other is ever fetched.
    pub(super) fn read(bytes: &[u8], blobs: &[Descriptor]) -> Result<Document> {
        let document = Document::parse(bytes)?;
        document.check(blobs)?;
        Ok(document)
    }

    /// Reads that of an image with these layers, whose blobs may be others by now: who pushes an image compresses its layers. So they are
    /// told by their contents, which `diff_ids` says if it is asked.
    pub(super) fn read_inline(
        bytes: &[u8],
        blobs: &[Descriptor],
        diff_ids: impl FnOnce() -> Result<Vec<DiffId>>,
    ) -> Result<Document> {
        let mut document = Document::parse(bytes)?;
        if document.check(blobs).is_err() {
            let diff_ids = diff_ids()?;
            for layer in &mut document.layers {
                let place = diff_ids.iter().position(|known| *known == layer.diff_id);
                if let Some(blob) = place.and_then(|place| blobs.get(place)) {
                    layer.blob = Descriptor::new(blob.media_type.clone(), blob.digest.clone(), blob.size);
                }
            }
            document.check(blobs)?;
        }
        Ok(document)
    }

    fn parse(bytes: &[u8]) -> Result<Document> {
        serde_json::from_slice(bytes).map_err(|error| refuse(format!("it is no document: {error}")))
    }

    fn check(&self, blobs: &[Descriptor]) -> Result<()> {
        let Document { layers, records } = self;
        if layers.len() > LAYERS || records.len() > RECORDS {
            return Err(refuse(format!("it has more than {LAYERS} layers or {RECORDS} keys")));
        }
        let named: BTreeSet<&Digest> = blobs.iter().map(|blob| &blob.digest).collect();
        for layer in layers {
            if !named.contains(&layer.blob.digest) {
                return Err(refuse(format!("its manifest does not name the layer {}", layer.blob.digest)));
            }
            if layer.size > SIZE || !layer.blob.urls.is_empty() {
                return Err(refuse(format!("the layer {} cannot be right", layer.blob.digest)));
            }
        }
        let is_fine = |record: &Record| record.layer < layers.len();
        if !records.iter().all(is_fine) {
            return Err(refuse("a key leads to no layer".to_owned()));
        }
        Ok(())
    }

    /// What several documents of one place say. Of two claims for one key the first counts.
    pub(super) fn joined(all: Vec<Document>, source: Blobs) -> Imported {
        let (mut layers, mut records) = (Vec::new(), BTreeMap::new());
        for document in all {
            let before = layers.len();
            layers.extend(document.layers);
            for record in document.records {
                records.entry(record.key).or_insert(before + record.layer);
            }
        }
        Imported { source, records, layers }
    }
}

fn refuse(reason: String) -> crate::Error {
    BuildError::CacheDocument { reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// However many keys a result has: what is written is read again, and each layer has its best keys.
    #[test]
    fn what_is_written_is_no_longer_than_what_is_read() {
        let digest = |text: String| Digest::of(text.as_bytes());
        let blob = Descriptor::of(oci::MediaType::OCI_LAYER_GZIP, b"blob");
        let mut document = Document::default();
        for layer in 0..900 {
            let keys = (0..64).map(|key| digest(format!("{layer} {key}"))).collect();
            let diff_id = DiffId::try_from(digest(layer.to_string())).unwrap();
            document.add((&diff_id, 1 << 39, Some(1 << 40)), &blob, keys);
        }
        for limit in [oci::CONFIG_LIMIT, INLINE] {
            document.fit(limit);
            // An annotation is a text in a document, where each quote takes two bytes.
            let text = serde_json::to_string(&serde_json::to_string(&document).unwrap()).unwrap();
            assert!((text.len() as u64) <= limit, "{} of {limit}", text.len());
            let bytes = serde_json::to_vec(&document).unwrap();
            let read = Document::read(&bytes, std::slice::from_ref(&blob)).unwrap();
            let read = Document::joined(vec![read], Blobs::Layout(std::path::PathBuf::new()));
            for layer in 0..900 {
                assert!(read.records.contains_key(&digest(format!("{layer} 0"))), "{layer}");
            }
        }
        assert!(document.records.len() > 4 * 900, "{}", document.records.len());
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let blob = json!({ "mediaType": "x", "digest": digest("blob"), "size": 3 });
        let good = json!({
            "layers": [{ "diffId": digest("tar"), "size": 5, "blob": blob }],
            "records": [{ "key": digest("a"), "layer": 0 }, { "key": digest("a"), "layer": 0 }],
        });
        let blobs: Vec<Descriptor> = vec![serde_json::from_value(blob.clone()).unwrap()];
        let read = |value: &serde_json::Value| Document::read(value.to_string().as_bytes(), &blobs);
        let other = [Descriptor::of(oci::MediaType::OCI_LAYER_GZIP, b"other")];
        let inline = |ids: &[&str]| {
            let ids = ids.iter().map(|id| digest(id).parse::<DiffId>().unwrap()).collect();
            Document::read_inline(good.to_string().as_bytes(), &other, || Ok(ids))
        };
        assert_eq!(inline(&["tar"]).unwrap().layers[0].blob.digest, other[0].digest);
        assert!(inline(&["another"]).is_err() && inline(&["another", "tar"]).is_err());
        let source = Blobs::Layout(std::path::PathBuf::new());
        let joined = Document::joined(vec![read(&good).unwrap(), read(&good).unwrap()], source);
        assert_eq!((joined.records.len(), joined.layers.len()), (1, 2));
        assert_eq!(joined.records.values().copied().collect::<Vec<_>>(), [0], "the first counts");
        let mut other = blob.clone();
        other["digest"] = json!(digest("other"));
        for (path, value) in [
            ("/layers/0/blob", other),
            ("/layers/0/size", json!(u64::MAX)),
            ("/layers/0/diffId", json!("../../etc/passwd")),
            ("/records/0/layer", json!(1)),
            ("/records/0/key", json!("x")),
            ("/records/0/layer", json!(-1)),
            ("/records", json!(vec![json!({ "key": digest("a"), "layer": 0 }); RECORDS + 1])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            assert!(read(&bad).is_err(), "{path}");
        }
        assert!(read(&json!([])).is_err());
    }

    #[test]
    fn what_was_changed_anywhere_is_read_or_refused() {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let blob = json!({ "mediaType": "x", "digest": digest("blob"), "size": 3 });
        let good = json!({
            "layers": [{ "diffId": digest("tar"), "size": 5, "blob": blob }],
            "records": [{ "key": digest("a"), "layer": 0 }],
        });
        let (good, blobs) = (good.to_string(), vec![serde_json::from_value::<Descriptor>(blob).unwrap()]);
        let read = |bytes: &[u8]| Document::read(bytes, &blobs);
        for at in 0..good.len() {
            for byte in [0, b'"', b'{', b']', b'-', b'9', b'e', 0xff] {
                let mut bad = good.clone().into_bytes();
                bad[at] = byte;
                // Whatever it is taken for, its keys lead to layers of its own.
                if let Ok(found) = read(&bad) {
                    assert!(found.records.iter().all(|record| record.layer < found.layers.len()));
                }
            }
            assert!(read(&good.as_bytes()[..at]).is_err());
        }
        for depth in [100, 100_000] {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(read(deep.as_bytes()).is_err());
            assert!(read(format!("{{\"layers\":{deep},\"records\":[]}}").as_bytes()).is_err());
        }
    }
}
