//! What a simulated box measures, and what its release should.

use anyhow::Result;
use gw_attest::{
    Bank,
    evidence::{
        CONFIGURATION, INVENTORY, Measured, Software, configuration_measurement, inventory_measurement,
    },
    reference::{
        Digests, Expected, ExpectedDigest, Manifest, ManifestSignature, PcrReference, SignedManifest, Want,
    },
};
use gw_proto::{Digest, Hex, UnixMillis, sm3};
use gw_sm::KeyPair;
use std::collections::BTreeMap;

/// The release of all simulated boxes.
pub const RELEASE: &str = "simulated-1";
/// What the verifier asks for.
pub const PCRS: [u8; 5] = [0, 2, 4, 7, 14];
/// The PCR of the gateway's own log.
const OWN: u8 = 14;
/// Events of a box, as many as a rack server's firmware logs, and their data.
const FIRMWARE_EVENTS: u8 = 80;
const EVENT_BYTES: usize = 120;
/// EV_POST_CODE, EV_EFI_BOOT_SERVICES_APPLICATION.
const KINDS: [u32; 2] = [0x0000_0001, 0x8000_0003];

/// How a box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// as released
    Good,
    /// another boot loader was started
    OtherLoader,
    /// its configuration is another than the enrolled one
    OtherConfiguration,
    /// it answers another nonce than it was asked
    StaleNonce,
}

impl Kind {
    /// What the verdict must say, and nothing else.
    pub fn blame(self) -> &'static [&'static str] {
        match self {
            Self::Good => &[],
            Self::OtherLoader => &["component [boot loader]"],
            Self::OtherConfiguration => &["component [configuration]", "configuration [configuration]"],
            Self::StaleNonce => &["nonce", "node-key"],
        }
    }
}

/// What a box has measured.
#[derive(Debug, Clone)]
pub struct Machine {
    /// (PCR, digest) in order, the gateway's own included
    pub extended: Vec<(u8, [u8; 32])>,
    /// the firmware's log
    pub boot_log: Vec<u8>,
    /// the gateway's
    pub own: Vec<Measured>,
    /// its list of software
    pub inventory: Vec<Software>,
    /// its configuration
    pub configuration: Digest,
}

/// The configuration that is approved for all of them.
pub fn approved() -> Digest {
    sm3(b"the approved configuration")
}

impl Machine {
    /// A box of a kind.
    pub fn of(kind: Kind) -> Result<Self> {
        let mut events: Vec<(u8, u32, Vec<u8>, [u8; 32])> = Vec::new();
        for (pcr, component) in firmware() {
            let other = kind == Kind::OtherLoader && component == LOADER;
            let measured = format!("{component}{}", if other { ", another" } else { "" });
            let kind = if pcr == 4 { KINDS[1] } else { KINDS[0] };
            let data = component.as_bytes().iter().copied().cycle().take(EVENT_BYTES).collect();
            events.push((pcr, kind, data, Bank::Sha256.digest(&[measured.as_bytes()])));
        }
        let configuration = match kind {
            Kind::OtherConfiguration => sm3(b"another configuration"),
            _ => approved(),
        };
        let inventory = inventory();
        let measured =
            |component: &str, digest| Measured { pcr: OWN, component: component.to_owned(), digest };
        let own = vec![
            measured(INVENTORY, inventory_measurement(Bank::Sha256, &inventory)?),
            measured(CONFIGURATION, configuration_measurement(Bank::Sha256, &configuration)),
        ];
        let mut extended: Vec<_> = events.iter().map(|e| (e.0, e.3)).collect();
        extended.extend(own.iter().map(|m| (m.pcr, m.digest.0)));
        Ok(Self { extended, boot_log: written(&events), own, inventory, configuration })
    }

    /// What the PCRs hold after it.
    pub fn pcrs(&self) -> BTreeMap<u8, [u8; 32]> {
        let mut all: BTreeMap<u8, [u8; 32]> = PCRS.iter().map(|pcr| (*pcr, [0; 32])).collect();
        for (pcr, digest) in &self.extended {
            let value = all.entry(*pcr).or_default();
            *value = Bank::Sha256.extend(value, digest);
        }
        all
    }
}

const LOADER: &str = "boot loader";

/// (PCR, component) of a box as released.
fn firmware() -> Vec<(u8, String)> {
    let mut all: Vec<_> = (0..FIRMWARE_EVENTS).map(|n| (n % 2 * 2, format!("firmware {n}"))).collect();
    all.extend([(4, LOADER.to_owned()), (4, "kernel image".to_owned()), (7, "Secure Boot state".to_owned())]);
    all
}

fn inventory() -> Vec<Software> {
    vec![Software { name: "xinguan".to_owned(), version: RELEASE.to_owned(), digest: sm3(b"the program") }]
}

/// The crypto-agile format with one bank (firmware profile 1.05, 10.4.5).
fn written(events: &[(u8, u32, Vec<u8>, [u8; 32])]) -> Vec<u8> {
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let spec = [b"Spec ID Event03\0", &[0; 4][..], &[0, 2, 0, 2], &size(1), &[0x0b, 0, 32, 0, 0]].concat();
    let mut out = [&[0; 4], &3u32.to_le_bytes()[..], &[0; 20], &size(spec.len()), &spec].concat();
    for (pcr, kind, data, digest) in events {
        let header = [u32::from(*pcr), *kind, 1].map(u32::to_le_bytes).concat();
        out.extend([&header[..], &[0x0b, 0], digest, &size(data.len()), data].concat());
    }
    out
}

/// The release's manifest, signed by one maker; and what governance lists of it.
pub fn manifest(maker: &KeyPair, now: UnixMillis) -> Result<(Vec<u8>, Digest)> {
    let expected = |component: &str, digest| Expected { component: component.to_owned(), digest };
    let of = |digest| ExpectedDigest::OneOf(Digests { sha256: vec![digest], sm3: vec![] });
    let mut pcrs = Vec::new();
    for pcr in PCRS.into_iter().filter(|p| *p != OWN) {
        let named = firmware().into_iter().filter(|(p, _)| *p == pcr);
        let events = named.map(|(_, c)| expected(&c, of(Hex(Bank::Sha256.digest(&[c.as_bytes()])))));
        pcrs.push(PcrReference { pcr, want: Want::Events(events.collect()) });
    }
    let own = vec![
        expected(INVENTORY, of(inventory_measurement(Bank::Sha256, &inventory())?)),
        expected(CONFIGURATION, ExpectedDigest::ApprovedConfiguration),
    ];
    pcrs.push(PcrReference { pcr: OWN, want: Want::Events(own) });
    let manifest = Manifest {
        v: gw_attest::reference::VERSION,
        release: RELEASE.to_owned(),
        number: 1,
        not_before: UnixMillis(now.0 - 60_000),
        not_after: UnixMillis(now.0 + 86_400_000),
        image: None,
        pcrs,
    };
    let digest = manifest.digest()?;
    let signature = maker.sign(&manifest.signing_input()?)?;
    let signatures = vec![ManifestSignature { key: maker.public_key().id(), signature }];
    Ok((serde_json::to_vec(&SignedManifest { manifest, signatures })?, digest))
}
