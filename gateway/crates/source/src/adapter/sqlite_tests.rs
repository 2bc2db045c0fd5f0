//! The SQLite adapter against real files: what it reads, refuses, stops, and never lets through.

use super::*;
use crate::{Catalogue, FakeSource, problem_list};
use gw_proto::{
    UnixMillis,
    clock::{FakeClock, SystemClock},
    report::Value,
};
use std::sync::atomic::{AtomicU64, Ordering};

const SUBJECT: &str = "91350100M000100Y43";

const MAPPING: &str = r#"
version = 1
catalogue = "2026.1"
[[query]]
name = "ent"
table = "ent"
subject = "uscc"
as_of = { column = "day" }
[query.items]
"basic.name" = { column = "name" }
"basic.registered-capital" = { column = "capital", from = "yuan" }
"basic.established" = { column = "born" }
"basic.status" = { column = "state", codes = { "1" = "active", "2" = "revoked" } }
[[query]]
name = "tax"
sql = "SELECT y, paid, rating FROM tax WHERE uscc = :subject"
key = { column = "y" }
as_of = { column = "y", from = "year-end" }
[query.items]
"tax.paid" = { column = "paid", from = "fen" }
"tax.rating" = { column = "rating" }
"#;

const TABLES: &str = "
PRAGMA synchronous = OFF;
CREATE TABLE ent (uscc TEXT, name, capital, born, state, day);
CREATE INDEX ent_i ON ent (uscc);
CREATE TABLE tax (uscc TEXT, y, paid, rating);
CREATE INDEX tax_i ON tax (uscc);
";

fn subject() -> Uscc {
    Uscc::parse(SUBJECT).unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<FakeClock>,
}

impl Bench {
    fn new(rows: &str) -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(FakeClock::at(UnixMillis(1_782_800_000_000))),
        };
        bench.fill(&bench.path(), &format!("{TABLES}{}", rows.replace("$S", &format!("'{SUBJECT}'"))));
        bench
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("source.db")
    }
    fn fill(&self, path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }
    fn options(&self) -> SqliteOptions {
        SqliteOptions { path: self.path(), connections: 2 }
    }
    fn open_with(&self, mapping: &str) -> Result<(SqliteSource, CheckReport), SourceError> {
        let mapping = Mapping::parse(mapping, &Catalogue::builtin()).unwrap();
        SqliteSource::open(self.options(), mapping, self.clock.clone())
    }
    fn open(&self) -> SqliteSource {
        self.open_with(MAPPING).unwrap().0
    }
    fn limits(&self) -> FetchLimits {
        FetchLimits::until(self.clock.instant() + Duration::from_secs(5))
    }
    fn ask(&self, source: &SqliteSource) -> Result<Snapshot, SourceError> {
        source.fetch(&subject(), &Dimension::ALL, &self.limits())
    }
}

const GOOD: &str = "
INSERT INTO ent VALUES ($S, '甲公司', '12.34', '2012年3月5日', '1', '2026-06-30 02:15:00');
INSERT INTO tax VALUES ($S, 2025, 300, 'A'), ($S, 2024, NULL, 'B'), ('other', 2025, 1, 'D');
";

#[test]
fn it_reads_the_subject_s_items_of_the_asked_dimensions_in_order() {
    let bench = Bench::new(GOOD);
    let source = bench.open();
    let snapshot = bench.ask(&source).unwrap();
    assert_eq!(snapshot.as_of, bench.clock.now());
    let got: Vec<_> = snapshot
        .items
        .iter()
        .map(|i| (i.id.as_str(), i.key.as_deref(), i.as_of.as_str(), i.value.clone()))
        .collect();
    let text = |s: &str| Value::Text(s.into());
    assert_eq!(
        got,
        [
            ("basic.name", None, "2026-06-30", text("甲公司")),
            ("basic.status", None, "2026-06-30", Value::Code("active".into())),
            ("basic.established", None, "2026-06-30", Value::Date("2012-03-05".into())),
            ("basic.registered-capital", None, "2026-06-30", Value::Money(1234)),
            ("tax.rating", Some("2024"), "2024-12-31", Value::Code("B".into())),
            ("tax.rating", Some("2025"), "2025-12-31", Value::Code("A".into())),
            ("tax.paid", Some("2025"), "2025-12-31", Value::Money(300)),
        ]
    );
    let basic = source.fetch(&subject(), &[Dimension::Basic], &bench.limits()).unwrap();
    assert_eq!(basic.items.len(), 4);
    assert_eq!(source.fetch(&subject(), &[], &bench.limits()).unwrap().items, []);
    assert_eq!(source.fetch(&subject(), &[Dimension::Legal], &bench.limits()).unwrap().items, []);
    let stranger = Uscc::parse("91330106MA2CCCCC4K").or_else(|_| {
        let first: &[u8; 17] = b"91330106MA2CCCCC4";
        let last = char::from(gw_proto::uscc::check_character(first).unwrap());
        Uscc::parse(&format!("91330106MA2CCCCC4{last}"))
    });
    assert_eq!(source.fetch(&stranger.unwrap(), &Dimension::ALL, &bench.limits()).unwrap().items, []);
}

