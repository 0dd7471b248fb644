//! Loading BPF programs that decide on device access, and attaching them to control groups.
//!
//! Only that one program type: it takes no maps and calls no helpers, so an instruction is eight plain bytes
//! and the kernel's verifier does the rest.

use std::ffi::{c_int, c_long};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// One instruction, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation and class.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// Of a jump, or of a memory access.
    pub offset: i16,
    /// The constant operand.
    pub immediate: i32,
}

/// A name that the kernel keeps with a program: at most 15 letters, digits, `_` and `.`.
pub type Name = [u8; 16];

const PROG_LOAD: c_int = 5;
const PROG_ATTACH: c_int = 8;
const PROG_GET_FD_BY_ID: c_int = 13;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const PROG_QUERY: c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Programs further down the tree run too, and all must agree.
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: Name,
}

#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoRequest {
    program: u32,
    length: u32,
    info: u64,
}

/// The kernel's `bpf_prog_info` up to and including the name.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: u64,
    code_lengths: [u32; 2],
    code: [u64; 2],
    load_time: u64,
    uid: u32,
    map_count: u32,
    maps: u64,
    name: Name,
}

/// The attribute structs above, all `repr(C)`, without padding, and valid with any bits.
trait Attributes {}
impl Attributes for Load {}
impl Attributes for Attach {}
impl Attributes for Query {}
impl Attributes for ById {}
impl Attributes for InfoRequest {}

fn bpf<T: Attributes>(command: c_int, attributes: &mut T) -> Result<c_long, Errno> {
    // SAFETY: the kernel reads and writes at most the given size at `attributes`, which is exclusively borrowed
    // and valid with any bits. Addresses inside it point to memory that each caller keeps alive across the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().unsigned_abs()
}

fn address<T: ?Sized>(of: &T) -> u64 {
    std::ptr::from_ref(of).cast::<()>().expose_provenance() as u64
}

fn own(result: c_long) -> Result<OwnedFd, Errno> {
    let fd = c_int::try_from(result).map_err(|_| Errno::BADF)?;
    // SAFETY: called with the result of a command that returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a program that decides on device access. The kernel sets close-on-exec.
pub fn load_device_program(program: &[Instruction], name: Name) -> Result<OwnedFd, Errno> {
    let instruction_count = u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let license = c"Apache-2.0";
    let mut attributes = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        instruction_count,
        instructions: address(program),
        license: address(license.to_bytes_with_nul()),
        name,
        ..Load::default()
    };
    bpf(PROG_LOAD, &mut attributes).and_then(own)
}

/// Attaches a device program to a control group of version 2, in place of `replaced` if given, in one step.
pub fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = Attach {
        target: raw(group),
        program: raw(program),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
        replaced: replaced.map_or(0, raw),
    };
    bpf(PROG_ATTACH, &mut attributes).map(drop)
}

/// The device program of the given name that is attached to this very group, if there is one.
pub fn attached_device_program(group: BorrowedFd<'_>, name: Name) -> Result<Option<OwnedFd>, Errno> {
    // The kernel attaches at most 64 programs to one group.
    let mut ids = [0_u32; 64];
    let mut attributes = Query {
        target: raw(group),
        kind: CGROUP_DEVICE,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: 64,
        ..Query::default()
    };
    bpf(PROG_QUERY, &mut attributes)?;
    for id in ids.into_iter().take(attributes.count as usize) {
        match bpf(PROG_GET_FD_BY_ID, &mut ById { id, ..ById::default() }).and_then(own) {
            Ok(program) if program_name(program.as_fd())? == name => return Ok(Some(program)),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn program_name(program: BorrowedFd<'_>) -> Result<Name, Errno> {
    let mut info = Info::default();
    let length = u32::try_from(size_of::<Info>()).map_err(|_| Errno::TOOBIG)?;
    let at = std::ptr::from_mut(&mut info).expose_provenance() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut InfoRequest { program: raw(program), length, info: at })?;
    Ok(info.name)
}
