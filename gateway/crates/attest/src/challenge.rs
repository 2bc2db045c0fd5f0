//! Nonces of a verifier: each once, for one device in one session, for a short time.

use gw_proto::{Digest, Hex, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a verifier asks of a device. Kept with the bundle, so that it can be verified again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// fresh random bytes
    pub nonce: Hex<32>,
    /// only this device may answer
    pub device: NodeId,
    /// exporter of the TLS session it is asked in
    pub channel: Digest,
    /// no later than this
    pub expires: UnixMillis,
}

/// Why an answer finds no challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoChallenge {
    /// as many as devices may be asked at once
    #[error("{capacity} devices are being asked already; ask again when some have answered")]
    Full {
        /// challenges open at most
        capacity: usize,
    },
    /// never given, used before, or forgotten by a restart
    #[error(
        "no such nonce is open for this device: it was used, replaced, or the verifier restarted; ask for another"
    )]
    Unknown,
    /// too late
    #[error("the nonce has expired; ask for another")]
    Expired,
}

/// Open challenges, one per device. They live in memory: a restarted verifier knows none and asks anew.
#[derive(Debug)]
pub struct Challenges {
    open: BTreeMap<NodeId, Challenge>,
    capacity: usize,
}

impl Challenges {
    /// At most `capacity` devices are asked at once.
    pub fn new(capacity: usize) -> Self {
        Self { open: BTreeMap::new(), capacity }
    }

    /// Opens a challenge; an older one of the same device ends.
    pub fn open(&mut self, challenge: Challenge, now: UnixMillis) -> Result<(), NoChallenge> {
        self.open.remove(&challenge.device);
        if self.open.len() >= self.capacity {
            self.open.retain(|_, c| now < c.expires);
        }
        if self.open.len() >= self.capacity {
            return Err(NoChallenge::Full { capacity: self.capacity });
        }
        self.open.insert(challenge.device.clone(), challenge);
        Ok(())
    }

    /// Takes the challenge that an answer names: whatever comes of it, it is used up. A wrong nonce uses up
    /// nothing, or a stranger could end others' challenges.
    pub fn take(
        &mut self,
        device: &NodeId,
        nonce: &Hex<32>,
        now: UnixMillis,
    ) -> Result<Challenge, NoChallenge> {
        let open = self.open.get(device).is_some_and(|c| c.nonce == *nonce);
        let taken = if open { self.open.remove(device) } else { None };
        let challenge = taken.ok_or(NoChallenge::Unknown)?;
        if now >= challenge.expires { Err(NoChallenge::Expired) } else { Ok(challenge) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(device: &str, nonce: u8) -> Challenge {
        let device = NodeId::parse(device).unwrap();
        Challenge { nonce: Hex([nonce; 32]), device, channel: Hex([9; 32]), expires: UnixMillis(100) }
    }

    #[test]
    fn a_nonce_is_good_once_for_one_device_for_its_time() {
        let mut all = Challenges::new(2);
        let (a, b) = (challenge("gw-a", 1), challenge("gw-b", 2));
        all.open(a.clone(), UnixMillis(0)).unwrap();
        all.open(b.clone(), UnixMillis(0)).unwrap();
        let now = UnixMillis(50);
        assert_eq!(all.take(&a.device, &b.nonce, now), Err(NoChallenge::Unknown));
        assert_eq!(all.take(&a.device, &a.nonce, now), Ok(a.clone()));
        assert_eq!(all.take(&a.device, &a.nonce, now), Err(NoChallenge::Unknown));
        assert_eq!(all.take(&b.device, &b.nonce, UnixMillis(100)), Err(NoChallenge::Expired));
        // after a restart
        assert_eq!(Challenges::new(2).take(&b.device, &b.nonce, now), Err(NoChallenge::Unknown));
    }

    #[test]
    fn there_is_room_for_so_many_and_expired_ones_make_room() {
        let mut all = Challenges::new(1);
        all.open(challenge("gw-a", 1), UnixMillis(0)).unwrap();
        all.open(challenge("gw-a", 2), UnixMillis(0)).unwrap(); // replaces
        let full = all.open(challenge("gw-b", 3), UnixMillis(99));
        assert_eq!(full, Err(NoChallenge::Full { capacity: 1 }));
        all.open(challenge("gw-b", 3), UnixMillis(100)).unwrap();
    }
}
