//! What the stages share: one gateway's services, made by `assemble.rs`.
//!
//! Stages see traits and handles, never a concrete backend.

use crate::{
    attester::Attester,
    certificates::Certificates,
    config::Config,
    dial,
    documents::Documents,
    listen::{ListenerKind, PeerCert},
    nonces::Nonces,
    reject::{self, Rejection},
    signing::BatchSigner,
    stages::{fetch::Snapshots, limit::Limits},
    supervisor::{attest::Verifier, store::SupervisorStore},
    tags::Tags,
    tls::TlsSet,
};
use gw_journal::{Entry, Journal, Note, Outbox};
use gw_ledger::{Health, Ledger, LedgerError, StateGuard, StateHandle, Submitter};
use gw_policy::Fate;
use gw_proto::{
    Budget, Clock, Height, InstitutionId, NodeId, Role, UnixMillis, genesis::Genesis, record::Record,
    report::InclusionProof,
};
use gw_sm::cert::Crl;
use gw_source::{BlockingSource, Catalogue};
use hsm_api::{Entropy, Signer};
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_util::task::TaskTracker;

/// The CRLs that were loaded, per listener: asked per request.
#[derive(Debug, Default)]
pub struct Revoked {
    lists: HashMap<ListenerKind, Vec<Crl>>,
}

impl Revoked {
    /// Over parsed lists, whose signatures the TLS handshake checks.
    pub fn new(lists: HashMap<ListenerKind, Vec<Crl>>) -> Self {
        Self { lists }
    }
    /// Asks the lists of a listener for each certificate of a peer's chain: the node CA's too, whose TLS
    /// certificates are on no list. A list that went out of date since the handshake is no answer: fail closed.
    pub fn check(
        &self,
        listener: ListenerKind,
        cert: &PeerCert,
        now: UnixMillis,
    ) -> Result<(), &'static str> {
        let lists = self.lists.get(&listener).map(Vec::as_slice).unwrap_or_default();
        for (issuer, serial) in &cert.listed_as {
            let of_issuer = || lists.iter().filter(|crl| crl.issuer() == issuer.as_slice());
            if of_issuer().any(|crl| crl.lists(serial)) {
                return Err("a certificate of the chain is on its issuer's current CRL");
            }
            if of_issuer().next().is_some() && !of_issuer().any(|crl| crl.is_current(now)) {
                return Err("the CRL that would speak for the certificate is out of date");
            }
        }
        Ok(())
    }
}

/// One gateway.
pub struct App {
    /// validated configuration
    pub config: Config,
    /// this node
    pub node: NodeId,
    /// its institution
    pub institution: InstitutionId,
    /// the pinned trust root
    pub genesis: Arc<Genesis>,
    /// the only source of "now"
    pub clock: Arc<dyn Clock>,
    /// the only source of randomness
    pub entropy: Arc<dyn Entropy>,
    /// verified ledger state
    pub state: StateHandle,
    /// writes records
    pub submitter: Submitter,
    /// the ledger's endpoints, for proofs
    pub ledgers: Vec<Arc<dyn Ledger>>,
    /// the node key itself: certifies new TLS keys, off the runtime's threads
    pub node_signer: Arc<dyn Signer>,
    /// before all signers: closed when the case is opened
    pub gate: Arc<hsm_api::Gate>,
    /// signs leaves and batches
    pub signer: BatchSigner,
    /// intents and outcomes
    pub journal: Journal,
    /// what must reach ledger and supervisor
    pub outbox: Outbox,
    /// request quotas
    pub limits: Limits,
    /// statements, evidence, openings
    pub documents: Documents,
    /// calls other gateways
    pub peers: dial::Client,
    /// the TLS keys of this start
    pub tls: Arc<TlsSet>,
    /// certificate chains of node keys
    pub certificates: Certificates,
    /// the own database, with role source
    pub source: Option<BlockingSource>,
    /// the catalogue in force here, extensions included
    pub catalogue: Arc<Catalogue>,
    /// one snapshot per use
    pub snapshots: Snapshots,
    /// nonces of requests
    pub nonces: Nonces,
    /// keyed tags
    pub tags: Tags,
    /// CRLs' serial numbers
    pub revoked: Revoked,
    /// openings, with role supervisor
    pub supervisor: Option<SupervisorStore>,
    /// judges evidence, with [supervisor.attestation]
    pub verifier: Option<Verifier>,
    /// gives evidence, where the keystore attests
    pub attester: Attester,
    /// Prometheus text
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// proofs that were fetched, by height and transaction: a replayed answer needs them again
    pub proofs: Mutex<ProofCache>,
    /// queries under way: each goes on to its trace, also when nobody waits for its answer any more
    pub queries: TaskTracker,
    /// no new requests
    pub stopping: AtomicBool,
}

