//! `xinguan-setup wizard`

use anyhow::Result;
use clap::Args;
use image_setup::{
    SetupError,
    answers::{Answers, said},
    commit::put_in_place,
    console::{Consoles, Talk as _},
    files::{Files, MAX_FILE},
    folder::Folder,
    judge::Judge,
    links::links,
    places::Places,
    wizard,
};
use std::{path::PathBuf, process::ExitCode};

/// A configuration that only lacks what is asked here: `scripts/flash --config` may have put it there.
const TEMPLATE: &str = "template.toml";

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

pub(crate) fn run(args: &WizardArgs, places: &Places) -> Result<ExitCode> {
    let mut consoles = Consoles::open(places, &args.console)?;
    let mut config = places.config();
    let judge = super::judge(places, args.xinguan.as_ref());
    loop {
        let answers = wizard::run(&mut consoles, &|| links(places))?;
        match write(&mut config, &answers, &judge) {
            Ok(configured) => {
                let (zh, en) = if configured {
                    ("已写入。本机重启后生成密钥。", "Written. The box restarts and makes its keys.")
                } else {
                    (
                        "已写入。本机重启；随后插入监管方的 U 盘（卷标 XINGUAN-PROV）。",
                        "Written. The box restarts; then plug in the supervisor's stick (label XINGUAN-PROV).",
                    )
                };
                consoles.say(&said(zh, en))?;
                super::restart(places)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(e) => consoles.say(&said(format!("未写入：{e}"), format!("Not written: {e}")))?,
        }
    }
}

/// Says whether the gateway is configured now.
fn write(config: &mut dyn Folder, answers: &Answers, judge: &Judge) -> Result<bool, SetupError> {
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
    put_in_place(config, &files, true)?;
    Ok(files.file("xinguan.toml").is_some())
}
