//! Evidence: quotes, certified keys, credentials.

use crate::{
    chip::Auth,
    command::Entity,
    commands::{self, attest, keys, keys::Blob, policy, storage},
    device::Open,
    error::TpmError,
    index::Held,
    secret::Secret,
    store::Shared,
    template::{self, Endorsement},
    wire,
};
use gw_proto::Scheme;
use hsm_api::{
    HsmError,
    attest::{AttestationKey, Attestor, Credential, MeasurementHash, Quote, Statement},
};
use std::sync::Arc;
use tpm2_protocol::data::{TpmAlgId, TpmuAsymScheme, TpmuPublicParms};
use zeroize::Zeroizing;

/// A restricted key of the chip.
pub(crate) struct TpmAttestor {
    shared: Arc<Shared>,
    key: AttestationKey,
    hash: MeasurementHash,
    blob: Blob,
    auth: Secret,
}

impl TpmAttestor {
    pub(crate) fn new(shared: Arc<Shared>, held: &Held, auth: Secret) -> Result<Self, TpmError> {
        let unreadable = || TpmError::Lacks { what: "readable attestation key".to_owned() };
        let area = template::parse(&held.blob.public).ok_or_else(unreadable)?;
        let key = AttestationKey {
            public: held.public,
            public_area: held.blob.public.clone(),
            name: template::name_of(&area)?,
        };
        let TpmuPublicParms::Ecc(parms) = &area.parameters else { return Err(unreadable()) };
        let hash = match (held.public.scheme, &parms.scheme.details) {
            (Scheme::Sm2Sm3, TpmuAsymScheme::Hash(h)) if h.hash_alg == TpmAlgId::Sm3_256 => {
                MeasurementHash::Sm3
            }
            _ => MeasurementHash::Sha256,
        };
        Ok(Self { shared, key, hash, blob: held.blob.clone(), auth })
    }

    fn statement(&self, attested: attest::Attested) -> Statement {
        Statement { attested: attested.bytes, signature: attested.signature, hash: self.hash }
    }

    /// Quotes until the values read beside the quote are those quoted: others may extend in between.
    fn quote_once(&self, open: &mut Open, nonce: &[u8], pcrs: &[u8]) -> Result<Quote, TpmError> {
        const TRIES: u8 = 4;
        let bank = open.info.bank;
        let selection = storage::selection(bank, pcrs)?;
        let key = open.key(&self.blob)?;
        for _ in 0..TRIES {
            let before = storage::pcr_read(&mut open.chip, bank, pcrs)?;
            let attested = attest::quote(&mut open.chip, &key, &self.auth, nonce, &selection)?;
            let after = storage::pcr_read(&mut open.chip, bank, pcrs)?;
            if before == after {
                return Ok(Quote { statement: self.statement(attested), bank, pcrs: after });
            }
        }
        Err(TpmError::StillBusy { command: "Quote", waited: std::time::Duration::ZERO })
    }
}

impl Attestor for TpmAttestor {
    fn attestation_key(&self) -> AttestationKey {
        self.key.clone()
    }

    fn quote(&self, nonce: &[u8], pcrs: &[u8]) -> Result<Quote, HsmError> {
        if pcrs.is_empty() {
            return Err(TpmError::Input { what: "a quote of no PCRs says nothing".to_owned() }.into());
        }
        Ok(self.shared.device.with(|open| self.quote_once(open, nonce, pcrs))?)
    }

    fn certify(&self, key_name: &str, nonce: &[u8]) -> Result<Statement, HsmError> {
        let (held, auth) = self.shared.find_any(key_name)?;
        if held.blob == self.blob {
            return Err(HsmError::NotPossible {
                what: format!("key `{key_name}` cannot certify itself"),
                store: self.shared.place(),
            });
        }
        let attested = self.shared.device.with(|open| {
            open.flush_keys();
            let ours = open.key(&self.blob)?;
            let object = open.key(&held.blob)?;
            attest::certify(&mut open.chip, (&object, &auth), (&ours, &self.auth), nonce)
        })?;
        Ok(self.statement(attested))
    }

