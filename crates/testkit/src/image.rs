//! Images made in memory, from the distribution's static busybox.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One file of a layer.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A directory with permission bits.
    Directory(&'a str, u32),
    /// A file with permission bits and content.
    File(&'a str, u32, &'a [u8]),
    /// A symbolic link and its target.
    Symlink(&'a str, &'a str),
    /// Another one, of this user and group.
    Of(u64, u64, &'a Entry<'a>),
    /// Another one, with an extended attribute.
    With(&'a str, &'a [u8], &'a Entry<'a>),
}

/// A docker-archive of one image with one layer. `config` is merged over an empty configuration's `config`.
pub fn archive(tag: &str, layer: &[u8], config: Value) -> Vec<u8> {
    archive_of_layers(tag, &[layer], config)
}

/// The same with several layers, bottom first.
pub fn archive_of_layers(tag: &str, layers: &[&[u8]], config: Value) -> Vec<u8> {
    let layers: Vec<(&[u8], &[u8])> = layers.iter().map(|&layer| (layer, layer)).collect();
    archive_of_blobs(tag, &layers, config)
}

/// As [`archive`], with the layer as `blob` holds it: compressed, or something else.
pub fn archive_with_blob(tag: &str, layer: &[u8], blob: &[u8], config: Value) -> Vec<u8> {
    archive_of_blobs(tag, &[(layer, blob)], config)
}

/// Of each layer its plain bytes and what the archive holds.
fn archive_of_blobs(tag: &str, layers: &[(&[u8], &[u8])], config: Value) -> Vec<u8> {
    let digests: Vec<String> = layers.iter().map(|(layer, _)| hex(&Sha256::digest(layer))).collect();
    let diff_ids: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    let paths: Vec<String> = digests.iter().map(|digest| format!("{digest}/layer.tar")).collect();
    let step = json!({ "created": "2026-01-02T03:04:05Z", "created_by": "COPY busybox /bin/" });
    let document = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": vec![step; layers.len()],
    });
    let document = document.to_string().into_bytes();
    let name = format!("{}.json", hex(&Sha256::digest(&document)));
    let manifest = json!([{ "Config": name, "RepoTags": [tag], "Layers": paths }]);
    let manifest = manifest.to_string().into_bytes();
    let mut out = tar::Builder::new(Vec::new());
    append(&mut out, Entry::File(&name, 0o644, &document));
    for (path, (_, blob)) in paths.iter().zip(layers) {
        append(&mut out, Entry::File(path, 0o644, blob));
    }
    append(&mut out, Entry::File("manifest.json", 0o644, &manifest));
    out.into_inner().expect("a tar in memory")
}

/// A docker-archive of `busybox:latest`: a shell, its tools, a few users, `CMD ["sh"]`.
pub fn busybox() -> Vec<u8> {
    archive("busybox:latest", &busybox_layer(&[]), json!({ "Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"] }))
}

/// The layer of [`busybox`] with `more` behind it.
pub fn busybox_layer(more: &[Entry<'_>]) -> Vec<u8> {
    const TOOLS: &[&str] = &[
        "ash", "cat", "chmod", "chown", "cut", "date", "dd", "df", "echo", "env", "false", "grep", "head",
        "hostname", "id", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nproc", "od", "printf", "ps",
        "pwd", "readlink", "rm", "seq", "sh", "sleep", "sort", "stat", "stty", "sync", "tail", "tee", "test",
        "touch", "tr", "true", "tty", "umask", "umount", "uname", "unshare", "wc", "which", "whoami",
        "xargs", "yes",
    ];
    let program =
        ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(Path::new(path)).ok());
    let program = program.expect("no busybox: install the package busybox-static");
    let mut out = tar::Builder::new(Vec::new());
    for entry in [
        Entry::Directory("bin", 0o755),
        Entry::File("bin/busybox", 0o755, &program),
        Entry::Directory("etc", 0o755),
        Entry::File(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:an app:/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        ),
        Entry::File("etc/group", 0o644, b"root:x:0:\nwheel:x:10:app\naudio:x:29:app,root\napp:x:1000:\nnogroup:x:65534:\n"),
        Entry::Directory("home", 0o755),
        Entry::Directory("root", 0o700),
        Entry::Directory("tmp", 0o1777),
        Entry::Directory("usr", 0o755),
        Entry::Directory("usr/bin", 0o755),
    ] {
        append(&mut out, entry);
    }
    for tool in TOOLS {
        append(&mut out, Entry::Symlink(&format!("bin/{tool}"), "busybox"));
    }
    for entry in more {
        append(&mut out, *entry);
    }
    out.into_inner().expect("a tar in memory")
}

/// A layer of these entries alone.
pub fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for entry in entries {
        append(&mut out, *entry);
    }
    out.into_inner().expect("a tar in memory")
}

fn append(out: &mut tar::Builder<Vec<u8>>, entry: Entry<'_>) {
    append_of(out, entry, (0, 0));
}

fn append_of(out: &mut tar::Builder<Vec<u8>>, entry: Entry<'_>, (uid, gid): (u64, u64)) {
    let mut header = tar::Header::new_gnu();
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(1_767_322_645);
    let (path, content) = match entry {
        Entry::Of(uid, gid, entry) => return append_of(out, *entry, (uid, gid)),
        Entry::With(key, value, entry) => {
            let key = format!("SCHILY.xattr.{key}");
            out.append_pax_extensions([(key.as_str(), value)]).expect("a tar in memory");
            return append_of(out, *entry, (uid, gid));
        }
        Entry::Directory(path, mode) => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(mode);
            (path, &b""[..])
        }
        Entry::File(path, mode, content) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(mode);
            (path, content)
        }
        Entry::Symlink(path, target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_link_name(target).expect("a short link");
            (path, &b""[..])
        }
    };
    header.set_size(content.len() as u64);
    out.append_data(&mut header, path, content).expect("a tar in memory");
}

/// This machine, as image configurations name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
