//! Proposals in the supervisor's database: bounded, one open per device, each step taken once.

use super::rules::{Proposal, State};
use crate::supervisor::store::{StoreError, SupervisorStore};
use gw_proto::{Digest, NodeId};
use rusqlite::{OptionalExtension as _, Row, params};

/// Open proposals at most: each waits for a person.
pub const MAX_OPEN: u32 = 64;
/// Of one operator at most: nobody fills the list alone.
pub const MAX_OPEN_OF_ONE: u32 = 16;
/// Closed ones that are shown.
pub const SHOWN: u32 = 100;

/// The table.
pub(in crate::supervisor) const TABLE: &str = "
    create table if not exists proposal (
      id integer primary key autoincrement not null, device text not null, person text not null,
      state text not null, body text not null) strict;
    create unique index if not exists proposal_live on proposal (device) where state in ('open', 'approved');";

/// Why a proposal was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// One is enough.
    #[error("proposal {0} about this device waits already: decide on it first")]
    Another(u64),
    /// The list is full.
    #[error("{MAX_OPEN} proposals wait already: decide on some of them first")]
    Full,
    /// One person has many.
    #[error("{MAX_OPEN_OF_ONE} proposals of this person wait already")]
    FullOfOne,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for KeepError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

fn body(p: &Proposal) -> Result<String, StoreError> {
    serde_json::to_string(p).map_err(|e| StoreError::Row("proposal", e.to_string()))
}

fn row(r: &Row<'_>) -> Result<(i64, String), rusqlite::Error> {
    Ok((r.get(0)?, r.get(1)?))
}

/// The number is the row's, whatever the body says.
fn proposal((id, body): (i64, String)) -> Result<Proposal, StoreError> {
    let parsed: Proposal =
        serde_json::from_str(&body).map_err(|e| StoreError::Row("proposal", e.to_string()))?;
    Ok(Proposal { id: u64::try_from(id).unwrap_or(0), ..parsed })
}

fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

impl SupervisorStore {
    /// Keeps a new proposal; its number.
    pub fn keep_proposal(&self, p: &Proposal) -> Result<u64, KeepError> {
        let text = body(p)?;
        let mut db = self.db();
        let tx = db.transaction()?;
        let device = p.what.device().as_str();
        let another: Option<i64> = tx
            .query_row(
                "select id from proposal where device = ?1 and state in ('open', 'approved')",
                [device],
                |r| r.get(0),
            )
            .optional()?;
        if let Some(id) = another {
            return Err(KeepError::Another(u64::try_from(id).unwrap_or(0)));
        }
        let count = "select count(*), coalesce(sum(person = ?1), 0) from proposal where state = 'open'";
        let (all, own): (u32, u32) = tx.query_row(count, [&p.by.person], |r| Ok((r.get(0)?, r.get(1)?)))?;
        if all >= MAX_OPEN {
            return Err(KeepError::Full);
        }
        if own >= MAX_OPEN_OF_ONE {
            return Err(KeepError::FullOfOne);
        }
        tx.execute(
            "insert into proposal (device, person, state, body) values (?1, ?2, ?3, ?4)",
            params![device, p.by.person, p.state.name(), text],
        )?;
        let id = tx.last_insert_rowid();
        tx.commit()?;
        Ok(u64::try_from(id).unwrap_or(0))
    }

    /// One of them.
    pub fn proposal(&self, id: u64) -> Result<Option<Proposal>, StoreError> {
        let found = self
            .db()
            .query_row("select id, body from proposal where id = ?1", [number(id)], row)
            .optional()?;
        found.map(proposal).transpose()
    }

    /// Those that wait, oldest first; then the newest [`SHOWN`] others.
    pub fn proposals(&self) -> Result<Vec<Proposal>, StoreError> {
        let db = self.db();
        let mut live = db.prepare_cached(
            "select id, body from proposal where state in ('open', 'approved') order by id",
        )?;
        let mut rest = db.prepare_cached(
            "select id, body from proposal where state not in ('open', 'approved') order by id desc limit ?1",
        )?;
        let live = live.query_map([], row)?;
        let rest = rest.query_map([SHOWN], row)?;
        live.chain(rest).map(|r| proposal(r?)).collect()
    }

