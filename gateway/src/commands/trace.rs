//! `xinguan trace --subject CODE --reason WHY`: who looked at a firm, asked at a supervisor's gateway.

use super::{
    Exit,
    client::{self, ClientArgs},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use gw_proto::{Purpose, UnixMillis, Uscc};
use std::{fmt::Write as _, io::Write};

/// Whom, and why.
#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// the supervisor's admin listener, https://host:port
    #[arg(long)]
    url: String,
    /// company code; `-` reads it from standard input, so that it stands in no process list
    #[arg(long)]
    subject: String,
    /// why it is looked up: recorded
    #[arg(long)]
    reason: String,
    /// print the JSON as it came
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub async fn run(args: &TraceArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let code = if args.subject == "-" {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim().to_owned()
    } else {
        args.subject.clone()
    };
    let subject = Uscc::parse(&code)?;
    let body = serde_json::to_vec(&serde_json::json!({ "subject": subject, "reason": args.reason }))?;
    let url = format!("{}/admin/v1/looks", args.url.trim_end_matches('/'));
    let response = client::send(&args.client, http::Method::POST, &url, &[], body).await?;
    if response.status != 200 {
        bail!("{url}: HTTP {}: {}", response.status, String::from_utf8_lossy(&response.body));
    }
    if args.json {
        out.write_all(&response.body)?;
        return Ok(Exit::Ok);
    }
    let found: serde_json::Value =
        serde_json::from_slice(&response.body).context("the answer is not JSON")?;
    out.write_all(render(&found).as_bytes())?;
    Ok(Exit::Ok)
}

fn text<'a>(v: &'a serde_json::Value, path: &str) -> &'a str {
    v.pointer(path).and_then(serde_json::Value::as_str).unwrap_or("-")
}

fn number(v: &serde_json::Value, path: &str) -> u64 {
    v.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or_default()
}

fn render(found: &serde_json::Value) -> String {
    let mut s = String::new();
    let empty = Vec::new();
    let looks = found.get("looks").and_then(|l| l.as_array()).unwrap_or(&empty);
    let _ = writeln!(
        s,
        "谁查过 / who looked: {} 次, 账本高度 / height {}",
        looks.len(),
        number(found, "/height")
    );
    if found.get("complete") == Some(&false.into()) {
        let _ = writeln!(s, "仅列出最近的记录 / there are more: only the newest are listed");
    }
    for (i, l) in looks.iter().enumerate() {
        let purpose: Option<Purpose> = l.get("purpose").and_then(|p| serde_json::from_value(p.clone()).ok());
        let (zh, en) = purpose.map_or(("-", "-"), Purpose::labels);
        let _ = writeln!(s, "\n{}. {} ({})", i + 1, text(l, "/asker_name"), text(l, "/asker"));
        let _ = writeln!(s, "   时间 when        {}", UnixMillis(number(l, "/reserved")).rfc3339());
        let _ = writeln!(s, "   目的 why         {} {zh} / {en}", text(l, "/purpose"));
        let _ = writeln!(s, "   操作员 operator  {}", short(text(l, "/operator_tag")));
        let _ = writeln!(s, "   授权 authorized  {} ({})", short(text(l, "/authz_id")), text(l, "/level"));
        if l.get("proof").is_none_or(serde_json::Value::is_null) {
            let _ = writeln!(
                s,
                "   上链 on chain    the state has forgotten it (90 days after the authorization's end)"
            );
        } else {
            let _ = writeln!(
                s,
                "   上链 on chain    block {} tx {} record {}, commitment {}",
                number(l, "/proof/height"),
                number(l, "/proof/tx_index"),
                number(l, "/proof/record_index"),
                if l.pointer("/proof/commitment_matches") == Some(&true.into()) {
                    "matches"
                } else {
                    "DOES NOT MATCH"
                }
            );
        }
        for t in l.get("traces").and_then(|t| t.as_array()).unwrap_or(&empty) {
            let _ = writeln!(
                s,
                "   记录 trace       {} tells of {}: {}",
                text(t, "/side"),
                text(t, "/source"),
                text(t, "/status")
            );
        }
        let gaps = l.get("gaps").and_then(|g| g.as_array()).unwrap_or(&empty);
        if gaps.is_empty() {
            let _ = writeln!(s, "   缺口 gaps        无 / none");
        }
        for g in gaps {
            let late = if g.get("overdue") == Some(&true.into()) { " (overdue)" } else { "" };
            let _ = writeln!(
                s,
                "   缺口 gap         {} {}{late}",
                text(g, "/gap"),
                g.get("source").and_then(|v| v.as_str()).unwrap_or("")
            );
        }
    }
    s
}

fn short(id: &str) -> String {
    id.chars().take(16).collect::<String>() + "…"
}
