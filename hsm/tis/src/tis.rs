//! One operation after another: command in, response out.

use crate::{
    Cause, Clock, Config, Error, HEADER, Locality, MAX_COMMAND, Register, RegisterBus, Step,
    register::access, register::sts,
};
use embedded_hal::delay::DelayNs;

/// `responseRetry` this often before a response that arrives broken is given up.
const RESPONSE_RETRIES: u32 = 2;
/// A status with impossible bits is read so often again.
const STATUS_READS: u32 = 3;

/// A TPM behind its FIFO interface. Not for sharing: one owner, one operation at a time.
#[derive(Debug)]
pub struct Tis<B, D> {
    pub(crate) bus: B,
    pub(crate) clock: Clock<D>,
    pub(crate) config: Config,
    /// Who answered when the interface was opened last.
    pub(crate) identity: Option<Identity>,
    /// The locality is ours and nothing has failed since.
    clean: bool,
    pub(crate) step: Step,
    /// When the operation as a whole is over, on the clock.
    deadline_us: u64,
    /// Bytes that the chip takes or gives before it must be asked again.
    pub(crate) burst: usize,
}

/// What the chip says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// vendor, as registered with the TCG
    pub vendor: u16,
    /// the vendor's device number
    pub device: u16,
    /// `TPM_RID`
    pub revision: u8,
    /// `TPM_INTF_CAPABILITY`, or I2C's `TPM_I2C_INTERFACE_CAPABILITY`, undecoded
    pub capability: u32,
}

/// `TPM_STS` as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) bits: u8,
    pub(crate) burst: usize,
}

impl Status {
    pub(crate) const fn has(self, bits: u8) -> bool {
        self.bits & bits == bits
    }
}

impl<B: RegisterBus, D: DelayNs> Tis<B, D> {
    /// Touches nothing yet: the first operation opens the interface.
    pub const fn new(bus: B, delay: D, config: Config) -> Self {
        Self {
            bus,
            clock: Clock::new(delay),
            config,
            identity: None,
            clean: false,
            step: Step::Open,
            deadline_us: 0,
            burst: 0,
        }
    }

    /// Sets the interface up, checks who answers, gets the locality. Can be repeated; aborts what the chip does.
    ///
    /// # Errors
    /// [`Error`] with the step [`Step::Open`].
    pub fn open(&mut self) -> Result<Identity, Error> {
        self.start(0);
        let opened = self.recover();
        self.end(opened)
    }

    /// Gives the locality up; the next operation asks for it again.
    ///
    /// # Errors
    /// [`Error`], if the chip cannot be told.
    pub fn close(&mut self) -> Result<(), Error> {
        self.start(0);
        self.step = Step::Open;
        let locality = self.config.locality;
        let closed = self.write(locality, Register::Access, &[access::ACTIVE_LOCALITY]);
        let closed = self.end(closed);
        self.clean = false;
        closed
    }

    /// Sends a command and reads its response into `response`; its size is returned. The chip may execute for
    /// `budget_us`; see [`Self::deadline_us`] for the whole.
    ///
    /// # Errors
    /// [`Error`]; ask [`Error::may_have_run`] before repeating a command.
    pub fn transmit(&mut self, command: &[u8], response: &mut [u8], budget_us: u32) -> Result<usize, Error> {
        self.transmit_unless(command, response, budget_us, || false)
    }

    /// As [`Self::transmit`], but asks `cancelled` at each look at the running chip. Once it says true, the chip
    /// is told to cancel (`commandCancel`) and has `TIMEOUT_B` to answer, with `TPM_RC_CANCELED` or, too late to
    /// stop, the command's own response.
    ///
    /// # Errors
    /// As [`Self::transmit`]; [`Cause::CancelNotAnswered`] if the chip does not answer.
    pub fn transmit_unless(
        &mut self,
        command: &[u8],
        response: &mut [u8],
        budget_us: u32,
        cancelled: impl FnMut() -> bool,
    ) -> Result<usize, Error> {
        self.start(budget_us);
        let result = self.exchange(command, response, budget_us, cancelled);
        self.end(result)
    }

