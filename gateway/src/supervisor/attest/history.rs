//! Enrolments and verdicts, in the supervisor's database.
//!
//! Of each device the newest [`MAX_VERDICTS`] verdicts stay, and of these the newest [`MAX_APPRAISALS`] with all
//! that they rest on: 500 devices take some gigabytes at most.

use super::{appraisal::Appraisal, enrol::Device};
use crate::supervisor::store::{StoreError, SupervisorStore};
use gw_attest::{Verdict, verdict::Previous};
use gw_proto::{
    Digest, Hex, NodeId, UnixMillis,
    canon::{domain, domain_digest},
    sm3,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Serialize, de::DeserializeOwned};

/// A month at one in ten minutes.
pub const MAX_VERDICTS: u32 = 4_320;
/// Verdicts that can be made again offline.
pub const MAX_APPRAISALS: u32 = 32;
/// More devices than a consortium has.
const MAX_DEVICES: u32 = 10_000;

/// The tables.
pub(in crate::supervisor) const TABLES: &str = "
    create table if not exists enrolment (
      device text primary key not null, endorsement text unique not null, body text not null) strict;
    create table if not exists verdict (
      id integer primary key, device text not null, at integer not null, passed integer not null,
      body text not null, counters text, appraisal text, evidence text, chain text) strict;
    create index if not exists verdict_device on verdict (device, id);
     create index if not exists verdict_result on verdict (device, passed, id);
    create table if not exists decommissioned (
      at integer not null, who text not null, device text not null, reason text not null, body text not null) strict;";

/// A database of before the history was a chain gets the columns; its rows stay outside the chain.
pub(in crate::supervisor) fn migrate(db: &Connection) -> Result<(), rusqlite::Error> {
    let has = "select count(*) from pragma_table_info('verdict') where name = 'chain'";
    if db.query_row(has, [], |r| r.get::<_, u32>(0))? == 0 {
        db.execute_batch(
            "alter table verdict add column evidence text; alter table verdict add column chain text;",
        )?;
    }
    Ok(())
}

/// One link: H(the link before ‖ the verdict ‖ what it rests on). The first follows 32 zero bytes.
fn link(before: &Digest, body: &str, evidence: Option<&Digest>) -> Digest {
    let evidence = evidence.map_or([0; 32], |e| e.0);
    domain_digest(domain::VERDICTS, &[before.0, sm3(body.as_bytes()).0, evidence].concat())
}

/// The newest verdict, as the ledger is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// the verdict
    pub verdict: Verdict,
    /// the chain's digest up to and with it
    pub chain: Digest,
}

/// Where a kept history is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rewritten {
    /// A link does not follow from the one before.
    #[error("the verdict of {0} ms is not the one that was written")]
    Link(u64),
    /// The evidence beside a verdict is other evidence.
    #[error("the evidence of the verdict of {0} ms is not the one that was judged")]
    Evidence(u64),
    /// The ledger has a digest that no kept verdict leads to.
    #[error("the ledger's verdict of {0} ms is missing, or stands in another history")]
    Anchor(u64),
}

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The chip is another device's.
    #[error("the endorsement key is enrolled as {device}")]
    Endorsement {
        /// whose
        device: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn text<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Row(what, e.to_string()))
}

fn value<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Row(what, e.to_string()))
}

fn digest(text: &str) -> Result<Digest, StoreError> {
    Hex::parse(text).map_err(|e| StoreError::Row("verdict", e.to_string()))
}

impl SupervisorStore {
    /// A device, if it is enrolled.
    pub fn enrolment(&self, device: &NodeId) -> Result<Option<Device>, StoreError> {
        let body: Option<String> = self
            .db()
            .query_row("select body from enrolment where device = ?1", [device.as_str()], |r| r.get(0))
            .optional()?;
        body.map(|b| value("enrolment", &b)).transpose()
    }

    /// All devices, by name.
    pub fn enrolments(&self) -> Result<Vec<Device>, StoreError> {
        let db = self.db();
        let mut q = db.prepare_cached("select body from enrolment order by device limit ?1")?;
        let rows = q.query_map([MAX_DEVICES], |r| r.get::<_, String>(0))?;
        rows.map(|r| value("enrolment", &r?)).collect()
    }

