//! Many boxes attest to one real supervisor over TLS, some with swtpm, the rest with the same TPM structures from
//! software: every verdict arrives and is the right one. The long one measures, and asserts nothing of time.

mod fleet;

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Consortium, LEDGER, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        cases::say,
        thief::Thief,
        tpm::Tpms,
        wait,
        wire::{Connection, runtime},
    },
};
use fleet::{
    devices::{self, Device, admin},
    machine::{Kind, RELEASE},
    rounds::{Door, Round, answer, ask, bundle, connect, round},
};
use gw_proto::{
    Digest, Hex, Scheme, Standing,
    record::{Record, ReferenceManifest},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// A supervisor and its boxes.
struct Fleet {
    c: Consortium,
    devices: Arc<Vec<Device>>,
    /// of the manifest that the supervisor has
    manifest: Digest,
    _tpms: Tpms,
}

/// `every`: of so many boxes three are bad, each in its way.
fn fleet(count: usize, real: usize, every: usize) -> Result<Fleet> {
    let names: Vec<String> = (0..count).map(|n| format!("box-{n:03}")).collect();
    let chips: Vec<&str> = names.iter().take(real).map(String::as_str).collect();
    let tpms = Tpms::start(&chips)?;
    let c = Consortium::make(Profile::Sm)?;
    let (root, manifest) = devices::prepare(&c, Scheme::Sm2Sm3)?;
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
    Ok(Fleet { c, devices: Arc::new(devices), manifest, _tpms: tpms })
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
    fleet.devices.iter().try_for_each(|d| d.chip.disconnect())?;
    let good = fleet.devices.iter().rev().find(|d| d.kind == Kind::Good).context("a good box")?;
    ledger_decides(&fleet, good).context("manifests on the ledger")?;
    nonces(&fleet, good).context("nonces")
}

/// Once governance lists a manifest, no other counts, though its makers signed it and it lies in the folder.
fn ledger_decides(fleet: &Fleet, device: &Device) -> Result<()> {
    let (thief, runtime) = (Thief::of(&fleet.c, OTHER_BANK)?, runtime()?);
    let mut at = runtime.block_on(connect(&fleet.c, device))?;
    let mut list = |digest, standing, expected: &[&str]| {
        let listed = ReferenceManifest { digest, release: RELEASE.to_owned(), standing };
        thief.govern(&fleet.c, vec![Record::Reference(listed)])?;
        wait::until(&format!("{standing:?}: {expected:?}"), Duration::from_secs(60), || {
            let judged = runtime.block_on(round(device, &mut at))?;
            ensure!(judged.failed == expected, "{:?}", judged.failed);
            Ok(())
        })
    };
    list(Hex([9; 32]), Standing::Active, &["release-known"])?;
    list(fleet.manifest, Standing::Active, &[])?;
    list(fleet.manifest, Standing::Blocked, &["release-known"])
}

/// A nonce counts in the session that it was asked in, once, and not after the verifier was restarted.
fn nonces(fleet: &Fleet, device: &Device) -> Result<()> {
    const REFUSED: &str = "attestation-challenge";
    let runtime = runtime()?;
    let forgotten = runtime.block_on(async {
        let (mut one, mut other) = (connect(&fleet.c, device).await?, connect(&fleet.c, device).await?);
        let nonce = ask(&mut one).await?;
        let relayed = bundle(device, nonce, &other)?;
        answer(&mut other, nonce, relayed).await?.refused(REFUSED).context("in another session")?;
        let nonce = ask(&mut one).await?;
        let sent = bundle(device, nonce, &one)?;
        ensure!(answer(&mut one, nonce, sent.clone()).await?.status == 200, "not in its own session");
        answer(&mut one, nonce, sent).await?.refused(REFUSED).context("a second time")?;
        ask(&mut one).await
    })?;
    fleet.c.kill(SUPERVISOR)?;
    fleet.c.start_ready(SUPERVISOR)?;
    runtime.block_on(async {
        let mut at = connect(&fleet.c, device).await?;
        let late = bundle(device, forgotten, &at)?;
        answer(&mut at, forgotten, late).await?.refused(REFUSED).context("after a restart")?;
        // and the verifier goes on where it was
        ensure!(round(device, &mut at).await?.failed == ["release-known"], "another verdict than before");
        Ok(())
    })
}

#[test]
#[ignore = "minutes, and figures: scripts/bench attestation"]
fn five_hundred_boxes_a_minute() {
    long().unwrap();
}

/// Each box attests every minute at its own second, in a TLS session made for it: gateways keep theirs, so this is the more
/// expensive way. The first minute does not count: first verdicts go to the ledger.
fn long() -> Result<()> {
    const BOXES: usize = 500;
    const SWTPMS: usize = 4;
    const MINUTES: u32 = 3;
    const MINUTE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    let fleet = fleet(BOXES, SWTPMS, 100)?;
    say(&format!("{BOXES} boxes listed and enrolled in {:?}", began.elapsed()));
    let runtime = runtime()?;
    let pid = fleet.c.pid(SUPERVISOR)?;
    let (rounds, pages, cpu, elapsed) = runtime.block_on(async {
        let door = Arc::new(Door::of(&fleet.c)?);
        let (start, steps) = (tokio::time::Instant::now(), u32::try_from(BOXES)?);
        let mut running = tokio::task::JoinSet::new();
        for n in 0..steps {
            let (devices, door) = (Arc::clone(&fleet.devices), Arc::clone(&door));
            running.spawn(async move {
                let device = devices.get(usize::try_from(n)?).context("a box")?;
                let mut rounds = Vec::new();
                for minute in 0..=MINUTES {
                    sleep_until(start + MINUTE * minute + MINUTE * n / steps).await;
                    let began = Instant::now();
                    let mut at = door.open(device).await?;
                    let opened = began.elapsed();
                    rounds.push((opened, judged(device, &mut at).await?));
                }
                anyhow::Ok(rounds)
            });
        }
        sleep_until(start + MINUTE).await;
        let (before, from) = (cpu_time(pid)?, Instant::now());
        let mut pages = Vec::new();
        for look in 0..MINUTES * 12 {
            sleep_until(start + MINUTE + Duration::from_secs(5) * look).await;
            // an operator's connection that says nothing for a while is closed
            let mut operator = admin(&fleet.c, "viewer").await?;
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
    let bytes = rounds.iter().map(|(_, r)| r.bytes).max().unwrap_or_default();
    say(&format!(
        "{} rounds in {:.0} s, each verdict right; bundles of {bytes} bytes at most",
        rounds.len(),
        elapsed.as_secs_f64()
    ));
    say(&format!(
        "supervisor: {share:.1} % of one core, {:.1} ms of it per verdict",
        cpu.as_secs_f64() * 1000.0 / f64::from(u32::try_from(rounds.len())?)
    ));
    say(&format!("TLS handshake before it: {}", spread(rounds.iter().map(|(opened, _)| *opened).collect())));
    say(&format!("whole round: {}", spread(rounds.iter().map(|(_, r)| r.whole).collect())));
    say(&format!("evidence sent to verdict: {}", spread(rounds.iter().map(|(_, r)| r.judged).collect())));
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
