//! `xinguan attest …`: what a supervisor's operators do with the gateways' evidence.
//!
//! ```text
//! at the gateway     attest record ─▶ RECORD      what this box is enrolled by
//! at the supervisor  attest enrol RECORD          attest show|policy    attest now NODE    attest export --device NODE ─▶ APPRAISAL
//!                    attest decommission --device NODE --reason TEXT, attest enrol RECORD --reason TEXT: proposals
//!                    attest pending, attest approve|refuse|withdraw ID: another person
//!                    attest audit: what people did
//! at any gateway     attest ledger --device NODE    what the ledger has: each supervisor's finding, and the head of its log
//! anywhere           attest verify APPRAISAL --offline --makers MAKERS [--history DIGEST]
//! ```

mod audit;
mod now;
mod proposals;

use super::{
    Exit,
    client::{self, ClientArgs, Response},
};
use crate::{
    attester::{Enrolment, wire},
    supervisor::{
        attest::{
            appraisal::{Appraisal, MAX_BYTES},
            references,
            verdict_log::{LogRefused, Proved},
        },
        four_eyes::rules::Act,
    },
};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use gw_attest::Check;
use gw_policy::Trust;
use gw_proto::{Hex, UnixMillis};
use http::Method;
use serde::Deserialize;
use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
};
use unicode_width::UnicodeWidthStr as _;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Print what a gateway is enrolled by: ask the gateway itself, with role view
    Record(At),
    /// Enrol a gateway at a supervisor, or approve its configuration: with role operator, audited; with a reason it is
    /// proposed, which another chip, or a device whose enrolment was ended, takes
    Enrol(EnrolArgs),
    /// Each gateway's verdict, since when, and what is to blame: ask the supervisor, with role view
    Show(ShowArgs),
    /// Have a gateway give evidence now, and wait for the verdict: with role operator, audited
    Now(now::NowArgs),
    /// What evidence is judged by: with role view
    Policy(now::PolicyArgs),
    /// Write what a gateway's newest verdict rests on, to be verified offline: with role auditor, audited
    Export(ExportArgs),
    /// What the ledger has of a gateway, by each supervisor: ask any gateway, with role view
    Ledger(LedgerArgs),
    /// Propose the end of a gateway's enrolment: with role operator, audited
    Decommission(proposals::DecommissionArgs),
    /// What waits for another person: with role view or operator
    Pending(proposals::PendingArgs),
    /// Approve what another person proposed, and have it done: with role operator, audited
    Approve(proposals::ApproveArgs),
    /// Refuse what another person proposed: with role operator, audited
    Refuse(proposals::EndArgs),
    /// Take back what one proposed: with role operator, audited
    Withdraw(proposals::EndArgs),
    /// What the supervisor's people did, checked: with role auditor
    Audit(audit::AuditArgs),
    /// Check an exported audit trail, without network
    CheckAudit(audit::CheckArgs),
    /// Judge an exported appraisal once more, without network or configuration
    Verify(VerifyArgs),
}

/// Which gateway.
#[derive(Debug, Args)]
pub struct At {
    #[command(flatten)]
    client: ClientArgs,
    /// its admin listener, https://host:port
    #[arg(long)]
    url: String,
}

/// What to enrol.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    #[command(flatten)]
    at: At,
    /// what `attest record` printed at the gateway
    record: PathBuf,
    /// why it takes two people: it is proposed, not done
    #[arg(long)]
    reason: Option<String>,
}

/// How to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    at: At,
    /// print the JSON as it came
    #[arg(long)]
    json: bool,
}

/// Whose.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    at: At,
    /// the device
    #[arg(long)]
    device: String,
    /// write it here
    #[arg(long)]
    out: PathBuf,
}

/// Of whom.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    at: At,
    /// the device
    #[arg(long)]
    device: String,
}

