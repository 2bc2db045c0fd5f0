//! A bureau's database: tables as they are found in the field, each with its own habits.

use super::{DatabaseSpec, Enterprise, names::region_number, random::Stream};
use rusqlite::{Connection, Statement, Transaction, params};
use std::path::Path;

/// The year of the newest annual figures; the database was exported half a year later.
const LAST_YEAR: i64 = 2025;

const SCHEMA: &str = "
CREATE TABLE ent_registration (uscc CHAR(18) NOT NULL, ent_name VARCHAR(300) NOT NULL, legal_rep VARCHAR(120),
  reg_state CHAR(1), est_date VARCHAR(20), capital_wan DECIMAL(18,6), industry CHAR(1), updated_at TEXT);
CREATE TABLE ent_annual (uscc CHAR(18) NOT NULL, report_year INTEGER NOT NULL, revenue TEXT, net_profit TEXT,
  total_assets TEXT, debt_ratio TEXT, employees INTEGER);
CREATE TABLE court_case (uscc CHAR(18) NOT NULL, case_no VARCHAR(60) NOT NULL, cause VARCHAR(300), amount TEXT,
  filed_on VARCHAR(20));
CREATE TABLE admin_penalty (uscc CHAR(18) NOT NULL, decision_no VARCHAR(60) NOT NULL, content TEXT, decided_on CHAR(8));
CREATE TABLE dishonest_list (uscc CHAR(18) NOT NULL, listed_on CHAR(10));
CREATE TABLE power_usage (uscc CHAR(18) NOT NULL, month INTEGER NOT NULL, kwh INTEGER);
CREATE TABLE utility_bill (uscc CHAR(18) NOT NULL, bill_year INTEGER NOT NULL, overdue_days INTEGER);
CREATE TABLE social_insurance (uscc CHAR(18) NOT NULL, ins_year INTEGER NOT NULL, persons INTEGER);
CREATE TABLE tax_year (uscc CHAR(18) NOT NULL, tax_year INTEGER NOT NULL, rating CHAR(1), paid_fen INTEGER);
CREATE TABLE tax_arrears (uscc CHAR(18) NOT NULL, arrears TEXT, checked_at INTEGER);
CREATE TABLE credit_line (uscc CHAR(18) NOT NULL, lender VARCHAR(80), limit_fen INTEGER, updated_on CHAR(10));
CREATE TABLE loan (uscc CHAR(18) NOT NULL, loan_no VARCHAR(40) NOT NULL, balance_fen INTEGER, overdue_fen INTEGER,
  class CHAR(1), rate_percent TEXT, updated_on CHAR(10));
";
/// Made after the rows: one sort each instead of a search for each row.
const INDEXES: &str = "
CREATE UNIQUE INDEX ent_registration_uscc ON ent_registration (uscc);
CREATE UNIQUE INDEX ent_annual_uscc ON ent_annual (uscc, report_year);
CREATE INDEX court_case_uscc ON court_case (uscc, case_no);
CREATE INDEX admin_penalty_uscc ON admin_penalty (uscc, decision_no);
CREATE INDEX dishonest_list_uscc ON dishonest_list (uscc);
CREATE UNIQUE INDEX power_usage_uscc ON power_usage (uscc, month);
CREATE UNIQUE INDEX utility_bill_uscc ON utility_bill (uscc, bill_year);
CREATE UNIQUE INDEX social_insurance_uscc ON social_insurance (uscc, ins_year);
CREATE UNIQUE INDEX tax_year_uscc ON tax_year (uscc, tax_year);
CREATE UNIQUE INDEX tax_arrears_uscc ON tax_arrears (uscc);
CREATE INDEX credit_line_uscc ON credit_line (uscc);
CREATE INDEX loan_uscc ON loan (uscc, loan_no);
";
const CAUSES: [&str; 6] =
    ["买卖合同纠纷", "借款合同纠纷", "劳动争议", "建设工程施工合同纠纷", "租赁合同纠纷", "侵害商标权纠纷"];
const PENALTIES: [&str; 4] = [
    "未按规定公示年度报告,罚款",
    "超标排放废水,罚款并责令改正",
    "广告违法,罚款",
    "安全生产隐患未及时整改,警告",
];
const LENDERS: [&str; 5] = ["苏州银行", "杭州银行", "徽商银行", "江苏银行", "农村商业银行"];

