//! `xinguan-bundle`: makes roots of trust and bundles, with keys in files. Not part of the image.
//!
//! Keys in files are for tests. A release key belongs into a token: [`image_update::make`] takes any signer.

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser};
use gw_proto::{Clock as _, PublicKey, Signature, UnixMillis, clock::SystemClock};
use gw_sm::{KeyPair, cert::key_from_pem};
use hsm_api::{HsmError, Signer};
use image_update::{
    Architecture, Bundle, BundleFiles, Manifest, Seen, Trust, Version,
    make::{self, BundleSpec, RoleKeys, RootSpec},
    manifest,
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

const DAY: u64 = 86_400_000;

/// Makes what `xinguan-update` verifies.
#[derive(Debug, Parser)]
#[command(name = "xinguan-bundle", version)]
enum Cli {
    /// The first root of trust, `root.json`, which goes into the image: keys, and how many of them must sign
    Root(RootArgs),
    /// A bundle out of an image's parts, verified before it is called done
    Make(MakeArgs),
}

#[derive(Debug, Args)]
struct RootArgs {
    /// three keys or more, two must sign the next root (PKCS#8 in PEM, P-256)
    #[arg(long, required = true)]
    root: Vec<PathBuf>,
    /// three keys or more, two must sign a release
    #[arg(long, required = true)]
    release: Vec<PathBuf>,
    /// key that signs snapshot and timestamp
    #[arg(long, required = true)]
    online: Vec<PathBuf>,
    /// days until it must be renewed
    #[arg(long, default_value_t = 3650)]
    days: u64,
    /// file to write
    out: PathBuf,
}

#[derive(Debug, Args)]
struct MakeArgs {
    /// version of the system, as 1.4.2
    #[arg(long)]
    version: Version,
    /// x86-64 or arm64
    #[arg(long)]
    architecture: Architecture,
    /// anti-rollback number
    #[arg(long)]
    number: u64,
    /// last ring that it is released to
    #[arg(long)]
    ring: u8,
    /// root partition's image
    #[arg(long)]
    root_image: PathBuf,
    /// its hash tree
    #[arg(long)]
    verity_image: PathBuf,
    /// its kernel
    #[arg(long)]
    uki: PathBuf,
    /// root of trust, as the image has it
    #[arg(long)]
    trust_root: PathBuf,
    /// number of the metadata: greater than any before, whatever the version
    #[arg(long)]
    metadata: u64,
    /// days until it expires
    #[arg(long, default_value_t = 90)]
    days: u64,
    /// two keys of the root's release keys
    #[arg(long, required = true)]
    release: Vec<PathBuf>,
    /// the root's online key
    #[arg(long, required = true)]
    online: Vec<PathBuf>,
    /// SM2 key of the countersignature
    #[arg(long)]
    sm2: Option<PathBuf>,
    /// folder to make
    out: PathBuf,
}

struct FileKey(KeyPair);

impl Signer for FileKey {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Root(args) => first_root(&args),
        Cli::Make(args) => make_bundle(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "xinguan-bundle: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn load_keys(files: &[PathBuf]) -> Result<Vec<FileKey>> {
    let load = |file: &PathBuf| {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let key = key_from_pem(&text).with_context(|| format!("`{}`", file.display()))?;
        Ok(FileKey(key))
    };
    files.iter().map(load).collect()
}

fn signers(keys: &[FileKey]) -> Vec<&dyn Signer> {
    keys.iter().map(|k| k as &dyn Signer).collect()
}

fn in_days(days: u64) -> UnixMillis {
    UnixMillis(SystemClock.now().0.saturating_add(days.saturating_mul(DAY)))
}

fn first_root(args: &RootArgs) -> Result<()> {
    let (root, release, online) =
        (load_keys(&args.root)?, load_keys(&args.release)?, load_keys(&args.online)?);
    let (root, release, online) = (signers(&root), signers(&release), signers(&online));
    ensure!(root.len() >= 3 && release.len() >= 3, "two of three keys is the least: give three of each");
    let spec = RootSpec {
        version: 1,
        expires: in_days(args.days),
        root: RoleKeys { keys: &root, threshold: 2 },
        targets: RoleKeys { keys: &release, threshold: 2 },
        online: RoleKeys { keys: &online, threshold: 1 },
    };
    let bytes = make::root(&spec, &root)?;
    fs::write(&args.out, bytes).with_context(|| format!("cannot write `{}`", args.out.display()))
}

fn make_bundle(args: &MakeArgs) -> Result<()> {
    let (release, online) = (load_keys(&args.release)?, load_keys(&args.online)?);
    let sm2 = args.sm2.as_ref().map(|f| load_keys(std::slice::from_ref(f))).transpose()?;
    let sm2 = sm2.as_ref().and_then(|keys| keys.first());
    let trust_root =
        fs::read(&args.trust_root).with_context(|| format!("cannot read `{}`", args.trust_root.display()))?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        version: args.version,
        architecture: args.architecture,
        number: args.number,
        ring: args.ring,
    };
    let n = args.metadata;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make `{}`", args.out.display()))?;
    let spec = BundleSpec {
        manifest: &manifest,
        root_image: &args.root_image,
        verity_image: &args.verity_image,
        uki: &args.uki,
        roots: std::slice::from_ref(&trust_root),
        versions: Seen { root: 1, timestamp: n, snapshot: n, targets: n },
        expires: in_days(args.days),
        targets: &signers(&release),
        online: &signers(&online),
        sm2: sm2.map(|k| k as &dyn Signer),
    };
    make::bundle(&args.out, &spec)?;
    let trust = Trust { root: trust_root, sm2: sm2.map(|k| *k.public_key()) };
    verify(&args.out, &trust).context("the bundle was made, but a box would refuse it")?;
    let mut out = std::io::stdout();
    if let Some(key) = &trust.sm2 {
        writeln!(out, "sm2       {}", hex::encode(key.point.0))?;
    }
    writeln!(out, "bundle    {} for {} in {}", manifest.version, manifest.architecture, args.out.display())?;
    Ok(())
}

/// As a box does it, which has seen nothing so far.
fn verify(folder: &Path, trust: &Trust) -> Result<()> {
    let files = BundleFiles::read(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let bundle = runtime.block_on(Bundle::verify(&files, trust, Seen::default(), SystemClock.now()))?;
    Ok(bundle.check_images()?)
}
