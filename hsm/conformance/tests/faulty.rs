//! The suite notices each broken promise, and passes a keystore that keeps them all.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use gw_proto::{PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use hsm_api::{Entropy as _, HsmError, KeyPurpose, KeyStore, OsEntropy, Signer, StoreInfo};
use hsm_conformance::{Report, Target, existing::ExistingKey, run, run_existing};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// One broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SignsWrongly,
    LoadsAnother,
    ListsNothing,
    ForgetsPurpose,
    MissingIsDevice,
    Replaces,
    DoesUnsupported,
    AlwaysTheSame,
    BusyForEver,
    ForgetsOnReopen,
    Prints,
}

struct Faulty {
    fault: Fault,
    keys: Mutex<BTreeMap<String, (KeyPurpose, Arc<FaultySigner>)>>,
}

struct FaultySigner {
    fault: Fault,
    pair: KeyPair,
}

impl Signer for FaultySigner {
    fn public_key(&self) -> &PublicKey {
        self.pair.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let digest = match self.fault {
            Fault::SignsWrongly => &[1; 32],
            Fault::BusyForEver => return Err(HsmError::Busy),
            _ => digest,
        };
        self.pair.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

impl Faulty {
    fn missing(&self, name: &str) -> HsmError {
        match self.fault {
            Fault::MissingIsDevice => HsmError::Device("not found".into()),
            _ => HsmError::NoSuchKey { name: name.into(), store: "test".into() },
        }
    }
    fn fresh(&self, scheme: Scheme) -> Arc<FaultySigner> {
        let pair = match self.fault {
            Fault::AlwaysTheSame => KeyPair::from_secret(scheme, [7; 32]).unwrap(),
            _ => KeyPair::generate(scheme, |out| OsEntropy.fill(out)).unwrap(),
        };
        Arc::new(FaultySigner { fault: self.fault, pair })
    }
}

impl KeyStore for Faulty {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: "test".into(), development: true }
    }
    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        let keys = self.keys.lock().unwrap();
        let (found, signer) = keys.get(name).ok_or_else(|| self.missing(name))?;
        if *found != purpose && self.fault != Fault::ForgetsPurpose {
            let (found, wanted) = (found.as_str(), purpose.as_str());
            return Err(HsmError::WrongPurpose { name: name.into(), found, wanted });
        }
        if self.fault == Fault::LoadsAnother {
            return Ok(self.fresh(signer.public_key().scheme));
        }
        Ok(signer.clone())
    }
    fn create_key(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<Arc<dyn Signer>, HsmError> {
        if scheme == Scheme::EcdsaP256Sha256 && self.fault != Fault::DoesUnsupported {
            return Err(HsmError::Unsupported { scheme, store: "test".into() });
        }
        let mut keys = self.keys.lock().unwrap();
        if keys.contains_key(name) && self.fault != Fault::Replaces {
            return Err(HsmError::Exists { name: name.into(), store: "test".into() });
        }
        let signer = self.fresh(scheme);
        keys.insert(name.into(), (purpose, signer.clone()));
        Ok(signer)
    }
    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        if self.fault == Fault::ListsNothing {
            return Ok(Vec::new());
        }
        let keys = self.keys.lock().unwrap();
        Ok(keys.iter().map(|(n, (p, s))| (n.clone(), *p, *s.public_key())).collect())
    }
}

fn examine(fault: Fault) -> Report {
    let store = Arc::new(Faulty { fault, keys: Mutex::default() });
    let reopen = || -> Result<Arc<dyn KeyStore>, HsmError> {
        match fault {
            Fault::ForgetsOnReopen => Ok(Arc::new(Faulty { fault, keys: Mutex::default() })),
            _ => Ok(store.clone()),
        }
    };
    let secret = vec![0x5c; 32];
    let printed = || vec![if fault == Fault::Prints { format!("{secret:?}") } else { "store".to_owned() }];
    run(&Target {
        store: &*store,
        schemes: &[Scheme::Sm2Sm3],
        unsupported: &[Scheme::EcdsaP256Sha256],
        prefix: "t",
        patience: Duration::from_millis(if fault == Fault::BusyForEver { 50 } else { 30_000 }),
        reopen: &reopen,
        printed: &printed,
        secrets: &|| vec![secret.clone()],
    })
}

#[test]
fn a_keystore_that_keeps_its_promises_passes() {
    let report = examine(Fault::None);
    assert!(report.passed(), "{report}");
    assert_eq!(report.checks.len(), hsm_conformance::checks::ALL.len());
}

