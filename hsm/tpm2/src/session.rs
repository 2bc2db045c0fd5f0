//! Sessions: salted, HMAC-authenticated, first parameters encrypted (TPM 2.0 part 1, 17 to 21).
//!
//! A listener on the bus does not have the salt: it is encrypted to a key of the chip whose public half is
//! pinned. So he reads no authorization value and no sealed secret, and each change of a bit is noticed: by
//! the chip in commands, by us in answers.

use crate::{
    command::Command,
    crypt::{self, Way},
    error::TpmError,
    rc,
    secret::Secret,
    wire::{Params, Reader},
};
use hsm_api::Entropy;
use p256::{
    AffinePoint, NonZeroScalar, ProjectivePoint, Sec1Point,
    elliptic_curve::sec1::{FromSec1Point as _, ToSec1Point as _},
};
use zeroize::{Zeroize as _, Zeroizing};

const CONTINUE: u8 = 0x01;
const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;
const AUDIT: u8 = 0x80;
const NONCE_BYTES: usize = 16;
/// the longest nonce that a chip answers with
const MAX_NONCE: usize = 64;

/// The chip's key that salts sessions: P-256, its name checked against the pin.
#[derive(Debug, Clone)]
pub(crate) struct SaltKey {
    pub(crate) handle: u32,
    /// x ‖ y
    pub(crate) point: [u8; 64],
}

/// A salt, and what the chip needs to find it.
pub(crate) struct Salt {
    pub(crate) value: Zeroizing<[u8; 32]>,
    /// TPMS_ECC_POINT
    pub(crate) encrypted: Zeroizing<Vec<u8>>,
}

impl SaltKey {
    /// A fresh salt by ECDH with an ephemeral key (part 1, C.6.1 and 19.6.13).
    pub(crate) fn salt(&self, entropy: &dyn Entropy) -> Result<Salt, TpmError> {
        let bad = || TpmError::Input { what: "the storage key's point is not on P-256".to_owned() };
        let (x, y) = self.point.split_at(32);
        let encoded = Sec1Point::from_bytes([&[4][..], x, y].concat()).map_err(|_| bad())?;
        let public: AffinePoint = Option::from(AffinePoint::from_sec1_point(&encoded)).ok_or_else(bad)?;
        let secret = Zeroizing::new(ephemeral(entropy)?);
        let ours = (ProjectivePoint::GENERATOR * **secret).to_affine();
        let shared = (ProjectivePoint::from(public) * **secret).to_affine();
        let (our_x, our_y) = coordinates(&ours);
        let (z, _) = coordinates(&shared);
        let value = crypt::kdf_e(&*z, b"SECRET", &*our_x, x);
        let params = Params::new().sized(&*our_x).sized(&*our_y);
        Ok(Salt { value, encrypted: params.finish(tpm2_protocol::data::TpmCc::StartAuthSession)? })
    }
}

fn ephemeral(entropy: &dyn Entropy) -> Result<NonZeroScalar, TpmError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    loop {
        entropy.fill(&mut *bytes)?;
        // one draw in 2^32 is not below the group's order
        if let Some(scalar) = Option::from(NonZeroScalar::from_repr((*bytes).into())) {
            return Ok(scalar);
        }
    }
}

fn coordinates(point: &AffinePoint) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let encoded = point.to_sec1_point(false);
    let mut bytes = Zeroizing::new([0u8; 64]);
    if let Some(xy) = encoded.as_bytes().get(1..65) {
        bytes.copy_from_slice(xy);
    }
    let (mut x, mut y) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    x.copy_from_slice(bytes.get(..32).unwrap_or(&[0; 32]));
    y.copy_from_slice(bytes.get(32..).unwrap_or(&[0; 32]));
    (x, y)
}

/// A session that the chip knows.
pub(crate) struct Session {
    pub(crate) handle: u32,
    key: Zeroizing<Vec<u8>>,
    nonce_chip: Vec<u8>,
    nonce_ours: [u8; NONCE_BYTES],
    /// policy sessions prove the policy; the authorization value is not part of their HMAC
    policy: bool,
}

impl Session {
    /// After StartAuthSession: without a salt the session key is empty (part 1, 19.6.8).
    pub(crate) fn started(
        handle: u32,
        salt: Option<&Salt>,
        nonce_ours: [u8; NONCE_BYTES],
        nonce_chip: &[u8],
        policy: bool,
    ) -> Result<Self, TpmError> {
        if nonce_chip.len() < NONCE_BYTES || nonce_chip.len() > MAX_NONCE {
            let what = format!("a nonce of {} bytes", nonce_chip.len());
            return Err(TpmError::Malformed { command: "StartAuthSession", what });
        }
        let key = match salt {
            Some(s) => crypt::kdf_a(&*s.value, b"ATH", nonce_chip, &nonce_ours).to_vec(),
            None => Vec::new(),
        };
        Ok(Self { handle, key: Zeroizing::new(key), nonce_chip: nonce_chip.to_vec(), nonce_ours, policy })
    }

