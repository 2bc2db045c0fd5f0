//! Keys: made, loaded, persisted, used.

use crate::{
    chip::{Auth, Chip},
    command::{Answer, Command, Entity, LONG},
    error::TpmError,
    rc,
    secret::Secret,
    template,
    wire::Params,
};
use gw_proto::{Hex, Signature};
use tpm2_protocol::data::{TpmCc, TpmsEccPoint, TpmtPublic, TpmtSignature, TpmuSignature};
use zeroize::Zeroizing;

/// An object that the chip holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// handle and name
    pub entity: Entity,
    /// its public area
    pub public: TpmtPublic,
}

/// A key as it is kept outside: useless without the chip.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    /// TPMT_PUBLIC
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE without its size, encrypted by the parent
    pub private: Vec<u8>,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blob")
    }
}

/// TPM2B_SENSITIVE_CREATE.
fn sensitive(auth: &Secret, data: &[u8], code: TpmCc) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    Params::new().sized(auth.bytes()).sized(data).finish(code)
}

fn creation(auth: &Secret, data: &[u8], public: &TpmtPublic, code: TpmCc) -> Result<Params, TpmError> {
    // no outside information, no creation PCRs
    Ok(Params::new().sized(&sensitive(auth, data, code)?).put_sized(public).sized(&[]).u32(0))
}

/// CreatePrimary: derived from the hierarchy's seed, the same each time.
pub fn create_primary(
    chip: &mut Chip,
    hierarchy: &Entity,
    auth: &Secret,
    template: &TpmtPublic,
) -> Result<Object, TpmError> {
    let code = TpmCc::CreatePrimary;
    let params = creation(&Secret::empty(), &[], template, code)?;
    let command = Command::new(code, &[hierarchy], params)?.hidden().gives_handle().takes(LONG);
    let answer = chip.run(command, &mut [Auth::Value(auth)])?;
    let mut reader = answer.reader();
    let public = sized_public(&answer, reader.sized()?)?;
    object(answer.handle, public)
}

fn sized_public(answer: &Answer, bytes: &[u8]) -> Result<TpmtPublic, TpmError> {
    template::parse(bytes).ok_or_else(|| TpmError::malformed(answer.code, "its public area cannot be read"))
}

fn object(handle: u32, public: TpmtPublic) -> Result<Object, TpmError> {
    let name = template::name_of(&public)?;
    Ok(Object { entity: Entity { handle, name }, public })
}

/// Create: a key, or sealed data, under a parent. Its value and data are encrypted on their way.
pub fn create(
    chip: &mut Chip,
    parent: &Entity,
    auth: &Secret,
    data: &[u8],
    template: &TpmtPublic,
) -> Result<Blob, TpmError> {
    let params = creation(auth, data, template, TpmCc::Create)?;
    let command = Command::new(TpmCc::Create, &[parent], params)?.hidden().answer_hidden().takes(LONG);
    let answer = chip.run(command, &mut [Auth::Value(&Secret::empty())])?;
    let mut reader = answer.reader();
    let private = reader.sized()?.to_vec();
    let public = reader.sized()?.to_vec();
    sized_public(&answer, &public)?;
    Ok(Blob { public, private })
}

/// Load: brings a key back. The chip checks that public and private part belong together.
pub fn load(chip: &mut Chip, parent: &Entity, blob: &Blob) -> Result<Object, TpmError> {
    let params = Params::new().sized(&blob.private).sized(&blob.public);
    let command = Command::new(TpmCc::Load, &[parent], params)?.hidden().gives_handle();
    let answer = chip.run(command, &mut [Auth::Value(&Secret::empty())])?;
    let mut reader = answer.reader();
    let name = reader.sized()?;
    reader.end()?;
    let public = sized_public(&answer, &blob.public)?;
    let object = object(answer.handle, public)?;
    // the name comes back under the session's HMAC: the chip loaded what we sent
    if object.entity.name != name {
        return Err(TpmError::Forged { command: rc::name(TpmCc::Load) });
    }
    Ok(object)
}

/// EvictControl: keeps a loaded object at a persistent handle, or removes what is there.
pub fn evict_control(chip: &mut Chip, auth: &Secret, object: &Entity, handle: u32) -> Result<(), TpmError> {
    let params = Params::new().u32(handle);
    let command = Command::new(TpmCc::EvictControl, &[&Entity::owner(), object], params)?;
    chip.run(command, &mut [Auth::Value(auth)]).map(drop)
}

