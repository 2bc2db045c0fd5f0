//! Writing a command into the FIFO (PTP, command reception).

use crate::{Cause, MAX_TRANSFER, Register, RegisterBus, Step, Tis, crc::crc16, register::sts};
use embedded_hal::delay::DelayNs;

impl<B: RegisterBus, D: DelayNs> Tis<B, D> {
    /// All bytes, in bursts. The chip must want more until the last byte and none after it: that notices lost,
    /// doubled and shifted bytes, and a changed size.
    pub(crate) fn send(&mut self, command: &[u8]) -> Result<(), Cause> {
        self.step = Step::Send;
        let length = command.len();
        let (body, last) = command.split_at(length.saturating_sub(1));
        let until = self.until(self.config.timeouts.b_us);
        self.fill(body, until)?;
        if !self.expects()? {
            return Err(Cause::CommandCutShort { length });
        }
        self.fill(last, until)?;
        if self.expects()? {
            return Err(Cause::CommandIncomplete { length });
        }
        self.compare(command)
    }

    fn fill(&mut self, mut rest: &[u8], until_us: u64) -> Result<(), Cause> {
        while !rest.is_empty() {
            if self.clock.now_us() >= until_us {
                return Err(Cause::Deadline);
            }
            self.wait_for_burst()?;
            let (now, later) = rest.split_at(rest.len().min(self.burst).min(MAX_TRANSFER));
            self.write(self.config.locality, Register::DataFifo, now)?;
            self.burst -= now.len();
            rest = later;
        }
        Ok(())
    }

    fn wait_for_burst(&mut self) -> Result<(), Cause> {
        let until = self.until(self.config.timeouts.a_us);
        let mut pause = self.config.poll.first_us;
        while self.burst == 0 {
            let status = self.status()?;
            self.burst = status.burst;
            if self.burst == 0 {
                self.pause(&mut pause, until).map_err(|()| Cause::NoBurst { sts: status.bits })?;
            }
        }
        Ok(())
    }

    fn expects(&mut self) -> Result<bool, Cause> {
        let status = self.valid_status()?;
        self.burst = status.burst;
        Ok(status.has(sts::EXPECT))
    }

    fn compare(&mut self, command: &[u8]) -> Result<(), Cause> {
        self.in_time()?;
        let Some(chip) = self.bus.checksum(&mut self.clock, self.config.locality)? else { return Ok(()) };
        let host = crc16(command);
        if host == chip { Ok(()) } else { Err(Cause::CommandChecksum { host, chip }) }
    }
}