#[test]
fn bad_data_is_named_by_query_row_and_item_without_value_or_subject() {
    let cases = [
        (
            "UPDATE ent SET capital = '12.345'",
            "query `ent`, row 1, basic.registered-capital: more than 2 decimals",
        ),
        ("UPDATE ent SET capital = -1", "query `ent`, row 1: `basic.registered-capital` lies outside 0 to"),
        ("UPDATE ent SET name = ''", "query `ent`, row 1, basic.name: an empty text"),
        ("UPDATE ent SET name = x'ff'", "query `ent`, row 1, basic.name: a BLOB where text must stand"),
        ("UPDATE ent SET name = CAST(x'ff' AS TEXT)", "basic.name: a text that is not UTF-8"),
        ("UPDATE ent SET name = char(8238) || 'x'", "`basic.name` has a control or direction character"),
        ("UPDATE ent SET born = '2012-02-30'", "basic.established: not a date of the calendar"),
        ("UPDATE ent SET state = '9'", "basic.status: a code that `codes` does not map"),
        ("UPDATE ent SET day = NULL", "query `ent`, row 1, as_of: NULL where a value must stand"),
        ("UPDATE tax SET y = NULL WHERE y = 2025", "query `tax`, row 1, as_of: NULL"),
        (
            "UPDATE tax SET rating = 'E'",
            "query `tax`, row 1: `tax.rating` has a code that its enumeration lacks",
        ),
        ("UPDATE tax SET y = 2025", "query `tax`, row 2: `tax.rating` stands there twice with the same key"),
        ("INSERT INTO ent SELECT * FROM ent", "query `ent`, row 2: `basic.established` stands there twice"),
        ("DROP TABLE tax", "query `tax` failed"),
    ];
    for (sql, expected) in cases {
        let bench = Bench::new(GOOD);
        let source = bench.open();
        bench.fill(&bench.path(), sql);
        let error = bench.ask(&source).unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(c) = cause {
            text = format!("{text}: {c}");
            cause = c.source();
        }
        assert!(text.contains(expected), "{sql}\nexpected {expected}\nfound {text}");
        assert!(!text.contains(SUBJECT) && !text.contains("甲公司"), "{text}");
        assert!(!format!("{error:?}").contains(SUBJECT));
    }
}

#[test]
fn a_mapping_that_does_not_fit_the_database_stops_the_start_with_all_problems() {
    let bench = Bench::new(GOOD);
    let mapping = MAPPING.replace("column = \"capital\"", "column = \"kapital\"").replace(
        "SELECT y, paid, rating FROM tax WHERE uscc = :subject",
        "SELECT y, rating FROM tax WHERE uscc = :who",
    );
    let error = bench.open_with(&mapping).unwrap_err().to_string();
    for expected in [
        "the mapping has 3 problem(s)",
        "line 4, query `ent`: the database refuses it: no such column: t.kapital",
        "query `tax`: must have exactly one parameter, `:subject`",
        "item `tax.paid`: the query yields no column `paid` (it yields y, rating)",
    ] {
        assert!(error.contains(expected), "{expected}\nin\n{error}");
    }
}

