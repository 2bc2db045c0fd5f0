//! `xinguan update …`: look at a bundle, write it into the idle slot, go back, confirm.
//!
//! The work is [`image_update`]'s; here are arguments, progress and words.

use super::Exit;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use gw_proto::{Clock, clock::SystemClock};
use image_update::{Bundle, BundleFiles, Settings, Updater, record};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Where the image keeps its description of slots.
const SETTINGS: &str = "/usr/lib/xinguan/update.toml";

/// What to do about updates.
#[derive(Debug, Subcommand)]
pub enum UpdateCommand {
    /// Verify a bundle and say whether this box takes it; nothing is written into a slot
    Check(BundleArgs),
    /// Write a bundle into the idle slot; it is tried at the next boot
    Apply(BundleArgs),
    /// Say which slot runs, which is next, what is in them
    Status(Common),
    /// Make the other slot the next one, if it is good; takes effect at the next boot
    Rollback(Common),
    /// Raise the anti-rollback floor to what runs: for the health check, once the boot loader has accepted the system
    Confirm(Common),
}

/// What every one needs.
#[derive(Debug, Args)]
pub struct Common {
    /// description of the slots
    #[arg(long, default_value = SETTINGS)]
    settings: PathBuf,
}

/// A bundle.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// folder with `metadata` and `targets`
    bundle: PathBuf,
    /// what every one needs
    #[command(flatten)]
    common: Common,
}

/// Runs one of them.
pub async fn run(command: &UpdateCommand, out: &mut dyn Write) -> Result<Exit> {
    run_at(command, &SystemClock, out).await
}

async fn run_at(command: &UpdateCommand, clock: &dyn Clock, out: &mut dyn Write) -> Result<Exit> {
    let common = match command {
        UpdateCommand::Check(a) | UpdateCommand::Apply(a) => &a.common,
        UpdateCommand::Status(c) | UpdateCommand::Rollback(c) | UpdateCommand::Confirm(c) => c,
    };
    let settings = Settings::load(&common.settings)?;
    let _one_at_a_time = settings.state()?.lock()?;
    let updater = settings.open()?;
    match command {
        UpdateCommand::Check(a) => {
            let bundle = verify(&settings, &a.bundle, clock).await?;
            updater.check(&bundle)?;
            writeln!(out, "good      {} may be applied", name(&bundle))?;
        }
        UpdateCommand::Apply(a) => {
            let bundle = verify(&settings, &a.bundle, clock).await?;
            apply(&updater, &bundle, out)?;
        }
        UpdateCommand::Status(_) => status(&updater, out)?,
        UpdateCommand::Rollback(_) => {
            let next = updater.rollback()?;
            writeln!(out, "next      slot {next}, at the next boot")?;
        }
        UpdateCommand::Confirm(_) => {
            updater.confirm(&settings.release()?)?;
            writeln!(out, "floor     {}", updater.status()?.floor)?;
        }
    }
    Ok(Exit::Ok)
}

/// A verified bundle's versions are remembered at once: from then on an older one is refused.
async fn verify(settings: &Settings, folder: &Path, clock: &dyn Clock) -> Result<Bundle> {
    let state = settings.state()?;
    let files = BundleFiles::read(folder)?;
    let seen = record::load_seen(&state)?;
    let bundle = Bundle::verify(&files, &settings.trust()?, seen, clock.now()).await?;
    record::save_seen(&state, &bundle.seen)?;
    Ok(bundle)
}

fn name(bundle: &Bundle) -> String {
    let m = &bundle.manifest;
    format!("{} for {}, anti-rollback number {}, rings up to {}", m.version, m.architecture, m.number, m.ring)
}

fn apply(updater: &Updater, bundle: &Bundle, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "writing   {}", name(bundle))?;
    let mut tenth = 0;
    let mut tell = |done: u64, all: u64| {
        let now = done.saturating_mul(10).checked_div(all).unwrap_or(10);
        if now > tenth {
            tenth = now;
            // progress that nobody can see is no reason to stop
            let _ = writeln!(out, "  {:3} %", now.saturating_mul(10));
        }
    };
    let entry = updater.apply(bundle, &mut tell)?;
    writeln!(out, "next      {entry}, {}; reboot to start it", entry.tries).context("cannot print")
}

