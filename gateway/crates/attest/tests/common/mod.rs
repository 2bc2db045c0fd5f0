//! A box with a simulated chip, its release, and what a verifier knows of it.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here fails the test"
)]
#![expect(unreachable_pub, reason = "a module of test programs")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

pub mod chip;
pub mod log;

use base64::Engine as _;
use chip::Simulator;
use gw_attest::{
    Bank, Bundle, Context, Verdict,
    challenge::Challenge,
    decide::{Enrolled, Policy, Rules},
    decide_bytes,
    evidence::{
        CONFIGURATION, Claims, INVENTORY, Measured, NodeKey, PROFILE, Pcr, Quote, Software,
        certify_extra_data, configuration_measurement, inventory_measurement,
    },
    reference::{
        Digests, Expected, ExpectedDigest, Makers, Manifest, ManifestSignature, PcrReference, SignedManifest,
        TrustedManifest, Want,
    },
    verdict::Previous,
};
use gw_proto::{B64, Digest, Hex, HexBytes, NodeId, Scheme, UnixMillis, sm3};
use gw_sm::KeyPair;
use hsm_api::{
    KeyPurpose, KeyStore as _,
    attest::{Attestor, MeasurementHash},
};
use hsm_tpm2::Tpm2KeyStore;
use log::{BootSpec, event};
use std::{collections::BTreeSet, sync::Arc};

pub const NONCE: Hex<32> = Hex([0x5a; 32]);
pub const CHANNEL: Digest = Hex([0xc4; 32]);
pub const CONFIG: Digest = Hex([0xcf; 32]);
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub const PCRS: [u8; 7] = [0, 2, 4, 7, 9, 11, 12];
pub const RELEASE: &str = "2026.11.1";
pub const NUMBER: u32 = 41;
pub const CERTIFICATE: &[u8] = b"the endorsement certificate; enrolment checks its chain";

pub fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// What a box measures while it starts.
#[derive(Clone)]
pub struct Machine {
    pub boot: Vec<BootSpec>,
    pub own: Vec<Measured>,
    pub inventory: Vec<Software>,
    pub configuration: Digest,
}

pub fn measured(pcr: u8, component: &str, digest: Hex<32>) -> Measured {
    Measured { pcr, component: component.to_owned(), digest }
}

impl Machine {
    pub fn good() -> Self {
        let software = |name: &str| Software {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            digest: sm3(name.as_bytes()),
        };
        let boot = vec![
            event(0, log::S_CRTM_VERSION, b"1\0.\x002\0").of_data(),
            event(4, log::BOOT_APPLICATION, b"device path of the loader").of(b"loader image"),
            event(4, log::BOOT_APPLICATION, b"device path of the kernel").of(b"kernel image"),
            log::variable(7, "SecureBoot", &[1]).of_data(),
            event(7, log::SEPARATOR, &[0; 4]).of_data(),
            event(9, log::IPL, b"root=/dev/mapper/root ro\0").of(b"root=/dev/mapper/root ro"),
            event(9, log::IPL, b"initrd\0").of(b"initrd image"),
        ];
        let (inventory, configuration) = (vec![software("xinguan"), software("linux")], CONFIG);
        let mut this = Self { boot, own: Vec::new(), inventory, configuration };
        this.measure();
        this
    }

    /// The gateway's own log of what it finds.
    pub fn measure(&mut self) {
        let bank = Bank::Sha256;
        self.own = vec![
            measured(11, "xinguan", Hex(bank.digest(&[b"the program"]))),
            measured(11, INVENTORY, inventory_measurement(bank, &self.inventory).unwrap()),
            measured(12, CONFIGURATION, configuration_measurement(bank, &self.configuration)),
        ];
    }
}

