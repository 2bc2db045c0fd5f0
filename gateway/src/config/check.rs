//! Semantic validation: all problems at once, each with key path and remedy.
//!
//! Every section function returns `None` only after it has noted at least one problem; [`check`] relies on it.

mod attestation;
mod keystore;
mod postgresql;
mod value;

use super::{
    BoardConfig, Config, Identity, Ledger, Limits, Listen, ListenLimits, Listeners, LogFormat, Node,
    Operator, OperatorRole, Problem, Query, Source, Supervisor, Telemetry, Trust, raw::*,
};
use gw_proto::{Digest, InstitutionId, NodeId, Region, Role};
use std::{collections::BTreeSet, path::Path};
use value::Notes;

/// `written`: the file alone, which says what sections are there; `layered`: with defaults; `digest`: of its text.
pub(super) fn check(
    written: &Raw,
    layered: &Raw,
    base: &Path,
    digest: Digest,
) -> Result<Config, Vec<Problem>> {
    let mut n = Notes::new(base);
    let node = node(&mut n, layered.node.clone().unwrap_or_default());
    let roles: &[Role] = node.as_ref().map_or(&[], |node| &node.roles);
    let clear_storage_key = layered.board.as_ref().and_then(|b| b.clear_storage_key.clone());
    let clear_storage_key = clear_storage_key.and_then(|path| n.path("board.clear_storage_key", Some(path)));
    let board = layered.board.clone().map(|raw| board(&mut n, raw));
    let keystore = keystore::keystore(&mut n, layered.keystore.clone().unwrap_or_default());
    let has_bank = written.listen.as_ref().is_some_and(|l| l.bank.is_some());
    let trust = trust(&mut n, layered.trust.clone().unwrap_or_default(), has_bank);
    let identity = identity(&mut n, layered.identity.clone().unwrap_or_default());
    let listen = listeners(
        &mut n,
        &written.listen.clone().unwrap_or_default(),
        layered.listen.clone().unwrap_or_default(),
        roles,
    );
    let operators = operators(&mut n, layered.operators.clone());
    let ledger = ledger(&mut n, layered.ledger.clone().unwrap_or_default());
    let limits = limits(&mut n, layered.limits.clone().unwrap_or_default());
    let query = query(&mut n, layered.query.clone().unwrap_or_default());
    let source = section(&mut n, "source", written.source.is_some(), Role::Source, roles)
        .then(|| source(&mut n, layered.source.clone().unwrap_or_default()));
    let supervisor = section(&mut n, "supervisor", written.supervisor.is_some(), Role::Supervisor, roles)
        .then(|| supervisor(&mut n, layered.supervisor.clone().unwrap_or_default()));
    if let (Some(Some(s)), Some(operators)) = (&supervisor, &operators)
        && s.attestation.is_some()
    {
        two_people(&mut n, operators);
    }
    let attestation = attestation::attestation(&mut n, layered.attestation.clone().unwrap_or_default());
    let telemetry = telemetry(&mut n, layered.telemetry.clone().unwrap_or_default());

    let (problems, weakened) = n.finish();
    let all = (|| {
        Some(Config {
            node: node?,
            board: match board {
                None => None,
                Some(checked) => Some(checked?),
            },
            clear_storage_key,
            keystore: keystore?,
            trust: trust?,
            identity: identity?,
            listen: listen?,
            operators: operators?,
            ledger: ledger?,
            limits: limits?,
            query: query?,
            source: match source {
                None => None,
                Some(checked) => Some(checked?),
            },
            supervisor: match supervisor {
                None => None,
                Some(checked) => Some(checked?),
            },
            attestation: attestation?,
            telemetry: telemetry?,
            digest,
            weakened,
        })
    })();
    all.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Whether a role's section is to be read: its absence or presence against the roles is a problem.
fn section(n: &mut Notes, key: &str, written: bool, role: Role, roles: &[Role]) -> bool {
    let has = roles.contains(&role);
    if has && !written {
        n.problem(key, format!("missing, role {key} is set"), format!("add [{key}], or drop the role"));
    }
    // without valid roles nothing can be said about extra sections
    if !has && written && !roles.is_empty() {
        n.problem(key, format!("there without role {key}"), format!("drop [{key}], or add the role"));
    }
    has && written
}

fn node(n: &mut Notes, raw: RawNode) -> Option<Node> {
    let id = n.parsed("node.id", raw.id, NodeId::parse);
    let institution = n.parsed("node.institution", raw.institution, InstitutionId::parse);
    let region = match raw.region {
        None => Some(None),
        Some(text) => n.parsed("node.region", Some(text), Region::parse).map(Some),
    };
    let roles = n.words("node.roles", raw.roles, &ROLES);
    let data_dir = n.path("node.data_dir", raw.data_dir);
    let roles = roles?;
    if roles.contains(&Role::Supervisor) && roles.len() > 1 {
        n.problem(
            "node.roles",
            "supervisor stands with another role",
            "give the supervisor a box of its own: it judges the others",
        );
    }
    Some(Node { id: id?, institution: institution?, region: region?, roles, data_dir: data_dir? })
}

fn board(n: &mut Notes, raw: RawBoard) -> Option<BoardConfig> {
    match (raw.name, raw.file) {
        #[cfg(feature = "dev")]
        (Some(name), None) if name.starts_with("case-file:") => {
            n.weak("board.name = \"case-file:…\": the tamper switch is a file");
            let path = name.trim_start_matches("case-file:").to_owned();
            n.path("board.name", Some(path)).map(BoardConfig::CaseFile)
        }
        (Some(name), None) => {
            let known: Vec<&str> = board_linux::BOARDS.iter().map(|(name, _)| *name).collect();
            if known.contains(&name.as_str()) {
                return Some(BoardConfig::BuiltIn(name));
            }
            let what = format!("no board `{}` is built in", value::clip(&name));
            n.problem("board.name", what, format!("use one of: {}", known.join(", ")));
            None
        }
        (None, Some(file)) => n.path("board.file", Some(file)).map(BoardConfig::File),
        _ => {
            n.problem("board", "needs either `name` or `file`", "give one of them");
            None
        }
    }
}

const ROLES: [(&str, Role); 3] =
    [("institution", Role::Institution), ("source", Role::Source), ("supervisor", Role::Supervisor)];

fn trust(n: &mut Notes, raw: RawTrust, has_bank: bool) -> Option<Trust> {
    let genesis = n.path("trust.genesis", raw.genesis);
    let man_roots = n.path("trust.man_roots", raw.man_roots);
    let man_crl = n.paths("trust.man_crl", raw.man_crl);
    let bank_roots = if has_bank {
        n.path("trust.bank_roots", raw.bank_roots).map(Some)
    } else {
        Some(raw.bank_roots.and_then(|p| n.path("trust.bank_roots", Some(p))))
    };
    let bank_crl = n.paths("trust.bank_crl", raw.bank_crl);
    let admin_roots = n.path("trust.admin_roots", raw.admin_roots);
    let admin_crl = n.paths("trust.admin_crl", raw.admin_crl);
    if let (Some(man), Some(Some(bank))) = (&man_roots, &bank_roots)
        && man == bank
    {
        n.problem(
            "trust.bank_roots",
            "the same file as trust.man_roots",
            "use a root of the institution's own: a gateway of the MAN must not pass for a bank's system",
        );
    }
    Some(Trust {
        genesis: genesis?,
        man_roots: man_roots?,
        man_crl: man_crl?,
        bank_roots: bank_roots?,
        bank_crl: bank_crl?,
        admin_roots: admin_roots?,
        admin_crl: admin_crl?,
    })
}

fn identity(n: &mut Notes, raw: RawIdentity) -> Option<Identity> {
    let node_ca_chain = n.path("identity.node_ca_chain", raw.node_ca_chain);
    let hours = n.number("identity.tls_lifetime_hours", raw.tls_lifetime_hours, 1, 24);
    let names: Option<Vec<_>> = raw
        .extra_names
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(i, name)| n.host_name(&format!("identity.extra_names[{i}]"), &name))
        .collect();
    Some(Identity {
        node_ca_chain: node_ca_chain?,
        tls_lifetime: std::time::Duration::from_secs(hours? * 3600),
        extra_names: names?,
    })
}

