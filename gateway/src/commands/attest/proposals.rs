//! `xinguan attest decommission|pending|approve|refuse|withdraw`: what takes two people.

use super::{At, ask};
use crate::{
    commands::Exit,
    supervisor::four_eyes::{
        Proposed, Why,
        rules::{Act, Proposal, State},
    },
};
use anyhow::{Context as _, Result};
use clap::Args;
use gw_proto::{NodeId, UnixMillis};
use http::Method;
use serde::Deserialize;
use std::{fmt::Write as _, io::Write};

/// Whose, and why.
#[derive(Debug, Args)]
pub struct DecommissionArgs {
    #[command(flatten)]
    at: At,
    /// the device
    #[arg(long)]
    device: String,
    /// why; it is kept
    #[arg(long)]
    reason: String,
}

/// Which list.
#[derive(Debug, Args)]
pub struct PendingArgs {
    #[command(flatten)]
    at: At,
    /// also the newest that are decided
    #[arg(long)]
    all: bool,
    /// print the JSON as it came
    #[arg(long)]
    json: bool,
}

/// Which.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    at: At,
    /// the proposal's number, as `attest pending` lists it
    id: u64,
}

/// Which, and why.
#[derive(Debug, Args)]
pub struct EndArgs {
    #[command(flatten)]
    at: At,
    /// the proposal's number, as `attest pending` lists it
    id: u64,
    /// why; it is kept
    #[arg(long)]
    reason: String,
}

/// Proposes the end of an enrolment.
pub(super) async fn decommission(args: &DecommissionArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let device = NodeId::parse(&args.device).with_context(|| format!("{} is no device", args.device))?;
    propose(&args.at, Act::Decommission { device }, &args.reason, out).await
}

/// Proposes anything.
pub(super) async fn propose(at: &At, what: Act, reason: &str, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let body = serde_json::to_vec(&Proposed { what, reason: reason.to_owned() })?;
    let p = proposal(&ask(at, Method::POST, "/admin/v1/proposals", body).await?.body)?;
    out.write_all(render(&p).as_bytes())?;
    writeln!(out, "另一位操作员: another operator: xinguan attest approve {} … or refuse", p.id)?;
    Ok(Exit::Ok)
}

/// Approves; says what was done.
pub(super) async fn approve(args: &ApproveArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    decided(&args.at, args.id, "approval", b"{}".to_vec(), out).await
}

/// Refuses.
pub(super) async fn refuse(args: &EndArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let why = serde_json::to_vec(&Why { reason: args.reason.clone() })?;
    decided(&args.at, args.id, "refusal", why, out).await
}

/// Takes back.
pub(super) async fn withdraw(args: &EndArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let why = serde_json::to_vec(&Why { reason: args.reason.clone() })?;
    decided(&args.at, args.id, "withdrawal", why, out).await
}

async fn decided(at: &At, id: u64, how: &str, body: Vec<u8>, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let path = format!("/admin/v1/proposals/{id}/{how}");
    let p = proposal(&ask(at, Method::POST, &path, body).await?.body)?;
    out.write_all(render(&p).as_bytes())?;
    Ok(if matches!(p.state, State::Overtaken { .. }) { Exit::CheckFailed } else { Exit::Ok })
}

fn proposal(body: &[u8]) -> Result<Proposal> {
    serde_json::from_slice(body).context("the answer has another form")
}

#[derive(Debug, Deserialize)]
struct Proposals {
    at: UnixMillis,
    proposals: Vec<Proposal>,
}

/// Lists.
pub(super) async fn pending(args: &PendingArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let response = ask(&args.at, Method::GET, "/admin/v1/proposals", Vec::new()).await?;
    if args.json {
        out.write_all(&response.body)?;
        return Ok(Exit::Ok);
    }
    let found: Proposals = serde_json::from_slice(&response.body).context("the answer has another form")?;
    writeln!(out, "待批事项 / proposals, {}", found.at.rfc3339())?;
    let shown: Vec<_> = found.proposals.iter().filter(|p| args.all || !p.state.is_final()).collect();
    if shown.is_empty() {
        writeln!(out, "  无 none")?;
    }
    for p in shown {
        out.write_all(render(p).as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn render(p: &Proposal) -> String {
    let what = match &p.what {
        Act::Decommission { .. } => "注销 decommission",
        Act::Enrol { .. } => "重新登记 enrol anew",
    };
    let mut s = format!("{} {what} {}: {}\n", p.id, p.what.device(), state(p));
    let _ = writeln!(s, "  提议 proposed {} {}: {}", p.at.rfc3339(), p.by.operator, p.reason);
    if let Act::Enrol { record } = &p.what {
        let chip = gw_proto::sm3(&record.endorsement_certificate.0);
        let _ = writeln!(s, "  芯片 chip {chip}, 节点密钥 node key {}", record.node_key.id());
    }
    s
}

fn state(p: &Proposal) -> String {
    match &p.state {
        State::Open => format!("待批 open until {}", p.expires.rfc3339()),
        State::Approved { by, .. } => {
            format!("已批准 approved by {}; it is done as soon as the ledger takes it", by.operator)
        }
        State::Executed { by, executed, .. } => {
            format!("已执行 executed {}, approved by {}", executed.rfc3339(), by.operator)
        }
        State::Overtaken { why, .. } => format!("已失效 overtaken, nothing was done: {why}"),
        State::Refused { by, reason, .. } => format!("已否决 refused by {}: {reason}", by.operator),
        State::Withdrawn { reason, .. } => format!("已撤回 withdrawn: {reason}"),
        State::Expired { .. } => "已过期 expired".to_owned(),
    }
}
