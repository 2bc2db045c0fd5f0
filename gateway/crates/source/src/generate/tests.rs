//! The generated data: valid, the same for the same seed, and all of it readable by the shipped mapping.

use super::*;
use crate::{
    Catalogue, FetchLimits, Mapping, SourceAdapter, SqliteOptions, SqliteSource, catalogue::KeyKind,
};
use gw_proto::{Clock, Dimension, UnixMillis, clock::FakeClock, report::Item};
use std::{collections::HashSet, sync::Arc, time::Duration};

fn region(s: &str) -> Region {
    Region::parse(s).unwrap()
}

fn spec(home: &str, guest: &str) -> DatabaseSpec {
    DatabaseSpec {
        seed: 42,
        region: region(home),
        enterprises: 300,
        guests_of: vec![region(guest)],
        guests: 20,
    }
}

fn open(dir: &Path, spec: &DatabaseSpec) -> (SqliteSource, FetchLimits) {
    let path = dir.join(format!("{}.db", spec.region));
    generate_database(&path, spec).unwrap();
    let mapping = Mapping::parse(EXAMPLE_MAPPING, &Catalogue::builtin()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(FakeClock::at(UnixMillis(1_782_800_000_000)));
    let limits = FetchLimits::until(clock.instant() + Duration::from_secs(60));
    let (source, report) =
        SqliteSource::open(SqliteOptions { path, connections: 2 }, mapping, clock).unwrap();
    assert_eq!(report.warnings, [], "the example maps everything, by indexes, without doubt");
    (source, limits)
}

#[test]
fn codes_are_valid_distinct_and_of_their_region() {
    let mut seen = HashSet::new();
    for r in ["320500", "330100", "340100"] {
        for e in enterprise_list(7, region(r), 10_000) {
            let code = e.uscc.expose().to_owned();
            assert!(Uscc::parse(&code).is_ok());
            assert_eq!(&code[..2], "91");
            assert_eq!(&code[2..8], r);
            assert_eq!(code[16..17].chars().next(), names::organization_check(&code[8..16]));
            assert!(seen.insert(code));
        }
    }
    assert_eq!(seen.len(), 30_000);
    assert_eq!(names::organization_check("D2143569"), Some('X'), "GB 11714's example D2143569-X");
}

#[test]
fn names_do_not_repeat_within_a_region() {
    let names: HashSet<_> =
        enterprise_list(7, region("330100"), 10_000).into_iter().map(|e| e.name).collect();
    assert_eq!(names.len(), 10_000);
    assert!(names.iter().all(|n| n.starts_with("杭州") && n.ends_with("有限公司")));
}

#[test]
fn every_enterprise_yields_valid_items_of_all_dimensions() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("330100", "340100");
    let (source, limits) = open(dir.path(), &spec);
    let catalogue = Catalogue::builtin();
    let mut ids = HashSet::new();
    let all = spec.enterprises();
    assert_eq!(all.len(), 300);
    for e in &all {
        let snapshot = source.fetch(&e.uscc, &Dimension::ALL, &limits).unwrap();
        assert_eq!(catalogue.validate_all(&snapshot.items), []);
        assert!(snapshot.items.is_sorted_by_key(|i| catalogue.position(&i.id)));
        let months = snapshot.items.iter().filter(|i| i.id == "utility.electricity").count();
        assert_eq!(months, 12);
        ids.extend(snapshot.items.into_iter().map(|i| i.id));
    }
    assert_eq!(ids.len(), 26, "all items occur somewhere");
}

#[test]
fn the_items_of_a_database_follow_the_json_schema() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("340100", "330100");
    let (source, limits) = open(dir.path(), &spec);
    let schema = jsonschema::validator_for(&Catalogue::builtin().items_schema()).unwrap();
    for e in spec.enterprises().iter().take(40) {
        let items = source.fetch(&e.uscc, &Dimension::ALL, &limits).unwrap().items;
        let json = serde_json::to_value(&items).unwrap();
        if let Err(e) = schema.validate(&json) {
            panic!("{e}");
        }
    }
}

#[test]
fn a_shared_enterprise_is_found_at_both_with_agreement_and_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let (a, limits) = open(dir.path(), &spec("330100", "340100"));
    let (b, _) = open(dir.path(), &spec("340100", "330100"));
    let pick = |items: &[Item], id: &str| items.iter().filter(|i| i.id == id).cloned().collect::<Vec<_>>();
    let mut conflicts = 0;
    for e in shared_enterprises(42, region("330100"), region("340100"), 20) {
        let at_a = a.fetch(&e.uscc, &Dimension::ALL, &limits).unwrap().items;
        let at_b = b.fetch(&e.uscc, &Dimension::ALL, &limits).unwrap().items;
        assert!(!at_a.is_empty() && !at_b.is_empty());
        for id in ["basic.name", "basic.established", "operation.revenue", "tax.paid"] {
            assert_eq!(pick(&at_a, id), pick(&at_b, id), "{id}");
        }
        conflicts += usize::from(pick(&at_a, "operation.employees") != pick(&at_b, "operation.employees"));
    }
    assert!(conflicts > 10, "{conflicts}");
    // one that is not shared
    let own = &spec("330100", "340100").enterprises()[100];
    assert_eq!(b.fetch(&own.uscc, &Dimension::ALL, &limits).unwrap().items, []);
}

#[test]
fn the_same_seed_gives_the_same_data_and_a_file_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("330100", "340100");
    let paths = [dir.path().join("1.db"), dir.path().join("2.db")];
    for p in &paths {
        generate_database(p, &spec).unwrap();
    }
    assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
    assert!(matches!(generate_database(&paths[0], &spec), Err(SourceError::File { .. })));
    let other = dir.path().join("3.db");
    generate_database(&other, &DatabaseSpec { seed: 43, ..spec }).unwrap();
    assert_ne!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&other).unwrap());
}

#[test]
fn the_example_maps_every_item_with_the_right_kind_of_key() {
    let mapping = Mapping::parse(EXAMPLE_MAPPING, &Catalogue::builtin()).unwrap();
    assert_eq!(mapping.warnings(), []);
    let keys: Vec<_> = mapping.queries().iter().filter_map(|q| q.key.as_ref().map(|k| k.1)).collect();
    for kind in [KeyKind::Year, KeyKind::Month, KeyKind::Reference] {
        assert!(keys.contains(&kind));
    }
}

#[test]
fn a_database_of_the_demo_s_size_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.db");
    let spec = DatabaseSpec { enterprises: 10_000, guests: 500, ..spec("330100", "340100") };
    generate_database(&path, &spec).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(DISTINCT uscc) FROM ent_registration"), 10_000);
    assert_eq!(count("SELECT count(*) FROM ent_registration WHERE uscc LIKE '91340100%'"), 500);
    assert_eq!(count("SELECT count(*) FROM power_usage"), 120_000);
}
