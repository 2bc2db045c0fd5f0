//! Every conversion, good and bad input.

use super::*;
use Conversion as C;
use ValueProblem as P;

fn t(s: &str) -> ValueRef<'_> {
    ValueRef::Text(s.as_bytes())
}
fn convert(raw: ValueRef<'_>, from: C) -> Result<Value, P> {
    value(raw, from, &BTreeMap::new())
}
fn money(raw: ValueRef<'_>, from: C) -> Result<i64, P> {
    match convert(raw, from)? {
        Value::Money(n) => Ok(n),
        other => panic!("{other:?}"),
    }
}
fn day(raw: ValueRef<'_>, from: C) -> Result<String, P> {
    part(raw, from)
}

#[test]
fn yuan_becomes_fen_exactly() {
    for (text, fen) in [
        ("0", 0),
        ("12", 1200),
        ("12.3", 1230),
        ("12.34", 1234),
        ("-0.01", -1),
        ("+1.00", 100),
        ("0012.340000", 1234),
        (" 12.34 ", 1234),
        ("1,234,567.89", 123_456_789),
        ("90071992547409.91", 9_007_199_254_740_991),
    ] {
        assert_eq!(money(t(text), C::Yuan), Ok(fen), "{text}");
    }
    for (text, problem) in [
        ("12.345", P::Decimals { places: 2 }),
        ("", P::Empty),
        ("12.", P::Number),
        (".5", P::Number),
        ("1e3", P::Number),
        ("12,34", P::Number),
        ("1,2345", P::Number),
        (",123", P::Number),
        ("--1", P::Number),
        ("1.2.3", P::Number),
        ("1.-2", P::Number),
        ("NaN", P::Number),
        ("¥12", P::Number),
        ("１２", P::Number),
        ("90071992547409.92", P::Size),
        ("999999999999999999999999999999", P::Size),
    ] {
        assert_eq!(money(t(text), C::Yuan), Err(problem), "{text}");
    }
    assert_eq!(money(ValueRef::Integer(12), C::Yuan), Ok(1200));
    assert_eq!(money(ValueRef::Integer(i64::MAX), C::Yuan), Err(P::Size));
    assert_eq!(money(ValueRef::Null, C::Yuan), Err(P::Null));
    assert!(matches!(money(ValueRef::Blob(b"1"), C::Yuan), Err(P::Storage { found: "BLOB", .. })));
    assert_eq!(money(t("12.34"), C::Fen), Err(P::Decimals { places: 0 }));
    assert_eq!(money(t("500"), C::WanYuan), Ok(500_000_000));
    assert_eq!(money(t("0.000001"), C::WanYuan), Ok(1));
    assert_eq!(money(t("0.0000001"), C::WanYuan), Err(P::Decimals { places: 6 }));
}

#[test]
fn a_real_is_taken_only_where_it_is_exact() {
    let yuan = |r| money(ValueRef::Real(r), C::Yuan);
    assert_eq!(yuan(1234.56), Ok(123_456));
    assert_eq!(yuan(-0.1), Ok(-10));
    assert_eq!(yuan(0.0), Ok(0));
    assert_eq!(yuan(9_999_999_999_999.99), Ok(999_999_999_999_999));
    assert_eq!(yuan(0.1 + 0.2), Err(P::Inexact));
    assert_eq!(yuan(12.345), Err(P::Decimals { places: 2 }));
    assert_eq!(yuan(1e15), Err(P::Inexact));
    assert_eq!(yuan(f64::NAN), Err(P::Inexact));
    assert_eq!(yuan(f64::INFINITY), Err(P::Inexact));
}

#[test]
fn rates_become_basis_points() {
    for (text, from, bp) in [
        ("435", C::BasisPoints, 435),
        ("4.35", C::Percent, 435),
        ("0.0435", C::Ratio, 435),
        ("-1", C::Percent, -100),
    ] {
        assert_eq!(convert(t(text), from), Ok(Value::Rate(bp)), "{text}");
    }
    assert_eq!(convert(t("4.355"), C::Percent), Err(P::Decimals { places: 2 }));
    assert_eq!(convert(t("4.35%"), C::Percent), Err(P::Number));
}

#[test]
fn whole_numbers_and_texts() {
    assert_eq!(convert(t("42.0"), C::Integer), Ok(Value::Integer(42)));
    assert_eq!(convert(ValueRef::Integer(-3), C::Integer), Ok(Value::Integer(-3)));
    assert_eq!(convert(t("4.2"), C::Integer), Err(P::Decimals { places: 0 }));
    assert_eq!(convert(t("  信关  "), C::Text), Ok(Value::Text("信关".into())));
    assert_eq!(convert(t(" \u{3000} "), C::Text), Err(P::Empty));
    assert_eq!(convert(ValueRef::Text(b"\xff"), C::Text), Err(P::Encoding));
    assert_eq!(convert(t(&"a".repeat(MAX_CELL_BYTES + 1)), C::Text), Err(P::Long));
    assert!(matches!(convert(ValueRef::Integer(1), C::Text), Err(P::Storage { found: "INTEGER", .. })));
}

