//! From root inside the container to the process's own user and capabilities.
//!
//! ```text
//! bounding set ─► groups, gid, uid (permitted kept) ─► … ─► [seccomp] ─► capset, ambient ─► no_new_privs, [seccomp] ─► exec
//! ```
//! A filter needs either `no_new_privs` or CAP_SYS_ADMIN. With the former it goes in last; without, it goes in
//! while the capability is still there, and the few calls after it must pass it.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::error::failed;
use crate::plan::{Capabilities, ProcessPlan};
use crate::user::Identity;
use crate::{InitFailure, Step, seccomp_listener};

/// Narrows the bounding set and takes on groups and user; permitted capabilities stay for the steps to come.
pub(crate) fn become_user(identity: &Identity, wanted: &Capabilities) -> Result<(), InitFailure> {
    for number in 0..64 {
        if wanted.bounding & (1 << number) != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // Beyond the last one that the kernel knows.
            Err(Errno::INVAL) => break,
            // Without the right to narrow it (a process without root on the host), there is nothing in it to lose.
            Err(Errno::PERM) if held()? == 0 => break,
            result => result.map_err(failed(Step::Credentials, "bounding set"))?,
        }
    }
    let groups: Vec<Gid> = identity.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    match set_thread_groups(&groups) {
        // Denied for good in a user namespace whose maker may map a single group: there are no others to be in.
        Err(Errno::PERM) if !identity.asks_for_groups => {}
        result => result.map_err(|errno| unmapped("supplementary groups", errno))?,
    }
    set_keep_capabilities(true).map_err(failed(Step::Credentials, "keeping capabilities"))?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_res_gid(gid, gid, gid).map_err(|errno| unmapped(format!("group {}", identity.gid), errno))?;
    set_thread_res_uid(uid, uid, uid).map_err(|errno| unmapped(format!("user {}", identity.uid), errno))
}

fn unmapped(subject: impl std::fmt::Display, errno: Errno) -> InitFailure {
    let why =
        if errno == Errno::INVAL { "an id is not mapped in the container's user namespace" } else { "" };
    InitFailure::new(Step::Credentials, subject, errno, why)
}

fn held() -> Result<u64, InitFailure> {
    let sets = capabilities(None).map_err(failed(Step::Credentials, "reading capabilities"))?;
    Ok(sets.permitted.bits())
}

/// Makes all permitted capabilities effective again, after the user id has changed.
pub(crate) fn raise_permitted() -> Result<(), InitFailure> {
    let at = failed(Step::Credentials, "raising capabilities");
    let mut sets = capabilities(None).map_err(failed(Step::Credentials, "reading capabilities"))?;
    sets.effective = sets.permitted;
    set_capabilities(None, sets).map_err(at)
}

/// The last steps before exec: seccomp, the final capability sets, `no_new_privs`.
pub(crate) fn confine(process: &ProcessPlan) -> Result<(), InitFailure> {
    let filter_first = process.seccomp.is_some() && !process.no_new_privileges;
    if filter_first {
        raise_permitted()?;
        install_filter(process)?;
    }
    set_final(&process.capabilities)?;
    if process.no_new_privileges {
        set_no_new_privs(true).map_err(failed(Step::Credentials, "no_new_privs"))?;
    }
    if filter_first { Ok(()) } else { install_filter(process) }
}

fn install_filter(process: &ProcessPlan) -> Result<(), InitFailure> {
    const NEW_LISTENER: u32 = 1 << 3;
    let Some(filter) = &process.seccomp else { return Ok(()) };
    let flags = filter.flags | if filter.listener.is_some() { NEW_LISTENER } else { 0 };
    let notifier = linux::process::install_seccomp_filter(&filter.program, flags)
        .map_err(failed(Step::Seccomp, format!("of {} instructions", filter.program.len() / 8)))?;
    match (notifier, &filter.listener) {
        (Some(notifier), Some(listener)) => seccomp_listener::send(listener, notifier),
        _ => Ok(()),
    }
}

fn set_final(wanted: &Capabilities) -> Result<(), InitFailure> {
    // Capabilities that the caller never had (the host may lack one) are left out, as runc leaves them out.
    let held = held()?;
    let is_other = wanted.root_alone && !rustix::process::geteuid().is_root();
    let permitted = if is_other { 0 } else { wanted.permitted & held };
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(wanted.effective & permitted),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(wanted.inheritable & held),
    };
    set_capabilities(None, sets).map_err(failed(Step::Credentials, "capability sets"))?;
    let ambient = wanted.ambient & permitted & wanted.inheritable;
    match clear_ambient_capability_set() {
        // A filter may refuse the call; the set is empty unless the caller's own was not.
        Err(_) if ambient == 0 => return Ok(()),
        result => result.map_err(failed(Step::Credentials, "ambient set"))?,
    }
    for number in (0..64).filter(|number| ambient & (1 << number) != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)
            .map_err(failed(Step::Credentials, format!("ambient capability {number}")))?;
    }
    Ok(())
}
