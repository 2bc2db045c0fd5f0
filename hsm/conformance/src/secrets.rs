//! An entropy source that remembers what it gave, and a search for that in text.

use base64::Engine as _;
use hsm_api::{Entropy, HsmError};
use std::sync::{Arc, Mutex, PoisonError};

/// Wraps a source and keeps every draw: private keys are made of them, so none may be printed.
#[derive(Clone)]
pub struct RecordingEntropy {
    inner: Arc<dyn Entropy>,
    drawn: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RecordingEntropy {
    /// Records what `inner` gives.
    pub fn new(inner: Arc<dyn Entropy>) -> Self {
        Self { inner, drawn: Arc::default() }
    }
    /// Everything drawn so far.
    pub fn drawn(&self) -> Vec<Vec<u8>> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Entropy for RecordingEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.inner.fill(out)?;
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push(out.to_vec());
        Ok(())
    }
}

/// Whether a text shows at least 8 bytes of a secret: as it is, in hex, in base64, or as a list of numbers.
pub fn shows(text: &str, secret: &[u8]) -> bool {
    let lower = text.to_lowercase();
    let tight: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if secret.len() < 8 {
        return false;
    }
    // base64 of a part depends on where the part begins: three alignments, without the ends
    let encoded = (0..3).filter_map(|skip| {
        let whole = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret.get(skip..)?);
        whole.get(..whole.len().saturating_sub(2)).map(str::to_owned)
    });
    let in_base64 = encoded.into_iter().any(|e| e.len() >= 8 && tight.contains(&e));
    let in_parts = secret.windows(8).any(|part| {
        let numbers: Vec<String> = part.iter().map(u8::to_string).collect();
        lower.contains(&hex::encode(part))
            || tight.contains(&numbers.join(","))
            || text.as_bytes().windows(8).any(|w| w == part)
    });
    in_base64 || in_parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found_and_nothing_else() {
        let secret: Vec<u8> = (100..132).collect();
        let b64 = base64::engine::general_purpose::STANDARD.encode(&secret);
        for text in [
            format!("key={}", hex::encode(&secret)),
            format!("key={}", hex::encode_upper(&secret)),
            format!("part {}", hex::encode(&secret[11..19])),
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("b64 {b64}"),
            "passphrase: defghijklmnop".to_owned(),
        ] {
            assert!(shows(&text, &secret), "{text}");
        }
        for text in ["", "SoftKeyStore(hidden)", "646566", "100, 101, 102", &hex::encode([7; 32])] {
            assert!(!shows(text, &secret), "{text}");
        }
    }
}
