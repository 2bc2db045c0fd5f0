//! A backup of the configuration that two people open together, one after the other.
//!
//! The set is sealed to the second person's SM2 key, the result to the first person's: neither opens it alone, and each opens his
//! layer on his own machine. A layer: SM2 key agreement with a fresh key, SM3 as key derivation, SM4-GCM. No key of the box's
//! chip is in it: a replacement box is enrolled anew, and what was bound to the old chip is left out ([`for_new_box`]).

use crate::{SetupError, files::Files};
use aes_gcm::{
    AesGcm, KeyInit as _,
    aead::{Aead as _, consts::U12},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gw_proto::{Hex, PublicKey, Scheme, domain_digest};
use gw_sm::KeyPair;
use serde::{Deserialize, Serialize};
use sm2::elliptic_curve::point::AffineCoordinates as _;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The two people's public keys: a JSON list on the configuration partition.
pub const RECIPIENTS: &str = "backup-recipients.json";
/// The most bytes of a backup.
pub const MAX_BYTES: u64 = 16 << 20;
const LAYER: &str = "xinguan sealed 1";
const CONTENT: &str = "xinguan backup 1";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    format: String,
    to: PublicKey,
    ephemeral: Hex<64>,
    sealed: String,
}

/// What is inside both layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    format: String,
    /// of the box that it was made on
    pub serial: Option<String>,
    files: BTreeMap<String, String>,
}

/// What is under a layer.
#[derive(Debug, Clone)]
pub enum Opened {
    /// the other person's layer
    Layer(Vec<u8>),
    /// the configuration
    Content(Content),
}

/// Seals a configuration to two different people.
pub fn make(serial: Option<String>, files: &Files, people: &[PublicKey]) -> Result<Vec<u8>, SetupError> {
    let [first, second] = people else {
        return Err(SetupError::unfit(RECIPIENTS, "needs the keys of exactly two people"));
    };
    if first == second {
        return Err(SetupError::unfit(RECIPIENTS, "both keys are the same person's"));
    }
    if let Some((name, _)) = files.iter().find(|(_, b)| String::from_utf8_lossy(b).contains("PRIVATE KEY")) {
        return Err(SetupError::unfit(name, "holds a private key: those do not leave a box"));
    }
    let files = files.iter().map(|(n, b)| (n.to_owned(), STANDARD.encode(b))).collect();
    let content = Content { format: CONTENT.into(), serial, files };
    let inner = serde_json::to_vec(&content).map_err(json)?;
    seal(&seal(&inner, second)?, first)
}

/// Takes off one layer.
pub fn open(bytes: &[u8], key: &KeyPair) -> Result<Opened, SetupError> {
    let layer: Layer = serde_json::from_slice(bytes).map_err(json)?;
    if layer.format != LAYER {
        return Err(SetupError::unfit("backup", "another format: use the release that made it"));
    }
    if layer.to != *key.public_key() {
        return Err(SetupError::unfit(
            "backup",
            format!(
                "this layer is for the key {}, not for yours ({}): the other person is first",
                layer.to.id(),
                key.public_key().id()
            ),
        ));
    }
    let shared = agree(key, &layer.ephemeral)?;
    let (cipher, nonce) = cipher(&layer.ephemeral, &layer.to, &shared)?;
    let sealed = STANDARD.decode(&layer.sealed).map_err(|_| changed())?;
    let inner = cipher.decrypt(&nonce.into(), sealed.as_slice()).map_err(|_| changed())?;
    if serde_json::from_slice::<Layer>(&inner).is_ok() {
        return Ok(Opened::Layer(inner));
    }
    let content: Content = serde_json::from_slice(&inner).map_err(json)?;
    Ok(Opened::Content(content))
}

impl Content {
    /// The files.
    pub fn files(&self) -> Result<Files, SetupError> {
        let mut files = Files::new();
        for (name, text) in &self.files {
            files.put(name, STANDARD.decode(text).map_err(|_| changed())?)?;
        }
        Ok(files)
    }
}

