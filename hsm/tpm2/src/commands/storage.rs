//! NV indices and PCRs.

use crate::{
    chip::{Auth, Chip},
    command::{Command, Entity},
    error::TpmError,
    secret::Secret,
    template,
    wire::{self, Params},
};
use hsm_api::attest::MeasurementHash;
use sha2::{Digest as _, Sha384};
use tpm2_protocol::{
    basic::{TpmHandle, TpmUint16},
    data::{
        Tpm2bDigest, TpmAlgId, TpmCc, TpmaNv, TpmlPcrSelection, TpmsNvPublic, TpmsPcrSelect, TpmsPcrSelection,
    },
};

/// PCRs that a selection can name: a PC Client chip has 24.
pub const PCRS: u8 = 24;

/// A selection in one bank.
pub fn selection(bank: MeasurementHash, pcrs: &[u8]) -> Result<TpmlPcrSelection, TpmError> {
    let mut bits = [0u8; 3];
    for pcr in pcrs {
        let byte = bits.get_mut(usize::from(pcr / 8));
        let byte = byte.ok_or_else(|| TpmError::Input { what: format!("there is no PCR {pcr}: 0 to 23") })?;
        *byte |= 1 << (pcr % 8);
    }
    let unfit = |_| TpmError::TooLong { command: "a PCR selection" };
    let pcr_select = TpmsPcrSelect::try_from(&bits[..]).map_err(unfit)?;
    let one = TpmsPcrSelection { hash: template::hash_id(bank), pcr_select };
    let mut list = TpmlPcrSelection::new();
    list.try_push(one).map_err(unfit)?;
    Ok(list)
}

/// PCR_Read, all of the selection: number and value, ascending. One command gives at most eight.
pub fn pcr_read(
    chip: &mut Chip,
    bank: MeasurementHash,
    pcrs: &[u8],
) -> Result<Vec<(u8, [u8; 32])>, TpmError> {
    let mut wanted = pcrs.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let mut values = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(8) {
        let params = Params::new().put(&selection(bank, part)?);
        let answer = chip.run(Command::new(TpmCc::PcrRead, &[], params)?, &mut [])?;
        let bad = |what: &str| TpmError::malformed(answer.code, what);
        let mut reader = answer.reader();
        let _update_counter = reader.u32()?;
        let got: TpmlPcrSelection = reader.structure()?;
        if got != selection(bank, part)? {
            return Err(TpmError::Lacks { what: format!("PCRs {part:?} in its {} bank", bank.as_str()) });
        }
        if usize::try_from(reader.u32()?).ok() != Some(part.len()) {
            return Err(bad("another number of values"));
        }
        for pcr in part {
            let value = reader.sized()?.try_into().map_err(|_| bad("a value of another length"))?;
            values.push((*pcr, value));
        }
        reader.end()?;
    }
    Ok(values)
}

/// PCR_Extend by a digest in one bank.
pub fn pcr_extend(
    chip: &mut Chip,
    bank: MeasurementHash,
    pcr: u8,
    digest: &[u8; 32],
) -> Result<(), TpmError> {
    let params = Params::new().u32(1).u16(template::hash_id(bank).value()).raw(digest);
    let command = Command::new(TpmCc::PcrExtend, &[&Entity::fixed(u32::from(pcr))], params)?;
    chip.run(command, &mut [Auth::Value(&Secret::empty())]).map(drop)
}

/// What an NV index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvIndex {
    /// handle and name; the name changes when it is first written
    pub entity: Entity,
    /// its attributes (part 2, 13.4)
    pub attributes: TpmaNv,
    /// bytes
    pub size: u16,
    /// its policy's digest, or a label in its place (docs/decisions/0021); empty: none
    pub policy: Vec<u8>,
}

impl NvIndex {
    /// Whether it counts.
    pub fn is_counter(&self) -> bool {
        self.attributes.bits() & TpmaNv::COUNTER.bits() != 0
    }
    /// Whether it was ever written.
    pub fn is_written(&self) -> bool {
        self.attributes.bits() & TpmaNv::WRITTEN.bits() != 0
    }
}

