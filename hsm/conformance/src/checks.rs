//! The checks. Each stands alone: it makes the keys it needs, under names of its own.

use crate::{Target, openssl, secrets};
use gw_proto::{PublicKey, Scheme, Signature};
use hsm_api::{Blame, HsmError, KeyPurpose, Signer, sign_message};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A check's problem, in words.
pub type Outcome = Result<(), String>;

/// What is tried, and how.
pub type NamedCheck = (&'static str, fn(&Target<'_>) -> Outcome);

/// All checks, in order.
pub const ALL: &[NamedCheck] = &[
    ("a made key signs, and the signature verifies", signs),
    ("the openssl command verifies the signature", openssl_agrees),
    ("a loaded key is the made key", loads),
    ("keys are listed with purpose and public half", lists),
    ("a key of another purpose is refused", wrong_purpose),
    ("a missing key is named", missing),
    ("a name in use is refused and its key stays", duplicate),
    ("an unsupported scheme is refused and makes no key", unsupported),
    ("two made keys differ", distinct),
    ("threads sign at the same time", concurrent),
    ("threads that make the same name get one key", concurrent_make),
    ("keys are there after reopening", reopens),
    ("nothing printed shows a secret", prints_no_secret),
];

pub(crate) const PURPOSES: [KeyPurpose; 3] = [KeyPurpose::Node, KeyPurpose::Storage, KeyPurpose::Account];

pub(crate) fn text(e: &HsmError) -> String {
    e.to_string()
}

pub(crate) fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(problem()) }
}

fn named(t: &Target<'_>, check: &str, scheme: Scheme) -> String {
    let scheme = match scheme {
        Scheme::Sm2Sm3 => "sm2",
        Scheme::EcdsaP256Sha256 => "p256",
    };
    format!("{}-{check}-{scheme}", t.prefix)
}

fn make(t: &Target<'_>, name: &str, scheme: Scheme) -> Result<Arc<dyn Signer>, String> {
    let signer = t.store.create_key(name, KeyPurpose::Node, scheme).map_err(|e| text(&e))?;
    let made = signer.public_key().scheme;
    ensure(made == scheme, || format!("asked for {scheme:?}, got {made:?}"))?;
    Ok(signer)
}

/// One key of the first scheme; most checks need no more.
fn make_one(t: &Target<'_>, check: &str) -> Result<(String, Scheme, Arc<dyn Signer>), String> {
    let scheme = *t.schemes.first().ok_or("the keystore has no scheme")?;
    let name = named(t, check, scheme);
    let signer = make(t, &name, scheme)?;
    Ok((name, scheme, signer))
}

pub(crate) fn check_signature(key: &PublicKey, message: &[u8], signature: &Signature) -> Outcome {
    gw_sm::verify(key, message, signature).map_err(|e| format!("{:?}: {e}", key.scheme))
}

