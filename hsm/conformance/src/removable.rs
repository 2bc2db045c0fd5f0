//! A device that goes away and comes back, and one that is closed for good.

use crate::{
    Check, Report,
    checks::{Outcome, ensure, retry, text},
    openssl,
};
use gw_proto::Scheme;
use hsm_api::{Blame, HsmError, KeyPurpose, KeyStore, sign_message};
use std::time::{Duration, Instant};

/// A keystore whose device can be taken away.
pub struct Removable<'a> {
    /// the keystore, writable
    pub store: &'a dyn KeyStore,
    /// what its keys are made of
    pub scheme: Scheme,
    /// begins each name that is made
    pub prefix: &'a str,
    /// the longest time that a call may take, and that a returned device is waited for
    pub patience: Duration,
    /// takes the device away
    pub lose: &'a dyn Fn(),
    /// brings it back
    pub restore: &'a dyn Fn(),
    /// closes the keystore for good
    pub close: &'a dyn Fn(),
}

type NamedCheck = (&'static str, fn(&Removable<'_>) -> Outcome);

/// All checks, in order; the last one leaves the keystore closed.
pub const ALL: &[NamedCheck] = &[
    ("a lost device is a named error, and keys work when it is back", lost),
    ("a key that could not be made is not there", half_made),
    ("a closed keystore signs nothing, makes nothing", closed),
];

/// Runs the checks. They make keys and leave them.
pub fn run(target: &Removable<'_>) -> Report {
    let checks = ALL.iter().map(|(name, check)| Check { name, problem: check(target).err() }).collect();
    Report { checks, openssl: openssl::is_there() }
}

fn in_time<T>(t: &Removable<'_>, work: impl FnOnce() -> T) -> Result<T, String> {
    let start = Instant::now();
    let result = work();
    ensure(start.elapsed() <= t.patience, || format!("it took {:?}", start.elapsed()))?;
    Ok(result)
}

fn is_device(e: &HsmError) -> Outcome {
    ensure(e.blame() == Blame::Device, || format!("blamed on the caller: {e}"))
}

fn lost(t: &Removable<'_>) -> Outcome {
    let name = format!("{}-lost", t.prefix);
    let signer = retry(t.patience, || t.store.create_key(&name, KeyPurpose::Node, t.scheme))?;
    sign_message(&*signer, b"before").map_err(|e| text(&e))?;
    for round in 0..3u8 {
        (t.lose)();
        match in_time(t, || sign_message(&*signer, b"without"))? {
            Err(e) => is_device(&e)?,
            Ok(_) => return Err("it signed without its device".to_owned()),
        }
        (t.restore)();
        let signature = retry(t.patience, || sign_message(&*signer, &[round]))?;
        gw_sm::verify(signer.public_key(), &[round], &signature).map_err(|e| e.to_string())?;
        let loaded = t.store.load_key(&name, KeyPurpose::Node).map_err(|e| text(&e))?;
        ensure(loaded.public_key() == signer.public_key(), || "another key came back".to_owned())?;
    }
    Ok(())
}

fn half_made(t: &Removable<'_>) -> Outcome {
    let name = format!("{}-half", t.prefix);
    (t.lose)();
    match in_time(t, || t.store.create_key(&name, KeyPurpose::Node, t.scheme))? {
        Err(e) => is_device(&e)?,
        Ok(_) => return Err("it made a key without its device".to_owned()),
    }
    (t.restore)();
    let signer = retry(t.patience, || t.store.create_key(&name, KeyPurpose::Node, t.scheme))?;
    sign_message(&*signer, b"made").map_err(|e| text(&e)).map(drop)
}

fn closed(t: &Removable<'_>) -> Outcome {
    let name = format!("{}-closed", t.prefix);
    let signer = retry(t.patience, || t.store.create_key(&name, KeyPurpose::Node, t.scheme))?;
    sign_message(&*signer, b"open").map_err(|e| text(&e))?;
    (t.close)();
    for round in 0..2 {
        match sign_message(&*signer, b"closed") {
            Err(HsmError::Closed(_)) => {}
            Err(e) => return Err(format!("refused as: {e}")),
            Ok(_) => return Err(format!("it still signs, try {round}")),
        }
    }
    let made = t.store.create_key(&format!("{name}-2"), KeyPurpose::Node, t.scheme);
    ensure(matches!(made, Err(HsmError::Closed(_))), || "it still makes keys".to_owned())
}
