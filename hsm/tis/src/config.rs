//! What a caller can set, each default with its reason.

use crate::Locality;

/// How the driver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The locality to work in; 0 unless the platform says otherwise.
    pub locality: Locality,
    /// The vendor that must answer (low half of `TPM_DID_VID`); any, if `None`.
    pub vendor: Option<u16>,
    /// How long the chip may take for each step.
    pub timeouts: Timeouts,
    /// How often the chip is asked.
    pub poll: Poll,
}

impl Default for Config {
    fn default() -> Self {
        Self { locality: Locality::Zero, vendor: None, timeouts: Timeouts::default(), poll: Poll::default() }
    }
}

/// Interface timeouts in µs (PTP: `TIMEOUT_A` to `TIMEOUT_D`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Locality granted; burst count above 0.
    pub a_us: u32,
    /// Ready for a command; a cancelled command answered.
    pub b_us: u32,
    /// Status valid; response there again after `responseRetry`.
    pub c_us: u32,
    /// `TPM_ACCESS` valid after a reset.
    pub d_us: u32,
}

impl Default for Timeouts {
    /// The PTP's values.
    fn default() -> Self {
        Self { a_us: 750_000, b_us: 2_000_000, c_us: 200_000, d_us: 30_000 }
    }
}

impl Timeouts {
    /// What an operation may take beside the execution of its command, in µs: the locality, making ready twice
    /// (the second time after recovering), and the transfer of the data.
    #[must_use]
    pub const fn overhead_us(&self) -> u64 {
        self.a_us as u64 + 2 * self.b_us as u64 + self.c_us as u64 + self.d_us as u64
    }
}

/// Waiting between looks at the chip: from `first_us`, doubled each time, up to `most_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// First wait, µs.
    pub first_us: u32,
    /// Longest wait, µs.
    pub most_us: u32,
}

impl Default for Poll {
    /// Short beside a signature (0.6 ms simulated, 100 ms on a chip), and few bytes on the bus.
    fn default() -> Self {
        Self { first_us: 100, most_us: 2_000 }
    }
}
