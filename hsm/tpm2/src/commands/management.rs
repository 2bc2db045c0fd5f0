//! Start-up, self test, capabilities, random bytes, lockout, clear.

use crate::{
    chip::{Auth, Chip},
    command::{Command, Entity, LONG},
    error::TpmError,
    secret::Secret,
    wire::Params,
};
use hsm_api::attest::MeasurementHash;
use std::time::Duration;
use tpm2_protocol::data::TpmCc;

/// Startup(CLEAR); one that was started already, by firmware or by us, is fine.
pub fn startup(chip: &mut Chip) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::Startup, &[], Params::new().u16(0))?;
    match chip.run_plain(command) {
        // TPM_RC_INITIALIZE, which elsewhere says that a startup is missing
        Err(TpmError::Stale { .. }) | Ok(_) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Shutdown(CLEAR), before power goes: without it the chip may count a failed authorization.
pub fn shutdown(chip: &mut Chip) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::Shutdown, &[], Params::new().u16(0))?;
    chip.run_plain(command).map(drop)
}

/// SelfTest(full), then GetTestResult: an error unless the chip is sound.
pub fn self_test(chip: &mut Chip) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::SelfTest, &[], Params::new().u8(1))?.takes(LONG);
    let tested = chip.run_plain(command);
    if let Err(TpmError::FailureMode { .. }) = tested {
        return Err(failure(chip));
    }
    tested?;
    let command = Command::new(TpmCc::GetTestResult, &[], Params::new())?;
    let answer = chip.run_plain(command)?;
    let mut reader = answer.reader();
    let data = reader.sized()?.to_vec();
    match reader.u32()? {
        0 => reader.end(),
        code => Err(TpmError::FailureMode { detail: detail(code, &data) }),
    }
}

/// A chip in failure mode still answers GetTestResult (part 1, 12.4).
fn failure(chip: &mut Chip) -> TpmError {
    let read = || -> Result<String, TpmError> {
        let answer = chip.run_plain(Command::new(TpmCc::GetTestResult, &[], Params::new())?)?;
        let mut reader = answer.reader();
        let data = reader.sized()?.to_vec();
        Ok(detail(reader.u32()?, &data))
    };
    let mut read = read;
    TpmError::FailureMode { detail: read().unwrap_or_else(|_| "no test result".to_owned()) }
}

fn detail(code: u32, data: &[u8]) -> String {
    let shown: String = data.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("test result {code:#x}, data {shown}")
}

/// GetRandom, encrypted on its way. The chip gives at most 32 bytes at once; this fills the whole buffer.
pub fn random(chip: &mut Chip, out: &mut [u8]) -> Result<(), TpmError> {
    for chunk in out.chunks_mut(32) {
        let wanted = u16::try_from(chunk.len()).unwrap_or(32);
        let command = Command::new(TpmCc::GetRandom, &[], Params::new().u16(wanted))?.answer_hidden();
        let answer = chip.run(command, &mut [])?;
        let mut reader = answer.reader();
        let bytes = reader.sized()?;
        reader.end()?;
        if bytes.len() != chunk.len() {
            let what = format!("{} random bytes instead of {}", bytes.len(), chunk.len());
            return Err(TpmError::malformed(TpmCc::GetRandom, what));
        }
        chunk.copy_from_slice(bytes);
    }
    Ok(())
}

/// One page of GetCapability, without interpretation: `tpm2-protocol` refuses a whole list for one value it
/// does not know. The property is the first wanted.
fn capability<'a>(
    chip: &mut Chip,
    kind: u32,
    first: u32,
    answer: &'a mut Vec<u8>,
) -> Result<&'a [u8], TpmError> {
    let params = Params::new().u32(kind).u32(first).u32(64);
    let got = chip.run_plain(Command::new(TpmCc::GetCapability, &[], params)?)?;
    let mut reader = got.reader();
    let _more = reader.u8()?;
    if reader.u32()? != kind {
        return Err(TpmError::malformed(TpmCc::GetCapability, "another capability"));
    }
    *answer = reader.rest().to_vec();
    Ok(answer)
}

fn list(bytes: &[u8], item: usize) -> Result<impl Iterator<Item = &[u8]>, TpmError> {
    let bad = || TpmError::malformed(TpmCc::GetCapability, "its list has another length");
    let (count, items) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
    let count = usize::try_from(u32::from_be_bytes(*count)).unwrap_or(usize::MAX);
    if count.checked_mul(item) != Some(items.len()) {
        return Err(bad());
    }
    Ok(items.chunks_exact(item))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b))
}

