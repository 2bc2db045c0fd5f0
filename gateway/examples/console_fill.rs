//! Fills a supervisor's database for measuring: `console_fill DATABASE DEVICES VERDICTS_PER_DEVICE`.
//!
//! Devices `filled-000` and so on with one verdict every ten minutes until now, each with all checks and texts
//! as long as real ones. Every hundredth device is bad now, on its boot loader; each was bad for an hour once.
//! The newest verdict of each counts as resting on evidence, whose 40 kB (of base64) are filler: nobody exports them.
#![expect(clippy::print_stdout, reason = "a program that says what it made")]

use anyhow::{Context as _, Result, bail};
use gw_attest::{
    Check, CheckName, Outcome, Verdict,
    challenge::Challenge,
    decide::{Enrolled, Rules},
    verdict::LASTS,
};
use gw_proto::{
    B64, Clock as _, Hex, HexBytes, InstitutionId, NodeId, PublicKey, Scheme, UnixMillis, clock::SystemClock,
    sm3,
};
use std::path::Path;
use xinguan::supervisor::{
    attest::{
        appraisal::{Appraisal, VERSION},
        enrol::Device,
    },
    store::SupervisorStore,
};

const EVERY_MS: u64 = 600_000;
const EVIDENCE_BYTES: usize = 30_000;
/// Bad once: this many verdicts ago, and for so many.
const ONCE: std::ops::Range<u64> = 300..306;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, devices, verdicts] = arguments.as_slice() else {
        bail!("usage: console_fill DATABASE DEVICES VERDICTS_PER_DEVICE")
    };
    let (devices, verdicts): (u32, u64) = (devices.parse()?, verdicts.parse()?);
    let now = SystemClock.now();
    let devices: Vec<Device> = (0..devices)
        .map(|n| device(&NodeId::parse(&format!("filled-{n:03}"))?, now))
        .collect::<Result<_>>()?;
    let store = SupervisorStore::open(Path::new(database))?;
    for device in &devices {
        store.enrol(device)?;
    }
    fill(&store, &devices, verdicts, now)?;
    println!("{} devices, {} verdicts", devices.len(), u64::try_from(devices.len())? * verdicts);
    Ok(())
}

fn device(name: &NodeId, now: UnixMillis) -> Result<Device> {
    let key = PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) };
    let enrolled = Enrolled {
        device: name.clone(),
        attestation_key: HexBytes(vec![1; 34]),
        signing_key: Some(HexBytes(vec![1; 34])),
        node_key: key,
        endorsement_certificate: sm3(name.as_str().as_bytes()),
        configurations: vec![Hex([3; 32])],
        files: Vec::new(),
    };
    Ok(Device {
        enrolled,
        institution: InstitutionId::parse("bank-suzhou")?,
        at: now,
        by: "fill".to_owned(),
        endorsed: None,
    })
}

fn verdict(device: &NodeId, at: UnixMillis, passed: bool) -> Verdict {
    let check = |name: CheckName| {
        let found = format!("{} {}", name.as_str(), sm3(name.as_str().as_bytes()));
        Check { name, outcome: Outcome::Ok, component: None, expected: String::new(), found }
    };
    let mut checks: Vec<Check> = CheckName::ALL.iter().map(|n| check(*n)).collect();
    if !passed {
        for c in checks.iter_mut().filter(|c| c.name == CheckName::Component) {
            (c.outcome, c.component) = (Outcome::Failed, Some("boot loader (PCR 4)".to_owned()));
            c.expected = format!("sha256 {}", sm3(b"as released"));
            c.found = format!("sha256 {}", sm3(b"something else"));
        }
    }
    Verdict {
        device: device.clone(),
        release: Some("xinguan 0.1.0".to_owned()),
        at,
        good_until: passed.then(|| at.plus(LASTS)),
        counters: None,
        checks,
    }
}

/// What the newest verdict of each rests on: as large as real ones, and nothing that could be judged again.
fn evidence(device: &Device, at: UnixMillis) -> Appraisal {
    let name = &device.enrolled.device;
    let challenge =
        Challenge { nonce: Hex([1; 32]), device: name.clone(), channel: Hex([2; 32]), expires: at };
    let rules = Rules {
        banks: Vec::new(),
        pcrs: [0].into(),
        floor: 0,
        uncertified_node_key: false,
        interval_ms: EVERY_MS,
    };
    Appraisal {
        v: VERSION,
        bundle: B64(vec![b'x'; EVIDENCE_BYTES]),
        challenge,
        tls_node: name.clone(),
        enrolled: device.enrolled.clone(),
        rules,
        manifest: None,
        previous: None,
        at,
        log: None,
    }
}

/// In the order of time, as they would have come: one of each device, and the next of each.
fn fill(store: &SupervisorStore, devices: &[Device], verdicts: u64, now: UnixMillis) -> Result<()> {
    for age in (0..verdicts).rev() {
        let at = UnixMillis(now.0.saturating_sub(age * EVERY_MS));
        let made = devices.iter().enumerate().map(|(n, device)| {
            let passed = !ONCE.contains(&age) && (age != 0 || n % 100 != 0);
            let rests_on = (age == 0).then(|| evidence(device, at));
            (verdict(&device.enrolled.device, at, passed), rests_on)
        });
        let round: Vec<_> = made.collect();
        store.keep_verdicts(round.iter().map(|(v, a)| (v, a.as_ref()))).context("a round of verdicts")?;
    }
    Ok(())
}
