//! Boxes on the ledger, under a root of the test's own, enrolled at the supervisor.

use super::{
    chip::Chip,
    machine::{self, Kind, Machine, PCRS},
};
use anyhow::{Context as _, Result, anyhow, ensure};
use blackbox::{
    Consortium, Listener, OTHER_BANK, SUPERVISOR,
    harness::{
        agreement::{now, random},
        caller::Caller,
        consortium::{institution_of, set},
        thief::{Thief, binding_of, first_cert, load_key, tls_identity_named},
        tpm::Tpms,
        wire::Connection,
    },
};
use gw_proto::{
    B64, Digest, NodeId, PublicKey, Scheme, Signature, Standing, UnixMillis,
    record::{KeySignature, Node, Record, SignedBatch, Writer},
};
use gw_sm::{
    KeyPair,
    cert::{CertKind, CertSpec, Issuer, Subject, build_cert, certs_to_pem},
    tls::{TlsIdentity, Trust},
};
use hsm_api::{HsmError, Signer, sign_message};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A batch takes 64 records and 32 KiB.
const NODES_PER_BATCH: usize = 40;
/// Of the bindings: each waits for its block.
const SUBMITTERS: usize = 4;

/// One box.
pub struct Device {
    /// its name
    pub node: NodeId,
    /// what is wrong with it
    pub kind: Kind,
    /// its chip
    pub chip: Chip,
    /// what it has measured
    pub machine: Machine,
    /// its TLS identity
    pub identity: TlsIdentity,
    certificate: Vec<u8>,
}

impl Device {
    /// What stands for the endorsement certificate.
    pub fn endorsement(&self) -> &[u8] {
        &self.certificate
    }
}

/// The chip's node key, for certificates and batches.
struct NodeSigner<'a>(&'a Chip, PublicKey);