fn listeners(n: &mut Notes, written: &RawListen, layered: RawListen, roles: &[Role]) -> Option<Listeners> {
    let needs_man = roles.iter().any(|r| matches!(r, Role::Source | Role::Supervisor));
    for (key, needed, there, why) in [
        (
            "listen.bank",
            roles.contains(&Role::Institution),
            written.bank.is_some(),
            "role institution serves the bank's systems there",
        ),
        ("listen.man", needs_man, written.man.is_some(), "other gateways call it there"),
        ("listen.admin", true, written.admin.is_some(), "health, metrics and administration are there"),
    ] {
        if needed && !there {
            n.problem(key, "missing", format!("add [{key}] with an address: {why}"));
        }
    }
    if written.bank.is_some() && !roles.is_empty() && !roles.contains(&Role::Institution) {
        n.problem("listen.bank", "there without role institution", "drop [listen.bank], or add the role");
    }
    let mut one = |key: &str, there: bool, raw: Option<RawListener>| {
        if there { listen(n, key, raw.unwrap_or_default()).map(Some) } else { Some(None) }
    };
    let bank = one("listen.bank", written.bank.is_some(), layered.bank);
    let man = one("listen.man", written.man.is_some(), layered.man);
    let admin = one("listen.admin", written.admin.is_some(), layered.admin);
    let listeners = Listeners { bank: bank?, man: man?, admin: admin?? };
    let mut seen = BTreeSet::new();
    for (key, listen) in [
        ("listen.bank", listeners.bank.as_ref()),
        ("listen.man", listeners.man.as_ref()),
        ("listen.admin", Some(&listeners.admin)),
    ] {
        let Some(listen) = listen else { continue };
        // port 0 asks the system for a free one
        if listen.address.port() != 0 && !seen.insert(listen.address) {
            n.problem(
                &format!("{key}.address"),
                "used by another listener",
                "give each listener its own port",
            );
        }
    }
    Some(listeners)
}

