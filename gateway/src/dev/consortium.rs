//! `xinguan dev consortium`: genesis, keys, certificates, configurations, databases in one folder.

use super::{
    configs::{self, Attests, OperatorLine},
    keystore::{self, HsmKind},
    pki::{Authority, Maker, fresh_key, write_certs, write_identity, write_private},
    reference,
};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use gw_proto::{
    B64, Clock as _, ConsortiumId, Dimension, EvidenceLevel, Height, Hex, InstitutionId, NodeId, PublicKey,
    Region, Role, Scheme, Standing, Uscc,
    clock::SystemClock,
    genesis::{Genesis, Governance},
    record::{
        Batch, Cap, Caps, CatalogueVersion, EvidenceRoot, Institution, KeySignature, Node, Policy, Record,
        SignedBatch, VERSION, Writer,
    },
};
use gw_sm::{KeyPair, cert::parse_cert};
use gw_source::{
    Catalogue,
    generate::{self, DatabaseSpec},
};
use hsm_api::{Entropy as _, OsEntropy};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// What to make.
#[derive(Debug, Args)]
pub struct ConsortiumArgs {
    /// folder; must not exist, or be empty
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// sm or international
    #[arg(long, default_value = "sm")]
    pub(crate) profile: String,
    /// IP address of this machine: where all of it listens, and what the ledger lists
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// first of 100 TCP ports on it
    #[arg(long, default_value_t = 21_000)]
    pub(crate) base_port: u16,
    /// enterprises per source database
    #[arg(long, default_value_t = 10_000)]
    pub(crate) enterprises: u32,
    /// what holds the keys of each gateway
    #[arg(long, value_enum, default_value = "soft")]
    pub(crate) hsm: HsmKind,
    /// folder with the simulators' sockets, NODE.sock each, and their manufacturers.pem if they have certificates;
    /// with --hsm swtpm or spi-sim
    #[arg(long)]
    pub(crate) tpm_dir: Option<PathBuf>,
    /// NODE=FILE: this node has its keys elsewhere; FILE is its request for a certificate, as `xinguan hsm request` prints it
    #[arg(long, value_parser = request_of)]
    pub(crate) request: Option<(String, PublicKey)>,
    /// a second supervisor too, which the demo does not start
    #[arg(long)]
    pub(crate) second_supervisor: bool,
    /// seed of the fictional enterprises
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn request_of(text: &str) -> Result<(String, PublicKey)> {
    let (node, file) = text.split_once('=').context("NODE=FILE")?;
    let pem = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let der = gw_sm::cert::request_from_pem(&pem)?;
    Ok((node.to_owned(), gw_sm::cert::parse_request(&der)?.1))
}

/// One gateway of the consortium.
pub struct Member {
    /// node id
    pub node: &'static str,
    /// whose
    pub institution: &'static str,
    /// its name
    pub name: &'static str,
    /// where
    pub region: &'static str,
    /// what it may do
    pub roles: &'static [Role],
}

/// The members. bank-nanjing is listed but not started by the demo: tests need a second institution.
pub const MEMBERS: &[Member] = &[
    Member {
        node: "bank-suzhou-1",
        institution: "bank-suzhou",
        name: "苏州示范银行",
        region: "320500",
        roles: &[Role::Institution],
    },
    Member {
        node: "bureau-hangzhou-1",
        institution: "bureau-hangzhou",
        name: "杭州示范征信",
        region: "330100",
        roles: &[Role::Source],
    },
    Member {
        node: "bureau-hefei-1",
        institution: "bureau-hefei",
        name: "合肥示范征信",
        region: "340100",
        roles: &[Role::Source],
    },
    Member {
        node: "pboc-shanghai-1",
        institution: "pboc-shanghai",
        name: "上海示范监管",
        region: "310000",
        roles: &[Role::Supervisor],
    },
    Member {
        node: "bank-nanjing-1",
        institution: "bank-nanjing",
        name: "南京示范银行",
        region: "320100",
        roles: &[Role::Institution],
    },
];

/// With `--second-supervisor`: any of several suffices.
const SECOND_SUPERVISOR: Member = Member {
    node: "pboc-hangzhou-1",
    institution: "pboc-hangzhou",
    name: "杭州示范监管",
    region: "330100",
    roles: &[Role::Supervisor],
};

fn members(args: &ConsortiumArgs) -> impl Iterator<Item = &'static Member> {
    MEMBERS.iter().chain(args.second_supervisor.then_some(&SECOND_SUPERVISOR))
}

