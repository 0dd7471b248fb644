//! What decides an operation's result, as bytes.

use oci::{Digest, Hasher};

use super::{CopyOp, Op, RunOp};
use crate::syntax::MountKind;

/// Changes whenever the encoding does, so that old results are not taken for new ones.
const VERSION: &str = "skiff.build.op.v2";

/// Fields one after the other, each with its length before it, so that no two operations have the same bytes.
struct Encoder {
    hasher: Hasher,
}

impl Encoder {
    fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text));
    }

    fn option(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_le_bytes());
    }
}

pub(super) fn of<'a>(op: &Op, inputs: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut encoder = Encoder { hasher: Hasher::sha256() };
    encoder.text(VERSION);
    encode(&mut encoder, op);
    for input in inputs {
        encoder.text(input.as_str());
    }
    encoder.hasher.finish()
}

/// What an operation does to its inputs or, of a source, with what is found at its place; not the place itself.
pub(super) fn effect(op: &Op) -> Digest {
    let mut encoder = Encoder { hasher: Hasher::sha256() };
    encoder.text(VERSION);
    match op {
        Op::Image { .. } => encoder.text("image"),
        Op::Context { .. } => encoder.text("context"),
        Op::Http { name, .. } => {
            encoder.text("http");
            encoder.text(name);
        }
        // Which repository, without who we are there, is part of what is found. The name that led to the commit is written into the
        // repository's own directory alone.
        Op::Git(git) => {
            encoder.text("git");
            encoder.option(git.reference.as_deref().filter(|_| git.keep_git_dir));
            encoder.option(git.subdirectory.as_deref());
            for flag in [git.keep_git_dir, git.submodules, git.commit_times] {
                encoder.number(u64::from(flag));
            }
        }
        Op::Scratch | Op::Inline { .. } | Op::Run(_) | Op::Copy(_) | Op::MakeDirectory { .. } | Op::Merge => {
            encode(&mut encoder, op)
        }
    }
    encoder.hasher.finish()
}

fn encode(encoder: &mut Encoder, op: &Op) {
    match op {
        Op::Scratch => encoder.text("scratch"),
        Op::Image { reference, platform } => {
            encoder.text("image");
            encoder.text(&reference.to_string());
            encoder.text(platform);
        }
        Op::Context { name, platform } => {
            encoder.text("context");
            encoder.text(name);
            encoder.option(platform.as_deref());
        }
        Op::Http { url, name, checksum } => {
            encoder.text("http");
            encoder.text(url);
            encoder.text(name);
            encoder.option(checksum.as_ref().map(Digest::as_str));
        }
        Op::Git(git) => {
            encoder.text("git");
            encoder.text(&git.remote);
            encoder.option(git.reference.as_deref());
            encoder.option(git.subdirectory.as_deref());
            encoder.option(git.checksum.as_deref());
            for flag in [git.keep_git_dir, git.submodules, git.commit_times, git.fetch_by_commit] {
                encoder.number(u64::from(flag));
            }
        }
        Op::Inline { name, content, mode } => {
            encoder.text("inline");
            encoder.text(name);
            encoder.text(content);
            encoder.number(u64::from(*mode));
        }
        Op::Run(run) => encode_run(encoder, run),
        Op::Copy(copy) => encode_copy(encoder, copy),
        Op::MakeDirectory { path, owner } => {
            encoder.text("directory");
            encoder.text(path);
            encoder.option(owner.as_deref());
        }
        Op::Merge => encoder.text("merge"),
    }
}

/// All of it but proxies.
fn encode_run(encoder: &mut Encoder, run: &RunOp) {
    encoder.text("run");
    encoder.text(&run.platform);
    encoder.texts(&run.args);
    encoder.texts(&run.env);
    encoder.text(&run.cwd);
    encoder.text(&run.user);
    encoder.number(run.mounts.len() as u64);
    for (mount, input) in &run.mounts {
        encoder.text(&mount.target);
        encoder.number(u64::from(mount.read_only));
        encoder.number(input.map_or(0, |input| input as u64 + 1));
        encode_mount(encoder, &mount.kind);
    }
    encoder.option(run.document.as_ref().map(|(_, path)| path.as_str()));
    encoder.text(&format!("{:?} {:?}", run.network, run.security));
    encoder.number(run.devices.len() as u64);
    for (name, required) in &run.devices {
        encoder.text(name);
        encoder.number(u64::from(*required));
    }
}

/// What is mounted, not what is in it: of caches, memory, secrets and agents nothing reaches a result but by the program.
fn encode_mount(encoder: &mut Encoder, kind: &MountKind) {
    match kind {
        MountKind::Bind { source, .. } => {
            encoder.text("bind");
            encoder.text(source);
        }
        MountKind::Cache { id, source, sharing, identity, .. } => {
            encoder.text("cache");
            encoder.text(id);
            encoder.text(source);
            encoder.text(&format!("{sharing:?} {identity:?}"));
        }
        MountKind::Tmpfs { size } => {
            encoder.text("tmpfs");
            encoder.number(size.map_or(0, |size| size + 1));
        }
        MountKind::Secret { id, file, env, required, identity } => {
            encoder.text("secret");
            encoder.text(id);
            encoder.option(env.as_deref());
            encoder.text(&format!("{file} {required} {identity:?}"));
        }
        MountKind::Ssh { id, required, identity } => {
            encoder.text("ssh");
            encoder.text(id);
            encoder.text(&format!("{required} {identity:?}"));
        }
    }
}

fn encode_copy(encoder: &mut Encoder, copy: &CopyOp) {
    encoder.text("copy");
    encoder.number(copy.selections.len() as u64);
    for selection in &copy.selections {
        encoder.number(selection.input as u64);
        encoder.text(&selection.path);
        encoder.option(selection.parents.as_deref());
        encoder.number(u64::from(selection.unpack) << 1 | u64::from(selection.local));
    }
    encoder.text(&copy.destination);
    encoder.option(copy.owner.as_deref());
    encoder.option(copy.mode.as_deref());
    encoder.texts(&copy.exclude);
}
