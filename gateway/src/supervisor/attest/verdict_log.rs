//! The history of one device's verdicts as a Merkle log (RFC 9162), whose heads the ledger has.
//!
//! ```text
//! entry = H(time ‖ result ‖ verdict as kept ‖ evidence as kept)     leaf and node: gw_proof::log, SM3
//! head  = H(root ‖ number of entries ‖ device)      what the record `verdict` has as `history`
//! ```
//! So one kept verdict is proved by a path of hashes, and that nothing before an anchored head was changed by
//! another. Logs are [grown](grow) out of what version 1 of the database kept as a chain of digests; its links are
//! [checked](check) as long as they are there, and so long the ledger may have a digest of that kind.

use super::history::{Latest, latest};
use crate::supervisor::{
    db::{Row, Session, values},
    store::{StoreError, digest, text, value},
};
use gw_attest::Verdict;
use gw_proof::log::{
    Frontier, LogError, MAX_PATH, Place, consistency, inclusion, leaf_hash, peaks_of, verify_consistency,
    verify_inclusion,
};
use gw_proto::{
    Digest, Hex, NodeId, UnixMillis,
    canon::{domain, domain_digest},
    sm3,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows that are read at once.
const PAGE: u32 = 200;

/// What the ledger has of a device: a verdict's time, and the digest of the history up to and with it.
pub type Anchor = (UnixMillis, Digest);

/// Where a kept history is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rewritten {
    /// An entry does not lead to its leaf, stands at another place, or follows another.
    #[error("the verdict of {0} ms is not the one that was written at its place")]
    Entry(u64),
    /// The evidence beside a verdict is other evidence.
    #[error("the evidence of the verdict of {0} ms is not the one that was judged")]
    Evidence(u64),
    /// A hash of the tree is another one.
    #[error("a hash of the tree above the verdict of {0} ms is not the one that was written")]
    Tree(u64),
    /// There are fewer entries than were counted, or more.
    #[error("the history ends at another verdict than was written last")]
    End,
    /// The row that the fleet is shown from.
    #[error("what is shown as newest is not what the verdict of {0} ms says")]
    Latest(u64),
    /// The ledger has a head that no kept verdict leads to.
    #[error("the ledger's verdict of {0} ms is missing, or stands in another history")]
    Anchor(u64),
}

/// One verdict's place in the history, and what the ledger had of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// the verdict, as it was kept
    pub verdict: String,
    /// its place, from 0
    pub index: u64,
    /// entries of the log
    pub size: u64,
    /// the log's root
    pub root: Digest,
    /// from the verdict's leaf to the root
    pub path: Vec<Digest>,
    /// the newest head on the ledger; none if none is there, or it is older than all that is kept
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchored: Option<AnchoredHead>,
}

/// A head that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredHead {
    /// entries of the log then
    pub size: u64,
    /// its root then
    pub root: Digest,
    /// that the log of now begins with that one
    pub path: Vec<Digest>,
}

/// What a proof says, once it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// the digest that the ledger must have for it
    pub anchor: Option<Digest>,
    /// whether the verdict lies in what that digest covers; else a later record will cover it
    pub covered: bool,
}

/// Why a verdict's place in the history is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRefused {
    /// The kept text.
    #[error("the verdict of the log cannot be read: {0}")]
    Form(String),
    /// Another verdict than the evidence comes to.
    #[error("the verdict of the log is not what this evidence comes to")]
    Verdict,
    /// A path.
    #[error("the verdict is not in the log that it is said to be in: {0}")]
    Inclusion(#[source] LogError),
    /// The ledger's head.
    #[error("the verdict log was REWRITTEN: {0}")]
    Consistency(#[source] LogError),
    /// The asker knows another.
    #[error(
        "the verdict log was REWRITTEN, or the ledger has a newer record: its digest is not {anchor}, which this proof leads to"
    )]
    Anchor {
        /// what would have to stand there
        anchor: Digest,
    },
    /// The asker knows one, the proof has none.
    #[error("the proof leads to no record of the ledger")]
    NoAnchor,
}

