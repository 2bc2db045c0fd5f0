//! A hundred TCP ports on loopback that no other test takes meanwhile.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range that the system gives out by itself.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 120;
/// The last port of a block stays bound: who wants the block finds it taken.
const GUARD: u16 = 99;

/// A block of ports, for as long as it lives.
pub struct Ports {
    base: u16,
    _guard: TcpListener,
}

impl Ports {
    /// Takes a free block. Where to begin depends on the process, so that parallel tests do not race.
    pub fn take() -> Result<Self> {
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS))?;
        for i in 0..BLOCKS {
            let base = FIRST + 100 * ((start + i) % BLOCKS);
            let Ok(guard) = TcpListener::bind((Ipv4Addr::LOCALHOST, base + GUARD)) else { continue };
            if (base..base + 60).all(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, p)).is_ok()) {
                return Ok(Self { base, _guard: guard });
            }
        }
        bail!("no hundred free ports between {FIRST} and {}", FIRST + 100 * BLOCKS)
    }

    /// The first of them.
    pub fn base(&self) -> u16 {
        self.base
    }
}