/// What, believed under what.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// what `attest export` wrote
    file: PathBuf,
    /// whose manifests count: JSON, as supervisor.attestation.makers names it
    #[arg(long)]
    makers: PathBuf,
    /// with what the file holds, and nothing else: there is no other way yet
    #[arg(long)]
    offline: bool,
    /// what the ledger has as `history` in this supervisor's newest verdict on the device
    #[arg(long, value_name = "DIGEST")]
    history: Option<String>,
    /// print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub async fn run(command: &AttestCommand, out: &mut (dyn Write + Send)) -> Result<Exit> {
    match command {
        AttestCommand::Record(at) => record(at, out).await,
        AttestCommand::Enrol(args) => enrol(args, out).await,
        AttestCommand::Show(args) => show(args, out).await,
        AttestCommand::Now(args) => now::now(args, out).await,
        AttestCommand::Policy(args) => now::policy(args, out).await,
        AttestCommand::Export(args) => export(args, out).await,
        AttestCommand::Ledger(args) => ledger(args, out).await,
        AttestCommand::Decommission(args) => proposals::decommission(args, out).await,
        AttestCommand::Pending(args) => proposals::pending(args, out).await,
        AttestCommand::Approve(args) => proposals::approve(args, out).await,
        AttestCommand::Refuse(args) => proposals::refuse(args, out).await,
        AttestCommand::Withdraw(args) => proposals::withdraw(args, out).await,
        AttestCommand::Audit(args) => audit::audit(args, out).await,
        AttestCommand::CheckAudit(args) => audit::check(args, out),
        AttestCommand::Verify(args) => verify(args, out),
    }
}

async fn ask(at: &At, method: Method, path: &str, body: Vec<u8>) -> Result<Response> {
    let url = format!("{}{path}", at.url.trim_end_matches('/'));
    let response = client::send(&at.client, method, &url, &[], body).await?;
    if response.status != 200 {
        bail!("{url}: HTTP {}: {}", response.status, String::from_utf8_lossy(&response.body));
    }
    Ok(response)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let max = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    references::read(path, max).map_err(|e| anyhow!("{}: {e}", path.display()))
}

async fn record(at: &At, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let response = ask(at, Method::GET, "/admin/v1/status", Vec::new()).await?;
    let status: serde_json::Value = serde_json::from_slice(&response.body)?;
    let part = |path: &str| status.pointer(path).filter(|v| !v.is_null());
    let Some(found) = part("/attestation/enrolment") else {
        let why = part("/attestation/why").and_then(|w| w.as_str());
        bail!(
            "this gateway cannot be enrolled: {}",
            why.unwrap_or("its chip shows no endorsement certificate")
        );
    };
    let found: Enrolment = serde_json::from_value(found.clone()).context("the record has another form")?;
    serde_json::to_writer_pretty(&mut *out, &found)?;
    writeln!(out)?;
    Ok(Exit::Ok)
}

async fn enrol(args: &EnrolArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let record: Enrolment = serde_json::from_slice(&read(&args.record)?)
        .with_context(|| format!("{} is not what `attest record` prints", args.record.display()))?;
    if let Some(reason) = &args.reason {
        return proposals::propose(&args.at, Act::Enrol { record: Box::new(record) }, reason, out).await;
    }
    let body = serde_json::to_vec(&record)?;
    let response = ask(&args.at, Method::POST, "/admin/v1/enrolments", body).await?;
    let answer: serde_json::Value = serde_json::from_slice(&response.body)?;
    let new = answer.get("new") == Some(&true.into());
    let what = if new { "已登记 enrolled" } else { "配置已批准 configuration approved" };
    writeln!(out, "{} ({}): {what}", record.device, record.institution)?;
    Ok(Exit::Ok)
}

async fn export(args: &ExportArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let path = format!("/admin/v1/devices/{}/appraisal", args.device);
    let response = ask(&args.at, Method::GET, &path, Vec::new()).await?;
    let failed = || format!("cannot write {}", args.out.display());
    std::fs::write(&args.out, &response.body).with_context(failed)?;
    writeln!(out, "{}: {} bytes", args.out.display(), response.body.len())?;
    Ok(Exit::Ok)
}

/// As a gateway's API gives it.
#[derive(Debug, Deserialize)]
struct OnLedger {
    verdicts: Vec<Word>,
}

#[derive(Debug, Deserialize)]
struct Word {
    by: String,
    result: String,
    judged: UnixMillis,
    history: String,
}

async fn ledger(args: &LedgerArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let response =
        ask(&args.at, Method::GET, &format!("/admin/v1/verdicts/{}", args.device), Vec::new()).await?;
    let found: OnLedger = serde_json::from_slice(&response.body).context("the answer has another form")?;
    for v in &found.verdicts {
        writeln!(out, "{} {} {} history {}", v.by, v.result, v.judged.rfc3339(), v.history)?;
    }
    Ok(if found.verdicts.is_empty() { Exit::CheckFailed } else { Exit::Ok })
}

/// As the supervisor's API gives it.
#[derive(Debug, Deserialize)]
struct Fleet {
    at: UnixMillis,
    devices: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    device: String,
    institution: String,
    standing: String,
    since: Option<UnixMillis>,
    failed: Vec<Check>,
    ledger: Option<Trust>,
    agrees: Option<bool>,
}