/// What an entry covers.
pub(super) struct Entry<'a> {
    pub(super) at: UnixMillis,
    pub(super) passed: bool,
    /// the verdict, as it is kept
    pub(super) body: &'a str,
    /// of what it rests on, as it is kept
    pub(super) evidence: Option<Digest>,
}

impl Entry<'_> {
    /// Time and result stand in columns of their own, which no one may change behind the verdict's back.
    pub(super) fn leaf(&self) -> Digest {
        let (at, evidence) = (self.at.0.to_be_bytes(), self.evidence.map_or([0; 32], |e| e.0));
        let (passed, body) = ([u8::from(self.passed)], sm3(self.body.as_bytes()).0);
        let all = [&at[..], &passed, &body, &evidence].concat();
        leaf_hash(&domain_digest(domain::VERDICT_ENTRY, &all).0)
    }
}

/// What the ledger is told.
pub(super) fn head(device: &NodeId, size: u64, root: &Digest) -> Digest {
    let (size, device) = (size.to_be_bytes(), device.as_str().as_bytes());
    domain_digest(domain::VERDICT_HEAD, &[&root.0, &size[..], device].concat())
}

/// One link of version 1: H(the link before ‖ the verdict ‖ what it rests on). The first follows 32 zero bytes.
pub(in crate::supervisor) fn link(before: &Digest, body: &str, evidence: Option<&Digest>) -> Digest {
    let evidence = evidence.map_or([0; 32], |e| e.0);
    domain_digest(domain::VERDICTS, &[before.0, sm3(body.as_bytes()).0, evidence].concat())
}

impl LogProof {
    /// Checks it for a device: `made` is the verdict that the evidence comes to, `evidence` the digest of what it
    /// rests on, `ledger` what the caller has read from the ledger, if he has.
    pub fn verify(
        &self,
        made: &Verdict,
        evidence: &Digest,
        ledger: Option<&Digest>,
    ) -> Result<Proved, LogRefused> {
        let kept: Verdict =
            serde_json::from_str(&self.verdict).map_err(|e| LogRefused::Form(e.to_string()))?;
        let names = |v: &Verdict| v.failed().map(|c| (c.name, c.component.clone())).collect::<Vec<_>>();
        // not all its texts: a later program may word them otherwise
        if (&kept.device, kept.at, kept.passed(), names(&kept))
            != (&made.device, made.at, made.passed(), names(made))
        {
            return Err(LogRefused::Verdict);
        }
        if self.path.len() > MAX_PATH {
            return Err(LogRefused::Inclusion(LogError::Length { found: self.path.len() }));
        }
        let (at, passed, body, evidence) = (kept.at, kept.passed(), self.verdict.as_str(), Some(*evidence));
        let leaf = Entry { at, passed, body, evidence }.leaf();
        verify_inclusion(&leaf, self.index, self.size, &self.path, &self.root)
            .map_err(LogRefused::Inclusion)?;
        let Some(anchored) = &self.anchored else {
            let none = Proved { anchor: None, covered: false };
            return if ledger.is_some() { Err(LogRefused::NoAnchor) } else { Ok(none) };
        };
        verify_consistency((anchored.size, &anchored.root), (self.size, &self.root), &anchored.path)
            .map_err(LogRefused::Consistency)?;
        let anchor = head(&made.device, anchored.size, &anchored.root);
        if ledger.is_some_and(|ledger| *ledger != anchor) {
            return Err(LogRefused::Anchor { anchor });
        }
        Ok(Proved { anchor: Some(anchor), covered: self.index < anchored.size })
    }
}

pub(super) fn peaks_text(log: &Frontier) -> String {
    log.peaks().iter().map(Digest::to_string).collect()
}

pub(super) fn frontier(size: u64, peaks: &str) -> Result<Frontier, StoreError> {
    let wrong = |e: String| StoreError::Row("latest", e);
    let mut all = Vec::new();
    for one in peaks.as_bytes().chunks(64) {
        let text = std::str::from_utf8(one).map_err(|e| wrong(e.to_string()))?;
        all.push(Hex::parse(text).map_err(|e| wrong(e.to_string()))?);
    }
    Frontier::restore(size, all).map_err(|e| wrong(e.to_string()))
}

