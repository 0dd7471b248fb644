//! What is mounted into a program's container.
//!
//! | type | what it is | in the key |
//! |---|---|---|
//! | bind | the file system of its tree's layers, mounted for this alone, of which a part is shown; what is written goes to a directory that goes with the step | what is shown |
//! | cache | a directory of its own, see [`cache_mounts`] | no; what it begins as is |
//! | tmpfs | memory | no |
//! | secret | a file in memory that only the container's init makes, or a variable | no |
//! | ssh | a socket whose other end is ours, see [`agent`] | no |
//! | document | as bind, read-only | its layer |
//!
//! Files of the caller become a layer first, of what is mounted alone. No path that a Dockerfile names is ever looked up on the host:
//! a bind's source is resolved by the kernel below the root of its own tree, targets below the container's root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use build::{Key, Step};
use dockerfile::lower::RunOp;
use dockerfile::syntax::{Identity, Mount as Wanted, MountKind as Kind, Sharing};
use oci::ContainerId;
use runtime::LaunchPlan;
use runtime::plan::{Content, Mount, MountAttributes, MountIdMap, MountKind};

use super::agent;
use super::error::RunError;
use super::request::refused;
use super::room::{make, root, writable};
use crate::Result;
use crate::build::cache_mounts::{self, CacheMount, Seed, Wish};
use crate::build::copy;
use crate::build::session::Session;
use crate::build::tree::Tree;

/// What lasts as long as the program.
#[derive(Default)]
pub(super) struct Held {
    /// Where something is mounted.
    pub(super) targets: Vec<String>,
    agents: Vec<agent::Agent>,
    /// By their keys.
    caches: BTreeMap<Key, CacheMount>,
}

impl Held {
    /// The program has ended.
    pub(super) fn release(self, session: &Session<'_>) {
        self.caches.into_values().for_each(|cache| cache.release(&session.caches));
    }
}

/// For whom mounts are made.
struct Setting<'a> {
    session: &'a Session<'a>,
    op: &'a RunOp,
    inputs: &'a [Tree],
    step: &'a Step<'a>,
    /// The container.
    id: &'a ContainerId,
    /// The step's own files.
    directory: &'a Path,
    /// What has the ids on disk that the container sees is mapped to its own.
    id_map: MountIdMap,
}

/// Says what of the content of mounts decides a result.
pub(super) fn contents(
    session: &Session<'_>,
    op: &RunOp,
    inputs: &[Tree],
    step: &Step<'_>,
    part: &mut dyn FnMut(&str),
) -> Result<()> {
    if let Some((input, _)) = &op.document {
        part(input_of(inputs, Some(*input)).chain().as_str());
    }
    for (mount, input) in &op.mounts {
        let tree = || input_of(inputs, *input);
        let shown = match &mount.kind {
            Kind::Bind { source, .. } => copy::part_content(session, &tree(), source, step)?,
            Kind::Cache { source, .. } if input.is_some() => {
                copy::data_content(session, &tree(), source, step)?
            }
            Kind::Cache { .. } | Kind::Tmpfs { .. } | Kind::Secret { .. } | Kind::Ssh { .. } => continue,
        };
        part(shown.as_str());
    }
    Ok(())
}

fn input_of(inputs: &[Tree], input: Option<usize>) -> Tree {
    input.and_then(|input| inputs.get(input)).cloned().unwrap_or_else(Tree::empty)
}

/// Adds the mounts of an operation to the plan of its container.
pub(super) fn add(
    session: &Session<'_>,
    (op, inputs): (&RunOp, &[Tree]),
    step: &Step<'_>,
    (id, directory): (&ContainerId, &Path),
    launch: &mut LaunchPlan,
) -> Result<Held> {
    let is_mapped = !launch.id_maps.uid.is_empty() && session.engine.facts().rootless.is_none();
    let id_map = if is_mapped { MountIdMap::Container } else { MountIdMap::None };
    let setting = Setting { session, op, inputs, step, id, directory, id_map };
    let mut held = Held { caches: setting.caches()?, ..Held::default() };
    let mut mounts = Vec::new();
    if let Some((input, path)) = &op.document {
        let source = root(session, &input_of(inputs, Some(*input)), None, false)?;
        mounts.push(mount(path, MountKind::Image { source, path: "/".into() }, SEALED));
    }
    for (number, (wanted, input)) in op.mounts.iter().enumerate() {
        mounts.extend(setting.one(number, wanted, *input, &mut held, &mut launch.process.env)?);
    }
    held.targets = mounts.iter().map(|mount| mount.target.display().to_string()).collect();
    // Parents before what is mounted inside them; the sort keeps the order of equals.
    mounts.sort_by_key(|mount| mount.target.components().count());
    launch.mounts.retain(|mount| !mounts.iter().any(|own| mount.target.starts_with(&own.target)));
    launch.mounts.extend(mounts);
    Ok(held)
}

