//! The last part of every start, shared by init and exec: from a process inside the container to its program.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::process::{CStringArray, execute};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Uid, accessat, fchown, fstat, stat};
use rustix::io::Errno;
use rustix::process::{fchdir, getcwd, umask};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::below::{Links, Make, find, find_or_make};
use crate::error::failed;
use crate::plan::ProcessPlan;
use crate::terminal::{self, Terminal};
use crate::{InitFailure, Step, credentials, trace, user};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that only needs to be executed.
pub(crate) struct Program {
    path: CString,
    arguments: CStringArray,
    environment: CStringArray,
    name: String,
}

/// What a process gets as standard streams.
pub(crate) enum Streams<'a> {
    /// Its own end of a terminal.
    Terminal(Terminal),
    /// These three, or the caller's own.
    Given(Option<&'a [OwnedFd; 3]>),
}

impl Streams<'_> {
    /// The terminal's master, for the supervisor.
    pub(crate) fn master(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Terminal(pair) => vec![pair.master.as_fd()],
            Self::Given(_) => Vec::new(),
        }
    }
}

/// Becomes the process of `plan` in all but its program, with `root` as the container's root and the process already in it.
pub(crate) fn settle(
    plan: &ProcessPlan,
    root: BorrowedFd<'_>,
    streams: &Streams<'_>,
) -> Result<Program, InitFailure> {
    let identity = user::find(root, &plan.user)?;
    match streams {
        Streams::Terminal(pair) => terminal::take(&pair.terminal, identity.uid)?,
        Streams::Given(given) => take_streams(*given, identity.uid)?,
    }
    let entered = enter_working_directory(plan, root);
    credentials::become_user(&identity, &plan.capabilities)?;
    match entered {
        // Root may be nobody on a network file system; the user is asked then.
        Err(failure) if failure.errno == Errno::ACCESS.raw_os_error() => enter_working_directory(plan, root)?,
        result => result?,
    }
    umask(Mode::from_raw_mode(plan.umask.unwrap_or(0o022)));
    let mut environment = plan.env.clone();
    if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
        environment.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
    }
    find_program(plan, &environment)
}

/// Binds the calling thread to CPUs listed like `0-3,7`.
pub(crate) fn set_affinity(list: &str) -> Result<(), InitFailure> {
    let bad = || InitFailure::because(Step::Scheduler, format!("CPUs {list:?}"), "not a list like 0-3,7");
    let mut set = CpuSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| bad())?;
        let last: usize = last.trim().parse().map_err(|_| bad())?;
        if first > last || last >= CpuSet::MAX_CPU {
            return Err(bad());
        }
        (first..=last).for_each(|cpu| set.set(cpu));
    }
    sched_setaffinity(None, &set).map_err(failed(Step::Scheduler, format!("CPUs {list}")))
}

/// Puts the streams in place. Pipes become the user's, so that `/dev/stdout` can be opened by someone who is not root.
fn take_streams(given: Option<&[OwnedFd; 3]>, uid: u32) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Descriptors, "standard streams")(errno);
    if let Some(given) = given {
        // The sources lie above 2: the caller's own streams are open below them.
        for (stream, target) in given.iter().zip(0..) {
            linux::process::replace_stdio(stream, target).map_err(at)?;
        }
    }
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(stat) = fstat(stream) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_uid != uid {
            // Where the pipe's owner has no id in here it stays as it is, as with runc.
            let _ = fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
    Ok(())
}

/// Changes to the working directory and makes sure that it lies inside (CVE-2024-21626).
fn enter_working_directory(plan: &ProcessPlan, root: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Cwd, plan.cwd.display())(errno);
    let directory = if plan.create_cwd {
        find_or_make(root, &plan.cwd, Make::Directory, Links::Follow)
    } else {
        find(root, &plan.cwd, Links::Follow)
    };
    fchdir(directory.map_err(at)?).map_err(at)?;
    let inside = getcwd(Vec::new()).map_err(at)?;
    if inside.to_bytes().first() == Some(&b'/') {
        return Ok(());
    }
    Err(InitFailure::because(Step::Cwd, plan.cwd.display(), "it lies outside the container"))
}

/// Finds the program as a shell would: by its path, or in the `PATH` of its environment.
fn find_program(plan: &ProcessPlan, environment: &[String]) -> Result<Program, InitFailure> {
    let Some(name) = plan.args.first().filter(|name| !name.is_empty()) else {
        return Err(InitFailure::new(Step::Exec, "\"\"", Errno::NOENT, "no command was given"));
    };
    let path = if name.contains('/') {
        let path = PathBuf::from(name);
        check_program(&path).map_err(failed(Step::Exec, format!("{name:?}")))?;
        path
    } else {
        let folders =
            environment.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let candidates = folders.split(':').map(|folder| if folder.is_empty() { "." } else { folder });
        candidates
            .map(|folder| Path::new(folder).join(name))
            .find(|path| check_program(path).is_ok())
            .ok_or_else(|| {
                InitFailure::new(
                    Step::Exec,
                    format!("{name:?}"),
                    Errno::NOENT,
                    "executable file not found in $PATH",
                )
            })?
    };
    let zero = || {
        InitFailure::new(
            Step::Exec,
            format!("{name:?}"),
            Errno::INVAL,
            "a zero byte in arguments or environment",
        )
    };
    Ok(Program {
        path: CString::new(OsStr::as_bytes(path.as_os_str())).map_err(|_| zero())?,
        arguments: CStringArray::new(&plan.args).ok_or_else(zero)?,
        environment: CStringArray::new(environment).ok_or_else(zero)?,
        name: name.clone(),
    })
}

fn check_program(path: &Path) -> Result<(), Errno> {
    let stat = stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Effective ids count: the real ones are the same, but capabilities are not.
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

impl Program {
    /// Executes it; what comes back is why not.
    pub(crate) fn execute(&self) -> InitFailure {
        let errno = execute(&self.path, &self.arguments, &self.environment);
        InitFailure::new(Step::Exec, format!("{:?}", self.name), errno, "")
    }
}

/// Opens the caller's root directory, once inside.
pub(crate) fn own_root() -> Result<OwnedFd, InitFailure> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed(Step::Pivot, "/"))
}

/// Lets go of what the caller's copy holds open, and of its signal handling.
///
/// `keep` is what this process still needs; descriptors 3 to 2+`preserve` are the program's.
pub(crate) fn forget_caller<'a>(
    keep: impl IntoIterator<Item = BorrowedFd<'a>>,
    preserve: u32,
) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Descriptors, "the caller's")(errno);
    let keep: Vec<BorrowedFd<'_>> = keep.into_iter().chain(trace::sink()).collect();
    linux::process::close_all_but(3 + preserve, &keep).map_err(at)?;
    linux::process::reset_signals().map_err(at)
}

/// Keeps descriptors 3 to 2+`keep` and marks the rest for closing.
pub(crate) fn close_rest(keep: u32) -> Result<(), InitFailure> {
    linux::process::close_from_on_exec(3 + keep).map_err(failed(Step::Descriptors, "closing the others"))
}

/// Streams as descriptors that lie above 2, for [`Streams::Given`].
pub(crate) fn above_stdio(stream: OwnedFd) -> Result<OwnedFd, Errno> {
    if std::os::fd::AsRawFd::as_raw_fd(&stream) > 2 {
        return Ok(stream);
    }
    rustix::io::fcntl_dupfd_cloexec(stream.as_fd(), 3)
}
