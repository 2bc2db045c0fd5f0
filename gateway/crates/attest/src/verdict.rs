//! What an appraisal found: every check by a stable name, and for a failure the component to blame.

use crate::{attest_structure::Counters, error::one_line};
use gw_proto::{HexBytes, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a good verdict lasts. A bad one acts at once.
pub const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $zh:literal, $en:literal;)*) => {
        /// The checks. Names are stable: the ledger, scripts and tests match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum CheckName {
            $(#[doc = $en] #[serde(rename = $name)] $variant,)*
        }
        impl CheckName {
            /// All, in the order they are listed.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// (Chinese, English).
            pub fn labels(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($zh, $en),)* }
            }
        }
    };
}

checks! {
    BundleSize, "bundle-size", "证据大小", "size of the bundle";
    BundleForm, "bundle-form", "证据格式", "form of the bundle";
    Device, "device", "设备", "the bundle is of the device that was asked";
    Nonce, "nonce", "随机数", "the bundle answers this challenge";
    NonceFresh, "nonce-fresh", "随机数有效期", "the challenge has not expired";
    TlsNode, "tls-node", "TLS 绑定", "the session's TLS key is bound to the same node on the ledger";
    AkForm, "attestation-key-form", "证明密钥格式", "form of the attestation key";
    AkScheme, "attestation-key-scheme", "证明密钥算法", "curve, scheme and hash of the attestation key belong together";
    AkAttributes, "attestation-key-attributes", "证明密钥属性", "the attestation key signs only what its chip says and cannot leave it";
    AkEnrolled, "attestation-key-enrolled", "证明密钥登记", "the attestation key is the enrolled chip's";
    EndorsementCertificate, "endorsement-certificate", "背书证书", "the endorsement certificate is the enrolled one";
    Magic, "magic", "魔数", "a chip made the statement";
    AttestForm, "attest-form", "声明格式", "form of the statement";
    AttestType, "attest-type", "声明类型", "the statement is a quote";
    ExtraData, "extra-data", "声明绑定", "the quote covers nonce, device, session and claims";
    Signature, "signature", "签名", "the attestation key signed the quote";
    PcrBank, "pcr-bank", "PCR 算法", "the quote is of a bank that policy accepts";
    PcrSelection, "pcr-selection", "PCR 选择", "exactly the PCRs of the policy are quoted";
    PcrValues, "pcr-values", "PCR 值", "there is a value for each quoted PCR";
    PcrDigest, "pcr-digest", "PCR 摘要", "the values are those that were quoted";
    ReleaseKnown, "release-known", "版本已知", "there is a signed manifest of the release";
    ReleaseInDate, "release-in-date", "版本有效期", "the release is in date";
    ReleaseFloor, "release-floor", "防回滚", "the release is not below the floor";
    ReferencePcrs, "reference-pcrs", "基准完整", "the manifest has a reference for each PCR of the policy";
    EventLog, "event-log", "事件日志", "the event logs can be read";
    LogReplay, "log-replay", "日志重放", "the logged digests lead to the quoted values";
    KnownEvents, "known-events", "已知事件", "all events are of known types";
    EventDescription, "event-description", "事件描述", "descriptions agree with what was measured";
    Component, "component", "组件", "what was measured is what the release measures";
    Inventory, "inventory", "软件清单", "the list of software is the measured one";
    Configuration, "configuration", "配置", "the configuration is the measured one, and approved";
    ConfigurationFile, "configuration-file", "配置所指文件", "the files that the configuration names are the measured ones, and approved";
    NodeKey, "node-key", "节点密钥", "the signing chip certifies the enrolled node key";
    ResetCount, "reset-count", "复位计数", "the reset counter did not go back";
    RestartCount, "restart-count", "重启计数", "the restart counter did not go back";
    Clock, "clock", "芯片时钟", "the chip's clock did not go back";
    Silence, "silence", "失联", "there is evidence within the interval";
}