/// TPM_CAP_ALGS: the algorithms the chip implements.
pub fn algorithms(chip: &mut Chip) -> Result<Vec<u16>, TpmError> {
    let mut buffer = Vec::new();
    let bytes = capability(chip, 0, 0, &mut buffer)?;
    let items = list(bytes, 6)?;
    Ok(items.filter_map(|i| i.first_chunk::<2>()).map(|a| u16::from_be_bytes(*a)).collect())
}

/// TPM_CAP_ECC_CURVES.
pub fn curves(chip: &mut Chip) -> Result<Vec<u16>, TpmError> {
    let mut buffer = Vec::new();
    let bytes = capability(chip, 8, 0, &mut buffer)?;
    let items = list(bytes, 2)?;
    Ok(items.filter_map(|i| i.first_chunk::<2>()).map(|a| u16::from_be_bytes(*a)).collect())
}

/// TPM_CAP_HANDLES: at most 64 handles of the kind that `first` begins.
pub fn handles(chip: &mut Chip, first: u32) -> Result<Vec<u32>, TpmError> {
    let mut buffer = Vec::new();
    let bytes = capability(chip, 1, first, &mut buffer)?;
    Ok(list(bytes, 4)?.map(number).collect())
}

/// TPM_CAP_TPM_PROPERTIES: number and value, from `first` on.
pub fn properties(chip: &mut Chip, first: u32) -> Result<Vec<(u32, u32)>, TpmError> {
    let mut buffer = Vec::new();
    let bytes = capability(chip, 6, first, &mut buffer)?;
    let items = list(bytes, 8)?;
    Ok(items.map(|i| i.split_at(4)).map(|(p, v)| (number(p), number(v))).collect())
}

/// TPM_CAP_PCRS: the banks that have PCRs.
pub fn banks(chip: &mut Chip) -> Result<Vec<u16>, TpmError> {
    let mut buffer = Vec::new();
    let bytes = capability(chip, 5, 0, &mut buffer)?;
    let mut reader = crate::wire::Reader::new(TpmCc::GetCapability, bytes);
    let mut banks = Vec::new();
    for _ in 0..reader.u32()?.min(16) {
        let hash = reader.u16()?;
        let size = reader.u8()?;
        if reader.take(usize::from(size))?.iter().any(|b| *b != 0) {
            banks.push(hash);
        }
    }
    Ok(banks)
}

/// What the chip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipInfo {
    /// four letters registered with the TCG
    pub manufacturer: String,
    /// the vendor's own text
    pub vendor: String,
    /// firmware, two words
    pub firmware: (u32, u32),
    /// whether it makes SM2 keys
    pub sm2: bool,
    /// the hash of attestations and PCRs: SM3 where the chip has it
    pub hash: MeasurementHash,
    /// the PCR bank that is used
    pub bank: MeasurementHash,
    /// places for transient objects
    pub transient_slots: u32,
}

const SM3: u16 = 0x0012;
const SM2: u16 = 0x001b;
const SM2_CURVE: u16 = 0x0020;

/// Asks the chip what it is and what it can do.
pub fn info(chip: &mut Chip) -> Result<ChipInfo, TpmError> {
    let algorithms = algorithms(chip)?;
    let curves = curves(chip)?;
    let banks = banks(chip)?;
    let properties = properties(chip, 0x100)?;
    let property = |wanted| properties.iter().find(|(p, _)| *p == wanted).map_or(0, |(_, v)| *v);
    let hash = |has_sm3| if has_sm3 { MeasurementHash::Sm3 } else { MeasurementHash::Sha256 };
    let text = |words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| property(*w).to_be_bytes()).collect();
        let printable = bytes.iter().filter(|b| b.is_ascii_graphic() || **b == b' ');
        printable.map(|b| char::from(*b)).collect::<String>().trim().to_owned()
    };
    Ok(ChipInfo {
        manufacturer: text(&[0x105]),
        vendor: text(&[0x106, 0x107, 0x108, 0x109]),
        firmware: (property(0x10b), property(0x10c)),
        sm2: algorithms.contains(&SM2) && curves.contains(&SM2_CURVE),
        hash: hash(algorithms.contains(&SM3)),
        bank: hash(banks.contains(&SM3)),
        transient_slots: property(0x10e).max(3),
    })
}

