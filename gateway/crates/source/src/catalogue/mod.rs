//! What may stand in a report: six dimensions, 26 items of our own, and an institution's extras.
//!
//! The case study of the Yangtze River Delta credit chain speaks of six dimensions and 26 items; the figure
//! that lists the 26 is lost. These 26 are **ours**, chosen to fit the six dimensions, and carry a version so
//! that a later list can replace them. Ids read `dimension.name`. An institution may add items of its own,
//! `dimension.x-name`, from a TOML file ([`extension`]); the version names the common part only.
//!
//! Grades follow the levels of JR/T 0197-2020 (financial data security, guidelines for data security
//! classification): 1 public, 2 for limited circulation, 3 for those who must know, 4 for key business of
//! large institutions. Its level 5, important data of the state, has no place in a report. The standard's
//! annex A is a reference, not a rule: the grade given to each item here is our own reading of it.

mod builtin;
pub mod extension;
mod print;
mod schema;
mod validate;

use gw_proto::{
    Digest, Dimension,
    canon::{self, CanonError, domain},
    report,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

pub use validate::ItemProblem;

/// Version of the common part.
pub const VERSION: &str = "2026.1";

/// A language of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// Chinese
    Zh,
    /// English
    En,
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Chinese
    pub zh: String,
    /// English
    pub en: String,
}

impl Label {
    /// The text in one language.
    pub fn of(&self, lang: Lang) -> &str {
        match lang {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
}

/// Which kind of value an item takes: the variants of [`report::Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// free text
    Text,
    /// a whole number
    Integer,
    /// fen
    Money,
    /// basis points
    Rate,
    /// YYYY-MM-DD
    Date,
    /// a code of the item's enumeration
    Code,
}

impl Kind {
    /// The kind of a value.
    pub fn of(value: &report::Value) -> Self {
        match value {
            report::Value::Text(_) => Self::Text,
            report::Value::Integer(_) => Self::Integer,
            report::Value::Money(_) => Self::Money,
            report::Value::Rate(_) => Self::Rate,
            report::Value::Date(_) => Self::Date,
            report::Value::Code(_) => Self::Code,
        }
    }
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Money => "money",
            Self::Rate => "rate",
            Self::Date => "date",
            Self::Code => "code",
        }
    }
}

/// What tells occurrences of a repeatable item apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// YYYY
    Year,
    /// YYYY-MM
    Month,
    /// a number given by a court, an office or a lender
    Reference,
}

impl KeyKind {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Reference => "reference",
        }
    }
}

/// Sensitivity after JR/T 0197-2020, 1 to 4.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8")]
pub struct Grade(u8);

impl Grade {
    /// The number.
    pub fn level(self) -> u8 {
        self.0
    }
}
impl TryFrom<u8> for Grade {
    type Error = String;
    fn try_from(level: u8) -> Result<Self, String> {
        match level {
            1..=4 => Ok(Self(level)),
            _ => Err("a grade is 1 to 4; level 5 of JR/T 0197-2020 has no place in a report".to_owned()),
        }
    }
}
impl From<Grade> for u8 {
    fn from(g: Grade) -> u8 {
        g.0
    }
}

/// One code of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeDef {
    /// what stands in the item
    pub code: String,
    /// what people read
    pub label: Label,
}

/// One item of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemDef {
    /// `dimension.name`, or `dimension.x-name` for an institution's own
    pub id: String,
    /// its dimension
    pub dimension: Dimension,
    /// what people read
    pub label: Label,
    /// which kind of value
    pub kind: Kind,
    /// how sensitive
    #[schemars(with = "u8", range(min = 1, max = 4))]
    pub grade: Grade,
    /// what tells occurrences apart; none = occurs at most once
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyKind>,
    /// unit of an integer, in both languages
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Label>,
    /// least value of a number
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// greatest value of a number
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// most bytes of a text in UTF-8
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
    /// the enumeration of a code
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<CodeDef>,
    /// what exactly is meant
    pub description: Label,
}

