//! What the engines run and load: a small root file system of busybox, and Debian's.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::measure::output;

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Packs a file as the tools of the distribution do.
    pub(crate) fn pack(self, plain: &Path, packed: &Path) -> Result<()> {
        let (plain, packed) = (plain.display(), packed.display());
        let command = match self {
            Self::Plain => format!("cp {plain} {packed}"),
            Self::Gzip => format!("gzip -6 -n -c {plain} > {packed}"),
            Self::Zstd => format!("zstd -3 -q -f -c {plain} > {packed}"),
        };
        output(Command::new("sh").args(["-c", &command])).map(drop)
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Writes a root file system of the distribution's static busybox.
pub(crate) fn busybox_rootfs(file: &Path) -> Result<PathBuf> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let program = program.context("busybox is missing: install the package busybox-static")?;
    let mut archive = tar::Builder::new(File::create(file)?);
    for folder in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
        entry(&mut archive, tar::EntryType::Directory, folder, None, &[])?;
    }
    entry(&mut archive, tar::EntryType::Regular, "bin/busybox", None, &std::fs::read(program)?)?;
    for applet in output(Command::new(program).arg("--list"))?.lines().filter(|name| *name != "busybox") {
        entry(&mut archive, tar::EntryType::Symlink, &format!("bin/{applet}"), Some("busybox"), &[])?;
    }
    entry(&mut archive, tar::EntryType::Regular, "etc/passwd", None, b"root:x:0:0:root:/root:/bin/sh\n")?;
    entry(&mut archive, tar::EntryType::Regular, "etc/group", None, b"root:x:0:\n")?;
    archive.into_inner()?.flush()?;
    Ok(file.to_owned())
}

fn entry(
    archive: &mut tar::Builder<File>,
    kind: tar::EntryType,
    path: &str,
    link: Option<&str>,
    content: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    if let Some(target) = link {
        header.set_link_name(target)?;
    }
    header.set_cksum();
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

/// A Debian root file system of about 340 MB as one tar, made once and kept in `cache`.
pub(crate) fn debian_rootfs(cache: &Path) -> Result<PathBuf> {
    let file = cache.join("debian-bookworm.tar");
    if file.exists() {
        return Ok(file);
    }
    let tree = cache.join("debian");
    if tree.exists() {
        std::fs::remove_dir_all(&tree)?;
    }
    output(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=python3,perl,git", "bookworm"])
            .arg(&tree),
    )?;
    let half_done = file.with_extension("part");
    output(
        Command::new("tar")
            .args(["--numeric-owner", "--exclude=*.deb", "-C"])
            .arg(&tree)
            .arg("-cf")
            .arg(&half_done)
            .arg("."),
    )?;
    std::fs::remove_dir_all(&tree)?;
    std::fs::rename(&half_done, &file)?;
    Ok(file)
}

/// Packs `layer` into a docker-archive (plain) or an OCI layout tar (gzip, zstd), as `docker load` takes it.
pub(crate) fn archive(layer: &Path, packing: Packing, name: &str, folder: &Path) -> Result<PathBuf> {
    let diff_id = digest(layer)?;
    let packed = folder.join(format!("layer.{}", packing.name()));
    packing.pack(layer, &packed)?;
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created_by": "bench"}],
    }))?;
    let blob = digest(&packed)?;
    let config_digest = hex(&Sha256::digest(&config));
    let file = folder.join(format!("image-{}.tar", packing.name()));
    let mut archive = tar::Builder::new(File::create(&file)?);
    let layer_path = format!("blobs/sha256/{blob}");
    let config_path = format!("blobs/sha256/{config_digest}");
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": format!("sha256:{config_digest}"), "size": config.len()},
        "layers": [{"mediaType": packing.media_type(), "digest": format!("sha256:{blob}"),
                    "size": std::fs::metadata(&packed)?.len()}],
    }))?;
    let manifest_digest = hex(&Sha256::digest(&manifest));
    let index = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{manifest_digest}"), "size": manifest.len(),
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}],
    }))?;
    let docker = serde_json::to_vec(&serde_json::json!([
        {"Config": config_path, "RepoTags": [name], "Layers": [layer_path]}
    ]))?;
    entry(&mut archive, tar::EntryType::Regular, "oci-layout", None, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    entry(&mut archive, tar::EntryType::Regular, "index.json", None, &index)?;
    entry(&mut archive, tar::EntryType::Regular, "manifest.json", None, &docker)?;
    entry(
        &mut archive,
        tar::EntryType::Regular,
        &format!("blobs/sha256/{manifest_digest}"),
        None,
        &manifest,
    )?;
    entry(&mut archive, tar::EntryType::Regular, &config_path, None, &config)?;
    archive.append_path_with_name(&packed, &layer_path)?;
    archive.into_inner()?.flush()?;
    std::fs::remove_file(&packed)?;
    Ok(file)
}

pub(crate) fn digest(file: &Path) -> Result<String> {
    let text = output(Command::new("sha256sum").arg(file))?;
    let Some(word) = text.split(' ').next().filter(|word| word.len() == 64) else {
        bail!("sha256sum said {text:?}");
    };
    Ok(word.to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