pub(super) fn write(path: &Path, spec: &DatabaseSpec) -> rusqlite::Result<()> {
    let mut conn = Connection::open(path)?;
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut tables = Tables::prepare(&transaction, spec)?;
    for enterprise in spec.enterprises() {
        tables.enterprise(&enterprise)?;
    }
    drop(tables);
    transaction.execute_batch(INDEXES)?;
    transaction.commit()
}

/// One prepared statement for each table.
struct Tables<'t> {
    seed: u64,
    bureau: u64,
    registration: Statement<'t>,
    annual: Statement<'t>,
    case: Statement<'t>,
    penalty: Statement<'t>,
    dishonest: Statement<'t>,
    power: Statement<'t>,
    bill: Statement<'t>,
    insurance: Statement<'t>,
    tax: Statement<'t>,
    arrears: Statement<'t>,
    line: Statement<'t>,
    loan: Statement<'t>,
}

/// How large an enterprise is: what its figures have in common.
struct Size {
    revenue_fen: i64,
    employees: i64,
    good: bool,
}

impl<'t> Tables<'t> {
    fn prepare(t: &'t Transaction<'_>, spec: &DatabaseSpec) -> rusqlite::Result<Self> {
        Ok(Self {
            seed: spec.seed,
            bureau: region_number(spec.region),
            registration: t.prepare("INSERT INTO ent_registration VALUES (?,?,?,?,?,?,?,?)")?,
            annual: t.prepare("INSERT INTO ent_annual VALUES (?,?,?,?,?,?,?)")?,
            case: t.prepare("INSERT INTO court_case VALUES (?,?,?,?,?)")?,
            penalty: t.prepare("INSERT INTO admin_penalty VALUES (?,?,?,?)")?,
            dishonest: t.prepare("INSERT INTO dishonest_list VALUES (?,?)")?,
            power: t.prepare("INSERT INTO power_usage VALUES (?,?,?)")?,
            bill: t.prepare("INSERT INTO utility_bill VALUES (?,?,?)")?,
            insurance: t.prepare("INSERT INTO social_insurance VALUES (?,?,?)")?,
            tax: t.prepare("INSERT INTO tax_year VALUES (?,?,?,?)")?,
            arrears: t.prepare("INSERT INTO tax_arrears VALUES (?,?,?)")?,
            line: t.prepare("INSERT INTO credit_line VALUES (?,?,?,?)")?,
            loan: t.prepare("INSERT INTO loan VALUES (?,?,?,?,?,?,?)")?,
        })
    }

    fn enterprise(&mut self, e: &Enterprise) -> rusqlite::Result<()> {
        let home = region_number(e.region);
        // what everybody knows, and what only this bureau does
        let mut common = Stream::of(self.seed, &[4, home, e.index]);
        let mut local = Stream::of(self.seed, &[5, home, e.index, self.bureau]);
        self.register(e, &mut common)?;
        let size = self.years(e, &mut common, &mut local)?;
        self.law(e, &size, &mut local)?;
        self.utilities(e, &size, &mut local)?;
        self.credit(e, &size, &mut local)
    }

    fn register(&mut self, e: &Enterprise, s: &mut Stream) -> rusqlite::Result<()> {
        let (y, m, d) = e.established;
        let state = if s.chance(95) { "1" } else { s.pick(&["2", "3", "5"]) };
        let capital = format!("{}.{:02}", e.capital_wan, if s.chance(10) { 88 } else { 0 });
        let row = params![
            e.uscc.expose(),
            e.name,
            e.legal_representative,
            state,
            format!("{y}年{m}月{d}日"),
            capital,
            e.industry,
            "2026-06-30 02:15:00"
        ];
        self.registration.execute(row).map(drop)
    }

