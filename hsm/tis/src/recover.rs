//! Opening the interface, at first and after each failure.

use crate::{
    Cause, Identity, Locality, Register, RegisterBus, Tis,
    register::{access, sts},
};
use embedded_hal::delay::DelayNs;

impl<B: RegisterBus, D: DelayNs> Tis<B, D> {
    pub(crate) fn reopen(&mut self) -> Result<Identity, Cause> {
        self.in_time()?;
        self.bus.prepare(&mut self.clock)?;
        self.access_valid()?;
        let identity = self.identify()?;
        for locality in Locality::ALL {
            self.give_up(locality)?;
        }
        self.request()?;
        self.identity = Some(identity);
        Ok(identity)
    }

    /// Who answers: someone, of the pinned vendor. Read anew each time: the first may have been misread.
    fn identify(&mut self) -> Result<Identity, Cause> {
        let did_vid = self.someone()?;
        let [v0, v1, d0, d1] = did_vid.to_le_bytes();
        let (vendor, device) = (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([d0, d1]));
        if let Some(expected) = self.config.vendor.filter(|v| *v != vendor) {
            return Err(Cause::WrongVendor { expected, found: vendor });
        }
        let mut revision = [0];
        self.read(self.config.locality, Register::Rid, &mut revision)?;
        let capability = self.word(Register::InterfaceCapability)?;
        Ok(Identity { vendor, device, revision: revision[0], capability })
    }

    fn someone(&mut self) -> Result<u32, Cause> {
        let did_vid = self.word(Register::DidVid)?;
        if did_vid == 0 || did_vid == u32::MAX { Err(Cause::NoChip { did_vid }) } else { Ok(did_vid) }
    }

    fn word(&mut self, register: Register) -> Result<u32, Cause> {
        let mut raw = [0; 4];
        self.read(self.config.locality, register, &mut raw)?;
        Ok(u32::from_le_bytes(raw))
    }

    /// After a reset `TPM_ACCESS` needs up to `TIMEOUT_D`. Without a chip it never becomes valid.
    fn access_valid(&mut self) -> Result<(), Cause> {
        let until = self.until(self.config.timeouts.d_us);
        let mut pause = self.config.poll.first_us;
        loop {
            let access = self.access(self.config.locality)?;
            if access & access::VALID != 0 && access & access::READ_ZERO == 0 {
                return Ok(());
            }
            if self.pause(&mut pause, until).is_err() {
                self.someone()?;
                return Err(Cause::AccessNotValid { access });
            }
        }
    }

    /// Stops what a locality does and gives it up. All of them: the chip is ours alone, and a disturbed request
    /// may have gone to another locality, which would keep ours out for good.
    fn give_up(&mut self, locality: Locality) -> Result<(), Cause> {
        let access = self.access(locality)?;
        // a locality that the chip does not have reads as all ones
        if access & access::VALID == 0 || access & access::READ_ZERO != 0 {
            return Ok(());
        }
        if access & access::ACTIVE_LOCALITY != 0 {
            self.write(locality, Register::Sts, &[sts::COMMAND_READY])?;
        }
        if access & (access::ACTIVE_LOCALITY | access::REQUEST_USE) != 0 {
            self.write(locality, Register::Access, &[access::ACTIVE_LOCALITY])?;
        }
        Ok(())
    }

    fn request(&mut self) -> Result<(), Cause> {
        let locality = self.config.locality;
        self.write(locality, Register::Access, &[access::REQUEST_USE])?;
        let until = self.until(self.config.timeouts.a_us);
        let mut pause = self.config.poll.first_us;
        let mine = access::VALID | access::ACTIVE_LOCALITY;
        loop {
            let access = self.access(locality)?;
            if access & mine == mine && access & access::READ_ZERO == 0 {
                return Ok(());
            }
            self.pause(&mut pause, until).map_err(|()| Cause::LocalityRefused { locality, access })?;
        }
    }
}