impl ItemDef {
    /// An institution's own item.
    pub fn is_extension(&self) -> bool {
        is_extension_id(&self.id)
    }
    /// The code's definition.
    pub fn code(&self, code: &str) -> Option<&CodeDef> {
        self.codes.iter().find(|c| c.code == code)
    }
    /// Bounds of a number: its own, within what canonical JSON carries.
    pub fn bounds(&self) -> (i64, i64) {
        (self.min.unwrap_or(-canon::MAX_SAFE_INTEGER), self.max.unwrap_or(canon::MAX_SAFE_INTEGER))
    }
    /// Most bytes of a text.
    pub fn text_limit(&self) -> usize {
        self.max_bytes.and_then(|n| usize::try_from(n).ok()).unwrap_or(extension::MAX_TEXT_BYTES)
    }
}

/// `operation.x-order-backlog`: an institution's own, unknown to others.
pub fn is_extension_id(id: &str) -> bool {
    id.split_once('.').is_some_and(|(_, name)| name.starts_with("x-"))
}

/// One dimension of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DimensionDef {
    /// its name on the wire
    pub id: Dimension,
    /// what people read
    pub label: Label,
}

/// The catalogue as it is served and hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogueDocument {
    /// 1
    pub v: u32,
    /// version of the common part
    pub version: String,
    /// in the order of a report
    pub dimensions: Vec<DimensionDef>,
    /// in the order of a report: the common ones, then the institution's own
    pub items: Vec<ItemDef>,
}

/// The catalogue, indexed.
#[derive(Debug, Clone)]
pub struct Catalogue {
    document: CatalogueDocument,
    index: HashMap<String, usize>,
}

impl Catalogue {
    /// The common part: 26 items.
    pub fn builtin() -> Self {
        let dimensions = Dimension::ALL
            .into_iter()
            .map(|id| {
                let (zh, en) = id.labels();
                DimensionDef { id, label: Label { zh: zh.to_owned(), en: en.to_owned() } }
            })
            .collect();
        Self::indexed(CatalogueDocument {
            v: 1,
            version: VERSION.to_owned(),
            dimensions,
            items: builtin::items(),
        })
    }

    fn indexed(document: CatalogueDocument) -> Self {
        let index = document.items.iter().enumerate().map(|(i, d)| (d.id.clone(), i)).collect();
        Self { document, index }
    }

    /// Version of the common part: what a reply names.
    pub fn version(&self) -> &str {
        &self.document.version
    }
    /// The whole document, for `/v1/catalogue`.
    pub fn document(&self) -> &CatalogueDocument {
        &self.document
    }
    /// All items, in the order of a report.
    pub fn items(&self) -> &[ItemDef] {
        &self.document.items
    }
    /// One item.
    pub fn item(&self, id: &str) -> Option<&ItemDef> {
        self.position(id).and_then(|i| self.document.items.get(i))
    }
    /// Where an item stands in a report.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }
    /// Digest of this document, extras included. The ledger's catalogue record names that of [`Self::builtin`].
    pub fn digest(&self) -> Result<Digest, CanonError> {
        canon::jcs_digest(domain::CATALOGUE, &self.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_26_items_in_six_dimensions_and_all_are_well_formed() {
        let c = Catalogue::builtin();
        assert_eq!(c.items().len(), 26);
        for d in Dimension::ALL {
            assert!(c.items().iter().filter(|i| i.dimension == d).count() >= 3, "{d:?}");
        }
        let mut order: Vec<_> = c.items().iter().map(|i| i.dimension).collect();
        assert!(order.is_sorted(), "items stand in the order of a report");
        order.dedup();
        assert_eq!(order, Dimension::ALL);
        assert_eq!(c.index.len(), 26, "no id twice");
        for item in c.items() {
            assert_eq!(extension::definition_problems(item), [] as [(String, String); 0], "{}", item.id);
            assert!(!item.is_extension());
        }
    }

    /// A change of any word of the catalogue is a change of the version: raise VERSION, then this digest.
    #[test]
    fn the_digest_is_golden() {
        let golden = include_str!("../../tests/catalogue-2026.1.digest").trim();
        assert_eq!(Catalogue::builtin().digest().unwrap().to_string(), golden);
    }

    #[test]
    fn grades_are_1_to_4() {
        assert!(Grade::try_from(0).is_err());
        assert!(Grade::try_from(5).is_err());
        assert_eq!(Grade::try_from(4).unwrap().level(), 4);
    }
}