async fn show(args: &ShowArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let response = ask(&args.at, Method::GET, "/admin/v1/devices", Vec::new()).await?;
    let fleet: Fleet = serde_json::from_slice(&response.body).context("the answer has another form")?;
    if args.json {
        out.write_all(&response.body)?;
    } else {
        out.write_all(render(&fleet).as_bytes())?;
    }
    let fine = fleet.devices.iter().all(|d| d.standing != "bad");
    Ok(if fine { Exit::Ok } else { Exit::CheckFailed })
}

fn render(fleet: &Fleet) -> String {
    let mut s = String::new();
    let _ = writeln!(s, "设备证明 / devices, {}", fleet.at.rfc3339());
    let row = |cells: [&str; 5]| {
        let widths = [22, 20, 22, 26, 24];
        let cell = |(text, width): (&str, usize)| {
            let fill = usize::max(width, text.width() + 1) - text.width();
            format!("{text}{}", " ".repeat(fill))
        };
        cells.into_iter().zip(widths).map(cell).collect::<String>()
    };
    let head = row(["设备 device", "机构 institution", "结论 verdict", "自 since", "账本 ledger"]);
    let _ = writeln!(s, "{head}责任组件 to blame");
    for d in &fleet.devices {
        let standing = match d.standing.as_str() {
            "good" => "✓ 可信 good",
            "bad" => "✗ 不可信 BAD",
            "waiting" => "… 待证明 waiting",
            _ => "– 未登记 not enrolled",
        };
        let since = d.since.map_or_else(|| "-".to_owned(), UnixMillis::rfc3339);
        let blame = wire::blame(&d.failed);
        let ledger = on_ledger(d);
        let line = row([&d.device, &d.institution, standing, &since, &ledger]);
        let _ = writeln!(s, "{}", format!("{line}{blame}").trim_end());
    }
    s
}

/// What the ledger says, and whether that is what is found here.
fn on_ledger(d: &Line) -> String {
    let word = d.ledger.as_ref().map_or("未列 not listed", Trust::as_str);
    match d.agrees {
        Some(true) => format!("{word} ="),
        Some(false) => format!("{word} ≠ 不一致 DIFFERS"),
        None => word.to_owned(),
    }
}

fn verify(args: &VerifyArgs, out: &mut dyn Write) -> Result<Exit> {
    ensure!(args.offline, "say --offline: a supervisor's own history cannot be asked yet");
    let makers = references::makers(&args.makers).map_err(|p| anyhow!("{}; {}", p.what, p.remedy))?;
    let history = args.history.as_deref().map(Hex::parse).transpose();
    let history = history.context("--history is 64 hexadecimal digits")?;
    let appraisal = Appraisal::parse(&read(&args.file)?)?;
    let verdict = appraisal.verify(&makers)?;
    let log = appraisal.verify_log(&verdict, history.as_ref())?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &verdict)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", verdict.render())?;
        let enrolled = &appraisal.enrolled;
        writeln!(out, "由监管方证言 on the supervisor's word: the enrolment")?;
        writeln!(out, "  attestation key {}", hex::encode(&enrolled.attestation_key.0))?;
        writeln!(out, "  endorsement     {}", enrolled.endorsement_certificate)?;
        writeln!(out, "  node key        {}", enrolled.node_key.id())?;
        write!(out, "{}", log_words(log.as_ref(), history.is_some()))?;
    }
    let in_log = match &log {
        None => history.is_none(),
        Some(proved) => proved.is_ok(),
    };
    Ok(if verdict.passed() && in_log { Exit::Ok } else { Exit::CheckFailed })
}

/// What the verdict's place in the supervisor's log says.
fn log_words(log: Option<&Result<Proved, LogRefused>>, compared: bool) -> String {
    match log {
        None => "✗ 结论日志 verdict log: this file was exported before there was one\n".to_owned(),
        Some(Err(why)) => format!("✗ 结论日志 verdict log: {why}\n"),
        Some(Ok(Proved { anchor: None, .. })) => {
            "… 结论日志 verdict log: in the log; the ledger has no head of it yet\n".to_owned()
        }
        Some(Ok(Proved { anchor: Some(anchor), covered })) => {
            let place = if *covered { "covered by" } else { "later than" };
            let known = if compared { "as given" } else { "compare it with the ledger" };
            format!(
                "✓ 结论日志 verdict log: {place} the ledger's head, which its beginning leads to\n  history {anchor} ({known})\n"
            )
        }
    }
}
