//! What could be done at once, and how much of it may be.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Looking for sources, definitions and contents: mostly waits for disks and networks.
const LOOKS: usize = 16;
/// Nodes that somebody else may be working on.
const CLAIMS: usize = 64;
/// Work that is no program: copies, downloads.
const OTHERS: usize = 16;

/// What is limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Look,
    /// Waiting for somebody else takes nobody's place.
    Claim,
    Program,
    Other,
}

/// Nodes with a next step.
pub(crate) enum Next {
    Source,
    /// What it takes of inputs without a name.
    Define,
    Hint,
    /// With its base alone, or with all inputs.
    Look,
    Adopt(crate::Record),
    Claim,
    Perform,
}

type Ranked = BinaryHeap<(u32, Reverse<usize>)>;

/// What waits for a place, and the places.
pub(crate) struct Queues {
    /// The newest first: so a thread goes on with what the node that it has just done makes possible.
    looks: Vec<(usize, Next)>,
    /// Of programs and of others: to be claimed, and to be done. Those before which most programs lie come first.
    claims: [Ranked; 2],
    ready: [Ranked; 2],
    taken: [usize; 4],
    limits: [usize; 4],
}

impl Queues {
    pub(crate) fn new(programs: usize) -> Self {
        Self {
            looks: Vec::new(),
            claims: Default::default(),
            ready: Default::default(),
            taken: [0; 4],
            limits: [LOOKS, CLAIMS, programs.max(1), OTHERS],
        }
    }

    /// How many threads find something to do at most.
    pub(crate) fn most_threads(&self) -> usize {
        self.limits.iter().sum()
    }

    pub(crate) fn look(&mut self, node: usize, next: Next) {
        self.looks.push((node, next));
    }

    pub(crate) fn claim(&mut self, node: usize, rank: u32, program: bool) {
        self.claims[usize::from(program)].push((rank, Reverse(node)));
    }

    pub(crate) fn perform(&mut self, node: usize, rank: u32, program: bool) {
        self.ready[usize::from(program)].push((rank, Reverse(node)));
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.looks.clear();
        self.claims.iter_mut().chain(&mut self.ready).for_each(BinaryHeap::clear);
    }

    /// Whether nobody is at work.
    pub(crate) fn is_idle(&self) -> bool {
        self.taken.iter().all(|taken| *taken == 0)
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, place: Place) {
        self.taken[place as usize] -= 1;
    }

    /// Whether there is something to do, and a place for it.
    pub(crate) fn has_next(&self) -> bool {
        [Place::Program, Place::Other, Place::Look].into_iter().any(|place| self.can(place))
            || self.claimable().is_some()
    }

    /// Takes a place for what is to be done next.
    pub(crate) fn take(&mut self) -> Option<(usize, Next, Place)> {
        let (node, next, place) = self.pick()?;
        self.taken[place as usize] += 1;
        Some((node, next, place))
    }

    fn pick(&mut self) -> Option<(usize, Next, Place)> {
        for (place, queue) in [(Place::Program, 1), (Place::Other, 0)] {
            if self.can(place) {
                let (_, Reverse(node)) = self.ready[queue].pop()?;
                return Some((node, Next::Perform, place));
            }
        }
        if self.can(Place::Look) {
            let (node, next) = self.looks.pop()?;
            return Some((node, next, Place::Look));
        }
        let (_, Reverse(node)) = self.claims[self.claimable()?].pop()?;
        Some((node, Next::Claim, Place::Claim))
    }

    fn can(&self, place: Place) -> bool {
        let waits = match place {
            Place::Look => !self.looks.is_empty(),
            Place::Claim => false,
            Place::Program => !self.ready[1].is_empty(),
            Place::Other => !self.ready[0].is_empty(),
        };
        waits && self.taken[place as usize] < self.limits[place as usize]
    }

    /// From which queue something may be claimed. Of programs no more than could begin soon: another build may have places for the rest.
    fn claimable(&self) -> Option<usize> {
        let has_place = self.taken[Place::Claim as usize] < CLAIMS;
        let soon = self.ready[1].len() < self.limits[Place::Program as usize];
        let queue = match () {
            () if !self.claims[0].is_empty() => 0,
            () if soon && !self.claims[1].is_empty() => 1,
            () => return None,
        };
        has_place.then_some(queue)
    }
}