    /// Takes a proposal one step further, from the state it was read in. False: somebody was faster.
    pub fn step_proposal(&self, was: &Proposal, to: &State) -> Result<bool, StoreError> {
        let text = body(&Proposal { state: to.clone(), ..was.clone() })?;
        let changed = self.db().execute(
            "update proposal set state = ?1, body = ?2 where id = ?3 and state = ?4",
            params![to.name(), text, number(was.id), was.state.name()],
        )?;
        Ok(changed == 1)
    }

    /// Whether an enrolment of this device or of this chip was ended once.
    pub fn was_ended(&self, device: &NodeId, endorsement: &Digest) -> Result<bool, StoreError> {
        // the digest stands in the kept enrolment: 64 hex digits that nothing else has
        let found: u32 = self.db().query_row(
            "select count(*) from decommissioned where device = ?1 or instr(body, ?2) > 0",
            params![device.as_str(), endorsement.to_string()],
            |r| r.get(0),
        )?;
        Ok(found > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Act, Person};
    use super::*;
    use gw_proto::{Hex, UnixMillis};

    fn open(device: &str, by: u8) -> Proposal {
        let by = Person {
            operator: format!("op-{by}"),
            person: format!("p-{by}"),
            spki: Hex([by; 32]),
            subject: format!("CN={by}"),
        };
        Proposal {
            id: 0,
            what: Act::Decommission { device: NodeId::parse(device).unwrap() },
            reason: "broken".to_owned(),
            by,
            at: UnixMillis(1),
            expires: UnixMillis(2),
            meant: None,
            state: State::Open,
        }
    }

    #[test]
    fn one_per_device_so_many_of_one_and_so_many_of_all() {
        let store = SupervisorStore::in_memory().unwrap();
        let first = store.keep_proposal(&open("d-1", 1)).unwrap();
        match store.keep_proposal(&open("d-1", 2)).unwrap_err() {
            KeepError::Another(id) => assert_eq!(id, first),
            other => panic!("{other}"),
        }
        for i in 2..=MAX_OPEN_OF_ONE {
            store.keep_proposal(&open(&format!("d-{i}"), 1)).unwrap();
        }
        assert!(matches!(store.keep_proposal(&open("d-100", 1)).unwrap_err(), KeepError::FullOfOne));
        for i in MAX_OPEN_OF_ONE + 1..=MAX_OPEN {
            let by = u8::try_from(1 + i / MAX_OPEN_OF_ONE).unwrap();
            store.keep_proposal(&open(&format!("d-{i}"), by.max(2))).unwrap();
        }
        assert!(matches!(store.keep_proposal(&open("d-100", 9)).unwrap_err(), KeepError::Full));
        // a decided one makes room; its number is not used again
        let p = store.proposal(first).unwrap().unwrap();
        assert!(store.step_proposal(&p, &State::Expired { at: UnixMillis(3) }).unwrap());
        let next = store.keep_proposal(&open("d-1", 9)).unwrap();
        assert_eq!(next, u64::from(MAX_OPEN) + 1);
        assert_eq!(store.proposals().unwrap().len(), 65);
        assert!(store.proposal(999).unwrap().is_none());
    }

    #[test]
    fn a_step_is_taken_once_and_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.sqlite");
        let id = {
            let store = SupervisorStore::open(&file).unwrap();
            store.keep_proposal(&open("d-1", 1)).unwrap()
        };
        let store = SupervisorStore::open(&file).unwrap();
        let p = store.proposal(id).unwrap().unwrap();
        assert_eq!((p.id, &p.state), (id, &State::Open));
        let approved = State::Approved { by: p.by.clone(), at: UnixMillis(2) };
        assert!(store.step_proposal(&p, &approved).unwrap());
        assert!(!store.step_proposal(&p, &approved).unwrap(), "two operators approved at once");
        assert!(!store.step_proposal(&p, &State::Expired { at: UnixMillis(2) }).unwrap());
        // one that is approved and not done yet keeps its device
        assert!(matches!(store.keep_proposal(&open("d-1", 2)).unwrap_err(), KeepError::Another(_)));
        let shown = store.proposals().unwrap();
        assert_eq!((shown.len(), &shown[0].state), (1, &approved));
    }
}
