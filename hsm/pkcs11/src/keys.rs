//! What a key looks like on the token: templates, the id that binds its purpose, its public half.

use crate::{
    error::Pkcs11Error,
    options::{EC_KEY_PAIR_GEN, Sm2Mechanisms, TokenName},
};
use cryptoki::{
    error::RvError,
    mechanism::{Mechanism, MechanismType, vendor_defined::VendorDefinedMechanism},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use gw_proto::{Hex, PublicKey, Scheme};
use hsm_api::{HsmError, KeyPurpose};

/// prime256v1 (1.2.840.10045.3.1.7) in DER.
const P256_CURVE: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const MARK: [u8; 3] = *b"xg\x01";
const PURPOSES: [(u8, KeyPurpose); 3] =
    [(1, KeyPurpose::Node), (2, KeyPurpose::Storage), (3, KeyPurpose::Account)];
const SCHEMES: [(u8, Scheme); 2] = [(1, Scheme::Sm2Sm3), (2, Scheme::EcdsaP256Sha256)];
/// The most objects of a kind that are looked at.
const MAX_OBJECTS: usize = 1024;

/// CKA_ID of a key: `xg`, version 1, purpose, scheme, then 15 bytes of SM3 over these and the name. Anyone can
/// compute it; that it stays as it was made is for the token to see to (CKA_MODIFIABLE).
pub fn key_id(name: &str, purpose: KeyPurpose, scheme: Scheme) -> [u8; 20] {
    let number_of = |known: Option<u8>| known.unwrap_or(0);
    let purpose = number_of(PURPOSES.iter().find(|(_, p)| *p == purpose).map(|(n, _)| *n));
    let scheme = number_of(SCHEMES.iter().find(|(_, s)| *s == scheme).map(|(n, _)| *n));
    let mut id = [0; 20];
    let head = [MARK[0], MARK[1], MARK[2], purpose, scheme];
    let digest = gw_proto::sm3(&[b"xinguan pkcs11 key\0", &head[..], name.as_bytes()].concat());
    for (to, from) in id.iter_mut().zip(head.iter().chain(&digest.0)) {
        *to = *from;
    }
    id
}

/// Purpose and scheme that an id binds to this name; none if it is not ours, or another name's.
fn read_id(id: &[u8], name: &str) -> Option<(KeyPurpose, Scheme)> {
    let [_, _, _, purpose, scheme, ..] = id else { return None };
    let purpose = PURPOSES.iter().find(|(n, _)| n == purpose)?.1;
    let scheme = SCHEMES.iter().find(|(n, _)| n == scheme)?.1;
    (id == key_id(name, purpose, scheme)).then_some((purpose, scheme))
}

/// How much of what is not needed a template rules out. Version 2.40 has no CKA_COPYABLE, and some tokens refuse
/// any attribute that they do not know: less is asked for until the token takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strictness {
    /// no other use, no copy, no change
    SignsOnly,
    /// no copy, no change
    Single,
    /// no change
    Fixed,
    /// the token keeps nobody from changing it; the digest in CKA_ID still shows it
    Loose,
}

impl Strictness {
    const ALL: [Self; 4] = [Self::SignsOnly, Self::Single, Self::Fixed, Self::Loose];
}

/// A key that was found.
pub(crate) struct Found {
    pub(crate) handle: ObjectHandle,
    pub(crate) purpose: KeyPurpose,
    pub(crate) public: PublicKey,
}

/// A session and what is needed to make sense of its objects.
pub(crate) struct Keys<'a> {
    pub(crate) session: &'a Session,
    pub(crate) token: &'a TokenName,
    pub(crate) sm2: Option<&'a Sm2Mechanisms>,
}

