//! The console's words: one table, Chinese and English.
//!
//! Adding a text? A row here; pages name it and never hold words of their own.

/// Which language a page is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    /// Chinese, the default
    Zh,
    /// English
    En,
}

impl Lang {
    /// The tag of RFC 5646, for `lang=`.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Zh => "zh-CN",
            Self::En => "en",
        }
    }
    /// The value of the query's `lang`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Zh => Self::En,
            Self::En => Self::Zh,
        }
    }
    /// What the query asks for, else what the browser prefers, else Chinese.
    pub(super) fn choose(asked: Option<&str>, accept_language: &str) -> Self {
        match asked {
            Some("zh") => return Self::Zh,
            Some("en") => return Self::En,
            _ => {}
        }
        let first = |tag: &str| accept_language.to_ascii_lowercase().find(tag);
        match (first("en"), first("zh")) {
            (Some(_), None) => Self::En,
            (Some(en), Some(zh)) if en < zh => Self::En,
            _ => Self::Zh,
        }
    }
    /// One of a pair (Chinese, English), as `labels()` of other crates has it.
    pub(super) fn of(self, (zh, en): (&'static str, &'static str)) -> &'static str {
        match self {
            Self::Zh => zh,
            Self::En => en,
        }
    }
}

/// A text in both languages.
pub(super) type Word = (&'static str, &'static str);

macro_rules! words {
    ($($name:ident = $zh:literal, $en:literal;)*) => {
        $(pub(super) const $name: Word = ($zh, $en);)*
        #[cfg(test)]
        const ALL: &[(&str, Word)] = &[$((stringify!($name), $name)),*];
    };
}

