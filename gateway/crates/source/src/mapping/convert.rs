//! From what a database holds to what the wire carries: exact, or an error that does not tell the value.

use crate::{
    catalogue::{KeyKind, Kind},
    date::{CalendarDate, digits, narrow},
};
use gw_proto::report::Value;
use rusqlite::types::ValueRef;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The most bytes of a cell that is looked at.
const MAX_CELL_BYTES: usize = 4096;
/// Decimal digits that a REAL carries without loss (IEEE 754 binary64).
const REAL_DIGITS: usize = 15;

/// How a cell is read; the table in the parent module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the table in the module's documentation says what each takes")]
pub enum Conversion {
    Text,
    Integer,
    Code,
    Fen,
    Yuan,
    WanYuan,
    BasisPoints,
    Percent,
    Ratio,
    Date,
    UnixSeconds,
    UnixMillis,
    YearEnd,
    MonthEnd,
    Year,
    Month,
    Reference,
}

/// Why a cell does not convert. Never carries the cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// SQL's NULL where a value must stand.
    #[error("NULL where a value must stand: fill the column, or leave the row out of the query")]
    Null,
    /// A text of nothing but blanks.
    #[error("an empty text: set `empty = \"absent\"` if it means that nothing is known")]
    Empty,
    /// Another storage class than the conversion takes.
    #[error("a {found} where {expected} must stand: correct `from`, or CAST in the query")]
    Storage {
        /// SQLite's storage class
        found: &'static str,
        /// what the conversion takes
        expected: &'static str,
    },
    /// Not UTF-8.
    #[error("a text that is not UTF-8: convert the database, or the column, to UTF-8")]
    Encoding,
    /// Longer than any item may be.
    #[error("a text of more than {MAX_CELL_BYTES} bytes")]
    Long,
    /// Not a decimal number.
    #[error("not a decimal number: digits, one sign, one decimal point, commas only every three digits")]
    Number,
    /// More decimals than the item carries.
    #[error("more than {places} decimals: nothing is rounded here; round in the query, or correct `from`")]
    Decimals {
        /// how many the conversion takes
        places: u32,
    },
    /// A floating-point number that is no exact decimal.
    #[error(
        "a floating-point number of more than 15 digits: store decimals as text, or round() in the query"
    )]
    Inexact,
    /// Beyond what canonical JSON carries.
    #[error("a number beyond ±(2^53 − 1)")]
    Size,
    /// Not a date in one of the forms.
    #[error("not a date of the calendar in a form that `{form}` takes")]
    Date {
        /// the conversion
        form: &'static str,
    },
    /// A code that the file does not map.
    #[error("a code that `codes` does not map: add it to the mapping")]
    Code,
}

impl Conversion {
    /// What a kind of value may be read with, the default first.
    pub(super) fn for_kind(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Text => &[Self::Text],
            Kind::Integer => &[Self::Integer],
            Kind::Code => &[Self::Code],
            Kind::Money => &[Self::Fen, Self::Yuan, Self::WanYuan],
            Kind::Rate => &[Self::BasisPoints, Self::Percent, Self::Ratio],
            Kind::Date => &[Self::Date, Self::UnixSeconds, Self::UnixMillis],
        }
    }
    /// What a kind of key may be read with.
    pub(super) fn for_key(kind: KeyKind) -> &'static [Self] {
        match kind {
            KeyKind::Year => &[Self::Year],
            KeyKind::Month => &[Self::Month],
            KeyKind::Reference => &[Self::Reference],
        }
    }
    /// What `as_of` may be read with.
    pub(super) fn for_as_of() -> &'static [Self] {
        &[Self::Date, Self::UnixSeconds, Self::UnixMillis, Self::YearEnd, Self::MonthEnd]
    }
    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Code => "code",
            Self::Fen => "fen",
            Self::Yuan => "yuan",
            Self::WanYuan => "wan-yuan",
            Self::BasisPoints => "basis-points",
            Self::Percent => "percent",
            Self::Ratio => "ratio",
            Self::Date => "date",
            Self::UnixSeconds => "unix-seconds",
            Self::UnixMillis => "unix-millis",
            Self::YearEnd => "year-end",
            Self::MonthEnd => "month-end",
            Self::Year => "year",
            Self::Month => "month",
            Self::Reference => "reference",
        }
    }
}

