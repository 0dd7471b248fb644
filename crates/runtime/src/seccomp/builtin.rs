//! The profile that a container gets unless told otherwise.
//!
//! It allows what Docker's default profile allows, with these exceptions, all about the kernel's surface that one
//! container shares with all others:
//!
//! - Socket families are allowed by name, not refused by name. Without `CAP_NET_ADMIN`: unix, inet, inet6, netlink,
//!   packet, can; with it every family but alg, vsock and rxrpc. `NETLINK_XFRM` needs `CAP_NET_ADMIN`. The kernel
//!   takes family and protocol as `int`, so only the lower half of an argument is looked at: a family that hides above
//!   2³² is the family the kernel will see.
//! - `socketpair` makes unix pairs alone, which is all that it is good for.
//! - `socketcall`, the old entry point of i386, cannot make sockets: its arguments lie in memory, where a filter cannot
//!   look. It fails with `ENOSYS`, upon which a C library that knows the direct calls uses them (musl does). Programs
//!   that know only `socketcall` (glibc for i386) need a profile file that allows it, or none.

use std::borrow::Cow;

use super::arch::Abi;
use super::profile::{Action, Architectures, Condition, Operator, Profile, Requirements, Rule};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

// Capability numbers (capabilities(7)).
const DAC_READ_SEARCH: u8 = 2;
const NET_ADMIN: u8 = 12;
const SYS_MODULE: u8 = 16;
const SYS_RAWIO: u8 = 17;
const SYS_CHROOT: u8 = 18;
const SYS_PTRACE: u8 = 19;
const SYS_PACCT: u8 = 20;
const SYS_ADMIN: u8 = 21;
const SYS_BOOT: u8 = 22;
const SYS_NICE: u8 = 23;
const SYS_TIME: u8 = 25;
const SYS_TTY_CONFIG: u8 = 26;
const SYSLOG: u8 = 34;
const PERFMON: u8 = 38;
const BPF: u8 = 39;

/// Every `CLONE_NEW*` flag that clone(2) takes.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
/// What the kernel looks at of an `int`.
const INT: u64 = 0xFFFF_FFFF;

const AF_UNIX: u64 = 1;
const AF_NETLINK: u64 = 16;
const AF_RXRPC: u64 = 33;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// Families that take no argument's further look: inet, inet6, packet, can.
const FAMILIES: [u64; 5] = [AF_UNIX, 2, 10, 17, 29];
const NETLINK_XFRM: u64 = 6;

/// `socketcall` numbers of `socket` and `socketpair`.
const SOCKETCALL_MAKES: [u64; 2] = [1, 8];

impl Profile {
    /// The profile of a container that names none: Docker's default, safer where the module's head says so.
    pub fn builtin() -> Self {
        let mut rules = vec![rule(ALWAYS), Rule { includes: kernel(4, 8), ..rule(TRACING) }];
        rules.extend(sockets());
        rules.extend(
            PERSONALITIES.map(|value| Rule {
                conditions: vec![int(0, Operator::Equal, value)],
                ..rule("personality")
            }),
        );
        rules.extend(BY_ARCHITECTURE.iter().map(|(machines, names)| Rule {
            includes: Requirements {
                architectures: machines.iter().map(|name| Cow::Borrowed(*name)).collect(),
                ..Requirements::default()
            },
            ..rule(names)
        }));
        rules.extend(
            BY_CAPABILITY.iter().map(|(number, names)| Rule { includes: capability(*number), ..rule(names) }),
        );
        rules.push(Rule {
            conditions: vec![Condition {
                index: 0,
                mask: NEW_NAMESPACES,
                operator: Operator::Equal,
                value: 0,
            }],
            excludes: capability(SYS_ADMIN),
            ..rule("clone")
        });
        // Its flags lie in memory; a C library falls back to clone.
        rules.push(Rule { action: Action::Errno(ENOSYS), excludes: capability(SYS_ADMIN), ..rule("clone3") });
        Self {
            default_action: Action::Errno(EPERM),
            architectures: Architectures::ByNative(vec![
                (Abi::X86_64, vec![Abi::X86, Abi::X32]),
                (Abi::Aarch64, vec![Abi::Arm]),
            ]),
            rules,
            flags: 0,
            listener: None,
        }
    }
}

