//! Many random fault schedules: `soak [--count N] [--seed S]`.
//!
//! Prints the seed first and a tally at the end. Ends with 1 at the first broken promise, with all that is needed to
//! repeat it, and with 2 if called wrongly.

use hsm_tis_model::schedule::{Tally, run_many};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io::{self, Write as _},
    process::ExitCode,
};

const USAGE: &str = "usage: soak [--count N] [--seed S]   (default: 100000 schedules, a random seed)";
const COUNT: u64 = 100_000;
/// A line of progress after so many.
const PART: u64 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((count, seed)) = parse(&arguments) else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    // unpredictable, which is all that is wanted of it here
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    match soak(count, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            let _ = writeln!(io::stderr(), "soak: {broken}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<(u64, Option<u64>)> {
    let (mut count, mut seed) = (COUNT, None);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--count" => count = value.parse().ok()?,
            [name, value] if name == "--seed" => seed = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some((count, seed))
}

fn soak(count: u64, seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout();
    writeln!(out, "soak: {count} fault schedules, --seed {seed}")?;
    let mut all = Tally::default();
    while all.schedules < count {
        let part = PART.min(count - all.schedules);
        all.add(&run_many(seed.wrapping_add(all.schedules), part)?);
        writeln!(out, "soak: {} done", all.schedules)?;
    }
    write!(out, "{all}")?;
    Ok(())
}
