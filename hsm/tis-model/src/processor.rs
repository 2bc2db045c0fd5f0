//! What executes commands behind the registers.

/// A TPM without its interface: whole commands in, whole responses out.
pub trait Processor: Send {
    /// Executes one command. What comes back is what the FIFO holds after the modelled time.
    fn execute(&mut self, command: &[u8]) -> Executed;

    /// The chip was reset.
    fn reset(&mut self) {}
}

/// A response and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// the whole response
    pub response: Vec<u8>,
    /// modelled time, µs
    pub us: u64,
}

/// Closures for short tests; the time is 100 µs.
impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Processor for F {
    fn execute(&mut self, command: &[u8]) -> Executed {
        Executed { response: self(command), us: 100 }
    }
}

/// A response of nothing but a code (TPM 2.0 part 1, response header).
pub(crate) fn code_only(code: u32) -> Vec<u8> {
    let mut out = vec![0x80, 0x01, 0, 0, 0, 10];
    out.extend(code.to_be_bytes());
    out
}
