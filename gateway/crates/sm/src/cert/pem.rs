//! PEM: certificates, revocation lists, and key pairs as PKCS#8.

use super::{CertError, MAX_CERT, MAX_CRL, MAX_CRLS, MAX_ROOTS, bound, count, names};
use crate::KeyPair;
use der::{
    Decode as _, DecodePem as _, SecretDocument,
    pem::{LineEnding, encode_string},
};
use gw_proto::{PublicKey, Scheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use sm2::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, PrivateKeyInfoRef};
use zeroize::Zeroizing;

/// base64 takes 4/3, line ends and remarks the rest
fn text_bound(entries: usize, each: usize) -> usize {
    entries * each * 2
}

/// Certificates of a PEM file in their order; other sections are passed over.
pub fn certs_from_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, CertError> {
    bound("certificate file", text.len(), text_bound(MAX_ROOTS, MAX_CERT))?;
    let mut out = Vec::new();
    for cert in CertificateDer::pem_slice_iter(text) {
        let cert = cert.map_err(|_| CertError::Malformed("certificate file (PEM)"))?;
        bound("certificate", cert.len(), MAX_CERT)?;
        out.push(cert.to_vec());
        count("certificates in a file", out.len(), MAX_ROOTS)?;
    }
    if out.is_empty() { Err(CertError::Empty) } else { Ok(out) }
}

/// Revocation lists of a PEM file in their order.
pub fn crls_from_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, CertError> {
    bound("revocation list file", text.len(), text_bound(8, MAX_CRL))?;
    let mut out = Vec::new();
    for crl in CertificateRevocationListDer::pem_slice_iter(text) {
        let crl = crl.map_err(|_| CertError::Malformed("revocation list file (PEM)"))?;
        bound("revocation list", crl.len(), MAX_CRL)?;
        out.push(crl.to_vec());
        count("revocation lists in a file", out.len(), MAX_CRLS)?;
    }
    if out.is_empty() { Err(CertError::Malformed("revocation list file: no list in it")) } else { Ok(out) }
}

/// Certificates as PEM, in their order.
pub fn certs_to_pem<'a>(certs: impl IntoIterator<Item = &'a [u8]>) -> Result<String, CertError> {
    let mut out = String::new();
    for der in certs {
        bound("certificate", der.len(), MAX_CERT)?;
        out += &encode_string("CERTIFICATE", LineEnding::LF, der)
            .map_err(|_| CertError::Malformed("certificate"))?;
    }
    Ok(out)
}

/// A revocation list as PEM.
pub fn crl_to_pem(der: &[u8]) -> Result<String, CertError> {
    bound("revocation list", der.len(), MAX_CRL)?;
    encode_string("X509 CRL", LineEnding::LF, der).map_err(|_| CertError::Malformed("revocation list"))
}

const LABEL: &str = "PRIVATE KEY";
const KEY: CertError = CertError::Malformed("private key (PKCS#8, not encrypted, SM2 or P-256)");

/// A key pair as PKCS#8, not encrypted; wiped on drop.
pub(crate) fn key_to_pkcs8(key: &KeyPair) -> Result<SecretDocument, CertError> {
    match key.public_key().scheme {
        Scheme::Sm2Sm3 => {
            let secret = sm2::SecretKey::from_slice(&**key.secret()).map_err(|_| KEY)?;
            secret.to_pkcs8_der().map_err(|_| KEY)
        }
        Scheme::EcdsaP256Sha256 => {
            let secret = p256::SecretKey::from_slice(&**key.secret()).map_err(|_| KEY)?;
            secret.to_pkcs8_der().map_err(|_| KEY)
        }
    }
}

/// A key pair from PKCS#8. The curve in it decides the scheme.
pub(crate) fn key_from_pkcs8(der: &[u8]) -> Result<KeyPair, CertError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KEY)?;
    if info.algorithm.oid != names::EC_PUBLIC_KEY {
        return Err(CertError::WrongCurve);
    }
    let mut secret = Zeroizing::new([0u8; 32]);
    let scheme = match info.algorithm.parameters_oid().map_err(|_| KEY)? {
        names::CURVE_SM2 => {
            let key = sm2::SecretKey::from_pkcs8_der(der).map_err(|_| KEY)?;
            secret.copy_from_slice(&Zeroizing::new(key.to_bytes()));
            Scheme::Sm2Sm3
        }
        names::CURVE_P256 => {
            let key = p256::SecretKey::from_pkcs8_der(der).map_err(|_| KEY)?;
            secret.copy_from_slice(&Zeroizing::new(key.to_bytes()));
            Scheme::EcdsaP256Sha256
        }
        _ => return Err(CertError::WrongCurve),
    };
    KeyPair::from_secret(scheme, *secret).map_err(|_| KEY)
}

/// A key pair as PKCS#8 in PEM, not encrypted: test PKIs, interoperation.
pub fn key_to_pem(key: &KeyPair) -> Result<Zeroizing<String>, CertError> {
    key_to_pkcs8(key)?.to_pem(LABEL, LineEnding::LF).map_err(|_| KEY)
}

/// A key pair from PKCS#8 in PEM. The curve in the file decides the scheme.
pub fn key_from_pem(text: &str) -> Result<KeyPair, CertError> {
    bound("key file", text.len(), MAX_CERT)?;
    let (label, document) = SecretDocument::from_pem(text.trim_start()).map_err(|_| KEY)?;
    if label == LABEL { key_from_pkcs8(document.as_bytes()) } else { Err(KEY) }
}

/// A public key as SubjectPublicKeyInfo in PEM. The curve in the file decides the scheme.
pub fn public_key_from_pem(text: &str) -> Result<PublicKey, CertError> {
    const PUBLIC: CertError = CertError::Malformed("public key (SubjectPublicKeyInfo, SM2 or P-256)");
    bound("key file", text.len(), MAX_CERT)?;
    let info = spki::SubjectPublicKeyInfoOwned::from_pem(text.trim_start()).map_err(|_| PUBLIC)?;
    let key = names::decode_key(&info)?;
    crate::sig::check_key(&key).map_err(|_| CertError::BadKey)?;
    Ok(key)
}
