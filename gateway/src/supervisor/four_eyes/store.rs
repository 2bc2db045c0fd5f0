//! Proposals in the supervisor's database: bounded, one open per device, each step taken once.

use super::rules::{Proposal, State};
use crate::supervisor::{
    db::{Row, Session, Value, values},
    store::{MAX_ROWS, StoreError, SupervisorStore, text, value},
};

/// Open proposals at most: each waits for a person.
pub const MAX_OPEN: u32 = 64;
/// Of one operator at most: nobody fills the list alone.
pub const MAX_OPEN_OF_ONE: u32 = 16;
/// Closed ones that are shown.
pub const SHOWN: u32 = 100;

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
}

/// The number is the row's, whatever the body says.
fn proposal(row: &Row) -> Result<Proposal, StoreError> {
    let parsed: Proposal = value("proposal", row.text(1)?)?;
    Ok(Proposal { id: row.number(0)?, ..parsed })
}

/// Keeps a new proposal; its number, or why there is no room for it. Alone: it is looked first.
pub(in crate::supervisor) fn keep(
    s: &mut dyn Session,
    p: &Proposal,
) -> Result<Result<u64, KeepError>, StoreError> {
    let (device, person) = (p.what.device().as_str(), &p.by.person);
    let another = "select id from proposal where device = ?1 and state in ('open', 'approved')";
    if let Some(row) = s.row(another, values![device])? {
        return Ok(Err(KeepError::Another(row.number(0)?)));
    }
    let all = "select count(*) from proposal where state = 'open'";
    if count(s, all, &[])? >= MAX_OPEN.into() {
        return Ok(Err(KeepError::Full));
    }
    let own = "select count(*) from proposal where state = 'open' and person = ?1";
    if count(s, own, values![person])? >= MAX_OPEN_OF_ONE.into() {
        return Ok(Err(KeepError::FullOfOne));
    }
    let row = s.row(
        "insert into proposal (device, person, state, body) values (?1, ?2, ?3, ?4) returning id",
        values![device, person, p.state.name(), text("proposal", p)?],
    )?;
    let none = || StoreError::Row("proposal", "it got no number".to_owned());
    Ok(Ok(row.ok_or_else(none)?.number(0)?))
}

fn count(s: &mut dyn Session, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
    let row = s.row(sql, values)?;
    Ok(row.map(|r| r.number(0)).transpose()?.unwrap_or(0))
}

/// Takes a proposal one step further, from the state it was read in. False: somebody was faster.
pub(in crate::supervisor) fn step(
    s: &mut dyn Session,
    was: &Proposal,
    to: &State,
) -> Result<bool, StoreError> {
    let body = text("proposal", &Proposal { state: to.clone(), ..was.clone() })?;
    let changed = s.execute(
        "update proposal set state = ?1, body = ?2 where id = ?3 and state = ?4",
        values![to.name(), body, was.id, was.state.name()],
    )?;
    Ok(changed == 1)
}

impl SupervisorStore {
    /// One of them.
    pub fn proposal(&self, id: u64) -> Result<Option<Proposal>, StoreError> {
        let sql = "select id, body from proposal where id = ?1";
        let found = self.db().read(|s| s.row(sql, values![id]))?;
        found.as_ref().map(proposal).transpose()
    }

    /// Those that wait, oldest first; then the newest [`SHOWN`] others.
    pub fn proposals(&self) -> Result<Vec<Proposal>, StoreError> {
        let rows = self.db().read(|s| {
            // one approved is not done yet only while the ledger is away: the list is bounded all the same
            let mut all = s.rows(
                "select id, body from proposal where state in ('open', 'approved') order by id limit ?1",
                values![MAX_ROWS],
            )?;
            all.extend(s.rows(
                "select id, body from proposal where state not in ('open', 'approved')
                   order by id desc limit ?1",
                values![SHOWN],
            )?);
            Ok::<_, StoreError>(all)
        })?;
        rows.iter().map(proposal).collect()
    }
}
