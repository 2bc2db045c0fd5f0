//! One command on its way to the chip, and its answer.

use crate::{
    error::TpmError,
    rc,
    wire::{Params, Reader},
};
use std::time::Duration;
use tpm2_protocol::data::TpmCc;
use zeroize::Zeroizing;

/// Something in the chip: its handle, and the name that HMACs cover (part 1, 16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// the handle
    pub handle: u32,
    /// for hierarchies, PCRs and sessions the handle's bytes, else algorithm and digest of the public area
    pub name: Vec<u8>,
}

impl Entity {
    /// A hierarchy, a PCR or a session.
    pub fn fixed(handle: u32) -> Self {
        Self { handle, name: handle.to_be_bytes().to_vec() }
    }
    /// The owner hierarchy.
    pub fn owner() -> Self {
        Self::fixed(0x4000_0001)
    }
    /// No hierarchy.
    pub fn null() -> Self {
        Self::fixed(0x4000_0007)
    }
    /// The lockout authority.
    pub fn lockout() -> Self {
        Self::fixed(0x4000_000a)
    }
    /// The endorsement hierarchy.
    pub fn endorsement() -> Self {
        Self::fixed(0x4000_000b)
    }
}

/// A command before sessions are put to it.
pub(crate) struct Command {
    pub(crate) code: TpmCc,
    pub(crate) handles: Vec<Entity>,
    pub(crate) params: Zeroizing<Vec<u8>>,
    /// the first parameter is a TPM2B and worth hiding
    pub(crate) hide: bool,
    /// the answer's first parameter is a TPM2B and worth hiding
    pub(crate) hide_answer: bool,
    /// how many handles the answer has
    pub(crate) handles_out: usize,
    pub(crate) budget: Duration,
}

/// What most commands take at most, on slow chips (PTP 6.5.1.3 gives durations below this).
const BUDGET: Duration = Duration::from_secs(10);
/// Making keys takes long, and self tests do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

impl Command {
    pub(crate) fn new(code: TpmCc, handles: &[&Entity], params: Params) -> Result<Self, TpmError> {
        Ok(Self {
            code,
            handles: handles.iter().map(|e| (*e).clone()).collect(),
            params: params.finish(code)?,
            hide: false,
            hide_answer: false,
            handles_out: 0,
            budget: BUDGET,
        })
    }
    pub(crate) fn hidden(mut self) -> Self {
        self.hide = true;
        self
    }
    pub(crate) fn answer_hidden(mut self) -> Self {
        self.hide_answer = true;
        self
    }
    pub(crate) fn gives_handle(mut self) -> Self {
        self.handles_out = 1;
        self
    }
    pub(crate) fn takes(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }
    pub(crate) fn name(&self) -> &'static str {
        rc::name(self.code)
    }
}

/// A successful answer, checked and decrypted.
pub(crate) struct Answer {
    pub(crate) code: TpmCc,
    /// 0 if there is none
    pub(crate) handle: u32,
    pub(crate) params: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(self.code, &self.params)
    }
}
