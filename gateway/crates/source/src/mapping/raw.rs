//! The mapping file's own form, and the way from there to a checked mapping.

use super::{Column, Conversion, ItemColumn, MAX_QUERIES, Mapping, Query};
use crate::{
    Catalogue, Problem,
    catalogue::{ItemDef, KeyKind, Kind},
    file::{line_of, toml_problem},
};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    catalogue: Spanned<String>,
    #[serde(default)]
    query: Vec<Spanned<RawQuery>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuery {
    name: String,
    table: Option<String>,
    subject: Option<String>,
    sql: Option<String>,
    as_of: RawColumn,
    key: Option<RawColumn>,
    items: BTreeMap<String, Spanned<RawItem>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    column: String,
    from: Option<Conversion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItem {
    column: String,
    from: Option<Conversion>,
    #[serde(default)]
    codes: BTreeMap<String, String>,
    #[serde(default = "Nothing::absent")]
    null: Nothing,
    #[serde(default = "Nothing::refuse")]
    empty: Nothing,
}

/// What a cell that holds nothing means.
#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Nothing {
    Absent,
    Refuse,
}

impl Nothing {
    fn absent() -> Self {
        Self::Absent
    }
    fn refuse() -> Self {
        Self::Refuse
    }
}

/// Collects problems instead of stopping at the first.
struct Checker<'a> {
    text: &'a str,
    catalogue: &'a Catalogue,
    problems: Vec<Problem>,
    mapped: HashMap<String, String>,
}

pub(super) fn parse(text: &str, catalogue: &Catalogue) -> Result<Mapping, Vec<Problem>> {
    let file: File = toml::from_str(text).map_err(|e| vec![toml_problem(text, &e)])?;
    let mut c = Checker { text, catalogue, problems: Vec::new(), mapped: HashMap::new() };
    c.header(&file);
    let queries: Vec<Query> = file.query.into_iter().map(|q| c.query(q)).collect();
    c.names(&queries);
    if !c.problems.is_empty() {
        return Err(c.problems);
    }
    let warnings = c.unmapped();
    Ok(Mapping { catalogue: catalogue.clone(), queries, warnings })
}

