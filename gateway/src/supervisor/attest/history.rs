//! Verdicts, in the supervisor's database: each an entry of its device's log ([`verdict_log`]).
//!
//! Of each device the newest [`MAX_VERDICTS`] verdicts stay, and of these the newest [`MAX_APPRAISALS`] with all
//! that they rest on: 500 devices take some gigabytes at most. What is asked for often, the newest verdict of each,
//! stands in a small row of its own ([`Latest`]), written together with the verdict.

use super::{
    appraisal::Appraisal,
    verdict_log::{
        self, Anchor, Rewritten, check, drop_nodes, frontier, head, keep_nodes, peaks_text, prove,
    },
};
use crate::supervisor::{
    db::{DbError, Row, Session, values},
    store::{StoreError, SupervisorStore, digest, text, value},
};
use gw_attest::{Check, Verdict, verdict::Previous};
use gw_proof::log::{Frontier, forgotten};
use gw_proto::{Digest, NodeId, UnixMillis, sm3};

/// A month at one in ten minutes.
pub const MAX_VERDICTS: u32 = 4_320;
/// Verdicts that can be made again offline.
pub const MAX_APPRAISALS: u32 = 32;

/// What is asked for often of a device's newest verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// when it was judged
    pub at: UnixMillis,
    /// good, or not
    pub passed: bool,
    /// until when the others may rely on it
    pub good_until: Option<UnixMillis>,
    /// of the first verdict in a row that came to the same
    pub since: UnixMillis,
    /// when evidence came last; silence is none
    pub last_evidence: Option<UnixMillis>,
    /// the release it says it runs
    pub release: Option<String>,
    /// what does not hold
    pub failed: Vec<Check>,
    /// of the log up to and with it, as the ledger is told
    pub head: Digest,
}

/// The columns of a [`Latest`] in `latest l`.
macro_rules! latest {
    () => {
        "l.at, l.passed, l.good_until, l.since, l.last_evidence, l.release, l.failed, l.head"
    };
}
pub(super) use latest;

impl Latest {
    /// Of a row that begins with its columns; none where they are null.
    pub(super) fn of(row: &Row) -> Result<Option<Self>, StoreError> {
        let Some(at) = row.maybe_time(0)? else { return Ok(None) };
        Ok(Some(Self {
            at,
            passed: row.int(1)? != 0,
            good_until: row.maybe_time(2)?,
            since: row.time(3)?,
            last_evidence: row.maybe_time(4)?,
            release: row.maybe_text(5)?.map(str::to_owned),
            failed: value("latest", row.text(6)?)?,
            head: digest(row.text(7)?)?,
        }))
    }
    /// The text that follows its columns.
    pub(super) fn after(row: &Row) -> Result<&str, DbError> {
        row.text(8)
    }
}

/// A row of `latest` to be written: the newest verdict, and the edge of its log.
pub(super) struct NewLatest<'a> {
    pub(super) id: i64,
    pub(super) since: UnixMillis,
    pub(super) last_evidence: Option<i64>,
    /// of the last evidence whose signature held
    pub(super) counters: Option<String>,
    /// the oldest kept verdict's place
    pub(super) first: u64,
    pub(super) log: &'a Frontier,
    pub(super) verdict: &'a Verdict,
}

impl NewLatest<'_> {
    pub(super) fn keep(self, s: &mut dyn Session) -> Result<(), StoreError> {
        let v = self.verdict;
        let failed = text("latest", &v.failed().collect::<Vec<_>>())?;
        let head = head(&v.device, self.log.size(), &self.log.root());
        s.execute(
            "insert into latest (device, id, at, passed, good_until, since, last_evidence, release, failed,
               counters, size, first, peaks, head)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             on conflict (device) do update set id = excluded.id, at = excluded.at, passed = excluded.passed,
               good_until = excluded.good_until, since = excluded.since, last_evidence = excluded.last_evidence,
               release = excluded.release, failed = excluded.failed, counters = excluded.counters,
               size = excluded.size, first = excluded.first, peaks = excluded.peaks, head = excluded.head",
            values![
                v.device.as_str(),
                self.id,
                v.at,
                v.passed(),
                v.good_until,
                self.since,
                self.last_evidence,
                v.release.clone(),
                failed,
                self.counters,
                self.log.size(),
                self.first,
                peaks_text(self.log),
                head,
            ],
        )?;
        Ok(())
    }
}

