//! What a monitor makes while its caller is still planning: run directory, control group, and init in its namespaces.
//!
//! All of it is written down before it is made, as in any start, so that a monitor that dies here leaves nothing that an
//! observer cannot find. Nobody misses what cannot be made: the plan is then carried out from its beginning, and
//! meets the same trouble with somebody there to hear of it.

use std::os::fd::BorrowedFd;

use cgroup::{Cgroup, Hierarchy};
use runtime::trace;

use crate::error::{Error, Result};
use crate::plan::{AheadPlan, MonitorPlan};
use crate::status::{Process, Status};
use crate::supervise::WHO;
use crate::supervise::seat::Seat;

/// A container without a plan. [`Ahead::give_up`] leaves nothing of it.
#[derive(Debug)]
pub(crate) struct Ahead {
    plan: AheadPlan,
    // Dropped in this order: init first, for the group must be empty to be removed.
    pub(crate) init: runtime::Ahead,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) seat: Seat,
    pub(crate) status: Status,
}

impl Ahead {
    /// Makes what `plan` says, or nothing.
    pub(crate) fn make(plan: AheadPlan, caller: BorrowedFd<'_>) -> Option<Ahead> {
        let seat = Seat::occupy(&plan.run_dir, caller).ok()?;
        trace::mark(WHO, "run directory");
        match Self::fill(&plan, &seat) {
            Ok((init, cgroup, status)) => Some(Ahead { plan, init, cgroup, seat, status }),
            Err(_) => {
                // What could not even be removed is found by whoever looks next.
                drop(seat.vacate());
                None
            }
        }
    }

    fn fill(plan: &AheadPlan, seat: &Seat) -> Result<(runtime::Ahead, Option<Cgroup>, Status)> {
        let mut status = Status::starting(plan.cgroup.as_ref().map(|cgroup| cgroup.path.clone()));
        seat.record(&status)?;
        let make = |plan| Cgroup::create(&Hierarchy::detect()?, plan);
        let cgroup =
            plan.cgroup.as_ref().map(make).transpose().map_err(Error::cgroup("make the control group"))?;
        trace::mark(WHO, "control group");
        let init = runtime::clone_ahead(plan.namespaces.clone(), cgroup.as_ref()).map_err(|error| {
            Error::Remote { attempt: "clone init".to_owned(), message: error.to_string() }
        })?;
        status.init = Process::of(init.pid().as_raw_nonzero().get());
        status.cgroup = cgroup.as_ref().map(|cgroup| cgroup.path().to_owned());
        seat.record(&status)?;
        trace::mark(WHO, "ahead");
        Ok((init, cgroup, status))
    }

    /// Whether this is what `plan` wants.
    pub(crate) fn fits(&self, plan: &MonitorPlan) -> bool {
        self.plan.run_dir == plan.run_dir
            && self.plan.cgroup == plan.launch.cgroup
            && self.init.fits(&plan.launch)
    }

    /// Removes everything again.
    pub(crate) fn give_up(self) {
        let Ahead { init, cgroup, seat, .. } = self;
        drop(init);
        drop(cgroup);
        drop(seat.vacate());
    }
}
