//! An institution's own items, from a TOML file, all problems listed at once.
//!
//! ```toml
//! version = 1
//!
//! [[item]]
//! id = "operation.x-order-backlog"          # dimension.x-name: others can tell that it is not common
//! label = { zh = "在手订单金额", en = "order backlog" }
//! description = { zh = "年末未交付订单金额", en = "orders not yet delivered at the end of the year" }
//! kind = "money"                            # text integer money rate date code
//! grade = 3                                 # 1 to 4, JR/T 0197-2020
//! key = "year"                              # year month reference; leave out if it occurs once
//! min = 0
//! ```

use super::{Catalogue, CodeDef, Grade, ItemDef, KeyKind, Kind, Label};
use crate::{
    Problem, SourceError,
    file::{line_of, read_bounded, toml_problem},
};
use gw_proto::{Dimension, canon::MAX_SAFE_INTEGER};
use serde::Deserialize;
use std::path::Path;

/// The most bytes of an extension file.
pub const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The most items of an extension.
pub const MAX_EXTRA_ITEMS: usize = 64;
/// The most codes of one enumeration.
pub const MAX_CODES: usize = 256;
/// The most bytes of a text (gw_proto's bound).
pub const MAX_TEXT_BYTES: usize = 1000;
/// The most bytes of a label or description.
pub const MAX_LABEL_BYTES: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: toml::Spanned<u32>,
    #[serde(default)]
    item: Vec<toml::Spanned<RawItem>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItem {
    id: String,
    label: Label,
    description: Label,
    kind: Kind,
    grade: u8,
    key: Option<KeyKind>,
    unit: Option<Label>,
    min: Option<i64>,
    max: Option<i64>,
    max_bytes: Option<u32>,
    #[serde(default)]
    codes: Vec<CodeDef>,
}

impl Catalogue {
    /// The common part and an institution's own items.
    pub fn load_extended(path: &Path) -> Result<Self, SourceError> {
        let text = read_bounded(path, MAX_FILE_BYTES)?;
        Self::builtin().extended(&text).map_err(|problems| SourceError::Extension { problems })
    }

    /// This catalogue and the items of an extension's text; or everything that is wrong with it.
    pub fn extended(self, text: &str) -> Result<Self, Vec<Problem>> {
        let file: File = toml::from_str(text).map_err(|e| vec![toml_problem(text, &e)])?;
        let mut problems = Vec::new();
        if *file.version.get_ref() != 1 {
            problems.push(Problem::new(
                format!("line {}", line_of(text, file.version.span().start)),
                "version of the file is not known",
                "write `version = 1`",
            ));
        }
        if file.item.len() > MAX_EXTRA_ITEMS {
            problems.push(Problem::new(
                "extension",
                format!("{} items, at most {MAX_EXTRA_ITEMS} are taken", file.item.len()),
                "leave out what no report needs",
            ));
        }
        let mut document = self.document.clone();
        for raw in file.item {
            let place = format!("line {}", line_of(text, raw.span().start));
            match define(raw.into_inner()) {
                Ok(def) => {
                    let mut found = definition_problems(&def);
                    if !def.is_extension() {
                        found.push((
                            "own items are named `dimension.x-name`".into(),
                            "put `x-` after the dot".into(),
                        ));
                    }
                    if document.items.iter().any(|d| d.id == def.id) {
                        found.push(("this id stands there already".into(), "give it another name".into()));
                    }
                    let place = format!("{place}, item `{}`", def.id);
                    problems
                        .extend(found.into_iter().map(|(what, remedy)| Problem::new(&place, what, remedy)));
                    document.items.push(def);
                }
                Err((what, remedy)) => problems.push(Problem::new(place, what, remedy)),
            }
        }
        // a report goes by dimensions; within one, common items first
        document.items.sort_by_key(|d| d.dimension);
        if problems.is_empty() { Ok(Self::indexed(document)) } else { Err(problems) }
    }
}