fn status(updater: &Updater, out: &mut dyn Write) -> Result<()> {
    let status = updater.status()?;
    let next = status.next.map_or("none".to_owned(), |s| s.to_string());
    writeln!(out, "running   slot {}\nnext      slot {next}\nfloor     {}", status.running, status.floor)?;
    for slot in &status.slots {
        let what = match (&slot.entry, &slot.record) {
            (None, _) => "empty".to_owned(),
            (Some(e), None) => format!("{}, {}, never confirmed", e.version, e.tries),
            (Some(e), Some(r)) => {
                format!("{}, {}, anti-rollback number {}", e.version, e.tries, r.manifest.number)
            }
        };
        writeln!(out, "slot {}    {what}", slot.slot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{PublicKey, Scheme, Signature, UnixMillis, clock::FakeClock};
    use gw_sm::KeyPair;
    use hsm_api::{HsmError, Signer};
    use image_update::{Architecture, Manifest, Seen, make};
    use std::fs;

    struct Key(KeyPair);

    impl Signer for Key {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }
        fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
            self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
        }
    }

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    /// A box of files that runs 1.0.0 from slot a, and in `bundle` a bundle with 2.0.0 that is signed by `signers` keys.
    fn new_box(signers: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let key = |n| Key(KeyPair::from_secret(Scheme::EcdsaP256Sha256, [n; 32]).unwrap());
        let keys = [key(1), key(2), key(3)];
        let all: Vec<&dyn Signer> = keys.iter().map(|k| k as &dyn Signer).collect();
        let expires = UnixMillis(NOW.0 + 86_400_000);
        let role = |threshold| make::RoleKeys { keys: &all, threshold };
        let spec = make::RootSpec { version: 1, expires, root: role(2), targets: role(2), online: role(1) };
        let root = make::root(&spec, &all).unwrap();
        for name in ["esp", "state", "bundle"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["root-a", "root-b", "verity-a", "verity-b"] {
            fs::write(at(name), [0; 4096]).unwrap();
        }
        let mut running = vec![6, 0, 0, 0];
        running.extend("xinguan_1.0.0_a.efi\0".encode_utf16().flat_map(u16::to_le_bytes));
        let manifest = |version: &str, number| Manifest {
            format: 1,
            version: version.parse().unwrap(),
            architecture: Architecture::OURS,
            number,
            ring: 0,
        };
        fs::write(at("esp/xinguan_1.0.0_a.efi"), b"kernel").unwrap();
        fs::write(at("running"), running).unwrap();
        fs::write(at("release.json"), serde_json::to_vec(&manifest("1.0.0", 4)).unwrap()).unwrap();
        fs::write(at("root.json"), &root).unwrap();
        for name in ["root.img", "verity.img", "uki.efi"] {
            fs::write(at(name), name).unwrap();
        }
        let spec = make::BundleSpec {
            manifest: &manifest("2.0.0", 5),
            root_image: &at("root.img"),
            verity_image: &at("verity.img"),
            uki: &at("uki.efi"),
            roots: std::slice::from_ref(&root),
            versions: Seen { root: 1, timestamp: 3, snapshot: 3, targets: 3 },
            expires,
            targets: all.get(..signers).unwrap(),
            online: &all,
            sm2: None,
        };
        make::bundle(&at("bundle"), &spec).unwrap();
        let mut settings = String::from("ring = 0\n");
        for (key, name) in [
            ("esp", "esp"),
            ("state", "state"),
            ("trust_root", "root.json"),
            ("release", "release.json"),
            ("running", "running"),
            ("slots.a.root", "root-a"),
            ("slots.a.verity", "verity-a"),
            ("slots.b.root", "root-b"),
            ("slots.b.verity", "verity-b"),
        ] {
            settings.push_str(&format!("{key} = {:?}\n", at(name)));
        }
        fs::write(at("update.toml"), settings).unwrap();
        dir
    }

    /// Runs one subcommand on a box.
    fn update(dir: &Path, what: &str) -> Result<String> {
        let common = || Common { settings: dir.join("update.toml") };
        let bundle = || BundleArgs { bundle: dir.join("bundle"), common: common() };
        let command = match what {
            "check" => UpdateCommand::Check(bundle()),
            "apply" => UpdateCommand::Apply(bundle()),
            "status" => UpdateCommand::Status(common()),
            "rollback" => UpdateCommand::Rollback(common()),
            _ => UpdateCommand::Confirm(common()),
        };
        let mut out = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let exit = runtime.block_on(run_at(&command, &FakeClock::at(NOW), &mut out))?;
        assert_eq!(exit, Exit::Ok);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn from_check_to_rollback() {
        let dir = new_box(2);
        let run = |what| update(dir.path(), what).unwrap();
        assert!(run("status").contains("slot a    1.0.0, good, never confirmed\nslot b    empty\n"));
        assert_eq!(run("confirm"), "floor     4\n");
        let good = run("check");
        assert!(
            good.starts_with("good      2.0.0 for ") && good.contains("anti-rollback number 5"),
            "{good}"
        );
        assert!(run("status").contains("slot b    empty\n"), "a check changes nothing");
        let applied = run("apply");
        assert!(applied.contains("100 %") && applied.contains("xinguan_2.0.0_b+3-0.efi"), "{applied}");
        assert_eq!(
            run("status"),
            "running   slot a\nnext      slot b\nfloor     4\n\
             slot a    1.0.0, good, anti-rollback number 4\n\
             slot b    2.0.0, on trial: 3 left, 0 done, anti-rollback number 5\n"
        );
        assert_eq!(run("rollback"), "next      slot a, at the next boot\n");
        assert!(run("status").contains("next      slot a\n"));
    }

    #[test]
    fn a_bundle_of_one_key_is_refused_and_forgotten() {
        let dir = new_box(1);
        let e = update(dir.path(), "apply").unwrap_err();
        assert!(e.to_string().contains("1 valid signatures, 2 are needed"), "{e}");
        assert!(!dir.path().join("state/seen.json").exists());
        assert!(update(dir.path(), "status").unwrap().contains("slot b    empty\n"));
    }
}
