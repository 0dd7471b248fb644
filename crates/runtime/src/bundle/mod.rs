//! An OCI bundle becomes a [`LaunchPlan`].
//!
//! Every field of `config.json` is either carried into the plan or refused by name: nothing that was asked for is
//! left out in silence. What the specification lets a runtime ignore (unknown fields, sections of other
//! platforms, capabilities the kernel does not know) is returned as a warning. Pure except for [`load`].

mod error;
mod linux;
mod mounts;
mod numbers;
mod process;
mod resources;

use std::path::{Path, PathBuf};

use ::linux::file;
use oci::runtime as spec;
use oci::runtime::Spec;

use crate::plan::{Hook, HookState, Hooks, LaunchPlan, Root, RootSource};
use error::{Result, invalid, missing};

pub use error::SpecError;
pub use mounts::{MOUNT_OPTIONS, single as mount};
pub use numbers::{MEMORY_FLAGS, MEMORY_MODES};
pub use process::process;
pub use resources::limits;

/// The largest `config.json` that is read.
const LARGEST: u64 = 16 << 20;

/// What a plan depends on besides the document.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The container.
    pub id: &'a str,
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// No control group is made: the caller may not make one.
    pub no_cgroup: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`, together with the descriptors of `LISTEN_FDS`.
    pub preserve_fds: u32,
}

/// A plan, and what was left out of it as the specification allows.
#[derive(Debug)]
pub struct Planned {
    /// What to start.
    pub plan: LaunchPlan,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// Reads the `config.json` of a bundle.
///
/// # Errors
/// The file is missing, too large or no JSON of a container.
pub fn load(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let text = file::read_bounded(&path, LARGEST)
        .map_err(|source| SpecError::Read { path: path.clone(), source: Box::new(source) })?;
    Spec::parse(&text).map_err(|source| SpecError::Json { path, source })
}

/// Turns a document into a plan.
///
/// # Errors
/// The first field that is missing, wrong or not supported.
pub fn plan(spec: &Spec, context: &Context<'_>) -> Result<Planned> {
    check_version(&spec.oci_version)?;
    let mut warnings: Vec<String> = spec
        .other_platforms
        .iter()
        .map(|name| format!("config.json: section {name} is for another platform and ignored"))
        .collect();
    let Some(document) = &spec.process else { return missing("process") };
    let linux = spec.linux.clone().unwrap_or_default();
    linux::refuse_unsupported(&linux)?;

    let namespaces = linux::namespaces(&linux)?;
    linux::check_dependent(spec, &linux, &namespaces)?;
    let id_maps = linux::id_maps(&linux, &namespaces)?;
    let mut process = process(document, &mut warnings)?;
    process.seccomp = linux::seccomp(linux.seccomp.as_ref(), process.capabilities.bounding, context.kernel)?;
    process.preserve_fds = context.preserve_fds;

    let plan = LaunchPlan {
        id: context.id.to_owned(),
        loopback: namespaces.network == crate::plan::Namespace::New,
        root: root(spec, &linux, context.bundle)?,
        mounts: mounts::mounts(&spec.mounts, context.bundle, &id_maps, &mut warnings)?,
        devices: linux::devices(&linux.devices)?,
        masked_paths: linux::paths("linux.maskedPaths", &linux.masked_paths)?,
        readonly_paths: linux::paths("linux.readonlyPaths", &linux.readonly_paths)?,
        hostname: Some(spec.hostname.clone()).filter(|name| !name.is_empty()),
        domainname: Some(spec.domainname.clone()).filter(|name| !name.is_empty()),
        sysctls: linux::sysctls(&linux.sysctl, &namespaces)?,
        time_offsets: linux::time_offsets(&linux, &namespaces)?,
        cgroup: match context.no_cgroup {
            true => None,
            false => Some(linux::cgroup(&linux, context.id, &mut warnings)?),
        },
        process,
        hooks: hooks(spec, context)?,
        personality: linux::personality(linux.personality.as_ref())?,
        memory_policy: numbers::memory_policy(linux.memory_policy.as_ref())?,
        new_session_keyring: !context.no_new_keyring,
        no_pivot: context.no_pivot,
        start_gate: None,
        ends_with_supervisor: false,
        namespaces,
        id_maps,
    };
    Ok(Planned { plan, warnings })
}

/// The same major version is one specification (runtime-spec, RELEASES).
fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return missing("ociVersion");
    }
    let mut parts = version.splitn(3, '.');
    let major = parts.next();
    let rest_is_numeric =
        parts.next().is_some_and(|minor| minor.parse::<u32>().is_ok()) && parts.next().is_some();
    match (major, rest_is_numeric) {
        (Some("1"), true) => Ok(()),
        (_, true) => invalid("ociVersion", version, "only version 1 of the specification is known"),
        (_, false) => invalid("ociVersion", version, "is no semantic version"),
    }
}

fn root(spec: &Spec, linux: &spec::Linux, bundle: &Path) -> Result<Root> {
    let Some(root) = &spec.root else { return missing("root") };
    if root.path.is_empty() {
        return missing("root.path");
    }
    no_nul("root.path", &root.path)?;
    Ok(Root {
        source: RootSource::Directory(bundle.join(&root.path)),
        readonly: root.readonly,
        propagation: linux::propagation(&linux.rootfs_propagation)?,
    })
}

fn hooks(spec: &Spec, context: &Context<'_>) -> Result<Hooks> {
    let hooks = spec.hooks.clone().unwrap_or_default();
    Ok(Hooks {
        prestart: hook_list("prestart", hooks.prestart)?,
        create_runtime: hook_list("createRuntime", hooks.create_runtime)?,
        create_container: hook_list("createContainer", hooks.create_container)?,
        start_container: hook_list("startContainer", hooks.start_container)?,
        poststart: hook_list("poststart", hooks.poststart)?,
        poststop: hook_list("poststop", hooks.poststop)?,
        state: HookState {
            oci_version: spec.oci_version.clone(),
            id: context.id.to_owned(),
            bundle: context.bundle.display().to_string(),
            annotations: spec.annotations.clone().into_iter().collect(),
        },
    })
}

fn hook_list(kind: &str, hooks: Vec<spec::Hook>) -> Result<Vec<Hook>> {
    let plan_hook = |(index, hook): (usize, spec::Hook)| {
        let field = |name: &str| format!("hooks.{kind}[{index}].{name}");
        if !hook.path.starts_with('/') {
            return invalid(field("path"), hook.path, "must be absolute");
        }
        for text in hook.args.iter().chain(&hook.env).chain([&hook.path]) {
            no_nul(&field("path, args or env"), text)?;
        }
        let timeout_secs = match hook.timeout.map(u32::try_from) {
            None => None,
            Some(Ok(seconds)) if seconds > 0 => Some(seconds),
            Some(_) => return invalid(field("timeout"), hook.timeout.unwrap_or(0), "must be above zero"),
        };
        Ok(Hook { path: PathBuf::from(hook.path), args: hook.args, env: hook.env, timeout_secs })
    };
    hooks.into_iter().enumerate().map(plan_hook).collect()
}

/// The kernel takes strings that end at the first zero byte: one inside would cut the rest off unseen.
fn no_nul(field: &str, text: &str) -> Result<()> {
    match text.contains('\0') {
        true => invalid(field, text, "contains a zero byte"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