fn define(raw: RawItem) -> Result<ItemDef, (String, String)> {
    let dimension = raw
        .id
        .split_once('.')
        .and_then(|(d, _)| Dimension::ALL.into_iter().find(|x| x.as_str() == d))
        .ok_or_else(|| {
            let all = Dimension::ALL.map(Dimension::as_str).join(", ");
            (
                "the id does not begin with a dimension and a dot".to_owned(),
                format!("begin it with one of {all}"),
            )
        })?;
    let grade = Grade::try_from(raw.grade).map_err(|e| (e, "set `grade`".to_owned()))?;
    Ok(ItemDef {
        id: raw.id,
        dimension,
        label: raw.label,
        kind: raw.kind,
        grade,
        key: raw.key,
        unit: raw.unit,
        min: raw.min,
        max: raw.max,
        max_bytes: raw.max_bytes,
        codes: raw.codes,
        description: raw.description,
    })
}

/// What is wrong with a definition by itself: (what, remedy).
pub(super) fn definition_problems(def: &ItemDef) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut wrong = |bad: bool, what: &str, remedy: &str| {
        if bad {
            out.push((what.to_owned(), remedy.to_owned()));
        }
    };
    let name = def.id.split_once('.').map_or("", |(_, n)| n);
    wrong(!is_name(name), "the name is not 2 to 40 of a-z, 0-9 and single hyphens", "rename it");
    let labels = [Some(&def.label), Some(&def.description), def.unit.as_ref()];
    let codes = def.codes.iter().map(|c| Some(&c.label));
    let bad_label =
        labels.into_iter().chain(codes).flatten().flat_map(|l| [&l.zh, &l.en]).any(|t| !is_label(t));
    wrong(
        bad_label,
        "a label is empty, longer than 300 bytes or not printable",
        "write it in both languages",
    );

    let number = matches!(def.kind, Kind::Integer | Kind::Money | Kind::Rate);
    wrong(
        !number && (def.min.is_some() || def.max.is_some()),
        "only a number has bounds",
        "remove `min` and `max`",
    );
    let (min, max) = def.bounds();
    wrong(min > max, "`min` lies above `max`", "swap them");
    let beyond = [min, max].iter().any(|n| n.unsigned_abs() > MAX_SAFE_INTEGER.unsigned_abs());
    wrong(beyond, "a bound lies beyond ±(2^53 − 1)", "canonical JSON carries no larger number: lower it");
    wrong(def.kind != Kind::Integer && def.unit.is_some(), "only an integer has a unit", "remove `unit`");
    wrong(def.kind != Kind::Text && def.max_bytes.is_some(), "only a text has `max_bytes`", "remove it");
    let limit = def.text_limit();
    wrong(!(1..=MAX_TEXT_BYTES).contains(&limit), "`max_bytes` lies outside 1 to 1,000", "set it within");
    wrong(
        def.kind != Kind::Code && !def.codes.is_empty(),
        "only a code has an enumeration",
        "remove `codes`",
    );
    let count = def.codes.len();
    wrong(
        def.kind == Kind::Code && !(1..=MAX_CODES).contains(&count),
        "a code has 1 to 256 codes",
        "set `codes`",
    );
    wrong(
        def.codes.iter().any(|c| !is_code(&c.code)),
        "a code is not 1 to 32 of A-Z, a-z, 0-9, hyphen",
        "rename it",
    );
    let unique: std::collections::HashSet<_> = def.codes.iter().map(|c| &c.code).collect();
    wrong(unique.len() != count, "a code stands there twice", "remove one");
    out
}

fn is_name(s: &str) -> bool {
    (2..=40).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && !s.ends_with('-')
        && !s.contains("--")
}

fn is_label(s: &str) -> bool {
    !s.trim().is_empty() && s.len() <= MAX_LABEL_BYTES && !s.chars().any(super::validate::is_unprintable)
}

