//! The registers and the FIFO state machine (PTP), independent of the bus.

use crate::{
    config::ModelConfig,
    count::Counters,
    processor::{Processor, code_only},
    rng::Rng,
};
use hsm_tis::{
    Register,
    register::{access, sts},
};

const US: u64 = 1_000;
const LOCALITIES: usize = 5;
/// `TPM_RC_CANCELED`
const CANCELED: u32 = 0x909;
/// Interface 1.3 for TPM 2.0, transfers of 64 bytes.
const INTF_CAPABILITY: u32 = 0x3000_0600;
const NOBODY: u8 = 0xff;
/// TPM 2.0, in the fourth byte of `TPM_STS` on SPI.
const FAMILY: u8 = 0x04;
/// A command that announces more is never complete.
const MAX_COMMAND: usize = 4096;
const HEADER: usize = 10;

/// Where the chip is with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// becomes ready at this time
    Preparing(u64),
    Ready,
    Reception,
    /// done at this time
    Executing(u64),
    Completion,
}

/// Faults of the chip itself that act now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defects {
    pub(crate) never_ready: bool,
    pub(crate) never_done: bool,
    pub(crate) no_burst: bool,
    pub(crate) status_invalid: bool,
}

pub(crate) struct Chip {
    pub(crate) config: ModelConfig,
    pub(crate) now_ns: u64,
    pub(crate) counters: Counters,
    pub(crate) defects: Defects,
    processor: Box<dyn Processor>,
    rng: Option<Rng>,
    state: State,
    active: Option<u8>,
    requested: [bool; LOCALITIES],
    seized: [bool; LOCALITIES],
    grant_ns: u64,
    settled_ns: u64,
    reset_ns: u64,
    command: Vec<u8>,
    response: Vec<u8>,
    read: usize,
    /// FIFO bytes until `TPM_STS` must be read again
    allowance: usize,
    latched: [u8; 4],
}

impl Chip {
    pub(crate) fn new(config: ModelConfig, processor: Box<dyn Processor>) -> Self {
        let rng = config.vary.map(Rng::new);
        Self {
            config,
            now_ns: 0,
            counters: Counters::default(),
            defects: Defects::default(),
            processor,
            rng,
            state: State::Idle,
            active: None,
            requested: [false; LOCALITIES],
            seized: [false; LOCALITIES],
            grant_ns: 0,
            settled_ns: 0,
            reset_ns: 0,
            command: Vec::new(),
            response: Vec::new(),
            read: 0,
            allowance: 0,
            latched: [0; 4],
        }
    }

    /// Power or reset pin: everything is forgotten.
    pub(crate) fn reset(&mut self) {
        self.processor.reset();
        self.abort(State::Idle);
        self.active = None;
        self.requested = [false; LOCALITIES];
        self.seized = [false; LOCALITIES];
        self.reset_ns = self.now_ns + self.config.reset_us * US;
    }

    /// Locality 2 takes the chip; where there is none, nobody has it.
    pub(crate) fn lose_locality(&mut self) {
        if let Some(seized) = self.active.and_then(|l| self.seized.get_mut(usize::from(l))) {
            *seized = true;
        }
        self.active = (self.config.localities > 2).then_some(2);
        self.abort(State::Idle);
    }

    /// Wait states for the next transfer.
    pub(crate) fn wait_states(&mut self) -> u64 {
        let most = u64::from(self.config.wait_states);
        self.rng.as_mut().map_or(most, |r| r.below(most + 1))
    }

    /// What went through the FIFO since the command began.
    pub(crate) fn fifo_data(&self) -> &[u8] {
        match self.state {
            State::Completion => self.response.get(..self.read).unwrap_or_default(),
            _ => &self.command,
        }
    }