impl Checker<'_> {
    fn line(&self, offset: usize) -> usize {
        line_of(self.text, offset)
    }
    fn wrong(&mut self, place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(place, what, remedy));
    }

    fn header(&mut self, file: &File) {
        if *file.version.get_ref() != 1 {
            let place = format!("line {}", self.line(file.version.span().start));
            self.wrong(place, "version of the file is not known", "write `version = 1`");
        }
        if file.catalogue.get_ref() != self.catalogue.version() {
            let place = format!("line {}", self.line(file.catalogue.span().start));
            let what =
                format!("written for another catalogue; this gateway has {}", self.catalogue.version());
            self.wrong(place, what, "compare the two catalogues, then change the version here");
        }
        if !(1..=MAX_QUERIES).contains(&file.query.len()) {
            let what = format!("{} queries; 1 to {MAX_QUERIES} are taken", file.query.len());
            self.wrong("file", what, "put items of one table into one [[query]]");
        }
    }

    fn names(&mut self, queries: &[Query]) {
        let mut seen = HashSet::new();
        for q in queries {
            if !seen.insert(q.name.as_str()) {
                self.wrong(
                    format!("line {}, query `{}`", q.line, q.name),
                    "a query of this name stands above",
                    "rename it",
                );
            }
        }
    }

    fn query(&mut self, spanned: Spanned<RawQuery>) -> Query {
        let line = self.line(spanned.span().start);
        let raw = spanned.into_inner();
        let place = format!("line {line}, query `{}`", raw.name);
        let plain = |s: &str| {
            (1..=64).contains(&s.len()) && s.chars().all(|c| c.is_alphanumeric() || "-_".contains(c))
        };
        if !plain(&raw.name) {
            self.wrong(&place, "the name is not 1 to 64 letters, digits, `-` or `_`", "rename it");
        }
        let sql = match statement(&raw) {
            Ok(sql) => sql,
            Err((what, remedy)) => {
                self.wrong(&place, what, remedy);
                String::new()
            }
        };
        let as_of = self.column(&place, "as_of", raw.as_of, Conversion::for_as_of());
        if raw.items.is_empty() {
            self.wrong(&place, "no items", "add a line under [query.items], or remove the query");
        }
        let key_column = raw.key;
        let mut items = Vec::new();
        let mut keys = HashSet::new();
        for (id, item) in raw.items {
            if let Some((item, key)) = self.item(&raw.name, id, item) {
                keys.insert(key);
                items.push(item);
            }
        }
        let key = self.key(&place, key_column, &keys);
        Query { name: raw.name, line, sql, as_of, key, items }
    }

    /// One key column for all items of a query, or none.
    fn key(
        &mut self,
        place: &str,
        column: Option<RawColumn>,
        kinds: &HashSet<Option<KeyKind>>,
    ) -> Option<(Column, KeyKind)> {
        let mut list: Vec<_> = kinds.iter().copied().collect();
        list.sort_by_key(|k| k.map(KeyKind::as_str));
        match (list.as_slice(), column) {
            ([] | [None], None) => None,
            ([], Some(_)) => None,
            ([None], Some(_)) => {
                self.wrong(place, "has a key, but its items occur once", "remove `key`");
                None
            }
            ([Some(kind)], None) => {
                let remedy = format!("add `key = {{ column = \"…\" }}` with the {}", kind.as_str());
                self.wrong(place, "its items occur more than once, but it has no key", remedy);
                None
            }
            ([Some(kind)], Some(column)) => {
                Some((self.column(place, "key", column, Conversion::for_key(*kind)), *kind))
            }
            (several, _) => {
                let names: Vec<_> = several.iter().map(|k| k.map_or("none", KeyKind::as_str)).collect();
                let what = format!("mixes items with different keys ({})", names.join(", "));
                self.wrong(place, what, "make one [[query]] for each kind of key");
                None
            }
        }
    }

    fn column(&mut self, place: &str, part: &str, raw: RawColumn, allowed: &[Conversion]) -> Column {
        let from = self.conversion(&format!("{place}, {part}"), raw.from, allowed, true);
        Column { name: raw.column, from }
    }

    fn conversion(
        &mut self,
        place: &str,
        from: Option<Conversion>,
        allowed: &[Conversion],
        has_default: bool,
    ) -> Conversion {
        let names = || allowed.iter().map(|c| format!("\"{}\"", c.as_str())).collect::<Vec<_>>().join(", ");
        let first = allowed.first().copied().unwrap_or(Conversion::Text);
        match from {
            None if has_default => first,
            None => {
                self.wrong(place, "its unit is not said", format!("set `from` to one of {}", names()));
                first
            }
            Some(c) if allowed.contains(&c) => c,
            Some(c) => {
                self.wrong(
                    place,
                    format!("cannot be read `from = \"{}\"`", c.as_str()),
                    format!("use one of {}", names()),
                );
                first
            }
        }
    }

    fn item(
        &mut self,
        query: &str,
        id: String,
        raw: Spanned<RawItem>,
    ) -> Option<(ItemColumn, Option<KeyKind>)> {
        let line = self.line(raw.span().start);
        let place = format!("line {line}, item `{id}`");
        let Some(def) = self.catalogue.item(&id) else {
            let remedy = match nearest(self.catalogue, &id) {
                Some(near) => format!("did you mean `{near}`? see `/v1/catalogue`"),
                None => "see `/v1/catalogue`, or load the extension that defines it".to_owned(),
            };
            self.wrong(place, "the catalogue has no such item", remedy);
            return None;
        };
        if let Some(other) = self.mapped.insert(id.clone(), query.to_owned()) {
            self.wrong(&place, format!("query `{other}` maps it too"), "map each item once; join in SQL");
        }
        let raw = raw.into_inner();
        let has_default = !matches!(def.kind, Kind::Money | Kind::Rate); // 1 what? a guess would be off by 100
        let from = self.conversion(&place, raw.from, Conversion::for_kind(def.kind), has_default);
        self.codes(&place, def, &raw.codes);
        let column = Column { name: raw.column, from };
        let item = ItemColumn {
            id,
            line,
            dimension: def.dimension,
            column,
            codes: raw.codes,
            refuse_null: raw.null == Nothing::Refuse,
            empty_is_absent: raw.empty == Nothing::Absent,
        };
        Some((item, def.key))
    }

    fn codes(&mut self, place: &str, def: &ItemDef, codes: &BTreeMap<String, String>) {
        if def.kind != Kind::Code && !codes.is_empty() {
            self.wrong(place, "only a code takes `codes`", "remove `codes`");
            return;
        }
        for (from, to) in codes {
            if def.code(to).is_none() {
                let all: Vec<_> = def.codes.iter().map(|c| c.code.as_str()).collect();
                let what = format!("`{from}` is mapped to `{to}`, which its enumeration lacks");
                self.wrong(place, what, format!("use one of {}", all.join(", ")));
            }
        }
    }

    fn unmapped(&self) -> Vec<Problem> {
        let missing = self.catalogue.items().iter().filter(|d| !self.mapped.contains_key(&d.id));
        missing
            .map(|d| {
                let what = format!("not mapped: this source never answers {} ({})", d.label.zh, d.label.en);
                Problem::new(format!("item `{}`", d.id), what, "map it if the database holds it")
            })
            .collect()
    }
}

/// The statement of a query: its own, or one made of table and columns.
fn statement(raw: &RawQuery) -> Result<String, (&'static str, &'static str)> {
    match (&raw.sql, &raw.table, &raw.subject) {
        (Some(sql), None, None) => Ok(sql.clone()),
        (None, Some(table), Some(subject)) => {
            let mut columns: Vec<&str> = raw.items.values().map(|i| i.get_ref().column.as_str()).collect();
            columns.push(&raw.as_of.column);
            columns.extend(raw.key.as_ref().map(|k| k.column.as_str()));
            columns.sort_unstable();
            columns.dedup();
            let list: Vec<_> = columns.iter().map(|c| format!("t.{0} AS {0}", quoted(c))).collect();
            let order =
                raw.key.as_ref().map(|k| format!(" ORDER BY t.{}", quoted(&k.column))).unwrap_or_default();
            Ok(format!(
                "SELECT {} FROM {} AS t WHERE t.{} = :subject{order}",
                list.join(", "),
                quoted(table),
                quoted(subject)
            ))
        }
        _ => Err(("says neither `sql` alone nor `table` with `subject`", "give one of the two forms")),
    }
}

/// An SQL identifier. Qualified by `t.` it can never be taken for a string, as SQLite does with unknown ones.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The id that a mistyped one is closest to, at most three letters away.
fn nearest<'c>(catalogue: &'c Catalogue, id: &str) -> Option<&'c str> {
    let all = catalogue.items().iter().map(|d| (distance(id, &d.id), d.id.as_str()));
    all.min().filter(|(d, _)| *d <= 3).map(|(_, id)| id)
}

/// How many letters to add, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        let mut next = vec![left];
        for (y, up) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            diagonal = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
