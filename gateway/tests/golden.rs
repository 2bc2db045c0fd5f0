//! Names that others build on: a rename is a diff that is reviewed. `INSTA_UPDATE=always` rewrites them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};
use xinguan::{api::operations, reject};

#[test]
fn problem_types() {
    let mut out = String::new();
    for p in reject::TABLE {
        let _ = writeln!(out, "{} {} {:?} repeat={}", p.type_uri(), p.status, p.side, p.may_retry);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn operations_and_who_may_call_them() {
    let mut out = String::new();
    for o in operations::TABLE {
        let _ = writeln!(out, "{} {} {} {:?}", o.listener.as_str(), o.method, o.path, o.who);
    }
    insta::assert_snapshot!(out);
}

/// Every metric of the program, found in its sources: what is not reached by a test has a name all the same.
#[test]
fn metric_names() {
    let mut names = BTreeSet::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut names);
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crates")), &mut names);
    assert!(names.iter().all(|n| n.contains(" xinguan_")), "{names:?}");
    insta::assert_snapshot!(names.into_iter().collect::<Vec<_>>().join("\n"));
}

fn read(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for kind in ["counter", "gauge", "histogram"] {
                for call in text.split(&format!("metrics::{kind}!(")).skip(1) {
                    let name = call.split('"').nth(1).unwrap();
                    names.insert(format!("{kind} {name}"));
                }
            }
        }
    }
}