/// ReadPublic, outside of sessions: the caller compares the name, which we compute, with one he knows.
pub fn read_public(chip: &mut Chip, handle: u32) -> Result<Object, TpmError> {
    let handles = [&Entity::fixed(handle)];
    let answer = chip.run_plain(Command::new(TpmCc::ReadPublic, &handles, Params::new())?)?;
    let mut reader = answer.reader();
    let public = sized_public(&answer, reader.sized()?)?;
    object(handle, public)
}

/// Sign: a digest of the caller's, by a key that is not restricted; r ‖ s.
pub fn sign(chip: &mut Chip, key: &Entity, auth: &Secret, digest: &[u8; 32]) -> Result<Signature, TpmError> {
    const NULL: u16 = 0x0010;
    const HASHCHECK: u16 = 0x8024;
    // the key has its scheme; no ticket says that the chip hashed it
    let params = Params::new().sized(digest).u16(NULL).u16(HASHCHECK).u32(Entity::null().handle).sized(&[]);
    let command = Command::new(TpmCc::Sign, &[key], params)?.hidden();
    let answer = chip.run(command, &mut [Auth::Value(auth)])?;
    let mut reader = answer.reader();
    let signature = signature(answer.code, &reader.structure()?)?;
    reader.end()?;
    Ok(signature)
}

/// r ‖ s of an SM2 or ECDSA signature.
pub(crate) fn signature(code: TpmCc, signature: &TpmtSignature) -> Result<Signature, TpmError> {
    let bad = |what: &str| TpmError::malformed(code, what);
    let (TpmuSignature::Sm2(s) | TpmuSignature::Ecdsa(s)) = &signature.signature else {
        return Err(bad("a signature of another kind"));
    };
    let mut out = Hex([0; 64]);
    let (r_out, s_out) = out.0.split_at_mut(32);
    template::right_align(&s.signature_r, r_out).ok_or_else(|| bad("r is too long"))?;
    template::right_align(&s.signature_s, s_out).ok_or_else(|| bad("s is too long"))?;
    Ok(out)
}

/// ECDH_ZGen: the x coordinate of the key's secret times a point (x ‖ y).
pub fn ecdh_z(
    chip: &mut Chip,
    key: &Entity,
    auth: &Secret,
    point: &[u8; 64],
) -> Result<Zeroizing<[u8; 32]>, TpmError> {
    let (x, y) = point.split_at(32);
    let too_long = |_| TpmError::TooLong { command: "ECDH_ZGen" };
    let point = TpmsEccPoint { x: x.try_into().map_err(too_long)?, y: y.try_into().map_err(too_long)? };
    let params = Params::new().put_sized(&point);
    let command = Command::new(TpmCc::EcdhZGen, &[key], params)?.hidden().answer_hidden();
    let answer = chip.run(command, &mut [Auth::Value(auth)])?;
    let mut reader = answer.reader();
    let mut inner = crate::wire::Reader::new(answer.code, reader.sized()?);
    reader.end()?;
    let mut z = Zeroizing::new([0; 32]);
    let long = || TpmError::malformed(answer.code, "a coordinate is too long");
    template::right_align(inner.sized()?, &mut *z).ok_or_else(long)?;
    Ok(z)
}

/// Unseal, by a policy session; the data is encrypted on its way.
pub fn unseal(chip: &mut Chip, object: &Entity, auth: Auth<'_>) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let command = Command::new(TpmCc::Unseal, &[object], Params::new())?.answer_hidden();
    let answer = chip.run(command, &mut [auth])?;
    let mut reader = answer.reader();
    let data = Zeroizing::new(reader.sized()?.to_vec());
    reader.end()?;
    Ok(data)
}

/// LoadExternal: only the public half, for a verifier's MakeCredential.
pub fn load_external(chip: &mut Chip, public: &[u8]) -> Result<Object, TpmError> {
    let area = template::parse(public);
    let area = area.ok_or_else(|| TpmError::Input { what: "a public area cannot be read".to_owned() })?;
    // no private half; no hierarchy
    let params = Params::new().sized(&[]).sized(public).u32(Entity::null().handle);
    let command = Command::new(TpmCc::LoadExternal, &[], params)?.gives_handle();
    let answer = chip.run(command, &mut [])?;
    let object = object(answer.handle, area)?;
    let mut reader = answer.reader();
    if object.entity.name != reader.sized()? {
        return Err(TpmError::Forged { command: rc::name(TpmCc::LoadExternal) });
    }
    Ok(object)
}
