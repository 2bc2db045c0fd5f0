//! Certification requests (PKCS#10, RFC 2986): how a key in a chip comes to its certificate.

use super::{CertError, MAX_CERT, Subject, bound, names};
use der::{
    Decode as _, Encode as _,
    asn1::BitString,
    pem::{LineEnding, decode_vec, encode_string},
};
use gw_proto::{PublicKey, Signature};
use x509_cert::request::{CertReq, CertReqInfo, Version};

const LABEL: &str = "CERTIFICATE REQUEST";
const ENCODING: CertError = CertError::Build("DER encoding");
const MALFORMED: CertError = CertError::Malformed("certification request (PKCS#10)");

/// A request for `key`, as DER. `sign` gets the 32 bytes that [`crate::sig::message_digest`] gives.
pub fn build_request(
    subject: &Subject,
    key: &PublicKey,
    sign: &dyn Fn(&[u8; 32]) -> Result<Signature, String>,
) -> Result<Vec<u8>, CertError> {
    let info = CertReqInfo {
        version: Version::V1,
        subject: names::encode_subject(subject)?,
        public_key: names::encode_key(key).map_err(|_| ENCODING)?,
        attributes: der::asn1::SetOfVec::new(),
    };
    let digest = digest(&info, key)?;
    let signature = sign(&digest).map_err(CertError::Signer)?;
    // a wrong key name or a failing chip must not go unseen
    crate::sig::verify_digest(key, &digest, &signature).map_err(|_| CertError::WrongIssuer)?;
    let signature = names::signature_to_der(&signature).map_err(|_| ENCODING)?;
    let request = CertReq {
        info,
        algorithm: names::signature_algorithm(key.scheme),
        signature: BitString::from_bytes(&signature).map_err(|_| ENCODING)?,
    };
    request.to_der().map_err(|_| ENCODING)
}

/// Whom a request names, and the key whose holder signed it: checked. Attributes are passed over.
pub fn parse_request(der: &[u8]) -> Result<(Subject, PublicKey), CertError> {
    bound("certification request", der.len(), MAX_CERT)?;
    let request = CertReq::from_der(der).map_err(|_| MALFORMED)?;
    let key = names::decode_key(&request.info.public_key)?;
    if names::signature_scheme(&request.algorithm)? != key.scheme {
        return Err(CertError::WrongCurve);
    }
    let signature = request.signature.as_bytes().and_then(names::signature_from_der).ok_or(MALFORMED)?;
    crate::sig::verify_digest(&key, &digest(&request.info, &key)?, &signature)
        .map_err(|_| CertError::BadSignature)?;
    Ok((names::decode_subject(&request.info.subject)?, key))
}

/// As PEM.
pub fn request_to_pem(der: &[u8]) -> Result<String, CertError> {
    bound("certification request", der.len(), MAX_CERT)?;
    encode_string(LABEL, LineEnding::LF, der).map_err(|_| MALFORMED)
}

/// The first request of a text that begins with it.
pub fn request_from_pem(text: &str) -> Result<Vec<u8>, CertError> {
    bound("certification request", text.len(), 2 * MAX_CERT)?;
    match decode_vec(text.trim().as_bytes()) {
        Ok((LABEL, der)) => Ok(der),
        _ => Err(MALFORMED),
    }
}

fn digest(info: &CertReqInfo, key: &PublicKey) -> Result<[u8; 32], CertError> {
    let bytes = info.to_der().map_err(|_| ENCODING)?;
    crate::sig::message_digest(key, &bytes).map_err(|_| CertError::BadKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;
    use gw_proto::Scheme;

    fn request(scheme: Scheme) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::from_secret(scheme, [7; 32]).unwrap();
        let subject = Subject { common_name: Some("bank-suzhou-1".to_owned()), ..Subject::default() };
        let sign = |d: &[u8; 32]| key.sign_digest(d).map_err(|e| e.to_string());
        (build_request(&subject, key.public_key(), &sign).unwrap(), key)
    }

    #[test]
    fn what_is_asked_for_is_read_and_checked() {
        for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
            let (der, key) = request(scheme);
            let pem = request_to_pem(&der).unwrap();
            let (subject, found) = parse_request(&request_from_pem(&pem).unwrap()).unwrap();
            assert_eq!((subject.common_name.as_deref(), found), (Some("bank-suzhou-1"), *key.public_key()));
            for at in 0..der.len() {
                let mut bent = der.clone();
                bent[at] ^= 1;
                assert!(parse_request(&bent).is_err(), "{scheme:?}: byte {at}");
            }
        }
    }

    #[test]
    fn another_pem_is_not_a_request() {
        assert!(request_from_pem("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").is_err());
        assert!(request_from_pem("").is_err());
    }
}
