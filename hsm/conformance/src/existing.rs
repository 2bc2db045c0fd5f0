//! The same promises on keys that are there, where a keystore makes none itself.

use crate::{
    Target,
    checks::{Outcome, PURPOSES, check_signature, ensure, join, prints_no_secret, retry, text},
    openssl,
};
use gw_proto::{PublicKey, Scheme};
use hsm_api::{Blame, HsmError, KeyPurpose, KeyStore, Signer, sign_message};
use std::sync::Arc;

/// A key that the device holds and the keystore knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingKey {
    /// its name
    pub name: String,
    /// what it is for
    pub purpose: KeyPurpose,
    /// how it signs
    pub scheme: Scheme,
}

/// What is tried, and how.
pub type NamedCheck = (&'static str, fn(&Target<'_>, &[ExistingKey]) -> Outcome);

/// All checks, in order.
pub const ALL: &[NamedCheck] = &[
    ("each key signs, and the signature verifies", signs),
    ("the openssl command verifies the signature", openssl_agrees),
    ("each key is listed with purpose and public half", lists),
    ("a key of another purpose is refused", wrong_purpose),
    ("a missing key is named", missing),
    ("a name in use is refused and its key stays", duplicate),
    ("a key that cannot be made is refused with a remedy", not_made),
    ("any two keys differ", distinct),
    ("threads sign at the same time", concurrent),
    ("keys are there after reopening", reopens),
    ("nothing printed shows a secret", |t, _| prints_no_secret(t)),
];

fn load(store: &dyn KeyStore, key: &ExistingKey) -> Result<Arc<dyn Signer>, String> {
    let signer = store.load_key(&key.name, key.purpose).map_err(|e| format!("{}: {e}", key.name))?;
    let scheme = signer.public_key().scheme;
    ensure(scheme == key.scheme, || format!("{}: {scheme:?}, not {:?}", key.name, key.scheme))?;
    Ok(signer)
}

fn load_all(t: &Target<'_>, keys: &[ExistingKey]) -> Result<Vec<Arc<dyn Signer>>, String> {
    ensure(keys.len() >= 2, || "the suite wants two keys or more".to_owned())?;
    keys.iter().map(|key| load(t.store, key)).collect()
}

fn signs(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    for signer in load_all(t, keys)? {
        for message in [&b""[..], b"message digest", &[0xff; 5000]] {
            let signature = sign_message(&*signer, message).map_err(|e| text(&e))?;
            check_signature(signer.public_key(), message, &signature)?;
            let changed = [message, b"!"].concat();
            let accepted = gw_sm::verify(signer.public_key(), &changed, &signature).is_ok();
            ensure(!accepted, || "the signature also covers another message".to_owned())?;
        }
        for digest in [[0; 32], [0xff; 32]] {
            let signature = signer.sign_digest(&digest).map_err(|e| text(&e))?;
            gw_sm::verify_digest(signer.public_key(), &digest, &signature).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn openssl_agrees(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    if !openssl::is_there() {
        return Ok(());
    }
    for signer in load_all(t, keys)? {
        let signature = sign_message(&*signer, b"message").map_err(|e| text(&e))?;
        let verify = |message| openssl::verifies(signer.public_key(), message, &signature);
        ensure(verify(b"message")?, || "openssl refuses a signature".to_owned())?;
        ensure(!verify(b"another")?, || "openssl was not really asked".to_owned())?;
    }
    Ok(())
}

fn lists(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    let mut listed = t.store.list_keys().map_err(|e| text(&e))?;
    let mut wanted: Vec<(String, KeyPurpose, PublicKey)> = Vec::new();
    for (key, signer) in keys.iter().zip(load_all(t, keys)?) {
        wanted.push((key.name.clone(), key.purpose, *signer.public_key()));
    }
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    ensure(listed == wanted, || format!("{} keys listed, {} expected, or others", listed.len(), wanted.len()))
}

fn wrong_purpose(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    for key in keys {
        for wanted in PURPOSES.into_iter().filter(|w| *w != key.purpose) {
            match t.store.load_key(&key.name, wanted) {
                Err(e @ HsmError::WrongPurpose { .. }) => {
                    ensure(e.blame() == Blame::Caller && !e.may_retry(), || "wrong blame".to_owned())?;
                }
                Err(e) => return Err(format!("refused as: {e}")),
                Ok(_) => return Err(format!("a {:?} key was handed out as {wanted:?}", key.purpose)),
            }
        }
    }
    Ok(())
}

fn missing(t: &Target<'_>, _: &[ExistingKey]) -> Outcome {
    let name = format!("{}-missing", t.prefix);
    match t.store.load_key(&name, KeyPurpose::Node) {
        Err(HsmError::NoSuchKey { name: n, .. }) if n == name => Ok(()),
        Err(e) => Err(format!("refused as: {e}")),
        Ok(_) => Err("a key that was never made".to_owned()),
    }
}

fn duplicate(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    for (key, before) in keys.iter().zip(load_all(t, keys)?) {
        match t.store.create_key(&key.name, key.purpose, key.scheme) {
            Err(HsmError::Exists { name, .. }) if name == key.name => {}
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err("a name was given twice".to_owned()),
        }
        let after = load(t.store, key)?;
        ensure(before.public_key() == after.public_key(), || "the key was replaced".to_owned())?;
    }
    Ok(())
}

fn not_made(t: &Target<'_>, _: &[ExistingKey]) -> Outcome {
    let name = format!("{}-new", t.prefix);
    for scheme in t.schemes {
        match t.store.create_key(&name, KeyPurpose::Node, *scheme) {
            Err(HsmError::CannotMake { name: n, remedy, .. }) if n == name => {
                ensure(!remedy.is_empty(), || "it does not say what to do".to_owned())?;
            }
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err("it was made: use the suite for keystores that make keys".to_owned()),
        }
    }
    for scheme in t.unsupported {
        match t.store.create_key(&name, KeyPurpose::Node, *scheme) {
            Err(HsmError::Unsupported { scheme: s, .. }) if s == *scheme => {}
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err(format!("{scheme:?} was made")),
        }
    }
    let gone = matches!(t.store.load_key(&name, KeyPurpose::Node), Err(HsmError::NoSuchKey { .. }));
    ensure(gone, || "a refused key is there".to_owned())
}

fn distinct(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    let signers = load_all(t, keys)?;
    let mut points: Vec<_> = signers.iter().map(|s| s.public_key().point.0).collect();
    points.sort_unstable();
    points.dedup();
    ensure(points.len() == signers.len(), || "two names, one key".to_owned())
}

fn concurrent(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    let (signers, patience) = (load_all(t, keys)?, t.patience);
    join(8, |n| {
        for i in 0..8u8 {
            // neighbours in time use different keys
            let Some(signer) = signers.get(usize::from(n ^ i) % signers.len()) else { continue };
            let message = [n, i];
            let signature = retry(patience, || sign_message(&**signer, &message))?;
            check_signature(signer.public_key(), &message, &signature)?;
        }
        Ok(())
    })
}

fn reopens(t: &Target<'_>, keys: &[ExistingKey]) -> Outcome {
    let store = (t.reopen)().map_err(|e| text(&e))?;
    ensure(store.info() == t.store.info(), || "it says something else of itself".to_owned())?;
    for (key, before) in keys.iter().zip(load_all(t, keys)?) {
        let signer = load(&*store, key)?;
        ensure(signer.public_key() == before.public_key(), || format!("{}: another public key", key.name))?;
        let signature = sign_message(&*signer, b"again").map_err(|e| text(&e))?;
        check_signature(before.public_key(), b"again", &signature)?;
    }
    Ok(())
}