#[test]
fn only_one_select_with_one_parameter_gets_through() {
    let bench = Bench::new(GOOD);
    let sql = "SELECT y, paid, rating FROM tax WHERE uscc = :subject";
    let cases = [
        ("DELETE FROM tax WHERE uscc = :subject RETURNING y, paid, rating", "not authorized"),
        ("SELECT y, paid, rating FROM tax WHERE uscc = :subject; DROP TABLE tax", "not authorized"),
        ("SELECT y, paid, rating FROM tax WHERE uscc = :subject; SELECT 1", "Multiple statements"),
        ("ATTACH 'other.db' AS o", "not authorized"),
        ("PRAGMA query_only = OFF", "not authorized"),
        ("SELECT y, paid, rating, load_extension('x') FROM tax WHERE uscc = :subject", "query `tax`"),
        ("SELECT * FROM pragma_table_info('tax') WHERE name = :subject", "query `tax`"),
        ("BEGIN", "is not a SELECT"),
        ("EXPLAIN SELECT y, paid, rating FROM tax WHERE uscc = :subject", "is not a SELECT"),
        ("SELECT y, paid, rating FROM tax WHERE uscc = :subject OR uscc = :other", "exactly one parameter"),
        ("SELECT y, paid, rating FROM tax", "exactly one parameter"),
        ("SELECT y, paid, rating FROM tax WHERE uscc = ?", "exactly one parameter"),
        ("SELECT y, paid, rating, rating FROM tax WHERE uscc = :subject", "yields `rating` more than once"),
        ("SELECT y, paid, 'x' AS rating FROM tax WHERE \"usc\" = :subject", "no such column"),
        ("", "query `tax`"),
    ];
    for (to, expected) in cases {
        let text = MAPPING.replace(sql, &to.replace('"', "\\\""));
        match bench.open_with(&text) {
            Ok(_) => panic!("{to} got through"),
            Err(e) => {
                let list = e.to_string();
                assert!(list.contains(expected), "{to}\nexpected {expected}\nfound {list}");
            }
        }
    }
    let raw = Handle::open(&bench.path(), &(bench.clock.clone() as Arc<dyn Clock>)).unwrap();
    assert!(raw.conn.execute("DELETE FROM tax", []).is_err(), "even past the check nothing is written");
}

#[test]
fn doubtful_types_and_whole_table_reads_are_warnings() {
    let bench = Bench::new(GOOD);
    bench.fill(
        &bench.path(),
        "DROP TABLE tax; CREATE TABLE tax (uscc TEXT, y INTEGER, paid DOUBLE, rating INTEGER);",
    );
    let (_, report) = bench.open_with(MAPPING).unwrap();
    let list = problem_list(&report.warnings);
    assert!(list.contains("item `tax.paid`: declared DOUBLE: whole numbers are expected"), "{list}");
    assert!(list.contains("query `tax`: reads a whole table for each question (SCAN tax)"), "{list}");
    assert!(list.contains("item `legal.penalty`: not mapped"), "{list}");
    bench.fill(
        &bench.path(),
        "DROP TABLE tax; CREATE TABLE tax (uscc TEXT, y INTEGER, paid BLOB, rating TEXT);",
    );
    let error = bench.open_with(MAPPING).unwrap_err().to_string();
    assert!(error.contains("item `tax.paid`: declared BLOB; no item is binary"), "{error}");
}

/// Each look at the clock is a millisecond later: time passes by work, not by waiting.
struct Ticking(FakeClock, AtomicU64);
impl Clock for Ticking {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }
    fn instant(&self) -> Instant {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.advance(Duration::from_millis(1));
        self.0.instant()
    }
}

#[test]
fn a_runaway_query_is_stopped_at_the_deadline_and_the_connection_lives() {
    let bench = Bench::new(GOOD);
    let clock = Arc::new(Ticking(FakeClock::at(UnixMillis(1)), AtomicU64::new(0)));
    // counts for ever, but only where the subject's own name says so
    let runaway = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) \
                   SELECT y, (SELECT max(n) FROM c WHERE paid >= 0) AS paid, rating FROM tax WHERE uscc = :subject";
    let text = MAPPING.replace("SELECT y, paid, rating FROM tax WHERE uscc = :subject", runaway);
    let mapping = Mapping::parse(&text, &Catalogue::builtin()).unwrap();
    let (source, _) = SqliteSource::open(bench.options(), mapping, clock.clone()).unwrap();
    let limits = FetchLimits::until(clock.instant() + Duration::from_millis(200));
    let error = source.fetch(&subject(), &Dimension::ALL, &limits).unwrap_err();
    assert!(matches!(&error, SourceError::Deadline { place } if place == "query `tax`"), "{error:?}");
    assert!(clock.1.load(Ordering::SeqCst) >= 200, "it was stopped by the clock");
    let limits = FetchLimits::until(clock.instant() + Duration::from_millis(200));
    let basic = source.fetch(&subject(), &[Dimension::Basic], &limits).unwrap();
    assert_eq!(basic.items.len(), 4, "the connection answers the next question");
    assert!(error.may_retry());
}

