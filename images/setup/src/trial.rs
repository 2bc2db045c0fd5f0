//! A network on trial: unless somebody confirms it in time, the old one comes back by itself.
//!
//! On the configuration partition: `network/` is in use, `network.previous/` is what comes back, `pending.json` says until when.
//! `pending.json` is written before the new files and removed by nothing but a confirmation or the return of the old ones. The clock
//! is the system's monotonic one; a start in between ends the trial at once, because nobody knows how long the box was off.

use crate::{
    SetupError,
    commit::{self, forget, put_in_place, store, stored},
    files::{Files, NETWORK},
    folder::Folder,
};
use serde::{Deserialize, Serialize};

const PENDING: &str = "pending.json";
const PREVIOUS: &str = "network.previous";
/// Shorter: nobody can answer in time. Longer: nobody waits for it.
pub const WITHIN_S: std::ops::RangeInclusive<u32> = 10..=3600;

/// A moment of this start of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// which start
    pub boot: String,
    /// its monotonic clock, ms
    pub ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    boot: String,
    deadline_ms: u64,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// nothing is on trial
    Settled,
    /// on trial for so many more ms
    Waiting(u64),
    /// the time is over, or the system was started anew: the old network has to come back
    Over,
}

/// Puts the new network in place, on trial for `within_s` seconds.
pub fn apply(folder: &mut dyn Folder, network: &Files, within_s: u32, now: &Now) -> Result<(), SetupError> {
    if stand(folder, now)? != Stand::Settled {
        return Err(SetupError::Trial(
            "a network is on trial already: confirm it, or wait until it is taken back",
        ));
    }
    if !WITHIN_S.contains(&within_s) {
        return Err(SetupError::Trial("the time for confirming must be 10 to 3600 seconds"));
    }
    if network.is_empty() || network.names().any(|n| !n.starts_with("network/")) {
        return Err(SetupError::Trial(
            "needs files for network/, and no others: *.network, *.netdev, *.link",
        ));
    }
    let previous = Files::load_network(folder, NETWORK)?;
    store(folder, PREVIOUS, &previous, true)?;
    let pending =
        Pending { boot: now.boot.clone(), deadline_ms: now.ms.saturating_add(u64::from(within_s) * 1000) };
    let text = serde_json::to_vec(&pending).map_err(|e| SetupError::unfit(PENDING, e.to_string()))?;
    folder.write(PENDING, &text)?;
    put_in_place(folder, network, true)
}

/// Keeps the new network.
pub fn confirm(folder: &mut dyn Folder, now: &Now) -> Result<(), SetupError> {
    match stand(folder, now)? {
        Stand::Settled => {
            Err(SetupError::Trial("nothing is on trial; the network was confirmed or taken back before"))
        }
        Stand::Over => {
            Err(SetupError::Trial("too late: the old network comes back; apply the new one again"))
        }
        Stand::Waiting(_) => {
            folder.remove(PENDING)?;
            forget(folder, PREVIOUS)
        }
    }
}

/// Brings the old network back, if one is on trial. Says whether it did.
pub fn take_back(folder: &mut dyn Folder) -> Result<bool, SetupError> {
    if folder.read(PENDING, 4096)?.is_none() {
        return Ok(false);
    }
    // stored before the trial began; not whole only if the partition was written by others
    if let Some((previous, _)) = stored(folder, PREVIOUS)? {
        put_in_place(folder, &previous, true)?;
    }
    folder.remove(PENDING)?;
    forget(folder, PREVIOUS)?;
    Ok(true)
}

/// Where a trial stands now.
pub fn stand(folder: &dyn Folder, now: &Now) -> Result<Stand, SetupError> {
    let Some(text) = folder.read(PENDING, 4096)? else { return Ok(Stand::Settled) };
    Ok(match serde_json::from_slice::<Pending>(&text) {
        Ok(p) if p.boot == now.boot && now.ms < p.deadline_ms => Stand::Waiting(p.deadline_ms - now.ms),
        _ => Stand::Over,
    })
}

/// At the start: completes what was interrupted, then ends a trial of an earlier start. Says what it did.
pub fn recover(folder: &mut dyn Folder, now: &Now) -> Result<Vec<&'static str>, SetupError> {
    let mut done = Vec::new();
    if commit::recover(folder)? {
        done.push("a configuration whose writing was interrupted was completed");
    }
    match stand(folder, now)? {
        Stand::Over if take_back(folder)? => {
            done.push("the network on trial was not confirmed: the old one is back")
        }
        Stand::Settled => forget(folder, PREVIOUS)?,
        Stand::Over | Stand::Waiting(_) => {}
    }
    Ok(done)
}
