//! How much a repository may make us read, write and hold, its submodules included; and whether anybody still wants it.

use registry_client::Client;

use crate::error::{Error, Result};

/// The most there may be of everything that strangers decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that servers send as packs, which go to temporary files.
    pub pack: u64,
    /// Bytes of all objects in these packs.
    pub content: u64,
    /// Objects in these packs; each takes some hundred bytes of memory.
    pub objects: u64,
    /// Files, links and directories that are checked out.
    pub entries: u64,
    /// Bytes of the files that are checked out, of which several may be one object.
    pub checkout: u64,
    /// Submodules, those of submodules included.
    pub submodules: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack: 8 << 30,
            content: 16 << 30,
            objects: 2_000_000,
            entries: 2_000_000,
            checkout: 32 << 30,
            submodules: 500,
        }
    }
}

/// What is left of it. Nothing is left of what nobody wants any more: whatever is taken of it fails once the client has been ended.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    client: Client,
    limits: Limits,
    left: Limits,
}

impl Budget {
    pub(crate) fn new(limits: Limits, client: &Client) -> Self {
        Self { client: client.clone(), limits, left: limits }
    }

    /// # Errors
    /// If it is not to go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.client.is_ended() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn take_pack(&mut self, bytes: u64) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.pack, bytes, self.limits.pack, "bytes in its packs")
    }

    pub(crate) fn take_content(&mut self, bytes: u64) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.content, bytes, self.limits.content, "bytes in its objects")
    }

    pub(crate) fn take_object(&mut self) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.objects, 1, self.limits.objects, "objects")
    }

    pub(crate) fn take_entries(&mut self, count: u64) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.entries, count, self.limits.entries, "files and directories")
    }

    pub(crate) fn take_checkout(&mut self, bytes: u64) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.checkout, bytes, self.limits.checkout, "bytes in its files")
    }

    pub(crate) fn take_submodule(&mut self) -> Result<()> {
        self.go_on()?;
        take(&mut self.left.submodules, 1, self.limits.submodules, "submodules")
    }
}

fn take(left: &mut u64, amount: u64, limit: u64, what: &'static str) -> Result<()> {
    *left = left.checked_sub(amount).ok_or(Error::Limit { limit, what })?;
    Ok(())
}