/// A few inclusion proofs.
#[derive(Default)]
pub struct ProofCache {
    found: std::collections::VecDeque<((Height, u32, u32), InclusionProof)>,
}

/// The most proofs kept.
const MAX_PROOFS: usize = 256;

impl App {
    /// Whether this gateway has a role.
    pub fn has(&self, role: Role) -> bool {
        self.config.node.has(role)
    }
    /// Whether it takes no new requests.
    pub fn draining(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
    /// Take no new requests from now on.
    pub fn begin_draining(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        // a call that is held would be waited for
        self.verifier.iter().for_each(|v| v.calls.close());
    }
    /// Runs a query to its end. Once a use is reserved its trace and openings are owed to the chain and the
    /// supervisor, also when the caller hangs up or its time is over: the caller's connection does not carry
    /// the work. Quotas bound how many there are, the query's own budget how long one takes.
    pub async fn to_the_end<T: Send + 'static>(
        &self,
        query: impl Future<Output = Result<T, Rejection>> + Send + 'static,
    ) -> Result<T, Rejection> {
        let task = self.queries.spawn(tracing::Instrument::in_current_span(query));
        task.await.map_err(Rejection::internal)?
    }
    /// A state that may be served from: fresh, no alarm, no halt. Fail closed.
    /// Commits wait for the guard: it lives for one decision and never across an await.
    pub fn serving_state(&self) -> Result<StateGuard<'_>, Rejection> {
        // before the guard is taken: health reads the state itself
        match self.state.health() {
            Health::Fresh => Ok(self.state.read()),
            Health::Stale { why, .. } => Err(Rejection::new(reject::STALE, why)),
            health @ (Health::Alarm(_) | Health::Halted(_)) => {
                Err(Rejection::new(reject::LEDGER_ALARM, "the gateway stopped serving").because(health))
            }
        }
    }
    /// The supervisor's openings.
    pub fn supervisor_store(&self) -> Result<&SupervisorStore, Rejection> {
        self.supervisor.as_ref().ok_or_else(|| Rejection::internal("not a supervisor"))
    }
    /// Writes one record and waits until a verified block accepts it.
    pub async fn write_record(&self, record: Record, budget: &Budget) -> Result<(), Rejection> {
        let wait = budget.left(&*self.clock)?.mul_f32(0.8);
        match self.submitter.write(record, wait).await.map_err(ledger_rejection)? {
            Fate::Refused(reason) => Err(Rejection::new(reject::RECORD_REFUSED, reason.to_string())),
            _ => Ok(()),
        }
    }
    /// The proof that a record stands in a block, from any endpoint, verified.
    pub async fn inclusion(&self, height: Height, tx: u32, record: u32) -> Result<InclusionProof, Rejection> {
        let key = (height, tx, record);
        let known = {
            let cache = self.proofs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            cache.found.iter().find(|(k, _)| *k == key).map(|(_, p)| p.clone())
        };
        if let Some(proof) = known {
            return Ok(proof);
        }
        let mut last = None;
        for ledger in &self.ledgers {
            match gw_ledger::fetch_inclusion(&**ledger, &self.state, height, tx, record).await {
                Ok(proof) => {
                    let mut cache = self.proofs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if cache.found.len() >= MAX_PROOFS {
                        cache.found.pop_front();
                    }
                    cache.found.push_back((key, proof.clone()));
                    return Ok(proof);
                }
                Err(e) => {
                    tracing::warn!(endpoint = ledger.endpoint(), error = %e, "no inclusion proof from an endpoint");
                    last = Some(e);
                }
            }
        }
        Err(match last {
            Some(e) => ledger_rejection(e),
            None => Rejection::internal("no ledger endpoint"),
        })
    }
    /// Something worth keeping in the journal.
    pub async fn journal_note(&self, kind: &str, data: serde_json::Value) -> Result<(), Rejection> {
        let note = Note { at: self.clock.now(), kind: kind.to_owned(), data };
        self.journal.append(Entry::Note(note)).await.map(|_| ()).map_err(Rejection::internal)
    }
}