fn rule(names: &'static str) -> Rule {
    Rule {
        names: names.split_ascii_whitespace().map(Cow::Borrowed).collect(),
        action: Action::Allow,
        conditions: Vec::new(),
        includes: Requirements::default(),
        excludes: Requirements::default(),
    }
}

fn kernel(major: u32, minor: u32) -> Requirements {
    Requirements { kernel: Some((major, minor)), ..Requirements::default() }
}

fn capability(number: u8) -> Requirements {
    Requirements { capabilities: vec![number], ..Requirements::default() }
}

fn int(index: u8, operator: Operator, value: u64) -> Condition {
    Condition { index, mask: INT, operator, value }
}

fn sockets() -> Vec<Rule> {
    let when = |conditions| Rule { conditions, ..rule("socket") };
    let mut rules: Vec<Rule> = FAMILIES.map(|family| when(vec![int(0, Operator::Equal, family)])).into();
    rules.push(when(vec![int(0, Operator::Equal, AF_NETLINK), int(2, Operator::NotEqual, NETLINK_XFRM)]));
    rules.push(Rule {
        includes: capability(NET_ADMIN),
        ..when([AF_RXRPC, AF_ALG, AF_VSOCK].map(|family| int(0, Operator::NotEqual, family)).into())
    });
    rules.push(Rule { conditions: vec![int(0, Operator::Equal, AF_UNIX)], ..rule("socketpair") });
    rules.push(Rule {
        conditions: SOCKETCALL_MAKES.map(|call| int(0, Operator::NotEqual, call)).into(),
        ..rule("socketcall")
    });
    rules.extend(SOCKETCALL_MAKES.map(|call| Rule {
        action: Action::Errno(ENOSYS),
        conditions: vec![int(0, Operator::Equal, call)],
        ..rule("socketcall")
    }));
    rules
}

const TRACING: &str = "process_vm_readv process_vm_writev ptrace";

/// `PER_LINUX`, `PER_LINUX32`, the two with `UNAME26`, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

const BY_ARCHITECTURE: [(&[&str], &str); 3] = [
    (
        &["arm", "arm64"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
];

const BY_CAPABILITY: [(u8, &str); 14] = [
    (DAC_READ_SEARCH, "open_by_handle_at"),
    (
        SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open
        quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (SYS_BOOT, "reboot"),
    (SYS_CHROOT, "chroot"),
    (SYS_MODULE, "delete_module init_module finit_module"),
    (SYS_PACCT, "acct"),
    (SYS_PTRACE, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    (SYS_RAWIO, "iopl ioperm"),
    (SYS_TIME, "settimeofday stime clock_settime clock_settime64"),
    (SYS_TTY_CONFIG, "vhangup"),
    (SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (SYSLOG, "syslog"),
    (BPF, "bpf"),
    (PERFMON, "perf_event_open"),
];

/// Allowed without condition.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
    _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
    prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range
    syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_system_call_of_some_architecture() {
        // Names that only architectures outside our table have.
        let elsewhere = ["riscv_hwprobe", "fstatat64", "getsid", "timerfd_gettime64"];
        let known = |name: &str| super::super::arch::Numbers::of(name).is_some() || elsewhere.contains(&name);
        let unknown: Vec<_> = Profile::builtin()
            .rules
            .into_iter()
            .flat_map(|rule| rule.names)
            .filter(|name| !known(name))
            .collect();
        assert_eq!(unknown, Vec::<Cow<'_, str>>::new());
    }

    #[test]
    fn what_a_container_must_not_reach_is_not_allowed_by_default() {
        let always = rule(ALWAYS).names;
        for name in
            ["io_uring_setup", "bpf", "keyctl", "userfaultfd", "socket", "socketcall", "mount", "kexec_load"]
        {
            assert!(!always.iter().any(|allowed| allowed == name), "{name}");
        }
    }
}