/// Keeps the hashes that an entry completed.
pub(super) fn keep_nodes(
    s: &mut dyn Session,
    device: &str,
    made: &[(Place, Digest)],
) -> Result<(), StoreError> {
    for (place, hash) in made {
        s.execute(
            "insert into verdict_node (device, level, place, hash) values (?1, ?2, ?3, ?4)",
            values![device, place.level, place.index, *hash],
        )?;
    }
    Ok(())
}

/// Lets go of hashes that no proof needs any more.
pub(super) fn drop_nodes(s: &mut dyn Session, device: &str, places: &[Place]) -> Result<(), StoreError> {
    for place in places {
        s.execute(
            "delete from verdict_node where device = ?1 and level = ?2 and place = ?3",
            values![device, place.level, place.index],
        )?;
    }
    Ok(())
}

fn node(s: &mut dyn Session, device: &str, place: Place) -> Result<Digest, StoreError> {
    let found = s.row(
        "select hash from verdict_node where device = ?1 and level = ?2 and place = ?3",
        values![device, place.level, place.index],
    )?;
    let none = || StoreError::Row("verdict_node", format!("{place:?} of {device} is missing"));
    digest(found.ok_or_else(none)?.text(0)?)
}

/// The proof of one kept verdict, and of the head that the ledger has.
pub(super) fn prove(
    s: &mut dyn Session,
    device: &NodeId,
    (index, verdict): (u64, String),
    anchor: Option<Anchor>,
) -> Result<Option<LogProof>, StoreError> {
    let name = device.as_str();
    let Some(row) = s.row("select size, peaks from latest where device = ?1", values![name])? else {
        return Ok(None);
    };
    let log = frontier(row.number(0)?, row.text(1)?)?;
    let (size, root) = (log.size(), log.root());
    let path = inclusion(index, size, |place| node(s, name, place))?;
    let mut anchored = None;
    if let Some((at, digest)) = anchor {
        anchored = anchored_head(s, device, at, &digest, size)?;
    }
    Ok(Some(LogProof { verdict, index, size, root, path, anchored }))
}

fn anchored_head(
    s: &mut dyn Session,
    device: &NodeId,
    at: UnixMillis,
    digest: &Digest,
    size: u64,
) -> Result<Option<AnchoredHead>, StoreError> {
    let name = device.as_str();
    let rows = s.rows(
        "select seq from verdict where device = ?1 and at = ?2 order by seq limit ?3",
        values![name, at, PAGE],
    )?;
    for row in rows {
        let older = row.number(0)? + 1;
        let peaks =
            peaks_of(older).into_iter().map(|place| node(s, name, place)).collect::<Result<_, _>>()?;
        let then =
            Frontier::restore(older, peaks).map_err(|e| StoreError::Row("verdict_node", e.to_string()))?;
        if head(device, older, &then.root()) == *digest {
            let path = consistency(older, size, |place| node(s, name, place))?;
            return Ok(Some(AnchoredHead { size: older, root: then.root(), path }));
        }
    }
    Ok(None)
}

