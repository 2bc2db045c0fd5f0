//! `xinguan dev authorize`: a statement signed with an enterprise's own key, ready to upload.

use super::pki::write_private;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use gw_proto::{
    B64, Clock as _, ConsortiumId, Dimension, EvidenceLevel, Hex, InstitutionId, Purpose, Region, UnixMillis,
    Uscc,
    clock::SystemClock,
    message::{Evidence, Statement, VERSION, revoke_hash},
};
use gw_sm::cert::{certs_from_pem, key_from_pem};
use hsm_api::{Entropy as _, OsEntropy};
use std::{path::PathBuf, time::Duration};

/// What the enterprise agrees to.
#[derive(Debug, Args)]
pub struct AuthorizeArgs {
    /// the consortium's id
    #[arg(long, default_value = "yrd-dev")]
    pub(crate) consortium: String,
    /// company code of the enterprise
    #[arg(long)]
    pub(crate) subject: String,
    /// institution that may ask
    #[arg(long)]
    pub(crate) holder: String,
    /// query reasons, for example 01,03
    #[arg(long, value_delimiter = ',')]
    pub(crate) purposes: Vec<String>,
    /// dimensions, for example basic,tax
    #[arg(long, value_delimiter = ',')]
    pub(crate) dimensions: Vec<String>,
    /// regions, for example 330100,340100
    #[arg(long, value_delimiter = ',')]
    pub(crate) regions: Vec<String>,
    /// how often
    #[arg(long, default_value_t = 3)]
    pub(crate) max_uses: u32,
    /// from, relative to now, in seconds (negative = in the past)
    #[arg(long, default_value_t = -60, allow_hyphen_values = true)]
    pub(crate) from_s: i64,
    /// for how long, in seconds from now
    #[arg(long, default_value_t = 86_400, allow_hyphen_values = true)]
    pub(crate) until_s: i64,
    /// signed (by --key), or asserted (no key)
    #[arg(long, default_value = "signed")]
    pub(crate) level: String,
    /// the enterprise's key, PKCS#8 PEM
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// the enterprise's certificate chain, PEM, without the root
    #[arg(long)]
    pub(crate) chain: Option<PathBuf>,
    /// where the upload goes
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// where the preimage of the revocation hash goes: the enterprise keeps it
    #[arg(long)]
    pub(crate) revocation: Option<PathBuf>,
}

fn at(now: UnixMillis, seconds: i64) -> UnixMillis {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds >= 0 { now.plus(by) } else { UnixMillis(now.0.saturating_sub(by.as_secs() * 1000)) }
}

fn words<T: serde::de::DeserializeOwned + Ord>(what: &str, list: &[String]) -> Result<Vec<T>> {
    let mut out = list
        .iter()
        .map(|w| serde_json::from_value(serde_json::json!(w)).map_err(|_| anyhow!("unknown {what} `{w}`")))
        .collect::<Result<Vec<T>>>()?;
    out.sort();
    out.dedup();
    if out.is_empty() { bail!("--{what} is empty") } else { Ok(out) }
}

/// Makes statement and evidence, writes the upload.
pub fn authorize(args: &AuthorizeArgs) -> Result<()> {
    let mut random = [0u8; 64];
    OsEntropy.fill(&mut random).context("randomness")?;
    let (salt, preimage) = random.split_at(32);
    let preimage = Hex(<[u8; 32]>::try_from(preimage)?);
    let now = SystemClock.now();
    let level = match args.level.as_str() {
        "signed" => EvidenceLevel::Signed,
        "asserted" => EvidenceLevel::Asserted,
        other => bail!("--level {other}: signed or asserted"),
    };
    let statement = Statement {
        v: VERSION,
        consortium: ConsortiumId::parse(&args.consortium)?,
        subject: Uscc::parse(&args.subject)?,
        holder: InstitutionId::parse(&args.holder)?,
        purposes: words::<Purpose>("purposes", &args.purposes)?,
        dimensions: words::<Dimension>("dimensions", &args.dimensions)?,
        regions: words::<Region>("regions", &args.regions)?,
        not_before: at(now, args.from_s),
        not_after: at(now, args.until_s),
        max_uses: args.max_uses,
        level,
        revoke_hash: revoke_hash(&preimage),
        salt: Hex(<[u8; 32]>::try_from(salt)?),
    };
    let evidence = match level {
        EvidenceLevel::Signed => {
            let key = args.key.as_ref().context("--key is needed for level signed")?;
            let chain = args.chain.as_ref().context("--chain is needed for level signed")?;
            let key = key_from_pem(&std::fs::read_to_string(key).with_context(|| key.display().to_string())?)
                .map_err(|e| anyhow!("{}: {e}", key.display()))?;
            let chain = certs_from_pem(&std::fs::read(chain).with_context(|| chain.display().to_string())?)
                .map_err(|e| anyhow!("{}: {e}", chain.display()))?;
            let signature = key.sign(&statement.signing_input()?)?;
            Evidence::Signed { signature, chain: chain.into_iter().map(B64).collect() }
        }
        _ => Evidence::Asserted { document: gw_proto::sm3(b"paper form in the institution's archive") },
    };
    let upload = serde_json::json!({ "statement": statement, "evidence": evidence });
    write_private(&args.out, &serde_json::to_vec_pretty(&upload)?)?;
    if let Some(path) = &args.revocation {
        write_private(path, &serde_json::to_vec_pretty(&serde_json::json!({ "preimage": preimage }))?)?;
    }
    Ok(())
}
