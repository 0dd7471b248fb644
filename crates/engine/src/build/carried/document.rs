//! What an artifact of cache mounts says of itself.
//!
//! ```text
//! manifest { artifactType: application/vnd.skiff.cachemounts.v1, config: {}, layers: [
//!   { application/vnd.oci.image.layer.v1.tar+zstd, digest, size, annotations: {
//!       dev.skiff.cachemount.key      what the root knows the mount by, 64 hexadecimal digits
//!       dev.skiff.cachemount.id       what steps call it
//!       dev.skiff.cachemount.mode     permission bits that were asked for, octal; .uid and .gid likewise
//!       dev.skiff.cachemount.diff-id  digest of the tar
//!       dev.skiff.cachemount.size     bytes of the tar
//! } } … ] }
//! ```

use std::collections::BTreeMap;

use oci::{Descriptor, DiffId, Manifest, MediaType};

use super::Opened;

/// The type of the artifact.
pub(super) const ARTIFACT: &str = "application/vnd.skiff.cachemounts.v1";
/// The config, which says nothing.
pub(super) const CONFIG: &[u8] = b"{}";
/// The directory of a layer that is the mount.
pub(super) const ROOT: &str = "data";
const PREFIX: &str = "dev.skiff.cachemount.";

/// The most mounts of an artifact that are read.
const MOUNTS: usize = 1000;
/// The longest id.
const ID: usize = 4096;
/// The largest mount that is believed in, in bytes.
const SIZE: u64 = 1 << 40;

/// A cache mount of an artifact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mount {
    /// What its steps call it.
    pub(super) id: String,
    /// Its content, as a layer.
    pub(super) layer: DiffId,
    /// Bytes of that.
    pub(super) size: u64,
    /// The blob, with all of its annotations.
    pub(super) blob: Descriptor,
}

/// The mounts of an artifact by their keys.
pub(super) fn read(manifest: &Manifest) -> Result<BTreeMap<String, Mount>, String> {
    let kind = manifest.artifact_type.as_ref().map_or("none", MediaType::as_str);
    if kind != ARTIFACT {
        return Err(format!("it is no artifact of cache mounts: its type is {kind:?}"));
    }
    if manifest.layers.len() > MOUNTS {
        return Err(format!("it has more than {MOUNTS} cache mounts"));
    }
    let mut mounts = BTreeMap::new();
    for blob in &manifest.layers {
        let (key, mount) = of(blob).map_err(|reason| format!("its layer {}: {reason}", blob.digest))?;
        if mounts.insert(key, mount).is_some() {
            return Err(format!("its layer {} is another one's, too", blob.digest));
        }
    }
    Ok(mounts)
}

fn of(blob: &Descriptor) -> Result<(String, Mount), String> {
    let text = |name: &str| {
        let text = blob.annotations.get(&format!("{PREFIX}{name}"));
        text.map(String::as_str).ok_or_else(|| format!("it has no annotation {PREFIX}{name}"))
    };
    let (key, id) = (text("key")?, text("id")?);
    if key.len() != 64 || !key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("{key:?} is no key"));
    }
    if id.len() > ID {
        return Err("its id is too long".to_owned());
    }
    let layer = text("diff-id")?.parse().map_err(|error| format!("its diff-id: {error}"))?;
    let size = text("size")?.parse().map_err(|_| "its size is no number".to_owned())?;
    if size > SIZE || !blob.urls.is_empty() {
        return Err("it cannot be right".to_owned());
    }
    Ok((key.to_owned(), Mount { id: id.to_owned(), layer, size, blob: blob.clone() }))
}

/// A blob with what an artifact says of it.
pub(super) fn described(
    key: &str,
    used: &Opened,
    (layer, size): (&DiffId, u64),
    mut blob: Descriptor,
) -> Descriptor {
    let (mode, uid, gid) = used.identity;
    let all = [
        ("key", key.to_owned()),
        ("id", used.id.clone()),
        ("mode", format!("{mode:o}")),
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
        ("diff-id", layer.to_string()),
        ("size", size.to_string()),
    ];
    blob.annotations = all.into_iter().map(|(name, text)| (format!("{PREFIX}{name}"), text)).collect();
    blob
}

/// The manifest of these blobs.
pub(super) fn manifest(layers: Vec<Descriptor>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OCI_MANIFEST),
        artifact_type: Some(MediaType::from(ARTIFACT)),
        config: Descriptor::of(MediaType::OCI_EMPTY, CONFIG),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_right_is_refused() {
        let used = Opened { id: "/root/.npm".to_owned(), identity: (0o750, 1, 2) };
        let layer = DiffId::try_from(Digest::of(b"tar")).unwrap();
        let key = "0123456789abcdef".repeat(4);
        let blob = Descriptor::new(MediaType::OCI_LAYER_ZSTD, Digest::of(b"blob"), 4);
        let blob = described(&key, &used, (&layer, 3), blob);
        let written = manifest(vec![blob.clone()]);
        let mounts = read(&written).unwrap();
        let mount = Mount { id: used.id.clone(), layer, size: 3, blob };
        assert_eq!(mounts, BTreeMap::from([(key, mount)]));
        let good = serde_json::to_value(&written).unwrap();
        let annotation = |name: &str| format!("/layers/0/annotations/{PREFIX}{name}");
        let twice = json!([good["layers"][0], good["layers"][0]]);
        for (path, value) in [
            (annotation("key"), json!("../../x")),
            (annotation("key"), json!("A".repeat(64))),
            (annotation("id"), json!("x".repeat(ID + 1))),
            (annotation("diff-id"), json!("x")),
            (annotation("size"), json!("-1")),
            (annotation("size"), json!((SIZE + 1).to_string())),
            ("/layers/0/annotations".to_owned(), json!({})),
            ("/layers".to_owned(), twice),
            ("/artifactType".to_owned(), json!("application/vnd.other")),
        ] {
            let mut bad: Value = good.clone();
            *bad.pointer_mut(&path).unwrap() = value;
            let bad: Manifest = serde_json::from_value(bad).unwrap();
            assert!(read(&bad).is_err(), "{path}");
        }
    }
}
