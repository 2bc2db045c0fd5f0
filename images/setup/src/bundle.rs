//! The provisioning file: configuration signed by somebody whom the box knows. `xinguan.provision` on a stick.
//!
//! ```json
//! { "payload": "<base64>", "signatures": [ { "key": { "scheme": "sm2-sm3", "point": "…" }, "signature": "…" } ] }
//! ```
//! The signatures are over `xinguan provision 1`, a zero byte, and the payload's bytes as they stand; the payload is JSON
//! ([`Payload`]). One signature or two (SM2 and P-256): each must verify, one must be of a key that counts.

use crate::{SetupError, code::Code, files::Files};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gw_proto::{Digest, InstitutionId, PublicKey, Signature, sm3};
use gw_sm::KeyPair;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Its name on the stick.
pub const NAME: &str = "xinguan.provision";
/// The most bytes of a provisioning file.
pub const MAX_BYTES: u64 = 8 << 20;
const DOMAIN: &[u8] = b"xinguan provision 1\0";
const FORMAT: &str = "xinguan provision 1";
const MAX_SIGNATURES: usize = 2;

/// What is signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// `xinguan provision 1`
    pub format: String,
    /// counts up for a box: a lower one than the last is refused
    pub number: u64,
    /// s since 1970; refused afterwards
    pub not_after: u64,
    /// whose box
    pub institution: String,
    /// the box's serial number; none: any box of the institution
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// name → base64
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    signatures: Vec<Signed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    key: PublicKey,
    signature: Signature,
}

/// A provisioning file whose signatures hold.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// what it says
    pub payload: Payload,
    /// what it brings
    pub files: Files,
    /// of the payload's bytes: the same file comes again at every start while the stick is in
    pub digest: Digest,
}

/// Whose files count: keys by themselves, or by their code.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// pinned by the image or the configuration
    pub keys: Vec<PublicKey>,
    /// typed by a person
    pub code: Option<Code>,
}

impl Pins {
    fn count(&self, key: &PublicKey) -> bool {
        self.keys.contains(key) || self.code.is_some_and(|code| code == Code::of(key))
    }
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.code.is_none()
    }
}

/// Checks form and signatures. Nothing of the payload is read before they hold.
pub fn open(bytes: &[u8], pins: &Pins) -> Result<Bundle, SetupError> {
    if pins.is_empty() {
        return Err(SetupError::refused(
            "this box knows nobody's key yet: type the enrolment code at its console, or pin a key in provisioners.json",
        ));
    }
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|e| SetupError::refused(format!("not a provisioning file: {e}")))?;
    let payload = decode(&envelope.payload, "payload")?;
    if envelope.signatures.is_empty() || envelope.signatures.len() > MAX_SIGNATURES {
        return Err(SetupError::refused("it must have one signature or two"));
    }
    let message = [DOMAIN, &payload].concat();
    for signed in &envelope.signatures {
        gw_sm::verify(&signed.key, &message, &signed.signature).map_err(|e| {
            SetupError::refused(format!(
                "the signature of {}: {e}; copy the file again",
                Code::of(&signed.key)
            ))
        })?;
    }
    if !envelope.signatures.iter().any(|s| pins.count(&s.key)) {
        let found: Vec<_> = envelope.signatures.iter().map(|s| Code::of(&s.key).to_string()).collect();
        let found = found.join(", ");
        return Err(SetupError::refused(format!(
            "signed by {found}, whom this box does not know: compare the enrolment code"
        )));
    }
    parse(&payload)
}

fn parse(bytes: &[u8]) -> Result<Bundle, SetupError> {
    let payload: Payload = serde_json::from_slice(bytes)
        .map_err(|e| SetupError::refused(format!("its payload is malformed: {e}")))?;
    if payload.format != FORMAT {
        return Err(SetupError::refused(
            "its format is another: update the box, or make the file with its release",
        ));
    }
    InstitutionId::parse(&payload.institution)
        .map_err(|e| SetupError::refused(format!("its institution is malformed: {e}")))?;
    let mut files = Files::new();
    for (name, text) in &payload.files {
        files.put(name, decode(text, name)?)?;
    }
    if files.is_empty() {
        return Err(SetupError::refused("it brings no file"));
    }
    Ok(Bundle { files, digest: sm3(bytes), payload })
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, SetupError> {
    STANDARD.decode(text).map_err(|_| SetupError::refused(format!("its {what} is not base64")))
}

/// Makes a provisioning file, on the supervisor's machine.
pub fn make(
    number: u64,
    not_after: u64,
    institution: &str,
    serial: Option<&str>,
    files: &Files,
    keys: &[KeyPair],
) -> Result<Vec<u8>, SetupError> {
    let payload = Payload {
        format: FORMAT.into(),
        number,
        not_after,
        institution: institution.into(),
        serial: serial.map(str::to_owned),
        files: files.iter().map(|(n, b)| (n.to_owned(), STANDARD.encode(b))).collect(),
    };
    let text = serde_json::to_vec(&payload).map_err(|e| SetupError::unfit("payload", e.to_string()))?;
    let message = [DOMAIN, &text].concat();
    let sign = |key: &KeyPair| -> Result<Signed, SetupError> {
        let signature = key.sign(&message).map_err(|e| SetupError::unfit("key", e.to_string()))?;
        Ok(Signed { key: *key.public_key(), signature })
    };
    let signatures = keys.iter().map(sign).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope { payload: STANDARD.encode(&text), signatures };
    let bytes = serde_json::to_vec(&envelope).map_err(|e| SetupError::unfit("envelope", e.to_string()))?;
    let pins = Pins { keys: keys.iter().map(|k| *k.public_key()).collect(), code: None };
    open(&bytes, &pins)?; // what we make, a box takes
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SetupError::unfit(NAME, format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}
