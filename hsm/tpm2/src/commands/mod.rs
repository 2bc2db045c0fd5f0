//! The commands, one function each (TPM 2.0 part 3).
//!
//! | module | what |
//! |---|---|
//! | [`management`] | start-up, self test, capabilities, random, lockout, clear |
//! | [`keys`] | create, load, persist, sign, agree |
//! | [`attest`] | quote, certify, credentials |
//! | [`storage`] | NV indices, PCRs |
//! | [`policy`] | policy sessions, and the digests they lead to |

pub mod attest;
pub mod keys;
pub mod management;
pub mod policy;
pub mod storage;

use crate::{
    chip::Chip,
    command::{Command, Entity},
    error::TpmError,
    wire::Params,
};
use tpm2_protocol::data::TpmCc;

/// StartAuthSession: AES-128-CFB, SHA-256. Gives the handle and the chip's nonce.
pub(crate) fn start_auth_session(
    chip: &mut Chip,
    salt_key: u32,
    nonce: &[u8],
    encrypted_salt: &[u8],
    policy: bool,
) -> Result<(u32, Vec<u8>), TpmError> {
    const AES_128_CFB: [u16; 3] = [0x0006, 128, 0x0043];
    const SHA256: u16 = 0x000b;
    let mut params = Params::new().sized(nonce).sized(encrypted_salt).u8(u8::from(policy));
    for part in AES_128_CFB {
        params = params.u16(part);
    }
    let handles = [&Entity::fixed(salt_key), &Entity::null()];
    let command = Command::new(TpmCc::StartAuthSession, &handles, params.u16(SHA256))?;
    let answer = chip.run_plain(command.gives_handle())?;
    let mut reader = answer.reader();
    let nonce = reader.sized()?.to_vec();
    reader.end()?;
    Ok((answer.handle, nonce))
}

/// FlushContext: forgets a transient object or a session.
pub fn flush(chip: &mut Chip, handle: u32) -> Result<(), TpmError> {
    // the handle is a parameter here, not a handle (part 3, 28.4)
    let command = Command::new(TpmCc::FlushContext, &[], Params::new().u32(handle))?;
    chip.run_plain(command).map(drop)
}
