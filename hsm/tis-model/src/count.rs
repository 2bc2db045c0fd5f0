//! Bytes on the bus, and the fewest there can be.

/// What has happened on the bus since the model was made or [`crate::Model::reset_counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// all bytes clocked, headers, addresses and wait states included
    pub bytes: u64,
    /// transfers begun: chip selects, or I2C starts
    pub transfers: u64,
    /// bytes that went into or came out of the FIFO
    pub payload: u64,
    /// SPI wait states
    pub wait_states: u64,
    /// looks at `TPM_STS`
    pub status_reads: u64,
    /// FIFO accesses beyond the burst count: the driver's fault, unless the bus is disturbed
    pub overruns: u64,
    /// I2C starts before the guard time was over: the driver's fault, unless the bus is disturbed
    pub early: u64,
    /// I2C addresses not acknowledged
    pub refused: u64,
    /// commands executed
    pub commands: u64,
}

const HEADER: u64 = 4;
const STATUS: u64 = HEADER + 1;
const STATUS_AND_BURST: u64 = HEADER + 4;
const MAX: u64 = 64;

/// The fewest bytes on SPI that carry a command of `command` bytes and its response of `response` bytes through
/// the FIFO state machine: bursts of 64, no wait states, ready and done at the first look, each register
/// touched once where the PTP wants it (ready, burst count, `Expect`, go, `dataAvail` and burst count,
/// header, rest, nothing left, idle).
#[must_use]
pub const fn minimum_spi_bytes(command: u64, response: u64) -> u64 {
    let rest = response.saturating_sub(10);
    let send = STATUS + STATUS_AND_BURST + transfers(command) * HEADER + command + STATUS;
    let run = STATUS + STATUS_AND_BURST;
    let receive = HEADER + 10 + transfers(rest) * HEADER + rest + STATUS + STATUS;
    send + run + receive
}

const fn transfers(bytes: u64) -> u64 {
    bytes.div_ceil(MAX)
}
