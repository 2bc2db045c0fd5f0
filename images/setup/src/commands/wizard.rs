//! `xinguan-setup wizard` asks, `xinguan-setup answers` writes: who talks to people cannot change the box.

use super::{judge, lock, ours, restart, say};
use anyhow::Result;
use clap::Args;
use image_setup::{
    SetupError,
    answers::{Answers, said},
    commit::put_in_place,
    console::{Consoles, Talk as _},
    files::{Files, MAX_FILE},
    folder::{Folder, replace},
    judge::Judge,
    links::links,
    places::Places,
    wizard,
};
use std::{path::PathBuf, process::ExitCode};

/// A configuration that only lacks what is asked here: `scripts/flash --config` may have put it there.
const TEMPLATE: &str = "template.toml";
/// What the questions led to: `setup-answers.path` waits for this file.
const REQUEST: &str = "answers";

/// Where and with what.
#[derive(Debug, Args)]
pub(crate) struct WizardArgs {
    /// consoles; default: those that the kernel writes to
    #[arg(long)]
    console: Vec<PathBuf>,
    /// the gateway's program, which judges configurations
    #[arg(long)]
    xinguan: Option<PathBuf>,
}

/// The gateway's program again, for who writes.
#[derive(Debug, Args)]
pub(crate) struct AnswersArgs {
    /// the gateway's program, which judges configurations
    #[arg(long)]
    xinguan: Option<PathBuf>,
}

/// Asks until the gateway would accept what comes of it.
pub(crate) fn ask(args: &WizardArgs, places: &Places) -> Result<ExitCode> {
    let mut consoles = Consoles::open(places, &args.console)?;
    let judge = judge(places, args.xinguan.as_ref());
    loop {
        let answers = wizard::run(&mut consoles, &|| links(places))?;
        match files(&places.config(), &answers, &judge) {
            Ok(files) => {
                let (zh, en) = if configures(&files) {
                    ("答案已接受。本机重启后生成密钥。", "Accepted. The box restarts and makes its keys.")
                } else {
                    (
                        "答案已接受。本机重启；随后插入监管方的 U 盘（卷标 XINGUAN-IN）。",
                        "Accepted. The box restarts; then plug in the supervisor's stick (label XINGUAN-IN).",
                    )
                };
                consoles.say(&said(zh, en))?;
                replace(&mut ours(places), REQUEST, &answers.to_json()?)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(e) => consoles.say(&said(format!("未接受：{e}"), format!("Not accepted: {e}")))?,
        }
    }
}

/// Checks the answers once more, writes what comes of them, asks for a restart.
pub(crate) fn write(args: &AnswersArgs, places: &Places) -> Result<ExitCode> {
    let _lock = lock(places)?;
    let (mut requests, mut config) = (ours(places), places.config());
    let request = requests.read(REQUEST, MAX_FILE)?;
    requests.remove(REQUEST)?;
    let answers = Answers::parse(&request.unwrap_or_default())?;
    let files = files(&config, &answers, &judge(places, args.xinguan.as_ref()))?;
    put_in_place(&mut config, &files, true)?;
    say("setup: the answers are written; the box restarts")?;
    restart(places)?;
    Ok(ExitCode::SUCCESS)
}

fn configures(files: &Files) -> bool {
    files.file("xinguan.toml").is_some()
}

/// What is to be written; nothing that the gateway refuses.
fn files(config: &dyn Folder, answers: &Answers, judge: &Judge) -> Result<Files, SetupError> {
    let mut files = answers.files()?;
    if let Some(template) = config.read(TEMPLATE, MAX_FILE)? {
        let text = answers.fill(&String::from_utf8_lossy(&template))?;
        files.put("xinguan.toml", text)?;
        let mut all = Files::load(config)?;
        for (name, bytes) in files.iter() {
            all.put(name, bytes)?;
        }
        judge.judge(&all)?;
    }
    Ok(files)
}
