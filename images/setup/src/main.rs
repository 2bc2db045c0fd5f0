//! `xinguan-setup`: what people do with a box that has no shell. Each command has a unit of its own in the image.

mod commands;

use anyhow::Result;
use clap::{Parser, Subcommand};
use image_setup::places::Places;
use std::{io::Write as _, path::PathBuf, process::ExitCode};

/// First start, provisioning, network on trial, reset, backup, support.
#[derive(Debug, Parser)]
#[command(name = "xinguan-setup", version)]
struct Arguments {
    /// where the box's files are; another folder for tests
    #[arg(long, default_value = "/", global = true)]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// At each start: complete what was interrupted, take back a network that nobody confirmed, show networkd its files
    Boot,
    /// Ask the questions of the first start on the box's consoles
    Wizard(commands::wizard::WizardArgs),
    /// Write what the questions led to, and ask for a restart
    Answers(commands::wizard::AnswersArgs),
    /// Take or make provisioning files
    #[command(subcommand)]
    Provision(commands::provision::ProvisionCommand),
    /// A network on trial
    #[command(subcommand)]
    Network(commands::network::NetworkCommand),
    /// Destroy everything that this box knows; the request holds its serial number
    Reset {
        /// the request: removed, whatever comes of it
        request: PathBuf,
    },
    /// On the box: write the support bundle, the backup and the certificate request to a stick
    Export(commands::export::ExportArgs),
    /// At an office: take one person's layer off a backup
    Open(commands::export::OpenArgs),
}

/// 0 done; 1 refused or failed, nothing was changed; 2 command line; 3 `network watch`: the time is over.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let places = Places::new(&arguments.root);
    match run(&arguments.command, &places) {
        Ok(code) => code,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "xinguan-setup: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, places: &Places) -> Result<ExitCode> {
    match command {
        Command::Boot => commands::network::boot(places),
        Command::Wizard(args) => commands::wizard::ask(args, places),
        Command::Answers(args) => commands::wizard::write(args, places),
        Command::Provision(command) => commands::provision::run(command, places),
        Command::Network(command) => commands::network::run(command, places),
        Command::Reset { request } => commands::reset::run(request, places),
        Command::Export(args) => commands::export::export(args, places),
        Command::Open(args) => commands::export::open(args),
    }
}
