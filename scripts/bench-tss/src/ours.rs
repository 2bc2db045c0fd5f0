//! Signatures by hsm-tpm2.

use crate::{DIGEST, swtpm::Simulator};
use gw_proto::Scheme;
use hsm_api::{KeyPurpose, KeyStore as _, Signer};
use hsm_tpm2::{Options, Secret, Tpm2KeyStore, transport::Connect};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

/// A keystore with one key.
pub struct Ours {
    store: Tpm2KeyStore,
    key: Arc<dyn Signer>,
}

impl Ours {
    /// A keystore in a file of this name, keys with authorization values.
    pub fn store(
        chip: &Simulator,
        way: Arc<dyn Connect>,
        file: &str,
    ) -> Result<Tpm2KeyStore, Box<dyn Error>> {
        let key_auth = Secret::new(vec![7; 32].into())?;
        Ok(Tpm2KeyStore::init(Options { key_auth, ..Options::new(way, chip.path(file)) })?)
    }

    /// A new key of this kind.
    pub fn new(store: &Tpm2KeyStore, scheme: Scheme) -> Result<Self, Box<dyn Error>> {
        let name = match scheme {
            Scheme::Sm2Sm3 => "sm2",
            Scheme::EcdsaP256Sha256 => "p256",
        };
        let key = store.create_key(name, KeyPurpose::Node, scheme)?;
        Ok(Self { store: store.clone(), key })
    }

    /// One signature, checked.
    pub fn sign(&self) -> Result<(), Box<dyn Error>> {
        let signature = self.key.sign_digest(&DIGEST)?;
        Ok(gw_sm::sig::verify_digest(self.key.public_key(), &DIGEST, &signature)?)
    }

    /// Connects, makes `count` signatures, and leaves. The time is that of the signatures alone.
    pub fn block(&self, count: u32) -> Result<Duration, Box<dyn Error>> {
        self.sign()?;
        let begin = Instant::now();
        for _ in 0..count {
            self.key.sign_digest(&DIGEST)?;
        }
        let time = begin.elapsed();
        self.store.disconnect()?;
        Ok(time)
    }
}
