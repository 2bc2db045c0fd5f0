//! A table of broken mappings: each names its place and its remedy.

use super::*;
use crate::problem_list;

const GOOD: &str = r#"version = 1
catalogue = "2026.1"
[[query]]
name = "registration"
table = "ent"
subject = "uscc"
as_of = { column = "day" }
[query.items]
"basic.name" = { column = "n" }
"basic.status" = { column = "s", codes = { "1" = "active" } }
"basic.registered-capital" = { column = "c", from = "yuan" }
[[query]]
name = "tax"
sql = "SELECT paid, y FROM tax WHERE uscc = :subject"
key = { column = "y" }
as_of = { column = "y", from = "year-end" }
[query.items]
"tax.paid" = { column = "paid", from = "fen" }
"#;

fn problems(text: &str) -> String {
    problem_list(&Mapping::parse(text, &Catalogue::builtin()).unwrap_err())
}

#[test]
fn a_good_mapping_names_what_it_leaves_out() {
    let m = Mapping::parse(GOOD, &Catalogue::builtin()).unwrap();
    assert_eq!(m.warnings().len(), 26 - 4);
    assert!(problem_list(m.warnings()).contains("item `tax.rating`: not mapped"));
    assert_eq!(
        m.queries()[0].sql,
        "SELECT t.\"c\" AS \"c\", t.\"day\" AS \"day\", t.\"n\" AS \"n\", t.\"s\" AS \"s\" \
         FROM \"ent\" AS t WHERE t.\"uscc\" = :subject"
    );
    assert_eq!(m.queries()[1].key.as_ref().unwrap().1, KeyKind::Year);
}

#[test]
fn each_mistake_is_named_with_place_and_remedy() {
    let cases: &[(&str, &str, &str)] = &[
        // (what is replaced, by what, what the answer contains)
        ("version = 1", "version = 2", "line 1: version of the file is not known (write `version = 1`)"),
        ("\"2026.1\"", "\"2025.9\"", "line 2: written for another catalogue; this gateway has 2026.1"),
        (
            "\"basic.name\"",
            "\"basic.nmae\"",
            "line 9, item `basic.nmae`: the catalogue has no such item (did you mean `basic.name`?",
        ),
        (
            "\"basic.name\"",
            "\"weather.rain\"",
            "item `weather.rain`: the catalogue has no such item (see `/v1/catalogue`, or load",
        ),
        (
            "\"basic.name\" = { column = \"n\" }",
            "\"basic.name\" = { column = \"n\", from = \"yuan\" }",
            "line 9, item `basic.name`: cannot be read `from = \"yuan\"` (use one of \"text\")",
        ),
        (
            ", from = \"yuan\"",
            "",
            "line 11, item `basic.registered-capital`: its unit is not said (set `from` to one of \"fen\", \"yuan\", \"wan-yuan\")",
        ),
        (
            "\"active\"",
            "\"alive\"",
            "line 10, item `basic.status`: `1` is mapped to `alive`, which its enumeration lacks (use one of active, suspended",
        ),
        (
            "\"basic.name\" = { column = \"n\" }",
            "\"basic.name\" = { column = \"n\", codes = { \"1\" = \"a\" } }",
            "only a code takes `codes`",
        ),
        (
            "\"tax.paid\" =",
            "\"tax.arrears\" =",
            "line 12, query `tax`: has a key, but its items occur once (remove `key`)",
        ),
        (
            "key = { column = \"y\" }\n",
            "",
            "line 12, query `tax`: its items occur more than once, but it has no key (add `key =",
        ),
        (
            "\"tax.paid\" =",
            "\"tax.arrears\" = { column = \"a\", from = \"fen\" }\n\"tax.paid\" =",
            "query `tax`: mixes items with different keys (none, year)",
        ),
        (
            "\"tax.paid\" =",
            "\"basic.name\" = { column = \"n\" }\n\"tax.paid\" =",
            "line 18, item `basic.name`: query `registration` maps it too",
        ),
        ("from = \"year-end\"", "from = \"year\"", "query `tax`, as_of: cannot be read `from = \"year\"`"),
        (
            "key = { column = \"y\" }",
            "key = { column = \"y\", from = \"month\" }",
            "query `tax`, key: cannot be read `from = \"month\"` (use one of \"year\")",
        ),
        (
            "subject = \"uscc\"\n",
            "",
            "line 3, query `registration`: says neither `sql` alone nor `table` with `subject`",
        ),
        (
            "table = \"ent\"",
            "table = \"ent\"\nsql = \"SELECT 1\"",
            "query `registration`: says neither `sql` alone",
        ),
        (
            "name = \"tax\"",
            "name = \"registration\"",
            "line 12, query `registration`: a query of this name stands above",
        ),
        ("name = \"tax\"", "name = \"a b\"", "the name is not 1 to 64 letters"),
        ("\"tax.paid\" = { column = \"paid\", from = \"fen\" }\n", "", "query `tax`: no items"),
        // syntax and types: the first, with its line
        ("from = \"fen\"", "from = \"cent\"", "line 18: unknown variant `cent`"),
        ("from = \"fen\"", "form = \"fen\"", "line 18: unknown field `form`"),
        ("name = \"tax\"", "name = \"tax\"\ncolour = 1", "unknown field `colour`"),
        ("version = 1", "version = \"one\"", "line 1: invalid type"),
        ("[[query]]\nname = \"tax\"", "[[query\nname = \"tax\"", "line 12: "),
        ("version = 1\n", "", "missing field `version`"),
    ];
    for (from, to, expected) in cases {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let found = problems(&text);
        assert!(found.contains(expected), "{from} → {to}:\nexpected {expected}\nfound {found}");
    }
}

#[test]
fn problems_come_all_at_once() {
    let text = GOOD
        .replace("version = 1", "version = 9")
        .replace("basic.name", "basic.nmae")
        .replace("from = \"yuan\"", "from = \"percent\"")
        .replace("key = { column = \"y\" }\n", "");
    assert_eq!(problems(&text).lines().count(), 4, "{}", problems(&text));
    assert!(problems("version = 1\ncatalogue = \"2026.1\"\n").contains("0 queries"));
}

#[test]
fn identifiers_cannot_leave_their_quotes() {
    let text = GOOD.replace("\"ent\"", "'''ent\" AS t; DROP TABLE \"ent'''");
    let m = Mapping::parse(&text, &Catalogue::builtin()).unwrap();
    assert!(m.queries()[0].sql.contains("FROM \"ent\"\" AS t; DROP TABLE \"\"ent\" AS t"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_mapping_or_a_list_of_problems(s in ".{0,200}", at in 0usize..600, cut in 0usize..40) {
        let _ = Mapping::parse(&s, &Catalogue::builtin());
        let mut mutated = GOOD.to_owned();
        let at = at.min(mutated.len());
        mutated.replace_range(at..(at + cut).min(GOOD.len()), &s);
        if let Err(list) = Mapping::parse(&mutated, &Catalogue::builtin()) {
            proptest::prop_assert!(!list.is_empty());
        }
    }
}