fn signs(t: &Target<'_>) -> Outcome {
    for scheme in t.schemes {
        let signer = make(t, &named(t, "signs", *scheme), *scheme)?;
        for message in [&b""[..], b"message digest", &[0xff; 5000]] {
            let signature = sign_message(&*signer, message).map_err(|e| text(&e))?;
            check_signature(signer.public_key(), message, &signature)?;
            let changed = [message, b"!"].concat();
            let accepted = gw_sm::verify(signer.public_key(), &changed, &signature).is_ok();
            ensure(!accepted, || "the signature also covers another message".to_owned())?;
        }
        // every digest can be signed, the smallest and the largest too
        for digest in [[0; 32], [0xff; 32]] {
            let signature = signer.sign_digest(&digest).map_err(|e| text(&e))?;
            gw_sm::verify_digest(signer.public_key(), &digest, &signature).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn openssl_agrees(t: &Target<'_>) -> Outcome {
    if !openssl::is_there() {
        return Ok(());
    }
    for scheme in t.schemes {
        let signer = make(t, &named(t, "openssl", *scheme), *scheme)?;
        let signature = sign_message(&*signer, b"message").map_err(|e| text(&e))?;
        let verify = |message| openssl::verifies(signer.public_key(), message, &signature);
        ensure(verify(b"message")?, || format!("openssl refuses a {scheme:?} signature"))?;
        ensure(!verify(b"another")?, || "openssl was not really asked".to_owned())?;
    }
    Ok(())
}

fn loads(t: &Target<'_>) -> Outcome {
    for purpose in PURPOSES {
        for scheme in t.schemes {
            let name = named(t, &format!("loads-{}", purpose.as_str()), *scheme);
            let made = t.store.create_key(&name, purpose, *scheme).map_err(|e| text(&e))?;
            let loaded = t.store.load_key(&name, purpose).map_err(|e| text(&e))?;
            ensure(made.public_key() == loaded.public_key(), || format!("{name}: another public key"))?;
            let signature = sign_message(&*loaded, b"m").map_err(|e| text(&e))?;
            check_signature(made.public_key(), b"m", &signature)?;
        }
    }
    Ok(())
}

fn lists(t: &Target<'_>) -> Outcome {
    let before = t.store.list_keys().map_err(|e| text(&e))?.len();
    let (name, scheme, signer) = make_one(t, "lists")?;
    let account = named(t, "lists-account", scheme);
    t.store.create_key(&account, KeyPurpose::Account, scheme).map_err(|e| text(&e))?;
    let listed = t.store.list_keys().map_err(|e| text(&e))?;
    ensure(listed.len() == before + 2, || format!("{} keys listed, {} expected", listed.len(), before + 2))?;
    let wanted = (name, KeyPurpose::Node, *signer.public_key());
    ensure(listed.contains(&wanted), || "a made key is not listed as it was made".to_owned())?;
    let found = listed.iter().any(|(n, p, _)| *n == account && *p == KeyPurpose::Account);
    ensure(found, || "a key's purpose is not listed".to_owned())
}

fn wrong_purpose(t: &Target<'_>) -> Outcome {
    let scheme = *t.schemes.first().ok_or("the keystore has no scheme")?;
    for made in PURPOSES {
        let name = named(t, &format!("purpose-{}", made.as_str()), scheme);
        t.store.create_key(&name, made, scheme).map_err(|e| text(&e))?;
        for wanted in PURPOSES.into_iter().filter(|w| *w != made) {
            match t.store.load_key(&name, wanted) {
                Err(e @ HsmError::WrongPurpose { .. }) => {
                    ensure(e.blame() == Blame::Caller && !e.may_retry(), || "wrong blame".to_owned())?;
                }
                Err(e) => return Err(format!("refused as: {e}")),
                Ok(_) => return Err(format!("a {made:?} key was handed out as {wanted:?}")),
            }
        }
    }
    Ok(())
}

fn missing(t: &Target<'_>) -> Outcome {
    let name = format!("{}-missing", t.prefix);
    match t.store.load_key(&name, KeyPurpose::Node) {
        Err(HsmError::NoSuchKey { name: n, .. }) if n == name => Ok(()),
        Err(e) => Err(format!("refused as: {e}")),
        Ok(_) => Err("a key that was never made".to_owned()),
    }
}

fn duplicate(t: &Target<'_>) -> Outcome {
    let (name, scheme, first) = make_one(t, "duplicate")?;
    for purpose in PURPOSES {
        match t.store.create_key(&name, purpose, scheme) {
            Err(HsmError::Exists { name: n, .. }) if n == name => {}
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err("a name was given twice".to_owned()),
        }
    }
    let still = t.store.load_key(&name, KeyPurpose::Node).map_err(|e| text(&e))?;
    ensure(still.public_key() == first.public_key(), || "the first key was replaced".to_owned())
}

fn unsupported(t: &Target<'_>) -> Outcome {
    for scheme in t.unsupported {
        let name = named(t, "unsupported", *scheme);
        match t.store.create_key(&name, KeyPurpose::Node, *scheme) {
            Err(HsmError::Unsupported { scheme: s, .. }) if s == *scheme => {}
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err(format!("{scheme:?} was made")),
        }
        let gone = matches!(t.store.load_key(&name, KeyPurpose::Node), Err(HsmError::NoSuchKey { .. }));
        ensure(gone, || "a refused key is there".to_owned())?;
    }
    Ok(())
}

fn distinct(t: &Target<'_>) -> Outcome {
    let (_, _, a) = make_one(t, "distinct-a")?;
    let (_, _, b) = make_one(t, "distinct-b")?;
    ensure(a.public_key() != b.public_key(), || "the same key twice: no randomness".to_owned())
}

fn concurrent(t: &Target<'_>) -> Outcome {
    let (name, _, signer) = make_one(t, "concurrent")?;
    let (store, patience) = (t.store, t.patience);
    join(8, |n| {
        let loaded = store.load_key(&name, KeyPurpose::Node).map_err(|e| text(&e))?;
        for i in 0..8u8 {
            let message = [n, i];
            // a device with a bounded queue may say that it is busy; it may not answer wrongly
            let signature = retry(patience, || sign_message(&*loaded, &message))?;
            check_signature(signer.public_key(), &message, &signature)?;
        }
        Ok(())
    })
}

fn concurrent_make(t: &Target<'_>) -> Outcome {
    let scheme = *t.schemes.first().ok_or("the keystore has no scheme")?;
    let name = named(t, "race", scheme);
    let made = std::sync::Mutex::new(Vec::new());
    let (store, patience) = (t.store, t.patience);
    join(4, |_| {
        match retry(patience, || match store.create_key(&name, KeyPurpose::Node, scheme) {
            Ok(signer) => Ok(Some(*signer.public_key())),
            Err(HsmError::Exists { .. }) => Ok(None),
            Err(e) => Err(e),
        })? {
            Some(key) => made.lock().map_err(|e| e.to_string())?.push(key),
            None => return Ok(()),
        }
        Ok(())
    })?;
    let made = made.into_inner().map_err(|e| e.to_string())?;
    ensure(made.len() == 1, || format!("{} threads made the key", made.len()))?;
    let kept = t.store.load_key(&name, KeyPurpose::Node).map_err(|e| text(&e))?;
    ensure(made.first() == Some(kept.public_key()), || "another key was kept".to_owned())
}

/// Repeats while the device is busy, as long as the target allows.
pub(crate) fn retry<T>(patience: Duration, mut f: impl FnMut() -> Result<T, HsmError>) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        match f() {
            Err(e) if e.may_retry() && Instant::now() < deadline => std::thread::yield_now(),
            other => return other.map_err(|e| text(&e)),
        }
    }
}

pub(crate) fn join(threads: u8, work: impl Fn(u8) -> Outcome + Sync) -> Outcome {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(n)
                })
            })
            .collect();
        let ended: Vec<Outcome> = running
            .into_iter()
            .map(|r| r.join().map_err(|_| "a thread panicked".to_owned()).flatten())
            .collect();
        ended.into_iter().collect()
    })
}

