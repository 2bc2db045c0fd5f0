//! What kind of chip, and how slow.

/// The modelled chip. Times in µs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// low half of `TPM_DID_VID`
    pub vendor: u16,
    /// high half
    pub device: u16,
    /// `TPM_RID`
    pub revision: u8,
    /// localities: 1, or 5
    pub localities: u8,
    /// bytes of wait states before the data of an SPI transfer
    pub wait_states: u8,
    /// bytes per burst, 1 to 64
    pub burst: u8,
    /// from this seed, wait states and bursts vary between nothing (1) and the values above
    pub vary: Option<u64>,
    /// from `requestUse` to the locality
    pub locality_us: u64,
    /// from `commandReady` to ready
    pub ready_us: u64,
    /// status not valid for so long after data or `tpmGo`
    pub settle_us: u64,
    /// out of reset
    pub reset_us: u64,
    /// from `commandCancel` to the answer; `None`: the chip goes on until it is done
    pub cancel_us: Option<u64>,
    /// I2C guard time after each transfer; the chip does not acknowledge earlier. At most 250
    pub guard_us: u8,
    /// SPI frequency
    pub spi_hz: u32,
    /// I2C frequency
    pub i2c_hz: u32,
    /// I2C address
    pub address: u8,
    /// what the host reads when nobody drives the line
    pub idle: u8,
}

impl Default for ModelConfig {
    /// A middling chip: five localities, two wait states, bursts of 32, SPI at 10 MHz, I2C at 400 kHz.
    fn default() -> Self {
        Self {
            vendor: 0x1014,
            device: 0x0001,
            revision: 1,
            localities: 5,
            wait_states: 2,
            burst: 32,
            vary: None,
            locality_us: 10,
            ready_us: 50,
            settle_us: 0,
            reset_us: 5_000,
            cancel_us: Some(1_000),
            guard_us: 20,
            spi_hz: 10_000_000,
            i2c_hz: 400_000,
            address: hsm_tis::DEFAULT_ADDRESS,
            idle: 0xff,
        }
    }
}
