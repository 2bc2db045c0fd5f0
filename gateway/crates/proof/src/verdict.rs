//! What a verification found: every check by name, and one screen for people in Chinese and English.

use gw_proto::{Height, InstitutionId, NodeId, Purpose, ReportId, UnixMillis, genesis::Engine};
use serde::Serialize;

/// The checks. Names are stable: scripts and tests match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// the file's size
    Size,
    /// JSON of the expected shape, known versions, bounded lists
    Form,
    /// a node's certificate chain at the report's time
    Certificate,
    /// the report's leaf
    ReportSignature,
    /// a reply's leaf
    ReplySignature,
    /// a reply is of this use, to this asker, after the reservation, once per source
    ReplyBinding,
    /// a reply's items are sane and within the dimensions
    ReplyItems,
    /// the report lists exactly the given replies
    ReplyList,
    /// what became of each source agrees with the replies
    Parts,
    /// the report's items are what the replies say
    MergedItems,
    /// the report is of the use that the opening describes
    OpeningFields,
    /// the report id follows from writer and opening
    ReportId,
    /// the header's fields have the claimed hash
    Header,
    /// a quorum of the pinned sealers signed the header
    SealerQuorum,
    /// the transaction is of the pinned chain and contract and carries a payload
    Transaction,
    /// the transaction stands in the block
    TransactionPath,
    /// the payload is a batch for this chain, in date
    Batch,
    /// the asker's node key signed the batch
    BatchSignature,
    /// the batch's record is the reservation of this use
    Reservation,
    /// the opening is what the reservation commits to
    Commitment,
    /// the report names the reservation's block
    ReservedAt,
    /// the receipt is this transaction's and says done
    Receipt,
    /// the receipt stands in the block
    ReceiptPath,
    /// the reservation was accepted: a source says so
    Accepted,
}

use CheckName as N;

impl CheckName {
    /// All, in the order they are listed.
    pub const ALL: [Self; 24] = [
        N::Size,
        N::Form,
        N::Certificate,
        N::ReportSignature,
        N::ReplySignature,
        N::ReplyBinding,
        N::ReplyItems,
        N::ReplyList,
        N::Parts,
        N::MergedItems,
        N::OpeningFields,
        N::ReportId,
        N::Header,
        N::SealerQuorum,
        N::Transaction,
        N::TransactionPath,
        N::Batch,
        N::BatchSignature,
        N::Reservation,
        N::Commitment,
        N::ReservedAt,
        N::Receipt,
        N::ReceiptPath,
        N::Accepted,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            N::Size => "size",
            N::Form => "form",
            N::Certificate => "certificate",
            N::ReportSignature => "report-signature",
            N::ReplySignature => "reply-signature",
            N::ReplyBinding => "reply-binding",
            N::ReplyItems => "reply-items",
            N::ReplyList => "reply-list",
            N::Parts => "parts",
            N::MergedItems => "merged-items",
            N::OpeningFields => "opening-fields",
            N::ReportId => "report-id",
            N::Header => "header",
            N::SealerQuorum => "sealer-quorum",
            N::Transaction => "transaction",
            N::TransactionPath => "transaction-path",
            N::Batch => "batch",
            N::BatchSignature => "batch-signature",
            N::Reservation => "reservation",
            N::Commitment => "commitment",
            N::ReservedAt => "reserved-at",
            N::Receipt => "receipt",
            N::ReceiptPath => "receipt-path",
            N::Accepted => "accepted",
        }
    }

    /// (Chinese, English).
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            N::Size => ("文件大小", "size of the file"),
            N::Form => ("格式", "form"),
            N::Certificate => ("节点证书", "node certificate"),
            N::ReportSignature => ("报告签名", "signature of the report"),
            N::ReplySignature => ("应答签名", "signature of a reply"),
            N::ReplyBinding => ("应答归属", "reply belongs to this use"),
            N::ReplyItems => ("应答数据项", "items of a reply"),
            N::ReplyList => ("应答清单", "list of replies"),
            N::Parts => ("来源状态", "what became of each source"),
            N::MergedItems => ("合并结果", "merged items"),
            N::OpeningFields => ("查询要素", "subject, purpose, dimensions"),
            N::ReportId => ("报告编号", "report id"),
            N::Header => ("区块头", "block header"),
            N::SealerQuorum => ("共识签名", "sealers' quorum"),
            N::Transaction => ("交易", "transaction"),
            N::TransactionPath => ("交易在块中", "transaction in the block"),
            N::Batch => ("记录批次", "batch of records"),
            N::BatchSignature => ("批次签名", "signature of the batch"),
            N::Reservation => ("预约记录", "reservation record"),
            N::Commitment => ("承诺值", "commitment"),
            N::ReservedAt => ("预约高度", "height of the reservation"),
            N::Receipt => ("回执", "receipt"),
            N::ReceiptPath => ("回执在块中", "receipt in the block"),
            N::Accepted => ("预约被接受", "reservation accepted"),
        }
    }

    fn topic(self) -> Topic {
        match self {
            N::Size | N::Form => Topic::File,
            N::Certificate | N::ReportSignature | N::ReplySignature => Topic::Signatures,
            N::ReplyBinding | N::ReplyItems | N::ReplyList | N::Parts | N::MergedItems => Topic::Content,
            N::OpeningFields | N::ReportId | N::Reservation | N::Commitment | N::ReservedAt => Topic::Use,
            N::Accepted => Topic::Acceptance,
            _ => Topic::Inclusion,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    File,
    Signatures,
    Content,
    Use,
    Inclusion,
    Acceptance,
}

impl Topic {
    const PROVABLE: [Self; 4] = [Self::Signatures, Self::Content, Self::Use, Self::Inclusion];

    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::File => ("文件", "file"),
            Self::Signatures => ("签名", "signed by the asker's and the sources' nodes"),
            Self::Content => ("内容", "the report says what the replies say, and names what is missing"),
            Self::Use => ("用途", "the reservation commits to this subject, purpose and dimensions"),
            Self::Inclusion => ("上链", "included"),
            Self::Acceptance => ("接受", "accepted"),
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// it holds
    Ok,
    /// it does not
    Failed,
    /// what it builds on failed, or is not there
    NotChecked,
}

/// One check of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// which
    pub name: CheckName,
    /// the node it is about, where there are several
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<NodeId>,
    /// what it found
    pub outcome: Outcome,
    /// one line
    pub detail: String,
}

