//! The 26 items of version 2026.1: ours, not the paper's.

use super::{CodeDef, Grade, ItemDef, KeyKind, Kind, Label};
use gw_proto::Dimension;

fn label(zh: &str, en: &str) -> Label {
    Label { zh: zh.to_owned(), en: en.to_owned() }
}

/// An item without bounds, unit, key or codes; what follows adds them.
fn item(
    dimension: Dimension,
    name: &str,
    (zh, en): (&str, &str),
    kind: Kind,
    grade: u8,
    (about_zh, about_en): (&str, &str),
) -> ItemDef {
    ItemDef {
        id: format!("{}.{name}", dimension.as_str()),
        dimension,
        label: label(zh, en),
        kind,
        grade: Grade(grade),
        key: None,
        unit: None,
        min: None,
        max: None,
        max_bytes: None,
        codes: Vec::new(),
        description: label(about_zh, about_en),
    }
}

impl ItemDef {
    fn by(mut self, key: KeyKind) -> Self {
        self.key = Some(key);
        self
    }
    fn counted(mut self, zh: &str, en: &str) -> Self {
        self.unit = Some(label(zh, en));
        self.not_negative()
    }
    fn not_negative(mut self) -> Self {
        self.min = Some(0);
        self
    }
    fn at_most(mut self, max: i64) -> Self {
        self.max = Some(max);
        self
    }
    fn bytes(mut self, max: u32) -> Self {
        self.max_bytes = Some(max);
        self
    }
    fn one_of(mut self, codes: &[(&str, &str, &str)]) -> Self {
        self.codes =
            codes.iter().map(|(c, zh, en)| CodeDef { code: (*c).to_owned(), label: label(zh, en) }).collect();
        self
    }
}

/// Sections of GB/T 4754-2017.
const INDUSTRIES: [(&str, &str, &str); 20] = [
    ("A", "农、林、牧、渔业", "agriculture, forestry, animal husbandry and fishery"),
    ("B", "采矿业", "mining"),
    ("C", "制造业", "manufacturing"),
    ("D", "电力、热力、燃气及水生产和供应业", "electricity, heat, gas and water supply"),
    ("E", "建筑业", "construction"),
    ("F", "批发和零售业", "wholesale and retail"),
    ("G", "交通运输、仓储和邮政业", "transport, storage and post"),
    ("H", "住宿和餐饮业", "hotels and catering"),
    ("I", "信息传输、软件和信息技术服务业", "information transmission, software and IT services"),
    ("J", "金融业", "finance"),
    ("K", "房地产业", "real estate"),
    ("L", "租赁和商务服务业", "leasing and business services"),
    ("M", "科学研究和技术服务业", "research and technical services"),
    ("N", "水利、环境和公共设施管理业", "water, environment and public facilities"),
    ("O", "居民服务、修理和其他服务业", "household services, repair and other services"),
    ("P", "教育", "education"),
    ("Q", "卫生和社会工作", "health and social work"),
    ("R", "文化、体育和娱乐业", "culture, sports and entertainment"),
    ("S", "公共管理、社会保障和社会组织", "public administration and social organizations"),
    ("T", "国际组织", "international organizations"),
];

/// All of them, in the order of a report.
pub(super) fn items() -> Vec<ItemDef> {
    [basic(), operation(), legal(), utility(), tax(), financing()].into_iter().flatten().collect()
}

fn basic() -> Vec<ItemDef> {
    use Dimension::Basic as D;
    vec![
        item(D, "name", ("企业名称", "name"), Kind::Text, 1, ("登记机关登记的名称", "name in the register"))
            .bytes(300),
        item(
            D,
            "legal-representative",
            ("法定代表人", "legal representative"),
            Kind::Text,
            2,
            ("登记的法定代表人姓名", "the legal representative's name in the register"),
        )
        .bytes(120),
        item(
            D,
            "status",
            ("登记状态", "registration status"),
            Kind::Code,
            1,
            ("登记机关公示的状态", "status published by the register"),
        )
        .one_of(&[
            ("active", "存续", "active"),
            ("suspended", "歇业", "suspended"),
            ("revoked", "吊销", "licence revoked"),
            ("cancelled", "注销", "cancelled"),
            ("moved-out", "迁出", "moved out"),
        ]),
        item(
            D,
            "established",
            ("成立日期", "date of establishment"),
            Kind::Date,
            1,
            ("营业执照上的成立日期", "date of establishment on the business licence"),
        ),
        item(
            D,
            "registered-capital",
            ("注册资本", "registered capital"),
            Kind::Money,
            1,
            ("认缴的注册资本,折人民币", "subscribed capital, in renminbi"),
        )
        .not_negative(),
        item(
            D,
            "industry",
            ("行业门类", "industry"),
            Kind::Code,
            1,
            ("GB/T 4754-2017 的门类", "section of GB/T 4754-2017"),
        )
        .one_of(&INDUSTRIES),
    ]
}

