//! Keeps containers from overwriting the program that starts them (CVE-2019-5736).
//!
//! A container can make a process that joins it execute `/proc/self/exe`, and so get hold of the host's program,
//! to write to it once it no longer runs. So a program that clones into containers runs from a file that nobody can
//! write to: its own, on a read-only mount that is attached nowhere, or, for someone who may not mount, a sealed copy
//! in memory.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::process::{CStringArray, execute_file};
use rustix::fs::{
    Access, AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, accessat, fcntl_add_seals,
    fcntl_get_seals, fstatvfs, memfd_create, openat,
};
use rustix::io::Errno;

use crate::error::failed;
use crate::{InitFailure, Result, Step};

const OWN: &str = "/proc/self/exe";

/// Executes this process's own program anew from a file that no container can write to; comes back when it already runs
/// from one. To be called before anything else, with the arguments and the environment that it was started with.
pub fn protect_own_program<A: AsRef<OsStr>, V: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    environment: impl IntoIterator<Item = (V, V)>,
) -> Result<()> {
    let at = |errno| failed(Step::Exec, "this program, protected")(errno);
    let own = openat(CWD, OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
    if is_protected(own.as_fd()).map_err(at)? {
        return Ok(());
    }
    let protected = match linux::mount::protected_program(Path::new(OWN)) {
        Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => sealed_copy(own)?,
        result => result.map_err(at)?,
    };
    let arguments =
        CStringArray::new(arguments.into_iter().map(|argument| argument.as_ref().as_bytes().to_vec()));
    let variable =
        |(name, value): (V, V)| [name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()].concat();
    let environment = CStringArray::new(environment.into_iter().map(variable));
    let (Some(arguments), Some(environment)) = (arguments, environment) else {
        return Err(at(Errno::INVAL).into());
    };
    Err(at(execute_file(protected.as_fd(), &arguments, &environment)).into())
}

/// On a read-only mount, sealed, or somebody else's where nobody is privileged.
fn is_protected(program: impl AsFd) -> Result<bool, Errno> {
    if fstatvfs(program.as_fd())?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    // Only files in memory have seals.
    if fcntl_get_seals(program.as_fd()).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(true);
    }
    Ok(accessat(CWD, OWN, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ACCESS))
}

fn sealed_copy(program: OwnedFd) -> Result<OwnedFd, InitFailure> {
    let at = |errno| failed(Step::Exec, "a sealed copy of this program")(errno);
    let copy = memfd_create("program", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(at)?;
    let mut copy = File::from(copy);
    std::io::copy(&mut File::from(program), &mut copy).map_err(|error| {
        InitFailure::because(Step::Exec, "a sealed copy of this program", error.to_string())
    })?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals).map_err(at)?;
    Ok(OwnedFd::from(copy))
}