/// A cache that is to be mounted.
struct WantedCache<'a> {
    id: &'a str,
    /// The tree that it begins as a part of, and the digest of that part.
    seed: Option<(Tree, String)>,
    source: &'a str,
    identity: Identity,
    sharing: Sharing,
}

impl WantedCache<'_> {
    fn wish(&self) -> Wish<'_> {
        let WantedCache { id, source, identity, sharing, .. } = *self;
        let seed = self.seed.as_ref().map(|(tree, content)| Seed { tree, content });
        Wish { id, seed, source, identity, sharing }
    }
}

impl Setting<'_> {
    /// All caches that are wanted, in an order that is the same for all programs, so that no two wait for each other. What is wanted
    /// twice is one.
    fn caches(&self) -> Result<BTreeMap<Key, CacheMount>> {
        let mut wanted = BTreeMap::new();
        for (mount, input) in &self.op.mounts {
            if let Some(cache) = self.cache(mount, *input)? {
                wanted.insert(cache.wish().key(), cache);
            }
        }
        let mut opened = BTreeMap::new();
        for (key, cache) in wanted {
            opened.insert(key, cache_mounts::open(self.session, &cache.wish(), self.id, self.step)?);
        }
        Ok(opened)
    }

    /// What a mount wants if it is a cache.
    fn cache<'m>(&self, mount: &'m Wanted, input: Option<usize>) -> Result<Option<WantedCache<'m>>> {
        let Kind::Cache { id, source, sharing, identity, .. } = &mount.kind else { return Ok(None) };
        let seed = input.map(|input| {
            let tree = input_of(self.inputs, Some(input));
            // Hashed already, for the step's own key.
            let content = copy::data_content(self.session, &tree, source, self.step)?;
            Ok::<_, crate::Error>((tree, content.to_string()))
        });
        let (seed, identity, sharing) = (seed.transpose()?, *identity, *sharing);
        Ok(Some(WantedCache { id, seed, source, identity, sharing }))
    }

    fn one(
        &self,
        number: usize,
        wanted: &Wanted,
        input: Option<usize>,
        held: &mut Held,
        env: &mut Vec<String>,
    ) -> Result<Option<Mount>> {
        match &wanted.kind {
            Kind::Bind { source, .. } => self.bind(number, wanted, source, input).map(Some),
            Kind::Tmpfs { size } => Ok(Some(mount(&wanted.target, tmpfs(*size), writes(wanted)))),
            Kind::Cache { .. } => {
                let wanted_cache = self.cache(wanted, input)?;
                let cache = wanted_cache.as_ref().and_then(|cache| held.caches.get(&cache.wish().key()));
                Ok(cache.map(|cache| {
                    let kind = MountKind::Bind { source: cache.data(), recursive: false };
                    self.mapped(mount(&wanted.target, kind, writes(wanted)))
                }))
            }
            Kind::Secret { id, file, env: name, required, identity } => {
                let secret = self.session.request.secrets.get(id);
                let Some(secret) = secret else {
                    return if *required {
                        Err(refused(RunError::NoSecret { id: id.clone() }))
                    } else {
                        Ok(None)
                    };
                };
                if let Some(name) = name {
                    let value = std::str::from_utf8(secret.value()).ok().filter(|text| !text.contains('\0'));
                    let value = value.ok_or_else(|| refused(RunError::SecretText { id: id.clone() }))?;
                    set(env, name, value);
                }
                let target = self.target(&wanted.target, || format!("/run/secrets/{}", last_name(id)));
                Ok(file.then(|| secret_file(&target, secret.value(), *identity)))
            }
            Kind::Ssh { id, required, identity } => self.agent(wanted, (id, *required, *identity), held, env),
        }
    }

    fn bind(&self, number: usize, wanted: &Wanted, shown: &str, input: Option<usize>) -> Result<Mount> {
        let tree = copy::as_layer(self.session, &input_of(self.inputs, input), shown, self.step)?;
        let writable = match wanted.read_only {
            true => None,
            false => {
                let folder = self.directory.join(format!("bind-{number}"));
                for (path, mode) in
                    [(folder.clone(), 0o700), (folder.join("upper"), 0o755), (folder.join("work"), 0o700)]
                {
                    make(&path, mode)?;
                }
                Some(writable(&folder))
            }
        };
        let source = root(self.session, &tree, writable, false)?;
        let path = PathBuf::from(dockerfile::ignore::clean(&format!("/{shown}")));
        Ok(mount(&wanted.target, MountKind::Image { source, path }, writes(wanted)))
    }

    fn agent(
        &self,
        wanted: &Wanted,
        (id, required, identity): (&String, bool, Identity),
        held: &mut Held,
        env: &mut Vec<String>,
    ) -> Result<Option<Mount>> {
        let Some(socket) = self.session.request.agents.get(id) else {
            return if required { Err(refused(RunError::NoAgent { id: id.clone() })) } else { Ok(None) };
        };
        let number = held.agents.len();
        let target = self.target(&wanted.target, || format!("/run/buildkit/ssh_agent.{number}"));
        let place = self.directory.join(format!("agent-{number}"));
        let agent = agent::Agent::listen(&place, socket).map_err(refused)?;
        held.agents.push(agent);
        let Identity { mode, uid, gid } = identity;
        self.session.engine.give(&place, (uid, gid), mode & 0o777)?;
        if number == 0 {
            set(env, "SSH_AUTH_SOCK", &target);
        }
        let kind = MountKind::Bind { source: place, recursive: false };
        Ok(Some(self.mapped(mount(&target, kind, MountAttributes { noexec: true, ..SEALED_OPEN }))))
    }

    /// Where something is mounted that has a place of its own unless another is named.
    fn target(&self, named: &str, own: impl FnOnce() -> String) -> String {
        match named {
            "" => own(),
            named if named.starts_with('/') => dockerfile::ignore::clean(named),
            named => dockerfile::ignore::clean(&format!("{}/{named}", self.op.cwd)),
        }
    }

    fn mapped(&self, mount: Mount) -> Mount {
        Mount { id_map: self.id_map.clone(), ..mount }
    }
}

