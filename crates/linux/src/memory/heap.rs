//! The heap of a program that is linked with musl: Doug Lea's allocator behind C's names, for Rust and for the C
//! libraries among us alike.
//!
//! musl's own asks the kernel for every group of blocks of one size, and gives it back at once: a command with a
//! database connection spends a tenth of its life in that.
//!
//! A process that is cloned while another thread is in here must not allocate, as with any allocator that was not
//! told of the clone.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// What the kernel is asked for at a time. Pages that are never touched cost nothing.
const GRANULARITY: usize = 1 << 20;
/// Of every block, unless more is asked for.
const ALIGNMENT: usize = 2 * size_of::<usize>();

static HEAP: Mutex<Dlmalloc> = Mutex::new(
    const {
        let mut heap = Dlmalloc::new();
        assert!(heap.set_granularity(GRANULARITY));
        heap
    },
);

fn heap() -> MutexGuard<'static, Dlmalloc> {
    // Nothing in here unwinds.
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives free pages back to the kernel.
pub(super) fn trim() {
    // SAFETY: touches free blocks alone.
    unsafe { heap().trim(0) };
}

/// What C's functions answer when there is no memory.
fn or_no_memory(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        // SAFETY: the place of the calling thread's error number.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
    }
    block.cast()
}

// SAFETY (of the names below): they keep the contracts of ISO C and POSIX, and all of the family are here, so that no
// block of one allocator comes to another.

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    or_no_memory(unsafe { heap().c_malloc(size) })
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else { return or_no_memory(std::ptr::null_mut()) };
    // SAFETY: any size may be asked for.
    or_no_memory(unsafe { heap().calloc(bytes, ALIGNMENT) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's `block` is null or from here, and not freed.
    or_no_memory(unsafe { heap().c_realloc(block.cast(), size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller's `block` is null or from here, and not freed.
    unsafe { heap().c_free(block.cast()) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        // SAFETY: the place of the calling thread's error number.
        unsafe { *libc::__errno_location() = libc::EINVAL };
        return std::ptr::null_mut();
    }
    // SAFETY: the alignment is a power of two.
    or_no_memory(unsafe { heap().c_memalign(alignment, size) })
}

#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    aligned_alloc(alignment, size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<usize>()) {
        return libc::EINVAL;
    }
    // SAFETY: the alignment is a power of two.
    let block = unsafe { heap().c_memalign(alignment, size) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's `place` may be written.
    unsafe { *place = block.cast() };
    0
}