fn listen(n: &mut Notes, key: &str, raw: RawListener) -> Option<Listen> {
    let address = n.socket_address(&format!("{key}.address"), raw.address);
    let profile = n.profile(&format!("{key}.profile"), raw.profile);
    let limits = listen_limits(n, &format!("{key}.limits"), raw.limits.unwrap_or_default());
    Some(Listen { address: address?, profile: profile?, limits: limits? })
}

fn listen_limits(n: &mut Notes, key: &str, raw: RawListenLimits) -> Option<ListenLimits> {
    let k = |name: &str| format!("{key}.{name}");
    let max_connections = n.size(&k("max_connections"), raw.max_connections, 1, 65_536);
    let per_address = n.size(&k("per_address"), raw.per_address, 1, 65_536);
    let max_handshakes = n.size(&k("max_handshakes"), raw.max_handshakes, 1, 65_536);
    let new_per_second = n.count(&k("new_per_second_per_address"), raw.new_per_second_per_address, 10_000);
    let new_burst = n.count(&k("new_burst_per_address"), raw.new_burst_per_address, 10_000);
    let handshake_timeout = n.millis(&k("handshake_timeout_ms"), raw.handshake_timeout_ms, 10, 60_000);
    let header_timeout = n.millis(&k("header_timeout_ms"), raw.header_timeout_ms, 10, 120_000);
    let idle_timeout = n.millis(&k("idle_timeout_ms"), raw.idle_timeout_ms, 10, 3_600_000);
    let body_chunk_timeout = n.millis(&k("body_chunk_timeout_ms"), raw.body_chunk_timeout_ms, 10, 120_000);
    let body_timeout = n.millis(&k("body_timeout_ms"), raw.body_timeout_ms, 10, 600_000);
    let exchange_timeout = n.millis(&k("exchange_timeout_ms"), raw.exchange_timeout_ms, 10, 600_000);
    let body_bytes = n.size(&k("body_bytes"), raw.body_bytes, 1024, 64 * 1024 * 1024);
    // hyper's HTTP/1 buffer has at least 8 KiB
    let header_bytes = n.size(&k("header_bytes"), raw.header_bytes, 8192, 262_144);
    let max_headers = n.size(&k("max_headers"), raw.max_headers, 8, 256);
    let max_streams = n.count(&k("max_streams"), raw.max_streams, 1000);
    let drain = n.millis(&k("drain_ms"), raw.drain_ms, 10, 600_000);
    if let (Some(one), Some(all)) = (per_address, max_connections)
        && one > all
    {
        n.problem(
            &k("per_address"),
            format!("{one} is more than max_connections ({all})"),
            "lower it: one address must not fill the listener",
        );
    }
    if let (Some(body), Some(exchange)) = (body_timeout, exchange_timeout)
        && body > exchange
    {
        n.problem(
            &k("body_timeout_ms"),
            "longer than exchange_timeout_ms, which contains it",
            "lower it, or raise exchange_timeout_ms",
        );
    }
    Some(ListenLimits {
        max_connections: max_connections?,
        per_address: per_address?,
        max_handshakes: max_handshakes?,
        new_per_second: new_per_second?,
        new_burst: new_burst?,
        handshake_timeout: handshake_timeout?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        body_chunk_timeout: body_chunk_timeout?,
        body_timeout: body_timeout?,
        exchange_timeout: exchange_timeout?,
        body_bytes: body_bytes?,
        header_bytes: header_bytes?,
        max_headers: max_headers?,
        max_streams: max_streams?.get(),
        drain: drain?,
    })
}

