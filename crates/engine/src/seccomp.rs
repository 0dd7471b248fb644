//! The seccomp filter of a container, compiled once.
//!
//! What the built-in profile compiles to depends on the program that compiles, the kernel and the container's
//! capabilities, and on nothing else. The result is kept in the run directory, which a reboot clears, under a name
//! made of these: `<run>/seccomp/<digest>` holds the flags (four bytes, little-endian) and the instructions.

use std::path::PathBuf;

use linux::file;
use oci::Digest;
use runtime::plan::SeccompFilter;
use runtime::seccomp::{Abi, Context, Profile, filter, kernel_version};

use crate::request::{Seccomp, SecurityOptions};
use crate::spec::ContainerSpec;
use crate::{Engine, Error, Result, plan};

/// The kernel takes no more instructions, of eight bytes each.
const LIMIT: u64 = 4 + 4096 * 8;

impl Engine {
    /// The filter of a container; None when it has none.
    pub(crate) fn seccomp(&self, spec: &ContainerSpec) -> Result<Option<SeccompFilter>> {
        let chosen = SecurityOptions::parse(&spec.host.security_options)?.seccomp;
        if chosen == Seccomp::Unconfined || (chosen == Seccomp::Builtin && spec.host.privileged) {
            return Ok(None);
        }
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        let context = Context {
            arch: Abi::NATIVE,
            capabilities: plan::capabilities(&spec.host, self.facts())?,
            kernel: kernel_version(&release).unwrap_or((0, 0)),
        };
        let compiled = match chosen {
            Seccomp::Profile(text) => {
                let profile = Profile::parse(text.as_bytes()).map_err(Error::InvalidSeccomp)?;
                filter(&profile, &context).map_err(Error::InvalidSeccomp)?
            }
            Seccomp::Builtin | Seccomp::Unconfined => self.builtin(&context, &release)?,
        };
        Ok(Some(compiled))
    }

    fn builtin(&self, context: &Context, release: &str) -> Result<SeccompFilter> {
        let path = self.cached_filter(context, release);
        if let Some(known) =
            path.as_ref().and_then(|path| file::read_bounded(path, LIMIT).ok()).and_then(decode)
        {
            return Ok(known);
        }
        let compiled = filter(&Profile::builtin(), context).map_err(Error::InvalidSeccomp)?;
        if let Some(path) = path
            && let Err(error) = keep(&path, &compiled)
        {
            tracing::debug!(%error, "the filter will be compiled again");
        }
        Ok(compiled)
    }

    /// Where the filter for `context` is kept. This program and the monitor's are built together, so the
    /// monitor's file stands for both.
    fn cached_filter(&self, context: &Context, release: &str) -> Option<PathBuf> {
        let program = rustix::fs::stat(&self.config.monitor).ok()?;
        let key = format!(
            "{} {} {} {} {} {release} {context:?}",
            env!("CARGO_PKG_VERSION"),
            program.st_ino,
            program.st_size,
            program.st_mtime,
            program.st_mtime_nsec,
        );
        Some(self.config.run.join("seccomp").join(Digest::of(key.as_bytes()).encoded()))
    }
}

fn keep(path: &std::path::Path, filter: &SeccompFilter) -> file::Result<()> {
    if let Some(directory) = path.parent() {
        file::create_dir(directory, 0o700)?;
    }
    let content = [&filter.flags.to_le_bytes()[..], &filter.program].concat();
    // Renamed into place: a filter that is cut off in the middle allows what its end would refuse.
    file::write_atomic(path, &content, 0o600)
}

fn decode(content: Vec<u8>) -> Option<SeccompFilter> {
    let (flags, program) = content.split_first_chunk::<4>()?;
    let whole = !program.is_empty() && program.len() % 8 == 0;
    whole.then(|| SeccompFilter {
        program: program.to_vec(),
        flags: u32::from_le_bytes(*flags),
        listener: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_instructions_are_a_filter() {
        assert_eq!(decode(vec![1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9]).unwrap().flags, 1);
        for bad in [&[][..], &[0; 3], &[0; 4], &[0; 11]] {
            assert!(decode(bad.to_vec()).is_none(), "{bad:?}");
        }
    }
}
