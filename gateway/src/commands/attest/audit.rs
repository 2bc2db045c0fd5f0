//! `xinguan attest audit|check-audit`: what a supervisor's people did, and that nothing of it is missing.

use super::{At, ask, read};
use crate::{
    commands::Exit,
    supervisor::audit::{Act, Mark, Trail, follow},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use http::Method;
use std::{io::Write, path::PathBuf};

/// More pages than the operators of a supervisor fill in their lives.
const MAX_PAGES: usize = 1_000;

/// Where to.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    at: At,
    /// write it here too, to be checked offline
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Which.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// what `attest audit --out` wrote
    file: PathBuf,
    /// an older export: what it has must be in the newer one
    #[arg(long)]
    since: Option<PathBuf>,
}

/// Fetches the whole trail, prints it, checks it; exit code 1 if it does not hold.
pub(super) async fn audit(args: &AuditArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let trail = fetch(&args.at).await?;
    if let Some(file) = &args.out {
        std::fs::write(file, serde_json::to_vec(&trail)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    for row in &trail.rows {
        match serde_json::from_str::<Act>(&row.body) {
            Ok(act) => {
                writeln!(out, "{:>6} {} {} {} {}", act.n, act.at.rfc3339(), act.by, act.act, act.what)?;
            }
            Err(_) => writeln!(out, "     ? {}", row.body.escape_debug())?,
        }
    }
    said(&trail, out)
}

async fn fetch(at: &At) -> Result<Trail> {
    let mut whole = Trail { rows: Vec::new(), noted: None };
    for _ in 0..MAX_PAGES {
        let path = format!("/admin/v1/audit?after={}", whole.rows.len());
        let response = ask(at, Method::GET, &path, Vec::new()).await?;
        let page: Trail = serde_json::from_slice(&response.body).context("the answer has another form")?;
        whole.noted = whole.noted.or(page.noted);
        if page.rows.is_empty() {
            return Ok(whole);
        }
        whole.rows.extend(page.rows);
    }
    bail!("the audit trail does not end after {MAX_PAGES} pages")
}

fn said(trail: &Trail, out: &mut (dyn Write + Send)) -> Result<Exit> {
    match trail.check() {
        Ok(end) => {
            writeln!(out, "完整 whole: {} rows, {}", end.n, end.chain)?;
            Ok(Exit::Ok)
        }
        Err(why) => {
            writeln!(out, "不完整 NOT WHOLE: {why}")?;
            Ok(Exit::CheckFailed)
        }
    }
}

/// Checks an export offline.
pub(super) fn check(args: &CheckArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let load = |file: &PathBuf| -> Result<Trail> {
        serde_json::from_slice(&read(file)?)
            .with_context(|| format!("{} is not what `attest audit` writes", file.display()))
    };
    let mut trail = load(&args.file)?;
    if let Some(older) = &args.since {
        let end = follow(Mark::START, &load(older)?.rows)?;
        // what the older one ends with is known to have been written, whatever the journal says
        if trail.noted.is_none_or(|noted| noted.n <= end.n) {
            trail.noted = Some(end);
        } else if end.n > 0
            && trail.rows.get(usize::try_from(end.n - 1)?).is_none_or(|r| r.chain != end.chain)
        {
            writeln!(out, "不完整 NOT WHOLE: row {} is not the one that {} has", end.n, older.display())?;
            return Ok(Exit::CheckFailed);
        }
    }
    said(&trail, out)
}
