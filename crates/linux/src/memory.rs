//! Memory of this process.

/// Gives freed heap pages back to the kernel, where the C library's allocator keeps them.
pub fn trim() {
    // SAFETY: the call takes no pointer and touches free blocks alone.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// For every program of ours that is linked with musl, whose own allocator asks the kernel for each larger block and
/// gives it back at once.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