fn reopens(t: &Target<'_>) -> Outcome {
    let mut made = Vec::new();
    for scheme in t.schemes {
        let name = named(t, "reopens", *scheme);
        made.push((name.clone(), *make(t, &name, *scheme)?.public_key()));
    }
    let listed = t.store.list_keys().map_err(|e| text(&e))?;
    let store = (t.reopen)().map_err(|e| text(&e))?;
    ensure(store.info() == t.store.info(), || "it says something else of itself".to_owned())?;
    let mut again = store.list_keys().map_err(|e| text(&e))?;
    let mut before = listed;
    again.sort_by(|a, b| a.0.cmp(&b.0));
    before.sort_by(|a, b| a.0.cmp(&b.0));
    ensure(again == before, || "another list of keys".to_owned())?;
    for (name, public) in made {
        let signer = store.load_key(&name, KeyPurpose::Node).map_err(|e| text(&e))?;
        ensure(*signer.public_key() == public, || format!("{name}: another public key"))?;
        check_signature(&public, b"again", &sign_message(&*signer, b"again").map_err(|e| text(&e))?)?;
        let refused =
            matches!(store.load_key(&name, KeyPurpose::Account), Err(HsmError::WrongPurpose { .. }));
        ensure(refused, || format!("{name}: its purpose was forgotten"))?;
    }
    Ok(())
}

pub(crate) fn prints_no_secret(t: &Target<'_>) -> Outcome {
    let secrets = (t.secrets)();
    for printed in (t.printed)() {
        ensure(!printed.is_empty(), || "nothing was printed".to_owned())?;
        for secret in &secrets {
            // the secret is not repeated here either
            ensure(!secrets::shows(&printed, secret), || {
                let shown: String = printed.chars().take(12).collect();
                format!("what begins with `{shown}` shows a secret")
            })?;
        }
    }
    Ok(())
}
