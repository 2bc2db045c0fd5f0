//! Blocks, batches, records: the one function that says what they mean.
//!
//! Everything here is a function of public fields and the chain's time. The fate is decided per record: a bad
//! record does not spoil its batch, a bad batch does not spoil its block. The chain's time is the highest
//! block time so far, so that what has expired stays expired.
//!
//! Adding a record type? `gw_proto::record`, `table.rs`, the match in [`apply_record`].

mod access;
mod batch;
mod members;
mod prune;
mod settings;
mod uses;
mod verdicts;

pub use uses::{TraceNeed, trace_need};

use crate::fate::{Alarm, ApplyError, BlockInput, BlockOutcome, Fate, RecordFate, RefusalReason};
use crate::keys;
use crate::state::{Change, Overlay, StateError, StateRead};
use crate::table::{Author, may_write};
use crate::view::{Head, Origin, View};
use gw_proto::canon::{MAX_SAFE_INTEGER, domain, domain_digest};
use gw_proto::genesis::Genesis;
use gw_proto::record::{Batch, Record, SignedBatch};
use gw_proto::{Digest, Height, UnixMillis, jcs, jcs_digest};
use serde::Serialize;

/// The rules that this program knows.
pub const KNOWN_RULES: &[u32] = &[1, 2, 3];
/// For how many blocks a state digest is kept, for a supervisor's to be compared with.
pub const DIGESTS_KEPT: u64 = 4096;

/// The id of a record: what makes a second copy a no-op. Equal records of two batches differ by the nonce.
pub fn record_id(batch: &Batch, record: &Record) -> Result<Digest, gw_proto::canon::CanonError> {
    let v = serde_json::json!({
        "writer": batch.writer, "expires_height": batch.expires_height, "nonce": batch.nonce, "record": record,
    });
    jcs_digest(domain::RECORD, &v)
}

/// Applies one block to the state after the block before it. Nothing is changed in place: the caller writes
/// [`BlockOutcome::changes`] in one transaction. A block with nothing of ours still moves height and time.
pub fn apply_block(
    genesis: &Genesis,
    state: &dyn StateRead,
    block: &BlockInput,
) -> Result<BlockOutcome, ApplyError> {
    let mut work = Work::begin(genesis, state, block)?;
    let mut fates = Vec::new();
    prune::forget(&mut work)?;
    for (tx, signed) in &block.batches {
        apply_batch(&mut work, *tx, signed, &mut fates)?;
    }
    work.finish(block, fates)
}

/// Where a record stands.
#[derive(Clone, Copy)]
struct Place {
    tx_index: u32,
    record_index: u32,
}

/// Why a record stops before it has its effect.
enum Stop {
    Refused(RefusalReason),
    Repeated,
    Broken(ApplyError),
}
impl From<RefusalReason> for Stop {
    fn from(r: RefusalReason) -> Self {
        Self::Refused(r)
    }
}
impl From<ApplyError> for Stop {
    fn from(e: ApplyError) -> Self {
        Self::Broken(e)
    }
}
impl From<StateError> for Stop {
    fn from(e: StateError) -> Self {
        Self::Broken(e.into())
    }
}

fn ensure(holds: bool, otherwise: RefusalReason) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Refused(otherwise)) }
}

/// A block being applied.
struct Work<'a> {
    genesis: &'a Genesis,
    genesis_digest: Digest,
    before: Digest,
    height: Height,
    rules: u32,
    time: UnixMillis,
    state: Overlay<'a>,
    alarms: Vec<Alarm>,
}

