//! `xinguan dev …` and `xinguan ledger dev`: development tools, never for real data.

use super::Exit;
use crate::api::operations;
use crate::dev::{
    consortium::{self, ConsortiumArgs},
    ledger::{self, LedgerArgs},
    statement::{self, AuthorizeArgs},
};
use anyhow::Result;
use clap::Subcommand;

/// Development tools.
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Make a whole consortium in a folder: genesis, keys, certificates, configurations, databases
    Consortium(ConsortiumArgs),
    /// Make an enterprise's authorization, signed with its own key
    Authorize(Box<AuthorizeArgs>),
    /// Print the table of operations and who may call them, as JSON: the black-box test walks it
    #[command(hide = true)]
    Operations,
}

/// Ledgers of our own.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Run a development ledger: one process, no consensus
    Dev(LedgerArgs),
}

/// Runs a development tool.
pub async fn run(command: DevCommand) -> Result<Exit> {
    tokio::task::spawn_blocking(move || match command {
        DevCommand::Consortium(args) => consortium::make(&args),
        DevCommand::Authorize(args) => statement::authorize(&args),
        DevCommand::Operations => {
            serde_json::to_writer_pretty(std::io::stdout(), &operations::to_json())?;
            Ok(())
        }
    })
    .await??;
    Ok(Exit::Ok)
}

/// Runs a ledger.
pub async fn ledger(command: LedgerCommand) -> Result<Exit> {
    match command {
        LedgerCommand::Dev(args) => ledger::run(&args).await,
    }
}
