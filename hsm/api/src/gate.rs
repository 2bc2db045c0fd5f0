//! A gate before signers: once closed, no signature leaves.

use crate::{HsmError, Signer};
use gw_proto::{PublicKey, Signature};
use std::sync::{Arc, OnceLock};

/// Open until somebody closes it; never opens again. Shared by all signers of a box.
#[derive(Debug, Default)]
pub struct Gate {
    closed: OnceLock<String>,
}

impl Gate {
    /// An open gate.
    pub fn open() -> Arc<Self> {
        Arc::default()
    }
    /// Closes it, at once: it waits for no signer. The first reason stays.
    pub fn close(&self, why: &str) {
        let _ = self.closed.set(why.to_owned());
    }
    /// Why it is closed.
    pub fn closed(&self) -> Option<&str> {
        self.closed.get().map(String::as_str)
    }
    /// Refuses when closed. Ask again before a signature is handed on, wherever it has waited.
    pub fn check(&self) -> Result<(), HsmError> {
        self.closed().map_or(Ok(()), |why| Err(HsmError::Closed(why.to_owned())))
    }
    /// Puts `signer` behind this gate.
    pub fn guard(self: &Arc<Self>, signer: Arc<dyn Signer>) -> SignerGate {
        SignerGate { signer, gate: self.clone() }
    }
}

/// A signer behind a [`Gate`].
///
/// The gate is asked before the device and again after it: a signature that the device finishes after the gate
/// was closed is dropped. A signature that passed the second look a moment before is out: whoever holds it longer than
/// it takes to write it to a socket asks [`Gate::check`] again.
pub struct SignerGate {
    signer: Arc<dyn Signer>,
    gate: Arc<Gate>,
}

impl std::fmt::Debug for SignerGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignerGate({:?})", self.gate)
    }
}

impl Signer for SignerGate {
    fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.gate.check()?;
        let signature = self.signer.sign_digest(digest)?;
        self.gate.check()?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closes the gate while it signs, as a case opened in mid-signature does.
    struct ClosesWhileSigning(Arc<Gate>, PublicKey);
    impl Signer for ClosesWhileSigning {
        fn public_key(&self) -> &PublicKey {
            &self.1
        }
        fn sign_digest(&self, _: &[u8; 32]) -> Result<Signature, HsmError> {
            self.0.close("the case was opened");
            Ok(signature())
        }
    }
    /// Counts what reaches the device.
    struct Counts(std::sync::atomic::AtomicU32, PublicKey);
    impl Signer for Counts {
        fn public_key(&self) -> &PublicKey {
            &self.1
        }
        fn sign_digest(&self, _: &[u8; 32]) -> Result<Signature, HsmError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(signature())
        }
    }
    fn signature() -> Signature {
        gw_proto::Hex([7; 64])
    }
    fn key() -> PublicKey {
        PublicKey { scheme: gw_proto::Scheme::Sm2Sm3, point: gw_proto::Hex([1; 64]) }
    }

    #[test]
    fn a_signature_in_flight_is_dropped() {
        let gate = Gate::open();
        let signer = gate.guard(Arc::new(ClosesWhileSigning(gate.clone(), key())));
        let error = signer.sign_digest(&[0; 32]).unwrap_err();
        assert_eq!(error.to_string(), "the signer is closed: the case was opened");
    }

    #[test]
    fn a_closed_gate_asks_the_device_nothing_and_keeps_its_first_reason() {
        let gate = Gate::open();
        let device = Arc::new(Counts(0.into(), key()));
        let signer = gate.guard(device.clone());
        signer.sign_digest(&[0; 32]).unwrap();
        gate.close("first");
        gate.close("second");
        assert!(matches!(signer.sign_digest(&[0; 32]), Err(HsmError::Closed(why)) if why == "first"));
        assert_eq!(device.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