words! {
    // --- every page
    CONSOLE = "信关监督台", "Xinguan supervision";
    SKIP = "跳到正文", "Skip to content";
    PAGES = "页面", "Pages";
    OTHER_LANGUAGE = "English", "中文";
    SIGNED_IN = "操作员", "Operator";
    ROLES = "角色", "roles";
    AS_OF = "截至", "As of";
    NONE = "无", "none";
    HEIGHT = "账本高度", "Height of the ledger";
    BLOCK = "区块", "block";
    BLOCK_HASH = "区块哈希", "Block hash";
    WHEN = "时间", "When";
    WHO = "查询方", "Who";
    WHAT = "维度", "Dimensions";
    COUNT = "次数", "Count";
    INCOMPLETE = "记录过多,这里只有最近的一部分。", "There is more than one answer holds: these are the newest.";
    YES = "是", "yes";
    NO = "否", "no";
    NEWER = "回到最新", "Back to the newest";
    OLDER = "更早", "Older";
    NEXT = "下一页", "Next page";
    PREVIOUS = "上一页", "Previous page";
    PAGE = "页", "page";
    REFUSED = "未能办理", "Refused";
    DETAIL = "说明", "Detail";
    REMEDY = "处理办法", "What to do";
    INCIDENT = "事件编号", "Incident";
    // --- the fleet
    FLEET = "设备总览", "Fleet";
    FLEET_CAPTION = "各设备的最新核验结论,有问题的排在前面", "Each device's newest verdict, those with trouble first";
    DEVICE = "设备", "Device";
    INSTITUTION = "机构", "Institution";
    STANDING = "状态", "Standing";
    SINCE = "自", "Since";
    LAST_EVIDENCE = "最近证据", "Last evidence";
    RELEASE = "所报版本", "Release it claims";
    TO_BLAME = "不符之处", "What does not hold";
    TOTAL = "全部", "All";
    GOOD = "可信", "Trusted";
    BAD = "不可信", "Not trusted";
    WAITING = "待证据", "Waiting for evidence";
    NOT_ENROLLED = "未登记", "Not enrolled";
    NO_DEVICES = "没有这样的设备。", "There are no such devices.";
    // --- one device
    NEWEST_VERDICT = "最新结论", "Newest verdict";
    THAT_VERDICT = "所选结论", "Chosen verdict";
    NO_VERDICT = "还没有结论。", "There is no verdict yet.";
    JUDGED = "核验时间", "Judged";
    GOOD_UNTIL = "可信至", "Good until";
    FAILED_CHECKS = "未通过的核验项", "Checks that failed";
    FAILED_CAPTION = "应为与实为之间的差异已标出", "Where expected and found differ is marked";
    NOTHING_FAILED = "全部核验项均通过。", "All checks hold.";
    ALL_CHECKS = "全部核验项", "All checks";
    CHECK = "核验项", "Check";
    RESULT = "结果", "Result";
    COMPONENT = "组件", "Component";
    EXPECTED = "应为", "Expected";
    FOUND = "实为", "Found";
    HOLDS = "通过", "Holds";
    FAILED = "未通过", "Failed";
    NOT_CHECKED = "未核验", "Not checked";
    EVIDENCE = "证据", "Evidence";
    EXPORT = "导出最新结论所依据的证据 (JSON)", "Export what the newest verdict on evidence rests on (JSON)";
    EXPORT_HOW = "离线复核: xinguan attest verify 文件 --offline --makers makers.json。导出会记入审计。", "To judge it again offline: xinguan attest verify FILE --offline --makers makers.json. Exporting is written to the audit.";
    EXPORT_ROLE = "导出证据需要 auditor 角色。", "Exporting the evidence needs the role auditor.";
    NO_EVIDENCE = "没有可导出的证据。", "There is no evidence to export.";
    TIMELINE = "时间线", "Timeline";
    RUNS = "结论的变化", "When the result changed";
    RUNS_CAPTION = "连续相同结论为一段,最新在前", "Verdicts of the same result in a row are one stretch, newest first";
    FROM = "从", "From";
    TO = "到", "To";
    VERDICTS = "逐次结论", "Single verdicts";
    VERDICTS_CAPTION = "最新在前", "Newest first";
    SHOW = "查看", "Show";
    CHANGED = "有变化", "changed";
    ENROLMENT = "登记", "Enrolment";
    ENROLLED_BY = "登记人", "Enrolled by";
    ENROLLED_AT = "登记时间", "Enrolled";
    ENDORSEMENT = "背书证书 (SM3)", "Endorsement certificate (SM3)";
    CONFIGURATIONS = "已批准的配置", "Approved configurations";
    LEDGER_STANDING = "账本上的状态", "Standing on the ledger";
    ACTIVE = "有效", "active";
    BLOCKED = "已停用", "blocked";
    NOT_LISTED = "账本未列", "not listed";
    REGION = "地区", "Region";
    // --- proposals
    PROPOSALS = "待批事项", "Proposals";
    PROPOSALS_CAPTION = "待批的在前,其后为最近已结束的", "Those that wait first, then the newest others";
    NO_PROPOSALS = "没有提议。", "There are no proposals.";
    PROPOSALS_HOW = "本页只供查看。由另一位操作员用命令行办理: xinguan attest approve 编号,或 refuse、withdraw。", "This page changes nothing. Another operator decides on the command line: xinguan attest approve NUMBER, or refuse, withdraw.";
    NUMBER = "编号", "Number";
    PROPOSED = "事项", "Proposed";
    BY = "由", "By";
    UNTIL = "有效至", "until";
    ACT_DECOMMISSION = "注销设备", "End the enrolment";
    ACT_ENROL = "重新登记", "Enrol anew";
    STATE_OPEN = "待批", "Open";
    STATE_APPROVED = "已批准", "Approved";
    STATE_EXECUTED = "已执行", "Executed";
    STATE_OVERTAKEN = "已失效", "Overtaken";
    STATE_REFUSED = "已否决", "Refused";
    STATE_WITHDRAWN = "已撤回", "Withdrawn";
    STATE_EXPIRED = "已过期", "Expired";
    TRAIL = "操作审计", "Audit trail";
    TRAIL_CAPTION = "最近一百条,最新在前", "The newest hundred, newest first";
    TRAIL_WHOLE = "链接完整", "Whole";
    TRAIL_BROKEN = "链接中断", "Not whole";
    ACT = "操作", "Act";
    // --- traces of use
    TRACES = "使用踪迹", "Traces of use";
    SUBJECT = "统一社会信用代码", "Unified social credit code";
    REASON = "查询理由", "Reason";
    RECORDED = "每次查看(含翻页)都会连同操作员和理由记入审计。代码不会出现在网址和日志中。", "Each view, the next page too, is written to the audit with who and why. The code stands in no address and in no log.";
    LOOK_UP = "查询", "Look up";
    LOOKS_AT = "谁查过", "Who looked at";
    NOBODY = "没有查询记录。", "Nobody has looked.";
    OPERATOR_TAG = "操作员标识", "operator's tag";
    WHY = "目的", "Why";
    USE = "报告编号", "Report id";
    AUTHORIZATION = "授权", "Authorization";
    IN_FORCE = "有效期", "in force";
    USES = "已用次数", "uses";
    REVOKED = "已撤销", "revoked";
    PROOF = "上链证明", "Proof";
    TRANSACTION = "交易", "transaction";
    RECORD = "记录", "record";
    COMMITMENT_MATCHES = "披露内容与链上承诺一致", "the opening matches the commitment on the chain";
    COMMITMENT_DIFFERS = "披露内容与链上承诺不一致", "the opening does NOT match the commitment on the chain";
    INCLUDED = "已当场核验: 记录在经法定多数签名的区块中", "verified just now: the record is in a block that a quorum signed";
    NOT_INCLUDED = "未取得上链证明", "no proof of inclusion was got";
    PROOF_LATE = "本次未及取得上链证明", "the proof of inclusion was not got in time";
    FORGOTTEN = "授权到期九十天后账本状态不再保留,仅区块和本处留有记录。", "The state has forgotten it, 90 days after the authorization's end; blocks and this store have it.";
    TOLD = "双方上链记录", "What both sides told";
    REPLY_LEAF = "应答叶", "reply leaf";
    DELIVERED = "披露方", "Openings delivered by";
    GAPS = "缺口", "Gaps";
    OVERDUE = "已逾期", "overdue";
    NOT_YET_DUE = "尚未到期", "not yet due";
    ASKER = "查询方", "asker";
    SOURCE = "数据源", "source";
    LEVEL_SIGNED = "企业自签", "signed by the enterprise";
    LEVEL_SEALED = "电子签章", "sealed by a service";
    LEVEL_ASSERTED = "机构声明", "asserted by the institution";
    ANSWERED = "已答复", "answered";
    EMPTY = "无数据", "holds nothing";
    SOURCE_REFUSED = "已拒绝", "refused";
    MISSING = "无应答", "no answer";
    GAP_ASKER_UNTRACED = "查询方未上链结果", "the asker told the chain no outcome";
    GAP_ASKER_UNDELIVERED = "查询方未披露", "the asker delivered no opening";
    GAP_SOURCE_UNDELIVERED = "数据源未披露", "a source delivered no opening";
    GAP_SOURCE_UNTRACED = "数据源未上链应答", "the asker tells of an answer that the source does not";
    GAP_ASKER_DENIES = "查询方否认应答", "a source tells of an answer that the asker does not";
    GAP_REPLIES_DIFFER = "双方所记应答不同", "both tell of different replies";
    GAP_OPENINGS_DIFFER = "双方披露不同", "the openings differ";
    OWN_LOOKUPS = "监管方自身的查询", "Look-ups by the supervisor's own staff";
    OWN_CAPTION = "最近一百次,含本次", "The newest hundred, this one included";
    // --- the chain
    CHAIN = "账本健康", "Chain health";
    FRESH = "正常", "Fresh";
    STALE = "过期", "Stale";
    ALARM = "告警", "Alarm";
    HALTED = "已停止", "Halted";
    BLOCK_TIME = "区块时间", "Block time";
    AGE = "距今", "age";
    AT_MOST = "上限", "at most";
    STATE_DIGEST = "状态摘要", "State digest";
    ANCHOR = "最近的监管锚定", "Newest anchor by a supervisor";
    RULES = "规则版本", "Rules version";
    ENDPOINTS = "账本节点", "Endpoints";
    ENDPOINTS_CAPTION = "各节点最近一次的说法", "What each endpoint said last";
    ENDPOINT = "节点", "Endpoint";
    CLAIMED_HEAD = "所报高度", "Head it claims";
    AGREES = "一致至", "Agrees up to";
    LAST_ERROR = "最近错误", "Last error";
    ANSWERS = "应答", "answers";
    FAILS = "出错", "fails";
    MEMBERS = "成员", "Members";
    INSTITUTIONS = "机构", "Institutions";
    GATEWAYS = "网关", "Gateways";
    THIS_SUPERVISOR = "本监督节点", "This supervisor";
    READY = "就绪", "Ready";
    JOURNAL = "审计日志 (条数 · 摘要)", "Journal (entries · digest)";
    OUTBOX = "待发", "Waiting in the outbox";
    // --- limits
    LIMITS = "限额触发", "Limits hit";
    CAPS = "现行限额", "Limits in force";
    CAPS_CAPTION = "治理策略版本", "Policy version";
    NO_POLICY = "账本上还没有策略。", "There is no policy on the ledger yet.";
    LEVEL = "证据级别", "Evidence level";
    MOST_USES = "单份授权最多次数", "Most uses of one authorization";
    PER_DAY = "每机构每日授权数", "Authorizations per institution and day";
    NO_CAP = "不限", "no cap";
    HIT = "被账本规则拒绝的使用", "Uses that the chain's rules refused";
    HIT_WHAT = "各网关自身的速率限额见其指标。", "Rate limits of single gateways are in their own metrics.";
    EXAMINED = "已检查的预留", "Reservations examined";
    NO_HITS = "没有", "none";
    BY_INSTITUTION = "按机构和规则", "By institution and rule";
    RULE = "规则", "Rule";
    LAST = "最近一次", "Last";
    NEWEST_HITS = "最近的拒绝", "Newest refusals";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chinese(text: &str) -> bool {
        text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
    }

    #[test]
    fn every_word_is_there_in_both_languages() {
        for (name, (zh, en)) in ALL.iter().filter(|(name, _)| *name != "OTHER_LANGUAGE") {
            assert!(chinese(zh), "{name}: {zh}");
            assert!(!en.is_empty() && !chinese(en), "{name}: {en}");
        }
    }

    #[test]
    fn the_query_decides_then_the_browser_then_chinese() {
        assert_eq!(Lang::choose(Some("en"), "zh-CN"), Lang::En);
        assert_eq!(Lang::choose(Some("zh"), "en"), Lang::Zh);
        assert_eq!(Lang::choose(Some("xx"), ""), Lang::Zh);
        assert_eq!(Lang::choose(None, "en-GB,en;q=0.9,zh;q=0.5"), Lang::En);
        assert_eq!(Lang::choose(None, "zh-CN,zh;q=0.9,en;q=0.8"), Lang::Zh);
        assert_eq!(Lang::choose(None, "fr"), Lang::Zh);
    }
}