/// What the good machine measures, as its makers publish it.
pub fn manifest() -> Manifest {
    let good = Machine::good();
    let names = [
        (0, "firmware"),
        (4, "boot-loader"),
        (4, "kernel"),
        (7, "secure-boot"),
        (7, "separator"),
        (9, "kernel-command-line"),
        (9, "initrd"),
        (11, "xinguan"),
        (11, "inventory"),
        (12, "configuration"),
    ];
    let boot = good.boot.iter().map(|e| (e.pcr, e.digest));
    let own = good.own.iter().map(|m| (m.pcr, m.digest.0));
    let of = |digest| Digests { sha256: vec![Hex(digest)], sm3: vec![] };
    let mut pcrs: Vec<PcrReference> = Vec::new();
    for ((pcr, digest), (named, component)) in boot.chain(own).zip(names) {
        assert_eq!(pcr, named);
        let digest = match component {
            "configuration" => ExpectedDigest::ApprovedConfiguration,
            _ => ExpectedDigest::OneOf(of(digest)),
        };
        let expected = Expected { component: component.to_owned(), digest };
        match pcrs.iter_mut().find(|p| p.pcr == pcr) {
            Some(PcrReference { want: Want::Events(events), .. }) => events.push(expected),
            _ => pcrs.push(PcrReference { pcr, want: Want::Events(vec![expected]) }),
        }
    }
    let roms = Want::Value { component: "option-roms".to_owned(), digests: of([0; 32]) };
    pcrs.insert(1, PcrReference { pcr: 2, want: roms });
    let (not_before, not_after) = (UnixMillis(NOW.0 - 1000), UnixMillis(NOW.0 + 1000));
    Manifest { v: 1, release: RELEASE.to_owned(), number: NUMBER, not_before, not_after, image: None, pcrs }
}

pub fn makers() -> [KeyPair; 3] {
    [(Scheme::Sm2Sm3, 1), (Scheme::EcdsaP256Sha256, 2), (Scheme::Sm2Sm3, 3)]
        .map(|(scheme, secret)| KeyPair::from_secret(scheme, [secret; 32]).unwrap())
}

pub fn two_of_three() -> Makers {
    Makers::new(makers().iter().map(|k| *k.public_key()).collect(), 2).unwrap()
}

/// Signed by these makers.
pub fn signed(manifest: &Manifest, by: &[&KeyPair]) -> Vec<u8> {
    let input = manifest.signing_input().unwrap();
    let sign =
        |k: &&KeyPair| ManifestSignature { key: k.public_key().id(), signature: k.sign(&input).unwrap() };
    let signatures = by.iter().map(sign).collect();
    serde_json::to_vec(&SignedManifest { manifest: manifest.clone(), signatures }).unwrap()
}

pub fn trusted(manifest: &Manifest) -> TrustedManifest {
    let [a, b, _] = makers();
    TrustedManifest::parse(&signed(manifest, &[&a, &b]), &two_of_three()).unwrap()
}

/// A box with one chip for both roles.
pub struct Device {
    pub chip: Arc<Simulator>,
    pub store: Tpm2KeyStore,
    pub attestor: Arc<dyn Attestor>,
    pub scheme: Scheme,
}

impl Device {
    pub fn new(scheme: Scheme) -> Self {
        let chip = Simulator::start();
        let store = chip.init();
        store.create_key("ak", KeyPurpose::Attestation, scheme).unwrap();
        for name in ["node", "other-node"] {
            store.create_key(name, KeyPurpose::Node, scheme).unwrap();
        }
        let attestor = store.attestor("ak").unwrap();
        Self { chip, store, attestor, scheme }
    }

    /// Cuts the power and starts, measuring.
    pub fn boot(&self, machine: &Machine) {
        self.store.disconnect().unwrap();
        self.chip.power_off();
        self.chip.power_on();
        let boot = machine.boot.iter().map(|e| (e.pcr, e.digest));
        for (pcr, digest) in boot.chain(machine.own.iter().map(|m| (m.pcr, m.digest.0))) {
            self.store.extend_pcr(pcr, &digest).unwrap();
        }
    }