#[test]
fn a_passed_deadline_and_too_much_are_refused() {
    let bench = Bench::new(GOOD);
    let source = bench.open();
    let ask = |limits: FetchLimits| source.fetch(&subject(), &Dimension::ALL, &limits);
    let passed = FetchLimits { deadline: bench.clock.instant(), ..bench.limits() };
    assert!(matches!(ask(passed), Err(SourceError::Deadline { .. })));
    let all = bench.limits();
    assert_eq!(ask(FetchLimits { max_items: 7, max_rows: 2, ..all }).unwrap().items.len(), 7);
    let few = ask(FetchLimits { max_items: 6, ..all });
    assert!(matches!(few, Err(SourceError::TooMuch { unit: "items", limit: 6, .. })));
    assert!(matches!(
        ask(FetchLimits { max_rows: 1, ..all }),
        Err(SourceError::TooMuch { unit: "rows", .. })
    ));
    assert!(matches!(
        ask(FetchLimits { max_bytes: 300, ..all }),
        Err(SourceError::TooMuch { unit: "bytes", .. })
    ));
}

#[test]
fn connections_are_bounded_and_given_back() {
    let bench = Bench::new(GOOD);
    let source = bench.open();
    let (first, second) = (source.lend().unwrap(), source.lend().unwrap());
    assert!(matches!(bench.ask(&source), Err(SourceError::Busy { limit: 2 })));
    drop(first);
    assert_eq!(bench.ask(&source).unwrap().items.len(), 7);
    drop(second);
    assert_eq!(source.pool.lock().unwrap().idle.len(), 2);
    assert_eq!(source.pool.lock().unwrap().lent, 0);
}

#[test]
fn a_replaced_file_is_read_from_the_next_question_on() {
    let bench = Bench::new(GOOD);
    let source = bench.open();
    assert_eq!(bench.ask(&source).unwrap().items.len(), 7);
    let new = bench.dir.path().join("new.db");
    bench.fill(
        &new,
        &format!("{TABLES} INSERT INTO ent VALUES ('{SUBJECT}', '乙', 1, '20200101', 2, '20260701')"),
    );
    std::fs::rename(&new, bench.path()).unwrap();
    assert_eq!(bench.ask(&source).unwrap().items.len(), 4);
    std::fs::remove_file(bench.path()).unwrap();
    assert!(matches!(bench.ask(&source), Err(SourceError::File { .. })));
    assert_eq!(source.pool.lock().unwrap().lent, 0, "a failed opening gives its place back");
}

#[test]
fn what_is_no_database_is_refused_with_its_path() {
    let bench = Bench::new(GOOD);
    std::fs::write(bench.path(), "this is not a database, it only lies where one should lie").unwrap();
    assert!(matches!(bench.open_with(MAPPING), Err(SourceError::Open { .. })));
    std::fs::remove_file(bench.path()).unwrap();
    let error = bench.open_with(MAPPING).unwrap_err().to_string();
    assert!(error.contains("source.db"), "{error}");
    assert!(!bench.path().exists(), "opening does not make a file");
}

/// What every adapter promises, the fake included.
fn conforms(source: &dyn SourceAdapter, known: &Uscc, unknown: &Uscc, limits: FetchLimits, now: Instant) {
    let catalogue = Catalogue::builtin();
    let all = source.fetch(known, &Dimension::ALL, &limits).unwrap().items;
    assert!(!all.is_empty());
    assert_eq!(catalogue.validate_all(&all), []);
    assert!(all.is_sorted_by_key(|i| (catalogue.position(&i.id), i.key.clone())));
    for d in Dimension::ALL {
        let expected: Vec<_> = all.iter().filter(|i| i.dimension == d).cloned().collect();
        assert_eq!(source.fetch(known, &[d], &limits).unwrap().items, expected);
    }
    assert_eq!(source.fetch(unknown, &Dimension::ALL, &limits).unwrap().items, []);
    let few = FetchLimits { max_items: all.len() - 1, ..limits };
    assert!(matches!(source.fetch(known, &Dimension::ALL, &few), Err(SourceError::TooMuch { .. })));
    let passed = FetchLimits { deadline: now, ..limits };
    assert!(matches!(source.fetch(known, &Dimension::ALL, &passed), Err(SourceError::Deadline { .. })));
    assert!(source.check().unwrap().is_ok());
}