/// How many enterprises of each other region a source holds too: these have keys of their own in the demo.
const GUESTS: usize = 2;

fn sources() -> Vec<Region> {
    MEMBERS
        .iter()
        .filter(|m| m.roles.contains(&Role::Source))
        .filter_map(|m| Region::parse(m.region).ok())
        .collect()
}

/// TCP ports of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// of the machine
    pub address: IpAddr,
    /// bank listener
    pub bank: u16,
    /// MAN listener
    pub man: u16,
    /// admin listener
    pub admin: u16,
}

impl Ports {
    /// An address to listen at, or to be reached by.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    fn of(address: IpAddr, base: u16, index: usize) -> Result<Self> {
        let first = base.checked_add(10 + 10 * u16::try_from(index)?).context("--base-port is too high")?;
        Ok(Self { address, bank: first, man: first + 1, admin: first + 2 })
    }
}

/// Everything, in one folder.
pub fn make(args: &ConsortiumArgs) -> Result<()> {
    let out = &args.out;
    if out.exists() && std::fs::read_dir(out)?.next().is_some() {
        bail!("{} is not empty: remove it or give another --out", out.display());
    }
    std::fs::create_dir_all(out)?;
    let scheme = match args.profile.as_str() {
        "sm" => Scheme::Sm2Sm3,
        "international" => Scheme::EcdsaP256Sha256,
        other => bail!("--profile {other}: sm or international"),
    };
    let maker = Maker::new(SystemClock.now(), args.address);
    let man = maker.root(scheme, "Xinguan development MAN root")?;
    let enterprises = maker.root(Scheme::Sm2Sm3, "Xinguan development enterprise root")?;
    write_certs(&out.join("pki/man-root.pem"), &[&man.certificate])?;
    write_certs(&out.join("pki/enterprise-root.pem"), &[&enterprises.certificate])?;

    let sealers = (0..4).map(|_| fresh_key(Scheme::Sm2Sm3)).collect::<Result<Vec<_>>>()?;
    let governance = (0..3).map(|_| fresh_key(Scheme::Sm2Sm3)).collect::<Result<Vec<_>>>()?;
    let genesis = genesis(&sealers, &governance)?;
    write_private(&out.join("genesis.json"), &serde_json::to_vec_pretty(&genesis)?)?;
    let trust = serde_json::json!({ "genesis": genesis, "roots": [B64(man.certificate.clone())] });
    write_private(&out.join("trust.json"), &serde_json::to_vec_pretty(&trust)?)?;
    for (i, k) in governance.iter().enumerate() {
        let pem = gw_sm::cert::key_to_pem(k).map_err(|e| anyhow!("{e}"))?;
        write_private(&out.join(format!("governance/{}.key", i + 1)), pem.as_bytes())?;
    }
    write_ledger(out, args, &maker, &man, &sealers, scheme)?;

    let mut nodes = Vec::new();
    for (i, member) in members(args).enumerate() {
        let ports = Ports::of(args.address, args.base_port, i)?;
        let key = write_gateway(out, args, &maker, &man, member, ports, scheme)?;
        nodes.push((member, ports, key));
    }
    write_enterprises(out, args, &maker, &enterprises)?;
    let mut records = bootstrap_records(&nodes, &enterprises)?;
    if attests(args) != Attests::No {
        let listed = reference::make(&out.join("attestation"), SystemClock.now())?;
        records.push(Record::Reference(listed));
    }
    if let Some(pinned) = manufacturers(args) {
        write_private(&out.join("attestation/manufacturers.pem"), &std::fs::read(pinned)?)?;
    }
    let batch = sign_bootstrap(&genesis, records, &governance)?;
    write_private(&out.join("ledger/bootstrap.json"), &batch.to_bytes()?)?;
    Ok(())
}

fn genesis(sealers: &[KeyPair], governance: &[KeyPair]) -> Result<Genesis> {
    let names = gw_ledger::dev::Names {
        consortium: ConsortiumId::parse("yrd-dev")?,
        chain: "xinguan-dev".to_owned(),
        group: "group0".to_owned(),
    };
    let keys: Vec<PublicKey> = sealers.iter().map(|k| *k.public_key()).collect();
    let governance = Governance { threshold: 2, keys: governance.iter().map(|k| *k.public_key()).collect() };
    gw_ledger::dev::genesis(&names, &keys, governance).map_err(|e| anyhow!("{e}"))
}

