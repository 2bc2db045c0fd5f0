//! TLS 1.3 records under SM4-GCM (RFC 8446 §5.2, RFC 8998 §2).

use aes_gcm::{
    AesGcm,
    aead::{AeadInOut as _, KeyInit as _, array::Array, consts::U12},
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    crypto::cipher::{
        AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
        OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
        UnsupportedOperationError, make_tls13_aad,
    },
};
use sm4::Sm4;

pub(super) type Cipher = AesGcm<Sm4, U12>;
const KEY: usize = 16;
const TAG: usize = 16;

pub(super) struct Sm4Gcm;

/// None only for a key of another length, which [`Sm4Gcm::key_len`] rules out: the record is then refused.
fn cipher(key: &AeadKey) -> Option<Cipher> {
    Cipher::new_from_slice(key.as_ref()).ok()
}

impl Tls13AeadAlgorithm for Sm4Gcm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Direction { cipher: cipher(&key), iv })
    }
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Direction { cipher: cipher(&key), iv })
    }
    fn key_len(&self) -> usize {
        KEY
    }
    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        // for kernel TLS, which rustls has no SM4 variant for
        Err(UnsupportedOperationError)
    }
}

struct Direction {
    cipher: Option<Cipher>,
    iv: Iv,
}

impl MessageEncrypter for Direction {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::EncryptError)?;
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let tag = cipher
            .encrypt_inout_detached(
                &Array(Nonce::new(&self.iv, sequence).0),
                &make_tls13_aad(length),
                payload.as_mut().into(),
            )
            .map_err(|_| Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            ContentType::ApplicationData,
            // legacy_record_version, RFC 8446 §5.2
            ProtocolVersion::TLSv1_2,
            payload,
        ))
    }
    fn encrypted_payload_len(&self, payload: usize) -> usize {
        payload + 1 + TAG
    }
}

impl MessageDecrypter for Direction {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::DecryptError)?;
        let payload = &mut message.payload;
        let aad = make_tls13_aad(payload.len());
        let length = payload.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (text, tag) = payload.split_at_mut_checked(length).ok_or(Error::DecryptError)?;
        let tag = Array(<[u8; TAG]>::try_from(&*tag).map_err(|_| Error::DecryptError)?);
        let nonce = Array(Nonce::new(&self.iv, sequence).0);
        cipher.decrypt_inout_detached(&nonce, &aad, text.into(), &tag).map_err(|_| Error::DecryptError)?;
        payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{fixed, vector};

    /// RFC 8998, Appendix A.1.
    #[test]
    fn the_rfcs_example() {
        let cipher = Cipher::new_from_slice(&vector("gcm.key")).unwrap();
        let nonce = Array(fixed::<12>("gcm.nonce"));
        let mut text = vector("gcm.plain");
        let tag =
            cipher.encrypt_inout_detached(&nonce, &vector("gcm.aad"), text.as_mut_slice().into()).unwrap();
        assert_eq!(text, vector("gcm.cipher"));
        assert_eq!(tag[..], vector("gcm.tag"));
        cipher.decrypt_inout_detached(&nonce, &vector("gcm.aad"), text.as_mut_slice().into(), &tag).unwrap();
        assert_eq!(text, vector("gcm.plain"));
        let mut text = vector("gcm.cipher");
        let aad = &vector("gcm.aad")[1..];
        assert!(cipher.decrypt_inout_detached(&nonce, aad, text.as_mut_slice().into(), &tag).is_err());
    }
}