/// Somebody's signed word, which the file alone cannot prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attestation {
    /// who says so
    pub by: NodeId,
    /// after which block
    pub height: Height,
}

/// What the file says of itself; proved only if the verdict is [`Verdict::ok`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// the use
    pub report_id: ReportId,
    /// institution that asked, as the report says
    pub asker: InstitutionId,
    /// node that made the report
    pub node: NodeId,
    /// when, as the report says
    pub created: UnixMillis,
    /// for what
    pub purpose: Purpose,
    /// block of the reservation
    pub block: Height,
    /// that block's time: the proposer's clock
    pub block_time: UnixMillis,
    /// every source answered or holds nothing
    pub complete: bool,
    /// items
    pub items: usize,
    /// of these, in conflict
    pub conflicting: usize,
    /// of these, disputed
    pub disputed: usize,
    /// verified or not: how many replies
    pub replies: usize,
    /// sources without a reply, and why
    pub gaps: Vec<(NodeId, String)>,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// all checks, in order
    pub checks: Vec<Check>,
    /// who attests that the reservation was accepted
    pub accepted_by: Vec<Attestation>,
    /// what kind of chain the trust file pins
    pub engine: Engine,
    /// absent if the file could not be read
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

impl Verdict {
    /// Nothing failed and nothing was skipped. One exception: where no source replied, nobody can attest
    /// acceptance; such a report holds no data, and says so.
    pub fn ok(&self) -> bool {
        let fine = |c: &Check| match c.outcome {
            Outcome::Ok => true,
            Outcome::Failed => false,
            Outcome::NotChecked => {
                c.name == N::Accepted && self.summary.as_ref().is_some_and(|s| s.replies == 0)
            }
        };
        !self.checks.is_empty() && self.checks.iter().all(fine)
    }

