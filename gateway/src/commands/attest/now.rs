//! `xinguan attest now NAME` and `attest policy`: evidence this minute; what it is judged by.

use super::{At, ask};
use crate::{
    commands::Exit,
    supervisor::attest::{
        rules::{InForce, ReleaseStanding},
        summons::Now,
    },
};
use anyhow::{Context as _, Result};
use clap::Args;
use http::Method;
use std::{fmt::Write as _, io::Write};

/// Whose.
#[derive(Debug, Args)]
pub struct NowArgs {
    #[command(flatten)]
    at: At,
    /// the device
    device: String,
    /// print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// How.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(flatten)]
    at: At,
    /// print the JSON as it came
    #[arg(long)]
    json: bool,
}

/// Has a gateway give evidence; exit code 1 if it is not trusted.
pub(super) async fn now(args: &NowArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let path = format!("/admin/v1/devices/{}/challenge", args.device);
    let response = ask(&args.at, Method::POST, &path, b"{}".to_vec()).await?;
    let found: Now = serde_json::from_slice(&response.body).context("the answer has another form")?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &found)?;
        writeln!(out)?;
    } else {
        out.write_all(found.verdict.render().as_bytes())?;
    }
    Ok(if found.verdict.passed() { Exit::Ok } else { Exit::CheckFailed })
}

/// Shows the policy in force.
pub(super) async fn policy(args: &PolicyArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let response = ask(&args.at, Method::GET, "/admin/v1/policy", Vec::new()).await?;
    if args.json {
        out.write_all(&response.body)?;
        return Ok(Exit::Ok);
    }
    let found: InForce = serde_json::from_slice(&response.body).context("the answer has another form")?;
    out.write_all(render(&found).as_bytes())?;
    Ok(Exit::Ok)
}

fn render(p: &InForce) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let yes = |b: bool| if b { "是 yes" } else { "否 no" };
    let mut s = format!("证明策略 / attestation policy, {}\n", p.at.rfc3339());
    for (what, value) in [
        ("PCR", list(p.pcrs.iter().map(u8::to_string).collect())),
        ("算法 banks", list(p.banks.iter().map(ToString::to_string).collect())),
        ("最低编号 floor", p.floor.to_string()),
        ("失联 silent after", format!("{} s", p.silence_s)),
        ("结论有效 a good verdict lasts", format!("{} s", p.lasts_s)),
        ("未经芯片证明的节点密钥 uncertified node keys", yes(p.uncertified_node_key).to_owned()),
        ("限定芯片厂商 pinned manufacturers", yes(p.pinned_manufacturers).to_owned()),
        ("待批期限 proposals expire after", format!("{} s", p.proposals_expire_s)),
        ("对其他网关 this gateway's own attestation.peers", p.peers.clone()),
    ] {
        let _ = writeln!(s, "  {what}: {value}");
    }
    let _ = writeln!(s, "  版本 releases:");
    for r in &p.releases {
        let standing = match r.standing {
            ReleaseStanding::Valid => "✓ 有效 valid",
            ReleaseStanding::NotYet => "… 未生效 not yet",
            ReleaseStanding::Expired => "✗ 已过期 expired",
            ReleaseStanding::BelowFloor => "✗ 低于最低编号 below the floor",
            ReleaseStanding::Replaced => "– 已被取代 replaced",
        };
        let (name, number) = (&r.release, r.number);
        let (from, until) = (r.not_before.rfc3339(), r.not_after.rfc3339());
        let _ = writeln!(s, "    {name} ({number}) {from} – {until} {standing}");
    }
    if p.releases.is_empty() {
        let _ = writeln!(s, "    无 none: no evidence can be good");
    }
    s
}
