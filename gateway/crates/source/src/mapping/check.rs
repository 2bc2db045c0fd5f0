//! Does the mapping agree with the database? Asked at start, before the first query.

use super::{Conversion, Mapping, Query};
use crate::Problem;
use rusqlite::{Connection, Statement};

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// the source must not start with these
    pub problems: Vec<Problem>,
    /// worth knowing
    pub warnings: Vec<Problem>,
}

impl CheckReport {
    /// Nothing stands against starting.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Prepares every statement and looks at parameters, columns, declared types and the plan.
pub(crate) fn check_database(conn: &Connection, mapping: &Mapping) -> CheckReport {
    let mut report = CheckReport { problems: Vec::new(), warnings: mapping.warnings().to_vec() };
    for query in mapping.queries() {
        check_query(conn, query, &mut report);
    }
    report
}

fn check_query(conn: &Connection, query: &Query, report: &mut CheckReport) {
    let place = format!("line {}, query `{}`", query.line, query.name);
    let statement = match conn.prepare(&query.sql) {
        Ok(s) => s,
        Err(e) => {
            let remedy = "correct table, column or SQL; only reading is allowed, one statement each";
            report.problems.push(Problem::new(
                place,
                format!("the database refuses it: {}", sqlite_words(&e)),
                remedy,
            ));
            return;
        }
    };
    if !statement.readonly() || statement.is_explain() != 0 || statement.column_count() == 0 {
        report.problems.push(Problem::new(&place, "is not a SELECT", "a source only reads"));
        return;
    }
    let by_subject =
        statement.parameter_count() == 1 && matches!(statement.parameter_index(":subject"), Ok(Some(1)));
    if !by_subject {
        let what = "must have exactly one parameter, `:subject`";
        report.problems.push(Problem::new(
            &place,
            what,
            "add `WHERE … = :subject`, or remove other parameters",
        ));
    }
    check_columns(&statement, query, &place, report);
    if by_subject {
        check_plan(conn, query, &place, report);
    }
}

/// SQLite's words; they name tables and columns.
fn sqlite_words(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

fn check_columns(statement: &Statement<'_>, query: &Query, place: &str, report: &mut CheckReport) {
    let columns: Vec<_> = statement.columns().collect();
    let parts = query
        .items
        .iter()
        .map(|i| (format!("line {}, item `{}`", i.line, i.id), &i.column))
        .chain([(format!("{place}, as_of"), &query.as_of)])
        .chain(query.key.as_ref().map(|(c, _)| (format!("{place}, key"), c)));
    for (part, column) in parts {
        let found: Vec<_> = columns.iter().filter(|c| c.name().eq_ignore_ascii_case(&column.name)).collect();
        match found.as_slice() {
            [one] => check_type(&part, one.decl_type(), column.from, report),
            [] => {
                let names: Vec<_> = columns.iter().map(rusqlite::Column::name).take(40).collect();
                let what = format!("the query yields no column `{}`", column.name);
                report.problems.push(Problem::new(part, what, format!("it yields {}", names.join(", "))));
            }
            _ => {
                let what = format!("the query yields `{}` more than once", column.name);
                report.problems.push(Problem::new(part, what, "name the columns apart with AS"));
            }
        }
    }
}

/// Declared types are hints in SQLite, so a doubtful one is a warning; a BLOB never holds an item.
fn check_type(part: &str, declared: Option<&str>, from: Conversion, report: &mut CheckReport) {
    let Some(declared) = declared.map(str::to_uppercase) else { return };
    let has = |words: &[&str]| words.iter().any(|w| declared.contains(w));
    if has(&["BLOB"]) {
        let what = format!("declared {declared}; no item is binary");
        report.problems.push(Problem::new(part, what, "CAST it in the query"));
        return;
    }
    // SQLite's rules of affinity (datatype3 §3.1)
    let text = has(&["CHAR", "CLOB", "TEXT"]);
    let real = !text && has(&["REAL", "FLOA", "DOUB"]);
    let doubt = match from {
        Conversion::Text if !text => Some("text is expected; a number here is refused row by row"),
        Conversion::Fen | Conversion::Integer | Conversion::BasisPoints if real => {
            Some("whole numbers are expected; a fraction here is refused row by row")
        }
        Conversion::Yuan | Conversion::WanYuan if real => {
            Some("floating point carries 15 digits; a longer amount here is refused row by row")
        }
        Conversion::Date | Conversion::Code | Conversion::Year | Conversion::Month if real => {
            Some("text or a whole number is expected; floating point here is refused row by row")
        }
        _ => None,
    };
    if let Some(doubt) = doubt {
        let what = format!("declared {declared}: {doubt}");
        report.warnings.push(Problem::new(part, what, "change the column, `from`, or CAST in the query"));
    }
}

/// A query that reads a whole table for each question does not last beyond a demonstration.
fn check_plan(conn: &Connection, query: &Query, place: &str, report: &mut CheckReport) {
    let scans = || -> rusqlite::Result<Vec<String>> {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql))?;
        let lines = plan.query_map(&[(":subject", "")], |row| row.get::<_, String>("detail"))?;
        lines
            .filter(|l| l.as_ref().map_or(true, |l| l.starts_with("SCAN ") && l != "SCAN CONSTANT ROW"))
            .collect()
    };
    for scan in scans().unwrap_or_default() {
        let what = format!("reads a whole table for each question ({scan})");
        report.warnings.push(Problem::new(place, what, "add an index on the subject's column"));
    }
}
