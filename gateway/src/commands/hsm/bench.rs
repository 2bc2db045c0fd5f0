//! `hsm bench`: what one device gives, as the signer would use it: one call after another.

use crate::config::Config;
use anyhow::Result;
use hsm_api::{KeyPurpose, sign_message};
use std::{io::Write, time::Instant};

pub(super) fn run(config: &Config, count: u32, out: &mut dyn Write) -> Result<()> {
    let opened = super::open(config)?;
    let key = opened.store.load_key(&config.keystore.node_key, KeyPurpose::Node)?;
    let mut took = Vec::new();
    for i in 0..count {
        let began = Instant::now();
        sign_message(&*key, &i.to_be_bytes())?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let total: std::time::Duration = took.iter().sum();
    let at = |share: usize| took.get((took.len() - 1) * share / 100).copied().unwrap_or_default();
    let (median, high) = (at(50), at(99));
    let rate = f64::from(count) / total.as_secs_f64();
    writeln!(out, "{} of {}", config.keystore.node_key, opened.store.info().name)?;
    writeln!(
        out,
        "{count} signatures: {rate:.1} a second, median {median:.2?}, 99 of 100 within {high:.2?}"
    )?;
    Ok(())
}