fn write_ledger(
    out: &Path,
    args: &ConsortiumArgs,
    maker: &Maker,
    man: &Authority,
    sealers: &[KeyPair],
    scheme: Scheme,
) -> Result<()> {
    for (i, k) in sealers.iter().enumerate() {
        let pem = gw_sm::cert::key_to_pem(k).map_err(|e| anyhow!("{e}"))?;
        write_private(&out.join(format!("ledger/sealer-{}.key", i + 1)), pem.as_bytes())?;
    }
    let (cert, key) = maker.server(man, "development-ledger", scheme)?;
    write_identity(&out.join("ledger"), "tls", &[&cert], &key)?;
    let names: Vec<String> = members(args).map(|m| format!("\"{}\"", m.node)).collect();
    let toml = format!(
        "# Development ledger: never for real data.\naddress = \"{}\"\nprofile = \"{}\"\nsubmitters = [{}]\n",
        SocketAddr::new(args.address, args.base_port),
        args.profile,
        names.join(", ")
    );
    write_private(&out.join("ledger/ledger.toml"), toml.as_bytes())
}

/// Keys, certificates, operators and configuration of one gateway; returns its node key.
fn write_gateway(
    out: &Path,
    args: &ConsortiumArgs,
    maker: &Maker,
    man: &Authority,
    member: &Member,
    ports: Ports,
    scheme: Scheme,
) -> Result<PublicKey> {
    let folder = out.join("gateways").join(member.node);
    std::fs::create_dir_all(folder.join("data"))?;
    let socket = args.tpm_dir.as_ref().map(|dir| dir.join(format!("{}.sock", member.node)));
    let (node_key, keystore) = match &args.request {
        Some((node, key)) if node == member.node => (*key, keystore::ELSEWHERE.to_owned()),
        _ => keystore::make(args.hsm, &folder, socket, scheme)?,
    };
    let node_ca = maker.node_ca(man, member.node, member.name, &node_key)?;
    write_certs(&folder.join("node-ca.pem"), &[&node_ca])?;

    // the institution's inside: its own root for bank systems and operators
    let inside = maker.root(scheme, &format!("{} inside root", member.institution))?;
    write_certs(&folder.join("inside-root.pem"), &[&inside.certificate])?;
    let clients = out.join("clients").join(member.institution);
    let mut operators = Vec::new();
    let people: &[(&str, &'static [&'static str])] = if member.roles.contains(&Role::Institution) {
        &[
            ("credit-system", &["query", "upload", "view"]),
            ("viewer", &["view"]),
            ("operator", &["operator", "view"]),
        ]
    } else {
        &[
            ("viewer", &["view"]),
            ("auditor", &["auditor", "view"]),
            ("operator", &["operator", "view"]),
            // ending an enrolment takes two
            ("operator-2", &["operator", "view"]),
        ]
    };
    for (name, roles) in people {
        let (cert, key) = maker.client(&inside, name, member.name, scheme)?;
        let spki = parse_cert(&cert).map_err(|e| anyhow!("{e}"))?.spki.to_string();
        write_identity(&clients, name, &[&cert], &key)?;
        operators.push(OperatorLine { name: (*name).to_owned(), spki, roles });
    }
    // valid certificates that nobody lists, an expired one: for tests and for trying refusals
    let (cert, key) = maker.client(&inside, "stranger", member.name, scheme)?;
    write_identity(&clients, "stranger", &[&cert], &key)?;
    let (cert, key) = maker.expired_client(&inside, "expired", scheme)?;
    write_identity(&clients, "expired", &[&cert], &key)?;
    // a bank's client checks the gateway's certificate under the MAN root
    write_certs(&clients.join("gateway-root.pem"), &[&man.certificate])?;

    let ledger = format!("https://{}", SocketAddr::new(args.address, args.base_port));
    let toml = configs::gateway(member, ports, &args.profile, &keystore, &ledger, &operators, attests(args));
    write_private(&folder.join("xinguan.toml"), toml.as_bytes())?;
    if member.roles.contains(&Role::Source) {
        write_private(&folder.join("mapping.toml"), generate::EXAMPLE_MAPPING.as_bytes())?;
        let region = Region::parse(member.region)?;
        let spec = DatabaseSpec {
            seed: args.seed,
            region,
            enterprises: usize::try_from(args.enterprises)?,
            guests_of: sources().into_iter().filter(|r| *r != region).collect(),
            guests: GUESTS,
        };
        generate::generate_database(&folder.join("bureau.sqlite"), &spec).map_err(|e| anyhow!("{e}"))?;
    }
    Ok(node_key)
}

