//! The tables, by version: an older database is brought up to date when it is opened, a newer one is refused.
//!
//! One text for both backends: `{int}` is an integer of 64 bits, `{id}` a number given in order, `{end}` what closes
//! a table. A further version is a further constant and a further line in [`migrate`].

use super::{Db, DbError, Session, values};
use crate::supervisor::{attest::verdict_log, store::StoreError};

/// What this program writes.
const VERSION: i64 = 3;

/// Deliveries and look-ups; enrolments and verdicts. `verdict.counters` is read by version 1 only.
const FIRST: &str = "
    create table if not exists delivery (
      asker text not null, report_id text not null, side text not null, node text not null,
      subject text not null, authz_id text not null, received {int} not null, body text not null,
      primary key (asker, report_id, side, node)){end};
    create index if not exists delivery_subject on delivery (subject, received);
    create index if not exists delivery_use on delivery (report_id);
    create table if not exists lookup (
      at {int} not null, who text not null, subject text not null, reason text not null){end};
    create table if not exists enrolment (
      device text primary key not null, endorsement text unique not null, body text not null){end};
    create table if not exists verdict (
      id {id}, device text not null, at {int} not null, passed {int} not null,
      body text not null, counters text, appraisal text, evidence text, chain text){end};
    create index if not exists verdict_device on verdict (device, id);
    create index if not exists verdict_result on verdict (device, passed, id);
    create table if not exists decommissioned (
      at {int} not null, who text not null, device text not null, reason text not null, body text not null){end};";

/// The history as a Merkle log: a verdict's place in it, the hashes of its subtrees, and one row per device with the
/// newest verdict and the log's right edge, so that a look at the fleet reads no verdict.
const LOG: &str = "
    alter table verdict add column seq {int};
    create unique index verdict_seq on verdict (device, seq);
    create table verdict_node (
      device text not null, level {int} not null, place {int} not null, hash text not null,
      primary key (device, level, place)){end};
    create table latest (
      device text primary key not null, id {int} not null, at {int} not null, passed {int} not null,
      good_until {int}, since {int} not null, last_evidence {int}, release text, failed text not null,
      counters text, size {int} not null, first {int} not null, peaks text not null, head text not null){end};";

/// What people did, each row linked to the one before, and what one proposed for another to decide on: one that
/// waits per device.
const PEOPLE: &str = "
    create table audit (n {int} primary key not null, body text not null, chain text not null){end};
    create table proposal (
      id {id}, device text not null, person text not null, state text not null, body text not null){end};
    create unique index proposal_live on proposal (device) where state in ('open', 'approved');";

/// Brings a database to [`VERSION`], all or nothing.
pub(in crate::supervisor) fn migrate(db: &Db) -> Result<(), StoreError> {
    db.write(|s| {
        s.batch("create table if not exists schema_version (version {int} not null){end}")?;
        let row = s.row("select max(version) from schema_version", &[])?;
        let found = row.map(|r| r.maybe_int(0)).transpose()?.flatten().unwrap_or(0);
        if found > VERSION {
            return Err(DbError::Newer { found, known: VERSION }.into());
        }
        if found < 1 {
            s.batch(FIRST)?;
            if matches!(db, Db::Sqlite(_)) {
                columns_of_before(s)?;
            }
        }
        if found < 2 {
            s.batch(LOG)?;
            verdict_log::grow(s)?;
        }
        if found < 3 {
            s.batch(PEOPLE)?;
        }
        if found < VERSION {
            s.execute("delete from schema_version", &[])?;
            s.execute("insert into schema_version (version) values (?1)", values![VERSION])?;
        }
        Ok(())
    })
}

