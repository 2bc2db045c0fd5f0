//! Signatures that were made elsewhere (openssl, an HSM's tool): checked, then attached.

use crate::ManifestError;
use gw_attest::reference::{Manifest, ManifestSignature, SignedManifest};
use gw_proto::{PublicKey, Signature};

/// A manifest with its signatures, each of which verifies.
pub fn seal(manifest: Manifest, by: &[(PublicKey, Signature)]) -> Result<SignedManifest, ManifestError> {
    let input = manifest.signing_input()?;
    let mut signatures = Vec::new();
    for (number, (key, signature)) in (1..).zip(by) {
        gw_sm::verify(key, &input, signature).map_err(|_| ManifestError::Signature { number })?;
        signatures.push(ManifestSignature { key: key.id(), signature: *signature });
    }
    Ok(SignedManifest { manifest, signatures })
}
