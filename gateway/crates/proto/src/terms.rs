//! Purposes, dimensions, evidence levels, roles: the words of the trade.

use serde::{Deserialize, Serialize};

/// Why an enterprise's data is asked for: the query reasons of the trade.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
pub enum Purpose {
    /// 贷前(保前)审查: before a loan or guarantee.
    #[serde(rename = "01")]
    PreLoan,
    /// 贷中操作: while a loan is being made.
    #[serde(rename = "02")]
    InLoan,
    /// 贷后(在保)管理: after the loan, monitoring.
    #[serde(rename = "03")]
    PostLoan,
    /// 其他理由: another reason.
    #[serde(rename = "04")]
    Other,
    /// 关联查询: a related enterprise.
    #[serde(rename = "05")]
    Related,
}

impl Purpose {
    /// All, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::PreLoan, Self::InLoan, Self::PostLoan, Self::Other, Self::Related];
    /// Two-digit code.
    pub fn code(self) -> &'static str {
        match self {
            Self::PreLoan => "01",
            Self::InLoan => "02",
            Self::PostLoan => "03",
            Self::Other => "04",
            Self::Related => "05",
        }
    }
    /// (Chinese, English).
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::PreLoan => ("贷前(保前)审查", "before the loan"),
            Self::InLoan => ("贷中操作", "during the loan"),
            Self::PostLoan => ("贷后(在保)管理", "after the loan"),
            Self::Other => ("其他理由", "other"),
            Self::Related => ("关联查询", "related enterprise"),
        }
    }
}

/// The six dimensions of a report.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Dimension {
    /// 基本信息
    Basic,
    /// 经营信息
    Operation,
    /// 法律信息
    Legal,
    /// 公共事业
    Utility,
    /// 纳税情况
    Tax,
    /// 融资信息
    Financing,
}

impl Dimension {
    /// All six, in the order of a report.
    pub const ALL: [Self; 6] =
        [Self::Basic, Self::Operation, Self::Legal, Self::Utility, Self::Tax, Self::Financing];
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Operation => "operation",
            Self::Legal => "legal",
            Self::Utility => "utility",
            Self::Tax => "tax",
            Self::Financing => "financing",
        }
    }
    /// (Chinese, English).
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Basic => ("基本信息", "basic information"),
            Self::Operation => ("经营信息", "operation"),
            Self::Legal => ("法律信息", "legal"),
            Self::Utility => ("公共事业", "utilities"),
            Self::Tax => ("纳税情况", "tax"),
            Self::Financing => ("融资信息", "financing"),
        }
    }
}

/// How well an authorization is proved. Order: weaker < stronger.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceLevel {
    /// The institution says so; only the document's digest is given.
    Asserted,
    /// Sealed by a recognised electronic-seal service.
    Sealed,
    /// Signed by the enterprise's own key.
    Signed,
}

/// What a node may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Asks for reports.
    Institution,
    /// Answers from a database of its own.
    Source,
    /// Supervises, alone on its box.
    Supervisor,
}

/// Whether a listed thing may act.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// May act.
    Active,
    /// Listed, but may not act.
    Blocked,
}
