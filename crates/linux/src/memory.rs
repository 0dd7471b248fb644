//! Memory of this process.

#[cfg(target_env = "musl")]
mod heap;

use rustix::io::{Errno, Result};

/// Gives freed heap pages back to the kernel, where the C library's allocator keeps them.
pub fn trim() {
    // SAFETY: the call takes no pointer and touches free blocks alone.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
    #[cfg(target_env = "musl")]
    heap::trim();
}

/// set_mempolicy(2) of the calling thread: `MPOL_*` with its flags, and a bit for each node.
pub fn set_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let mode = libc::c_int::try_from(mode).map_err(|_| Errno::INVAL)?;
    // The kernel looks at one bit less than it is told of.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: `mask` is null with no bits, or points to `bits - 1` bits that live across the call.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