#[test]
fn dates_in_the_forms_that_databases_hold() {
    for form in [
        "2026-06-03",
        "20260603",
        "2026/6/3",
        "2026/06/03",
        "2026.6.3",
        "2026-6-3",
        "2026年6月3日",
        "2026年06月03日",
        "2026-06-03 00:00:00",
        "2026-06-03T23:59:59.123",
        "2026-06-03T08:30:00+08:00",
        "2026/6/3 12:00",
        " 2026-06-03 ",
    ] {
        assert_eq!(day(t(form), C::Date).as_deref(), Ok("2026-06-03"), "{form}");
    }
    assert_eq!(day(ValueRef::Integer(20_260_603), C::Date).as_deref(), Ok("2026-06-03"));
    for bad in [
        "2026-02-29",
        "20261301",
        "2026-06",
        "26-06-03",
        "03.06.2026",
        "2026-06/03",
        "2026-06-03Z",
        "2026-06-03 24:00",
        "2026-06-03 12",
        "2026-06-03T00:00:00Z",
        "2026年6月",
        "2026年6月3日前",
        "2026-06-03-04",
        "0000-00-00",
        "1899-12-30 x",
        "六月三日",
    ] {
        assert_eq!(day(t(bad), C::Date), Err(P::Date { form: "date" }), "{bad}");
    }
    assert!(matches!(day(ValueRef::Real(2.0), C::Date), Err(P::Storage { .. })));
    assert_eq!(day(ValueRef::Integer(i64::MIN), C::Date), Err(P::Date { form: "date" }));
}

#[test]
fn seconds_are_days_in_beijing() {
    // 2026-06-29T16:00:00Z is midnight of the 30th at UTC+8
    assert_eq!(day(ValueRef::Integer(1_782_748_800), C::UnixSeconds).as_deref(), Ok("2026-06-30"));
    assert_eq!(day(ValueRef::Integer(1_782_748_799), C::UnixSeconds).as_deref(), Ok("2026-06-29"));
    assert_eq!(day(ValueRef::Integer(1_782_748_799_999), C::UnixMillis).as_deref(), Ok("2026-06-29"));
    assert_eq!(day(ValueRef::Integer(-1), C::UnixMillis).as_deref(), Ok("1970-01-01"));
    assert!(day(ValueRef::Integer(i64::MAX), C::UnixSeconds).is_err());
    assert!(day(ValueRef::Integer(9_007_199_254_740_991), C::UnixSeconds).is_err());
}

#[test]
fn keys_and_period_ends() {
    assert_eq!(day(ValueRef::Integer(2025), C::Year).as_deref(), Ok("2025"));
    assert_eq!(day(t("2025"), C::YearEnd).as_deref(), Ok("2025-12-31"));
    for form in ["202402", "2024-02", "2024/2", "2024年2月"] {
        assert_eq!(day(t(form), C::Month).as_deref(), Ok("2024-02"), "{form}");
        assert_eq!(day(t(form), C::MonthEnd).as_deref(), Ok("2024-02-29"), "{form}");
    }
    for bad in ["25", "20255", "1799", "x"] {
        assert!(day(t(bad), C::Year).is_err() && day(t(bad), C::YearEnd).is_err(), "{bad}");
    }
    for bad in ["2024", "20241", "202413", "2024-00", "2024年2", "2024-2-1"] {
        assert!(day(t(bad), C::Month).is_err() && day(t(bad), C::MonthEnd).is_err(), "{bad}");
    }
    assert_eq!(day(t(" (2025)浙01民初1号 "), C::Reference).as_deref(), Ok("(2025)浙01民初1号"));
    assert_eq!(day(ValueRef::Integer(7), C::Reference).as_deref(), Ok("7"));
    assert_eq!(day(ValueRef::Null, C::Reference), Err(P::Null));
}

#[test]
fn codes_are_mapped_or_refused() {
    let codes = BTreeMap::from([("1".to_owned(), "active".to_owned())]);
    assert_eq!(value(ValueRef::Integer(1), C::Code, &codes), Ok(Value::Code("active".into())));
    assert_eq!(value(t("1 "), C::Code, &codes), Ok(Value::Code("active".into())));
    assert_eq!(value(t("2"), C::Code, &codes), Err(P::Code));
    assert_eq!(convert(t("A"), C::Code), Ok(Value::Code("A".into())), "without a map: as it stands");
}

proptest::proptest! {
    /// No cell makes any conversion panic, and what comes out of a decimal goes back to the same decimal.
    #[test]
    fn conversions_are_total(s in ".{0,40}", n: i64, r: f64, b: Vec<u8>) {
        for from in [
            C::Text, C::Integer, C::Code, C::Fen, C::Yuan, C::WanYuan, C::BasisPoints, C::Percent, C::Ratio,
            C::Date, C::UnixSeconds, C::UnixMillis, C::YearEnd, C::MonthEnd, C::Year, C::Month, C::Reference,
        ] {
            for raw in [t(&s), ValueRef::Integer(n), ValueRef::Real(r), ValueRef::Text(&b), ValueRef::Blob(&b), ValueRef::Null] {
                let _ = convert(raw, from);
                let _ = part(raw, from);
            }
        }
    }
    #[test]
    fn decimals_go_there_and_back(fen in -gw_proto::canon::MAX_SAFE_INTEGER..=gw_proto::canon::MAX_SAFE_INTEGER) {
        let sign = if fen < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100);
        proptest::prop_assert_eq!(money(t(&text), C::Yuan), Ok(fen));
    }
    /// A REAL that SQLite made of a decimal of up to 15 digits is that decimal again.
    #[test]
    fn reals_of_15_digits_go_there_and_back(fen in -999_999_999_999_999_i64..=999_999_999_999_999) {
        let sign = if fen < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100);
        let real: f64 = text.parse().unwrap();
        proptest::prop_assert_eq!(money(ValueRef::Real(real), C::Yuan), Ok(fen));
    }
}
