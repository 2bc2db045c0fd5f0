//! Somebody who holds a node's keys and does with them what the gateway would not.
//!
//! It opens the node's keystore, makes a TLS key of its own under the node's certificate, and writes to the
//! ledger as the node. What it signs is what anybody with these keys could sign.

use super::{
    agreement::{now, random},
    caller::{Caller, Reply},
    consortium::{Consortium, Listener, Profile},
    wire::{Connection, runtime},
};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gw_proto::{
    Digest, Height, Hex, InstitutionId, NodeId, UnixMillis, canon,
    fisco::{BlockHeader, Transaction, encode_put_input, parse_digest, write_0x},
    genesis::Genesis,
    merkle::{Leaf, LeafKind, ROOT_CONTEXT, Root, SignedLeaf},
    message::{Evidence, Opening, Request, SignedRequest, Statement, VERSION},
    record::{Batch, KeySignature, Record, Reservation, SignedBatch, TlsBinding, Writer},
    tars::encode_transaction,
};
use gw_sm::{
    KeyPair,
    cert::{
        CertKind, CertSpec, Issuer, Subject, build_cert, certs_from_pem, certs_to_pem, key_from_pem,
        key_to_pem, parse_cert,
    },
    tls::{TlsIdentity, Trust},
};
use hsm_api::{KeyPurpose, KeyStore as _, OsEntropy, Signer, sign_message};
use hsm_soft::{Passphrase, SoftKeyStore, SoftOptions};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

/// A node's keys in the wrong hands.
pub struct Thief {
    /// whose
    pub node: NodeId,
    /// its institution
    pub institution: InstitutionId,
    profile: Profile,
    genesis: Genesis,
    node_key: Arc<dyn Signer>,
    account: Arc<dyn Signer>,
    node_ca: Vec<u8>,
    trust: Trust,
    identity: TlsIdentity,
    binding: TlsBinding,
    ledger: SocketAddr,
    runtime: Runtime,
}

/// Where a record was accepted.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// block
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// its time
    pub time: UnixMillis,
}

impl Thief {
    /// Takes the keys of a node. Its TLS key is not bound on the ledger yet.
    pub fn of(c: &Consortium, node: &str) -> Result<Self> {
        let folder = c.file(&format!("gateways/{node}"));
        let passphrase = Passphrase::from_file(&folder.join("passphrase"))?;
        let path = folder.join("keys.json");
        let keys = SoftKeyStore::open(&path, &passphrase, &SoftOptions::default(), Arc::new(OsEntropy))?;
        let node_key = keys.load_key("node", KeyPurpose::Node)?;
        let account = keys.load_key("account", KeyPurpose::Account)?;
        let node_ca = first_cert(&folder.join("node-ca.pem"))?;
        let root = first_cert(&c.file("pki/man-root.pem"))?;
        let identity = tls_identity(node, &node_ca, node_key.as_ref())?;
        Ok(Self {
            node: node.parse()?,
            institution: super::consortium::institution_of(node).parse()?,
            profile: c.profile(),
            genesis: serde_json::from_slice(&std::fs::read(c.file("genesis.json"))?)?,
            binding: binding_of(&identity)?,
            node_key,
            account,
            node_ca,
            trust: Trust { roots: vec![root.into()], crls: Vec::new() },
            identity,
            ledger: c.ledger_address(),
            runtime: runtime()?,
        })
    }

    /// The same with its TLS key bound on the ledger: a node like any other.
    pub fn bound(c: &Consortium, node: &str) -> Result<Self> {
        let this = Self::of(c, node)?;
        this.bind()?;
        Ok(this)
    }

    /// Binds its TLS key on the ledger.
    pub fn bind(&self) -> Result<Place> {
        self.write(vec![Record::TlsBinding(self.binding.clone())])
    }

    /// Names another node in a fresh TLS certificate, certified by its own node key.
    pub fn pose_as(&mut self, other: &str) -> Result<()> {
        self.identity = tls_identity_named(other, self.node.as_str(), &self.node_ca, self.node_key.as_ref())?;
        Ok(())
    }

    /// Its TLS identity as files, for curl or `xinguan call`.
    pub fn caller(&self, c: &Consortium, name: &str) -> Result<Caller> {
        let folder = c.path("thieves");
        std::fs::create_dir_all(&folder)?;
        let chain = self.identity.chain.iter().map(AsRef::as_ref);
        let pem = certs_to_pem(chain).map_err(|e| anyhow!("{e}"))?;
        std::fs::write(folder.join(format!("{name}.pem")), pem)?;
        let key = key_to_pem(&self.identity.key).map_err(|e| anyhow!("{e}"))?;
        std::fs::write(folder.join(format!("{name}.key")), key.as_bytes())?;
        Ok(Caller::of(&folder, name, &c.file("pki/man-root.pem")))
    }

    /// Its TLS identity and whom it believes, for a server of a test's own.
    pub fn tls(&self) -> (&TlsIdentity, &Trust) {
        (&self.identity, &self.trust)
    }

