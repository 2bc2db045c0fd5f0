//! The suite of removable devices notices each broken promise, and passes a keystore that keeps them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use gw_proto::{PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use hsm_api::{Entropy as _, HsmError, KeyPurpose, KeyStore, OsEntropy, Signer, StoreInfo};
use hsm_conformance::{
    Report,
    removable::{ALL, Removable, run},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SignsWithout,
    MakesWithout,
    BlamesTheCaller,
    NeverReturns,
    KeepsHalf,
    StaysOpen,
}

struct Device {
    fault: Fault,
    away: AtomicBool,
    was_away: AtomicBool,
    closed: AtomicBool,
    keys: Mutex<BTreeMap<String, Arc<DeviceSigner>>>,
}

struct DeviceSigner {
    device: Arc<Device>,
    pair: KeyPair,
}

impl Device {
    fn check(&self, excused: Fault) -> Result<(), HsmError> {
        if self.closed.load(Ordering::SeqCst) && self.fault != Fault::StaysOpen {
            return Err(HsmError::Closed("closed".into()));
        }
        let away = self.away.load(Ordering::SeqCst);
        if away && self.fault != excused {
            return Err(match self.fault {
                Fault::BlamesTheCaller => HsmError::BadName,
                _ => HsmError::Lost("away".into()),
            });
        }
        if self.was_away.load(Ordering::SeqCst) && self.fault == Fault::NeverReturns {
            return Err(HsmError::Device("still away".into()));
        }
        Ok(())
    }
}

impl Signer for DeviceSigner {
    fn public_key(&self) -> &PublicKey {
        self.pair.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.device.check(Fault::SignsWithout)?;
        self.pair.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

struct Store(Arc<Device>);

impl KeyStore for Store {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: "test".into(), development: true }
    }
    fn load_key(&self, name: &str, _: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        let key = self.0.keys.lock().unwrap().get(name).cloned();
        Ok(key.ok_or_else(|| HsmError::NoSuchKey { name: name.into(), store: "test".into() })?)
    }
    fn create_key(&self, name: &str, _: KeyPurpose, scheme: Scheme) -> Result<Arc<dyn Signer>, HsmError> {
        let mut keys = self.0.keys.lock().unwrap();
        if keys.contains_key(name) {
            return Err(HsmError::Exists { name: name.into(), store: "test".into() });
        }
        let pair = KeyPair::generate(scheme, |out| OsEntropy.fill(out)).unwrap();
        let key = Arc::new(DeviceSigner { device: self.0.clone(), pair });
        if self.0.fault == Fault::KeepsHalf {
            keys.insert(name.into(), key.clone());
        }
        self.0.check(Fault::MakesWithout)?;
        keys.insert(name.into(), key.clone());
        Ok(key)
    }
    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        Ok(Vec::new())
    }
}

fn examine(fault: Fault) -> Report {
    let device = Arc::new(Device {
        fault,
        away: AtomicBool::new(false),
        was_away: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        keys: Mutex::default(),
    });
    run(&Removable {
        store: &Store(device.clone()),
        scheme: Scheme::Sm2Sm3,
        prefix: "t",
        patience: Duration::from_secs(30),
        lose: &|| device.away.store(true, Ordering::SeqCst),
        restore: &|| {
            device.away.store(false, Ordering::SeqCst);
            device.was_away.store(true, Ordering::SeqCst);
        },
        close: &|| device.closed.store(true, Ordering::SeqCst),
    })
}

#[test]
fn a_keystore_that_keeps_its_promises_passes() {
    let report = examine(Fault::None);
    assert!(report.passed(), "{report}");
    assert_eq!(report.checks.len(), ALL.len());
}

#[test]
fn each_broken_promise_is_noticed_by_its_check() {
    for (fault, check) in [
        (Fault::SignsWithout, 0),
        (Fault::BlamesTheCaller, 0),
        (Fault::NeverReturns, 0),
        (Fault::MakesWithout, 1),
        (Fault::KeepsHalf, 1),
        (Fault::StaysOpen, 2),
    ] {
        let report = examine(fault);
        assert!(report.failures().contains(&ALL[check].0), "{fault:?}:\n{report}");
    }
}
