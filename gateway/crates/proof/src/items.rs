//! Which items of a reply are sane: ids, dates, sizes, dimensions.
//!
//! What an item's id *means* is the catalogue's matter (gw-source); this is what any verifier can say
//! without it.

use gw_proto::{
    Dimension,
    canon::MAX_SAFE_INTEGER,
    report::{Item, Value},
};
use std::collections::BTreeSet;

/// The most items in one reply.
pub const MAX_ITEMS: usize = 4_096;
/// The most bytes of a text or a code.
pub const MAX_TEXT_BYTES: usize = 1_000;
const MAX_ID_BYTES: usize = 120;
const MAX_KEY_BYTES: usize = 200;

/// Why a reply's items are refused. Names positions, never values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// More than 4,096.
    #[error("{found} items, at most {MAX_ITEMS} are taken")]
    TooMany {
        /// items found
        found: usize,
    },
    /// A dimension that was not asked for.
    #[error("item {index} is of dimension `{}`, which was not asked for", .dimension.as_str())]
    Dimension {
        /// position
        index: usize,
        /// its dimension
        dimension: Dimension,
    },
    /// The id is not `dimension.name`.
    #[error("item {index}: the id is not `dimension.name` of its own dimension")]
    Id {
        /// position
        index: usize,
    },
    /// A text or key is too long, or holds control or direction characters.
    #[error("item {index}: a text is too long, or holds control or direction characters")]
    Text {
        /// position
        index: usize,
    },
    /// An integer beyond ±(2⁵³ − 1).
    #[error("item {index}: a number is beyond ±(2^53 − 1)")]
    Number {
        /// position
        index: usize,
    },
    /// Not a calendar date.
    #[error("item {index}: a date is not YYYY-MM-DD")]
    Date {
        /// position
        index: usize,
    },
    /// The same id and key twice in one reply.
    #[error("item {index} repeats the id and key of an earlier one")]
    Repeated {
        /// position
        index: usize,
    },
}

/// Checks a reply's items against the dimensions that were asked for.
pub fn check_items(items: &[Item], permitted: &[Dimension]) -> Result<(), ItemError> {
    if items.len() > MAX_ITEMS {
        return Err(ItemError::TooMany { found: items.len() });
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if !permitted.contains(&item.dimension) {
            return Err(ItemError::Dimension { index, dimension: item.dimension });
        }
        check_item(index, item)?;
        if !seen.insert((item.id.as_str(), item.key.as_deref())) {
            return Err(ItemError::Repeated { index });
        }
    }
    Ok(())
}

fn check_item(index: usize, item: &Item) -> Result<(), ItemError> {
    if !is_id(&item.id, item.dimension) {
        return Err(ItemError::Id { index });
    }
    if !is_date(&item.as_of) {
        return Err(ItemError::Date { index });
    }
    if item.key.as_deref().is_some_and(|k| k.is_empty() || !is_text(k, MAX_KEY_BYTES)) {
        return Err(ItemError::Text { index });
    }
    match &item.value {
        Value::Text(t) | Value::Code(t) if !is_text(t, MAX_TEXT_BYTES) => Err(ItemError::Text { index }),
        Value::Date(d) if !is_date(d) => Err(ItemError::Date { index }),
        Value::Integer(n) | Value::Money(n) | Value::Rate(n)
            if !(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(n) =>
        {
            Err(ItemError::Number { index })
        }
        _ => Ok(()),
    }
}

fn is_id(id: &str, dimension: Dimension) -> bool {
    id.len() <= MAX_ID_BYTES
        && id.strip_prefix(dimension.as_str()).and_then(|rest| rest.strip_prefix('.')).is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        })
}

fn is_text(text: &str, limit: usize) -> bool {
    // control characters could move a reader's cursor, the others turn the direction of writing: both
    // make a printed report lie, and no fact of the catalogue needs them
    let harmful = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.len() <= limit && !text.chars().any(harmful)
}

fn is_date(text: &str) -> bool {
    let digits = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<u32>().ok());
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let (true, Some(year), Some(month), Some(day)) = (shape, digits(0, 4), digits(5, 7), digits(8, 10))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, dimension: Dimension, value: Value) -> Item {
        Item { id: id.into(), dimension, value, as_of: "2026-02-28".into(), key: None, disputed: false }
    }

    #[test]
    fn sane_items_pass() {
        let items = vec![
            item("tax.paid", Dimension::Tax, Value::Money(-5)),
            Item { key: Some("2025".into()), ..item("tax.paid", Dimension::Tax, Value::Money(7)) },
            item("basic.name", Dimension::Basic, Value::Text("苏州某某有限公司".into())),
            item("basic.founded", Dimension::Basic, Value::Date("2000-02-29".into())),
        ];
        assert_eq!(check_items(&items, &[Dimension::Basic, Dimension::Tax]), Ok(()));
        assert_eq!(
            check_items(&items, &[Dimension::Basic]),
            Err(ItemError::Dimension { index: 0, dimension: Dimension::Tax })
        );
    }

    #[test]
    fn each_fault_is_named() {
        let one = |i: Item| check_items(&[i], &Dimension::ALL);
        let tax = |v| item("tax.paid", Dimension::Tax, v);
        for id in ["tax", "tax.", "legal.paid", "taxpaid", "tax.Paid", "tax.a b"] {
            assert_eq!(
                one(item(id, Dimension::Tax, Value::Integer(1))),
                Err(ItemError::Id { index: 0 }),
                "{id}"
            );
        }
        let big = MAX_SAFE_INTEGER + 1;
        for v in [Value::Integer(big), Value::Money(-big), Value::Rate(big)] {
            assert_eq!(one(tax(v)), Err(ItemError::Number { index: 0 }));
        }
        for d in
            ["2026-02-29", "2026-13-01", "1900-02-29", "2026-1-01", "2026-00-10", "20260101", "２０26-01-01"]
        {
            assert_eq!(one(tax(Value::Date(d.into()))), Err(ItemError::Date { index: 0 }), "{d}");
            assert_eq!(
                one(Item { as_of: d.into(), ..tax(Value::Integer(1)) }),
                Err(ItemError::Date { index: 0 })
            );
        }
        assert_eq!(one(tax(Value::Text("x".repeat(1_001)))), Err(ItemError::Text { index: 0 }));
        assert_eq!(one(tax(Value::Code("\u{1b}[2J".into()))), Err(ItemError::Text { index: 0 }));
        assert_eq!(one(tax(Value::Text("a\u{202e}b".into()))), Err(ItemError::Text { index: 0 }));
        let empty_key = Item { key: Some(String::new()), ..tax(Value::Integer(1)) };
        assert_eq!(one(empty_key), Err(ItemError::Text { index: 0 }));
        let twice = vec![tax(Value::Integer(1)), tax(Value::Integer(2))];
        assert_eq!(check_items(&twice, &Dimension::ALL), Err(ItemError::Repeated { index: 1 }));
        let many = vec![tax(Value::Integer(1)); 4_097];
        assert_eq!(check_items(&many, &Dimension::ALL), Err(ItemError::TooMany { found: 4_097 }));
    }
}
