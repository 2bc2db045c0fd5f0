//! Replies a second under a slow chip against a fast one: `batch_replies [--short]`.
//!
//! Each caller does what a source does for a reply besides fetching it: it checks the asker's signed request,
//! then has its reply signed by the gateway's own [`BatchSigner`]. In rows named "signing alone" it only has it
//! signed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use anyhow::{Context as _, Result};
use gw_proto::{
    Hex, PublicKey, Scheme, Signature, clock::SystemClock, merkle::LeafKind, merkle::SignedLeaf, sm3,
};
use gw_sm::KeyPair;
use hsm_api::{HsmError, OsEntropy, Signer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use xinguan::signing::{BatchSigner, QueueSize, SignerStats};

const SLOW: Duration = Duration::from_millis(100);
const FAST: Duration = Duration::from_micros(600);
const SOURCE: &str = "source";
/// In a loop until the end: nobody is refused, so every caller always waits or works.
const CALLERS: [u32; 2] = [512, 2048];

/// A key in memory that takes its time.
struct Chip {
    key: KeyPair,
    takes: Duration,
}

impl Signer for Chip {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let begin = Instant::now();
        let signature = self.key.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))?;
        let (_keep, nothing) = mpsc::channel::<()>();
        // an error either way: the time is over
        let _over = nothing.recv_timeout(self.takes.saturating_sub(begin.elapsed()));
        Ok(signature)
    }
}

fn signer(takes: Duration) -> Result<BatchSigner> {
    let key = KeyPair::generate(Scheme::Sm2Sm3, |out| hsm_api::Entropy::fill(&OsEntropy, out))?;
    let chip = Arc::new(Chip { key, takes });
    Ok(BatchSigner::spawn(chip, Arc::new(SystemClock), Arc::new(OsEntropy), QueueSize::default())?)
}

/// What each caller works on.
struct Work {
    signer: BatchSigner,
    /// none: signing alone
    request: Option<Request>,
    done: AtomicU64,
    over: AtomicBool,
}

/// A request as it comes from an asker.
#[derive(Clone)]
struct Request {
    proof: SignedLeaf,
    key: PublicKey,
    digest: Hex<32>,
}

impl Request {
    async fn new() -> Result<Self> {
        let (asker, digest) = (signer(FAST)?, sm3(b"a request"));
        let proof = asker.sign(LeafKind::Request, SOURCE, digest, soon()).await?;
        Ok(Self { proof, key: *asker.public_key(), digest })
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// One caller: the next reply when the last one is signed.
async fn call(work: Arc<Work>, caller: u32) -> Result<()> {
    let audience = format!("asker-{caller}");
    let mut number = 0u64;
    while !work.over.load(Ordering::Relaxed) {
        if let Some(r) = &work.request {
            gw_proof::verify_leaf(&r.proof, &r.key, LeafKind::Request, SOURCE, &r.digest)?;
        }
        let reply = sm3(format!("{audience} {number}").as_bytes());
        work.signer.sign(LeafKind::Reply, &audience, reply, soon()).await?;
        work.done.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    Ok(())
}

/// What happened in one window.
struct Window {
    replies: f64,
    signatures: f64,
    leaves: f64,
}

/// Lets them all call; counts after the first replies are there, so that starting up is not counted.
async fn window(takes: Duration, request: Option<Request>, callers: u32, length: Duration) -> Result<Window> {
    let signer = signer(takes)?;
    let work = Arc::new(Work { signer, request, done: AtomicU64::new(0), over: AtomicBool::new(false) });
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        tasks.spawn(call(Arc::clone(&work), caller));
    }
    tokio::time::sleep(3 * SLOW).await;
    let (before, replies, begin) = (work.signer.stats(), work.done.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(length).await;
    let (after, time) = (work.signer.stats(), begin.elapsed());
    let replies = work.done.load(Ordering::Relaxed) - replies;
    work.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.context("a caller panicked")??;
    }
    Ok(figures(before, after, replies, time))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn figures(before: SignerStats, after: SignerStats, replies: u64, time: Duration) -> Window {
    let signatures = (after.signatures - before.signatures) as f64;
    let leaves = (after.leaves - before.leaves) as f64;
    Window {
        replies: replies as f64 / time.as_secs_f64(),
        signatures: signatures / time.as_secs_f64(),
        leaves: leaves / signatures.max(1.0),
    }
}

/// The middle one by replies; windows are few and odd in number.
fn median(mut windows: Vec<Window>) -> Result<Window> {
    windows.sort_by(|a, b| a.replies.total_cmp(&b.replies));
    let middle = windows.len() / 2;
    windows.into_iter().nth(middle).context("no window")
}

/// The two chips in turn.
async fn row(
    name: &str,
    request: Option<Request>,
    callers: u32,
    rounds: u32,
    length: Duration,
) -> Result<String> {
    let (mut slow, mut fast) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        slow.push(window(SLOW, request.clone(), callers, length).await?);
        fast.push(window(FAST, request.clone(), callers, length).await?);
        eprintln!("{name}, {callers} callers: round {round} of {rounds}");
    }
    let (slow, fast) = (median(slow)?, median(fast)?);
    println!(
        "{name:<28} {callers:>8} {:>12.0} {:>12.0} {:>9.1} {:>9.1}",
        slow.replies, fast.replies, slow.signatures, slow.leaves
    );
    let what = format!("replies/s, {name}, {callers} callers");
    Ok(format!("ratio  {what:<58} {:8.2}", slow.replies / fast.replies))
}

#[tokio::main]
async fn main() -> Result<()> {
    let short = std::env::args().any(|a| a == "--short");
    let (rounds, length) = if short { (1, Duration::from_secs(2)) } else { (7, Duration::from_secs(4)) };
    println!("Replies/s through one BatchSigner, a chip of 100 ms against one of 0.6 ms");
    println!(
        "{:<28} {:>8} {:>12} {:>12} {:>9} {:>9}",
        "", "callers", "100 ms chip", "0.6 ms chip", "trees/s", "leaves"
    );
    let request = Some(Request::new().await?);
    let mut ratios = Vec::new();
    for (name, request) in [("request checked and signed", request), ("signing alone", None)] {
        for callers in CALLERS {
            ratios.push(row(name, request.clone(), callers, rounds, length).await?);
        }
    }
    // scripts/bench gathers these
    for ratio in ratios {
        println!("{ratio}");
    }
    Ok(())
}
