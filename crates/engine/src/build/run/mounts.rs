//! What is mounted into a program's container.

use std::path::Path;

use dockerfile::lower::RunOp;
use dockerfile::syntax::MountKind as Kind;
use runtime::LaunchPlan;
use runtime::plan::{Mount, MountAttributes, MountIdMap, MountKind};

use super::error::RunError;
use super::request::refused;
use super::room::root;
use crate::Result;
use crate::build::session::Session;
use crate::build::tree::Tree;

/// What lasts as long as the program.
pub(super) struct Held {
    /// Where something is mounted.
    pub(super) targets: Vec<String>,
}

/// Says what of the content of mounts decides a result.
pub(super) fn contents(
    _session: &Session<'_>,
    op: &RunOp,
    inputs: &[Tree],
    part: &mut dyn FnMut(&str),
) -> Result<()> {
    for input in op.document.iter().map(|(input, _)| *input) {
        part(inputs.get(input).map(Tree::chain).as_ref().map_or("", |chain| chain.as_str()));
    }
    Ok(())
}

/// Adds the mounts of an operation to the plan of its container.
pub(super) fn add(
    session: &Session<'_>,
    op: &RunOp,
    inputs: &[Tree],
    _directory: &Path,
    launch: &mut LaunchPlan,
) -> Result<Held> {
    let mut held = Held { targets: Vec::new() };
    if let Some((input, path)) = &op.document {
        let tree = inputs.get(*input).cloned().unwrap_or_else(Tree::empty);
        let kind = MountKind::Image { source: root(session, &tree, None)?, path: "/".into() };
        launch.mounts.push(mount(path, kind, true));
        held.targets.push(path.clone());
    }
    for (wanted, _) in &op.mounts {
        let kind = match &wanted.kind {
            Kind::Tmpfs { size } => tmpfs(*size),
            Kind::Bind { .. } | Kind::Cache { .. } | Kind::Secret { .. } | Kind::Ssh { .. } => {
                return Err(refused(RunError::Mount { target: wanted.target.clone() }));
            }
        };
        launch.mounts.push(mount(&wanted.target, kind, wanted.read_only));
        held.targets.push(wanted.target.clone());
    }
    Ok(held)
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

fn mount(target: &str, kind: MountKind, readonly: bool) -> Mount {
    Mount {
        target: target.into(),
        kind,
        attributes: MountAttributes { readonly, nosuid: true, nodev: true, ..MountAttributes::default() },
        propagation: None,
        id_map: MountIdMap::None,
    }
}
