//! Sealing to PCRs and to a floor under the counter.

use crate::{
    chip::{Auth, PolicySession},
    command::Entity,
    commands::{
        self,
        keys::{self, Blob},
        policy, storage,
    },
    device::Open,
    error::TpmError,
    store::Shared,
    template,
};
use hsm_api::{
    HsmError,
    attest::MeasurementHash,
    seal::{SealTo, Sealer},
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Sealed data of a TPM (MAX_SYM_DATA).
const MAX_SECRET: usize = 128;
const MAGIC: &[u8; 8] = b"XGTPMS\0\x01";
const COUNTER_REMEDY: &str = "make it with `xinguan hsm init`";

/// Seals with the storage key.
pub(crate) struct TpmSealer(pub(crate) Arc<Shared>);

impl Sealer for TpmSealer {
    fn seal(&self, secret: &[u8], to: &SealTo) -> Result<Vec<u8>, HsmError> {
        if secret.is_empty() || secret.len() > MAX_SECRET {
            let what = format!("a sealed secret has 1 to {MAX_SECRET} bytes, not {}", secret.len());
            return Err(TpmError::Input { what }.into());
        }
        if to.pcrs.is_empty() && to.floor.is_none() {
            let what = "nothing to seal to: name PCRs, or a floor under the counter".to_owned();
            return Err(TpmError::Input { what }.into());
        }
        let sealed = self.0.device.with(|open| {
            let bank = open.info.bank;
            let steps = Steps { bank, pcrs: sorted(&to.pcrs), floor: to.floor };
            let digest = self.digest(open, &steps)?;
            let template = template::sealed(&digest.0);
            let none = crate::Secret::empty();
            let blob = keys::create(&mut open.chip, &open.storage, &none, secret, &template)?;
            Ok(Sealed { steps, blob })
        })?;
        Ok(sealed.encode())
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let unreadable = || TpmError::Input { what: "this was not sealed by a TPM of ours".to_owned() };
        let sealed = Sealed::decode(sealed).ok_or_else(unreadable)?;
        Ok(self.0.device.with(|open| self.open_sealed(open, &sealed))?)
    }

    fn counter(&self) -> Result<u64, HsmError> {
        Ok(self.0.device.with(|open| {
            let index = self.counter_index(open)?;
            storage::nv_counter(&mut open.chip, &index)
        })?)
    }

    fn raise_counter(&self) -> Result<u64, HsmError> {
        // alone: a second try must not raise it twice
        self.0.device.with(|open| {
            let index = self.counter_index(open)?;
            storage::nv_increment(&mut open.chip, &index.entity)
        })?;
        self.counter()
    }
}

impl TpmSealer {
    fn counter_index(&self, open: &mut Open) -> Result<storage::NvIndex, TpmError> {
        storage::nv_public(&mut open.chip, self.0.counter_index, COUNTER_REMEDY)
    }

    fn digest(&self, open: &mut Open, steps: &Steps) -> Result<policy::Digest, TpmError> {
        let mut digest = policy::Digest::start();
        if !steps.pcrs.is_empty() {
            let values = storage::pcr_read(&mut open.chip, steps.bank, &steps.pcrs)?;
            digest = digest.pcrs(steps.bank, &values)?;
        }
        if let Some(floor) = steps.floor {
            let index = self.counter_index(open)?;
            digest = digest.counter_at_most(&index.entity.name, floor);
        }
        Ok(digest)
    }

    fn open_sealed(&self, open: &mut Open, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        open.flush_keys();
        let object = keys::load(&mut open.chip, &open.storage, &sealed.blob)?;
        let secret = self.unseal_loaded(open, &object.entity, &sealed.steps);
        // on a link that broke there is nothing to flush; the error of the unsealing says more
        let flushed = commands::flush(&mut open.chip, object.entity.handle);
        let secret = secret?;
        flushed?;
        Ok(secret)
    }

    fn unseal_loaded(
        &self,
        open: &mut Open,
        object: &Entity,
        steps: &Steps,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let mut session = open.chip.start_policy()?;
        let unsealed = self
            .walk(open, &session, steps)
            .and_then(|()| keys::unseal(&mut open.chip, object, Auth::Policy(&mut session)));
        open.chip.end_policy(session);
        unsealed
    }

    fn walk(&self, open: &mut Open, session: &PolicySession, steps: &Steps) -> Result<(), TpmError> {
        if !steps.pcrs.is_empty() {
            policy::pcrs(&mut open.chip, session, steps.bank, &steps.pcrs)?;
        }
        if let Some(floor) = steps.floor {
            let index = self.counter_index(open)?;
            policy::counter_at_most(&mut open.chip, session, &index.entity, floor)?;
        }
        Ok(())
    }
}

fn sorted(pcrs: &[u8]) -> Vec<u8> {
    let mut pcrs = pcrs.to_vec();
    pcrs.sort_unstable();
    pcrs.dedup();
    pcrs
}

/// The steps of the policy, beside the blob: changed, they lead elsewhere and the chip refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Steps {
    bank: MeasurementHash,
    pcrs: Vec<u8>,
    floor: Option<u64>,
}

struct Sealed {
    steps: Steps,
    blob: Blob,
}

const MAX_SEALED: usize = 4096;

impl Sealed {
    /// Magic 8, bank 1, count 1, PCRs, floor's presence 1, floor 8, then public and private part, each with
    /// its length in 2.
    fn encode(&self) -> Vec<u8> {
        let bank = u8::from(self.steps.bank == MeasurementHash::Sm3);
        let count = u8::try_from(self.steps.pcrs.len()).unwrap_or(u8::MAX);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[bank, count]);
        out.extend_from_slice(&self.steps.pcrs);
        out.push(u8::from(self.steps.floor.is_some()));
        out.extend_from_slice(&self.steps.floor.unwrap_or(0).to_be_bytes());
        for part in [&self.blob.public, &self.blob.private] {
            out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC).filter(|_| bytes.len() <= MAX_SEALED)?;
        let ([bank, count], rest) = rest.split_first_chunk::<2>()?;
        let bank = [MeasurementHash::Sha256, MeasurementHash::Sm3].get(usize::from(*bank)).copied()?;
        let (pcrs, rest) = rest.split_at_checked(usize::from(*count))?;
        let ([has_floor], rest) = rest.split_first_chunk::<1>()?;
        let (floor, rest) = rest.split_first_chunk::<8>()?;
        let floor = match has_floor {
            0 => None,
            1 => Some(u64::from_be_bytes(*floor)),
            _ => return None,
        };
        let (public, rest) = sized(rest)?;
        let (private, rest) = sized(rest)?;
        let in_order = pcrs.is_sorted_by(|a, b| a < b) && pcrs.iter().all(|p| *p < storage::PCRS);
        let whole = rest.is_empty() && in_order;
        let blob = Blob { public: public.to_vec(), private: private.to_vec() };
        whole.then(|| Self { steps: Steps { bank, pcrs: pcrs.to_vec(), floor }, blob })
    }
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_as_written_and_every_cut_is_refused() {
        let steps = Steps { bank: MeasurementHash::Sha256, pcrs: vec![0, 7, 23], floor: Some(9) };
        let blob = Blob { public: vec![1, 2], private: vec![3] };
        let bytes = Sealed { steps: steps.clone(), blob }.encode();
        let read = Sealed::decode(&bytes).unwrap();
        assert_eq!((read.steps, read.blob.private), (steps, vec![3]));
        for cut in 0..bytes.len() {
            assert!(Sealed::decode(&bytes[..cut]).is_none());
        }
        assert!(Sealed::decode(&[&bytes[..], &[0]].concat()).is_none());
    }
}