/// The ledger's failure as the peer sees it.
pub fn ledger_rejection(e: LedgerError) -> Rejection {
    if let LedgerError::RecordRefused(reason) = &e {
        return Rejection::new(reject::RECORD_REFUSED, reason.to_string());
    }
    if matches!(e, LedgerError::Busy) {
        return Rejection::new(reject::BUSY, "too many records wait for the ledger").because(e);
    }
    Rejection::new(reject::LEDGER_DOWN, "the record did not reach a verified block in time").because(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::testkit::{Entity, NOW, Pki};
    use gw_sm::{cert::parse_cert, tls::Profile};
    use std::time::Duration;

    fn peer(chain: &[&[u8]]) -> PeerCert {
        let chain: Vec<_> = chain.iter().map(|c| (*c).to_vec().into()).collect();
        PeerCert::of_chain(Some(&chain)).unwrap().unwrap()
    }

    /// A connection and a resumed session outlive the handshake that looked at the lists.
    #[test]
    fn a_list_speaks_for_its_issuers_certificates_while_it_is_in_date() {
        let (pki, other) = (Pki::new(Profile::International), Pki::new(Profile::International));
        let (revoked, fine) = (pki.client("revoked"), pki.client("fine"));
        let serial = parse_cert(&revoked.der).unwrap().serial;
        let namesake = other.issue(|s| s.serial = serial.as_slice().try_into().unwrap());
        let list = Crl::from_der(&pki.crl(&revoked)).unwrap();
        let lists = Revoked::new(HashMap::from([(ListenerKind::Bank, vec![list])]));
        let (bank, later) = (ListenerKind::Bank, NOW.plus(Duration::from_secs(2 * 24 * 3600)));
        let check = |listener, e: &Entity, at| lists.check(listener, &peer(&[&e.der]), at);
        assert!(check(bank, &revoked, NOW).unwrap_err().contains("is on its issuer's current CRL"));
        assert_eq!(check(bank, &fine, NOW), Ok(()));
        assert_eq!(check(bank, &namesake, NOW), Ok(()), "another issuer's certificate of the same number");
        assert_eq!(check(ListenerKind::Admin, &revoked, NOW), Ok(()), "another listener's list");
        assert!(check(bank, &fine, later).unwrap_err().contains("out of date"));
        assert!(check(bank, &revoked, later).unwrap_err().contains("is on"), "revocation is for good");
    }

    /// A node's TLS certificate is on no list; the certificate of its node key is.
    #[test]
    fn a_revoked_node_is_out_with_the_tls_certificates_that_it_made() {
        let pki = Pki::new(Profile::Sm);
        let chain = pki.node("bank-a-1").tls.chain;
        let (leaf, ca) = (chain[0].as_ref(), chain[1].as_ref());
        let revoked = Entity { key: pki.client("any").key, der: ca.to_vec() };
        let list = Crl::from_der(&pki.crl(&revoked)).unwrap();
        let lists = Revoked::new(HashMap::from([(ListenerKind::Man, vec![list])]));
        assert!(lists.check(ListenerKind::Man, &peer(&[leaf, ca]), NOW).is_err());
        let another = pki.node("bank-b-1").tls.chain;
        let another = peer(&[another[0].as_ref(), another[1].as_ref()]);
        assert_eq!(lists.check(ListenerKind::Man, &another, NOW), Ok(()));
    }
}
