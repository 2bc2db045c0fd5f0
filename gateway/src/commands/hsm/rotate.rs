//! `hsm rotate`: an overlapping change of key. Nothing is deleted, nothing is switched here.
//!
//! The successor stands beside the old key until the ledger lists it and the configuration names it: a box
//! that loses power in between still has the key that its peers know.

use super::keys;
use crate::config::Config;
use anyhow::{Result, bail};
use gw_proto::PublicKey;
use hsm_api::KeyPurpose;
use std::io::Write;

pub(super) fn run(config: &Config, key: &str, out: &mut dyn Write) -> Result<()> {
    let k = &config.keystore;
    let (name, purpose, setting) = match key {
        "node" => (&k.node_key, KeyPurpose::Node, "keystore.node_key"),
        "account" => (&k.account_key, KeyPurpose::Account, "keystore.account_key"),
        other => bail!("--key {other}: node or account; TLS keys renew themselves"),
    };
    let opened = super::open(config)?;
    let old = opened.store.load_key(name, purpose)?;
    let next = successor(name)?;
    let new = keys::make(&*opened.store, &next, purpose, old.public_key().scheme)?;
    writeln!(out, "old    {}", keys::line(name, purpose, old.public_key()))?;
    writeln!(out, "new    {}", keys::line(&next, purpose, new.public_key()))?;
    writeln!(out, "point  {}", hex_of(new.public_key()))?;
    for step in steps(purpose, setting, &next) {
        writeln!(out, "next   {step}")?;
    }
    Ok(())
}

/// `node` → `node-2` → `node-3`.
fn successor(name: &str) -> Result<String> {
    let (stem, number) = match name.rsplit_once('-') {
        Some((stem, n)) if !n.is_empty() && n.len() <= 4 && n.bytes().all(|b| b.is_ascii_digit()) => {
            (stem, n.parse::<u32>()?)
        }
        _ => (name, 1),
    };
    let next = format!("{stem}-{}", number + 1);
    if next.len() > 64 {
        bail!("the name `{name}` is too long to be numbered: 64 characters are the most");
    }
    Ok(next)
}

fn hex_of(key: &PublicKey) -> String {
    hex::encode(key.point.0)
}

fn steps(purpose: KeyPurpose, setting: &str, next: &str) -> Vec<String> {
    let switch = format!("set {setting} = \"{next}\" and restart; the old key stays in the device");
    match purpose {
        KeyPurpose::Node => vec![
            "have the new key certified: its node CA certificate goes first in identity.node_ca_chain".into(),
            "have governance list the new key in this node's record; old TLS bindings end with that block"
                .into(),
            switch,
        ],
        _ => vec!["have the new account admitted by the ledger's endpoints".into(), switch],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_are_numbered() {
        for (name, next) in
            [("node", "node-2"), ("node-2", "node-3"), ("node-9", "node-10"), ("a-b", "a-b-2")]
        {
            assert_eq!(successor(name).unwrap(), next);
        }
        assert!(successor(&"x".repeat(64)).is_err());
    }
}
