//! A root file system as an image of several layers, in an OCI layout.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::{Packing, digest, hex};

/// An image whose layers, one after the other, hold what `rootfs` holds.
pub(crate) struct Layout {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// The packed layers, base first.
    pub(crate) blobs: Vec<PathBuf>,
}

impl Layout {
    /// Makes one in `folder`, of so many layers of about the same size.
    pub(crate) fn make(rootfs: &Path, layers: u64, packing: Packing, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Self::of(split(rootfs, layers, folder, None)?, packing, folder)
    }

    /// The same but for its last layer, which has one more file, as large as the other layers are: whoever has the one has all
    /// layers of the other but that.
    pub(crate) fn make_changed(rootfs: &Path, layers: u64, packing: Packing, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Self::of(split(rootfs, layers, folder, Some("changed"))?, packing, folder)
    }

    /// One for each of so many parts of about the same size, which together hold what `rootfs` holds.
    pub(crate) fn make_apart(
        rootfs: &Path,
        parts: u64,
        packing: Packing,
        folder: &Path,
    ) -> Result<Vec<Self>> {
        std::fs::create_dir_all(folder)?;
        let parts = (0..).zip(split(rootfs, parts, folder, None)?);
        parts.map(|(number, part)| Self::of(vec![part], packing, &folder.join(format!("{number}")))).collect()
    }

    /// Makes one of layers, which are used up.
    fn of(layers: Vec<PathBuf>, packing: Packing, folder: &Path) -> Result<Self> {
        let store = folder.join("blobs/sha256");
        std::fs::create_dir_all(&store)?;
        let (mut diff_ids, mut descriptors, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for plain in layers {
            diff_ids.push(format!("sha256:{}", digest(&plain)?));
            let packed = plain.with_extension("packed");
            packing.pack(&plain, &packed)?;
            let blob = store.join(digest(&packed)?);
            std::fs::rename(&packed, &blob)?;
            std::fs::remove_file(&plain)?;
            descriptors.push(descriptor(packing.media_type(), &blob)?);
            blobs.push(blob);
        }
        let put = |document: &Value, kind: &str| -> Result<Value> {
            let text = serde_json::to_vec(document)?;
            let path = store.join(hex(&Sha256::digest(&text)));
            File::create(&path)?.write_all(&text)?;
            descriptor(kind, &path)
        };
        let config = put(
            &json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/true"] },
                     "rootfs": { "type": "layers", "diff_ids": diff_ids } }),
            "application/vnd.oci.image.config.v1+json",
        )?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = put(
            &json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors }),
            kind,
        )?;
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        std::fs::write(folder.join("index.json"), serde_json::to_vec(&index)?)?;
        std::fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { folder: folder.to_owned(), blobs })
    }
}

/// Cuts a tar into so many, each with the entries that follow those of the one before. A hard link to a file of another part is
/// left out: Podman cannot unpack it. `more` is the name of a file as large as a part that the last one has, too, for which little
/// may be over.
fn split(rootfs: &Path, layers: u64, folder: &Path, more: Option<&str>) -> Result<Vec<PathBuf>> {
    let share = std::fs::metadata(rootfs)?.len().div_ceil(layers);
    let mut reader = tar::Archive::new(File::open(rootfs)?);
    let (mut files, mut written) = (Vec::new(), 0);
    let mut part: Option<tar::Builder<File>> = None;
    let mut names = HashSet::new();
    for entry in reader.entries()? {
        let mut entry = entry?;
        if written >= share * files.len() as u64 {
            if let Some(full) = part.take() {
                full.into_inner()?;
            }
            let path = folder.join(format!("part-{}", files.len()));
            part = Some(tar::Builder::new(File::create(&path)?));
            files.push(path);
            names.clear();
        }
        let builder = part.as_mut().context("no part")?;
        written += entry.size() + 512;
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        names.insert(path.clone());
        match entry.link_name()?.map(std::borrow::Cow::into_owned) {
            Some(target) if header.entry_type().is_hard_link() && !names.contains(&target) => {}
            Some(target) => builder.append_link(&mut header, path, target)?,
            None => builder.append_data(&mut header, path, &mut entry)?,
        }
    }
    if let Some(mut last) = part {
        if let Some(name) = more {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(share);
            last.append_data(&mut header, name, File::open(rootfs)?.take(share))?;
        }
        last.into_inner()?;
    }
    Ok(files)
}

fn descriptor(kind: &str, path: &Path) -> Result<Value> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a blob without a name")?;
    Ok(
        json!({ "mediaType": kind, "digest": format!("sha256:{name}"), "size": std::fs::metadata(path)?.len() }),
    )
}
