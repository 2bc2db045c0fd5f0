//! `xinguan show ANSWER`: a report for people, Chinese and English.

use super::Exit;
use anyhow::{Context as _, Result};
use gw_proto::{
    Dimension,
    report::{Answer, PartState, Report, ReportItem},
};
use gw_source::{Catalogue, Lang};
use std::{fmt::Write as _, io::Write, path::Path};
use unicode_width::UnicodeWidthStr as _;

/// Prints an answer.
pub fn run(file: &Path, out: &mut dyn Write) -> Result<Exit> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let answer: Answer =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not an answer", file.display()))?;
    out.write_all(render(&answer.report).as_bytes())?;
    Ok(Exit::Ok)
}

fn padded(text: &str, columns: usize) -> String {
    let mut s = text.to_owned();
    s.extend(std::iter::repeat_n(' ', columns.saturating_sub(text.width())));
    s
}

fn render(r: &Report) -> String {
    let mut s = String::new();
    let catalogue = Catalogue::builtin();
    let (zh, en) = r.purpose.labels();
    let _ = writeln!(s, "企业信用报告 / enterprise credit report");
    let _ = writeln!(s, "  企业 subject    {}", r.subject.expose());
    let _ = writeln!(s, "  目的 purpose    {} {zh} / {en}", r.purpose.code());
    let _ = writeln!(s, "  机构 asked by   {} ({})", r.asker, r.node);
    let _ = writeln!(s, "  时间 created    {}", r.created.rfc3339());
    let _ = writeln!(s, "  报告号 id       {}", r.report_id);
    let _ = writeln!(s, "  预约 reserved   block {}", r.reserved_at);
    let whole = if r.complete { "完整 / every source answered" } else { "不完整 / SOURCES ARE MISSING" };
    let _ = writeln!(s, "  完整性 complete {whole}");
    for p in &r.parts {
        let what = match &p.outcome {
            PartState::Answered => "已答复 answered".to_owned(),
            PartState::Empty => "无记录 holds nothing".to_owned(),
            PartState::Refused { problem } => format!("拒绝 refused: {problem}"),
            PartState::Missing { reason } => format!("缺失 missing: {reason}"),
        };
        let _ = writeln!(s, "    {} {} {}", padded(p.source.as_str(), 24), p.region, what);
    }
    for d in Dimension::ALL {
        let items: Vec<&ReportItem> = r.items.iter().filter(|i| i.item.dimension == d).collect();
        if items.is_empty() {
            continue;
        }
        let (zh, en) = d.labels();
        let _ = writeln!(s, "\n{zh} / {en}");
        for i in items {
            let _ = writeln!(s, "  {}", line(&catalogue, i));
        }
    }
    s
}

fn line(catalogue: &Catalogue, i: &ReportItem) -> String {
    let label =
        format!("{} {}", catalogue.label(&i.item.id, Lang::Zh), catalogue.label(&i.item.id, Lang::En));
    let key = i.item.key.as_ref().map(|k| format!(" [{k}]")).unwrap_or_default();
    let mut marks = String::new();
    if i.item.disputed {
        marks.push_str(" (异议中 disputed)");
    }
    if i.conflicting {
        marks.push_str(" (来源不一致 sources differ)");
    }
    let from: Vec<&str> = i.sources.iter().map(gw_proto::NodeId::as_str).collect();
    format!(
        "{} {}{}  ‹{}›",
        padded(&format!("{label}{key}"), 52),
        padded(&catalogue.value_text(&i.item, Lang::Zh), 22),
        marks,
        from.join(", ")
    )
}
