//! Enrolments and verdicts, in the supervisor's database.
//!
//! Of each device the newest [`MAX_VERDICTS`] verdicts stay, and of these the newest [`MAX_APPRAISALS`] with all
//! that they rest on: 500 devices take some gigabytes at most.

use super::{appraisal::Appraisal, enrol::Device};
use crate::supervisor::store::{StoreError, SupervisorStore};
use gw_attest::{Verdict, verdict::Previous};
use gw_proto::{NodeId, UnixMillis};
use rusqlite::{OptionalExtension as _, params};
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
      body text not null, counters text, appraisal text) strict;
    create index if not exists verdict_device on verdict (device, id);
    create index if not exists verdict_result on verdict (device, passed, id);";

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

    /// Keeps a verdict; an appraisal where there was evidence.
    pub fn keep_verdict(&self, verdict: &Verdict, appraisal: Option<&Appraisal>) -> Result<(), StoreError> {
        let body = text("verdict", verdict)?;
        let counters = verdict.counters.as_ref().map(|c| text("counters", c)).transpose()?;
        let appraisal = appraisal.map(|a| text("appraisal", a)).transpose()?;
        let (device, at) = (verdict.device.as_str(), i64::try_from(verdict.at.0).unwrap_or(i64::MAX));
        let mut db = self.db();
        let tx = db.transaction()?;
        tx.execute(
            "insert into verdict (device, at, passed, body, counters, appraisal) values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![device, at, verdict.passed(), body, counters, appraisal],
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
        };
        let institution = InstitutionId::parse("bank-a").unwrap();
        Device { enrolled, institution, at: UnixMillis(1), by: "op".to_owned() }
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
