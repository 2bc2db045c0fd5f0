//! `xinguan-setup boot` and `xinguan-setup network …`

use super::{lock, say};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use image_setup::{
    files::{Files, MAX_FILE, NETWORK},
    folder::{DirFolder, Folder, replace},
    places::{Places, read_bytes},
    reset,
    trial::{self, Now, Stand},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    time::{ClockId, clock_gettime},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// `network watch` ends with it when the time is over: the unit then starts the one that takes the network back.
const OVER: u8 = 3;
/// Cards are up but have no address: so that the first start's questions can say where a cable is.
const WAITING: &str = "[Match]\nType=ether\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n";

/// A new network is used at once, and stays only if somebody confirms it through it.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Use the files of a folder, or those of a request, on trial
    Apply {
        /// a folder of *.network files, or a file {"confirm_within_s": 120, "files": {"10-inside.network": "…"}}
        from: PathBuf,
        /// seconds until the old network comes back, 10 to 3600; a request has its own
        #[arg(long)]
        confirm_within: Option<u32>,
        /// remove the request, whatever comes of it
        #[arg(long)]
        consume: bool,
    },
    /// Keep the network on trial
    Confirm {
        /// the file that asked for it: removed, whatever comes of it
        #[arg(long)]
        request: Option<PathBuf>,
    },
    /// Bring the old network back, if one is on trial
    TakeBack,
    /// Wait until the trial ends: exit code 0 confirmed or taken back, 3 the time is over
    Watch,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    confirm_within_s: u32,
    files: BTreeMap<String, String>,
}

pub(crate) fn run(command: &NetworkCommand, places: &Places) -> Result<ExitCode> {
    let mut config = places.config();
    if matches!(command, NetworkCommand::Watch) {
        return watch(places); // before the lock: it waits
    }
    let _lock = lock(places)?;
    match command {
        NetworkCommand::Apply { from, confirm_within, consume: remove } => {
            let request = load(from, *confirm_within);
            if *remove {
                consume(from)?;
            }
            let (files, within) = request?;
            trial::apply(&mut config, &files, within, &now(places)?)?;
            say(&format!("network: on trial; confirm it within {within} s, or the old one comes back"))?;
        }
        NetworkCommand::Confirm { request } => {
            request.as_deref().map(consume).transpose()?;
            trial::confirm(&mut config, &now(places)?)?;
            say("network: confirmed; it stays")?;
        }
        NetworkCommand::TakeBack => {
            let done = trial::take_back(&mut config)?;
            say(if done {
                "network: not confirmed; the old one is back"
            } else {
                "network: nothing is on trial"
            })?;
        }
        NetworkCommand::Watch => {}
    }
    publish(&config, &mut places.network())?;
    Ok(ExitCode::SUCCESS)
}

/// A request that stays would be carried out again.
fn consume(request: &Path) -> Result<()> {
    std::fs::remove_file(request).with_context(|| format!("cannot remove {}", request.display()))
}

/// Before the network starts.
pub(crate) fn boot(places: &Places) -> Result<ExitCode> {
    let _lock = lock(places)?;
    let mut config = places.config();
    if reset::pending(places) {
        say(&format!(
            "setup: an interrupted factory reset was completed, {} files",
            reset::finish(places, || Ok(()))?
        ))?;
    }
    for line in trial::recover(&mut config, &now(places)?)? {
        say(&format!("setup: {line}"))?;
    }
    publish(&config, &mut places.network())?;
    Ok(ExitCode::SUCCESS)
}

/// What networkd reads is what the configuration has, no more and no less.
fn publish(config: &dyn Folder, network: &mut dyn Folder) -> Result<()> {
    let wanted = Files::load_network(config, NETWORK)?;
    let mut wanted: BTreeMap<&str, &[u8]> =
        wanted.iter().filter_map(|(n, b)| Some((n.split_once('/')?.1, b))).collect();
    if wanted.is_empty() {
        wanted.insert("90-waiting.network", WAITING.as_bytes());
    }
    for name in network.list("")?.iter().filter(|n| !wanted.contains_key(n.as_str())) {
        network.remove(name)?;
    }
    for (name, bytes) in wanted {
        replace(network, name, bytes)?;
    }
    Ok(())
}

/// Files and seconds, out of a folder or a request.
fn load(from: &Path, within: Option<u32>) -> Result<(Files, u32)> {
    if from.is_dir() {
        let within = within.context("say how long the trial lasts: --confirm-within SECONDS")?;
        return Ok((Files::load_network(&DirFolder::new(from.to_owned()), "")?, within));
    }
    let request: Request = serde_json::from_slice(&read_bytes(from, MAX_FILE)?)
        .with_context(|| format!("{} is no request", from.display()))?;
    let mut files = Files::new();
    for (name, text) in request.files {
        files.put(&format!("{NETWORK}/{name}"), text)?;
    }
    Ok((files, request.confirm_within_s))
}

fn watch(places: &Places) -> Result<ExitCode> {
    let config = places.config();
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&changes, config.place(""), inotify::WatchFlags::DELETE)?;
    loop {
        let left_ms = match trial::stand(&config, &now(places)?)? {
            Stand::Settled => return Ok(ExitCode::SUCCESS),
            Stand::Over => return Ok(ExitCode::from(OVER)),
            Stand::Waiting(left_ms) => left_ms,
        };
        // rounded up, so that the clock has passed the deadline when it returns
        let wait = Timespec { tv_sec: i64::try_from(left_ms / 1000 + 1)?, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => bail!("cannot wait: {e}"),
        }
        let mut events = [0; 4096];
        while rustix::io::read(&changes, &mut events).is_ok_and(|n| n > 0) {}
    }
}

/// This start of the system, and its clock that nobody sets; it goes on while the box sleeps.
fn now(places: &Places) -> Result<Now> {
    let t = clock_gettime(ClockId::Boottime);
    let ms = u64::try_from(t.tv_sec)?.saturating_mul(1000) + u64::try_from(t.tv_nsec)? / 1_000_000;
    Ok(Now { boot: places.boot()?, ms })
}
