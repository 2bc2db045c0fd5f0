//! Many boxes attest to one real supervisor over TLS, some with swtpm, the rest with the same TPM structures from
//! software: every verdict arrives and is the right one. The long one measures, and asserts nothing of time.

mod fleet;

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Consortium, LEDGER, Profile, SUPERVISOR,
    harness::{
        cases::say,
        tpm::Tpms,
        wire::{Connection, runtime},
    },
};
use fleet::{
    devices::{self, Device, admin},
    machine::Kind,
    rounds::{Round, connect, round},
};
use gw_proto::Scheme;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// A supervisor and its boxes.
struct Fleet {
    c: Consortium,
    devices: Arc<Vec<Device>>,
    _tpms: Tpms,
}

/// `every`: of so many boxes three are bad, each in its way.
fn fleet(count: usize, real: usize, every: usize) -> Result<Fleet> {
    let names: Vec<String> = (0..count).map(|n| format!("box-{n:03}")).collect();
    let chips: Vec<&str> = names.iter().take(real).map(String::as_str).collect();
    let tpms = Tpms::start(&chips)?;
    let c = Consortium::make(Profile::Sm)?;
    let root = devices::prepare(&c, Scheme::Sm2Sm3)?;
    c.start(LEDGER)?;
    c.start_ready(SUPERVISOR)?;
    let kind = |n: usize| match n % every {
        1 => Kind::OtherLoader,
        2 => Kind::OtherConfiguration,
        3 => Kind::StaleNonce,
        _ => Kind::Good,
    };
    let devices = devices::make(&c, &tpms, &root, &names, real, kind)?;
    devices::introduce(&c, &devices)?;
    Ok(Fleet { c, devices: Arc::new(devices), _tpms: tpms })
}

/// A round whose verdict must be the right one.
async fn judged(device: &Device, at: &mut Connection) -> Result<Round> {
    let round = round(device, at).await.with_context(|| device.node.to_string())?;
    ensure!(round.failed == device.kind.blame(), "{} is {:?}: {:?}", device.node, device.kind, round.failed);
    Ok(round)
}

#[test]
fn a_fleet_is_judged_each_rightly() {
    short().unwrap();
}

fn short() -> Result<()> {
    const BOXES: usize = 20;
    let fleet = fleet(BOXES, 2, 5)?;
    runtime()?.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..BOXES {
            let device = fleet.devices.get(n).context("a box")?;
            let mut at = connect(&fleet.c, device).await?;
            let devices = Arc::clone(&fleet.devices);
            running.spawn(async move {
                let device = devices.get(n).context("a box")?;
                for _ in 0..2 {
                    judged(device, &mut at).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })?;
    let bad = fleet.devices.iter().filter(|d| d.kind != Kind::Good).count();
    let kept = fleet.c.metric(SUPERVISOR, "xinguan_verdicts_total{verdict=\"bad\"}")?;
    ensure!(bad == 12 && kept == 24.0, "{bad} bad boxes in two rounds: {kept} bad verdicts");
    let good = fleet.c.metric(SUPERVISOR, "xinguan_verdicts_total{verdict=\"good\"}")?;
    ensure!(good == 16.0, "{good} good verdicts");
    fleet.devices.iter().try_for_each(|d| d.chip.disconnect())
}

#[test]
#[ignore = "minutes, and figures: scripts/bench attestation"]
fn five_hundred_boxes_a_minute() {
    long().unwrap();
}

/// Each box attests every minute at its own second. The first minute does not count: first verdicts go to the ledger.
fn long() -> Result<()> {
    const BOXES: usize = 500;
    const SWTPMS: usize = 4;
    const MINUTES: u32 = 5;
    const MINUTE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    let fleet = fleet(BOXES, SWTPMS, 100)?;
    say(&format!("{BOXES} boxes listed and enrolled in {:?}", began.elapsed()));
    let runtime = runtime()?;
    let pid = fleet.c.pid(SUPERVISOR)?;
    let (rounds, pages, cpu, elapsed) = runtime.block_on(async {
        let mut sessions = Vec::new();
        for device in fleet.devices.iter() {
            sessions.push(connect(&fleet.c, device).await?);
        }
        let (start, steps) = (tokio::time::Instant::now(), u32::try_from(BOXES)?);
        let mut running = tokio::task::JoinSet::new();
        for (n, mut at) in (0u32..).zip(sessions) {
            let devices = Arc::clone(&fleet.devices);
            running.spawn(async move {
                let device = devices.get(usize::try_from(n)?).context("a box")?;
                let mut rounds = Vec::new();
                for minute in 0..=MINUTES {
                    sleep_until(start + MINUTE * minute + MINUTE * n / steps).await;
                    rounds.push(judged(device, &mut at).await?);
                }
                anyhow::Ok(rounds)
            });
        }
        let mut operator = admin(&fleet.c, "viewer").await?;
        sleep_until(start + MINUTE).await;
        let (before, from) = (cpu_time(pid)?, Instant::now());
        let mut pages = Vec::new();
        for look in 0..MINUTES * 12 {
            sleep_until(start + MINUTE + Duration::from_secs(5) * look).await;
            let asked = Instant::now();
            let page = operator.get("/console/?lang=en").await?;
            ensure!(page.status == 200, "the console: HTTP {}", page.status);
            pages.push(asked.elapsed());
        }
        sleep_until(start + MINUTE * (MINUTES + 1)).await;
        let (used, elapsed) = (cpu_time(pid)? - before, from.elapsed());
        let mut rounds = Vec::new();
        while let Some(ended) = running.join_next().await {
            rounds.extend(ended??.into_iter().skip(1));
        }
        anyhow::Ok((rounds, pages, used, elapsed))
    })?;
    let share = cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    let bytes = rounds.iter().map(|r| r.bytes).max().unwrap_or_default();
    say(&format!(
        "{} rounds in {:.0} s, each verdict right; bundles of {bytes} bytes at most",
        rounds.len(),
        elapsed.as_secs_f64()
    ));
    say(&format!(
        "supervisor: {share:.1} % of one core, {:.1} ms of it per verdict",
        cpu.as_secs_f64() * 1000.0 / f64::from(u32::try_from(rounds.len())?)
    ));
    say(&format!("whole round: {}", spread(rounds.iter().map(|r| r.whole).collect())));
    say(&format!("evidence sent to verdict: {}", spread(rounds.iter().map(|r| r.judged).collect())));
    say(&format!("console's fleet page meanwhile, from request to last byte: {}", spread(pages)));
    Ok(())
}

/// User and system time of a process so far.
fn cpu_time(pid: u32) -> Result<Duration> {
    // proc(5): fields 14 and 15, in ticks of 10 ms on Linux; the name before may contain blanks
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(") ").context("no name")?.1;
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|t| t.parse::<u64>().unwrap_or_default()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Median, p99, worst.
fn spread(mut all: Vec<Duration>) -> String {
    all.sort();
    let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
    let ms = |d: Option<&Duration>| d.map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    format!("median {:.1} ms, p99 {:.1} ms, worst {:.1} ms", ms(at(50)), ms(at(99)), ms(all.last()))
}