    /// Reads byte `index` of a register, as `locality`.
    pub(crate) fn read(&mut self, locality: u8, register: Register, index: usize) -> u8 {
        self.advance();
        let word = |value: u32| value.to_le_bytes().get(index).copied().unwrap_or(NOBODY);
        match register {
            _ if locality >= self.config.localities => NOBODY,
            Register::Access => self.access(locality),
            _ if self.in_reset() => NOBODY,
            Register::DidVid => word(u32::from(self.config.device) << 16 | u32::from(self.config.vendor)),
            Register::Rid => self.config.revision,
            Register::InterfaceCapability => word(INTF_CAPABILITY),
            _ if self.active != Some(locality) => NOBODY,
            Register::Sts => self.status(index),
            Register::DataFifo => self.pop(),
            _ => NOBODY,
        }
    }

    /// Writes byte `index` of a register, as `locality`.
    pub(crate) fn write(&mut self, locality: u8, register: Register, index: usize, value: u8) {
        self.advance();
        if locality >= self.config.localities || self.in_reset() {
            return;
        }
        match (register, index) {
            (Register::Access, 0) => self.write_access(locality, value),
            (Register::Sts, 0) if self.active == Some(locality) => self.write_status(value),
            (Register::Sts, 3) if self.active == Some(locality) && value & sts::CANCEL != 0 => self.cancel(),
            (Register::DataFifo, _) if self.active == Some(locality) => self.push(value),
            _ => {}
        }
    }

    pub(crate) fn in_reset(&self) -> bool {
        self.now_ns < self.reset_ns
    }

    /// What time alone changes.
    fn advance(&mut self) {
        match self.state {
            State::Preparing(at) if self.now_ns >= at && !self.defects.never_ready => {
                self.state = State::Ready
            }
            State::Executing(at) if self.now_ns >= at && !self.defects.never_done => {
                self.state = State::Completion
            }
            _ => {}
        }
        if self.active.is_none() && self.now_ns >= self.grant_ns {
            self.grant();
        }
    }

    /// The highest locality that asks.
    fn grant(&mut self) {
        let highest = self.requested.iter().rposition(|r| *r);
        if let Some(asked) = highest.and_then(|h| self.requested.get_mut(h)) {
            *asked = false;
            self.active = highest.and_then(|h| u8::try_from(h).ok());
        }
    }