    pub(crate) fn fresh_nonce(entropy: &dyn Entropy) -> Result<[u8; NONCE_BYTES], TpmError> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        Ok(nonce)
    }

    pub(crate) fn roll(&mut self, entropy: &dyn Entropy) -> Result<(), TpmError> {
        self.nonce_ours = Self::fresh_nonce(entropy)?;
        Ok(())
    }

    /// The key of parameter encryption: session key and authorization value (part 1, 21.2).
    fn value(&self, auth: &Secret) -> Zeroizing<Vec<u8>> {
        let mut value = Zeroizing::new(Vec::with_capacity(self.key.len() + auth.bytes().len()));
        value.extend_from_slice(&self.key);
        value.extend_from_slice(auth.bytes());
        value
    }

    fn hmac_key(&self, auth: &Secret) -> Zeroizing<Vec<u8>> {
        if self.policy { self.key.clone() } else { self.value(auth) }
    }

    fn can_hide(&self) -> bool {
        !self.key.is_empty()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.nonce_ours.zeroize();
        self.nonce_chip.zeroize();
    }
}

/// A session's part in one command.
pub(crate) struct Part<'a> {
    pub(crate) session: &'a mut Session,
    /// of the entity it authorizes; empty if it authorizes none
    pub(crate) auth: &'a Secret,
    /// of that entity after the command, where the command changes it
    pub(crate) auth_after: Option<&'a Secret>,
    /// whether it authorizes a handle
    pub(crate) authorizes: bool,
}

/// Encrypts the first parameter if it is worth hiding, and writes the authorization area. The first session
/// does the hiding.
pub(crate) fn authorize(
    command: &mut Command,
    parts: &mut [Part<'_>],
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let mut attributes = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let hides = i == 0 && part.session.can_hide();
        let mut a = CONTINUE;
        a |= if hides && command.hide { DECRYPT } else { 0 };
        a |= if hides && command.hide_answer { ENCRYPT } else { 0 };
        // a session that neither authorizes nor hides must audit (part 1, 17.6): it still has an HMAC
        a |= if !part.authorizes && a == CONTINUE { AUDIT } else { 0 };
        attributes.push(a);
    }
    if let (Some(part), Some(a)) = (parts.first(), attributes.first())
        && a & DECRYPT != 0
    {
        hide(command, part)?;
    }
    let names: Vec<&[u8]> = command.handles.iter().map(|h| h.name.as_slice()).collect();
    let code = command.code.value().to_be_bytes();
    let cp_hash = crypt::sha256(&[&[&code[..]], &names[..], &[&command.params[..]]].concat());
    let mut area = Params::new();
    for (part, a) in parts.iter().zip(&attributes) {
        let s = &part.session;
        let key = s.hmac_key(part.auth);
        let mac = crypt::hmac_sha256(&key, &[&cp_hash, &s.nonce_ours, &s.nonce_chip, &[*a]]);
        area = area.u32(s.handle).sized(&s.nonce_ours).u8(*a).sized(&*mac);
    }
    area.finish(command.code)
}

fn hide(command: &mut Command, part: &Part<'_>) -> Result<(), TpmError> {
    let short = TpmError::TooLong { command: rc::name(command.code) };
    let s = &part.session;
    let Some((length, rest)) = command.params.split_first_chunk_mut::<2>() else { return Err(short) };
    let n = usize::from(u16::from_be_bytes(*length));
    let Some(data) = rest.get_mut(..n) else { return Err(short) };
    crypt::parameter(Way::ToChip, &s.value(part.auth), &s.nonce_ours, &s.nonce_chip, data);
    Ok(())
}

/// Checks the HMACs of an answer, rolls the chip's nonces and decrypts the first parameter.
pub(crate) fn accept(
    command: &Command,
    parts: &mut [Part<'_>],
    params: &mut [u8],
    area: &[u8],
) -> Result<(), TpmError> {
    let code = command.code.value().to_be_bytes();
    let rp_hash = crypt::sha256(&[&0u32.to_be_bytes(), &code, params]);
    let mut reader = Reader::new(command.code, area);
    for (i, part) in parts.iter_mut().enumerate() {
        let nonce = reader.sized()?;
        let attributes = reader.u8()?;
        let mac = reader.sized()?;
        let auth = part.auth_after.unwrap_or(part.auth);
        let key = part.session.hmac_key(auth);
        let expected = crypt::hmac_sha256(&key, &[&rp_hash, nonce, &part.session.nonce_ours, &[attributes]]);
        if !crypt::same(&*expected, mac) || !(NONCE_BYTES..=MAX_NONCE).contains(&nonce.len()) {
            return Err(TpmError::Forged { command: command.name() });
        }
        part.session.nonce_chip = nonce.to_vec();
        let hidden = i == 0 && part.session.can_hide() && command.hide_answer;
        if hidden != (attributes & ENCRYPT != 0) {
            return Err(TpmError::Forged { command: command.name() });
        }
        if hidden {
            reveal(command, part, auth, params)?;
        }
    }
    reader.end()
}

fn reveal(command: &Command, part: &Part<'_>, auth: &Secret, params: &mut [u8]) -> Result<(), TpmError> {
    let bad = || TpmError::malformed(command.code, "its hidden parameter is too short");
    let s = &part.session;
    let (length, rest) = params.split_first_chunk_mut::<2>().ok_or_else(bad)?;
    let data = rest.get_mut(..usize::from(u16::from_be_bytes(*length))).ok_or_else(bad)?;
    crypt::parameter(Way::FromChip, &s.value(auth), &s.nonce_chip, &s.nonce_ours, data);
    Ok(())
}
