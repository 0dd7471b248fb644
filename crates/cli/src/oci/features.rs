//! `features`: what this runtime knows (features.md, features-linux.md).

use cgroup::{Hierarchy, Version};
use oci::runtime::{
    CAPABILITIES, Enabled, Features, FeaturesCgroup, FeaturesLinux, FeaturesMemoryPolicy,
    FeaturesMountExtensions, FeaturesSeccomp, SPEC_VERSION,
};
use runtime::bundle::{MEMORY_FLAGS, MEMORY_MODES, MOUNT_OPTIONS};
use runtime::seccomp::{ACTIONS, Abi, FLAGS, OPERATORS};

use super::args::{Command, Parsed};
use super::error::{Error, Result};
use super::{Global, print};

pub(super) const FEATURES: Command = Command {
    name: "features",
    about: "Print what this runtime knows",
    usage: "",
    flags: &[],
    arguments: (0, 0),
    flags_lead: false,
    run,
};

fn run(_global: &Global, _parsed: &Parsed) -> Result<u8> {
    let version = Hierarchy::detect()?.version();
    let features = features(version);
    let text = serde_json::to_string_pretty(&features)
        .map_err(|source| Error::Json { path: "the features document".into(), source })?;
    print(&format!("{text}\n"))
}

fn features(version: Option<Version>) -> Features {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let flags: Vec<String> = FLAGS.iter().map(|(name, _)| (*name).to_owned()).collect();
    Features {
        oci_version_min: "1.0.0".into(),
        oci_version_max: SPEC_VERSION.into(),
        hooks: owned(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]),
        mount_options: owned(&MOUNT_OPTIONS),
        linux: FeaturesLinux {
            namespaces: owned(&["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]),
            capabilities: CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect(),
            cgroup: FeaturesCgroup {
                v1: matches!(version, Some(Version::V1 | Version::Hybrid)),
                v2: matches!(version, Some(Version::V2)),
                rdma: true,
                ..FeaturesCgroup::default()
            },
            seccomp: FeaturesSeccomp {
                enabled: true,
                actions: owned(&ACTIONS),
                operators: owned(&OPERATORS),
                archs: Abi::ALL.iter().map(|abi| abi.name().to_owned()).collect(),
                known_flags: flags.clone(),
                supported_flags: flags,
            },
            // Labels are set where a bundle asks for them and the kernel has the module.
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            memory_policy: FeaturesMemoryPolicy {
                modes: owned(&MEMORY_MODES),
                flags: MEMORY_FLAGS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            },
            mount_extensions: FeaturesMountExtensions { idmap: Enabled { enabled: true } },
            ..FeaturesLinux::default()
        },
        ..Features::default()
    }
}
