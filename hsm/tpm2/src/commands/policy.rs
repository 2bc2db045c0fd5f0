//! Policies: sessions led through them, and the digests they lead to (TPM 2.0 part 3, 23).

use super::storage;
use crate::{
    chip::{Auth, Chip, PolicySession},
    command::{Command, Entity},
    crypt,
    error::TpmError,
    secret::Secret,
    wire::{self, Params},
};
use hsm_api::attest::MeasurementHash;
use tpm2_protocol::data::TpmCc;

/// PolicySecret of the endorsement hierarchy, SHA-256 (PolicyA of the EK credential profile).
pub const ENDORSEMENT_SECRET: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// A policy in the making; the same steps lead a session there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// No step yet.
    pub fn start() -> Self {
        Self([0; 32])
    }
    /// PolicyPCR: the PCRs have these values.
    pub fn pcrs(self, bank: MeasurementHash, values: &[(u8, [u8; 32])]) -> Result<Self, TpmError> {
        let numbers: Vec<u8> = values.iter().map(|(n, _)| *n).collect();
        let selection = marshalled(&storage::selection(bank, &numbers)?)?;
        let code = TpmCc::PolicyPcr.value().to_be_bytes();
        Ok(Self(crypt::sha256(&[&self.0, &code, &selection, &pcr_digest(values)])))
    }
    /// PolicyNV: the counter is at most `floor`.
    pub fn counter_at_most(self, index_name: &[u8], floor: u64) -> Self {
        let args = crypt::sha256(&[&floor.to_be_bytes(), &[0, 0], &UNSIGNED_LE.to_be_bytes()]);
        let code = TpmCc::PolicyNv.value().to_be_bytes();
        Self(crypt::sha256(&[&self.0, &code, &args, index_name]))
    }
    /// PolicyCommandCode: only this command.
    pub fn command_code(self, allowed: TpmCc) -> Self {
        let code = TpmCc::PolicyCommandCode.value().to_be_bytes();
        Self(crypt::sha256(&[&self.0, &code, &allowed.value().to_be_bytes()]))
    }
}

/// TPM_EO_UNSIGNED_LE
const UNSIGNED_LE: u16 = 0x0009;

fn marshalled(value: &impl tpm2_protocol::TpmMarshal) -> Result<Vec<u8>, TpmError> {
    wire::marshal(value).ok_or(TpmError::TooLong { command: "a policy" })
}

fn pcr_digest(values: &[(u8, [u8; 32])]) -> [u8; 32] {
    let parts: Vec<&[u8]> = values.iter().map(|(_, v)| v.as_slice()).collect();
    crypt::sha256(&parts)
}

/// PolicyPCR against the PCRs' present values.
pub fn pcrs(
    chip: &mut Chip,
    policy: &PolicySession,
    bank: MeasurementHash,
    pcrs: &[u8],
) -> Result<(), TpmError> {
    let params = Params::new().sized(&[]).put(&storage::selection(bank, pcrs)?);
    chip.run(Command::new(TpmCc::PolicyPcr, &[&policy.entity()], params)?, &mut []).map(drop)
}

/// PolicyNV: fails unless the counter is at most `floor`.
pub fn counter_at_most(
    chip: &mut Chip,
    policy: &PolicySession,
    index: &Entity,
    floor: u64,
) -> Result<(), TpmError> {
    let params = Params::new().sized(&floor.to_be_bytes()).u16(0).u16(UNSIGNED_LE);
    let command = Command::new(TpmCc::PolicyNv, &[index, index, &policy.entity()], params)?;
    chip.run(command, &mut [Auth::Value(&Secret::empty())]).map(drop)
}

/// PolicySecret: the caller knows the authorization value of `entity`.
pub fn secret(
    chip: &mut Chip,
    policy: &PolicySession,
    entity: &Entity,
    auth: &Secret,
) -> Result<(), TpmError> {
    // no nonce, no cpHash, no policyRef, no expiration
    let params = Params::new().sized(&[]).sized(&[]).sized(&[]).u32(0);
    let command = Command::new(TpmCc::PolicySecret, &[entity, &policy.entity()], params)?;
    chip.run(command, &mut [Auth::Value(auth)]).map(drop)
}

/// PolicyCommandCode.
pub fn command_code(chip: &mut Chip, policy: &PolicySession, allowed: TpmCc) -> Result<(), TpmError> {
    let params = Params::new().u32(allowed.value());
    chip.run(Command::new(TpmCc::PolicyCommandCode, &[&policy.entity()], params)?, &mut []).map(drop)
}