/// The state of the dictionary-attack protection (part 1, 19.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutInfo {
    /// whether guarded keys are refused now
    pub locked: bool,
    /// wrong authorizations counted
    pub failed: u32,
    /// how many lock it
    pub most: u32,
    /// after this time one failure is forgotten
    pub forgets_one_after: Duration,
    /// after a wrong lockout authorization the lockout authority itself is refused for this time
    pub lockout_recovers_after: Duration,
    /// whether the lockout authority has a value
    pub lockout_auth_set: bool,
}

impl LockoutInfo {
    /// How long to wait, in words.
    pub fn wait(&self) -> String {
        let one = self.forgets_one_after.as_secs();
        let lockout = self.lockout_recovers_after.as_secs();
        if self.locked {
            let (failed, most) = (self.failed, self.most);
            return format!("{failed} of {most} failures counted: wait up to {one} s for the next try");
        }
        format!("wait up to {lockout} s without power loss before the lockout authorization is used again")
    }
}

/// Asks for the dictionary-attack protection's state.
pub fn lockout(chip: &mut Chip) -> Result<LockoutInfo, TpmError> {
    let properties = properties(chip, 0x200)?;
    let property = |wanted| properties.iter().find(|(p, _)| *p == wanted).map_or(0, |(_, v)| *v);
    let permanent = property(0x200);
    Ok(LockoutInfo {
        locked: permanent & (1 << 9) != 0,
        failed: property(0x20e),
        most: property(0x20f),
        forgets_one_after: Duration::from_secs(property(0x210).into()),
        lockout_recovers_after: Duration::from_secs(property(0x211).into()),
        lockout_auth_set: permanent & (1 << 2) != 0,
    })
}

/// DictionaryAttackLockReset: forgets the failures.
pub fn reset_lockout(chip: &mut Chip, auth: &Secret) -> Result<(), TpmError> {
    let handles = [&Entity::lockout()];
    let command = Command::new(TpmCc::DictionaryAttackLockReset, &handles, Params::new())?;
    chip.run(command, &mut [Auth::Value(auth)]).map(drop)
}

/// Clear: erases everything of the owner, keys first (part 3, 24.6). By the lockout authorization, which is
/// empty afterwards.
pub fn clear(chip: &mut Chip, auth: &Secret) -> Result<(), TpmError> {
    let command = Command::new(TpmCc::Clear, &[&Entity::lockout()], Params::new())?.takes(LONG);
    let done = chip.run(command, &mut [Auth::Changes(auth, &Secret::empty())]).map(drop);
    chip.drop_sessions();
    done
}

/// Clear by the lockout authority's policy: [`set_lockout_policy`] to `PolicyCommandCode(Clear)`.
pub fn clear_by_policy(chip: &mut Chip) -> Result<(), TpmError> {
    let mut policy = chip.start_policy()?;
    let done = super::policy::command_code(chip, &policy, TpmCc::Clear).and_then(|()| {
        let command = Command::new(TpmCc::Clear, &[&Entity::lockout()], Params::new())?.takes(LONG);
        chip.run(command, &mut [Auth::Policy(&mut policy)]).map(drop)
    });
    chip.end_policy(policy);
    done
}

/// SetPrimaryPolicy of the lockout authority: what may be done without its value.
pub fn set_lockout_policy(chip: &mut Chip, auth: &Secret, policy: &[u8; 32]) -> Result<(), TpmError> {
    let params = Params::new().sized(policy).u16(0x000b);
    let command = Command::new(TpmCc::SetPrimaryPolicy, &[&Entity::lockout()], params)?.hidden();
    chip.run(command, &mut [Auth::Value(auth)]).map(drop)
}

/// HierarchyChangeAuth: gives a hierarchy another authorization value, encrypted on its way.
pub fn change_auth(chip: &mut Chip, hierarchy: &Entity, old: &Secret, new: &Secret) -> Result<(), TpmError> {
    let params = Params::new().sized(new.bytes());
    let command = Command::new(TpmCc::HierarchyChangeAuth, &[hierarchy], params)?.hidden();
    chip.run(command, &mut [Auth::Changes(old, new)]).map(drop)
}