/// The value of an item.
pub(super) fn value(
    raw: ValueRef<'_>,
    from: Conversion,
    codes: &BTreeMap<String, String>,
) -> Result<Value, ValueProblem> {
    use Conversion as C;
    match from {
        C::Text => Ok(Value::Text(text(raw)?.to_owned())),
        C::Integer => Ok(Value::Integer(decimal(raw, 0)?)),
        C::Fen => Ok(Value::Money(decimal(raw, 0)?)),
        C::Yuan => Ok(Value::Money(decimal(raw, 2)?)),
        C::WanYuan => Ok(Value::Money(decimal(raw, 6)?)),
        C::BasisPoints => Ok(Value::Rate(decimal(raw, 0)?)),
        C::Percent => Ok(Value::Rate(decimal(raw, 2)?)),
        C::Ratio => Ok(Value::Rate(decimal(raw, 4)?)),
        C::Code => {
            let code = text_or_integer(raw)?;
            if codes.is_empty() {
                return Ok(Value::Code(code));
            }
            codes.get(&code).cloned().map(Value::Code).ok_or(ValueProblem::Code)
        }
        C::Date
        | C::UnixSeconds
        | C::UnixMillis
        | C::YearEnd
        | C::MonthEnd
        | C::Year
        | C::Month
        | C::Reference => part(raw, from).map(Value::Date),
    }
}

/// The text of a key or of `as_of`.
pub(super) fn part(raw: ValueRef<'_>, from: Conversion) -> Result<String, ValueProblem> {
    use Conversion as C;
    let not = ValueProblem::Date { form: from.as_str() };
    match from {
        C::Date => date(&text_or_integer(raw)?).ok_or(not).map(|d| d.to_string()),
        C::UnixSeconds => day_of(decimal(raw, 0)?).ok_or(not).map(|d| d.to_string()),
        C::UnixMillis => day_of(decimal(raw, 0)?.div_euclid(1000)).ok_or(not).map(|d| d.to_string()),
        C::Year => year(&text_or_integer(raw)?).ok_or(not).map(|y| y.to_string()),
        C::YearEnd => {
            let end = year(&text_or_integer(raw)?).and_then(|y| CalendarDate::month_end(y, 12));
            end.ok_or(not).map(|d| d.to_string())
        }
        C::Month => {
            month(&text_or_integer(raw)?).ok_or(not).map(|d| format!("{:04}-{:02}", d.year(), d.month()))
        }
        C::MonthEnd => month(&text_or_integer(raw)?).ok_or(not).map(|d| d.to_string()),
        _ => text_or_integer(raw),
    }
}

fn storage(raw: ValueRef<'_>, expected: &'static str) -> ValueProblem {
    let found = match raw {
        ValueRef::Null => return ValueProblem::Null,
        ValueRef::Integer(_) => "INTEGER",
        ValueRef::Real(_) => "REAL",
        ValueRef::Text(_) => "TEXT",
        ValueRef::Blob(_) => "BLOB",
    };
    ValueProblem::Storage { found, expected }
}

/// Trimmed: databases pad CHAR columns.
fn text(raw: ValueRef<'_>) -> Result<&str, ValueProblem> {
    let ValueRef::Text(bytes) = raw else { return Err(storage(raw, "text")) };
    if bytes.len() > MAX_CELL_BYTES {
        return Err(ValueProblem::Long);
    }
    let trimmed = std::str::from_utf8(bytes).map_err(|_| ValueProblem::Encoding)?.trim();
    if trimmed.is_empty() { Err(ValueProblem::Empty) } else { Ok(trimmed) }
}

fn text_or_integer(raw: ValueRef<'_>) -> Result<String, ValueProblem> {
    match raw {
        ValueRef::Integer(n) => Ok(n.to_string()),
        ValueRef::Text(_) => text(raw).map(str::to_owned),
        other => Err(storage(other, "text or a whole number")),
    }
}

/// A number times 10^`places`, exactly. A REAL is taken by its shortest decimal form, as long as 15 digits do:
/// SQLite turns text in DECIMAL columns into REAL, and 15 digits survive that.
fn decimal(raw: ValueRef<'_>, places: u32) -> Result<i64, ValueProblem> {
    match raw {
        ValueRef::Integer(n) => scaled(i128::from(n), places),
        ValueRef::Text(_) => parse_decimal(text(raw)?, places),
        ValueRef::Real(r) if r.is_finite() && r.abs() < 1e15 => {
            let shortest = r.to_string();
            let digits = shortest.bytes().filter(u8::is_ascii_digit).skip_while(|&b| b == b'0').count();
            if digits > REAL_DIGITS { Err(ValueProblem::Inexact) } else { parse_decimal(&shortest, places) }
        }
        ValueRef::Real(_) => Err(ValueProblem::Inexact),
        other => Err(storage(other, "a number")),
    }
}

