//! Does an item follow the catalogue? Answers name the item and the rule, never the value.

use super::{Catalogue, ItemDef, KeyKind, Kind};
use crate::date::{CalendarDate, digits, narrow};
use gw_proto::{
    Dimension,
    report::{Item, Value},
};
use std::collections::HashSet;

/// The most bytes of a key.
pub(super) const MAX_KEY_BYTES: usize = 192;

/// Why an item does not follow the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it means; fields are id and rule")]
pub enum ItemProblem {
    #[error("`{id}` is not in this catalogue: check the catalogue's version, or load the extension")]
    Unknown { id: String },
    #[error("`{id}` belongs to dimension `{expected}`", expected = expected.as_str())]
    Dimension { id: String, expected: Dimension },
    #[error("`{id}` takes a value of kind {expected}, found {found}", expected = expected.as_str(), found = found.as_str())]
    Kind { id: String, expected: Kind, found: Kind },
    #[error("`{id}` has an empty text: leave the item out instead")]
    EmptyText { id: String },
    #[error("`{id}` has a text of more than {limit} bytes")]
    LongText { id: String, limit: usize },
    #[error("`{id}` has a control or direction character in its text or key")]
    Unprintable { id: String },
    #[error("`{id}` lies outside {min} to {max}")]
    Range { id: String, min: i64, max: i64 },
    #[error("`{id}` is not a date of the calendar, written YYYY-MM-DD, 1800 to 2199")]
    Date { id: String },
    #[error("`{id}` has a code that its enumeration lacks")]
    Code { id: String },
    #[error("`{id}` has an `as_of` that is not a date of the calendar, written YYYY-MM-DD")]
    AsOf { id: String },
    #[error("`{id}` occurs more than once and needs a key ({kind})", kind = kind.as_str())]
    KeyMissing { id: String, kind: KeyKind },
    #[error("`{id}` occurs once and takes no key")]
    KeyUnexpected { id: String },
    #[error("`{id}` has a key that is not of the form {kind}", kind = kind.as_str())]
    KeyForm { id: String, kind: KeyKind },
    #[error("`{id}` stands there twice with the same key")]
    Repeated { id: String },
}

impl Catalogue {
    /// Checks one item against its definition.
    pub fn validate(&self, item: &Item) -> Result<(), ItemProblem> {
        let def = self.item(&item.id).ok_or_else(|| ItemProblem::Unknown { id: printable_id(&item.id) })?;
        let id = || def.id.clone();
        if item.dimension != def.dimension {
            return Err(ItemProblem::Dimension { id: id(), expected: def.dimension });
        }
        check_value(def, &item.value)?;
        if CalendarDate::parse_iso(&item.as_of).is_none() {
            return Err(ItemProblem::AsOf { id: id() });
        }
        match (def.key, item.key.as_deref()) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(ItemProblem::KeyUnexpected { id: id() }),
            (Some(kind), None) => Err(ItemProblem::KeyMissing { id: id(), kind }),
            (Some(_), Some(key)) if key.chars().any(is_unprintable) => {
                Err(ItemProblem::Unprintable { id: id() })
            }
            (Some(kind), Some(key)) if key_fits(kind, key) => Ok(()),
            (Some(kind), Some(_)) => Err(ItemProblem::KeyForm { id: id(), kind }),
        }
    }

    /// Checks the items of one source's answer: each by itself, and that none occurs twice. Lists all problems.
    pub fn validate_all(&self, items: &[Item]) -> Vec<ItemProblem> {
        let mut problems: Vec<_> = items.iter().filter_map(|i| self.validate(i).err()).collect();
        let mut seen = HashSet::new();
        for item in items {
            if !seen.insert((item.id.as_str(), item.key.as_deref())) {
                problems.push(ItemProblem::Repeated { id: printable_id(&item.id) });
            }
        }
        problems
    }
}

fn check_value(def: &ItemDef, value: &Value) -> Result<(), ItemProblem> {
    let id = || def.id.clone();
    let found = Kind::of(value);
    if found != def.kind {
        return Err(ItemProblem::Kind { id: id(), expected: def.kind, found });
    }
    match value {
        Value::Text(t) if t.trim().is_empty() => Err(ItemProblem::EmptyText { id: id() }),
        Value::Text(t) if t.len() > def.text_limit() => {
            Err(ItemProblem::LongText { id: id(), limit: def.text_limit() })
        }
        Value::Text(t) if t.chars().any(is_unprintable) => Err(ItemProblem::Unprintable { id: id() }),
        Value::Integer(n) | Value::Money(n) | Value::Rate(n) => {
            let (min, max) = def.bounds();
            if (min..=max).contains(n) { Ok(()) } else { Err(ItemProblem::Range { id: id(), min, max }) }
        }
        Value::Date(d) if CalendarDate::parse_iso(d).is_none() => Err(ItemProblem::Date { id: id() }),
        Value::Code(c) if def.code(c).is_none() => Err(ItemProblem::Code { id: id() }),
        Value::Text(_) | Value::Date(_) | Value::Code(_) => Ok(()),
    }
}

/// A key of the right form.
pub(crate) fn key_fits(kind: KeyKind, key: &str) -> bool {
    let year = |s: &str| digits(s, 4..=4).is_some_and(|y| (1800..=2199).contains(&y));
    match kind {
        KeyKind::Year => year(key),
        KeyKind::Month => key.split_once('-').is_some_and(|(y, m)| {
            year(y) && m.len() == 2 && narrow(m).is_some_and(|m| (1..=12).contains(&m))
        }),
        KeyKind::Reference => {
            !key.trim().is_empty() && key.len() <= MAX_KEY_BYTES && !key.chars().any(is_unprintable)
        }
    }
}