fn is_code(s: &str) -> bool {
    (1..=32).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::report::{Item, Value};

    const GOOD: &str = r#"
version = 1
[[item]]
id = "operation.x-order-backlog"
label = { zh = "在手订单金额", en = "order backlog" }
description = { zh = "年末未交付订单金额", en = "orders not yet delivered" }
kind = "money"
grade = 3
key = "year"
min = 0
[[item]]
id = "basic.x-park"
label = { zh = "所在园区", en = "industrial park" }
description = { zh = "所在园区", en = "which park" }
kind = "code"
grade = 1
codes = [{ code = "SIP", label = { zh = "苏州工业园区", en = "Suzhou Industrial Park" } }]
"#;

    #[test]
    fn extras_stand_behind_the_common_items_of_their_dimension() {
        let c = Catalogue::builtin().extended(GOOD).unwrap();
        assert_eq!(c.items().len(), 28);
        assert!(c.items().is_sorted_by_key(|d| d.dimension));
        assert_eq!(c.version(), super::super::VERSION, "the version names the common part");
        assert_ne!(c.digest().unwrap(), Catalogue::builtin().digest().unwrap());
        let (park, industry) = (c.position("basic.x-park").unwrap(), c.position("basic.industry").unwrap());
        assert_eq!(park, industry + 1);
        let item = Item {
            id: "operation.x-order-backlog".into(),
            dimension: Dimension::Operation,
            value: Value::Money(-1),
            as_of: "2026-01-01".into(),
            key: Some("2025".into()),
            disputed: false,
        };
        assert!(matches!(c.validate(&item), Err(super::super::ItemProblem::Range { .. })));
        assert!(jsonschema::validator_for(&c.items_schema()).is_ok());
    }

    #[test]
    fn all_problems_at_once_with_their_lines() {
        let bad = r#"
version = 2
[[item]]
id = "operation.orders"
label = { zh = "", en = "orders" }
description = { zh = "甲", en = "a" }
kind = "date"
grade = 3
min = 5
max = 4
unit = { zh = "人", en = "persons" }
[[item]]
id = "weather.x-rain"
label = { zh = "雨", en = "rain" }
description = { zh = "雨", en = "rain" }
kind = "integer"
grade = 1
[[item]]
id = "basic.x-level"
label = { zh = "级", en = "level" }
description = { zh = "级", en = "level" }
kind = "text"
grade = 5
[[item]]
id = "basic.x-Code"
label = { zh = "码", en = "code" }
description = { zh = "码", en = "code" }
kind = "code"
grade = 2
"#;
        let list = crate::problem_list(&Catalogue::builtin().extended(bad).unwrap_err());
        for expected in [
            "line 2: version of the file",
            "line 3, item `operation.orders`: a label is empty",
            "line 3, item `operation.orders`: only a number has bounds",
            "line 3, item `operation.orders`: `min` lies above `max`",
            "line 3, item `operation.orders`: only an integer has a unit",
            "line 3, item `operation.orders`: own items are named",
            "line 12: the id does not begin with a dimension",
            "line 18: a grade is 1 to 4",
            "line 24, item `basic.x-Code`: the name is not",
            "line 24, item `basic.x-Code`: a code has 1 to 256 codes",
        ] {
            assert!(list.contains(expected), "{expected}\nin\n{list}");
        }
        assert_eq!(list.lines().count(), 10, "{list}");
    }

    #[test]
    fn an_unknown_key_and_a_repeated_id_are_refused() {
        let unknown = GOOD.replace("grade = 3", "grade = 3\ncolour = \"red\"");
        let list = crate::problem_list(&Catalogue::builtin().extended(&unknown).unwrap_err());
        assert!(list.contains("line 9") && list.contains("colour"), "{list}");
        let twice = GOOD.replace("basic.x-park", "operation.x-order-backlog");
        let list = crate::problem_list(&Catalogue::builtin().extended(&twice).unwrap_err());
        assert!(list.contains("stands there already"), "{list}");
    }
}
