//! `xinguan`: one program, three roles. Subcommands are files in `commands/`.

use clap::{Parser, Subcommand};
use std::{io::Write as _, path::PathBuf, process::ExitCode};
use xinguan::commands::{self, Exit};

/// Edge gateway for credit data (信关).
#[derive(Debug, Parser)]
#[command(name = "xinguan", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway until it is told to stop
    Run {
        /// configuration
        #[arg(long)]
        config: PathBuf,
        /// keep a file that says whether it can serve, written every second: for what starts and restarts the box
        #[arg(long)]
        ready_file: Option<PathBuf>,
    },
    /// Say everything that is wrong with a configuration
    CheckConfig {
        /// configuration
        file: PathBuf,
    },
    /// Look at clock, certificates, chain, disk and peers, and say what to do
    Doctor(commands::doctor::DoctorArgs),
    /// Verify an answer offline
    Verify(commands::verify::VerifyArgs),
    /// Print an answer readably
    Show {
        /// the answer as the gateway gave it
        file: PathBuf,
    },
    /// Ask a supervisor who looked at a firm
    Trace(commands::trace::TraceArgs),
    /// Enrol gateways at a supervisor, see what they attest, verify it offline
    #[command(subcommand)]
    Attest(Box<commands::attest::AttestCommand>),
    /// Send one request to a gateway's API
    Call(commands::call::CallArgs),
    /// Look at the board, release its tamper latch
    #[command(subcommand)]
    Board(commands::board::BoardCommand),
    /// Look at the keystore, make its keys, test and time it
    #[command(subcommand)]
    Hsm(commands::hsm::HsmCommand),
    /// Check and apply signed updates, go back to the system before (runs the updater, `xinguan-update`)
    Update(commands::update::UpdateArgs),
    /// Print the page of problem types
    Problems,
    /// Print the bank API's OpenAPI 3.1 document
    Openapi,
    /// Development tools: never for real data
    #[cfg(feature = "dev")]
    #[command(subcommand)]
    Dev(commands::dev::DevCommand),
    /// Ledgers of our own
    #[cfg(feature = "dev")]
    #[command(subcommand)]
    Ledger(commands::dev::LedgerCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(r) => r,
        Err(e) => return fail(&format!("cannot start the runtime: {e}"), Exit::Internal),
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(exit) => exit.into(),
        Err(e) => fail(&format!("{e:#}"), Exit::CheckFailed),
    }
}

fn fail(text: &str, exit: Exit) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "xinguan: {text}");
    exit.into()
}

async fn dispatch(command: Command) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout();
    match command {
        Command::Run { config, ready_file } => Ok(commands::run::run(&config, ready_file).await),
        Command::CheckConfig { file } => Ok(commands::check_config::run(&file, &mut out)?),
        Command::Doctor(args) => commands::doctor::main(&args, &mut out).await,
        Command::Verify(args) => commands::verify::run(&args, &mut out),
        Command::Show { file } => commands::show::run(&file, &mut out),
        Command::Trace(args) => commands::trace::run(&args, &mut out).await,
        Command::Attest(command) => commands::attest::run(&command, &mut out).await,
        Command::Call(args) => commands::call::run(&args, &mut out).await,
        Command::Board(command) => commands::board::run(&command, &mut out),
        Command::Hsm(command) => commands::hsm::run(command).await,
        Command::Update(args) => commands::update::run(&args),
        Command::Problems => {
            out.write_all(xinguan::reject::markdown().as_bytes())?;
            Ok(Exit::Ok)
        }
        Command::Openapi => {
            serde_json::to_writer_pretty(&mut out, &xinguan::api::bank::document())?;
            Ok(Exit::Ok)
        }
        #[cfg(feature = "dev")]
        Command::Dev(c) => commands::dev::run(c).await,
        #[cfg(feature = "dev")]
        Command::Ledger(c) => commands::dev::ledger(c).await,
    }
}
