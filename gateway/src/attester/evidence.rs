//! The bundle: claims, and the chip's word on them, for one challenge in one TLS session.

use super::{RELEASE, Ready, measure::Pcrs, wire::Asked};
use gw_attest::{
    AttestError, Bank, Bundle,
    evidence::{Claims, MAX_BOOT_LOG_BYTES, NodeKey, PROFILE, Pcr, Quote, certify_extra_data},
};
use gw_proto::{B64, Digest, Hex, NodeId};
use hsm_api::{
    HsmError,
    attest::{Attestor, MeasurementHash},
};
use std::{io::Read as _, path::Path, sync::Arc};

/// The chip that attests; on boards with one chip it holds the node key too.
pub struct Chip {
    /// statements
    pub attestor: Arc<dyn Attestor>,
    /// measurements
    pub pcrs: Arc<dyn Pcrs>,
    /// the bank in use
    pub bank: Bank,
    /// name of the node key
    pub node_key: String,
    /// TPMT_PUBLIC of the node key
    pub node_area: Vec<u8>,
    /// certificate of the endorsement key, DER; or why there is none
    pub endorsement: Result<Vec<u8>, String>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The chip.
    #[error("the chip gives no evidence")]
    Chip(#[from] HsmError),
    /// What it said has no form.
    #[error(transparent)]
    Form(#[from] AttestError),
    /// The firmware's log.
    #[error("attestation.event_log: {path} cannot be read, or has more than {MAX_BOOT_LOG_BYTES} bytes")]
    Log {
        /// which
        path: String,
        /// why
        source: std::io::Error,
    },
}

/// The chip's hash, as evidence names it.
pub fn bank(hash: MeasurementHash) -> Bank {
    match hash {
        MeasurementHash::Sha256 => Bank::Sha256,
        MeasurementHash::Sm3 => Bank::Sm3,
    }
}

/// Makes a bundle. Two signatures of the chip: blocks.
pub fn make(
    ready: &Ready,
    device: &NodeId,
    asked: &Asked,
    channel: &Digest,
) -> Result<Bundle, EvidenceError> {
    let chip = &ready.chip;
    let claims = Claims {
        eat_nonce: asked.nonce,
        device: device.clone(),
        release: RELEASE.to_owned(),
        attestation_key: B64(chip.attestor.attestation_key().public_area),
        endorsement_chain: chip.endorsement.iter().cloned().map(B64).collect(),
        boot_log: ready.boot_log.as_deref().map(boot_log).transpose()?,
        measured: ready.measured.clone(),
        node_key: certified(chip, device, &asked.nonce, channel)?,
        inventory: ready.inventory.clone(),
        configuration: ready.configuration,
    };
    let pcrs: Vec<u8> = asked.pcrs.iter().copied().collect();
    let quote = chip.attestor.quote(&claims.extra_data(channel)?, &pcrs)?;
    let values = quote.pcrs.into_iter().map(|(pcr, value)| Pcr { pcr, value: Hex(value) });
    let quote = Quote {
        attested: B64(quote.statement.attested),
        signature: quote.statement.signature,
        hash: bank(quote.statement.hash),
        bank: bank(quote.bank),
        pcrs: values.collect(),
    };
    Ok(Bundle { eat_profile: PROFILE.to_owned(), claims, quote })
}

fn certified(
    chip: &Chip,
    device: &NodeId,
    nonce: &Hex<32>,
    channel: &Digest,
) -> Result<NodeKey, EvidenceError> {
    let said = chip.attestor.certify(&chip.node_key, &certify_extra_data(nonce, device, channel)?)?;
    Ok(NodeKey::Certified {
        public_area: B64(chip.node_area.clone()),
        signer: B64(chip.attestor.attestation_key().public_area),
        attested: B64(said.attested),
        signature: said.signature,
        hash: bank(said.hash),
    })
}

fn boot_log(path: &Path) -> Result<B64, EvidenceError> {
    let failed = |source| EvidenceError::Log { path: path.display().to_string(), source };
    let mut out = Vec::new();
    let limit = u64::try_from(MAX_BOOT_LOG_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|f| f.take(limit).read_to_end(&mut out)).map_err(failed)?;
    if out.len() > MAX_BOOT_LOG_BYTES {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(B64(out))
}