impl<'a> Work<'a> {
    fn begin(genesis: &'a Genesis, state: &'a dyn StateRead, block: &BlockInput) -> Result<Self, ApplyError> {
        let genesis_digest = genesis.digest().map_err(|_| ApplyError::Canon("the genesis document"))?;
        check_governance(genesis)?;
        check_range(block)?;
        let view = View::new(state);
        let head = view.head()?;
        if view.origin()?.is_some_and(|o| o.genesis != genesis_digest) {
            return Err(ApplyError::OtherGenesis);
        }
        let expected = Height(head.as_ref().map_or(1, |h| h.height.0.saturating_add(1)));
        if block.height != expected {
            return Err(ApplyError::NotNext { expected, found: block.height });
        }
        let mut work = Self {
            genesis,
            genesis_digest,
            before: head.as_ref().map_or_else(|| first_digest(&genesis_digest), |h| h.state_digest),
            height: block.height,
            rules: genesis.rules,
            time: head.as_ref().map_or(block.time, |h| h.time.max(block.time)),
            state: Overlay::new(state),
            alarms: Vec::new(),
        };
        if head.is_none() {
            let origin = Origin {
                consortium: genesis.consortium.clone(),
                genesis: genesis_digest,
                rules: genesis.rules,
            };
            work.put(keys::origin(), &origin)?;
        }
        work.rules = work.rules_in_force()?;
        Ok(work)
    }

    fn view(&self) -> View<'_> {
        View::over(&self.state)
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), ApplyError> {
        let bytes = jcs(value).map_err(|_| ApplyError::Canon("a state entry"))?;
        self.state.write(key, Some(bytes));
        Ok(())
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.state.write(key, None);
    }

    /// A box that does not know the rules in force stops: going on would mean something else than others do.
    fn rules_in_force(&self) -> Result<u32, ApplyError> {
        let version = self.view().rules_at(self.height)?.unwrap_or(self.genesis.rules);
        if KNOWN_RULES.contains(&version) {
            Ok(version)
        } else {
            Err(ApplyError::UnknownRules { version, height: self.height })
        }
    }

    fn finish(self, block: &BlockInput, fates: Vec<RecordFate>) -> Result<BlockOutcome, ApplyError> {
        let Self { before, height, time, state, alarms, .. } = self;
        let mut changes = state.into_changes();
        let state_digest = next_digest(&before, block, time, &changes);
        // the head and the kept digests follow from the digest and are not covered by it
        let head = Head { height, hash: block.hash, time, state_digest };
        let canon = |_| ApplyError::Canon("the head");
        changes.push(Change { key: keys::head(), value: Some(jcs(&head).map_err(canon)?) });
        let kept = Some(jcs(&state_digest).map_err(canon)?);
        changes.push(Change { key: keys::digest_at(height), value: kept });
        if let Some(old) = height.0.checked_sub(DIGESTS_KEPT).filter(|h| *h > 0) {
            changes.push(Change { key: keys::digest_at(Height(old)), value: None });
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(BlockOutcome { changes, fates, state_digest, time, alarms })
    }
}

fn check_governance(genesis: &Genesis) -> Result<(), ApplyError> {
    let keys = &genesis.governance.keys;
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    let threshold = usize::try_from(genesis.governance.threshold).unwrap_or(usize::MAX);
    if distinct.len() != keys.len() || threshold == 0 || threshold > keys.len() {
        return Err(ApplyError::Governance);
    }
    Ok(())
}

fn check_range(block: &BlockInput) -> Result<(), ApplyError> {
    let safe = |n: u64| i64::try_from(n).is_ok_and(|n| n <= MAX_SAFE_INTEGER);
    if !safe(block.height.0) || !safe(block.time.0) {
        return Err(ApplyError::OutOfRange { height: block.height });
    }
    let ascending = block.batches.windows(2).all(|w| matches!(w, [(a, _), (b, _)] if a < b));
    if ascending { Ok(()) } else { Err(ApplyError::TransactionOrder { height: block.height }) }
}

/// d_0 = H(genesis).
fn first_digest(genesis: &Digest) -> Digest {
    domain_digest(domain::STATE, &genesis.0)
}

