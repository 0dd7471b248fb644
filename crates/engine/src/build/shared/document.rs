//! What a cache says: its layers, and which keys lead to them.
//!
//! ```text
//! manifest { artifactType, config: keys, layers: blobs }            image-manifest=true
//! index { manifests: blobs …, config }                              image-manifest=false
//! manifest of an image { annotations: { dev.skiff.cache: keys } }   type=inline
//! ```

use std::collections::BTreeSet;

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

/// The most layers and keys that are read.
const LAYERS: usize = 10_000;
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
    /// Reads one. `blobs` are those that the manifest names: no other is ever fetched.
    pub(super) fn read(bytes: &[u8], blobs: &[Descriptor], source: Blobs) -> Result<Imported> {
        let refuse = |reason: String| -> crate::Error { BuildError::CacheDocument { reason }.into() };
        let Document { layers, records } =
            serde_json::from_slice(bytes).map_err(|error| refuse(format!("it is no document: {error}")))?;
        if layers.len() > LAYERS || records.len() > RECORDS {
            return Err(refuse(format!("it has more than {LAYERS} layers or {RECORDS} keys")));
        }
        let named: BTreeSet<&Digest> = blobs.iter().map(|blob| &blob.digest).collect();
        for layer in &layers {
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
        // Of two claims for one key the first counts.
        let records = records.into_iter().rev().map(|record| (record.key, record.layer)).collect();
        Ok(Imported { source, records, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_right_is_refused() {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let blob = json!({ "mediaType": "x", "digest": digest("blob"), "size": 3 });
        let good = json!({
            "layers": [{ "diffId": digest("tar"), "size": 5, "blob": blob }],
            "records": [{ "key": digest("a"), "layer": 0 }, { "key": digest("a"), "layer": 0 }],
        });
        let blobs: Vec<Descriptor> = vec![serde_json::from_value(blob.clone()).unwrap()];
        let read = |value: &serde_json::Value| {
            Document::read(value.to_string().as_bytes(), &blobs, Blobs::Layout(std::path::PathBuf::new()))
        };
        assert_eq!(read(&good).unwrap().records.len(), 1);
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
        let read = |bytes: &[u8]| Document::read(bytes, &blobs, Blobs::Layout(std::path::PathBuf::new()));
        for at in 0..good.len() {
            for byte in [0, b'"', b'{', b']', b'-', b'9', b'e', 0xff] {
                let mut bad = good.clone().into_bytes();
                bad[at] = byte;
                // Whatever it is taken for, its keys lead to layers of its own.
                if let Ok(found) = read(&bad) {
                    assert!(found.records.values().all(|layer| *layer < found.layers.len()));
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