    // ---- messages ----

    /// One leaf under one root, signed by the node key.
    pub fn sign(&self, kind: LeafKind, audience: &str, digest: Digest) -> Result<SignedLeaf> {
        let leaf = Leaf { kind, audience: audience.to_owned(), salt: Hex(random()?), digest };
        let root = Root {
            context: ROOT_CONTEXT.to_owned(),
            key_id: self.node_key.public_key().id(),
            size: 1,
            time: now(),
            root: leaf.hash().context("the audience is too long")?,
        };
        let mut signed = SignedLeaf { leaf, index: 0, path: Vec::new(), root, signature: Hex([0; 64]) };
        signed.signature = sign_message(self.node_key.as_ref(), &signed.root_signing_input()?)?;
        Ok(signed)
    }

    /// A request that a source should answer, if its reservation stands at `at`.
    pub fn request(&self, to: &str, s: &Statement, e: &Evidence, t: &Opening, at: Place) -> Result<Request> {
        Ok(Request {
            v: VERSION,
            height: at.height,
            hash: at.hash,
            nonce: Hex(random()?),
            // a minute ahead is the most that a source takes; a busy machine needs most of it
            expires: now().plus(Duration::from_secs(50)),
            asker: self.node.clone(),
            audience: to.parse()?,
            statement: s.clone(),
            evidence: e.clone(),
            opening: t.clone(),
        })
    }

    /// Signs a request for the audience that it names.
    pub fn signed(&self, request: Request) -> Result<SignedRequest> {
        let proof = self.sign(LeafKind::Request, request.audience.as_str(), request.digest()?)?;
        Ok(SignedRequest { request, proof })
    }

    /// Sends JSON to a gateway's listener over a connection of its own.
    pub fn post(&self, c: &Consortium, gateway: &str, path: &str, body: &Value) -> Result<Reply> {
        self.post_to(c.address(gateway, Listener::Man)?, path, body)
    }
    /// The same to any address.
    pub fn post_to(&self, to: SocketAddr, path: &str, body: &Value) -> Result<Reply> {
        let body = body.to_string().into_bytes();
        self.runtime.block_on(async {
            Connection::open(self.profile, &self.identity, &self.trust, to).await?.post(path, body).await
        })
    }
    /// Asks a source.
    pub fn ask(&self, c: &Consortium, source: &str, request: &SignedRequest) -> Result<Reply> {
        self.post(c, source, "/man/v1/queries", &serde_json::to_value(request)?)
    }

    // ---- the ledger ----

    /// Reserves a use with a deadline of a minute.
    pub fn reserve(&self, t: &Opening) -> Result<Place> {
        self.write(vec![Record::Reservation(Reservation {
            report_id: t.report_id,
            authz_id: t.authz_id,
            commitment: t.commitment()?,
            deadline: now().plus(Duration::from_secs(60)),
        })])
    }

    /// Writes records as the node; in which block they stand. Whether the rules accept them is another matter.
    pub fn write(&self, records: Vec<Record>) -> Result<Place> {
        self.submit(&self.signed_batch(records)?)
    }

    /// A batch of the node's, signed.
    pub fn signed_batch(&self, records: Vec<Record>) -> Result<SignedBatch> {
        let batch = self.batch(Writer::Node(self.node.clone()), records)?;
        let signature = sign_message(self.node_key.as_ref(), &batch.signing_input()?)?;
        let key_id = self.node_key.public_key().id();
        Ok(SignedBatch { batch, signatures: vec![KeySignature { key_id, signature }] })
    }

    /// Writes records as governance: with two of its three keys, which lie in the consortium's folder.
    pub fn govern(&self, c: &Consortium, records: Vec<Record>) -> Result<Place> {
        let batch = self.batch(Writer::Governance, records)?;
        let input = batch.signing_input()?;
        let mut signatures = Vec::new();
        for n in 1..=2 {
            let key = load_key(&c.file(&format!("governance/{n}.key")))?;
            signatures.push(KeySignature { key_id: key.public_key().id(), signature: key.sign(&input)? });
        }
        self.submit(&SignedBatch { batch, signatures })
    }

    /// A batch of any writer's, to be signed.
    pub fn batch(&self, writer: Writer, records: Vec<Record>) -> Result<Batch> {
        let head = self.rpc("getBlockNumber", json!(["group0", ""]))?;
        Ok(Batch {
            v: gw_proto::record::VERSION,
            chain: self.genesis.chain.clone(),
            genesis: self.genesis.digest()?,
            writer,
            expires_height: Height(head.as_u64().context("no height")? + 100),
            nonce: Hex(random()?),
            records,
        })
    }

    /// Submits a batch in a transaction of its own; in which block it stands.
    pub fn submit(&self, batch: &SignedBatch) -> Result<Place> {
        let limit = i64::try_from(batch.batch.expires_height.0)?;
        self.send(&self.transaction(encode_put_input(&batch.to_bytes()?), limit)?)
    }