/// Follows a device's history from the oldest kept verdict on: entries, tree, end, and what the ledger has.
pub(super) fn check(
    s: &mut dyn Session,
    device: &NodeId,
    anchor: Option<Anchor>,
) -> Result<Result<(), Rewritten>, StoreError> {
    let gone = |anchor: Option<Anchor>| anchor.map_or(Ok(()), |(at, _)| Err(Rewritten::Anchor(at.0)));
    let kept = concat!(
        "select ",
        latest!(),
        ", l.peaks, l.size, l.first, l.counters from latest l where l.device = ?1"
    );
    let Some(row) = s.row(kept, values![device.as_str()])? else { return Ok(gone(anchor)) };
    let Some(latest) = Latest::of(&row)? else { return Ok(gone(anchor)) };
    let (end, size, first) = (Latest::after(&row)?.to_owned(), row.number(9)?, row.number(10)?);
    let stored = nodes(s, device.as_str())?;
    let edge = peaks_of(first).iter().filter_map(|place| stored.get(place).copied()).collect();
    let Ok(log) = Frontier::restore(first, edge) else { return Ok(Err(Rewritten::Tree(0))) };
    let (anchored, shown) = (anchor.is_none(), Shown::default());
    let mut walk = Walk { device, anchor, stored, log, before: None, oldest: None, anchored, shown };
    loop {
        let rows = s.rows(
            "select seq, at, body, appraisal, evidence, chain, passed from verdict
               where device = ?1 and seq >= ?2 order by seq limit ?3",
            values![device.as_str(), walk.log.size(), PAGE],
        )?;
        for row in &rows {
            if let Err(why) = walk.step(row)? {
                return Ok(Err(why));
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    if walk.oldest.is_none() || walk.log.size() != size || peaks_text(&walk.log) != end {
        return Ok(Err(Rewritten::End));
    }
    let told = latest.head == head(device, size, &walk.log.root());
    if !told || !walk.shown.is(&latest, row.maybe_text(11)?)? {
        return Ok(Err(Rewritten::Latest(walk.shown.at)));
    }
    // an anchor older than all that is kept says nothing
    let oldest = walk.oldest;
    Ok(gone(anchor.filter(|(at, _)| !walk.anchored && oldest.is_none_or(|oldest| oldest <= at.0))))
}

/// At most two per kept verdict.
fn nodes(s: &mut dyn Session, device: &str) -> Result<BTreeMap<Place, Digest>, StoreError> {
    let rows = s.rows("select level, place, hash from verdict_node where device = ?1", values![device])?;
    let of = |row: Row| {
        let level = u32::try_from(row.number(0)?).unwrap_or(u32::MAX);
        Ok((Place { level, index: row.number(1)? }, digest(row.text(2)?)?))
    };
    rows.into_iter().map(of).collect()
}

struct Walk<'a> {
    device: &'a NodeId,
    anchor: Option<Anchor>,
    stored: BTreeMap<Place, Digest>,
    log: Frontier,
    /// the link of version 1 before this row
    before: Option<Digest>,
    oldest: Option<u64>,
    anchored: bool,
    shown: Shown,
}

/// What the rows come to, for a look at what is shown of them.
#[derive(Default)]
struct Shown {
    at: u64,
    passed: bool,
    body: String,
    /// none: since before the oldest that is kept
    since: Option<UnixMillis>,
    last_evidence: Option<UnixMillis>,
}

impl Shown {
    fn add(&mut self, at: UnixMillis, passed: bool, body: &str, evidence: bool) {
        if !self.body.is_empty() && passed != self.passed {
            self.since = Some(at);
        }
        (self.at, self.passed, self.body) = (at.0, passed, body.to_owned());
        self.last_evidence = evidence.then_some(at).or(self.last_evidence);
    }

    /// Whether the row of `latest` says the same.
    fn is(&self, latest: &Latest, counters: Option<&str>) -> Result<bool, StoreError> {
        let v: Verdict = value("verdict", &self.body)?;
        let failed: Vec<_> = v.failed().cloned().collect();
        let told = v.counters.as_ref().map(|c| text("counters", c)).transpose()?;
        Ok((v.at, v.passed(), v.good_until, &v.release)
            == (latest.at, latest.passed, latest.good_until, &latest.release)
            && v.at.0 == self.at
            && failed == latest.failed
            && self.since.is_none_or(|since| since == latest.since)
            && self.last_evidence.is_none_or(|at| Some(at) == latest.last_evidence)
            && told.is_none_or(|told| counters == Some(&told)))
    }
}

impl Walk<'_> {
    fn step(&mut self, row: &Row) -> Result<Result<(), Rewritten>, StoreError> {
        let (at, body) = (row.time(1)?, row.text(2)?);
        let evidence = row.maybe_text(4)?.map(digest).transpose()?;
        let chain = row.maybe_text(5)?.map(digest).transpose()?;
        if row.number(0)? != self.log.size() {
            return Ok(Err(Rewritten::Entry(at.0)));
        }
        let passed = row.int(6)? != 0;
        for (place, hash) in self.log.push(Entry { at, passed, body, evidence }.leaf()) {
            // what was forgotten together with earlier verdicts is not there
            let other = self.stored.get(&place).map_or(place.level == 0, |stored| *stored != hash);
            if other && place.level == 0 {
                return Ok(Err(Rewritten::Entry(at.0)));
            }
            if other {
                return Ok(Err(Rewritten::Tree(at.0)));
            }
        }
        // what stood before the oldest was forgotten: its own link cannot be followed
        let linked = self
            .before
            .zip(chain)
            .is_none_or(|(before, chain)| link(&before, body, evidence.as_ref()) == chain);
        if !linked {
            return Ok(Err(Rewritten::Entry(at.0)));
        }
        if row.maybe_text(3)?.is_some_and(|a| evidence != Some(sm3(a.as_bytes()))) {
            return Ok(Err(Rewritten::Evidence(at.0)));
        }
        if let Some((anchored_at, digest)) = self.anchor.filter(|(anchored_at, _)| *anchored_at == at) {
            let here = head(self.device, self.log.size(), &self.log.root());
            self.anchored |= anchored_at == at && (digest == here || Some(digest) == chain);
        }
        self.oldest = self.oldest.or(Some(at.0));
        self.before = chain;
        self.shown.add(at, passed, body, evidence.is_some());
        Ok(Ok(()))
    }
}

/// From version 1: each kept verdict becomes an entry, in order, and each device gets its row of `latest`. Rows are
/// written anew for it: that takes as much room again while it lasts.
pub(in crate::supervisor) fn grow(s: &mut dyn Session) -> Result<(), StoreError> {
    let devices = s.rows("select distinct device from verdict order by device", &[])?;
    for row in devices {
        let name = row.text(0)?.to_owned();
        let device = NodeId::parse(&name).map_err(|e| StoreError::Row("verdict", e.to_string()))?;
        grow_one(s, &device)?;
    }
    Ok(())
}

/// What is known after a row.
#[derive(Default)]
struct Grown {
    log: Frontier,
    id: i64,
    passed: bool,
    since: u64,
    last_evidence: Option<i64>,
    counters: Option<String>,
    body: String,
}

fn grow_one(s: &mut dyn Session, device: &NodeId) -> Result<(), StoreError> {
    let mut grown = Grown::default();
    loop {
        let rows = s.rows(
            "select id, at, passed, body, counters, evidence, case when appraisal is null then 0 else 1 end
               from verdict where device = ?1 and id > ?2 order by id limit ?3",
            values![device.as_str(), grown.id, PAGE],
        )?;
        for row in &rows {
            grown.add(s, device.as_str(), row)?;
        }
        if rows.is_empty() {
            return grown.keep(s);
        }
    }
}

impl Grown {
    fn add(&mut self, s: &mut dyn Session, device: &str, row: &Row) -> Result<(), StoreError> {
        let (at, passed, body) = (row.int(1)?, row.int(2)? != 0, row.text(3)?);
        if self.log.size() == 0 || passed != self.passed {
            self.since = row.number(1)?;
        }
        (self.id, self.passed, self.body) = (row.int(0)?, passed, body.to_owned());
        self.counters = row.maybe_text(4)?.map(str::to_owned).or(self.counters.take());
        if row.int(6)? != 0 {
            self.last_evidence = Some(at);
        }
        let evidence = row.maybe_text(5)?.map(digest).transpose()?;
        s.execute("update verdict set seq = ?1 where id = ?2", values![self.log.size(), self.id])?;
        let entry = Entry { at: row.time(1)?, passed, body, evidence };
        keep_nodes(s, device, &self.log.push(entry.leaf()))
    }

    fn keep(self, s: &mut dyn Session) -> Result<(), StoreError> {
        let verdict: Verdict = value("verdict", &self.body)?;
        let newest = super::history::NewLatest {
            id: self.id,
            since: UnixMillis(self.since),
            last_evidence: self.last_evidence,
            counters: self.counters,
            first: 0,
            log: &self.log,
            verdict: &verdict,
        };
        newest.keep(s)
    }
}