/// What stood before a verdict.
struct Before {
    passed: bool,
    since: UnixMillis,
    last_evidence: Option<i64>,
    counters: Option<String>,
    first: u64,
    log: Frontier,
}

impl Before {
    fn of(s: &mut dyn Session, device: &str) -> Result<Option<Self>, StoreError> {
        let row = s.row(
            "select passed, since, last_evidence, counters, first, size, peaks from latest where device = ?1",
            values![device],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            passed: row.int(0)? != 0,
            since: row.time(1)?,
            last_evidence: row.maybe_int(2)?,
            counters: row.maybe_text(3)?.map(str::to_owned),
            first: row.number(4)?,
            log: frontier(row.number(5)?, row.text(6)?)?,
        }))
    }
}

/// A verdict and what it rests on, as they are kept.
struct Entry<'a> {
    verdict: &'a Verdict,
    body: String,
    counters: Option<String>,
    appraisal: Option<String>,
    evidence: Option<Digest>,
}

impl<'a> Entry<'a> {
    fn new(verdict: &'a Verdict, appraisal: Option<&Appraisal>) -> Result<Self, StoreError> {
        let body = text("verdict", verdict)?;
        let counters = verdict.counters.as_ref().map(|c| text("counters", c)).transpose()?;
        let appraisal = appraisal.map(|a| text("appraisal", a)).transpose()?;
        let evidence = appraisal.as_ref().map(|a| sm3(a.as_bytes()));
        Ok(Self { verdict, body, counters, appraisal, evidence })
    }

    /// Alone: the log's edge is read and written.
    fn keep(self, s: &mut dyn Session) -> Result<(), StoreError> {
        let (v, device) = (self.verdict, self.verdict.device.as_str());
        let before = Before::of(s, device)?;
        let since = before.as_ref().filter(|b| b.passed == v.passed()).map_or(v.at, |b| b.since);
        let (mut first, mut log) = (0, Frontier::default());
        let (mut last_evidence, mut counters) = (None, None);
        if let Some(b) = before {
            (first, log, last_evidence, counters) = (b.first, b.log, b.last_evidence, b.counters);
        }
        if self.appraisal.is_some() {
            last_evidence = i64::try_from(v.at.0).ok();
        }
        let index = log.size();
        let (at, passed, evidence) = (v.at, v.passed(), self.evidence);
        let leaf = verdict_log::Entry { at, passed, body: &self.body, evidence }.leaf();
        keep_nodes(s, device, &log.push(leaf))?;
        let id = self.insert(s, index)?;
        forget(s, device, id, &mut first, log.size())?;
        let counters = self.counters.or(counters);
        NewLatest { id, since, last_evidence, counters, first, log: &log, verdict: v }.keep(s)
    }

    fn insert(&self, s: &mut dyn Session, index: u64) -> Result<i64, StoreError> {
        let v = self.verdict;
        let row = s.row(
            "insert into verdict (device, seq, at, passed, body, appraisal, evidence)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7) returning id",
            values![
                v.device.as_str(),
                index,
                v.at,
                v.passed(),
                &self.body,
                self.appraisal.clone(),
                self.evidence.map(|e| e.to_string()),
            ],
        )?;
        let none = || StoreError::Row("verdict", "it got no number".to_owned());
        Ok(row.ok_or_else(none)?.int(0)?)
    }
}