/// The set for a box with another chip: without the pin of the old chip and the old node key's certificate, and a note that says so.
pub fn for_new_box(content: &Content, new_serial: &str) -> Result<Files, SetupError> {
    let old = content.files()?;
    let toml = old.file("xinguan.toml").map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
    let chain = value(&toml, "identity", "node_ca_chain");
    let mut files = Files::new();
    for (name, bytes) in old.iter().filter(|(n, _)| Some(*n) != chain.as_deref()) {
        if name == "xinguan.toml" {
            files.put(name, without_pin(&toml))?;
        } else {
            files.put(name, bytes)?;
        }
    }
    let note = serde_json::json!({
        "enrol_anew": true, "from": content.serial, "to": new_serial, "left_out": [chain, "keystore.tpm2.pin"],
    });
    files.put("enrol-anew.json", note.to_string())?;
    Ok(files)
}

/// A text in a section of our own example's form: one key a line.
fn value(toml: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    for line in toml.lines().map(str::trim) {
        if line.starts_with('[') {
            here = line == format!("[{section}]");
        } else if let (true, Some((name, value))) = (here, line.split_once('='))
            && name.trim() == key
        {
            return Some(value.trim().trim_matches('"').to_owned());
        }
    }
    None
}

fn without_pin(toml: &str) -> String {
    let mut here = false;
    let mut out = String::new();
    for line in toml.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            here = trimmed == "[keystore.tpm2]";
        }
        let pin = here && trimmed.split_once('=').is_some_and(|(name, _)| name.trim() == "pin");
        if !pin {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn seal(plain: &[u8], to: &PublicKey) -> Result<Vec<u8>, SetupError> {
    let fresh = KeyPair::generate(Scheme::Sm2Sm3, getrandom::fill)
        .map_err(|e| SetupError::unfit("random numbers", e.to_string()))?;
    let ephemeral = fresh.public_key().point;
    let shared = agree(&fresh, &sm2_point(to)?)?;
    let (cipher, nonce) = cipher(&ephemeral, to, &shared)?;
    let sealed =
        cipher.encrypt(&nonce.into(), plain).map_err(|_| SetupError::unfit("backup", "too large"))?;
    let layer = Layer { format: LAYER.into(), to: *to, ephemeral, sealed: STANDARD.encode(sealed) };
    serde_json::to_vec(&layer).map_err(json)
}

fn sm2_point(key: &PublicKey) -> Result<Hex<64>, SetupError> {
    match key.scheme {
        Scheme::Sm2Sm3 => Ok(key.point),
        Scheme::EcdsaP256Sha256 => {
            Err(SetupError::unfit(RECIPIENTS, "holds a P-256 key: SM2 keys are needed"))
        }
    }
}

/// The x coordinate of the common point.
fn agree(ours: &KeyPair, theirs: &Hex<64>) -> Result<Zeroizing<[u8; 32]>, SetupError> {
    let bad = || SetupError::unfit("backup", "a key is no point of SM2's curve");
    let mut sec1 = [4u8; 65];
    sec1[1..].copy_from_slice(&theirs.0);
    let theirs = sm2::PublicKey::from_sec1_bytes(&sec1).map_err(|_| bad())?;
    let secret = sm2::SecretKey::from_slice(&**ours.secret()).map_err(|_| bad())?;
    let scalar = Zeroizing::new(secret.to_nonzero_scalar());
    let point = Zeroizing::new((theirs.to_projective() * **scalar).to_affine());
    let mut x = Zeroizing::new([0; 32]);
    x.copy_from_slice(point.x().as_slice());
    Ok(x)
}

/// Key and nonce of a layer. The key agreement is fresh each time, so the pair is never used twice.
fn cipher(
    ephemeral: &Hex<64>,
    to: &PublicKey,
    shared: &[u8; 32],
) -> Result<(AesGcm<sm4::Sm4, U12>, [u8; 12]), SetupError> {
    let input = Zeroizing::new([&ephemeral.0[..], &to.point.0, shared].concat());
    let digest = Zeroizing::new(domain_digest(LAYER, &input).0);
    let (key, rest) = digest.split_at(16);
    let cipher = AesGcm::new_from_slice(key).map_err(|_| changed())?;
    let mut nonce = [0; 12];
    nonce.copy_from_slice(rest.get(..12).unwrap_or_default());
    Ok((cipher, nonce))
}

fn changed() -> SetupError {
    SetupError::unfit("backup", "was changed or cut off: copy it again")
}

fn json(e: serde_json::Error) -> SetupError {
    SetupError::unfit("backup", e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "[keystore]\nkind = \"tpm2\"\n[keystore.tpm2]\ndevice = \"/dev/tpmrm0\"\npin = \"000b9f\"\n[identity]\nnode_ca_chain = \"node-ca.pem\"\n";

    fn key(n: u8) -> KeyPair {
        KeyPair::from_secret(Scheme::Sm2Sm3, [n; 32]).unwrap()
    }

    fn files() -> Files {
        let mut files = Files::new();
        files.put("xinguan.toml", TOML).unwrap();
        files.put("node-ca.pem", "old").unwrap();
        files.put("man-root.pem", "root").unwrap();
        files
    }

    #[test]
    fn two_people_one_after_the_other() {
        let people = [*key(1).public_key(), *key(2).public_key()];
        let backup = make(Some("XG-1".into()), &files(), &people).unwrap();
        assert!(open(&backup, &key(2)).unwrap_err().to_string().contains("the other person is first"));
        let Opened::Layer(inner) = open(&backup, &key(1)).unwrap() else {
            panic!("one person opened it alone")
        };
        assert!(!String::from_utf8_lossy(&inner).contains("keystore"), "still sealed");
        assert!(open(&inner, &key(1)).is_err());
        let Opened::Content(content) = open(&inner, &key(2)).unwrap() else { panic!("a third layer") };
        assert_eq!(content.files().unwrap(), files());
        assert_ne!(make(None, &files(), &people).unwrap(), make(None, &files(), &people).unwrap());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let people = [*key(1).public_key(), *key(2).public_key()];
        let backup = make(None, &files(), &people).unwrap();
        let mut layer: Layer = serde_json::from_slice(&backup).unwrap();
        let mut sealed = STANDARD.decode(&layer.sealed).unwrap();
        for at in (0..sealed.len()).step_by(97) {
            sealed[at] ^= 1;
            layer.sealed = STANDARD.encode(&sealed);
            assert!(open(&serde_json::to_vec(&layer).unwrap(), &key(1)).is_err(), "byte {at}");
            sealed[at] ^= 1;
        }
        layer.sealed = STANDARD.encode(&sealed[..sealed.len() - 1]);
        assert!(open(&serde_json::to_vec(&layer).unwrap(), &key(1)).is_err());
        layer.ephemeral = key(9).public_key().point;
        layer.sealed = STANDARD.encode(&sealed);
        assert!(open(&serde_json::to_vec(&layer).unwrap(), &key(1)).is_err());
    }

    #[test]
    fn two_different_people_and_no_keys() {
        let one = *key(1).public_key();
        for people in [vec![], vec![one], vec![one, one], vec![one; 3]] {
            assert!(make(None, &files(), &people).is_err());
        }
        let mut secret = files();
        secret.put("node.key", "-----BEGIN PRIVATE KEY-----").unwrap();
        let people = [one, *key(2).public_key()];
        assert!(make(None, &secret, &people).unwrap_err().to_string().contains("private key"));
        let p256 = KeyPair::from_secret(Scheme::EcdsaP256Sha256, [7; 32]).unwrap();
        assert!(make(None, &files(), &[one, *p256.public_key()]).is_err());
    }

    #[test]
    fn what_was_bound_to_the_old_chip_is_left_out() {
        let people = [*key(1).public_key(), *key(2).public_key()];
        let backup = make(Some("XG-1".into()), &files(), &people).unwrap();
        let Opened::Layer(inner) = open(&backup, &key(1)).unwrap() else { panic!() };
        let Opened::Content(content) = open(&inner, &key(2)).unwrap() else { panic!() };
        let new = for_new_box(&content, "XG-2").unwrap();
        assert_eq!(new.names().collect::<Vec<_>>(), ["enrol-anew.json", "man-root.pem", "xinguan.toml"]);
        let toml = String::from_utf8_lossy(new.file("xinguan.toml").unwrap()).into_owned();
        assert_eq!(toml, TOML.replace("pin = \"000b9f\"\n", ""));
    }
}