#[test]
fn each_broken_promise_is_noticed_by_its_check() {
    for (fault, check) in [
        (Fault::SignsWrongly, "a made key signs, and the signature verifies"),
        (Fault::LoadsAnother, "a loaded key is the made key"),
        (Fault::ListsNothing, "keys are listed with purpose and public half"),
        (Fault::ForgetsPurpose, "a key of another purpose is refused"),
        (Fault::MissingIsDevice, "a missing key is named"),
        (Fault::Replaces, "a name in use is refused and its key stays"),
        (Fault::Replaces, "threads that make the same name get one key"),
        (Fault::DoesUnsupported, "an unsupported scheme is refused and makes no key"),
        (Fault::AlwaysTheSame, "two made keys differ"),
        (Fault::BusyForEver, "threads sign at the same time"),
        (Fault::ForgetsOnReopen, "keys are there after reopening"),
        (Fault::Prints, "nothing printed shows a secret"),
    ] {
        let report = examine(fault);
        assert!(report.failures().contains(&check), "{fault:?}:\n{report}");
        if report.openssl && fault == Fault::SignsWrongly {
            assert!(report.failures().contains(&"the openssl command verifies the signature"));
        }
    }
}

/// A keystore whose keys are there from the start, with the same faults.
struct Provided(Faulty);

impl KeyStore for Provided {
    fn info(&self) -> StoreInfo {
        self.0.info()
    }
    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        self.0.load_key(name, purpose)
    }
    fn create_key(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<Arc<dyn Signer>, HsmError> {
        let known = self.0.keys.lock().unwrap().contains_key(name);
        if known || self.0.fault == Fault::DoesUnsupported || scheme == Scheme::EcdsaP256Sha256 {
            return self.0.create_key(name, purpose, scheme);
        }
        Err(HsmError::CannotMake { name: name.into(), store: "test".into(), remedy: "another tool".into() })
    }
    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        self.0.list_keys()
    }
}

fn provided(fault: Fault) -> Arc<Provided> {
    let store = Faulty { fault, keys: Mutex::default() };
    for (name, purpose) in [("a", KeyPurpose::Node), ("b", KeyPurpose::Account)] {
        store.create_key(name, purpose, Scheme::Sm2Sm3).unwrap();
    }
    Arc::new(Provided(store))
}

fn examine_existing(fault: Fault) -> Report {
    let store = provided(fault);
    let reopen = || -> Result<Arc<dyn KeyStore>, HsmError> {
        if fault == Fault::ForgetsOnReopen { Ok(provided(fault)) } else { Ok(store.clone()) }
    };
    let secret = vec![0x5c; 32];
    let printed = || vec![if fault == Fault::Prints { format!("{secret:?}") } else { "store".to_owned() }];
    let target = Target {
        store: &*store,
        schemes: &[Scheme::Sm2Sm3],
        unsupported: &[Scheme::EcdsaP256Sha256],
        prefix: "t",
        patience: Duration::from_millis(if fault == Fault::BusyForEver { 50 } else { 30_000 }),
        reopen: &reopen,
        printed: &printed,
        secrets: &|| vec![secret.clone()],
    };
    let key = |name: &str, purpose| ExistingKey { name: name.into(), purpose, scheme: Scheme::Sm2Sm3 };
    run_existing(&target, &[key("a", KeyPurpose::Node), key("b", KeyPurpose::Account)])
}

#[test]
fn a_keystore_with_given_keys_that_keeps_its_promises_passes() {
    let report = examine_existing(Fault::None);
    assert!(report.passed(), "{report}");
    assert_eq!(report.checks.len(), hsm_conformance::existing::ALL.len());
}

#[test]
fn each_broken_promise_on_given_keys_is_noticed_by_its_check() {
    for (fault, check) in [
        (Fault::SignsWrongly, "each key signs, and the signature verifies"),
        (Fault::LoadsAnother, "each key is listed with purpose and public half"),
        (Fault::ListsNothing, "each key is listed with purpose and public half"),
        (Fault::ForgetsPurpose, "a key of another purpose is refused"),
        (Fault::MissingIsDevice, "a missing key is named"),
        (Fault::Replaces, "a name in use is refused and its key stays"),
        (Fault::DoesUnsupported, "a key that cannot be made is refused with a remedy"),
        (Fault::AlwaysTheSame, "any two keys differ"),
        (Fault::BusyForEver, "threads sign at the same time"),
        (Fault::ForgetsOnReopen, "keys are there after reopening"),
        (Fault::Prints, "nothing printed shows a secret"),
    ] {
        let report = examine_existing(fault);
        assert!(report.failures().contains(&check), "{fault:?}:\n{report}");
    }
}