    fn years(&mut self, e: &Enterprise, s: &mut Stream, local: &mut Stream) -> rusqlite::Result<Size> {
        let mut revenue = s.decades(50_000_000, 4); // 0.5 million to 5,000 million yuan, in fen
        let employees = (revenue / s.between(40_000_000, 90_000_000)).max(3);
        let good = s.chance(80);
        for year in LAST_YEAR - 2..=LAST_YEAR {
            revenue = revenue / 100 * s.between(88, 118) + s.between(0, 99);
            let profit = revenue / 1000 * if good { s.between(5, 140) } else { s.between(-180, 20) };
            let assets = revenue / 100 * s.between(60, 190) + s.between(0, 99);
            let debt = if good { s.between(2000, 6500) } else { s.between(6000, 11_000) };
            // bureaus count at different dates: a report shows the conflict
            let counted = employees + local.between(0, 3);
            self.annual.execute(params![
                e.uscc.expose(),
                year,
                hundredths(revenue),
                hundredths(profit),
                hundredths(assets),
                hundredths(debt),
                counted
            ])?;
            let rating = if good { s.pick(&["A", "A", "B", "B", "M"]) } else { s.pick(&["B", "C", "D"]) };
            self.tax.execute(params![e.uscc.expose(), year, rating, revenue / 1000 * s.between(8, 60)])?;
            self.insurance.execute(params![e.uscc.expose(), year, (counted - s.between(0, 2)).max(0)])?;
        }
        let arrears = if good { 0 } else { s.between(0, 30_000_000) };
        self.arrears.execute(params![e.uscc.expose(), hundredths(arrears), 1_782_748_800_i64])?;
        Ok(Size { revenue_fen: revenue, employees, good })
    }

    fn law(&mut self, e: &Enterprise, size: &Size, s: &mut Stream) -> rusqlite::Result<()> {
        let cases = if s.chance(if size.good { 10 } else { 45 }) { s.between(1, 4) } else { 0 };
        for n in 0..cases {
            let year = s.between(LAST_YEAR - 2, LAST_YEAR);
            let number = format!("({year})民初{:05}{n}号", s.between(1, 99_999));
            let amount = s.chance(85).then(|| hundredths(s.decades(100_000, 4)));
            let day = format!("{year}/{}/{}", s.between(1, 12), s.between(1, 28));
            self.case.execute(params![e.uscc.expose(), number, s.pick(&CAUSES), amount, day])?;
        }
        if s.chance(6) {
            let (year, month, day) =
                (s.between(LAST_YEAR - 2, LAST_YEAR), s.between(1, 12), s.between(1, 28));
            let number = format!("市监处罚〔{year}〕{:04}号", s.between(1, 9999));
            let row =
                params![e.uscc.expose(), number, s.pick(&PENALTIES), format!("{year}{month:02}{day:02}")];
            self.penalty.execute(row)?;
        }
        if !size.good && s.chance(12) {
            self.dishonest.execute(params![e.uscc.expose(), "2025-11-03"])?;
        }
        Ok(())
    }

    fn utilities(&mut self, e: &Enterprise, size: &Size, s: &mut Stream) -> rusqlite::Result<()> {
        let base = size.employees * s.between(150, 900);
        for back in (1..=12).rev() {
            // the twelve months before the export in June 2026
            let (year, month) = if back >= 6 { (LAST_YEAR, 18 - back) } else { (LAST_YEAR + 1, 6 - back) };
            let kwh = base / 100 * s.between(70, 130);
            self.power.execute(params![e.uscc.expose(), year * 100 + month, kwh])?;
        }
        for year in LAST_YEAR - 2..=LAST_YEAR {
            let days = if size.good { s.between(0, 3) } else { s.between(0, 60) };
            self.bill.execute(params![e.uscc.expose(), year, days])?;
        }
        Ok(())
    }

    fn credit(&mut self, e: &Enterprise, size: &Size, s: &mut Stream) -> rusqlite::Result<()> {
        if !s.chance(60) {
            return Ok(());
        }
        let loans = s.between(1, 4);
        for n in 1..=loans {
            let limit = size.revenue_fen / 1000 * s.between(20, 120);
            let balance = limit / 100 * s.between(10, 100);
            let class = if size.good {
                s.pick(&["1", "1", "1", "1", "2"])
            } else {
                s.pick(&["1", "2", "3", "4", "5"])
            };
            let overdue = if matches!(class, "1" | "2") { 0 } else { balance / 100 * s.between(5, 100) };
            let (day, rate) = (format!("2026-06-{:02}", s.between(1, 28)), hundredths(s.between(285, 780)));
            let number = format!("JK{}{:06}{n}", self.bureau, s.between(0, 999_999));
            self.line.execute(params![e.uscc.expose(), s.pick(&LENDERS), limit, day])?;
            self.loan.execute(params![e.uscc.expose(), number, balance, overdue, class, rate, day])?;
        }
        Ok(())
    }
}

/// 12345 → `123.45`.
fn hundredths(n: i64) -> String {
    let sign = if n < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", n.unsigned_abs() / 100, n.unsigned_abs() % 100)
}
