//! TPM figures: signatures against tpm2-tss on one swtpm, bytes on the SPI bus: `bench-tss [--short]`.

mod bus;
mod ours;
mod swtpm;
mod theirs;

use gw_proto::Scheme;
use ours::Ours;
use std::{error::Error, sync::Arc, time::Duration};
use swtpm::Simulator;
use theirs::{Session, Theirs};

/// What is signed.
const DIGEST: [u8; 32] = [0x5a; 32];
/// Where hsm-tpm2 keeps its storage key if not told otherwise.
const STORAGE: u32 = 0x8100_5847;

/// How much is done.
struct Extent {
    rounds: u32,
    block: u32,
    bus: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let short = std::env::args().any(|a| a == "--short");
    let extent = if short {
        Extent { rounds: 5, block: 100, bus: 20 }
    } else {
        Extent { rounds: 60, block: 200, bus: 200 }
    };
    signatures(&extent)?;
    println!();
    bus_bytes(&extent)
}

/// The four in turn, round after round, on one chip, each connected for the time of its block.
fn signatures(extent: &Extent) -> Result<(), Box<dyn Error>> {
    let chip = Simulator::start()?;
    let store = Ours::store(&chip, Arc::new(chip.transport()), "keys.json")?;
    let (p256, sm2) = (Ours::new(&store, Scheme::EcdsaP256Sha256)?, Ours::new(&store, Scheme::Sm2Sm3)?);
    store.disconnect()?;
    let esapi = Theirs::new(chip.address(), STORAGE)?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    for round in 1..=extent.rounds {
        let n = extent.block;
        let times = [
            p256.block(n)?,
            esapi.block(Session::Salted, n)?,
            esapi.block(Session::Password, n)?,
            sm2.block(n)?,
        ];
        for (all, time) in rates.iter_mut().zip(times) {
            all.push(rate(n, time));
        }
        if round % 10 == 0 || round == extent.rounds {
            eprintln!("round {round} of {}", extent.rounds);
        }
    }
    let rows = [
        "hsm-tpm2, P-256, salted session",
        "ESAPI, P-256, salted session",
        "ESAPI, P-256, password",
        "hsm-tpm2, SM2, salted session",
    ];
    let ours = median(&mut rates[0]);
    println!("Signatures on one swtpm, {} rounds of {} each in turn", extent.rounds, extent.block);
    println!("{:<36} {:>12} {:>15} {:>14}", "", "signatures/s", "quartiles", "hsm-tpm2 ratio");
    for (row, (name, rates)) in rows.iter().zip(&mut rates).enumerate() {
        let ratio =
            if (1..=2).contains(&row) { format!("{:.2}", ours / median(rates)) } else { String::new() };
        let spread = format!("{:.0}–{:.0}", quantile(rates, 0.25), quantile(rates, 0.75));
        println!("{name:<36} {:>12.0} {spread:>15} {ratio:>14}", median(rates));
    }
    Ok(())
}

fn bus_bytes(extent: &Extent) -> Result<(), Box<dyn Error>> {
    println!("SPI bus bytes per P-256 signature, {} signatures", extent.bus);
    println!(
        "{:<36} {:>9} {:>9} {:>7} {:>9} {:>7} {:>7}",
        "", "bytes", "minimum", "ratio", "payload", "status", "waits"
    );
    let chips = [
        ("ideal chip: bursts of 64, no waiting", bus::ideal(), 0),
        ("middling: bursts of 32, 2 waits, 600 µs", hsm_tis_model::ModelConfig::default(), 600),
    ];
    for (name, config, us) in chips {
        let chip = Simulator::start()?;
        let f = bus::measure(&chip, config, us, extent.bus)?;
        println!(
            "{name:<36} {:>9.1} {:>9.1} {:>7.2} {:>9.1} {:>7.1} {:>7.1}",
            f.bytes,
            f.minimum,
            f.bytes / f.minimum,
            f.payload,
            f.status_reads,
            f.wait_states
        );
    }
    Ok(())
}

fn rate(count: u32, time: Duration) -> f64 {
    f64::from(count) / time.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part of them lies, interpolated.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = part * (values.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    values[low] + (values[high] - values[low]) * at.fract()
}