    /// Keeps a device; its endorsement key must be no other device's.
    pub fn enrol(&self, device: &Device) -> Result<(), EnrolError> {
        let (name, endorsement) = (device.enrolled.device.as_str(), device.endorsement().to_string());
        let body = text("enrolment", device)?;
        let mut db = self.db();
        let tx = db.transaction().map_err(StoreError::from)?;
        let other: Option<String> = tx
            .query_row(
                "select device from enrolment where endorsement = ?1 and device <> ?2",
                params![endorsement, name],
                |r| r.get(0),
            )
            .optional()
            .map_err(StoreError::from)?;
        if let Some(device) = other {
            return Err(EnrolError::Endorsement { device });
        }
        tx.execute(
            "insert into enrolment (device, endorsement, body) values (?1, ?2, ?3)
             on conflict (device) do update set endorsement = ?2, body = ?3",
            params![name, endorsement, body],
        )
        .map_err(StoreError::from)?;
        Ok(tx.commit().map_err(StoreError::from)?)
    }

    /// Forgets an enrolment and remembers that, by whom and why; its verdicts stay. False where there was none.
    pub fn decommission(
        &self,
        device: &NodeId,
        by: &str,
        reason: &str,
        at: UnixMillis,
    ) -> Result<bool, StoreError> {
        let at = i64::try_from(at.0).unwrap_or(i64::MAX);
        let mut db = self.db();
        let tx = db.transaction()?;
        tx.execute(
            "insert into decommissioned (at, who, device, reason, body)
             select ?1, ?2, device, ?3, body from enrolment where device = ?4",
            params![at, by, reason, device.as_str()],
        )?;
        let gone = tx.execute("delete from enrolment where device = ?1", [device.as_str()])?;
        tx.commit()?;
        Ok(gone == 1)
    }

    /// Keeps a verdict; an appraisal where there was evidence.
    pub fn keep_verdict(&self, verdict: &Verdict, appraisal: Option<&Appraisal>) -> Result<(), StoreError> {
        let body = text("verdict", verdict)?;
        let counters = verdict.counters.as_ref().map(|c| text("counters", c)).transpose()?;
        let appraisal = appraisal.map(|a| text("appraisal", a)).transpose()?;
        let evidence = appraisal.as_ref().map(|a| sm3(a.as_bytes()));
        let (device, at) = (verdict.device.as_str(), i64::try_from(verdict.at.0).unwrap_or(i64::MAX));
        let mut db = self.db();
        let tx = db.transaction()?;
        let before: Option<Option<String>> = tx
            .query_row(
                "select chain from verdict where device = ?1 order by id desc limit 1",
                [device],
                |r| r.get(0),
            )
            .optional()?;
        let before = before.flatten().map(|c| digest(&c)).transpose()?.unwrap_or(Hex([0; 32]));
        let chain = link(&before, &body, evidence.as_ref()).to_string();
        let evidence = evidence.map(|e| e.to_string());
        tx.execute(
            "insert into verdict (device, at, passed, body, counters, appraisal, evidence, chain)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![device, at, verdict.passed(), body, counters, appraisal, evidence, chain],
        )?;
        tx.execute(
            "update verdict set appraisal = null where device = ?1 and appraisal is not null and id <=
               (select id from verdict where device = ?1 and appraisal is not null order by id desc limit 1 offset ?2)",
            params![device, MAX_APPRAISALS],
        )?;
        tx.execute(
            "delete from verdict where device = ?1 and id <=
               (select id from verdict where device = ?1 order by id desc limit 1 offset ?2)",
            params![device, MAX_VERDICTS],
        )?;
        Ok(tx.commit()?)
    }

