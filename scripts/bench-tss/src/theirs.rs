//! Signatures by tpm2-tss's ESAPI, in the session that ours uses or with a plain password.

use crate::DIGEST;
use gw_proto::{Hex, PublicKey, Scheme};
use std::{
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tss_esapi::{
    Context,
    attributes::{ObjectAttributesBuilder, SessionAttributesBuilder},
    constants::SessionType,
    handles::{KeyHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm},
        ecc::EccCurve,
        session_handles::AuthSession,
    },
    structures::{
        Auth, CreateKeyResult, Digest, EccPoint, EccScheme, HashScheme, HashcheckTicket, Private, Public,
        PublicBuilder, PublicEccParametersBuilder, Signature, SignatureScheme, SymmetricDefinition,
    },
    tcti_ldr::TctiNameConf,
    tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK},
};

const ST_HASHCHECK: u16 = 0x8024;
const RH_NULL: u32 = 0x4000_0007;

/// How the use of the key is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// HMAC session salted to the storage key, first parameter encrypted: what hsm-tpm2 does
    Salted,
    /// the authorization value in the clear
    Password,
}

/// A P-256 key under the storage key that hsm-tpm2 made, as a blob.
pub struct Theirs {
    address: SocketAddr,
    storage: u32,
    private: Private,
    public: Public,
    key: PublicKey,
}

impl Theirs {
    /// A new key, of the same attributes and with an authorization value of the same length as ours.
    pub fn new(address: SocketAddr, storage: u32) -> Result<Self, Box<dyn Error>> {
        let mut chip = connect(address)?;
        let parent = parent(&mut chip, storage)?;
        let session = start(&mut chip, Session::Salted, parent)?;
        chip.set_sessions((Some(session), None, None));
        let made: CreateKeyResult = chip.create(parent, template()?, Some(auth()?), None, None, None)?;
        let Public::Ecc { unique, .. } = &made.out_public else { return Err("not an elliptic key".into()) };
        let mut point = [0; 64];
        put(unique.x().value(), unique.y().value(), &mut point)?;
        let key = PublicKey { scheme: Scheme::EcdsaP256Sha256, point: Hex(point) };
        Ok(Self { address, storage, private: made.out_private, public: made.out_public, key })
    }

    /// Connects, loads the key, starts the session, makes `count` signatures, and leaves. The time is that of
    /// the signatures alone.
    pub fn block(&self, how: Session, count: u32) -> Result<Duration, Box<dyn Error>> {
        let mut chip = connect(self.address)?;
        let parent = parent(&mut chip, self.storage)?;
        chip.set_sessions((Some(AuthSession::Password), None, None));
        let key = chip.load(parent, self.private.clone(), self.public.clone())?;
        chip.tr_set_auth(key.into(), auth()?)?;
        let session = start(&mut chip, how, parent)?;
        chip.set_sessions((Some(session), None, None));
        self.check(&sign(&mut chip, key)?)?;
        let begin = Instant::now();
        for _ in 0..count {
            sign(&mut chip, key)?;
        }
        Ok(begin.elapsed())
    }

    fn check(&self, signature: &Signature) -> Result<(), Box<dyn Error>> {
        let Signature::EcDsa(s) = signature else { return Err("not an ECDSA signature".into()) };
        let mut bytes = [0; 64];
        put(s.signature_r().value(), s.signature_s().value(), &mut bytes)?;
        Ok(gw_sm::sig::verify_digest(&self.key, &DIGEST, &Hex(bytes))?)
    }
}

fn connect(address: SocketAddr) -> Result<Context, Box<dyn Error>> {
    let name = format!("swtpm:host={},port={}", address.ip(), address.port());
    let name: TctiNameConf = name.parse()?;
    Context::new(name)
        .map_err(|e| format!("tpm2-tss does not connect ({e}): apt-get install libtss2-dev").into())
}

fn parent(chip: &mut Context, storage: u32) -> Result<KeyHandle, Box<dyn Error>> {
    let handle = TpmHandle::Persistent(PersistentTpmHandle::new(storage)?);
    Ok(chip.tr_from_tpm_public(handle)?.into())
}

fn start(chip: &mut Context, how: Session, salt: KeyHandle) -> Result<AuthSession, Box<dyn Error>> {
    if how == Session::Password {
        return Ok(AuthSession::Password);
    }
    // the password of an earlier command is none of this one's
    chip.clear_sessions();
    let kind = (SessionType::Hmac, SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256);
    let session = chip.start_auth_session(Some(salt), None, None, kind.0, kind.1, kind.2)?;
    let session = session.ok_or("no session")?;
    let (attributes, mask) = SessionAttributesBuilder::new().with_decrypt(true).build();
    chip.tr_sess_set_attributes(session, attributes, mask)?;
    Ok(session)
}

fn sign(chip: &mut Context, key: KeyHandle) -> tss_esapi::Result<Signature> {
    let none = TPMT_TK_HASHCHECK { tag: ST_HASHCHECK, hierarchy: RH_NULL, digest: TPM2B_DIGEST::default() };
    chip.sign(key, Digest::try_from(&DIGEST[..])?, SignatureScheme::Null, HashcheckTicket::try_from(none)?)
}

fn auth() -> Result<Auth, Box<dyn Error>> {
    Ok(Auth::try_from(vec![7; 32])?)
}

fn template() -> Result<Public, Box<dyn Error>> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(true)
        .build()?;
    let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
    let parameters = PublicEccParametersBuilder::new_unrestricted_signing_key(scheme, EccCurve::NistP256);
    Ok(PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters.build()?)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()?)
}

/// Two numbers side by side, each right-aligned in 32 bytes.
fn put(a: &[u8], b: &[u8], out: &mut [u8; 64]) -> Result<(), Box<dyn Error>> {
    let (left, right) = out.split_at_mut(32);
    for (number, half) in [(a, left), (b, right)] {
        let start = half.len().checked_sub(number.len()).ok_or("a number of more than 32 bytes")?;
        half[start..].copy_from_slice(number);
    }
    Ok(())
}
