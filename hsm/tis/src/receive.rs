//! Reading a response from the FIFO (PTP, command completion).

use crate::{Cause, HEADER, MAX_TRANSFER, Register, RegisterBus, Tis, crc::crc16, register::sts};
use embedded_hal::delay::DelayNs;

/// `TPM_ST_NO_SESSIONS`, `TPM_ST_SESSIONS`, and `TPM_ST_RSP_COMMAND` (a TPM that does not know the command's tag).
const TAGS: [[u8; 2]; 3] = [[0x80, 0x01], [0x80, 0x02], [0x00, 0xc4]];

impl<B: RegisterBus, D: DelayNs> Tis<B, D> {
    /// The header, as much as it announces, and nothing after it.
    pub(crate) fn receive(&mut self, response: &mut [u8]) -> Result<usize, Cause> {
        let capacity = response.len();
        let until = self.until(self.config.timeouts.b_us);
        let mut header = [0; HEADER];
        self.drain(&mut header, 0, HEADER, until)?;
        let size = size_of(&header, capacity)?;
        let whole = response.get_mut(..size).ok_or(Cause::ResponseBuffer { capacity })?;
        let (head, body) = whole.split_at_mut(HEADER);
        head.copy_from_slice(&header);
        self.drain(body, HEADER, size, until)?;
        if self.valid_status()?.has(sts::DATA_AVAIL) {
            return Err(Cause::ResponseTooLong { size });
        }
        self.compare_response(whole)?;
        Ok(size)
    }

    /// Fills `rest`, the part of the response from `got` on, in bursts.
    fn drain(
        &mut self,
        mut rest: &mut [u8],
        mut got: usize,
        size: usize,
        until_us: u64,
    ) -> Result<(), Cause> {
        while !rest.is_empty() {
            if self.clock.now_us() >= until_us {
                return Err(Cause::Deadline);
            }
            self.wait_for_data(got, size)?;
            let n = rest.len().min(self.burst).min(MAX_TRANSFER);
            let (now, later) = rest.split_at_mut(n);
            self.read(self.config.locality, Register::DataFifo, now)?;
            self.burst -= n;
            got += n;
            rest = later;
        }
        Ok(())
    }

    /// At the beginning data may still be on its way (after `responseRetry`); later its absence is the end.
    fn wait_for_data(&mut self, got: usize, size: usize) -> Result<(), Cause> {
        let until = self.until(if got == 0 { self.config.timeouts.c_us } else { self.config.timeouts.a_us });
        let mut pause = self.config.poll.first_us;
        while self.burst == 0 {
            let status = self.valid_status()?;
            let there = status.has(sts::DATA_AVAIL);
            if there {
                self.burst = status.burst;
            }
            if !there && got > 0 {
                return Err(Cause::ResponseCutShort { got, size });
            }
            if self.burst == 0 {
                self.pause(&mut pause, until).map_err(|()| Cause::NoBurst { sts: status.bits })?;
            }
        }
        Ok(())
    }

    fn compare_response(&mut self, response: &[u8]) -> Result<(), Cause> {
        self.in_time()?;
        let Some(chip) = self.bus.checksum(&mut self.clock, self.config.locality)? else { return Ok(()) };
        let host = crc16(response);
        if host == chip { Ok(()) } else { Err(Cause::ResponseChecksum { host, chip }) }
    }
}

/// The size in a response's header, if it is one and fits.
fn size_of(header: &[u8; HEADER], capacity: usize) -> Result<usize, Cause> {
    let [t0, t1, s0, s1, s2, s3, ..] = *header;
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if !TAGS.contains(&[t0, t1]) || (size as usize) < HEADER {
        return Err(Cause::ResponseHeader { header: *header });
    }
    if size as usize > capacity {
        return Err(Cause::ResponseTooLarge { size, capacity });
    }
    Ok(size as usize)
}