impl std::fmt::Display for CheckName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// it holds
    Ok,
    /// it does not
    Failed,
    /// what it builds on failed
    NotChecked,
}

/// One check of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// which
    pub name: CheckName,
    /// what it found
    pub outcome: Outcome,
    /// which part of the box is to blame, where the check is about one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// what should be there; empty where nothing failed
    pub expected: String,
    /// what is there
    pub found: String,
}

/// The counters of the last good evidence, to compare the next with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// name of the attestation key: counters of different keys cannot be compared
    pub attestation_key: HexBytes,
    /// as quoted
    pub counters: Counters,
}

/// Result of an appraisal (RFC 9334: attestation result).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// of which device
    pub device: NodeId,
    /// the release it says it runs; proved only if the verdict is good
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// when it was judged
    pub at: UnixMillis,
    /// until when the others may rely on it; none if it is bad
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<UnixMillis>,
    /// none unless the quote's signature holds
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Previous>,
    /// all checks, in order
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Nothing failed and nothing was left out.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|c| c.outcome == Outcome::Ok)
    }

    /// All that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.outcome == Outcome::Failed)
    }

    /// Some lines for a terminal, in Chinese and English; more only where more fails.
    pub fn render(&self) -> String {
        let result = if self.passed() { "可信 · TRUSTED" } else { "不可信 · NOT TRUSTED" };
        let release = self.release.as_deref().unwrap_or("?");
        let mut out = vec![format!("{} {release}: {result} ({})", self.device, self.at.rfc3339())];
        for c in self.failed() {
            let (zh, en) = c.name.labels();
            let whose = c.component.as_ref().map(|c| format!(" [{c}]")).unwrap_or_default();
            out.push(format!("  ✗ {}{whose}: {zh} {en}", c.name));
            out.push(format!("      应为 expected: {}", c.expected));
            out.push(format!("      实为 found:    {}", c.found));
        }
        let left_out = self.checks.iter().filter(|c| c.outcome == Outcome::NotChecked).count();
        if left_out > 0 {
            out.push(format!("  – {left_out} 项未核验 checks rest on what failed"));
        }
        out.push(String::new());
        out.join("\n")
    }
}

/// Checks in the making.
#[derive(Debug, Default)]
pub(crate) struct Sheet(pub(crate) Vec<Check>);

impl Sheet {
    /// A check of one thing; the answer again, to go on with.
    pub(crate) fn check(
        &mut self,
        name: CheckName,
        holds: bool,
        expected: impl ToString,
        found: impl ToString,
    ) -> bool {
        self.put(name, None, holds, &expected.to_string(), &found.to_string());
        holds
    }

    /// A failure with a component to blame.
    pub(crate) fn blame(&mut self, name: CheckName, component: &str, expected: &str, found: &str) {
        self.put(name, Some(component), false, expected, found);
    }

    pub(crate) fn fine(&mut self, name: CheckName, found: impl ToString) {
        self.put(name, None, true, "", &found.to_string());
    }

    /// Not checked, because something before it failed.
    pub(crate) fn skip(&mut self, names: &[CheckName], why: &str) {
        for name in names {
            let (outcome, found) = (Outcome::NotChecked, one_line(why));
            self.0.push(Check { name: *name, outcome, component: None, expected: String::new(), found });
        }
    }

    /// Whether the check is on the sheet with failures.
    pub(crate) fn has_failed(&self, name: CheckName) -> bool {
        self.0.iter().any(|c| c.name == name && c.outcome != Outcome::Ok)
    }

    fn put(&mut self, name: CheckName, component: Option<&str>, holds: bool, expected: &str, found: &str) {
        self.0.push(Check {
            name,
            outcome: if holds { Outcome::Ok } else { Outcome::Failed },
            component: component.map(one_line),
            expected: if holds { String::new() } else { one_line(expected) },
            found: one_line(found),
        });
    }
}