fn scaled(n: i128, places: u32) -> Result<i64, ValueProblem> {
    let value = n.checked_mul(10_i128.pow(places)).ok_or(ValueProblem::Size)?;
    match i64::try_from(value) {
        Ok(v) if v.unsigned_abs() <= gw_proto::canon::MAX_SAFE_INTEGER.unsigned_abs() => Ok(v),
        _ => Err(ValueProblem::Size),
    }
}

fn parse_decimal(s: &str, places: u32) -> Result<i64, ValueProblem> {
    let (negative, unsigned) = match s.as_bytes() {
        [b'-', ..] => (true, s.get(1..).unwrap_or_default()),
        [b'+', ..] => (false, s.get(1..).unwrap_or_default()),
        _ => (false, s),
    };
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return Err(ValueProblem::Number),
        Some((w, f)) => (w, f),
        None => (unsigned, ""),
    };
    let whole = ungrouped(whole).ok_or(ValueProblem::Number)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueProblem::Number);
    }
    let fraction = fraction.trim_end_matches('0');
    let width = usize::try_from(places).unwrap_or(0);
    if fraction.len() > width {
        return Err(ValueProblem::Decimals { places });
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 20 {
        return Err(ValueProblem::Size);
    }
    // at most 20 + 6 digits: fits an i128
    let digits = format!("0{whole}{fraction:0<width$}");
    let n: i128 = digits.parse().map_err(|_| ValueProblem::Number)?;
    scaled(if negative { -n } else { n }, 0)
}

/// Digits, or digits grouped by commas in threes.
fn ungrouped(s: &str) -> Option<String> {
    let all_digits = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    let mut groups = s.split(',');
    let first = groups.next().filter(|g| all_digits(g))?;
    let rest: Vec<&str> = groups.collect();
    let grouped = first.len() <= 3 && rest.iter().all(|g| g.len() == 3 && all_digits(g));
    (rest.is_empty() || grouped).then(|| s.replace(',', ""))
}

/// A date in one of the forms that databases hold, alone or followed by a time of day.
fn date(s: &str) -> Option<CalendarDate> {
    if s.len() == 8 && s.bytes().all(|b| b.is_ascii_digit()) {
        return CalendarDate::from_digits(s.get(..4)?, s.get(4..6)?, s.get(6..)?);
    }
    if let Some((y, rest)) = s.split_once('年') {
        let (m, rest) = rest.split_once('月')?;
        let (d, "") = rest.split_once('日')? else { return None };
        return CalendarDate::from_digits(y, m, d);
    }
    let day = match s.split_once([' ', 'T']) {
        Some((day, time)) if is_time(time) => day,
        Some(_) => return None,
        None => s,
    };
    let separator = ['-', '/', '.'].into_iter().find(|&c| day.contains(c))?;
    let mut parts = day.split(separator);
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| CalendarDate::from_digits(y, m, d)).flatten()
}

/// A local time of day: HH:MM, HH:MM:SS, with a fraction. One with another zone's offset could be another day
/// here, and is refused.
fn is_time(s: &str) -> bool {
    let s = s.strip_suffix("+08:00").unwrap_or(s);
    let (clock, fraction) = s.split_once('.').unwrap_or((s, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let fits = |p: &&str, below: u16| p.len() == 2 && digits(p, 2..=2).is_some_and(|n| n < below);
    let ok = match parts.as_slice() {
        [h, m] => fits(h, 24) && fits(m, 60),
        [h, m, s] => fits(h, 24) && fits(m, 60) && fits(s, 60),
        _ => false,
    };
    ok && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn year(s: &str) -> Option<u16> {
    digits(s, 4..=4).filter(|y| (1800..=2199).contains(y))
}

/// The last day of a month given as 202602, 2026-02, 2026/2 or 2026年2月.
fn month(s: &str) -> Option<CalendarDate> {
    let (y, m) = match s.split_once(['-', '/', '年']) {
        Some((y, m)) => (y, if s.contains('年') { m.strip_suffix('月')? } else { m }),
        None if s.len() == 6 => (s.get(..4)?, s.get(4..)?),
        None => return None,
    };
    CalendarDate::month_end(year(y)?, narrow(m)?)
}

/// The day at UTC+8 of seconds since 1970.
fn day_of(seconds: i64) -> Option<CalendarDate> {
    let local = seconds.checked_add(8 * 3600)?;
    let t = time::OffsetDateTime::from_unix_timestamp(local).ok()?;
    CalendarDate::new(u16::try_from(t.year()).ok()?, u8::from(t.month()), t.day())
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
