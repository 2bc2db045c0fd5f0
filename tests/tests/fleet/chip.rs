//! Chips of simulated boxes: swtpm through our driver, or software that writes the structures of TPM 2.0 part 2 itself.

use super::machine::{Machine, PCRS};
use anyhow::{Context as _, Result};
use blackbox::harness::{agreement::random, tpm::Tpms};
use gw_attest::Bank;
use gw_proto::{B64, Hex, PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use hsm_api::{KeyPurpose, KeyStore as _, Signer, attest::Attestor};
use hsm_tpm2::{
    Options, Tpm2KeyStore,
    transport::swtpm::{Address, Swtpm},
};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a chip says, and its signature on that.
pub struct Said {
    /// TPMS_ATTEST
    pub attested: Vec<u8>,
    /// over its SHA-256
    pub signature: Signature,
}

/// A box's chip, with a restricted attestation key and a node key.
pub enum Chip {
    /// a simulated TPM
    Swtpm(Box<Real>),
    /// no TPM: the same structures, signed by a key in memory
    Software(Box<Software>),
}

/// swtpm, the keystore on it, and its attestation key.
pub struct Real {
    store: Tpm2KeyStore,
    attestor: Arc<dyn Attestor>,
    node: Arc<dyn Signer>,
    node_area: Vec<u8>,
}

/// Keys in memory, with what a chip would say of them.
pub struct Software {
    attestation: KeyPair,
    attestation_area: Vec<u8>,
    node: KeyPair,
    node_area: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
    since: Instant,
}

impl Chip {
    /// swtpm of that name, with everything measured that the machine measures.
    pub fn swtpm(tpms: &Tpms, name: &str, scheme: Scheme, machine: &Machine) -> Result<Self> {
        let at = |suffix: &str| Address::Unix(tpms.folder().join(format!("{name}.{suffix}")));
        let chip = Swtpm { server: at("sock"), control: Some(at("sock.ctrl")) };
        let keys = tpms.folder().join(format!("{name}.keys.json"));
        let options = Options { patience: Duration::from_secs(60), ..Options::new(Arc::new(chip), &keys) };
        let store = Tpm2KeyStore::init(options)?;
        store.create_key("ak", KeyPurpose::Attestation, scheme)?;
        store.create_key("node", KeyPurpose::Node, scheme)?;
        for (pcr, digest) in &machine.extended {
            store.extend_pcr(*pcr, digest)?;
        }
        let document: Value = serde_json::from_slice(&std::fs::read(&keys)?)?;
        let entry = document["keys"].as_array().into_iter().flatten().find(|k| k["name"] == "node");
        let area: B64 = serde_json::from_value(entry.context("no node key")?["public"].clone())?;
        let (attestor, node) = (store.attestor("ak")?, store.load_key("node", KeyPurpose::Node)?);
        Ok(Self::Swtpm(Box::new(Real { store, attestor, node, node_area: area.0 })))
    }

    /// Software, as if the machine had measured.
    pub fn software(scheme: Scheme, machine: &Machine) -> Result<Self> {
        let key = || KeyPair::generate(scheme, |out| hsm_api::Entropy::fill(&hsm_api::OsEntropy, out));
        let (attestation, node) = (key()?, key()?);
        let all = machine.pcrs();
        Ok(Self::Software(Box::new(Software {
            attestation_area: area(attestation.public_key(), RESTRICTED)?,
            node_area: area(node.public_key(), 0)?,
            attestation,
            node,
            pcrs: PCRS.iter().map(|p| all.get(p).copied().unwrap_or_default()).collect(),
            since: Instant::now(),
        })))
    }

    /// TPMT_PUBLIC of the attestation key.
    pub fn attestation_area(&self) -> Vec<u8> {
        match self {
            Self::Swtpm(chip) => chip.attestor.attestation_key().public_area,
            Self::Software(chip) => chip.attestation_area.clone(),
        }
    }

    /// TPMT_PUBLIC of the node key.
    pub fn node_area(&self) -> &[u8] {
        match self {
            Self::Swtpm(chip) => &chip.node_area,
            Self::Software(chip) => &chip.node_area,
        }
    }

    /// The node key.
    pub fn node_key(&self) -> PublicKey {
        match self {
            Self::Swtpm(chip) => *chip.node.public_key(),
            Self::Software(chip) => *chip.node.public_key(),
        }
    }

    /// Signs with the node key.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature> {
        Ok(match self {
            Self::Swtpm(chip) => chip.node.sign_digest(digest)?,
            Self::Software(chip) => chip.node.sign_digest(digest)?,
        })
    }

    /// TPM2_Certify of the node key.
    pub fn certify(&self, extra: &[u8; 32]) -> Result<Said> {
        match self {
            Self::Swtpm(chip) => {
                let said = chip.attestor.certify("node", extra)?;
                Ok(Said { attested: said.attested, signature: said.signature })
            }
            Self::Software(chip) => {
                // of a key under a primary key: the qualified name is a hash of both, which nobody checks
                let name = name(&chip.node_area);
                chip.say(CERTIFY, extra, &[sized(&name), sized(&name)].concat())
            }
        }
    }

    /// TPM2_Quote over all PCRs of the policy, and their values.
    pub fn quote(&self, extra: &[u8; 32]) -> Result<(Said, Vec<[u8; 32]>)> {
        match self {
            Self::Swtpm(chip) => {
                let quote = chip.attestor.quote(extra, &PCRS)?;
                let values = quote.pcrs.iter().map(|(_, value)| *value).collect();
                Ok((
                    Said { attested: quote.statement.attested, signature: quote.statement.signature },
                    values,
                ))
            }
            Self::Software(chip) => {
                let mut select = [0u8; 3];
                PCRS.iter().for_each(|p| select[usize::from(p / 8)] |= 1 << (p % 8));
                let digest =
                    Bank::Sha256.digest(&chip.pcrs.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>());
                let what = [&[0, 0, 0, 1, 0, 0x0b, 3], &select[..], &sized(&digest)].concat();
                Ok((chip.say(QUOTE, extra, &what)?, chip.pcrs.clone()))
            }
        }
    }

    /// Lets a simulated TPM go.
    pub fn disconnect(&self) -> Result<()> {
        match self {
            Self::Swtpm(chip) => Ok(chip.store.disconnect()?),
            Self::Software(_) => Ok(()),
        }
    }
}

/// TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE.
const CERTIFY: u16 = 0x8017;
const QUOTE: u16 = 0x8018;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign.
const ATTRIBUTES: u32 = 0x0004_0472;
/// restricted
const RESTRICTED: u32 = 0x0001_0000;

impl Software {
    /// TPMS_ATTEST: magic, type, signer, extraData, clock and counters, firmware version, what is attested.
    fn say(&self, kind: u16, extra: &[u8; 32], what: &[u8]) -> Result<Said> {
        let clock = u64::try_from(self.since.elapsed().as_millis())?;
        let attested = [
            &0xff54_4347u32.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &sized(&name(&self.attestation_area)),
            &sized(extra),
            &clock.to_be_bytes(),
            &1u32.to_be_bytes(),
            &0u32.to_be_bytes(),
            &[1],
            &0x2019_1023_0016_3636u64.to_be_bytes(),
            what,
        ];
        let attested = attested.concat();
        // an attestation has no Z: the bare digest is signed
        let signature = self.attestation.sign_digest(&Bank::Sha256.digest(&[&attested]))?;
        Ok(Said { attested, signature })
    }
}

/// TPM2B.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes()[..], bytes].concat()
}

fn name(area: &[u8]) -> Vec<u8> {
    [&[0, 0x0b][..], &Bank::Sha256.digest(&[area])].concat()
}

/// TPMT_PUBLIC of a signing key: name in SHA-256, a random policy, no symmetric part, the scheme with SHA-256.
fn area(key: &PublicKey, more: u32) -> Result<Vec<u8>> {
    let (scheme, curve): (u16, u16) = match key.scheme {
        Scheme::Sm2Sm3 => (0x1b, 0x20),
        Scheme::EcdsaP256Sha256 => (0x18, 0x03),
    };
    let Hex(point) = key.point;
    let (x, y) = point.split_at(32);
    let numbers = |all: &[u16]| all.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let head = [numbers(&[0x23, 0x0b]), (ATTRIBUTES | more).to_be_bytes().to_vec(), sized(&random::<32>()?)];
    let parameters = numbers(&[0x10, scheme, 0x0b, curve, 0x10]);
    Ok([head.concat(), parameters, sized(x), sized(y)].concat())
}