/// NV_DefineSpace: a counter of 8 bytes that anybody on the board may read and raise, and only the owner may
/// remove. A counter that is removed and defined anew starts above every value it had (part 1, 37.2.4).
/// `policy` is empty, or 32 bytes: a policy's digest, or a label (docs/decisions/0021).
pub fn define_counter(chip: &mut Chip, owner: &Secret, index: u32, policy: &[u8]) -> Result<(), TpmError> {
    let attributes = TpmaNv::COUNTER | TpmaNv::AUTHWRITE | TpmaNv::AUTHREAD | TpmaNv::NO_DA;
    let public = TpmsNvPublic {
        nv_index: TpmHandle::new(index),
        name_alg: TpmAlgId::Sha256,
        attributes,
        auth_policy: Tpm2bDigest::try_from(policy)
            .map_err(|_| TpmError::Input { what: "a policy digest has 32 bytes".to_owned() })?,
        data_size: TpmUint16::from(8),
    };
    let params = Params::new().sized(&[]).put_sized(&public);
    let command = Command::new(TpmCc::NvDefineSpace, &[&Entity::owner()], params)?.hidden();
    chip.run(command, &mut [Auth::Value(owner)]).map(drop)
}

/// NV_UndefineSpace.
pub fn undefine(chip: &mut Chip, owner: &Secret, index: &Entity) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::NvUndefineSpace, &[&Entity::owner(), index], Params::new())?;
    chip.run(command, &mut [Auth::Value(owner)]).map(drop)
}

/// NV_ReadPublic, in a session: its name goes into policies.
pub fn nv_public(chip: &mut Chip, index: u32, remedy: &'static str) -> Result<NvIndex, TpmError> {
    let handles = [&Entity::fixed(index)];
    // in a session the name of the index is needed, and it is not known yet
    let answer = chip.run_plain(Command::new(TpmCc::NvReadPublic, &handles, Params::new())?);
    // TPM_RC_HANDLE
    let answer = match answer {
        Err(TpmError::Stale { .. }) => return Err(TpmError::NoIndex { index, remedy }),
        other => other?,
    };
    let mut reader = answer.reader();
    let bytes = reader.sized()?;
    let mut inner = wire::Reader::new(answer.code, bytes);
    let public: TpmsNvPublic = inner.structure()?;
    inner.end()?;
    if public.nv_index != TpmHandle::new(index) {
        return Err(TpmError::Forged { command: "NV_ReadPublic" });
    }
    let digest = match public.name_alg {
        TpmAlgId::Sha256 => crate::crypt::sha256(&[bytes]).to_vec(),
        TpmAlgId::Sha384 => Sha384::digest(bytes).to_vec(),
        TpmAlgId::Sm3_256 => gw_proto::sm3(bytes).0.to_vec(),
        other => return Err(TpmError::Lacks { what: format!("NV name of a usable kind ({other})") }),
    };
    let name = [&public.name_alg.value().to_be_bytes()[..], &digest].concat();
    let entity = Entity { handle: index, name };
    let policy = public.auth_policy.to_vec();
    Ok(NvIndex { entity, attributes: public.attributes, size: public.data_size.value(), policy })
}

/// NV_Increment. After an error the value is unknown.
pub fn nv_increment(chip: &mut Chip, index: &Entity) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::NvIncrement, &[index, index], Params::new())?;
    chip.run(command, &mut [Auth::Value(&Secret::empty())]).map(drop)
}

/// NV_Read of the whole index, in pieces.
pub fn nv_read(chip: &mut Chip, index: &NvIndex, by: &Entity, auth: &Secret) -> Result<Vec<u8>, TpmError> {
    /// real chips read 512 bytes or more at once
    const PIECE: u16 = 512;
    let mut data = Vec::with_capacity(usize::from(index.size));
    let mut offset = 0;
    while offset < index.size {
        let size = PIECE.min(index.size - offset);
        let params = Params::new().u16(size).u16(offset);
        let command = Command::new(TpmCc::NvRead, &[by, &index.entity], params)?.answer_hidden();
        let answer = chip.run(command, &mut [Auth::Value(auth)])?;
        let mut reader = answer.reader();
        let piece = reader.sized()?;
        reader.end()?;
        if piece.len() != usize::from(size) {
            return Err(TpmError::malformed(answer.code, "another number of bytes"));
        }
        data.extend_from_slice(piece);
        offset += size;
    }
    Ok(data)
}

/// The value of a counter.
pub fn nv_counter(chip: &mut Chip, index: &NvIndex) -> Result<u64, TpmError> {
    let data = nv_read(chip, index, &index.entity, &Secret::empty())?;
    let bytes = data.first_chunk::<8>().filter(|_| data.len() == 8);
    let bytes = bytes.ok_or_else(|| TpmError::malformed(TpmCc::NvRead, "a counter of another size"))?;
    Ok(u64::from_be_bytes(*bytes))
}
