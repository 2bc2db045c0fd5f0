//! A TLS peer for scripts/interop: makes a test PKI, serves, or connects, in either profile.
//!
//! `interop pki sm FOLDER` · `interop server sm FOLDER COUNT [crls]` · `interop client sm FOLDER ADDRESS COUNT
//! [crls] [retry]`

#![expect(clippy::print_stdout, reason = "its output is what the script reads")]

mod peers;
mod pki;

use anyhow::{Context as _, Result, bail};
use gw_sm::tls::Profile;
use std::path::Path;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [command, profile, folder, rest @ ..] = &args[..] else {
        bail!("interop pki|server|client sm|international FOLDER …");
    };
    let profile = match *profile {
        "sm" => Profile::Sm,
        "international" => Profile::International,
        other => bail!("no profile {other}"),
    };
    let folder = Path::new(folder);
    match (*command, rest) {
        ("pki", []) => pki::write(profile.scheme(), folder),
        ("server", [count, more @ ..]) => {
            peers::serve(profile, folder, count.parse().context("COUNT")?, more.contains(&"crls"))
        }
        ("client", [address, count, more @ ..]) => {
            peers::connect(profile, folder, address, count.parse().context("COUNT")?, more)
        }
        _ => bail!("interop pki|server|client sm|international FOLDER …"),
    }
}
