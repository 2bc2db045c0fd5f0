//! The command itself: what the checks are handed in a real run.

use super::{Head, HeadSource, Patient, at_home, examine, report};
use crate::{
    assemble::{self, Visit},
    commands::Exit,
    config,
    dial::Peer,
};
use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use clap::Args;
use gw_ledger::Ledger;
use gw_proto::{Clock as _, NodeId, UnixMillis, clock::SystemClock};
use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

/// Before a policy record says otherwise.
const STALENESS: Duration = Duration::from_secs(60);

/// Whose world to look at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// configuration of the gateway
    #[arg(long)]
    config: PathBuf,
    /// peers to try, `NODE=HOST:PORT`
    #[arg(long = "peer")]
    peers: Vec<String>,
}

struct Endpoint(Arc<dyn Ledger>);

#[async_trait]
impl HeadSource for Endpoint {
    fn name(&self) -> String {
        self.0.endpoint().to_owned()
    }
    async fn fetch_head(&self) -> Result<Head, String> {
        let height = self.0.head().await.map_err(|e| e.to_string())?;
        let header = self.0.header(height).await.map_err(|e| e.to_string())?;
        Ok(Head { height, time: UnixMillis(header.timestamp) })
    }
}

/// Examines and prints; exit code 1 when a check fails.
pub async fn main(args: &DoctorArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let config = match config::load(&args.config) {
        Ok(c) => c,
        Err(e) => {
            writeln!(out, "{e}")?;
            return Ok(Exit::BadConfig);
        }
    };
    let peers = args
        .peers
        .iter()
        .map(|p| {
            let (node, endpoint) =
                p.split_once('=').with_context(|| format!("--peer {p}: expected NODE=HOST:PORT"))?;
            Ok(Peer { node: NodeId::parse(node)?, endpoint: endpoint.to_owned() })
        })
        .collect::<Result<Vec<_>>>()?;
    let Visit { material, ledgers, client } = match assemble::visit(&config).await {
        Ok(v) => v,
        Err(e) => {
            // without keys nobody is visited; what lies on this disk is looked at all the same
            report(&at_home(&config, SystemClock.now()), out)?;
            writeln!(out, "{e}")?;
            return Ok(e.exit());
        }
    };
    if peers.len() > 64 {
        bail!("at most 64 peers at once");
    }
    let ledgers: Vec<Arc<dyn HeadSource>> =
        ledgers.into_iter().map(|l| Arc::new(Endpoint(l)) as Arc<dyn HeadSource>).collect();
    let clock = SystemClock;
    let patient = Patient {
        config: &config,
        material: &material,
        clock: &clock,
        ledgers: &ledgers,
        staleness: STALENESS,
        peers: &peers,
        probe: &client,
    };
    let findings = examine(&patient).await;
    Ok(report(&findings, out)?)
}
