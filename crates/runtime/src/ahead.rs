//! A process that is cloned before its container's plan is made: new namespaces take most of a millisecond, which is
//! as long as a plan takes.
//!
//! ```text
//! supervisor                     init
//!   clone3 ──────────────────►   enters its control group, forgets the supervisor's descriptors
//!   [the plan is made]           waits
//!   Plan + memfd, streams ───►   goes on as any other, see the crate's head
//! ```

use std::fs::File;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use linux::process::{NEW_CGROUP, NEW_TIME};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::entry::{Entry, enter};
use crate::error::failed;
use crate::handle::{ParkedInit, Running};
use crate::init::{self, Inherited};
use crate::launch::{self, Stdio};
use crate::link::{Link, Order};
use crate::plan::{Namespace, Namespaces};
use crate::trace::mark;
use crate::{Error, InitFailure, LaunchPlan, Result, Step, namespaces, program};

/// No plan is larger.
const PLAN_LIMIT: u64 = 16 << 20;

/// A container's first process, without a plan. Dropping it kills and reaps it.
#[derive(Debug)]
#[must_use]
pub struct Ahead {
    child: Running,
    link: Link,
    namespaces: Namespaces,
    privileged: bool,
}

/// Clones the first process of a container that will have `namespaces`, none of them joined, in `cgroup`. The caller
/// must be single-threaded.
pub fn clone_ahead(namespaces: Namespaces, cgroup: Option<&cgroup::Cgroup>) -> Result<Ahead> {
    let joins = |kind: &namespaces::Kind| matches!((kind.of)(&namespaces), Namespace::Join(_));
    if namespaces::KINDS.iter().any(joins) || namespaces.mount != Namespace::New {
        let why = "only new namespaces can be made before the plan";
        return Err(Error::Unsupported { what: "joining ahead".to_owned(), why });
    }
    let privileged = launch::is_privileged_for(&namespaces, false);
    let joiner = cgroup.map(launch::joiner).transpose()?;
    let (link, far) = Link::pair().map_err(failed(Step::Dialogue, "the start"))?;
    let entry = Entry {
        // The one must be made inside the group, the other may get offsets before it is entered.
        new: namespaces::new_bits(&namespaces) & !NEW_CGROUP & !NEW_TIME,
        cgroup: cgroup.and_then(cgroup::Cgroup::clone_target),
        first: Vec::new(),
        visits: privileged,
    };
    mark("supervisor", "clone");
    let child = enter(&entry, &link, far, |link| {
        let Err(failure) = wait_for_plan(link, joiner.as_ref(), privileged);
        failure
    })?;
    mark("supervisor", "cloned");
    Ok(Ahead { child, link, namespaces, privileged })
}

impl Ahead {
    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Whether a plan can be carried out by this process, which must be in the plan's control group.
    pub fn fits(&self, plan: &LaunchPlan) -> bool {
        self.namespaces == plan.namespaces
            && plan.start_gate.is_none()
            && plan.process.preserve_fds == 0
            && (plan.time_offsets.is_some() || plan.namespaces.time != Namespace::New)
    }

    /// Goes on as [`crate::clone_init`] does.
    pub fn launch(self, plan: &LaunchPlan, stdio: Stdio, image: Option<OwnedFd>) -> Result<ParkedInit> {
        launch::check(plan)?;
        let streams = launch::prepare_streams(plan, stdio, self.privileged)?;
        let sealed = write_plan(plan).map_err(failed(Step::Dialogue, "the plan"))?;
        let parked = ParkedInit::new(self.child, self.link, plan.hooks.clone(), &plan.process);
        let all: Vec<BorrowedFd<'_>> =
            std::iter::once(&sealed).chain(streams.iter().flatten()).map(AsFd::as_fd).collect();
        let sent = parked.link().send(&Order::Plan, &all).map_err(failed(Step::Dialogue, "the plan"));
        sent.map_err(|failure| parked.reason(failure.into()))?;
        launch::complete(plan, parked, self.privileged, image)
    }
}

fn write_plan(plan: &LaunchPlan) -> std::result::Result<OwnedFd, Errno> {
    let bytes = postcard::to_stdvec(plan).map_err(|_| Errno::INVAL)?;
    let mut memfd = File::from(rustix::fs::memfd_create(c"plan", MemfdFlags::CLOEXEC)?);
    memfd.write_all(&bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(memfd.into())
}

/// Init's side.
fn wait_for_plan(
    link: &Link,
    joiner: Option<&cgroup::Joiner>,
    privileged: bool,
) -> std::result::Result<std::convert::Infallible, InitFailure> {
    mark("init", "cloned");
    if let Some(joiner) = joiner {
        joiner.enter().map_err(|errno| failed(Step::Cgroup, "before the plan")(errno))?;
    }
    // Above all the supervisor's socket: whoever waits for its end must not wait for ours.
    program::forget_caller([link.as_fd()], 0)?;
    let (order, mut descriptors) = init::order(link)?;
    if !matches!(order, Order::Plan) || descriptors.is_empty() {
        return Err(InitFailure::because(Step::Dialogue, format!("{order:?}"), "it came out of turn"));
    }
    let plan = read_plan(descriptors.remove(0)).map_err(failed(Step::Dialogue, "the plan"))?;
    // All three, or none where there is a terminal.
    let streams = <[OwnedFd; 3]>::try_from(descriptors).ok();
    let inherited = Inherited { plan: &plan, link, joiner: None, joins: Vec::new(), streams, privileged };
    // Init closes what it has no more use for by number; nothing of it may be closed a second time.
    Err(init::run(&ManuallyDrop::new(inherited)))
}

fn read_plan(memfd: OwnedFd) -> std::result::Result<LaunchPlan, Errno> {
    let size = rustix::fs::fstat(&memfd)?.st_size;
    let size = u64::try_from(size).ok().filter(|&size| size <= PLAN_LIMIT).ok_or(Errno::FBIG)?;
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Errno::FBIG)?];
    File::from(memfd)
        .read_exact_at(&mut bytes, 0)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    postcard::from_bytes(&bytes).map_err(|_| Errno::BADMSG)
}