    fn activate_credential(&self, credential: &Credential) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let owner = &self.shared.endorsement_auth;
        Ok(self.shared.device.with(|open| {
            let (kind, _) = certified(open)?;
            open.flush_keys();
            let ours = open.key(&self.blob)?;
            let endorsement = endorsement(open, kind, owner)?;
            let secret = activate(open, kind, (&ours, &self.auth), &endorsement.entity, owner, credential);
            commands::flush(&mut open.chip, endorsement.entity.handle)?;
            secret
        })?)
    }

    fn endorsement_key(&self) -> Result<Vec<u8>, HsmError> {
        let auth = &self.shared.endorsement_auth;
        let public = self.shared.device.with(|open| {
            let (kind, _) = certified(open)?;
            open.flush_keys();
            let made = endorsement(open, kind, auth)?;
            commands::flush(&mut open.chip, made.entity.handle)?;
            Ok(made.public)
        })?;
        wire::marshal(&public).ok_or_else(|| TpmError::TooLong { command: "a public area" }.into())
    }

    fn endorsement_certificate(&self) -> Result<Vec<u8>, HsmError> {
        Ok(self.shared.device.with(|open| certified(open).map(|(_, der)| der))?)
    }
}

/// The first kind of endorsement key that the manufacturer certified, and its certificate.
fn certified(open: &mut Open) -> Result<(Endorsement, Vec<u8>), TpmError> {
    const REMEDY: &str =
        "the chip came without a certificate; enrol it with its manufacturer's, or use another chip";
    let mut missing = None;
    for kind in Endorsement::ALL {
        match storage::nv_public(&mut open.chip, kind.certificate_index(), REMEDY) {
            Ok(index) => {
                let data = storage::nv_read(&mut open.chip, &index, &index.entity, &Secret::empty())?;
                return Ok((kind, trim_der(data)?));
            }
            Err(e @ TpmError::NoIndex { .. }) => missing = missing.or(Some(e)),
            Err(e) => return Err(e),
        }
    }
    Err(missing.unwrap_or_else(|| TpmError::Lacks { what: "endorsement certificate".to_owned() }))
}

/// Some chips pad the certificate to the size of the index.
fn trim_der(mut data: Vec<u8>) -> Result<Vec<u8>, TpmError> {
    let length = match data.get(..4) {
        Some([0x30, 0x82, high, low]) => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        Some([0x30, 0x81, short, _]) => 3 + usize::from(*short),
        _ => usize::MAX,
    };
    if length > data.len() {
        return Err(TpmError::Lacks { what: "endorsement certificate in DER".to_owned() });
    }
    data.truncate(length);
    Ok(data)
}

fn endorsement(open: &mut Open, kind: Endorsement, auth: &Secret) -> Result<keys::Object, TpmError> {
    keys::create_primary(&mut open.chip, &Entity::endorsement(), auth, &kind.template())
}

/// Keys of the low range are used by their policy (the endorsement hierarchy's value), those of the high range by their
/// own, which is empty.
fn activate(
    open: &mut Open,
    kind: Endorsement,
    ours: (&Entity, &Secret),
    endorsement: &Entity,
    auth: &Secret,
    credential: &Credential,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let chip = &mut open.chip;
    if kind.by_value() {
        let by_value = Auth::Value(&Secret::empty());
        return attest::activate_credential(chip, ours, (endorsement, by_value), credential);
    }
    let mut session = chip.start_policy()?;
    let secret = policy::secret(chip, &session, &Entity::endorsement(), auth).and_then(|()| {
        attest::activate_credential(chip, ours, (endorsement, Auth::Policy(&mut session)), credential)
    });
    chip.end_policy(session);
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_behind_a_certificate_goes() {
        let mut data = vec![0x30, 0x82, 0, 3, 1, 2, 3, 0, 0, 0];
        assert_eq!(trim_der(data.clone()).unwrap(), [0x30, 0x82, 0, 3, 1, 2, 3]);
        data.truncate(6);
        assert!(trim_der(data).is_err());
        assert!(trim_der(vec![]).is_err() && trim_der(vec![0xff; 40]).is_err());
    }
}
