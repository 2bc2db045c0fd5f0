//! One certificate: what it says, and the checks that look at it alone or at its issuer.

use super::{Curve, EndorsementError as E, EndorsementKey, MAX_CERTIFICATE_BYTES, Make, oaep};
use der::{
    Decode as _, Encode as _,
    asn1::ObjectIdentifier as Oid,
    oid::{AssociatedOid, db::rfc5912},
};
use gw_proto::UnixMillis;
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::ring as algorithm;
use x509_cert::{
    Certificate as X509,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
    name::Name,
    spki::SubjectPublicKeyInfoOwned,
};

/// tcg-kp-EKCertificate.
const ENDORSEMENT_PURPOSE: Oid = Oid::new_unwrap("2.23.133.8.1");
const MANUFACTURER: Oid = Oid::new_unwrap("2.23.133.2.1");
const MODEL: Oid = Oid::new_unwrap("2.23.133.2.2");
const VERSION: Oid = Oid::new_unwrap("2.23.133.2.3");
/// Extensions that are evaluated below, so may be critical.
const KNOWN: [Oid; 4] = [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];
/// A name shown to people is no longer.
const MAX_SHOWN: usize = 200;

/// What manufacturers sign with; each also says which keys it is for. No SHA-1, no RSA below 2048 bits.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 8] = [
    algorithm::RSA_PKCS1_2048_8192_SHA256,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PKCS1_2048_8192_SHA512,
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ED25519,
];

#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// subject and issuer in DER: compared as bytes
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// the same for people
    pub(super) name: String,
    pub(super) issuer_name: String,
    x509: X509,
    signed: Vec<u8>,
}

impl Certificate {
    pub(super) fn parse(what: &'static str, bytes: &[u8]) -> Result<Self, E> {
        let malformed = |detail: String| E::Malformed { what, detail };
        if bytes.len() > MAX_CERTIFICATE_BYTES {
            return Err(malformed(format!(
                "{} bytes, at most {MAX_CERTIFICATE_BYTES} are read",
                bytes.len()
            )));
        }
        let x509 = X509::from_der(bytes).map_err(|e| malformed(e.to_string()))?;
        let tbs = x509.tbs_certificate();
        if tbs.signature() != x509.signature_algorithm() {
            return Err(malformed("it names two signature algorithms".to_owned()));
        }
        let der = |name: &Name| name.to_der().map_err(|e| malformed(e.to_string()));
        let (subject, issuer) = (der(tbs.subject())?, der(tbs.issuer())?);
        let (name, issuer_name) = (shown(tbs.subject()), shown(tbs.issuer()));
        // DER has one form: what is encoded again is what was signed
        let signed = tbs.to_der().map_err(|e| malformed(e.to_string()))?;
        Ok(Self { subject, issuer, name, issuer_name, x509, signed })
    }

