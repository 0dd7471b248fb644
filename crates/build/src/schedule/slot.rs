//! What is known of one node.

use std::time::Duration;

use oci::Digest;

use crate::{Claim, Key, Record};

/// What a node waits for, once its tree is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nobody wants its tree.
    Unwanted,
    /// For its base; whether for more depends on its definition, which is not known yet.
    Undecided,
    /// For its base: its definition is known to the cache.
    Base,
    /// For all of its inputs.
    All,
}

/// What a node is defined by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// So many inputs are not defined yet; of a source, it was not looked for yet.
    Open(usize),
    /// By what it takes of the caller's files, which is being looked at.
    Sought,
    /// By files that have no name: of the caller, or a tree that stands on them.
    Nameless,
    /// By this.
    Known(Key),
}

/// One node.
pub(super) struct Slot<T> {
    pub(super) wait: Wait,
    /// Inputs that it waits for.
    pub(super) missing: usize,
    pub(super) effect: Digest,
    pub(super) definition: Definition,
    /// Whether it is to be looked for as soon as it is defined.
    pub(super) held: bool,
    /// What it takes of inputs without a name.
    pub(super) taken: Option<Key>,
    /// The key of its content, once that is known not to be made.
    pub(super) content: Option<Key>,
    pub(super) claim: Option<Claim>,
    pub(super) tree: Option<T>,
    /// What its tree is, if it has a name.
    pub(super) result: Option<Key>,
    /// Its layer, unless it is a source that was here.
    pub(super) record: Option<Record>,
    /// Whether that was known.
    pub(super) cached: bool,
    /// Users that may still want its tree.
    pub(super) users: usize,
    pub(super) started: bool,
    /// Whether its last event was sent.
    pub(super) closed: bool,
    pub(super) ran: Duration,
}

impl<T> Slot<T> {
    pub(super) fn new(effect: Digest, inputs: usize, users: usize) -> Self {
        Self {
            wait: Wait::Unwanted,
            missing: 0,
            effect,
            definition: Definition::Open(inputs),
            held: false,
            taken: None,
            content: None,
            claim: None,
            tree: None,
            result: None,
            record: None,
            cached: false,
            users,
            started: false,
            closed: false,
            ran: Duration::ZERO,
        }
    }
}