    fn access(&self, locality: u8) -> u8 {
        if self.in_reset() {
            return 0;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let is = |list: &[bool]| list.get(usize::from(locality)).copied().unwrap_or(false);
        let others = self.requested.iter().enumerate().any(|(l, asked)| *asked && l != usize::from(locality));
        access::VALID
            | access::ESTABLISHMENT
            | flag(self.active == Some(locality), access::ACTIVE_LOCALITY)
            | flag(is(&self.seized), access::BEEN_SEIZED)
            | flag(others, access::PENDING_REQUEST)
            | flag(is(&self.requested), access::REQUEST_USE)
    }

    /// One bit at a time; anything else is ignored, as the PTP has it.
    fn write_access(&mut self, locality: u8, value: u8) {
        let at = usize::from(locality);
        match value {
            access::REQUEST_USE if self.active != Some(locality) => {
                set(&mut self.requested, at, true);
                self.grant_ns = self.now_ns + self.config.locality_us * US;
            }
            access::ACTIVE_LOCALITY if self.active == Some(locality) => {
                self.active = None;
                self.abort(State::Idle);
            }
            access::ACTIVE_LOCALITY => set(&mut self.requested, at, false),
            access::BEEN_SEIZED => set(&mut self.seized, at, false),
            access::SEIZE if self.active.is_some_and(|a| a < locality) => {
                self.lose_locality();
                self.active = Some(locality);
            }
            _ => {}
        }
    }

    /// All four bytes are of the moment the first was read.
    fn status(&mut self, index: usize) -> u8 {
        if index == 0 {
            self.counters.status_reads += 1;
            self.allowance = self.burst();
            let [low, high] = u16::try_from(self.allowance).unwrap_or(0).to_le_bytes();
            self.latched = [self.status_bits(), low, high, FAMILY];
        }
        self.latched.get(index).copied().unwrap_or(NOBODY)
    }

    fn status_bits(&self) -> u8 {
        let valid = self.now_ns >= self.settled_ns && !self.defects.status_invalid;
        let state = match self.state {
            State::Ready => sts::COMMAND_READY,
            State::Reception if !self.is_complete() => sts::EXPECT,
            State::Completion if self.read < self.response.len() => sts::DATA_AVAIL,
            _ => 0,
        };
        state | sts::SELF_TEST_DONE | if valid { sts::VALID } else { 0 }
    }

    fn burst(&mut self) -> usize {
        let most = u64::from(self.config.burst.clamp(1, 64));
        let burst = self.rng.as_mut().map_or(most, |r| 1 + r.below(most));
        let burst = usize::try_from(burst).unwrap_or(1);
        match self.state {
            _ if self.defects.no_burst => 0,
            State::Ready | State::Reception => burst,
            State::Completion => burst.min(self.response.len() - self.read),
            _ => 0,
        }
    }

    fn write_status(&mut self, value: u8) {
        match (value, self.state) {
            (sts::COMMAND_READY, State::Idle | State::Reception | State::Executing(_)) => {
                self.abort(State::Preparing(self.now_ns + self.config.ready_us * US));
            }
            (sts::COMMAND_READY, State::Completion) => self.abort(State::Idle),
            (sts::GO, State::Reception) if self.is_complete() => self.go(),
            (sts::RESPONSE_RETRY, State::Completion) => {
                self.read = 0;
                self.settle();
            }
            _ => {}
        }
    }

    fn abort(&mut self, then: State) {
        self.state = then;
        self.command.clear();
        self.response.clear();
        self.read = 0;
        self.allowance = 0;
    }

    /// Executed at once; seen after the time it takes.
    fn go(&mut self) {
        let done = self.processor.execute(&self.command);
        self.counters.commands += 1;
        self.response = done.response;
        self.read = 0;
        self.state = State::Executing(self.now_ns + done.us * US);
        self.settle();
    }

    /// A command that is done before the chip can stop it keeps its response.
    fn cancel(&mut self) {
        if let (State::Executing(done), Some(us)) = (self.state, self.config.cancel_us) {
            let stopped = self.now_ns + us * US;
            if stopped < done {
                self.response = code_only(CANCELED);
                self.state = State::Executing(stopped);
            }
        }
    }

    fn push(&mut self, value: u8) {
        if !matches!(self.state, State::Ready | State::Reception) {
            return;
        }
        if self.allowance == 0 {
            self.counters.overruns += 1;
            return;
        }
        self.allowance -= 1;
        self.state = State::Reception;
        if !self.is_complete() {
            self.counters.payload += 1;
            self.command.push(value);
        }
        self.settle();
    }

    fn pop(&mut self) -> u8 {
        if self.state != State::Completion {
            return NOBODY;
        }
        if self.allowance == 0 {
            self.counters.overruns += 1;
            return NOBODY;
        }
        let Some(byte) = self.response.get(self.read).copied() else { return NOBODY };
        self.allowance -= 1;
        self.read += 1;
        self.counters.payload += 1;
        self.settle();
        byte
    }

    fn settle(&mut self) {
        self.settled_ns = self.now_ns + self.config.settle_us * US;
    }

    /// As many bytes as its header says; no more are taken.
    fn is_complete(&self) -> bool {
        let size = self.command.get(2..6).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let size = size.and_then(|s| usize::try_from(s).ok());
        size.is_some_and(|s| s <= MAX_COMMAND && self.command.len() >= s.max(HEADER))
    }
}

fn set(list: &mut [bool], at: usize, value: bool) {
    if let Some(entry) = list.get_mut(at) {
        *entry = value;
    }
}