impl Signer for NodeSigner<'_> {
    fn public_key(&self) -> &PublicKey {
        &self.1
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

/// The supervisor judges by a manifest of the test's own, and believes a root of the test's own, whose key is given back
/// with the manifest's digest. Before it starts.
pub fn prepare(c: &Consortium, scheme: Scheme) -> Result<(KeyPair, Digest)> {
    let folder = c.file("fleet");
    std::fs::create_dir_all(folder.join("manifests"))?;
    let maker = key(Scheme::Sm2Sm3)?;
    let (manifest, digest) = machine::manifest(&maker, now())?;
    std::fs::write(folder.join("manifests/simulated.json"), manifest)?;
    let makers = json!({ "threshold": 1, "keys": [maker.public_key()] });
    std::fs::write(folder.join("makers.json"), makers.to_string())?;
    let root = key(scheme)?;
    let spec = spec(CertKind::Root, "simulated boxes", root.public_key())?;
    let certificate = issue(&spec, None, &root)?;
    let trusted = c.file("pki/man-root.pem");
    let pem = certs_to_pem([certificate.as_slice()]).map_err(|e| anyhow!("{e}"))?;
    std::fs::write(folder.join("root.pem"), &pem)?;
    std::fs::write(&trusted, std::fs::read_to_string(&trusted)? + &pem)?;
    c.configure(SUPERVISOR, |t| {
        set(t, "supervisor.attestation.manifests", "../../fleet/manifests");
        set(t, "supervisor.attestation.makers", "../../fleet/makers.json");
        let pcrs: Vec<toml::Value> = PCRS.iter().map(|p| i64::from(*p).into()).collect();
        set(t, "supervisor.attestation.pcrs", toml::Value::Array(pcrs));
        set(t, "supervisor.attestation.floor", 1);
        set(t, "supervisor.attestation.silence_s", 3600);
        // all boxes of a test share one address
        set(t, "listen.man.limits.per_address", 2048);
    })?;
    Ok((root, digest))
}

/// Makes boxes: the first `real` with swtpm.
pub fn make(
    c: &Consortium,
    tpms: &Tpms,
    root: &KeyPair,
    names: &[String],
    real: usize,
    kind: impl Fn(usize) -> Kind,
) -> Result<Vec<Device>> {
    let certificate = first_cert(&c.file("fleet/root.pem"))?;
    let one = |(number, name): (usize, &String)| {
        let (kind, scheme) = (kind(number), root.public_key().scheme);
        let machine = Machine::of(kind)?;
        let chip = match number < real {
            true => Chip::swtpm(tpms, name, scheme, &machine)?,
            false => Chip::software(scheme, &machine)?,
        };
        let node_key = chip.node_key();
        let dns = format!("{name}.xinguan.internal");
        let mut spec = spec(CertKind::NodeCa { dns }, name, &node_key)?;
        spec.ips = vec![std::net::IpAddr::from([127, 0, 0, 1])];
        let node_ca = issue(&spec, Some(&certificate), root)?;
        let identity = tls_identity_named(name, name, &node_ca, &NodeSigner(&chip, node_key))?;
        // no manufacturer is pinned: what stands here rests on the operator
        let digest = gw_proto::sm3(name.as_bytes()).0;
        let certificate = [&[0x30, 0x22, 0x04, 0x20][..], &digest].concat();
        Ok(Device { node: name.parse()?, kind, chip, machine, identity, certificate })
    };
    names.iter().enumerate().map(one).collect()
}

/// Lists them, binds their TLS keys, enrols them.
pub fn introduce(c: &Consortium, devices: &[Device]) -> Result<()> {
    let thief = Thief::of(c, OTHER_BANK)?;
    for chunk in devices.chunks(NODES_PER_BATCH) {
        thief.govern(c, chunk.iter().map(listed).collect::<Result<_>>()?)?;
    }
    let thief = &thief;
    let share = devices.len().div_ceil(SUBMITTERS).max(1);
    std::thread::scope(|s| {
        let chunks = devices.chunks(share);
        let running: Vec<_> =
            chunks.map(|chunk| s.spawn(move || chunk.iter().try_for_each(|d| bind(thief, d)))).collect();
        running.into_iter().try_for_each(|r| r.join().map_err(|_| anyhow!("a submitter panicked"))?)
    })?;
    enrol(c, devices)
}

fn listed(device: &Device) -> Result<Record> {
    Ok(Record::Node(Node {
        id: device.node.clone(),
        institution: institution_of(OTHER_BANK).parse()?,
        roles: vec![gw_proto::Role::Institution],
        region: "320100".parse()?,
        key: device.chip.node_key(),
        endpoint: "127.0.0.1:1".to_owned(),
        standing: Standing::Active,
    }))
}

fn bind(thief: &Thief, device: &Device) -> Result<()> {
    let record = Record::TlsBinding(binding_of(&device.identity)?);
    let batch = thief.batch(Writer::Node(device.node.clone()), vec![record])?;
    let key = device.chip.node_key();
    let signature = sign_message(&NodeSigner(&device.chip, key), &batch.signing_input()?)?;
    thief.submit(&SignedBatch { batch, signatures: vec![KeySignature { key_id: key.id(), signature }] })?;
    Ok(())
}

fn enrol(c: &Consortium, devices: &[Device]) -> Result<()> {
    let runtime = blackbox::harness::wire::runtime()?;
    let mut at = runtime.block_on(admin(c, "operator"))?;
    for device in devices {
        let record = json!({
            "device": device.node,
            "institution": institution_of(OTHER_BANK),
            "node_key": device.chip.node_key(),
            "attestation_key": B64(device.chip.attestation_area()),
            "endorsement_certificate": B64(device.certificate.clone()),
            "configuration": machine::approved(),
        });
        let body = record.to_string().into_bytes();
        // the supervisor follows the chain that lists it
        blackbox::harness::wait::until("enrolled", Duration::from_secs(60), || {
            let reply = runtime.block_on(at.post("/admin/v1/enrolments", body.clone()))?;
            ensure!(reply.status == 200, "{}: {}", device.node, String::from_utf8_lossy(&reply.body));
            Ok(())
        })?;
    }
    Ok(())
}

/// A connection to the supervisor's administration as one of its people.
pub async fn admin(c: &Consortium, who: &str) -> Result<Connection> {
    let caller: Caller = c.client(institution_of(SUPERVISOR), who);
    let (certificate, key) = caller.identity.context("operators have certificates")?;
    let chain = vec![first_cert(&certificate)?.into()];
    let identity = TlsIdentity { chain, key: Arc::new(load_key(&key)?) };
    let trust = Trust { roots: vec![first_cert(&caller.roots)?.into()], crls: Vec::new() };
    Connection::open(c.profile(), &identity, &trust, c.address(SUPERVISOR, Listener::Admin)?).await
}

fn key(scheme: Scheme) -> Result<KeyPair> {
    Ok(KeyPair::generate(scheme, |out| hsm_api::Entropy::fill(&hsm_api::OsEntropy, out))?)
}

fn spec(kind: CertKind, name: &str, key: &PublicKey) -> Result<CertSpec> {
    let mut serial: [u8; 16] = random()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let at = now();
    Ok(CertSpec {
        kind,
        subject: Subject { common_name: Some(name.to_owned()), ..Subject::default() },
        public_key: *key,
        not_before: UnixMillis(at.0 - 60_000),
        not_after: at.plus(DAY * 2),
        serial,
        dns: Vec::new(),
        ips: Vec::new(),
    })
}

fn issue(spec: &CertSpec, certificate: Option<&[u8]>, by: &KeyPair) -> Result<Vec<u8>> {
    let sign = |digest: &[u8; 32]| by.sign_digest(digest).map_err(|e| e.to_string());
    let issuer = Issuer { certificate, key: by.public_key(), sign: &sign };
    build_cert(spec, &issuer).map_err(|e| anyhow!("{e}"))
}
