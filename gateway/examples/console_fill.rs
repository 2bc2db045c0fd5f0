//! Fills a supervisor's database for measuring: `console_fill DATABASE DEVICES VERDICTS_PER_DEVICE`.
//!
//! Devices `filled-000` and so on with one verdict every ten minutes until now, each with all checks and texts
//! as long as real ones. Every hundredth device is bad now, on its boot loader; each was bad for an hour once.
//! The newest verdict of each counts as resting on evidence, whose 40 kB are filler: nobody exports them.
#![expect(clippy::print_stdout, reason = "a program that says what it made")]

use anyhow::{Context as _, Result, bail};
use gw_attest::{Check, CheckName, Outcome, Verdict, decide::Enrolled, verdict::LASTS};
use gw_proto::{
    Clock as _, Hex, HexBytes, InstitutionId, NodeId, PublicKey, Scheme, UnixMillis, clock::SystemClock, sm3,
};
use rusqlite::{Connection, params};
use std::path::Path;
use xinguan::supervisor::{attest::enrol::Device, store::SupervisorStore};

const EVERY_MS: u64 = 600_000;
const EVIDENCE_BYTES: usize = 40_000;
/// Bad once: this many verdicts ago, and for so many.
const ONCE: std::ops::Range<u64> = 300..306;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, devices, verdicts] = arguments.as_slice() else {
        bail!("usage: console_fill DATABASE DEVICES VERDICTS_PER_DEVICE")
    };
    let (devices, verdicts): (u32, u64) = (devices.parse()?, verdicts.parse()?);
    let now = SystemClock.now();
    let names: Vec<NodeId> =
        (0..devices).map(|n| NodeId::parse(&format!("filled-{n:03}"))).collect::<Result<_, _>>()?;
    let store = SupervisorStore::open(Path::new(database))?;
    for name in &names {
        store.enrol(&device(name, now)?)?;
    }
    drop(store);
    let bytes = fill(Path::new(database), &names, verdicts, now)?;
    println!("{} devices, {} verdicts, {bytes} bytes of JSON", names.len(), u64::from(devices) * verdicts);
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

/// In the order of time, as they would have come. Without fsync: who fills again loses nothing.
fn fill(database: &Path, names: &[NodeId], verdicts: u64, now: UnixMillis) -> Result<usize> {
    let mut db = Connection::open(database)?;
    db.pragma_update(None, "synchronous", "off")?;
    let (evidence, mut bytes) = ("x".repeat(EVIDENCE_BYTES), 0);
    for age in (0..verdicts).rev() {
        let at = UnixMillis(now.0.saturating_sub(age * EVERY_MS));
        let tx = db.transaction()?;
        {
            let mut insert = tx.prepare_cached(
                "insert into verdict (device, at, passed, body, counters, appraisal) values (?1, ?2, ?3, ?4, null, ?5)",
            )?;
            for (n, name) in names.iter().enumerate() {
                let passed = !ONCE.contains(&age) && (age != 0 || n % 100 != 0);
                let body = serde_json::to_string(&verdict(name, at, passed))?;
                bytes += body.len();
                let (at, evidence) = (i64::try_from(at.0)?, (age == 0).then_some(&evidence));
                insert.execute(params![name.as_str(), at, passed, body, evidence])?;
            }
        }
        tx.commit().context("a round of verdicts")?;
    }
    Ok(bytes)
}