    /// A transaction with this input, signed by the account.
    pub fn transaction(&self, input: Vec<u8>, block_limit: i64) -> Result<Transaction> {
        let mut tx = Transaction {
            version: 0,
            hash: String::new(),
            chain_id: self.genesis.chain.clone(),
            group_id: self.genesis.group.clone(),
            block_limit,
            nonce: hex::encode(random::<16>()?.map(|b| b'a' + b % 26)),
            to: self.genesis.contract.clone(),
            input: write_0x(&input),
            abi: String::new(),
            signature: String::new(),
        };
        let hash = tx.compute_hash()?;
        tx.hash = write_0x(&hash.0);
        let signature = sign_message(self.account.as_ref(), &hash.0)?;
        tx.signature = format!("0x{signature}{}", self.account.public_key().point);
        Ok(tx)
    }

    /// Submits a transaction; where it stands.
    pub fn send(&self, tx: &Transaction) -> Result<Place> {
        let bytes = write_0x(&encode_transaction(tx)?);
        let receipt = self.rpc("sendTransaction", json!(["group0", "", bytes, false]))?;
        let height = receipt["blockNumber"].as_u64().with_context(|| format!("no block in {receipt}"))?;
        self.place(Height(height))
    }

    /// A block's number, hash and time.
    pub fn place(&self, height: Height) -> Result<Place> {
        let header = self.rpc("getBlockByNumber", json!(["group0", "", height, true, true]))?;
        let header: BlockHeader = serde_json::from_value(header)?;
        Ok(Place { height, hash: parse_digest("hash", &header.hash)?, time: UnixMillis(header.timestamp) })
    }

    /// One JSON-RPC call to the ledger.
    pub fn rpc(&self, method: &str, params: Value) -> Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = self.post_to(self.ledger, "/", &body)?;
        ensure!(reply.status == 200, "{method}: HTTP {}", reply.status);
        let mut answer = reply.json()?;
        if !answer["error"].is_null() {
            bail!("{method}: {}", answer["error"]);
        }
        Ok(answer["result"].take())
    }
}

/// An opening of this institution's: fresh, for the statement's subject.
pub fn opening(asker: &InstitutionId, s: &Statement) -> Result<Opening> {
    let authz_id = gw_proto::record::authz_id(&s.holder, &s.commitment()?)?;
    let purpose = *s.purposes.first().context("no purpose")?;
    let (subject, dimensions) = (s.subject.clone(), s.dimensions.clone());
    Ok(Opening::new(
        asker,
        authz_id,
        subject,
        purpose,
        dimensions,
        canon::sm3(b"an operator"),
        Hex(random()?),
    )?)
}

/// A private key's file.
pub fn load_key(path: &std::path::Path) -> Result<KeyPair> {
    key_from_pem(&std::fs::read_to_string(path)?).map_err(|e| anyhow!("{}: {e}", path.display()))
}

/// The first certificate of a PEM file.
pub fn first_cert(path: &std::path::Path) -> Result<Vec<u8>> {
    let all = certs_from_pem(&std::fs::read(path)?).map_err(|e| anyhow!("{}: {e}", path.display()))?;
    all.into_iter().next().with_context(|| format!("{} is empty", path.display()))
}

fn tls_identity(node: &str, node_ca: &[u8], key: &dyn Signer) -> Result<TlsIdentity> {
    tls_identity_named(node, node, node_ca, key)
}

/// A fresh key, certified by the node key as `name`, with the node's own host name and loopback.
pub fn tls_identity_named(name: &str, node: &str, node_ca: &[u8], by: &dyn Signer) -> Result<TlsIdentity> {
    let key = KeyPair::generate(by.public_key().scheme, |out| hsm_api::Entropy::fill(&OsEntropy, out))?;
    let at = now();
    let mut serial: [u8; 16] = random()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let spec = CertSpec {
        kind: CertKind::TlsServerClient,
        subject: Subject { common_name: Some(name.to_owned()), ..Subject::default() },
        public_key: *key.public_key(),
        not_before: UnixMillis(at.0 - 30_000),
        not_after: at.plus(Duration::from_secs(6 * 3600)),
        serial,
        dns: vec![format!("{node}.xinguan.internal")],
        ips: vec![std::net::IpAddr::from([127, 0, 0, 1])],
    };
    let sign = |digest: &[u8; 32]| by.sign_digest(digest).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: Some(node_ca), key: by.public_key(), sign: &sign };
    let der = build_cert(&spec, &issuer).map_err(|e| anyhow!("{e}"))?;
    Ok(TlsIdentity { chain: vec![der.into(), node_ca.to_vec().into()], key: Arc::new(key) })
}

/// The record that binds its key.
pub fn binding_of(identity: &TlsIdentity) -> Result<TlsBinding> {
    let leaf = identity.chain.first().context("an empty chain")?;
    let cert = parse_cert(leaf).map_err(|e| anyhow!("{e}"))?;
    Ok(TlsBinding { spki: cert.spki, not_before: cert.not_before, not_after: cert.not_after })
}