/// What four eyes need: two people who may act, and nobody who acts and audits.
fn two_people(n: &mut Notes, operators: &[Operator]) {
    let acting = operators.iter().filter(|o| o.has(OperatorRole::Operator));
    let people: BTreeSet<_> = acting.clone().map(|o| o.person().to_lowercase()).collect();
    if people.len() < 2 {
        n.weak("operators: fewer than two people have role operator: no enrolment can be ended or replaced");
    }
    for both in acting.filter(|o| o.roles.contains(&OperatorRole::Auditor)) {
        n.weak(format!("operators: {} may act and audit: an auditor should act on nothing", both.name));
    }
}

fn operators(n: &mut Notes, raw: Option<Vec<RawOperator>>) -> Option<Vec<Operator>> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        n.problem("operators", "missing", "add [[operators]]: without one nobody may call this gateway");
    }
    if raw.len() > 1000 {
        n.problem("operators", format!("{} entries", raw.len()), "list at most 1000");
        return None;
    }
    let roles = OperatorRole::ALL.map(|r| (r.as_str(), r));
    let mut all = Vec::new();
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (i, raw) in raw.into_iter().enumerate() {
        let k = |name: &str| format!("operators[{i}].{name}");
        let name = n.text(&k("name"), raw.name, 64);
        let spki = n.parsed(&k("spki"), raw.spki, Digest::parse);
        let roles = n.words(&k("roles"), raw.roles, &roles);
        let person = raw.person.map(|p| n.text(&k("person"), Some(p), 64));
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            n.problem(&k("name"), "used by another operator", "give each operator its own name");
        }
        if let Some(spki) = spki
            && !keys.insert(spki)
        {
            n.problem(&k("spki"), "used by another operator", "give each operator its own certificate");
        }
        let person = match person {
            Some(given) => given.map(Some),
            None => Some(None),
        };
        all.push((|| Some(Operator { name: name?, spki: spki?, roles: roles?, person: person? }))());
    }
    all.into_iter().collect()
}