const SEALED_OPEN: MountAttributes = MountAttributes {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: false,
    nosymfollow: false,
    access_time: runtime::plan::AccessTime::Relative,
    nodiratime: false,
    recursive_set: 0,
    recursive_clear: 0,
};
const SEALED: MountAttributes = MountAttributes { readonly: true, ..SEALED_OPEN };

fn writes(wanted: &Wanted) -> MountAttributes {
    MountAttributes { readonly: wanted.read_only, ..SEALED_OPEN }
}

fn tmpfs(size: Option<u64>) -> MountKind {
    let size = size.map(|size| format!("size={size}"));
    MountKind::New {
        fstype: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: std::iter::once("mode=1777".to_owned()).chain(size).collect(),
        copy_up: false,
    }
}

fn secret_file(target: &str, value: &[u8], Identity { mode, uid, gid }: Identity) -> Mount {
    let kind = MountKind::File { content: Content::new(value), mode: mode & 0o7777, uid, gid };
    mount(target, kind, MountAttributes { noexec: true, ..SEALED })
}

fn last_name(id: &str) -> &str {
    id.rsplit('/').find(|name| !name.is_empty() && !matches!(*name, "." | "..")).unwrap_or("secret")
}

fn set(env: &mut Vec<String>, name: &str, value: &str) {
    let begin = format!("{name}=");
    env.retain(|entry| !entry.starts_with(&begin));
    env.push(begin + value);
}

fn mount(target: &str, kind: MountKind, attributes: MountAttributes) -> Mount {
    Mount { target: target.into(), kind, attributes, propagation: None, id_map: MountIdMap::None }
}
