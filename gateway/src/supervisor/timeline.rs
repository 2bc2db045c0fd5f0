//! One device's verdicts over time, for people: runs of the same result, and pages of single verdicts.
//!
//! Reads only, and each read is bounded: a page is at most [`MAX_PAGE`] verdicts, [`MAX_RUNS`] runs go back.

use super::{
    db::{Row, Session, values},
    store::{StoreError, SupervisorStore, value},
};
use gw_attest::Verdict;
use gw_proto::{NodeId, UnixMillis};

/// The most verdicts of one page.
pub const MAX_PAGE: u32 = 100;
/// The most runs that are told.
pub const MAX_RUNS: usize = 20;

/// A verdict with its number in this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// grows with time; of this store only
    pub id: i64,
    /// what was found
    pub verdict: Verdict,
}

/// Verdicts of the same result, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// good, or not
    pub passed: bool,
    /// of its first verdict
    pub from: UnixMillis,
    /// of its last verdict
    pub to: UnixMillis,
    /// number of its last verdict
    pub last: i64,
}

fn numbered(row: &Row) -> Result<Numbered, StoreError> {
    Ok(Numbered { id: row.int(0)?, verdict: value("verdict", row.text(1)?)? })
}

impl SupervisorStore {
    /// A device's verdicts below a number (none: from the newest), newest first; `limit` up to [`MAX_PAGE`].
    pub fn verdicts_before(
        &self,
        device: &NodeId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Numbered>, StoreError> {
        let sql = "select id, body from verdict where device = ?1 and id < ?2 order by id desc limit ?3";
        let key = values![device.as_str(), before.unwrap_or(i64::MAX), limit.min(MAX_PAGE)];
        self.db().read(|s| s.rows(sql, key))?.iter().map(numbered).collect()
    }

    /// One verdict of a device, by its number.
    pub fn verdict_numbered(&self, device: &NodeId, id: i64) -> Result<Option<Numbered>, StoreError> {
        let sql = "select id, body from verdict where device = ?1 and id = ?2";
        let found = self.db().read(|s| s.row(sql, values![device.as_str(), id]))?;
        found.as_ref().map(numbered).transpose()
    }

    /// The newest [`MAX_RUNS`] runs, newest first. Each is a few steps in an index, however long it lasted.
    pub fn runs(&self, device: &NodeId) -> Result<Vec<Run>, StoreError> {
        self.db().read(|s| {
            let (mut runs, mut top) = (Vec::new(), i64::MAX);
            while runs.len() < MAX_RUNS
                && let Some((run, below)) = run(s, device.as_str(), top)?
            {
                runs.push(run);
                top = below;
            }
            Ok(runs)
        })
    }
}

/// The run that ends at the newest verdict up to a number, and the number of the last verdict before it.
fn run(s: &mut dyn Session, device: &str, top: i64) -> Result<Option<(Run, i64)>, StoreError> {
    let newest = s.row(
        "select id, at, passed from verdict where device = ?1 and id <= ?2 order by id desc limit 1",
        values![device, top],
    )?;
    let Some(newest) = newest else { return Ok(None) };
    let (last, to, passed) = (newest.int(0)?, newest.time(1)?, newest.int(2)? != 0);
    let other = s.row(
        "select coalesce(max(id), 0) from verdict where device = ?1 and passed = ?2 and id < ?3",
        values![device, !passed, last],
    )?;
    let below = other.map_or(Ok(0), |row| row.int(0))?;
    let first = s.row(
        "select at from verdict where device = ?1 and id > ?2 order by id limit 1",
        values![device, below],
    )?;
    let from = first.map_or(Ok(to), |row| row.time(0))?;
    Ok(Some((Run { passed, from, to, last }, below)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_attest::{Check, CheckName, Outcome};

    fn keep(store: &SupervisorStore, device: &NodeId, at: u64, passed: bool) {
        let outcome = if passed { Outcome::Ok } else { Outcome::Failed };
        let (component, expected, found) = (None, String::new(), String::new());
        let checks = vec![Check { name: CheckName::Nonce, outcome, component, expected, found }];
        let (at, device) = (UnixMillis(at), device.clone());
        let verdict = Verdict { device, release: None, at, good_until: None, counters: None, checks };
        store.keep_verdict(&verdict, None).unwrap();
    }

    fn filled(results: &[bool]) -> (SupervisorStore, NodeId) {
        let store = SupervisorStore::in_memory().unwrap();
        let [a, b] = ["bank-a-1", "bank-b-1"].map(|n| NodeId::parse(n).unwrap());
        for (at, passed) in (10..).step_by(10).zip(results) {
            keep(&store, &a, at, *passed);
            keep(&store, &b, at + 1, !passed); // another's are never mixed in
        }
        (store, a)
    }

    #[test]
    fn runs_begin_and_end_where_the_result_changes() {
        let (store, device) = filled(&[true, true, false, true, true, true]);
        let told: Vec<_> =
            store.runs(&device).unwrap().iter().map(|r| (r.passed, r.from.0, r.to.0)).collect();
        assert_eq!(told, [(true, 40, 60), (false, 30, 30), (true, 10, 20)]);
        assert_eq!(store.runs(&NodeId::parse("bank-c-1").unwrap()).unwrap(), []);
    }

    #[test]
    fn runs_are_bounded() {
        let results: Vec<bool> = (0..50).map(|n| n % 2 == 0).collect();
        let (store, device) = filled(&results);
        let runs = store.runs(&device).unwrap();
        assert_eq!((runs.len(), runs.first().unwrap().to.0), (MAX_RUNS, 500));
    }

    #[test]
    fn pages_follow_one_another_without_a_gap() {
        let (store, device) = filled(&[true; 7]);
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = store.verdicts_before(&device, before, 3).unwrap();
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id);
            seen.extend(page.into_iter().map(|n| n.verdict.at.0));
        }
        assert_eq!(seen, [70, 60, 50, 40, 30, 20, 10]);
        let other = NodeId::parse("bank-b-1").unwrap();
        let id = store.verdicts_before(&other, None, 1).unwrap()[0].id;
        assert_eq!(store.verdict_numbered(&device, id).unwrap(), None, "another device's number");
        assert_eq!(store.verdict_numbered(&other, id).unwrap().unwrap().verdict.at.0, 71);
    }
}