    /// The longest that [`Self::transmit`] takes with this budget, in µs, as the [`Clock`] counts: the budget,
    /// the steps around it, and the transfers during which a deadline passes. (Any other operation: budget 0.)
    #[must_use]
    pub fn deadline_us(&self, budget_us: u32) -> u64 {
        // the transfer that overruns, then one to abort
        let last = 2 * u64::from(self.bus.worst_call_us()) + u64::from(self.config.poll.most_us);
        u64::from(budget_us) + self.config.timeouts.overhead_us() + last
    }

    /// Who answered when the interface was opened last, by [`Self::open`] or after an error; `None` before.
    pub const fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Time counted so far, in µs.
    pub const fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Gives bus and delay back. The locality stays with the chip's idea of it: [`Self::close`] first.
    pub fn release(self) -> (B, D) {
        (self.bus, self.clock.release())
    }

    fn start(&mut self, budget_us: u32) {
        self.step = Step::Check;
        self.deadline_us = self.clock.now_us() + u64::from(budget_us) + self.config.timeouts.overhead_us();
    }

    fn exchange(
        &mut self,
        command: &[u8],
        response: &mut [u8],
        budget_us: u32,
        cancelled: impl FnMut() -> bool,
    ) -> Result<usize, Cause> {
        check(command, response)?;
        self.begin()?;
        self.send(command)?;
        self.execute(budget_us, cancelled)?;
        let size = self.receive_again(response)?;
        // the response is here: if this fails, the next operation makes up for it
        self.clean = self.make_idle().is_ok();
        Ok(size)
    }

    /// Names the step of a failure, and stops what the chip does. Whether that works shows next time.
    fn end<T>(&mut self, result: Result<T, Cause>) -> Result<T, Error> {
        result.map_err(|cause| {
            self.clean &= self.step == Step::Check;
            if self.step > Step::Open {
                let _ = self.make_idle();
            }
            Error { step: self.step, cause }
        })
    }

    fn make_idle(&mut self) -> Result<(), Cause> {
        let locality = self.config.locality;
        self.bus.write(&mut self.clock, locality, Register::Sts, &[sts::COMMAND_READY])?;
        Ok(())
    }

    /// Locality ours, chip ready for a command. A chip that was reset since is opened again: nothing is lost by it.
    fn begin(&mut self) -> Result<(), Cause> {
        if self.clean && self.ready().is_ok() {
            return Ok(());
        }
        self.recover()?;
        self.ready()
    }

    /// Opens anew; from here on nothing of before matters.
    fn recover(&mut self) -> Result<Identity, Cause> {
        self.step = Step::Open;
        self.clean = false;
        let identity = self.reopen()?;
        self.clean = true;
        Ok(identity)
    }

    fn ready(&mut self) -> Result<(), Cause> {
        self.step = Step::Ready;
        let until = self.until(self.config.timeouts.b_us);
        let mut pause = self.config.poll.first_us;
        loop {
            // again each time: a chip in the middle of something needs it once to stop, once more to become ready
            self.write_status(sts::COMMAND_READY)?;
            let status = self.status()?;
            if status.has(sts::VALID | sts::COMMAND_READY) {
                self.burst = status.burst;
                return Ok(());
            }
            self.pause(&mut pause, until).map_err(|()| Cause::NotReady { sts: status.bits })?;
        }
    }

    fn execute(&mut self, budget_us: u32, mut cancelled: impl FnMut() -> bool) -> Result<(), Cause> {
        self.step = Step::Execute;
        self.write_status(sts::GO)?;
        let mut until = self.until(budget_us);
        let mut pause = self.config.poll.first_us;
        let mut cancel_sent = false;
        loop {
            let waited = self.pause(&mut pause, until);
            let status = self.status()?;
            if status.has(sts::VALID | sts::DATA_AVAIL) {
                self.burst = status.burst;
                return Ok(());
            }
            if waited.is_err() {
                let sts = status.bits;
                let late = Cause::NoResponse { budget_us, sts };
                return Err(if cancel_sent { Cause::CancelNotAnswered { sts } } else { late });
            }
            if !cancel_sent && cancelled() {
                self.write(self.config.locality, Register::Sts, &[0, 0, 0, sts::CANCEL])?;
                cancel_sent = true;
                until = self.until(self.config.timeouts.b_us);
            }
        }
    }