impl Keys<'_> {
    fn failed(&self, e: &cryptoki::error::Error) -> Pkcs11Error {
        Pkcs11Error::call(self.token, e)
    }

    fn refused(&self, name: &str, what: &'static str) -> Pkcs11Error {
        Pkcs11Error::Key { name: hsm_api::backend::clip(name), token: self.token.clone(), what }
    }

    fn objects(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
        let found = self.session.iter_objects(template).map_err(|e| self.failed(&e))?;
        found.take(MAX_OBJECTS).map(|o| o.map_err(|e| self.failed(&e))).collect()
    }

    /// How many private keys carry this label.
    pub(crate) fn count(&self, name: &str) -> Result<usize, Pkcs11Error> {
        Ok(self.objects(&labelled(ObjectClass::PRIVATE_KEY, name))?.len())
    }

    /// The key of a name, as it must be.
    pub(crate) fn find(&self, name: &str) -> Result<Found, Pkcs11Error> {
        let handles = self.objects(&labelled(ObjectClass::PRIVATE_KEY, name))?;
        match handles.as_slice() {
            [handle] => self.read(name, *handle),
            [] => {
                let (name, store) = (hsm_api::backend::clip(name), self.token.to_string());
                Err(HsmError::NoSuchKey { name, store }.into())
            }
            _ => {
                Err(self.refused(name, "two private keys carry its label; delete the one that is not in use"))
            }
        }
    }

    fn read(&self, name: &str, handle: ObjectHandle) -> Result<Found, Pkcs11Error> {
        let wanted = [AttributeType::Id, AttributeType::Sensitive, AttributeType::Extractable];
        let attributes = self.session.get_attributes(handle, &wanted).map_err(|e| self.failed(&e))?;
        let id = attributes.iter().find_map(|a| if let Attribute::Id(id) = a { Some(id) } else { None });
        let Some((purpose, scheme)) = id.and_then(|id| read_id(id, name)) else {
            return Err(self.refused(
                name,
                "its CKA_ID does not bind this name to a purpose: it was not made by this gateway, or was \
                 renamed; make a new one",
            ));
        };
        let kept = attributes.contains(&Attribute::Sensitive(true))
            && attributes.contains(&Attribute::Extractable(false));
        if !kept {
            return Err(self.refused(name, "its private half can be read out of the token; make a new one"));
        }
        let public = self.public(name, purpose, scheme)?;
        Ok(Found { handle, purpose, public })
    }

    fn public(&self, name: &str, purpose: KeyPurpose, scheme: Scheme) -> Result<PublicKey, Pkcs11Error> {
        let mut template = labelled(ObjectClass::PUBLIC_KEY, name);
        template.push(Attribute::Id(key_id(name, purpose, scheme).to_vec()));
        let handles = self.objects(&template)?;
        let [handle] = handles.as_slice() else {
            return Err(self.refused(name, "there is not exactly one public half to it; make a new one"));
        };
        let wanted = [AttributeType::EcPoint, AttributeType::EcParams];
        let attributes = self.session.get_attributes(*handle, &wanted).map_err(|e| self.failed(&e))?;
        let curve = self.curve(scheme);
        if !attributes.iter().any(|a| matches!(a, Attribute::EcParams(p) if Some(p) == curve.as_ref())) {
            return Err(self.refused(name, "it is on another curve than its CKA_ID says"));
        }
        let point =
            attributes.iter().find_map(|a| if let Attribute::EcPoint(p) = a { point(p) } else { None });
        let public = point.map(|point| PublicKey { scheme, point });
        public
            .filter(|key| gw_sm::sig::check_key(key).is_ok())
            .ok_or_else(|| self.refused(name, "its public half is no point of its curve"))
    }

    /// All keys of ours; others that live on the token are passed over.
    pub(crate) fn list(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, Pkcs11Error> {
        let mut out = Vec::new();
        for handle in self.objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])? {
            let wanted = [AttributeType::Label, AttributeType::Id];
            let attributes = self.session.get_attributes(handle, &wanted).map_err(|e| self.failed(&e))?;
            let ours = attributes.iter().any(|a| matches!(a, Attribute::Id(id) if id.starts_with(&MARK)));
            let label =
                attributes.into_iter().find_map(|a| if let Attribute::Label(l) = a { Some(l) } else { None });
            let name = label.and_then(|l| String::from_utf8(l).ok()).unwrap_or_default();
            if ours {
                let found = self.find(&name)?;
                out.push((name, found.purpose, found.public));
            }
        }
        Ok(out)
    }

    /// Makes a pair, as strictly as the token allows; `session` is read-write.
    pub(crate) fn make(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<(ObjectHandle, ObjectHandle), Pkcs11Error> {
        let mechanism = self.generating(scheme)?;
        let mut last = None;
        for strictness in Strictness::ALL {
            let (public, private) = self.templates(name, purpose, scheme, strictness)?;
            match self.session.generate_key_pair(&mechanism, &public, &private) {
                Ok(pair) => return Ok(pair),
                Err(e) if is_template(&e) => last = Some(e),
                Err(e) => return Err(self.failed(&e)),
            }
        }
        Err(last.map_or_else(|| self.refused(name, "the token does not make it"), |e| self.failed(&e)))
    }

    fn templates(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
        strictness: Strictness,
    ) -> Result<(Vec<Attribute>, Vec<Attribute>), Pkcs11Error> {
        let curve = self.curve(scheme).ok_or_else(|| unsupported(scheme, self.token))?;
        let mut both = vec![
            Attribute::Token(true),
            Attribute::Label(name.as_bytes().to_vec()),
            Attribute::Id(key_id(name, purpose, scheme).to_vec()),
            Attribute::KeyType(self.key_type(scheme)?),
        ];
        if strictness <= Strictness::Fixed {
            both.push(Attribute::Modifiable(false));
        }
        if strictness <= Strictness::Single {
            both.push(Attribute::Copyable(false));
        }
        let mut public = both.clone();
        let mut private = both;
        public.extend([Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(curve)]);
        private.extend([Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)]);
        private.extend([Attribute::Sign(true), Attribute::Derive(false)]);
        if strictness <= Strictness::SignsOnly {
            public.extend([
                Attribute::Encrypt(false),
                Attribute::Wrap(false),
                Attribute::VerifyRecover(false),
            ]);
            private.extend([
                Attribute::Decrypt(false),
                Attribute::Unwrap(false),
                Attribute::SignRecover(false),
            ]);
        }
        Ok((public, private))
    }

    /// Takes a pair away again that turned out to be of no use.
    pub(crate) fn unmake(&self, pair: (ObjectHandle, ObjectHandle)) -> Result<(), Pkcs11Error> {
        for handle in [pair.0, pair.1] {
            self.session.destroy_object(handle).map_err(|e| self.failed(&e))?;
        }
        Ok(())
    }

    fn curve(&self, scheme: Scheme) -> Option<Vec<u8>> {
        match scheme {
            Scheme::EcdsaP256Sha256 => Some(P256_CURVE.to_vec()),
            Scheme::Sm2Sm3 => self.sm2.map(|s| s.curve.clone()),
        }
    }

    fn key_type(&self, scheme: Scheme) -> Result<KeyType, Pkcs11Error> {
        match (scheme, self.sm2) {
            (Scheme::Sm2Sm3, Some(sm2)) => KeyType::try_from(sm2.key_type).map_err(|e| self.failed(&e)),
            _ => Ok(KeyType::EC),
        }
    }

    fn generating(&self, scheme: Scheme) -> Result<Mechanism<'static>, Pkcs11Error> {
        match (scheme, self.sm2) {
            (Scheme::EcdsaP256Sha256, _) => Ok(Mechanism::EccKeyPairGen),
            (Scheme::Sm2Sm3, Some(sm2)) if sm2.generate == EC_KEY_PAIR_GEN => Ok(Mechanism::EccKeyPairGen),
            (Scheme::Sm2Sm3, Some(sm2)) => self.vendor(sm2.generate),
            (Scheme::Sm2Sm3, None) => Err(unsupported(scheme, self.token)),
        }
    }

    /// Signs the 32 bytes as they are.
    pub(crate) fn signing(&self, scheme: Scheme) -> Result<Mechanism<'static>, Pkcs11Error> {
        match (scheme, self.sm2) {
            (Scheme::EcdsaP256Sha256, _) => Ok(Mechanism::Ecdsa),
            (Scheme::Sm2Sm3, Some(sm2)) => self.vendor(sm2.sign),
            (Scheme::Sm2Sm3, None) => Err(unsupported(scheme, self.token)),
        }
    }

    fn vendor(&self, id: std::ffi::c_ulong) -> Result<Mechanism<'static>, Pkcs11Error> {
        let id = MechanismType::new_vendor_defined(id).map_err(|e| self.failed(&e))?;
        Ok(Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(id, None)))
    }
}

