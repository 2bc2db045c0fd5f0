//! Secrets are wiped: this process's memory is searched for them. Alone in its program, so that no other
//! test holds them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::Simulator;
use gw_proto::Scheme;
use hsm_api::{KeyPurpose, KeyStore as _, seal::SealTo, sign_message};
use hsm_tpm2::{Options, Secret, Tpm2KeyStore};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};
use zeroize::Zeroizing;

const MASK: u8 = 0xa5;

/// A secret that this test knows only masked.
struct Masked([u8; 32]);

impl Masked {
    fn fresh() -> Self {
        let mut bytes = [0; 32];
        hsm_api::Entropy::fill(&hsm_api::OsEntropy, &mut bytes).unwrap();
        Self(bytes)
    }
    fn clear(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(32));
        out.extend(self.0.iter().map(|b| b ^ MASK));
        out
    }
    fn is_at(&self, window: &[u8]) -> bool {
        window.iter().zip(&self.0).all(|(w, m)| w ^ MASK == *m)
    }
}

/// How often a secret stands in what this process may write to.
fn copies(secret: &Masked) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|l| l.split_whitespace().nth(1).is_some_and(|p| p.starts_with("rw"))) {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (address(from), address(to));
        let mut region = Zeroizing::new(vec![0; usize::try_from(to - from).unwrap()]);
        memory.seek(SeekFrom::Start(from)).unwrap();
        if memory.read_exact(&mut region).is_ok() {
            found += region.windows(32).filter(|w| secret.is_at(w)).count();
        }
    }
    found
}

#[test]
fn nothing_secret_stays_in_memory() {
    let (auth, sealed) = (Masked::fresh(), Masked::fresh());
    let chip = Simulator::start();
    {
        let key_auth = Secret::new(auth.clear()).unwrap();
        assert!(copies(&auth) > 0, "the search finds what is there");
        let store = Tpm2KeyStore::init(Options { key_auth, ..chip.options() }).unwrap();
        let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
        sign_message(&*key, b"m").unwrap();
        let blob = store.sealer().seal(&sealed.clear(), &SealTo { pcrs: vec![7], floor: None }).unwrap();
        let opened = store.sealer().unseal(&blob).unwrap();
        assert!(sealed.is_at(&opened));
        assert!(copies(&sealed) > 0);
    }
    assert_eq!((copies(&auth), copies(&sealed)), (0, 0), "copies of the authorization value, of the secret");
}
