//! A second opinion: the openssl command verifies what a keystore signed.

use base64::Engine as _;
use gw_proto::{PublicKey, Scheme, Signature};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) up to the point: id-ecPublicKey with the curve of GB/T 32918.5.
const SPKI_SM2: &str = "3059301306072a8648ce3d020106082a811ccf5501822d03420004";
/// The same with prime256v1.
const SPKI_P256: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";

/// Whether there is an openssl command that knows SM2.
pub fn is_there() -> bool {
    let run = Command::new("openssl").args(["dgst", "-list"]).stdin(Stdio::null()).output();
    run.is_ok_and(|o| o.status.success() && String::from_utf8_lossy(&o.stdout).contains("sm3"))
}

/// Whether openssl accepts the signature over the message.
pub fn verifies(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let write = |name: &str, bytes: &[u8]| -> Result<String, String> {
        let path = folder.path().join(name);
        write_file(&path, bytes).map_err(|e| e.to_string())?;
        Ok(path.to_string_lossy().into_owned())
    };
    let key_file = write("key.pem", pem(key)?.as_bytes())?;
    let signature_file = write("signature.der", &der(signature))?;
    let message_file = write("message", message)?;
    let digest = match key.scheme {
        Scheme::Sm2Sm3 => "-sm3",
        Scheme::EcdsaP256Sha256 => "-sha256",
    };
    let mut command = Command::new("openssl");
    command.args(["dgst", digest, "-verify", &key_file, "-signature", &signature_file]);
    if key.scheme == Scheme::Sm2Sm3 {
        command.args(["-sigopt", "distid:1234567812345678"]);
    }
    let run = command.arg(&message_file).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&run.stdout);
    match (run.status.success(), said.contains("Verified OK"), said.contains("Verification failure")) {
        (true, true, _) => Ok(true),
        (false, _, true) => Ok(false),
        _ => Err(format!("openssl could not verify: {}", String::from_utf8_lossy(&run.stderr))),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::File::create(path)?.write_all(bytes)
}

fn pem(key: &PublicKey) -> Result<String, String> {
    let prefix = match key.scheme {
        Scheme::Sm2Sm3 => SPKI_SM2,
        Scheme::EcdsaP256Sha256 => SPKI_P256,
    };
    let mut spki = hex::decode(prefix).map_err(|e| e.to_string())?;
    spki.extend_from_slice(&key.point.0);
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
}

/// SEQUENCE { r INTEGER, s INTEGER } (RFC 3279 §2.2.3; GM/T 0009 has the same).
fn der(signature: &Signature) -> Vec<u8> {
    let mut body = Vec::new();
    for half in signature.0.chunks(32) {
        let zeros = half.iter().take_while(|b| **b == 0).count().min(half.len() - 1);
        let digits = half.get(zeros..).unwrap_or_default();
        let sign = digits.first().is_some_and(|b| *b >= 0x80);
        // at most 33 bytes: lengths are short
        body.push(2);
        body.push(u8::try_from(digits.len() + usize::from(sign)).unwrap_or(0));
        if sign {
            body.push(0);
        }
        body.extend_from_slice(digits);
    }
    let mut out = vec![0x30, u8::try_from(body.len()).unwrap_or(0)];
    out.extend(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_sm::KeyPair;

    #[test]
    fn integers_are_minimal_and_positive() {
        let mut s = [0u8; 64];
        s[31] = 0x80;
        s[63] = 0x7f;
        assert_eq!(der(&gw_proto::Hex(s)), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 0x7f]);
    }

    #[test]
    fn openssl_accepts_the_right_and_refuses_the_wrong() {
        if !is_there() {
            return;
        }
        for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
            let key = KeyPair::from_secret(scheme, [9; 32]).unwrap();
            let signature = key.sign(b"m").unwrap();
            assert_eq!(verifies(key.public_key(), b"m", &signature), Ok(true));
            assert_eq!(verifies(key.public_key(), b"n", &signature), Ok(false));
            let other = KeyPair::from_secret(scheme, [8; 32]).unwrap();
            assert_eq!(verifies(other.public_key(), b"m", &signature), Ok(false));
        }
    }
}
