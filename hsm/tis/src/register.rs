//! Registers and their bits, named as in the PTP.

/// A register of the FIFO interface; where it lies depends on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Register {
    /// `TPM_ACCESS`, 1 byte: who has the locality.
    Access,
    /// `TPM_INTF_CAPABILITY` on SPI, `TPM_I2C_INTERFACE_CAPABILITY` on I2C, 4 bytes.
    InterfaceCapability,
    /// `TPM_STS`, 4 bytes: state, burst count, cancel.
    Sts,
    /// `TPM_DATA_FIFO`: commands in, responses out.
    DataFifo,
    /// `TPM_DID_VID`, 4 bytes: device and vendor.
    DidVid,
    /// `TPM_RID`, 1 byte: revision.
    Rid,
}

impl Register {
    /// Offset in a locality's page of 4 KiB (PTP, allocation of register space for FIFO access).
    #[must_use]
    pub const fn offset(self) -> u16 {
        match self {
            Self::Access => 0x000,
            Self::InterfaceCapability => 0x014,
            Self::Sts => 0x018,
            Self::DataFifo => 0x024,
            Self::DidVid => 0xf00,
            Self::Rid => 0xf04,
        }
    }

    /// Address on I2C (PTP, I2C-TPM register overview).
    #[must_use]
    pub const fn i2c_address(self) -> u8 {
        match self {
            Self::Access => 0x04,
            Self::InterfaceCapability => 0x30,
            Self::Sts => 0x18,
            Self::DataFifo => 0x24,
            Self::DidVid => 0x48,
            Self::Rid => 0x4c,
        }
    }

    /// The register's name in the PTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "TPM_ACCESS",
            Self::InterfaceCapability => "TPM_INTF_CAPABILITY",
            Self::Sts => "TPM_STS",
            Self::DataFifo => "TPM_DATA_FIFO",
            Self::DidVid => "TPM_DID_VID",
            Self::Rid => "TPM_RID",
        }
    }
}

/// Who speaks to the chip; 0 is ordinary software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Locality {
    /// ordinary software
    #[default]
    Zero,
    /// the operating system of a dynamic launch
    One,
    /// its loader
    Two,
    /// auxiliary components
    Three,
    /// the processor's trusted hardware
    Four,
}

impl Locality {
    /// All five, from 0.
    pub const ALL: [Self; 5] = [Self::Zero, Self::One, Self::Two, Self::Three, Self::Four];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// First bytes of an SPI address: TPM registers lie at `0xD4_xxxx`.
pub const SPI_PAGE: u8 = 0xd4;

/// Bits of `TPM_ACCESS`.
pub mod access {
    /// The other bits can be believed.
    pub const VALID: u8 = 0x80;
    /// This locality has the chip; writing 1 gives it up.
    pub const ACTIVE_LOCALITY: u8 = 0x20;
    /// A higher locality took the chip from this one; writing 1 clears it.
    pub const BEEN_SEIZED: u8 = 0x10;
    /// Write only: take the chip from a lower locality.
    pub const SEIZE: u8 = 0x08;
    /// Another locality waits.
    pub const PENDING_REQUEST: u8 = 0x04;
    /// This locality waits; writing 1 asks.
    pub const REQUEST_USE: u8 = 0x02;
    /// No dynamic launch since power-up.
    pub const ESTABLISHMENT: u8 = 0x01;
    /// Bits that read as 0.
    pub const READ_ZERO: u8 = 0x48;
}

/// Bits of the first byte of `TPM_STS`.
pub mod sts {
    /// `Expect` and `dataAvail` can be believed.
    pub const VALID: u8 = 0x80;
    /// Ready for a command; writing 1 makes ready, or aborts what goes on.
    pub const COMMAND_READY: u8 = 0x40;
    /// Write only: run the command.
    pub const GO: u8 = 0x20;
    /// A response, or more of it, waits.
    pub const DATA_AVAIL: u8 = 0x10;
    /// The command is not complete.
    pub const EXPECT: u8 = 0x08;
    /// The self test has been done.
    pub const SELF_TEST_DONE: u8 = 0x04;
    /// Write only: begin again with the response.
    pub const RESPONSE_RETRY: u8 = 0x02;
    /// Bits that read as 0.
    pub const READ_ZERO: u8 = 0x23;
    /// Bit 24 of the register, in its fourth byte: write only, cancel the running command.
    pub const CANCEL: u8 = 0x01;
}

/// Registers that only I2C has, and their bits.
pub mod i2c {
    /// `TPM_LOC_SEL`, 1 byte: the locality that all other registers are of.
    pub const LOC_SEL: u8 = 0x00;
    /// `TPM_DATA_CSUM_ENABLE`, 1 byte: 1 switches the checksum on.
    pub const DATA_CSUM_ENABLE: u8 = 0x40;
    /// `TPM_DATA_CSUM`, 2 bytes, high byte first: CRC of what went through the FIFO.
    pub const DATA_CSUM: u8 = 0x44;
    /// `GUARD_TIME` of the interface capability: µs from [`GUARD_SHIFT`].
    pub const GUARD_MASK: u32 = 0x0001_fe00;
    /// See [`GUARD_MASK`].
    pub const GUARD_SHIFT: u32 = 9;
    /// The guard time is wanted after a write (before a write, before a read).
    pub const GUARD_AFTER_WRITE: u32 = 0x0006_0000;
    /// The guard time is wanted after a read (before a write, before a read).
    pub const GUARD_AFTER_READ: u32 = 0x0018_0000;
    /// Bit of the capability that reads as 0.
    pub const CAPABILITY_READ_ZERO: u32 = 0x8000_0000;
}
