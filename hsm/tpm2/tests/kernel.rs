//! The keystore over a TPM that the kernel drives, in the guest of boards/linux/guest/run.

use gw_proto::Scheme;
use hsm_api::{KeyPurpose, KeyStore as _, sign_message};
use hsm_conformance::Target;
use hsm_tpm2::{
    Options, Tpm2KeyStore,
    transport::{Connect, device::DeviceFile},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

const BOTH: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

fn options(folder: &tempfile::TempDir) -> Options {
    let kernel: Arc<dyn Connect> =
        Arc::new(DeviceFile { path: PathBuf::from("/dev/tpmrm0"), resource_manager: true });
    Options { patience: Duration::from_secs(60), ..Options::new(kernel, folder.path().join("keys.json")) }
}

#[test]
#[ignore = "needs a TPM behind the kernel: boards/linux/guest/run"]
fn it_keeps_the_promises_of_every_keystore_through_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let store = Tpm2KeyStore::init(options.clone()).unwrap();
    let report = hsm_conformance::run(&Target {
        store: &store,
        schemes: &BOTH,
        unsupported: &[],
        prefix: "k",
        patience: Duration::from_secs(60),
        // beside the old one: the kernel gives each opener handles of its own
        reopen: &|| Ok(Arc::new(Tpm2KeyStore::open(options.clone())?)),
        printed: &|| vec![format!("{store:?}")],
        secrets: &Vec::new,
    });
    assert!(report.passed(), "{report}");
}

/// More openers than the chip has slots: the kernel swaps them, and each has its own key.
#[test]
#[ignore = "needs a TPM behind the kernel: boards/linux/guest/run"]
fn many_openers_share_the_chip() {
    let folders: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let stores: Vec<_> = folders.iter().map(|f| Tpm2KeyStore::init(options(f)).unwrap()).collect();
    let keys: Vec<_> =
        stores.iter().map(|s| s.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap()).collect();
    for round in 0..3u8 {
        for key in &keys {
            let signature = sign_message(&**key, &[round]).unwrap();
            gw_sm::verify(key.public_key(), &[round], &signature).unwrap();
        }
    }
}