/// Lets go of what is too old: evidence, then verdicts, then the hashes that only they needed.
fn forget(s: &mut dyn Session, device: &str, id: i64, first: &mut u64, size: u64) -> Result<(), StoreError> {
    s.execute(
        "update verdict set appraisal = null where device = ?1 and appraisal is not null and id <=
           (select id from verdict where device = ?1 and appraisal is not null and id <= ?2
              order by id desc limit 1 offset ?3)",
        values![device, id, MAX_APPRAISALS],
    )?;
    let keep_from = size.saturating_sub(MAX_VERDICTS.into());
    if keep_from > *first {
        s.execute("delete from verdict where device = ?1 and seq < ?2", values![device, keep_from])?;
    }
    while *first < keep_from {
        *first += 1;
        drop_nodes(s, device, &forgotten(*first))?;
    }
    Ok(())
}

impl SupervisorStore {
    /// Keeps a verdict; an appraisal where there was evidence.
    pub fn keep_verdict(&self, verdict: &Verdict, appraisal: Option<&Appraisal>) -> Result<(), StoreError> {
        self.keep_verdicts([(verdict, appraisal)])
    }

    /// Keeps several, in order, all or none: one wait for the disk.
    pub fn keep_verdicts<'a>(
        &self,
        all: impl IntoIterator<Item = (&'a Verdict, Option<&'a Appraisal>)>,
    ) -> Result<(), StoreError> {
        let entries: Vec<_> = all.into_iter().map(|(v, a)| Entry::new(v, a)).collect::<Result<_, _>>()?;
        self.db().write(|s| entries.into_iter().try_for_each(|entry| entry.keep(s)))
    }

    /// What is asked for often of the newest verdict.
    pub fn latest(&self, device: &NodeId) -> Result<Option<Latest>, StoreError> {
        let sql = concat!("select ", latest!(), " from latest l where l.device = ?1");
        let found = self.db().read(|s| s.row(sql, values![device.as_str()]))?;
        Ok(found.map(|row| Latest::of(&row)).transpose()?.flatten())
    }

    /// The newest verdict, and since when it has been as good or bad as that.
    pub fn verdict(&self, device: &NodeId) -> Result<Option<(Verdict, UnixMillis)>, StoreError> {
        let sql = "select v.body, l.since from latest l join verdict v on v.id = l.id where l.device = ?1";
        let found = self.db().read(|s| s.row(sql, values![device.as_str()]))?;
        found.map(|row| Ok((value("verdict", row.text(0)?)?, row.time(1)?))).transpose()
    }

    /// Counters of the last evidence whose signature held.
    pub fn counters(&self, device: &NodeId) -> Result<Option<Previous>, StoreError> {
        let sql = "select counters from latest where device = ?1 and counters is not null";
        let found = self.db().read(|s| s.row(sql, values![device.as_str()]))?;
        found.map(|row| value("counters", row.text(0)?)).transpose()
    }

    /// When evidence came last; silence is none.
    pub fn last_evidence(&self, device: &NodeId) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.latest(device)?.and_then(|l| l.last_evidence))
    }

    /// What the newest evidence's verdict rests on, with its place in the log; `anchor` is what the ledger has.
    pub fn appraisal(
        &self,
        device: &NodeId,
        anchor: Option<Anchor>,
    ) -> Result<Option<Appraisal>, StoreError> {
        self.db().read(|s| {
            let found = s.row(
                "select appraisal, seq, body from verdict where device = ?1 and appraisal is not null
                   order by id desc limit 1",
                values![device.as_str()],
            )?;
            let Some(row) = found else { return Ok(None) };
            let mut appraisal: Appraisal = value("appraisal", row.text(0)?)?;
            appraisal.log = prove(s, device, (row.number(1)?, row.text(2)?.to_owned()), anchor)?;
            Ok(Some(appraisal))
        })
    }

    /// Follows a device's history from the oldest kept verdict on. `anchor` is what the ledger has.
    pub fn check_history(
        &self,
        device: &NodeId,
        anchor: Option<Anchor>,
    ) -> Result<Result<(), Rewritten>, StoreError> {
        self.db().read(|s| check(s, device, anchor))
    }
}
