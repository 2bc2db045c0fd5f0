//! Items as people read them: labels, units, yuan, per cent.

use super::{Catalogue, ItemDef, Lang};
use gw_proto::report::{Item, Value};

impl Catalogue {
    /// The label of an item; its id where the catalogue does not know it.
    pub fn label<'a>(&'a self, id: &'a str, lang: Lang) -> &'a str {
        self.item(id).map_or(id, |d| d.label.of(lang))
    }
    /// A value as people read it: `1,234.50 元`, `4.35%`, `存续`.
    pub fn value_text(&self, item: &Item, lang: Lang) -> String {
        value_text(self.item(&item.id), &item.value, lang)
    }
}

fn value_text(def: Option<&ItemDef>, value: &Value, lang: Lang) -> String {
    match value {
        Value::Text(t) | Value::Date(t) => t.clone(),
        Value::Code(c) => {
            def.and_then(|d| d.code(c)).map_or_else(|| c.clone(), |d| d.label.of(lang).to_owned())
        }
        Value::Integer(n) => match def.and_then(|d| d.unit.as_ref()) {
            Some(unit) => format!("{} {}", grouped(*n), unit.of(lang)),
            None => grouped(*n),
        },
        Value::Money(fen) => match lang {
            Lang::Zh => format!("{} 元", hundredths(*fen)),
            Lang::En => format!("CNY {}", hundredths(*fen)),
        },
        Value::Rate(bp) => format!("{}%", hundredths(*bp)),
    }
}

/// 123456 → `1,234.56`.
fn hundredths(n: i64) -> String {
    let (whole, rest) = (n.unsigned_abs() / 100, n.unsigned_abs() % 100);
    format!("{}{}.{rest:02}", if n < 0 { "-" } else { "" }, grouped_unsigned(whole))
}

fn grouped(n: i64) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, grouped_unsigned(n.unsigned_abs()))
}

fn grouped_unsigned(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well_in_both_languages() {
        let c = Catalogue::builtin();
        let text = |id: &str, v: Value, lang| value_text(c.item(id), &v, lang);
        assert_eq!(text("tax.arrears", Value::Money(123_456_789), Lang::Zh), "1,234,567.89 元");
        assert_eq!(text("operation.net-profit", Value::Money(-5), Lang::En), "CNY -0.05");
        assert_eq!(text("financing.loan-rate", Value::Rate(435), Lang::En), "4.35%");
        assert_eq!(text("utility.electricity", Value::Integer(-1000), Lang::Zh), "-1,000 千瓦时");
        assert_eq!(text("basic.status", Value::Code("active".into()), Lang::Zh), "存续");
        assert_eq!(text("basic.status", Value::Code("else".into()), Lang::En), "else");
        assert_eq!(text("unknown", Value::Integer(i64::MIN), Lang::En), "-9,223,372,036,854,775,808");
        assert_eq!(c.label("tax.paid", Lang::En), "tax paid");
        assert_eq!(c.label("x.y", Lang::Zh), "x.y");
    }
}