    fn receive_again(&mut self, response: &mut [u8]) -> Result<usize, Cause> {
        self.step = Step::Receive;
        let mut left = RESPONSE_RETRIES;
        loop {
            match self.receive(response) {
                Err(cause) if cause.can_read_again() && left > 0 => left -= 1,
                other => return other,
            }
            self.write_status(sts::RESPONSE_RETRY)?;
            self.burst = 0;
        }
    }

    /// Status with `stsValid`, within `TIMEOUT_C`.
    pub(crate) fn valid_status(&mut self) -> Result<Status, Cause> {
        let until = self.until(self.config.timeouts.c_us);
        let mut pause = self.config.poll.first_us;
        loop {
            let status = self.status()?;
            if status.has(sts::VALID) {
                return Ok(status);
            }
            self.pause(&mut pause, until).map_err(|()| Cause::StatusNotValid { sts: status.bits })?;
        }
    }

    /// `TPM_STS`; if it reads as it never can, finds out why.
    pub(crate) fn status(&mut self) -> Result<Status, Cause> {
        let mut bits = 0;
        for _ in 0..STATUS_READS {
            let mut raw = [0; 4];
            self.read(self.config.locality, Register::Sts, &mut raw)?;
            bits = raw[0];
            if bits & sts::READ_ZERO == 0 {
                return Ok(Status { bits, burst: usize::from(u16::from_le_bytes([raw[1], raw[2]])) });
            }
        }
        let access = self.access(self.config.locality)?;
        if access & (access::VALID | access::ACTIVE_LOCALITY) != access::VALID | access::ACTIVE_LOCALITY {
            return Err(Cause::LocalityLost { locality: self.config.locality, access });
        }
        Err(Cause::Garbage { register: Register::Sts, value: bits })
    }

    pub(crate) fn access(&mut self, locality: Locality) -> Result<u8, Cause> {
        let mut raw = [0];
        self.read(locality, Register::Access, &mut raw)?;
        Ok(raw[0])
    }

    pub(crate) fn write_status(&mut self, bits: u8) -> Result<(), Cause> {
        self.write(self.config.locality, Register::Sts, &[bits])
    }

    pub(crate) fn read(
        &mut self,
        locality: Locality,
        register: Register,
        data: &mut [u8],
    ) -> Result<(), Cause> {
        self.in_time()?;
        Ok(self.bus.read(&mut self.clock, locality, register, data)?)
    }

    pub(crate) fn write(&mut self, locality: Locality, register: Register, data: &[u8]) -> Result<(), Cause> {
        self.in_time()?;
        Ok(self.bus.write(&mut self.clock, locality, register, data)?)
    }

    /// Each transfer asks first, so an operation overruns its deadline by one at most.
    pub(crate) fn in_time(&self) -> Result<(), Cause> {
        if self.clock.now_us() < self.deadline_us { Ok(()) } else { Err(Cause::Deadline) }
    }

    /// When a step that begins now must be done.
    pub(crate) fn until(&self, limit_us: u32) -> u64 {
        (self.clock.now_us() + u64::from(limit_us)).min(self.deadline_us)
    }

    /// Waits before the next look, longer each time; fails when the time is up.
    pub(crate) fn pause(&mut self, pause: &mut u32, until_us: u64) -> Result<(), ()> {
        if self.clock.now_us() >= until_us {
            return Err(());
        }
        self.clock.wait_us(*pause);
        *pause = pause.saturating_mul(2).clamp(1, self.config.poll.most_us.max(1));
        Ok(())
    }
}

fn check(command: &[u8], response: &[u8]) -> Result<(), Cause> {
    let length = command.len();
    let announced = command.get(2..6).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let fits = (HEADER..=MAX_COMMAND).contains(&length);
    if !fits || announced.map(|a| a as usize) != Some(length) {
        return Err(Cause::CommandSize { length });
    }
    if response.len() < HEADER {
        return Err(Cause::ResponseBuffer { capacity: response.len() });
    }
    Ok(())
}