    /// All that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.outcome == Outcome::Failed)
    }

    /// One screen for a terminal, in Chinese and English; more only where more fails.
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        out.push(match self.ok() {
            true => "信关核验：通过 · Xinguan verification: OK".to_owned(),
            false => "信关核验：未通过 · Xinguan verification: FAILED".to_owned(),
        });
        if self.engine == Engine::Development {
            out.push(
                "开发账本 DEVELOPMENT LEDGER: one process made this chain; it binds no consortium".into(),
            );
        }
        if let Some(s) = &self.summary {
            s.render(self.ok(), &mut out);
        }
        out.push(String::new());
        out.push("证明 Proof".into());
        out.extend(Topic::PROVABLE.into_iter().map(|t| self.topic_line(t)));
        out.push("已见证 Attested".into());
        self.acceptance(&mut out);
        self.problems(Outcome::Failed, "未通过 Failed", "✗", &mut out);
        self.problems(Outcome::NotChecked, "未核验 Not checked", "–", &mut out);
        out.push(String::new());
        out.join("\n")
    }

    fn topic_line(&self, topic: Topic) -> String {
        let of: Vec<_> = self.checks.iter().filter(|c| c.name.topic() == topic).collect();
        let good = of.iter().filter(|c| c.outcome == Outcome::Ok).count();
        let (zh, en) = topic.labels();
        let (mark, proved) = match !of.is_empty() && good == of.len() {
            true => ("✓", "proved"),
            false => ("✗", "NOT proved"),
        };
        let block = match (&self.summary, topic) {
            (Some(s), Topic::Inclusion) if proved == "proved" => {
                format!(", block {} of {}", s.block, s.block_time.rfc3339())
            }
            _ => String::new(),
        };
        format!("  {mark} {zh} {en}: {proved}{block} ({good} of {} checks hold)", of.len())
    }

    fn acceptance(&self, out: &mut Vec<String>) {
        const SHOWN: usize = 6;
        for a in self.accepted_by.iter().take(SHOWN) {
            out.push(format!("  ✓ 预约被接受 accepted: attested by source {} at height {}", a.by, a.height));
        }
        if let Some(more @ 1..) = self.accepted_by.len().checked_sub(SHOWN) {
            out.push(format!("    … {more} more 另有"));
        }
        if self.accepted_by.is_empty() {
            out.push("  – 预约是否被接受：无人见证 accepted: nobody attests it".into());
        } else {
            out.push("    (同样由来源见证：节点属于所称机构 so is: the asking node belongs to the named institution)".into());
        }
    }

    fn problems(&self, which: Outcome, title: &str, mark: &str, out: &mut Vec<String>) {
        let of: Vec<_> = self.checks.iter().filter(|c| c.outcome == which).collect();
        if of.is_empty() {
            return;
        }
        out.push(title.to_owned());
        for c in of {
            let (zh, en) = c.name.labels();
            let about = c.about.as_ref().map(|n| format!(" [{n}]")).unwrap_or_default();
            out.push(format!("  {mark} {}{about} {zh} {en}: {}", c.name.as_str(), c.detail));
        }
    }
}

impl Summary {
    fn render(&self, proved: bool, out: &mut Vec<String>) {
        if !proved {
            out.push("以下为文件自称，未获证明 What follows is the file's own claim, not proved".into());
        }
        let (zh, en) = self.purpose.labels();
        out.push(format!("报告 report     {}", self.report_id));
        out.push(format!("查询方 asker    {}, node {}, {}", self.asker, self.node, self.created.rfc3339()));
        out.push(format!("目的 purpose    {} {zh} · {en}", self.purpose.code()));
        out.push(format!(
            "内容 content    items {}, replies {}, conflicting 矛盾 {}, disputed 异议 {}",
            self.items, self.replies, self.conflicting, self.disputed
        ));
        let gaps: Vec<_> = self.gaps.iter().map(|(node, why)| format!("{node} ({why})")).collect();
        let (zh, en) = if self.complete { ("完整", "complete") } else { ("不完整", "NOT complete") };
        let gaps = if gaps.is_empty() { String::new() } else { format!(": {}", gaps.join(", ")) };
        out.push(format!("范围 coverage   {zh} {en}{gaps}"));
    }
}

/// A detail for a terminal: one line, no control or direction characters, at most 240 characters. Details may quote
/// what a parser found in a stranger's file.
pub(crate) fn one_line(text: &str) -> String {
    let harmful = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = |c: char| if harmful(c) { ' ' } else { c };
    text.chars().map(clean).take(240).collect()
}