/// Control characters, and those that turn the direction of writing: they could make a printed report lie.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An id from outside, fit for a message: at most 64 characters of those that ids have.
fn printable_id(id: &str) -> String {
    id.chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, value: Value, key: Option<&str>) -> Item {
        let dimension = Catalogue::builtin().item(id).map_or(Dimension::Basic, |d| d.dimension);
        Item {
            id: id.into(),
            dimension,
            value,
            as_of: "2026-06-30".into(),
            key: key.map(Into::into),
            disputed: false,
        }
    }

    #[test]
    fn good_items_pass() {
        let c = Catalogue::builtin();
        for ok in [
            item("basic.name", Value::Text("杭州甲乙精密机械有限公司".into()), None),
            item("basic.industry", Value::Code("C".into()), None),
            item("basic.established", Value::Date("2024-02-29".into()), None),
            item("operation.net-profit", Value::Money(-1), Some("2025")),
            item("utility.electricity", Value::Integer(0), Some("2026-05")),
            item("financing.loan-rate", Value::Rate(435), Some("JK-2025-0001")),
            item("legal.case-cause", Value::Text("买卖合同纠纷".into()), Some("(2025)浙0106民初1234号")),
        ] {
            assert_eq!(c.validate(&ok), Ok(()), "{}", ok.id);
        }
    }

    #[test]
    fn each_rule_has_its_own_answer() {
        let c = Catalogue::builtin();
        let text = |s: &str| Value::Text(s.into());
        let rule = |i: Item| c.validate(&i).unwrap_err();
        use ItemProblem as P;
        assert!(matches!(rule(item("basic.nmae", text("a"), None)), P::Unknown { .. }));
        let mut wrong = item("basic.name", text("a"), None);
        wrong.dimension = Dimension::Tax;
        assert!(matches!(rule(wrong), P::Dimension { expected: Dimension::Basic, .. }));
        assert!(matches!(rule(item("basic.name", Value::Integer(1), None)), P::Kind { .. }));
        assert!(matches!(rule(item("basic.name", text(" "), None)), P::EmptyText { .. }));
        assert!(matches!(
            rule(item("basic.name", text(&"信".repeat(101)), None)),
            P::LongText { limit: 300, .. }
        ));
        assert!(matches!(rule(item("basic.name", text("a\u{202e}b"), None)), P::Unprintable { .. }));
        assert!(matches!(rule(item("basic.name", text("a\nb"), None)), P::Unprintable { .. }));
        assert!(matches!(rule(item("basic.registered-capital", Value::Money(-1), None)), P::Range { .. }));
        let too_big = Value::Money(gw_proto::canon::MAX_SAFE_INTEGER + 1);
        assert!(matches!(rule(item("operation.net-profit", too_big, Some("2025"))), P::Range { .. }));
        assert!(matches!(
            rule(item("basic.established", Value::Date("2025-02-29".into()), None)),
            P::Date { .. }
        ));
        assert!(matches!(rule(item("basic.status", Value::Code("ACTIVE".into()), None)), P::Code { .. }));
        let mut undated = item("basic.name", text("a"), None);
        undated.as_of = "2026-6-30".into();
        assert!(matches!(rule(undated), P::AsOf { .. }));
        assert!(matches!(rule(item("tax.paid", Value::Money(1), None)), P::KeyMissing { .. }));
        assert!(matches!(rule(item("tax.arrears", Value::Money(1), Some("2025"))), P::KeyUnexpected { .. }));
        for key in ["25", "2025-01", "20255", "１２３４", ""] {
            assert!(matches!(rule(item("tax.paid", Value::Money(1), Some(key))), P::KeyForm { .. }), "{key}");
        }
        for key in ["2025-13", "2025-00", "2025-1", "202501", "2025-001"] {
            let i = item("utility.electricity", Value::Integer(1), Some(key));
            assert!(matches!(rule(i), P::KeyForm { .. }), "{key}");
        }
        let long = "号".repeat(65);
        let rate = |key: &str| item("financing.loan-rate", Value::Rate(1), Some(key));
        assert!(matches!(rule(rate(&long)), P::KeyForm { .. }));
        assert!(matches!(rule(rate("a\u{7}")), P::Unprintable { .. }));
    }

    #[test]
    fn all_problems_are_listed_and_repetition_is_one() {
        let c = Catalogue::builtin();
        let paid = |key: &str| item("tax.paid", Value::Money(1), Some(key));
        assert_eq!(c.validate_all(&[paid("2024"), paid("2025")]), []);
        let problems =
            c.validate_all(&[paid("2024"), paid("2024"), paid("x"), item("no.\n", Value::Rate(1), None)]);
        assert_eq!(problems.len(), 3);
        assert!(problems.contains(&ItemProblem::Unknown { id: "no.?".into() }));
        assert!(problems.contains(&ItemProblem::Repeated { id: "tax.paid".into() }));
    }

    #[test]
    fn no_message_shows_the_value() {
        let c = Catalogue::builtin();
        let secret = item("basic.name", Value::Text("保密\u{1}公司".into()), None);
        assert!(!c.validate(&secret).unwrap_err().to_string().contains("保密"));
    }
}