#[test]
fn sqlite_and_the_fake_keep_the_same_promises() {
    let bench = Bench::new(GOOD);
    let source = bench.open();
    let unknown = crate::generate::uscc_of(1, gw_proto::Region::parse("330100").unwrap(), 0).unwrap();
    let now = bench.clock.instant();
    conforms(&source, &subject(), &unknown, bench.limits(), now);
    let fake = FakeSource::new(bench.clock.clone());
    let mut items = bench.ask(&source).unwrap().items;
    items.reverse();
    fake.put(subject(), items);
    conforms(&fake, &subject(), &unknown, bench.limits(), now);
    fake.fail_next(SourceError::Busy { limit: 1 });
    assert!(matches!(fake.fetch(&subject(), &[], &bench.limits()), Err(SourceError::Busy { .. })));
    assert!(fake.fetch(&subject(), &[], &bench.limits()).is_ok());
}

/// A subject is a checked code: nothing else can be asked, so nothing can be smuggled in.
#[test]
fn a_subject_that_could_be_sql_is_not_a_subject() {
    for s in [
        "' OR 1=1 --",
        "91350100M000100Y4'",
        "x'; DROP TABLE ent;",
        "%%%%%%%%%%%%%%%%%%",
        "91350100M000100Y43 ",
    ] {
        assert!(Uscc::parse(s).is_err(), "{s}");
    }
}

#[test]
fn readers_do_not_wait_for_a_wal_writer() {
    let bench = Bench::new(GOOD);
    let writer = Connection::open(bench.path()).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    let source = bench.open();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM tax").unwrap();
    let clock = SystemClock;
    let limits = FetchLimits::until(clock.instant() + Duration::from_secs(60));
    assert_eq!(source.fetch(&subject(), &Dimension::ALL, &limits).unwrap().items.len(), 7, "the old state");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(source.fetch(&subject(), &Dimension::ALL, &limits).unwrap().items.len(), 4, "the new state");
}

mod anything {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::types::Value as Sql;

    fn cell() -> impl Strategy<Value = Sql> {
        prop_oneof![
            3 => Just(Sql::Null),
            2 => any::<i64>().prop_map(Sql::Integer),
            2 => (0i64..3).prop_map(Sql::Integer),
            2 => (1990i64..2030).prop_map(Sql::Integer),
            2 => any::<f64>().prop_map(Sql::Real),
            2 => "[0-9]{1,6}(\\.[0-9]{1,3})?".prop_map(Sql::Text),
            2 => "[12][0-9]{3}-[01][0-9]-[0-3][0-9]".prop_map(Sql::Text),
            2 => "[ABMCD12]".prop_map(Sql::Text),
            1 => "\\PC{0,20}".prop_map(Sql::Text),
            1 => ".{0,20}".prop_map(Sql::Text),
            1 => proptest::collection::vec(any::<u8>(), 0..8).prop_map(Sql::Blob),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Either all that is not NULL comes out as valid items, or an error says exactly where it stands.
        #[test]
        fn whatever_stands_there_is_given_whole_or_named(
            ent in proptest::option::of(proptest::array::uniform5(cell())),
            tax in proptest::collection::vec(proptest::array::uniform3(cell()), 0..4),
        ) {
            let bench = Bench::new("");
            let db = Connection::open(bench.path()).unwrap();
            db.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
            let mut present = 0;
            if let Some([name, capital, born, state, day]) = &ent {
                present += [name, capital, born, state].iter().filter(|v| ***v != Sql::Null).count();
                db.execute(
                    "INSERT INTO ent VALUES (?,?,?,?,?,?)",
                    rusqlite::params![SUBJECT, name, capital, born, state, day],
                ).unwrap();
            }
            for [y, paid, rating] in &tax {
                present += [paid, rating].iter().filter(|v| ***v != Sql::Null).count();
                db.execute("INSERT INTO tax VALUES (?,?,?,?)", rusqlite::params![SUBJECT, y, paid, rating]).unwrap();
            }
            db.execute_batch("COMMIT").unwrap();
            match bench.ask(&bench.open()) {
                Ok(snapshot) => {
                    prop_assert_eq!(snapshot.items.len(), present, "nothing is dropped");
                    prop_assert_eq!(Catalogue::builtin().validate_all(&snapshot.items), []);
                }
                Err(SourceError::Value { query, row, .. } | SourceError::Item { query, row, .. }) => {
                    let rows = if query == "ent" { usize::from(ent.is_some()) } else { tax.len() };
                    prop_assert!((1..=rows).contains(&row));
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
