//! Variables that exist without a declaration, and the ARG instructions before the first stage.

use std::collections::BTreeSet;

use oci::Reference;

use super::{Options, Resolved};
use crate::expand::{Environment, Lexer};
use crate::source::{Diagnostic, Result};
use crate::syntax::{Dockerfile, Kind};

/// Arguments that a RUN sees without a declaration: they are in no history and in no cache key.
pub const PREDEFINED_PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that speak to the builder, not to the file; nobody is told that no ARG asks for them.
const BUILDER_ARGUMENTS: [&str; 11] = [
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
    "BUILDKIT_SBOM_SCAN_CONTEXT",
    "BUILDKIT_SBOM_SCAN_STAGE",
    "SOURCE_DATE_EPOCH",
];

/// The variables that FROM lines see. With `given`, build arguments win over defaults; without, the file speaks alone.
///
/// # Errors
/// If a default cannot be expanded.
pub fn global_arguments(
    file: &Dockerfile,
    options: &Options,
    target: &str,
    given: bool,
) -> Result<Environment> {
    let (build, platform) = (&options.builder, &options.platform);
    let target = if target.is_empty() { "default" } else { target };
    let shown = (build.to_string(), platform.to_string());
    let predefined = [
        ("BUILDPLATFORM", shown.0.as_str()),
        ("BUILDOS", build.os.as_str()),
        ("BUILDOSVERSION", build.os_version.as_str()),
        ("BUILDARCH", build.architecture.as_str()),
        ("BUILDVARIANT", build.variant.as_str()),
        ("TARGETPLATFORM", shown.1.as_str()),
        ("TARGETOS", platform.os.as_str()),
        ("TARGETOSVERSION", platform.os_version.as_str()),
        ("TARGETARCH", platform.architecture.as_str()),
        ("TARGETVARIANT", platform.variant.as_str()),
        ("TARGETSTAGE", target),
    ];
    let mut env = Environment::default();
    for (name, value) in predefined {
        env.set(name, options.arguments.get(name).map_or(value, String::as_str));
    }
    let lexer = Lexer::new(file.escape);
    for instruction in &file.arguments {
        for argument in &instruction.kind {
            let name = argument.name.value.as_str();
            if let Some(value) = options.arguments.get(name).filter(|_| given) {
                env.set(name, value.as_str());
            } else if let Some(default) = &argument.default {
                let value = lexer.expand(&default.value, &env);
                let value = value.map_err(|error| Diagnostic::error(error.to_string(), default.span))?;
                env.set(name, value.text);
            }
        }
    }
    Ok(env)
}

/// Whether a text could name an image.
#[must_use]
pub fn is_image_name(text: &str) -> bool {
    text.parse::<Reference>().is_ok()
}

/// Build arguments that neither an ARG nor the builder asks for.
pub(super) fn unconsumed(file: &Dockerfile, options: &Options, stages: &[Resolved]) -> Vec<String> {
    let global = file.arguments.iter().flat_map(|instruction| &instruction.kind);
    let own = stages.iter().flat_map(|stage| &stage.steps).flat_map(|step| {
        let Kind::Arg(arguments) = &step.instruction.kind else { return &[][..] };
        arguments.as_slice()
    });
    let declared: BTreeSet<&str> = global.chain(own).map(|argument| argument.name.value.as_str()).collect();
    let predefined = |name: &str| {
        name.starts_with("TARGET")
            || name.starts_with("BUILD")
            || PREDEFINED_PROXIES.contains(&name)
            || BUILDER_ARGUMENTS.contains(&name)
    };
    let given = options.arguments.keys();
    given.filter(|name| !declared.contains(name.as_str()) && !predefined(name)).cloned().collect()
}
