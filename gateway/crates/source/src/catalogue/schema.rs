//! JSON Schema (2020-12) of a report's items and of the catalogue document.

use super::{Catalogue, CatalogueDocument, ItemDef, KeyKind, Kind, validate::MAX_KEY_BYTES};
use serde_json::{Value as Json, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const DATE: &str = "^(1[89]|2[01])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";
const YEAR: &str = "^(1[89]|2[01])[0-9]{2}$";
const MONTH: &str = "^(1[89]|2[01])[0-9]{2}-(0[1-9]|1[0-2])$";
const PRINTABLE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$";

impl Catalogue {
    /// Schema of the array of items in a reply or report. What a schema cannot say (days of a month, bytes of
    /// a text, no item twice) [`Catalogue::validate_all`] checks besides.
    pub fn items_schema(&self) -> Json {
        let defs: serde_json::Map<String, Json> =
            self.items().iter().map(|d| (d.id.clone(), item_schema(d))).collect();
        let refs: Vec<Json> =
            self.items().iter().map(|d| json!({"$ref": format!("#/$defs/{}", d.id)})).collect();
        json!({
            "$schema": DRAFT,
            "title": format!("items of catalogue {}", self.version()),
            "type": "array",
            "maxItems": crate::adapter::MAX_ITEMS,
            "items": {"oneOf": refs},
            "$defs": defs,
        })
    }

    /// Schema of [`CatalogueDocument`].
    pub fn document_schema() -> Json {
        schemars::schema_for!(CatalogueDocument).to_value()
    }
}

fn item_schema(def: &ItemDef) -> Json {
    let mut required = vec!["id", "dimension", "value", "as_of"];
    let mut properties = json!({
        "id": {"const": def.id},
        "dimension": {"const": def.dimension},
        "value": {
            "type": "object",
            "properties": {"kind": {"const": def.kind}, "value": value_schema(def)},
            "required": ["kind", "value"],
            "additionalProperties": false,
        },
        "as_of": {"type": "string", "pattern": DATE},
        "disputed": {"type": "boolean"},
    });
    if let (Some(key), Some(map)) = (def.key, properties.as_object_mut()) {
        required.push("key");
        map.insert("key".to_owned(), key_schema(key));
    }
    json!({
        "title": def.label.en,
        "description": format!("{} — {}", def.label.zh, def.description.en),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn key_schema(key: KeyKind) -> Json {
    match key {
        KeyKind::Year => json!({"type": "string", "pattern": YEAR}),
        KeyKind::Month => json!({"type": "string", "pattern": MONTH}),
        KeyKind::Reference => json!({"type": "string", "maxLength": MAX_KEY_BYTES, "pattern": PRINTABLE}),
    }
}

fn value_schema(def: &ItemDef) -> Json {
    match def.kind {
        Kind::Text => json!({"type": "string", "maxLength": def.text_limit(), "pattern": PRINTABLE}),
        Kind::Integer | Kind::Money | Kind::Rate => {
            let (min, max) = def.bounds();
            json!({"type": "integer", "minimum": min, "maximum": max})
        }
        Kind::Date => json!({"type": "string", "pattern": DATE}),
        Kind::Code => json!({"enum": def.codes.iter().map(|c| &c.code).collect::<Vec<_>>()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{
        Dimension,
        report::{Item, Value},
    };

    fn sample(def: &ItemDef) -> Item {
        let value = match def.kind {
            Kind::Text => Value::Text("甲".into()),
            Kind::Integer => Value::Integer(1),
            Kind::Money => Value::Money(1),
            Kind::Rate => Value::Rate(1),
            Kind::Date => Value::Date("2024-02-29".into()),
            Kind::Code => Value::Code(def.codes[0].code.clone()),
        };
        let key = def.key.map(|k| match k {
            KeyKind::Year => "2025".to_owned(),
            KeyKind::Month => "2025-12".to_owned(),
            KeyKind::Reference => "(2025)浙01民初1号".to_owned(),
        });
        Item {
            id: def.id.clone(),
            dimension: def.dimension,
            value,
            as_of: "2026-06-30".into(),
            key,
            disputed: false,
        }
    }

    #[test]
    fn the_schema_takes_each_item_and_refuses_what_validate_refuses() {
        let c = Catalogue::builtin();
        let schema = jsonschema::validator_for(&c.items_schema()).unwrap();
        let one = |i: &Item| schema.is_valid(&json!([i]));
        for def in c.items() {
            let good = sample(def);
            assert_eq!(c.validate(&good), Ok(()));
            assert!(one(&good), "{}", def.id);
            let mut bad = good.clone();
            bad.id.push('x');
            assert!(!one(&bad));
            let mut bad = good.clone();
            bad.dimension = if def.dimension == Dimension::Tax { Dimension::Legal } else { Dimension::Tax };
            assert!(!one(&bad) && c.validate(&bad).is_err());
            let mut bad = good.clone();
            bad.as_of = "30.6.2026".into();
            assert!(!one(&bad) && c.validate(&bad).is_err());
            let mut bad = good.clone();
            bad.key = if def.key.is_some() { None } else { Some("2025".into()) };
            assert!(!one(&bad) && c.validate(&bad).is_err(), "{}", def.id);
            let mut bad = good.clone();
            bad.value = match def.kind {
                Kind::Text => Value::Text("\n".into()),
                Kind::Integer | Kind::Money | Kind::Rate => Value::Text("1".into()),
                Kind::Date => Value::Date("2024-02-30x".into()),
                Kind::Code => Value::Code("?".into()),
            };
            assert!(!one(&bad) && c.validate(&bad).is_err(), "{}", def.id);
        }
    }

    #[test]
    fn the_document_follows_its_own_schema() {
        let c = Catalogue::builtin();
        let schema = jsonschema::validator_for(&Catalogue::document_schema()).unwrap();
        let mut document = serde_json::to_value(c.document()).unwrap();
        assert!(schema.is_valid(&document));
        let back: CatalogueDocument = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(&back, c.document());
        document["items"][0]["grade"] = json!(5);
        assert!(!schema.is_valid(&document), "grade 5");
        document["items"][0]["grade"] = json!(1);
        document["items"][0]["colour"] = json!("red");
        assert!(!schema.is_valid(&document), "unknown member");
    }
}