/// SQLite files of before versions were counted may lack these.
fn columns_of_before(s: &mut dyn Session) -> Result<(), StoreError> {
    let has = "select count(*) from pragma_table_info('verdict') where name = 'chain'";
    if s.row(has, &[])?.map(|r| r.int(0)).transpose()? == Some(0) {
        s.batch("alter table verdict add column evidence text; alter table verdict add column chain text;")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{
        attest::verdict_log::{Rewritten, link},
        db::sqlite::Sqlite,
        people_suite,
        store::{SupervisorStore, text},
        suite::{node, verdict},
    };
    use gw_proto::{Digest, Hex, UnixMillis};

    /// As version 1 wrote it: five verdicts on a device in a chain of digests, one of before the chain.
    fn version_1(db: &Db) -> Digest {
        let mut chain = Hex([0; 32]);
        db.write(|s| {
            s.batch(FIRST)?;
            for at in 1..=6 {
                let body = text("verdict", &verdict("bank-a-1", at, at != 3, None))?;
                let counters = (at == 2).then(|| "{}".to_owned());
                let told = if at == 1 { None } else { Some(link(&chain, &body, None)) };
                chain = told.unwrap_or(chain);
                s.execute(
                    "insert into verdict (device, at, passed, body, counters, chain) values (?1, ?2, ?3, ?4, ?5, ?6)",
                    values!["bank-a-1", at, at != 3, body, counters, told.map(|t| t.to_string())],
                )?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
        chain
    }

    #[test]
    fn a_chain_of_digests_becomes_a_log_and_the_ledgers_digest_still_counts() {
        let old = Db::Sqlite(Sqlite::in_memory().unwrap());
        let anchor = (UnixMillis(6), version_1(&old));
        let store = SupervisorStore::with(old).unwrap();
        let name = node("bank-a-1");
        let latest = store.latest(&name).unwrap().unwrap();
        assert_eq!((latest.at.0, latest.since.0, latest.passed), (6, 4, true));
        assert_eq!(store.check_history(&name, Some(anchor)).unwrap(), Ok(()));
        assert_eq!(store.check_history(&name, Some((latest.at, latest.head))).unwrap(), Ok(()));
        store.keep_verdict(&verdict("bank-a-1", 7, true, None), None).unwrap();
        assert_eq!(store.check_history(&name, Some(anchor)).unwrap(), Ok(()));
        let other = Some((UnixMillis(6), Hex([7; 32])));
        assert_eq!(store.check_history(&name, other).unwrap(), Err(Rewritten::Anchor(6)));
        // opened once more, nothing happens
        let Db::Sqlite(_) = store.db() else { panic!() };
        migrate(store.db()).unwrap();
        assert_eq!(store.latest(&name).unwrap().unwrap().at.0, 7);
    }

    #[test]
    fn version_2_gets_the_tables_of_people_and_keeps_the_rest() {
        let old = Db::Sqlite(Sqlite::in_memory().unwrap());
        version_1(&old);
        old.write(|s| {
            s.batch(LOG)?;
            verdict_log::grow(s)?;
            s.batch("create table schema_version (version {int} not null){end}; insert into schema_version values (2)")?;
            Ok::<_, StoreError>(())
        })
        .unwrap();
        let store = SupervisorStore::with(old).unwrap();
        assert_eq!((people_suite::told(&store, 7).n, store.proposals().unwrap().len()), (1, 0));
        assert_eq!(store.check_history(&node("bank-a-1"), None).unwrap(), Ok(()));
        migrate(store.db()).unwrap();
        assert_eq!(people_suite::whole(&store).n, 1);
    }

    #[test]
    fn what_was_rewritten_before_is_found_after() {
        let old = Db::Sqlite(Sqlite::in_memory().unwrap());
        version_1(&old);
        let body = text("verdict", &verdict("bank-a-1", 3, true, None)).unwrap();
        let sql = "update verdict set body = ?1 where at = 3";
        old.write(|s| s.execute(sql, values![body]).map(drop).map_err(StoreError::from)).unwrap();
        let store = SupervisorStore::with(old).unwrap();
        assert_eq!(store.check_history(&node("bank-a-1"), None).unwrap(), Err(Rewritten::Entry(3)));
    }

    #[test]
    fn a_file_of_before_the_chain_gets_the_columns_and_a_newer_one_is_refused() {
        let old = Db::Sqlite(Sqlite::in_memory().unwrap());
        old.write(|s| s.batch(&FIRST.replace(", evidence text, chain text", "")))
            .unwrap_or_else(|e: DbError| panic!("{e}"));
        let store = SupervisorStore::with(old).unwrap();
        store.keep_verdict(&verdict("bank-a-1", 1, true, None), None).unwrap();
        let newer = "update schema_version set version = 4";
        store.db().write(|s| s.execute(newer, &[]).map(drop)).unwrap_or_else(|e: DbError| panic!("{e}"));
        let refused = migrate(store.db()).unwrap_err().to_string();
        assert!(refused.contains("schema 4, this program knows 3"), "{refused}");
    }
}
