//! What the chip says of itself: quotes, certified keys, credentials.

use super::keys;
use crate::{
    chip::{Auth, Chip},
    command::{Answer, Command, Entity},
    error::TpmError,
    secret::Secret,
    wire::{self, Params},
};
use gw_proto::Signature;
use hsm_api::attest::Credential;
use tpm2_protocol::{
    TpmUnmarshal as _,
    data::{TpmCc, TpmSt, TpmlPcrSelection, TpmsAttest},
};
use zeroize::Zeroizing;

/// A signed TPMS_ATTEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// TPMS_ATTEST, as signed
    pub bytes: Vec<u8>,
    /// r ‖ s
    pub signature: Signature,
}

/// the key has its scheme
const NULL: u16 = 0x0010;
/// TPM2B_DATA takes a hash and its identifier; verifiers use 32 bytes
const MAX_NONCE: usize = 32;

fn nonce_fits(nonce: &[u8]) -> Result<(), TpmError> {
    if nonce.len() > MAX_NONCE {
        return Err(TpmError::Input { what: format!("a nonce has at most {MAX_NONCE} bytes") });
    }
    Ok(())
}

/// Quote: a digest of PCRs, signed by a restricted key.
pub fn quote(
    chip: &mut Chip,
    key: &Entity,
    auth: &Secret,
    nonce: &[u8],
    pcrs: &TpmlPcrSelection,
) -> Result<Attested, TpmError> {
    nonce_fits(nonce)?;
    let params = Params::new().sized(nonce).u16(NULL).put(pcrs);
    let command = Command::new(TpmCc::Quote, &[key], params)?.hidden().answer_hidden();
    attested(&chip.run(command, &mut [Auth::Value(auth)])?, TpmSt::AttestQuote)
}

/// Certify: says that `object` is in the chip, signed by `key`.
pub fn certify(
    chip: &mut Chip,
    object: (&Entity, &Secret),
    key: (&Entity, &Secret),
    nonce: &[u8],
) -> Result<Attested, TpmError> {
    nonce_fits(nonce)?;
    let params = Params::new().sized(nonce).u16(NULL);
    let command = Command::new(TpmCc::Certify, &[object.0, key.0], params)?.hidden().answer_hidden();
    let auths = &mut [Auth::Value(object.1), Auth::Value(key.1)];
    attested(&chip.run(command, auths)?, TpmSt::AttestCertify)
}

fn attested(answer: &Answer, kind: TpmSt) -> Result<Attested, TpmError> {
    let mut reader = answer.reader();
    let bytes = reader.sized()?.to_vec();
    let signature = keys::signature(answer.code, &reader.structure()?)?;
    reader.end()?;
    let readable =
        TpmsAttest::unmarshal(&bytes).is_ok_and(|(a, rest)| a.attest_type == kind && rest.is_empty());
    if !readable {
        return Err(TpmError::malformed(answer.code, "it attests something else"));
    }
    Ok(Attested { bytes, signature })
}

/// MakeCredential: a secret (at most 32 bytes) that only the chip with `key` and the object of this name
/// can read. The verifier's side; needs no authorization.
pub fn make_credential(
    chip: &mut Chip,
    key: &Entity,
    secret: &[u8],
    object_name: &[u8],
) -> Result<Credential, TpmError> {
    let params = Params::new().sized(secret).sized(object_name);
    let command = Command::new(TpmCc::MakeCredential, &[key], params)?.hidden().answer_hidden();
    let answer = chip.run(command, &mut [])?;
    let mut reader = answer.reader();
    let credential = Credential { blob: reader.sized()?.to_vec(), secret: reader.sized()?.to_vec() };
    reader.end()?;
    Ok(credential)
}

/// ActivateCredential: the challenge's secret, if both keys are in this chip.
pub fn activate_credential(
    chip: &mut Chip,
    object: (&Entity, &Secret),
    endorsement: (&Entity, Auth<'_>),
    credential: &Credential,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let fits = credential.blob.len() <= wire::MAX_BYTES / 4 && credential.secret.len() <= wire::MAX_BYTES / 4;
    if !fits {
        return Err(TpmError::Input { what: "a credential is not that long".to_owned() });
    }
    let params = Params::new().sized(&credential.blob).sized(&credential.secret);
    let command = Command::new(TpmCc::ActivateCredential, &[object.0, endorsement.0], params)?;
    let auths = &mut [Auth::Value(object.1), endorsement.1];
    let answer = chip.run(command.hidden().answer_hidden(), auths)?;
    let mut reader = answer.reader();
    let secret = Zeroizing::new(reader.sized()?.to_vec());
    reader.end()?;
    Ok(secret)
}