/// Where whoever made the simulated chips left the manufacturer's certificates.
fn manufacturers(args: &ConsortiumArgs) -> Option<PathBuf> {
    args.tpm_dir.as_ref().map(|dir| dir.join("manufacturers.pem")).filter(|file| file.exists())
}

fn attests(args: &ConsortiumArgs) -> Attests {
    match (args.hsm, manufacturers(args)) {
        (HsmKind::Soft, _) => Attests::No,
        (_, None) => Attests::Yes,
        (_, Some(_)) => Attests::Endorsed,
    }
}

/// Three enterprises with keys of their own: held by both sources, where the generator says so.
fn write_enterprises(out: &Path, args: &ConsortiumArgs, maker: &Maker, root: &Authority) -> Result<()> {
    let mut index = Vec::new();
    let regions = sources();
    let (Some(a), Some(b)) = (regions.first(), regions.get(1)) else { bail!("two sources are needed") };
    for (i, e) in generate::shared_enterprises(args.seed, *a, *b, GUESTS).into_iter().enumerate() {
        let code: &Uscc = &e.uscc;
        let (cert, key) = maker.enterprise(root, &e.name, code)?;
        let name = format!("enterprise-{}", i + 1);
        write_identity(&out.join("enterprises"), &name, &[&cert], &key)?;
        index.push(serde_json::json!({ "file": name, "name": e.name, "subject": code }));
    }
    write_private(&out.join("enterprises/index.json"), &serde_json::to_vec_pretty(&index)?)
}

fn bootstrap_records(nodes: &[(&Member, Ports, PublicKey)], enterprises: &Authority) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (m, ports, key) in nodes {
        records.push(Record::Institution(Institution {
            id: InstitutionId::parse(m.institution)?,
            name: m.name.to_owned(),
            region: Region::parse(m.region)?,
            standing: Standing::Active,
        }));
        records.push(Record::Node(Node {
            id: NodeId::parse(m.node)?,
            institution: InstitutionId::parse(m.institution)?,
            roles: m.roles.to_vec(),
            region: Region::parse(m.region)?,
            key: *key,
            endpoint: ports.at(ports.man).to_string(),
            standing: Standing::Active,
        }));
    }
    records.push(Record::EvidenceRoot(EvidenceRoot {
        id: gw_proto::sm3(&enterprises.certificate),
        level: EvidenceLevel::Signed,
        certificate: B64(enterprises.certificate.clone()),
        standing: Standing::Active,
    }));
    let all = Dimension::ALL.to_vec();
    records.push(Record::Policy(Policy {
        version: 1,
        caps: Caps {
            signed: Cap { max_uses: 100, dimensions: all.clone(), per_holder_day: None },
            sealed: Cap { max_uses: 20, dimensions: all, per_holder_day: None },
            asserted: Cap {
                max_uses: 1,
                dimensions: vec![Dimension::Basic, Dimension::Legal],
                per_holder_day: Some(50),
            },
        },
        staleness_ms: 60_000,
        reservation_ms: 600_000,
    }));
    let catalogue = Catalogue::builtin();
    records.push(Record::Catalogue(CatalogueVersion {
        version: catalogue.version().to_owned(),
        digest: catalogue.digest().map_err(|e| anyhow!("{e}"))?,
    }));
    Ok(records)
}

fn sign_bootstrap(genesis: &Genesis, records: Vec<Record>, governance: &[KeyPair]) -> Result<SignedBatch> {
    let mut nonce = [0u8; 16];
    OsEntropy.fill(&mut nonce).context("randomness")?;
    let batch = Batch {
        v: VERSION,
        chain: genesis.chain.clone(),
        genesis: genesis.digest()?,
        writer: Writer::Governance,
        expires_height: Height(500),
        nonce: Hex(nonce),
        records,
    };
    let input = batch.signing_input()?;
    let signatures = governance
        .iter()
        .take(2)
        .map(|k| Ok(KeySignature { key_id: k.public_key().id(), signature: k.sign(&input)? }))
        .collect::<Result<Vec<_>>>()?;
    Ok(SignedBatch { batch, signatures })
}