    /// The newest verdict with its place in the history.
    pub fn newest(&self, device: &NodeId) -> Result<Option<Newest>, StoreError> {
        let found: Option<(String, Option<String>)> = self
            .db()
            .query_row(
                "select body, chain from verdict where device = ?1 order by id desc limit 1",
                [device.as_str()],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .optional()?;
        // a row of before the history was a chain is told to nobody
        let Some((body, Some(chain))) = found else { return Ok(None) };
        Ok(Some(Newest { verdict: value("verdict", &body)?, chain: digest(&chain)? }))
    }

    /// Follows a device's history from the oldest kept verdict on. `anchor` is what the ledger has: a verdict's
    /// time and the digest up to it.
    pub fn check_history(
        &self,
        device: &NodeId,
        anchor: Option<(UnixMillis, Digest)>,
    ) -> Result<Result<(), Rewritten>, StoreError> {
        let db = self.db();
        let mut q = db.prepare_cached(
            "select at, body, appraisal, evidence, chain from verdict where device = ?1 and chain is not null order by id",
        )?;
        let mut rows = q.query([device.as_str()])?;
        let (mut before, mut oldest, mut anchored) = (None::<Digest>, None, anchor.is_none());
        while let Some(row) = rows.next()? {
            let at = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let (body, appraisal): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let evidence = row.get::<_, Option<String>>(3)?.map(|e| digest(&e)).transpose()?;
            let chain = digest(&row.get::<_, String>(4)?)?;
            // what stood before the oldest was forgotten: its own link cannot be followed
            if before.is_some_and(|before| link(&before, &body, evidence.as_ref()) != chain) {
                return Ok(Err(Rewritten::Link(at)));
            }
            if appraisal.is_some_and(|a| evidence != Some(sm3(a.as_bytes()))) {
                return Ok(Err(Rewritten::Evidence(at)));
            }
            anchored |= anchor == Some((UnixMillis(at), chain));
            oldest = oldest.or(Some(at));
            before = Some(chain);
        }
        // an anchor older than all that is kept says nothing
        let gone = anchor.filter(|(at, _)| !anchored && oldest.is_none_or(|oldest| oldest <= at.0));
        Ok(gone.map_or(Ok(()), |(at, _)| Err(Rewritten::Anchor(at.0))))
    }

    /// Counters of the last evidence whose signature held.
    pub fn counters(&self, device: &NodeId) -> Result<Option<Previous>, StoreError> {
        let found: Option<String> = self
            .db()
            .query_row(
                "select counters from verdict where device = ?1 and counters is not null order by id desc limit 1",
                [device.as_str()],
                |r| r.get(0),
            )
            .optional()?;
        found.map(|c| value("counters", &c)).transpose()
    }

    /// The newest verdict, and since when it has been as good or bad as that.
    pub fn verdict(&self, device: &NodeId) -> Result<Option<(Verdict, UnixMillis)>, StoreError> {
        let db = self.db();
        let newest: Option<(String, bool)> = db
            .query_row(
                "select body, passed from verdict where device = ?1 order by id desc limit 1",
                [device.as_str()],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .optional()?;
        let Some((body, passed)) = newest else { return Ok(None) };
        let since: i64 = db.query_row(
            "select at from verdict where device = ?1 and id >
               coalesce((select max(id) from verdict where device = ?1 and passed = ?2), 0) order by id limit 1",
            params![device.as_str(), !passed],
            |r| r.get(0),
        )?;
        Ok(Some((value("verdict", &body)?, UnixMillis(u64::try_from(since).unwrap_or(0)))))
    }

    /// When evidence came last; silence is none.
    pub fn last_evidence(&self, device: &NodeId) -> Result<Option<UnixMillis>, StoreError> {
        let found = self.db().query_row(
            "select at from verdict where device = ?1 and appraisal is not null order by id desc limit 1",
            [device.as_str()],
            |r| r.get::<_, i64>(0),
        );
        let at = found.optional()?;
        Ok(at.map(|at| UnixMillis(u64::try_from(at).unwrap_or(0))))
    }

    /// What the newest evidence's verdict rests on.
    pub fn appraisal(&self, device: &NodeId) -> Result<Option<Appraisal>, StoreError> {
        let found: Option<String> = self
            .db()
            .query_row(
                "select appraisal from verdict where device = ?1 and appraisal is not null order by id desc limit 1",
                [device.as_str()],
                |r| r.get(0),
            )
            .optional()?;
        found.map(|a| value("appraisal", &a)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::attest::appraisal::VERSION;
    use gw_attest::{
        Check, CheckName, Outcome,
        attest_structure::Counters,
        challenge::Challenge,
        decide::{Enrolled, Rules},
    };
    use gw_proto::{B64, Hex, HexBytes, InstitutionId, PublicKey, Scheme};

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn device(name: &str, endorsement: u8) -> Device {
        let enrolled = Enrolled {
            device: node(name),
            attestation_key: HexBytes(vec![1]),
            signing_key: None,
            node_key: PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) },
            endorsement_certificate: Hex([endorsement; 32]),
            configurations: Vec::new(),
            files: Vec::new(),
        };
        let institution = InstitutionId::parse("bank-a").unwrap();
        Device { enrolled, institution, at: UnixMillis(1), by: "op".to_owned(), endorsed: None }
    }

    fn verdict(name: &str, at: u64, passed: bool, clock_ms: Option<u64>) -> Verdict {
        let outcome = if passed { Outcome::Ok } else { Outcome::Failed };
        let (expected, found) = (String::new(), String::new());
        let counters = clock_ms.map(|clock_ms| Previous {
            attestation_key: HexBytes(vec![1]),
            counters: Counters { clock_ms, resets: 0, restarts: 0, safe: true },
        });
        Verdict {
            device: node(name),
            release: None,
            at: UnixMillis(at),
            good_until: None,
            counters,
            checks: vec![Check { name: CheckName::Nonce, outcome, component: None, expected, found }],
        }
    }

    fn appraisal(name: &str, at: u64) -> Appraisal {
        Appraisal {
            v: VERSION,
            bundle: B64(vec![7]),
            challenge: Challenge {
                nonce: Hex([1; 32]),
                device: node(name),
                channel: Hex([2; 32]),
                expires: UnixMillis(at),
            },
            tls_node: node(name),
            enrolled: device(name, 1).enrolled,
            rules: Rules {
                banks: Vec::new(),
                pcrs: [0].into(),
                floor: 0,
                uncertified_node_key: false,
                interval_ms: 1,
            },
            manifest: None,
            previous: None,
            at: UnixMillis(at),
        }
    }

    #[test]
    fn a_chip_is_one_device() {
        let store = SupervisorStore::in_memory().unwrap();
        store.enrol(&device("bank-a-1", 1)).unwrap();
        let refused = store.enrol(&device("bank-b-1", 1)).unwrap_err();
        assert!(matches!(refused, EnrolError::Endorsement { device } if device == "bank-a-1"));
        let mut again = device("bank-a-1", 1);
        again.enrolled.configurations.push(Hex([9; 32]));
        store.enrol(&again).unwrap();
        store.enrol(&device("bank-b-1", 2)).unwrap();
        assert_eq!(store.enrolment(&node("bank-a-1")).unwrap(), Some(again));
        assert_eq!(store.enrolments().unwrap().len(), 2);
        assert_eq!(store.enrolment(&node("bank-c-1")).unwrap(), None);
    }

    #[test]
    fn a_decommissioned_chip_may_be_enrolled_again_and_what_was_is_remembered() {
        let store = SupervisorStore::in_memory().unwrap();
        let (a, at) = (node("bank-a-1"), UnixMillis(7));
        assert!(!store.decommission(&a, "op", "broken", at).unwrap());
        store.enrol(&device("bank-a-1", 1)).unwrap();
        store.keep_verdict(&verdict("bank-a-1", 5, true, None), None).unwrap();
        assert!(store.decommission(&a, "op", "broken", at).unwrap());
        assert_eq!(store.enrolment(&a).unwrap(), None);
        assert!(store.verdict(&a).unwrap().is_some(), "its history stays");
        // the chip in another box, another chip in this one
        store.enrol(&device("bank-b-1", 1)).unwrap();
        store.enrol(&device("bank-a-1", 2)).unwrap();
        let db = store.db();
        let row: (u32, String, String, String) = db
            .query_row("select at, who, reason, body from decommissioned", [], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
            })
            .unwrap();
        assert_eq!((row.0, row.1.as_str(), row.2.as_str()), (7, "op", "broken"));
        assert_eq!(value::<Device>("enrolment", &row.3).unwrap(), device("bank-a-1", 1));
    }

    #[test]
    fn since_counters_and_last_evidence_are_the_devices_own() {
        let (store, a) = (SupervisorStore::in_memory().unwrap(), node("bank-a-1"));
        assert_eq!(store.verdict(&a).unwrap(), None);
        for (at, passed, clock, evidence) in [
            (10, true, Some(5), true),
            (20, false, None, true),
            (30, false, None, false),
            (40, true, Some(6), true),
            (50, true, Some(7), true),
        ] {
            let told = appraisal("bank-a-1", at);
            let made = verdict("bank-a-1", at, passed, clock);
            store.keep_verdict(&made, evidence.then_some(&told)).unwrap();
            store.keep_verdict(&verdict("bank-b-1", at + 1, !passed, Some(99)), None).unwrap();
            let (newest, since) = store.verdict(&a).unwrap().unwrap();
            let expected = match at {
                10 => 10,
                20 | 30 => 20,
                _ => 40,
            };
            assert_eq!((newest, since), (made, UnixMillis(expected)));
            let seen = if at == 30 { 20 } else { at };
            assert_eq!(store.last_evidence(&a).unwrap(), Some(UnixMillis(seen)));
            let clock = store.counters(&a).unwrap().unwrap().counters.clock_ms;
            assert_eq!(clock, [5, 5, 5, 6, 7][usize::try_from(at / 10 - 1).unwrap()]);
        }
        assert_eq!(store.appraisal(&a).unwrap(), Some(appraisal("bank-a-1", 50)));
        assert_eq!(store.appraisal(&node("bank-b-1")).unwrap(), None);
    }

    #[test]
    fn a_history_that_was_rewritten_is_found() {
        let name = node("bank-a-1");
        let kept = || {
            let store = SupervisorStore::in_memory().unwrap();
            for at in 1..=5 {
                let told = appraisal("bank-a-1", at);
                store
                    .keep_verdict(&verdict("bank-a-1", at, at != 3, None), (at != 4).then_some(&told))
                    .unwrap();
                store.keep_verdict(&verdict("bank-b-1", at, true, None), None).unwrap();
            }
            store
        };
        let store = kept();
        let newest = store.newest(&name).unwrap().unwrap();
        assert_eq!(newest.verdict, verdict("bank-a-1", 5, true, None));
        let anchor = Some((UnixMillis(5), newest.chain));
        for good in [None, anchor] {
            assert_eq!(store.check_history(&name, good).unwrap(), Ok(()));
        }
        let bad = serde_json::to_string(&verdict("bank-a-1", 3, true, None)).unwrap();
        let other = serde_json::to_string(&appraisal("bank-a-1", 9)).unwrap();
        let of_a = "device = 'bank-a-1'";
        for (what, change, found) in [
            (
                "a bad one made good",
                format!("update verdict set body = '{bad}' where {of_a} and at = 3"),
                Rewritten::Link(3),
            ),
            ("one taken out", format!("delete from verdict where {of_a} and at = 3"), Rewritten::Link(4)),
            (
                "two exchanged",
                format!("update verdict set id = -id where {of_a} and at < 3"),
                Rewritten::Link(1),
            ),
            (
                "other evidence",
                format!("update verdict set appraisal = '{other}' where {of_a} and at = 2"),
                Rewritten::Evidence(2),
            ),
            ("the end cut off", format!("delete from verdict where {of_a} and at > 3"), Rewritten::Anchor(5)),
            ("all of it", format!("delete from verdict where {of_a}"), Rewritten::Anchor(5)),
        ] {
            let store = kept();
            store.db().execute(&change, []).unwrap();
            assert_eq!(store.check_history(&name, anchor).unwrap(), Err(found), "{what}");
        }
        // written anew from the beginning, each link in order: only the ledger knows
        let anew = SupervisorStore::in_memory().unwrap();
        (1..=5).for_each(|at| anew.keep_verdict(&verdict("bank-a-1", at, true, None), None).unwrap());
        assert_eq!(anew.check_history(&name, None).unwrap(), Ok(()));
        assert_eq!(anew.check_history(&name, anchor).unwrap(), Err(Rewritten::Anchor(5)));
    }

    #[test]
    fn a_database_of_before_gets_the_columns() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&TABLES.replace(", evidence text, chain text", "")).unwrap();
        db.execute("insert into verdict (device, at, passed, body) values ('bank-a-1', 1, 1, '{}')", [])
            .unwrap();
        for _ in 0..2 {
            migrate(&db).unwrap();
        }
        let rows = "select count(*) from verdict where chain is null";
        assert_eq!(db.query_row(rows, [], |r| r.get::<_, u32>(0)).unwrap(), 1);
    }

    #[test]
    fn what_verdicts_rest_on_is_kept_for_the_newest_only() {
        let store = SupervisorStore::in_memory().unwrap();
        for at in 0..u64::from(MAX_APPRAISALS) + 5 {
            let (made, told) = (verdict("bank-a-1", at, true, None), appraisal("bank-a-1", at));
            store.keep_verdict(&made, Some(&told)).unwrap();
        }
        let count = |what: &str| -> u32 {
            store.db().query_row(&format!("select count({what}) from verdict"), [], |r| r.get(0)).unwrap()
        };
        assert_eq!((count("appraisal"), count("*")), (MAX_APPRAISALS, MAX_APPRAISALS + 5));
    }
}