    /// TPMT_PUBLIC of a key, out of the store's file.
    pub fn public_area(&self, name: &str) -> B64 {
        let text = std::fs::read_to_string(self.chip.path("keys.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = document["keys"].as_array().unwrap().iter().find(|k| k["name"] == name).unwrap();
        let engine = base64::engine::general_purpose::STANDARD;
        B64(engine.decode(entry["public"].as_str().unwrap()).unwrap())
    }

    pub fn certified(&self, key: &str) -> NodeKey {
        let extra = certify_extra_data(&NONCE, &node("gw-suzhou"), &CHANNEL).unwrap();
        let said = self.attestor.certify(key, &extra).unwrap();
        NodeKey::Certified {
            public_area: self.public_area(key),
            signer: B64(self.attestor.attestation_key().public_area),
            attested: B64(said.attested),
            signature: said.signature,
            hash: bank(said.hash),
        }
    }

    pub fn claims(&self, machine: &Machine) -> Claims {
        Claims {
            eat_nonce: NONCE,
            device: node("gw-suzhou"),
            release: RELEASE.to_owned(),
            attestation_key: B64(self.attestor.attestation_key().public_area),
            endorsement_chain: vec![B64(CERTIFICATE.to_vec())],
            boot_log: Some(B64(log::write(&machine.boot))),
            measured: machine.own.clone(),
            node_key: self.certified("node"),
            inventory: machine.inventory.clone(),
            configuration: machine.configuration,
        }
    }

    /// The chip's word on claims, whether they are true or not.
    pub fn attest(&self, claims: Claims, pcrs: &[u8]) -> Bundle {
        let quote = self.attestor.quote(&claims.extra_data(&CHANNEL).unwrap(), pcrs).unwrap();
        let pcrs = quote.pcrs.iter().map(|(pcr, value)| Pcr { pcr: *pcr, value: Hex(*value) }).collect();
        let quote = Quote {
            attested: B64(quote.statement.attested),
            signature: quote.statement.signature,
            hash: bank(quote.statement.hash),
            bank: bank(quote.bank),
            pcrs,
        };
        Bundle { eat_profile: PROFILE.to_owned(), claims, quote }
    }

    pub fn enrolled(&self) -> Enrolled {
        let name = HexBytes(self.attestor.attestation_key().name);
        Enrolled {
            device: node("gw-suzhou"),
            attestation_key: name.clone(),
            signing_key: Some(name),
            node_key: *self.store.load_key("node", KeyPurpose::Node).unwrap().public_key(),
            endorsement_certificate: sm3(CERTIFICATE),
            configurations: vec![Hex([1; 32]), CONFIG],
            files: Vec::new(),
        }
    }
}

fn bank(hash: MeasurementHash) -> Bank {
    match hash {
        MeasurementHash::Sha256 => Bank::Sha256,
        MeasurementHash::Sm3 => Bank::Sm3,
    }
}

/// What a verifier knows; tests bend it.
#[derive(Clone)]
pub struct Known {
    pub challenge: Challenge,
    pub tls_node: NodeId,
    pub enrolled: Enrolled,
    pub rules: Rules,
    pub manifests: Vec<Manifest>,
    pub previous: Option<Previous>,
    pub now: UnixMillis,
}

impl Known {
    pub fn of(device: &Device) -> Self {
        let (name, expires) = (node("gw-suzhou"), UnixMillis(NOW.0 + 30_000));
        let rules = Rules {
            banks: vec![Bank::Sm3, Bank::Sha256],
            pcrs: BTreeSet::from(PCRS),
            floor: NUMBER,
            uncertified_node_key: false,
            interval_ms: 120_000,
        };
        Self {
            challenge: Challenge { nonce: NONCE, device: name.clone(), channel: CHANNEL, expires },
            tls_node: name,
            enrolled: device.enrolled(),
            rules,
            manifests: vec![manifest()],
            previous: None,
            now: NOW,
        }
    }

    pub fn judge(&self, bytes: &[u8]) -> Verdict {
        let manifests: Vec<_> = self.manifests.iter().map(trusted).collect();
        self.judge_by(&manifests, bytes)
    }

    /// With manifests whose signatures are checked already.
    pub fn judge_by(&self, manifests: &[TrustedManifest], bytes: &[u8]) -> Verdict {
        let policy = Policy::new(self.rules.clone()).unwrap();
        let context = Context {
            challenge: &self.challenge,
            tls_node: &self.tls_node,
            enrolled: &self.enrolled,
            policy: &policy,
            manifests,
            previous: self.previous.as_ref(),
            now: self.now,
        };
        decide_bytes(bytes, &context)
    }
}

/// Names of the failed checks, with the component where one is blamed.
pub fn failed(verdict: &Verdict) -> Vec<String> {
    let spell = |c: &gw_attest::Check| match &c.component {
        Some(component) => format!("{} [{component}]", c.name),
        None => c.name.to_string(),
    };
    verdict.failed().map(spell).collect()
}
