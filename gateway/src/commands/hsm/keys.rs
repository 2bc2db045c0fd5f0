//! `hsm keys` and `hsm self-test`.

use crate::{assemble::keystore::OpenKeystore, config::Config};
use anyhow::{Context as _, Result};
use gw_proto::{PublicKey, Scheme};
use gw_sm::cert::{Subject, build_request, request_to_pem};
use hsm_api::{HsmError, KeyPurpose, KeyStore, Signer, sign_message};
use std::{io::Write, sync::Arc};

/// Makes a key, or finds the one that an interrupted start made.
pub(super) fn make(
    store: &dyn KeyStore,
    name: &str,
    purpose: KeyPurpose,
    scheme: Scheme,
) -> Result<Arc<dyn Signer>> {
    match store.create_key(name, purpose, scheme) {
        Err(HsmError::Exists { .. }) => {
            let found = store.load_key(name, purpose)?;
            let has = found.public_key().scheme;
            anyhow::ensure!(has == scheme, "key `{name}` exists already and is {}", word(has));
            Ok(found)
        }
        other => Ok(other?),
    }
}

pub(super) fn word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Sm2Sm3 => "sm2",
        Scheme::EcdsaP256Sha256 => "p256",
    }
}

/// One key on one line.
pub(super) fn line(name: &str, purpose: KeyPurpose, key: &PublicKey) -> String {
    format!("{name:<16} {:<11} {:<4} {}", purpose.as_str(), word(key.scheme), key.id())
}

pub(super) fn list(config: &Config, out: &mut dyn Write) -> Result<()> {
    let opened = super::open(config)?;
    writeln!(out, "{:<16} {:<11} {:<4} id", "name", "purpose", "key")?;
    for (name, purpose, key) in opened.store.list_keys()? {
        writeln!(out, "{}", line(&name, purpose, &key))?;
    }
    Ok(())
}

/// Opening runs the device's own test and the known answers; then each key signs, and we verify.
pub(super) fn self_test(config: &Config, out: &mut dyn Write) -> Result<()> {
    let opened = super::open(config)?;
    writeln!(out, "ok    power-on self test: known answers, random source")?;
    let k = &config.keystore;
    for (name, purpose) in [(&k.node_key, KeyPurpose::Node), (&k.account_key, KeyPurpose::Account)] {
        let key = opened.store.load_key(name, purpose)?;
        let message = b"xinguan hsm self-test";
        let signature = sign_message(&*key, message)?;
        gw_sm::verify(key.public_key(), message, &signature)
            .with_context(|| format!("the signature of `{name}` does not verify: do not use this device"))?;
        writeln!(out, "ok    {} signs", line(name, purpose, key.public_key()))?;
    }
    Ok(())
}

/// The request for the node key's certificate.
pub(super) fn request(config: &Config, opened: &OpenKeystore, out: &mut dyn Write) -> Result<()> {
    let node = &config.node;
    let key = opened.store.load_key(&config.keystore.node_key, KeyPurpose::Node)?;
    let subject = Subject {
        common_name: Some(node.id.to_string()),
        organization: Some(node.institution.to_string()),
        ..Subject::default()
    };
    let der = build_request(&subject, key.public_key(), &|digest| {
        key.sign_digest(digest).map_err(|e| e.to_string())
    })?;
    Ok(write!(out, "{}", request_to_pem(&der)?)?)
}