    pub(super) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer && self.check_signature(self).is_ok()
    }

    pub(super) fn check_extensions(&self) -> Result<(), E> {
        let all = self.x509.tbs_certificate().extensions().into_iter().flatten();
        match all.into_iter().find(|e| e.critical && !KNOWN.contains(&e.extn_id)) {
            Some(e) => Err(E::CriticalExtension { subject: self.name.clone(), oid: e.extn_id.to_string() }),
            None => Ok(()),
        }
    }

    /// Both ends belong to the validity (RFC 5280 §4.1.2.5), in whole seconds.
    pub(super) fn check_time(&self, at: UnixMillis) -> Result<(), E> {
        let validity = self.x509.tbs_certificate().validity();
        let millis = |t: x509_cert::time::Time| {
            UnixMillis(u64::try_from(t.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
        };
        let (not_before, not_after) = (millis(validity.not_before), millis(validity.not_after));
        if at < not_before {
            return Err(E::NotYetValid { subject: self.name.clone(), not_before });
        }
        if at.0 / 1000 > not_after.0 / 1000 {
            return Err(E::Expired { subject: self.name.clone(), not_after });
        }
        Ok(())
    }

    /// Under an issuer's key, by an algorithm that is for such keys.
    pub(super) fn check_signature(&self, issuer: &Self) -> Result<(), E> {
        let refused = || E::Signature { subject: self.name.clone(), issuer: issuer.name.clone() };
        let key = issuer.x509.tbs_certificate().subject_public_key_info();
        let key_id = contents(&key.algorithm).ok_or_else(refused)?;
        let signature_id = contents(self.x509.signature_algorithm()).ok_or_else(refused)?;
        let fits = |a: &&&dyn SignatureVerificationAlgorithm| {
            a.public_key_alg_id().as_ref() == key_id && a.signature_alg_id().as_ref() == signature_id
        };
        let algorithm = ALGORITHMS.iter().find(fits).ok_or_else(refused)?;
        let (Some(key), Some(signature)) =
            (key.subject_public_key.as_bytes(), self.x509.signature().as_bytes())
        else {
            return Err(refused());
        };
        algorithm.verify_signature(key, &self.signed, signature).map_err(|_| refused())
    }

    /// It may sign what has `below` certificates of issuers under it.
    pub(super) fn check_issuer(&self, below: usize) -> Result<(), E> {
        let refused = |why| E::NotIssuer { subject: self.name.clone(), why };
        let unreadable = |_| refused("an extension of it cannot be read");
        let tbs = self.x509.tbs_certificate();
        let basic = tbs.get_extension::<BasicConstraints>().map_err(unreadable)?.map(|(_, b)| b);
        let basic = basic.filter(|b| b.ca).ok_or_else(|| refused("it is no CA (basicConstraints)"))?;
        if basic.path_len_constraint.is_some_and(|most| below > usize::from(most)) {
            return Err(refused("its path length forbids it"));
        }
        let usage = tbs.get_extension::<KeyUsage>().map_err(unreadable)?;
        if usage.is_some_and(|(_, u)| !u.key_cert_sign()) {
            return Err(refused("it may not sign certificates (keyUsage)"));
        }
        Ok(())
    }

    /// Profile 2.5, §3: an end entity, of that purpose if it has any, which names the chip's make.
    pub(super) fn check_endorsement(&self) -> Result<Make, E> {
        let refused = |why| E::NotEndorsement { why };
        let unreadable = |_| refused("an extension of it cannot be read");
        let tbs = self.x509.tbs_certificate();
        let basic = tbs.get_extension::<BasicConstraints>().map_err(unreadable)?;
        if basic.is_some_and(|(_, b)| b.ca) {
            return Err(refused("it is a CA's"));
        }
        let purposes = tbs.get_extension::<ExtendedKeyUsage>().map_err(unreadable)?;
        if purposes.is_some_and(|(_, p)| !p.0.contains(&ENDORSEMENT_PURPOSE)) {
            return Err(refused("it is for another purpose (extendedKeyUsage)"));
        }
        if let Some((_, usage)) = tbs.get_extension::<KeyUsage>().map_err(unreadable)? {
            let rsa = tbs.subject_public_key_info().algorithm.oid == rfc5912::RSA_ENCRYPTION;
            match (rsa, usage.key_encipherment(), usage.key_agreement()) {
                (true, false, _) => return Err(refused("its key may not encipher keys (keyUsage)")),
                (false, _, false) => return Err(refused("its key may not agree on keys (keyUsage)")),
                _ => {}
            }
        }
        let names = tbs.get_extension::<SubjectAltName>().map_err(unreadable)?;
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let made = names.iter().find_map(|n| match n {
            GeneralName::DirectoryName(name) => make(name),
            _ => None,
        });
        made.ok_or_else(|| {
            refused("it does not name the chip's manufacturer, model and version (subjectAltName)")
        })
    }

    pub(super) fn endorsement_key(&self) -> Result<EndorsementKey, E> {
        let key = self.x509.tbs_certificate().subject_public_key_info();
        if key.algorithm.oid == rfc5912::RSA_ENCRYPTION {
            let public = key.subject_public_key.as_bytes().unwrap_or_default().to_vec();
            return oaep::is_2048(&public).then_some(EndorsementKey::Rsa2048 { public }).ok_or(E::KeyKind);
        }
        let curve = curve(key).ok_or(E::KeyKind)?;
        let length = match curve {
            Curve::P256 => 64,
            Curve::P384 => 96,
        };
        match key.subject_public_key.as_bytes().and_then(<[u8]>::split_first) {
            Some((4, point)) if point.len() == length => {
                Ok(EndorsementKey::Ecc { curve, point: point.to_vec() })
            }
            _ => Err(E::KeyKind),
        }
    }
}

fn curve(key: &SubjectPublicKeyInfoOwned) -> Option<Curve> {
    let parameters = key.algorithm.parameters.as_ref()?.decode_as::<Oid>().ok()?;
    match parameters {
        _ if key.algorithm.oid != rfc5912::ID_EC_PUBLIC_KEY => None,
        rfc5912::SECP_256_R_1 => Some(Curve::P256),
        rfc5912::SECP_384_R_1 => Some(Curve::P384),
        _ => None,
    }
}

/// An AlgorithmIdentifier without its SEQUENCE header, as rustls writes them.
fn contents(id: &x509_cert::spki::AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let der = id.to_der().ok()?;
    // an identifier is shorter than 128 bytes: one byte of length
    match der.split_first_chunk::<2>() {
        Some(([0x30, length], rest)) if usize::from(*length) == rest.len() => Some(rest.to_vec()),
        _ => None,
    }
}

/// A name for people: bounded, without control characters.
fn shown(name: &Name) -> String {
    let text: String = name.to_string().chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
    if text.is_empty() { "(no name)".to_owned() } else { text }
}

fn make(name: &Name) -> Option<Make> {
    let text = |oid: Oid| {
        let value = &name.iter().find(|a| a.oid == oid)?.value;
        let text = std::str::from_utf8(value.value()).ok()?;
        let good = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
        good.then(|| text.to_owned())
    };
    Some(Make { manufacturer: text(MANUFACTURER)?, model: text(MODEL)?, version: text(VERSION)? })
}
