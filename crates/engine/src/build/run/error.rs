//! What can go wrong when a program of a build is run.

use std::path::PathBuf;

use crate::Kind;

/// Why a step was not run to a good end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum RunError {
    #[error("{entitlement} is not allowed; --allow {entitlement} would allow it")]
    NotAllowed { entitlement: &'static str },
    #[error(transparent)]
    Device(#[from] cdi::FindError),
    #[error("{} requested by the build but not allowed; --allow device={} would allow {}", several(.names), names.join(" --allow device="), if names.len() == 1 { "it" } else { "them" })]
    DevicesNotAllowed { names: Vec<String> },
    #[error("invalid entitlement device={text}: {why}")]
    DeviceEntitlement { text: String, why: &'static str },
    #[error("invalid host {text:?}: wanted is NAME:ADDRESS or NAME=ADDRESS")]
    ExtraHost { text: String },
    #[error("process {words} could not be started")]
    Start {
        words: String,
        #[source]
        source: monitor::Error,
    },
    #[error(
        "process {words}: it is a program for {machine}, and this host ({host}) has no emulator for such (binfmt_misc): install \
         qemu-user-static (Debian 12, Ubuntu, Fedora) or qemu-user-binfmt (Debian 13), or let the stage run here: FROM --platform=$BUILDPLATFORM"
    )]
    NoEmulator { words: String, machine: &'static str, host: String },
    #[error(
        "process {words}: it is a program for {machine}, whose emulator the kernel looks for in the container: register it with the flag F (fix_binary)"
    )]
    EmulatorOutside { words: String, machine: &'static str },
    #[error("process {words} did not complete successfully: exit code: {code}{}", if *out_of_memory { ": cannot allocate memory" } else { "" })]
    Failed { words: String, code: i32, out_of_memory: bool },
    #[error("process {words}: its monitor was lost, and it was killed")]
    Lost { words: String },
    #[error("{action}")]
    Monitor {
        action: &'static str,
        #[source]
        source: monitor::Error,
    },
    #[error("{action} {}", path.display())]
    System {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{action}")]
    File {
        action: &'static str,
        #[source]
        source: linux::file::Error,
    },
    #[error("cache mount: {path:?} of what it is to begin as is no directory; name one by source=")]
    CacheSource { path: String },
    #[error("secret {id}: not found; give it by --secret id={id},src=FILE or --secret id={id},env=VARIABLE")]
    NoSecret { id: String },
    #[error("secret {id}: it is no text, and cannot be a variable; mount it as a file, without env=")]
    SecretText { id: String },
    #[error("unset ssh forward key {id}; give it by {}", agent_flag(id))]
    NoAgent { id: String },
}

fn agent_flag(id: &str) -> String {
    match id {
        "default" => "--ssh default (with an agent at SSH_AUTH_SOCK) or --ssh default=SOCKET".to_owned(),
        id => format!("--ssh {id}=SOCKET (of an agent)"),
    }
}

fn several(names: &[String]) -> String {
    match names {
        [name] => format!("device {name} is"),
        names => format!("devices {} are", names.join(", ")),
    }
}

impl RunError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotAllowed { .. } | Self::DevicesNotAllowed { .. } => Kind::Unauthorized,
            Self::NoEmulator { .. } | Self::EmulatorOutside { .. } => Kind::Unsupported,
            Self::NoSecret { .. } | Self::NoAgent { .. } | Self::Device(_) => Kind::NotFound,
            Self::SecretText { .. }
            | Self::DeviceEntitlement { .. }
            | Self::CacheSource { .. }
            | Self::ExtraHost { .. }
            | Self::Start { .. }
            | Self::Failed { .. } => Kind::Invalid,
            Self::Lost { .. } => Kind::Unavailable,
            Self::Monitor { .. } | Self::System { .. } | Self::File { .. } => Kind::Internal,
        }
    }
}
