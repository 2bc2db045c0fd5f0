//! Commands and responses that carry a seal, so that a test sees any change of a byte.
//!
//! What HMAC sessions do for a real TPM, without one: whatever the wire does, a response that
//! [`SealedCommand::judge`] calls right is the answer to exactly this command.

use crate::{
    processor::{Executed, Processor, code_only},
    rng::Rng,
};
use std::{collections::hash_map::DefaultHasher, hash::Hasher as _};

const TAG: [u8; 2] = [0x80, 0x01];
/// No command has this code. As all of the TCG's it begins with zeros: when a byte of the size gets lost, what
/// follows must not spell a size that happens to fit (a vendor's code, 0x20…, behind a size of 0x21 does).
const CODE: [u8; 4] = [0, 0, 0x01, 0xff];
const SEAL: usize = 8;
/// Header, number, size wanted.
const FIXED: usize = 10 + 8 + 2;
/// `TPM_RC_INTEGRITY`
const REFUSED: u32 = 0x9f;

/// Executes [`SealedCommand`]s; refuses everything else with `TPM_RC_INTEGRITY`.
#[derive(Debug)]
pub struct Sealed {
    us: u64,
}

impl Sealed {
    /// Each command takes `us`.
    #[must_use]
    pub const fn new(us: u64) -> Self {
        Self { us }
    }
}

impl Processor for Sealed {
    fn execute(&mut self, command: &[u8]) -> Executed {
        let response = if opens(command) { answer(command) } else { code_only(REFUSED) };
        Executed { response, us: self.us }
    }
}

/// A command with its number, padding and seal.
#[derive(Debug, Clone)]
pub struct SealedCommand {
    bytes: Vec<u8>,
}

/// What a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Exactly the answer to this command.
    Right,
    /// Recognizably not: refused by the chip, damaged, or the answer to another command.
    Rejected,
    /// Its seal is good, but it is not the answer: must never be.
    Wrong,
}

impl SealedCommand {
    /// Number `number`, with `padding` bytes more than needed, asking for `want` bytes of answer.
    #[must_use]
    pub fn new(number: u64, padding: u16, want: u16) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(TAG);
        bytes.extend([0; 4]);
        bytes.extend(CODE);
        bytes.extend(number.to_be_bytes());
        bytes.extend(want.to_be_bytes());
        let mut rng = Rng::new(number);
        bytes.extend((0..padding).map(|_| rng.byte()));
        Self { bytes: finish(bytes) }
    }

    /// As it goes to the chip.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Size of the answer.
    #[must_use]
    pub fn answer_size(&self) -> usize {
        answer(&self.bytes).len()
    }

    /// True for the answer to this command, byte for byte.
    #[must_use]
    pub fn is_right(&self, response: &[u8]) -> bool {
        response == answer(&self.bytes)
    }

    /// As the end of a session would see the response.
    #[must_use]
    pub fn judge(&self, response: &[u8]) -> Judgement {
        let ours = response.get(10..18) == self.bytes.get(10..18);
        match (opens(response) && ours, self.is_right(response)) {
            (true, true) => Judgement::Right,
            (true, false) => Judgement::Wrong,
            (false, _) => Judgement::Rejected,
        }
    }
}

/// Number and derived bytes, sealed. Both sides compute it.
fn answer(command: &[u8]) -> Vec<u8> {
    let number = command.get(10..18).unwrap_or_default();
    let want = command.get(18..FIXED).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes);
    let mut bytes = Vec::new();
    bytes.extend(TAG);
    bytes.extend([0; 8]);
    bytes.extend(number);
    let mut rng = Rng::new(hash(command));
    bytes.extend((0..want).map(|_| rng.byte()));
    finish(bytes)
}

/// Size into the header, seal behind.
fn finish(mut bytes: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(bytes.len() + SEAL).unwrap_or(u32::MAX).to_be_bytes();
    for (to, from) in bytes.iter_mut().skip(TAG.len()).zip(size) {
        *to = from;
    }
    let seal = hash(&bytes).to_be_bytes();
    bytes.extend(seal);
    bytes
}

fn opens(bytes: &[u8]) -> bool {
    let Some((content, seal)) = bytes.split_last_chunk::<SEAL>() else { return false };
    content.len() >= 18 && hash(content).to_be_bytes() == *seal
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let command = SealedCommand::new(7, 30, 50);
        let right = Sealed::new(1).execute(command.bytes()).response;
        assert_eq!((command.judge(&right), right.len()), (Judgement::Right, command.answer_size()));
        for at in 0..right.len() {
            let mut bent = right.clone();
            bent[at] ^= 0x10;
            assert_eq!(command.judge(&bent), Judgement::Rejected, "byte {at}");
        }
        for at in 0..command.bytes().len() {
            let mut bent = command.bytes().to_vec();
            bent[at] ^= 1;
            assert_eq!(Sealed::new(1).execute(&bent).response, code_only(REFUSED), "byte {at}");
        }
        assert_eq!(SealedCommand::new(8, 30, 50).judge(&right), Judgement::Rejected);
    }
}