fn operation() -> Vec<ItemDef> {
    use Dimension::Operation as D;
    let year = KeyKind::Year;
    vec![
        item(
            D,
            "revenue",
            ("营业收入", "revenue"),
            Kind::Money,
            3,
            ("年度利润表的营业收入", "revenue in the year's profit and loss account"),
        )
        .by(year)
        .not_negative(),
        item(
            D,
            "net-profit",
            ("净利润", "net profit"),
            Kind::Money,
            3,
            ("年度净利润,亏损为负", "the year's net profit; a loss is negative"),
        )
        .by(year),
        item(
            D,
            "total-assets",
            ("资产总额", "total assets"),
            Kind::Money,
            3,
            ("年末资产负债表的资产总额", "total assets in the year-end balance sheet"),
        )
        .by(year)
        .not_negative(),
        item(
            D,
            "debt-ratio",
            ("资产负债率", "debt-to-asset ratio"),
            Kind::Rate,
            3,
            ("年末负债总额除以资产总额", "year-end liabilities divided by assets"),
        )
        .by(year)
        .not_negative()
        .at_most(1_000_000),
        item(
            D,
            "employees",
            ("从业人数", "employees"),
            Kind::Integer,
            2,
            ("年末从业人数", "employees at the end of the year"),
        )
        .by(year)
        .counted("人", "persons"),
    ]
}

fn legal() -> Vec<ItemDef> {
    use Dimension::Legal as D;
    let number = KeyKind::Reference;
    vec![
        item(
            D,
            "case-cause",
            ("案由", "cause of action"),
            Kind::Text,
            2,
            ("涉诉案件的案由,以案号区分", "cause of a court case; the key is the case number"),
        )
        .by(number)
        .bytes(300),
        item(
            D,
            "case-amount",
            ("涉案金额", "amount in dispute"),
            Kind::Money,
            2,
            ("涉诉案件的标的额,以案号区分", "amount of a court case; the key is the case number"),
        )
        .by(number)
        .not_negative(),
        item(
            D,
            "penalty",
            ("行政处罚", "administrative penalty"),
            Kind::Text,
            2,
            ("处罚内容,以决定书文号区分", "what was imposed; the key is the decision's number"),
        )
        .by(number),
        item(
            D,
            "dishonest-debtor",
            ("失信被执行人", "dishonest judgment debtor"),
            Kind::Code,
            1,
            ("是否列入失信被执行人名单", "whether on the courts' list of dishonest judgment debtors"),
        )
        .one_of(&[("not-listed", "未列入", "not listed"), ("listed", "已列入", "listed")]),
    ]
}

fn utility() -> Vec<ItemDef> {
    use Dimension::Utility as D;
    vec![
        item(
            D,
            "electricity",
            ("用电量", "electricity used"),
            Kind::Integer,
            3,
            ("当月用电量", "electricity used in the month"),
        )
        .by(KeyKind::Month)
        .counted("千瓦时", "kWh"),
        item(
            D,
            "overdue-days",
            ("水电气欠费天数", "days bills were overdue"),
            Kind::Integer,
            2,
            (
                "当年水、电、气账单逾期天数合计",
                "days that water, power and gas bills were overdue in the year, added up",
            ),
        )
        .by(KeyKind::Year)
        .counted("天", "days"),
        item(
            D,
            "insured-persons",
            ("社保参保人数", "persons with social insurance"),
            Kind::Integer,
            2,
            ("年末社会保险参保人数", "persons with social insurance at the end of the year"),
        )
        .by(KeyKind::Year)
        .counted("人", "persons"),
    ]
}

fn tax() -> Vec<ItemDef> {
    use Dimension::Tax as D;
    vec![
        item(
            D,
            "rating",
            ("纳税信用级别", "tax credit rating"),
            Kind::Code,
            2,
            ("税务机关评定的年度纳税信用级别", "the tax office's rating for the year"),
        )
        .by(KeyKind::Year)
        .one_of(&[
            ("A", "A级", "A"),
            ("B", "B级", "B"),
            ("M", "M级", "M: new or without revenue"),
            ("C", "C级", "C"),
            ("D", "D级", "D"),
        ]),
        item(
            D,
            "paid",
            ("纳税总额", "tax paid"),
            Kind::Money,
            3,
            ("年度实际入库税额", "tax received by the treasury in the year"),
        )
        .by(KeyKind::Year)
        .not_negative(),
        item(
            D,
            "arrears",
            ("欠税余额", "tax in arrears"),
            Kind::Money,
            2,
            ("当前欠缴税款", "tax now in arrears"),
        )
        .not_negative(),
    ]
}

fn financing() -> Vec<ItemDef> {
    use Dimension::Financing as D;
    let contract = KeyKind::Reference;
    vec![
        item(
            D,
            "credit-line",
            ("授信总额", "credit lines"),
            Kind::Money,
            3,
            ("各机构有效授信合计", "credit lines in force at all lenders, added up"),
        )
        .not_negative(),
        item(
            D,
            "loan-balance",
            ("贷款余额", "loan balance"),
            Kind::Money,
            3,
            ("各机构未结清贷款余额合计", "open loans at all lenders, added up"),
        )
        .not_negative(),
        item(
            D,
            "overdue",
            ("逾期金额", "amount overdue"),
            Kind::Money,
            3,
            ("各机构逾期本息合计", "principal and interest overdue at all lenders, added up"),
        )
        .not_negative(),
        item(
            D,
            "loan-class",
            ("贷款五级分类", "loan classification"),
            Kind::Code,
            3,
            ("单笔贷款的风险分类,以借据号区分", "risk class of one loan; the key is the loan's number"),
        )
        .by(contract)
        .one_of(&[
            ("normal", "正常", "normal"),
            ("special-mention", "关注", "special mention"),
            ("substandard", "次级", "substandard"),
            ("doubtful", "可疑", "doubtful"),
            ("loss", "损失", "loss"),
        ]),
        item(
            D,
            "loan-rate",
            ("贷款利率", "loan rate"),
            Kind::Rate,
            3,
            ("单笔贷款的年利率,以借据号区分", "annual rate of one loan; the key is the loan's number"),
        )
        .by(contract)
        .not_negative()
        .at_most(10_000),
    ]
}
