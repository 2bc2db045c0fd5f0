//! `xinguan verify ANSWER --trust TRUST`: what an answer proves, offline.
//!
//! Everything is decided in `gw-proof`; no configuration, key or network is needed.

use super::Exit;
use anyhow::{Context as _, Result};
use clap::Args;
use gw_proof::{TrustFile, verify_answer};
use gw_proto::report::Answer;
use gw_sm::cert::{certs_to_pem, signature_to_der};
use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

/// The most bytes of either file.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Which answer, believed under what.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// the answer as the gateway gave it
    file: PathBuf,
    /// trust file: genesis document and MAN roots
    #[arg(long)]
    trust: PathBuf,
    /// print JSON
    #[arg(long)]
    json: bool,
    /// write each node's signed bytes, signature and certificate into this folder, for a program of others
    #[arg(long)]
    export: Option<PathBuf>,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Verifies and prints one screen.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<Exit> {
    let trust: TrustFile = serde_json::from_slice(&read(&args.trust)?)
        .with_context(|| format!("{} is not a trust file", args.trust.display()))?;
    let answer = read(&args.file)?;
    if let Some(folder) = &args.export {
        export(&answer, folder)?;
    }
    let verdict = verify_answer(&answer, &trust);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &verdict)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", verdict.render())?;
    }
    Ok(if verdict.ok() { Exit::Ok } else { Exit::CheckFailed })
}

/// NODE.message, NODE.sig (DER) and NODE.crt for the report and each reply; docs/answer.md has the openssl command.
fn export(answer: &[u8], folder: &Path) -> Result<()> {
    let answer: Answer =
        serde_json::from_slice(answer).context("the answer is not of the documented form")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let replies = answer.replies.iter().map(|r| (&r.reply.source, &r.proof));
    for (node, proof) in std::iter::once((&answer.report.node, &answer.proof)).chain(replies) {
        let chain = answer.certificates.iter().find(|c| c.node == *node).map(|c| c.chain.as_slice());
        let leaf = chain.and_then(<[_]>::first).with_context(|| format!("no certificate of {node}"))?;
        let input = proof.root_signing_input().context("the root has no canonical form")?;
        let signature = signature_to_der(&proof.signature).context("the signature has no DER form")?;
        let certificate = certs_to_pem([leaf.0.as_slice()])?;
        for (ending, bytes) in
            [("message", input.as_slice()), ("sig", &signature), ("crt", certificate.as_bytes())]
        {
            let path = folder.join(format!("{node}.{ending}"));
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