fn ledger(n: &mut Notes, raw: RawLedger) -> Option<Ledger> {
    let endpoints = value::endpoints(n, raw.endpoints.unwrap_or_default());
    let poll = n.millis("ledger.poll_ms", raw.poll_ms, 50, 10_000);
    let profile = n.profile("ledger.profile", raw.profile);
    let roots = match raw.roots {
        None => Some(None),
        Some(p) => n.path("ledger.roots", Some(p)).map(Some),
    };
    let endpoints = endpoints?;
    let owners: BTreeSet<_> = endpoints.iter().map(|e| &e.owner).collect();
    if owners.len() < 2 {
        if raw.single_endpoint_ok == Some(true) {
            n.weak("ledger.single_endpoint_ok = true: one owner can hide a revocation from this gateway");
        } else {
            n.problem(
                "ledger.endpoints",
                "fewer than two owners",
                "add an endpoint of another member, or set ledger.single_endpoint_ok = true and accept that one owner can withhold blocks",
            );
        }
    }
    let https = endpoints.iter().any(|e| e.url.scheme_str() == Some("https"));
    if https && roots == Some(None) {
        n.problem(
            "ledger.roots",
            "missing, an endpoint is https",
            "give the PEM file of its root certificates",
        );
    }
    for (i, e) in endpoints.iter().enumerate() {
        if e.url.scheme_str() == Some("http") && !value::is_loopback(&e.url) {
            n.weak(format!(
                "ledger.endpoints[{i}] is http: blocks stay verified, but others can read and delay them"
            ));
        }
    }
    Some(Ledger { endpoints, poll: poll?, profile: profile?, roots: roots? })
}

fn limits(n: &mut Notes, raw: RawLimits) -> Option<Limits> {
    let mut quota = |name: &str, raw: Option<RawQuota>| {
        let raw = raw.unwrap_or_default();
        let per_minute = n.count(&format!("limits.{name}.per_minute"), raw.per_minute, 1_000_000);
        let burst = n.count(&format!("limits.{name}.burst"), raw.burst, 100_000);
        Some(super::Quota { per_minute: per_minute?, burst: burst? })
    };
    let institution = quota("institution", raw.institution);
    let operator = quota("operator", raw.operator);
    let subject = quota("subject", raw.subject);
    let authorization = quota("authorization", raw.authorization);
    Some(Limits {
        institution: institution?,
        operator: operator?,
        subject: subject?,
        authorization: authorization?,
    })
}

fn query(n: &mut Notes, raw: RawQuery) -> Option<Query> {
    // a reservation's deadline lies at most 10 min after its block (PROTOCOL.md)
    let budget = n.millis("query.budget_ms", raw.budget_ms, 500, 120_000);
    let wait = n.millis("query.source_wait_height_ms", raw.source_wait_height_ms, 1, 30_000);
    // DESIGN.md stage 10: at most 10 min
    let window = n.millis("query.idempotency_window_ms", raw.idempotency_window_ms, 1000, 600_000);
    if let (Some(wait), Some(budget)) = (wait, budget)
        && wait >= budget
    {
        n.problem(
            "query.source_wait_height_ms",
            "not shorter than query.budget_ms, which contains it",
            "lower it: a source that waits that long cannot answer in time",
        );
    }
    Some(Query { budget: budget?, source_wait_height: wait?, idempotency_window: window? })
}

fn source(n: &mut Notes, raw: RawSource) -> Option<Source> {
    let mapping = n.path("source.mapping", raw.mapping);
    let database = n.path("source.database", raw.database);
    let max_parallel = n.size("source.max_parallel", raw.max_parallel, 1, 256);
    Some(Source { mapping: mapping?, database: database?, max_parallel: max_parallel? })
}

fn supervisor(n: &mut Notes, raw: RawSupervisor) -> Option<Supervisor> {
    let database = postgresql::database(n, raw.database, raw.postgresql);
    let attestation = match raw.attestation {
        None => Some(None),
        Some(raw) => attestation::verifier(n, raw).map(Some),
    };
    Some(Supervisor { database: database?, attestation: attestation? })
}

fn telemetry(n: &mut Notes, raw: RawTelemetry) -> Option<Telemetry> {
    let level = n.level("telemetry.level", raw.level);
    let format =
        n.word("telemetry.format", raw.format, &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let targets: Option<Vec<_>> = raw
        .targets
        .unwrap_or_default()
        .into_iter()
        .map(|(target, level)| {
            n.level(&format!("telemetry.targets.{target}"), Some(level)).map(|level| (target, level))
        })
        .collect();
    Some(Telemetry { level: level?, format: format?, targets: targets? })
}
