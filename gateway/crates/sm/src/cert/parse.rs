//! Certificate bytes to facts; proves nothing.

use super::{CertError, CertInfo, MAX_CERT, bound, names};
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, BitStringRef},
};
use gw_proto::{Digest, PublicKey, Scheme, Signature, UnixMillis, sm3};
use x509_cert::{
    Certificate,
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName, name::GeneralName,
    },
    spki::{AlgorithmIdentifierOwned, ObjectIdentifier},
    time::Time,
};

/// Extensions that we evaluate, so may accept as critical.
const KNOWN: [ObjectIdentifier; 5] = [
    names::BASIC_CONSTRAINTS,
    names::KEY_USAGE,
    names::EXTENDED_KEY_USAGE,
    names::SUBJECT_ALT_NAME,
    names::NAME_CONSTRAINTS,
];

/// Parses a certificate of at most [`MAX_CERT`] bytes.
pub fn parse_cert(der: &[u8]) -> Result<CertInfo, CertError> {
    Parsed::from_der(der).map(|p| p.info)
}

/// A certificate with what verification needs beside [`CertInfo`].
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) info: CertInfo,
    /// subject's and issuer's Name in DER: compared as bytes
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) path_length: Option<u8>,
    /// absent extension = no usage allowed: our profile demands it
    pub(super) usage: Option<KeyUsage>,
    pub(super) purposes: Option<Vec<ObjectIdentifier>>,
    pub(super) constrains_names: bool,
    pub(super) no_revocation: bool,
    pub(super) signed: Signed,
}

/// Bytes and the signature over them.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) bytes: Vec<u8>,
    /// SM3 of them: a cache asks per handshake, and a revocation list may have a megabyte
    pub(super) digest: Digest,
    pub(super) scheme: Scheme,
    /// None: not of the form that any valid signature has
    pub(super) signature: Option<Signature>,
}

#[derive(Sequence)]
struct Outer<'a> {
    body: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl Signed {
    /// Splits a certificate or revocation list.
    pub(super) fn from_der(der: &[u8], what: &'static str) -> Result<Self, CertError> {
        let outer = Outer::from_der(der).map_err(|_| CertError::Malformed(what))?;
        let bytes = outer.body.to_der().map_err(|_| CertError::Malformed(what))?;
        let scheme = names::signature_scheme(&outer.algorithm)?;
        let signature = outer.signature.as_bytes().and_then(names::signature_from_der);
        Ok(Self { digest: sm3(&bytes), bytes, scheme, signature })
    }
    /// Checks it under `key`.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), CertError> {
        let signature = self.signature.as_ref().ok_or(CertError::BadSignature)?;
        if key.scheme != self.scheme {
            return Err(CertError::BadSignature);
        }
        crate::sig::verify(key, &self.bytes, signature).map_err(|_| CertError::BadSignature)
    }
}

/// Milliseconds of a certificate's time; before 1970 there is none.
pub(super) fn millis(time: Time) -> UnixMillis {
    UnixMillis(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
}

const MALFORMED: CertError = CertError::Malformed("certificate");

impl Parsed {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, CertError> {
        bound("certificate", der.len(), MAX_CERT)?;
        let cert = Certificate::from_der(der).map_err(|_| MALFORMED)?;
        let tbs = cert.tbs_certificate();
        if tbs.signature() != cert.signature_algorithm() {
            return Err(MALFORMED);
        }
        for extension in tbs.extensions().into_iter().flatten() {
            if extension.critical && !KNOWN.contains(&extension.extn_id) {
                return Err(CertError::UnsupportedExtension(extension.extn_id.to_string()));
            }
        }
        let basic = tbs.get_extension::<BasicConstraints>().map_err(|_| MALFORMED)?.map(|(_, b)| b);
        let purposes = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| MALFORMED)?.map(|(_, p)| p.0);
        let key_info = tbs.subject_public_key_info();
        let spki: Digest = sm3(&key_info.to_der().map_err(|_| MALFORMED)?);
        let issuer = tbs.issuer().to_der().map_err(|_| MALFORMED)?;
        let info = CertInfo {
            issuer: issuer.clone(),
            public_key: names::decode_key(key_info)?,
            subject: names::decode_subject(tbs.subject())?,
            spki,
            not_before: millis(tbs.validity().not_before),
            not_after: millis(tbs.validity().not_after),
            serial: tbs.serial_number().as_bytes().iter().copied().skip_while(|b| *b == 0).collect(),
            is_ca: basic.as_ref().is_some_and(|b| b.ca),
            dns: dns_names(tbs)?,
        };
        Ok(Self {
            info,
            subject: tbs.subject().to_der().map_err(|_| MALFORMED)?,
            issuer,
            path_length: basic.and_then(|b| b.path_len_constraint),
            usage: tbs.get_extension::<KeyUsage>().map_err(|_| MALFORMED)?.map(|(_, u)| u),
            purposes,
            constrains_names: tbs.get_extension::<NameConstraints>().map_err(|_| MALFORMED)?.is_some(),
            no_revocation: tbs.extensions().into_iter().flatten().any(|e| e.extn_id == names::NO_REV_AVAIL),
            signed: Signed::from_der(der, "certificate")?,
        })
    }

    /// Checks the validity at a moment; both ends belong to it (RFC 5280 §4.1.2.5), in whole seconds.
    pub(super) fn check_time(&self, at: UnixMillis) -> Result<(), CertError> {
        if at < self.info.not_before {
            return Err(CertError::NotYetValid { not_before: self.info.not_before });
        }
        if at.0 / 1000 > self.info.not_after.0 / 1000 {
            return Err(CertError::Expired { not_after: self.info.not_after });
        }
        Ok(())
    }

    /// Checks that it may sign certificates.
    pub(super) fn check_ca(&self) -> Result<(), CertError> {
        if !self.info.is_ca {
            return Err(CertError::WrongUsage("a certificate in the chain is no CA"));
        }
        match &self.usage {
            Some(u) if u.key_cert_sign() => Ok(()),
            _ => Err(CertError::WrongUsage("a CA in the chain may not sign certificates (keyCertSign)")),
        }
    }
}

fn dns_names(tbs: &x509_cert::TbsCertificate) -> Result<Vec<String>, CertError> {
    let Some((_, SubjectAltName(list))) = tbs.get_extension::<SubjectAltName>().map_err(|_| MALFORMED)?
    else {
        return Ok(Vec::new());
    };
    let dns = |name: GeneralName| match name {
        GeneralName::DnsName(text) => Some(text.as_str().to_owned()),
        _ => None,
    };
    Ok(list.into_iter().filter_map(dns).collect())
}