/// d_h = H(d_{h−1} ‖ height ‖ block hash ‖ time ‖ changes in ascending order of keys, each with lengths).
fn next_digest(before: &Digest, block: &BlockInput, time: UnixMillis, changes: &[Change]) -> Digest {
    let mut bytes = before.0.to_vec();
    bytes.extend_from_slice(&block.height.0.to_be_bytes());
    bytes.extend_from_slice(&block.hash.0);
    bytes.extend_from_slice(&time.0.to_be_bytes());
    let mut part = |tag: u8, part: &[u8]| {
        bytes.push(tag);
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    for change in changes {
        part(b'k', &change.key);
        match &change.value {
            Some(value) => part(b'v', value),
            None => part(b'x', &[]),
        }
    }
    domain_digest(domain::STATE, &bytes)
}

fn apply_batch(
    work: &mut Work<'_>,
    tx_index: u32,
    signed: &SignedBatch,
    fates: &mut Vec<RecordFate>,
) -> Result<(), ApplyError> {
    let author = match batch::check(work, signed) {
        Ok(author) => Ok(author),
        Err(Stop::Refused(reason)) => Err(Fate::Refused(reason)),
        Err(Stop::Repeated) => Err(Fate::Repeated),
        Err(Stop::Broken(e)) => return Err(e),
    };
    for (record_index, record) in (0u32..).zip(&signed.batch.records) {
        let place = Place { tx_index, record_index };
        let fate = match &author {
            Ok(author) => decide_once(work, &signed.batch, author, place, record)?,
            Err(fate) => *fate,
        };
        fates.push(RecordFate { tx: tx_index, record: record_index, kind: record.kind(), fate });
    }
    Ok(())
}

/// A record's fate is decided the first time it is seen, accepted or refused, and remembered until its batch
/// can no longer come: nobody can play a refused record again when it suits them.
fn decide_once(
    work: &mut Work<'_>,
    batch: &Batch,
    author: &Author,
    place: Place,
    record: &Record,
) -> Result<Fate, ApplyError> {
    let Ok(id) = record_id(batch, record) else {
        return Ok(Fate::Refused(RefusalReason::NotCanonical));
    };
    let seen = keys::seen(batch.expires_height, &id);
    if work.state.read(&seen)?.is_some() {
        return Ok(Fate::Repeated);
    }
    let height = work.height;
    work.put(seen, &height)?;
    match apply_record(work, author, place, record) {
        Ok(()) => Ok(Fate::Accepted),
        Err(Stop::Refused(reason)) => Ok(Fate::Refused(reason)),
        Err(Stop::Repeated) => Ok(Fate::Repeated),
        Err(Stop::Broken(e)) => Err(e),
    }
}

fn apply_record(work: &mut Work<'_>, author: &Author, place: Place, record: &Record) -> Result<(), Stop> {
    ensure(may_write(author, record), RefusalReason::WriterNotAllowed)?;
    match record {
        Record::Institution(r) => members::institution(work, r),
        Record::Node(r) => members::node(work, r),
        Record::Standing(r) => members::standing(work, r),
        Record::TlsBinding(r) => members::tls_binding(work, author, place, r),
        Record::EvidenceRoot(r) => settings::evidence_root(work, r),
        Record::Policy(r) => settings::policy(work, r),
        Record::Catalogue(r) => settings::catalogue(work, r),
        Record::Rules(r) => settings::rules(work, r),
        Record::Heartbeat(r) => settings::heartbeat(work, r),
        Record::StateDigest(r) => settings::state_digest(work, author, r),
        Record::Authorization(r) => access::authorization(work, author, place, r),
        Record::Revocation(r) => access::revocation(work, author, r),
        Record::Reservation(r) => uses::reservation(work, author, place, r),
        Record::Refund(r) => uses::refund(work, r),
        Record::Trace(r) => uses::trace(work, author, place, r),
        Record::Verdict(r) => verdicts::verdict(work, author, r),
        Record::Reference(r) => settings::reference(work, r),
    }
}