pub(crate) fn unsupported(scheme: Scheme, token: &TokenName) -> Pkcs11Error {
    HsmError::Unsupported { scheme, store: token.to_string() }.into()
}

fn labelled(class: ObjectClass, name: &str) -> Vec<Attribute> {
    vec![Attribute::Class(class), Attribute::Label(name.as_bytes().to_vec())]
}

fn is_template(e: &cryptoki::error::Error) -> bool {
    matches!(
        e,
        cryptoki::error::Error::Pkcs11(
            RvError::TemplateInconsistent
                | RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::AttributeReadOnly,
            _
        )
    )
}

/// CKA_EC_POINT: an uncompressed point, in an OCTET STRING as the standard has it or bare as some tokens do.
fn point(der: &[u8]) -> Option<Hex<64>> {
    let bare = match der {
        [0x04, 0x41, rest @ ..] if rest.len() == 65 => rest,
        other => other,
    };
    let (form, xy) = bare.split_first()?;
    (*form == 4).then_some(Hex(xy.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_binds_name_purpose_and_scheme() {
        for (_, purpose) in PURPOSES {
            for (_, scheme) in SCHEMES {
                let id = key_id("node-1", purpose, scheme);
                assert_eq!(read_id(&id, "node-1"), Some((purpose, scheme)));
                assert_eq!(read_id(&id, "node-2"), None);
                for at in 0..id.len() {
                    let mut other = id;
                    other[at] ^= 3;
                    assert_eq!(read_id(&other, "node-1"), None, "byte {at}");
                }
                assert_eq!(read_id(&id[..19], "node-1"), None);
            }
        }
        assert_eq!(read_id(&[], "node-1"), None);
    }

    #[test]
    fn a_point_is_read_wrapped_or_bare() {
        let xy = [7u8; 64];
        let bare = [&[4][..], &xy].concat();
        let wrapped = [&[4, 0x41][..], &bare].concat();
        assert_eq!(point(&bare), Some(Hex(xy)));
        assert_eq!(point(&wrapped), Some(Hex(xy)));
        // the tag is the same number as the form: a cut of 65 bytes is read as a point, which the curve refuses
        for cut in (0..wrapped.len()).filter(|c| *c != 65) {
            assert_eq!(point(&wrapped[..cut]), None, "{cut}");
        }
        assert_eq!(point(&[&[2][..], &xy].concat()), None);
    }
}
