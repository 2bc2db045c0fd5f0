//! One round as a gateway's attester does it: a nonce, evidence over it and the TLS session, the verdict.

use super::{
    devices::Device,
    machine::{Kind, PCRS, RELEASE},
};
use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Consortium, Listener, Profile, Reply, SUPERVISOR,
    harness::{thief::first_cert, wire::Connection},
};
use gw_attest::{
    Bank, Bundle,
    evidence::{Claims, NodeKey, PROFILE, Pcr, Quote, certify_extra_data},
};
use gw_proto::{B64, Digest, Hex};
use gw_sm::tls::Trust;
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The channel binding of evidence.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-xinguan-attest-1";

/// How a round went.
pub struct Round {
    /// names of the failed checks, with the component to blame
    pub failed: Vec<String>,
    /// nonce, evidence, verdict: all of it
    pub whole: Duration,
    /// from sending the evidence to having the verdict
    pub judged: Duration,
    /// bytes of the bundle
    pub bytes: usize,
}

/// The supervisor's door for other gateways.
pub struct Door {
    profile: Profile,
    trust: Trust,
    address: SocketAddr,
}

impl Door {
    /// Of a consortium's supervisor.
    pub fn of(c: &Consortium) -> Result<Self> {
        let trust = Trust { roots: vec![first_cert(&c.file("pki/man-root.pem"))?.into()], crls: Vec::new() };
        Ok(Self { profile: c.profile(), trust, address: c.address(SUPERVISOR, Listener::Man)? })
    }

    /// A session of a box's own.
    pub async fn open(&self, device: &Device) -> Result<Connection> {
        Connection::open(self.profile, &device.identity, &self.trust, self.address).await
    }
}

/// A session of a box's own.
pub async fn connect(c: &Consortium, device: &Device) -> Result<Connection> {
    Door::of(c)?.open(device).await
}

/// A nonce.
pub async fn ask(at: &mut Connection) -> Result<Hex<32>> {
    let asked = at.post("/man/v1/challenges", b"{}".to_vec()).await?;
    ensure!(asked.status == 200, "no nonce: {}", String::from_utf8_lossy(&asked.body));
    Ok(asked.json()?["nonce"].as_str().context("no nonce")?.parse()?)
}

/// Evidence over a nonce and this session, as it is sent.
pub fn bundle(device: &Device, nonce: Hex<32>, at: &Connection) -> Result<Vec<u8>> {
    Ok(evidence(device, nonce, &at.export(EXPORTER_LABEL, &nonce.0)?)?.to_json()?)
}

/// What the supervisor says to it.
pub async fn answer(at: &mut Connection, nonce: Hex<32>, bundle: Vec<u8>) -> Result<Reply> {
    at.post(&format!("/man/v1/challenges/{nonce}/evidence"), bundle).await
}

/// One round.
pub async fn round(device: &Device, at: &mut Connection) -> Result<Round> {
    let began = Instant::now();
    let nonce = ask(at).await?;
    let bundle = bundle(device, nonce, at)?;
    let (bytes, sent) = (bundle.len(), Instant::now());
    let told = answer(at, nonce, bundle).await?;
    let (whole, judged) = (began.elapsed(), sent.elapsed());
    ensure!(told.status == 200, "no verdict: {}", String::from_utf8_lossy(&told.body));
    let told = told.json()?;
    let failed: Vec<String> = told["failed"].as_array().into_iter().flatten().map(spell).collect();
    ensure!(told["passed"].as_bool() == Some(failed.is_empty()), "passed and failed: {told}");
    Ok(Round { failed, whole, judged, bytes })
}

fn spell(check: &Value) -> String {
    let name = check["name"].as_str().unwrap_or_default();
    check["component"].as_str().map_or_else(|| name.to_owned(), |c| format!("{name} [{c}]"))
}

fn evidence(device: &Device, asked: Hex<32>, channel: &Digest) -> Result<Bundle> {
    let nonce = if device.kind == Kind::StaleNonce { Hex([7; 32]) } else { asked };
    let (chip, machine) = (&device.chip, &device.machine);
    let certified = chip.certify(&certify_extra_data(&nonce, &device.node, channel)?)?;
    let claims = Claims {
        eat_nonce: nonce,
        device: device.node.clone(),
        release: RELEASE.to_owned(),
        attestation_key: B64(chip.attestation_area()),
        endorsement_chain: vec![B64(device.endorsement().to_vec())],
        boot_log: Some(B64(machine.boot_log.clone())),
        measured: machine.own.clone(),
        node_key: NodeKey::Certified {
            public_area: B64(chip.node_area().to_vec()),
            signer: B64(chip.attestation_area()),
            attested: B64(certified.attested),
            signature: certified.signature,
            hash: Bank::Sha256,
        },
        inventory: machine.inventory.clone(),
        configuration: machine.configuration,
    };
    let (said, values) = chip.quote(&claims.extra_data(channel)?)?;
    let pcrs = PCRS.iter().zip(values).map(|(pcr, value)| Pcr { pcr: *pcr, value: Hex(value) }).collect();
    let (attested, signature, hash, bank) = (B64(said.attested), said.signature, Bank::Sha256, Bank::Sha256);
    Ok(Bundle {
        eat_profile: PROFILE.to_owned(),
        claims,
        quote: Quote { attested, signature, hash, bank, pcrs },
    })
}
