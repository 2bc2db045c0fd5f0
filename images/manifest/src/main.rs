//! `image-manifest`: writes, seals and tries the reference manifest of a built image.

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use gw_attest::{
    Bank,
    reference::{Makers, Manifest, TrustedManifest},
};
use gw_proto::{Hex, UnixMillis, genesis::Governance};
use image_manifest::{compare::differences, expected, seal::seal, secure_boot};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Disk images are not read whole; these files are.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[derive(Parser)]
#[command(about = "Reference manifests of a built image", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the manifest of a build, not signed
    Make(Box<Make>),
    /// Print what its makers sign
    Input {
        /// what `make` wrote
        manifest: PathBuf,
    },
    /// Attach signatures (DER) that were made over `input`, each after its key
    Seal {
        /// what `make` wrote
        manifest: PathBuf,
        /// public keys in PEM, SM2 or P-256
        #[arg(long = "key", required = true)]
        keys: Vec<PathBuf>,
        /// as many signatures, in the same order
        #[arg(long = "signature", required = true)]
        signatures: Vec<PathBuf>,
    },
    /// Print the list of makers for `supervisor.attestation.makers`
    Makers {
        /// signatures that are needed
        #[arg(long)]
        threshold: u32,
        /// public keys in PEM
        keys: Vec<PathBuf>,
    },
    /// Check a signed manifest as a verifier does, and print the digest that governance puts on the ledger
    Check {
        /// what `seal` printed
        reference: PathBuf,
        /// the list of makers
        #[arg(long)]
        makers: PathBuf,
        /// event log of a box that runs the image; says where it differs
        #[arg(long)]
        log: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Make {
    /// The release's name, as the gateway in it reports it
    #[arg(long)]
    release: String,
    /// Anti-rollback number
    #[arg(long)]
    number: u32,
    /// Valid from, in seconds since 1970
    #[arg(long)]
    from: u64,
    /// Valid for so many days
    #[arg(long)]
    days: u64,
    #[arg(long)]
    architecture: String,
    /// Of the root, 64 hex digits
    #[arg(long)]
    root_hash: String,
    /// The gateway's program as it is in the root
    #[arg(long)]
    program: PathBuf,
    /// The boot loader as it is on the ESP
    #[arg(long)]
    loader: PathBuf,
    /// The kernel image
    #[arg(long)]
    kernel: PathBuf,
    /// PCR 11 in SHA-256 at `enter-initrd`, 64 hex digits
    #[arg(long)]
    pcr11: String,
    /// Owner of the firmware's entries, a GUID
    #[arg(long)]
    owner: String,
    /// Platform key's certificate, PEM
    #[arg(long)]
    pk: PathBuf,
    /// Key exchange keys' certificates, PEM
    #[arg(long)]
    kek: Vec<PathBuf>,
    /// db's certificates in order, PEM; the first signed boot loader and kernel image
    #[arg(long, required = true)]
    db: Vec<PathBuf>,
    /// Content of dbx; without it, the one that virt-fw-vars writes
    #[arg(long)]
    dbx: Option<PathBuf>,
    /// Event log of a good box of this board
    #[arg(long, requires = "board_pcr")]
    board_log: Option<PathBuf>,
    /// PCRs to take from it: those of the firmware
    #[arg(long, requires = "board_log", value_parser = clap::value_parser!(u8).range(0..4))]
    board_pcr: Vec<u8>,
}

fn main() -> Result<()> {
    let out = match Program::parse().command {
        Command::Make(make) => json(&expected::manifest(&build(&make)?)?)?,
        Command::Input { manifest } => self::manifest(&manifest)?.signing_input()?,
        Command::Seal { manifest, keys, signatures } => sealed(&manifest, &keys, &signatures)?,
        Command::Makers { threshold, keys } => {
            let keys = keys.iter().map(|k| public_key(k)).collect::<Result<Vec<_>>>()?;
            Makers::new(keys.clone(), usize::try_from(threshold)?)?;
            json(&Governance { threshold, keys })?
        }
        Command::Check { reference, makers, log } => check(&reference, &makers, log.as_deref())?.into_bytes(),
    };
    std::io::stdout().lock().write_all(&out).context("standard output")
}

fn build(make: &Make) -> Result<expected::Build> {
    let db = make.db.iter().map(|p| certificate(p)).collect::<Result<Vec<_>>>()?;
    let owner = secure_boot::guid(&make.owner).ok_or_else(|| anyhow!("--owner is no GUID"))?;
    let dbx = make.dbx.as_deref().map(read).transpose()?.unwrap_or_else(secure_boot::empty_dbx);
    let kek = make.kek.iter().map(|p| certificate(p)).collect::<Result<Vec<_>>>()?;
    let from = make.from.checked_mul(1000).context("--from")?;
    let lasts = make.days.checked_mul(86_400_000).context("--days")?;
    let log = make.board_log.as_deref().map(read).transpose()?;
    Ok(expected::Build {
        release: make.release.clone(),
        number: make.number,
        not_before: UnixMillis(from),
        not_after: UnixMillis(from.checked_add(lasts).context("--days")?),
        architecture: make.architecture.clone(),
        root_hash: Hex::parse(&make.root_hash).context("--root-hash")?,
        program: read(&make.program)?,
        loader: read(&make.loader)?,
        kernel: read(&make.kernel)?,
        pcr11: Hex::parse(&make.pcr11).context("--pcr11")?,
        signer: db.first().cloned().context("--db")?,
        keys: secure_boot::Keys { owner, pk: certificate(&make.pk)?, kek, db, dbx },
        board: log.map(|log| (log, make.board_pcr.clone())),
    })
}

fn sealed(path: &Path, keys: &[PathBuf], signatures: &[PathBuf]) -> Result<Vec<u8>> {
    if keys.len() != signatures.len() {
        bail!("{} keys and {} signatures: give one signature for each key", keys.len(), signatures.len());
    }
    let mut by = Vec::new();
    for (key, signature) in keys.iter().zip(signatures) {
        let der = read(signature)?;
        let signature = gw_sm::cert::signature_from_der(&der)
            .with_context(|| format!("{}: no signature in DER", signature.display()))?;
        by.push((public_key(key)?, signature));
    }
    json(&seal(manifest(path)?, &by)?)
}

fn check(reference: &Path, makers: &Path, log: Option<&Path>) -> Result<String> {
    let of: Governance = serde_json::from_slice(&read(makers)?).context("the list of makers")?;
    let makers = Makers::new(of.keys, usize::try_from(of.threshold)?)?;
    let trusted = TrustedManifest::parse(&read(reference)?, &makers)?;
    let manifest = trusted.get();
    if let Some(log) = log {
        let found = differences(manifest, &read(log)?, Bank::Sha256)?;
        if !found.is_empty() {
            bail!("the log is not of this image:\n{}", found.join("\n"));
        }
    }
    let (from, until) = (manifest.not_before.rfc3339(), manifest.not_after.rfc3339());
    let digest = manifest.digest()?;
    Ok(format!(
        "release {} number {} from {from} until {until}\ndigest {digest}\n",
        manifest.release, manifest.number
    ))
}

fn manifest(path: &Path) -> Result<Manifest> {
    serde_json::from_slice(&read(path)?).with_context(|| format!("{}: no manifest", path.display()))
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    Ok([serde_json::to_vec_pretty(value)?, b"\n".to_vec()].concat())
}

fn public_key(path: &Path) -> Result<gw_proto::PublicKey> {
    let text = String::from_utf8(read(path)?).with_context(|| format!("{}", path.display()))?;
    gw_sm::cert::public_key_from_pem(&text)
        .with_context(|| format!("{}: no SM2 or P-256 key", path.display()))
}

fn certificate(path: &Path) -> Result<Vec<u8>> {
    let all = gw_sm::cert::certs_from_pem(&read(path)?).with_context(|| format!("{}", path.display()))?;
    all.into_iter().next().with_context(|| format!("{}: no certificate", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    if size > MAX_FILE {
        bail!("{}: larger than {MAX_FILE} bytes", path.display());
    }
    std::fs::read(path).with_context(|| format!("{}", path.display()))
}
