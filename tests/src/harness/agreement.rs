//! An enterprise's authorization: what it agrees to, signed with its own key, ready to upload.
//!
//! Made here and not by `xinguan dev authorize`: a test must be able to make a wrong one.

use super::consortium::Consortium;
use anyhow::{Context as _, Result, anyhow};
use gw_proto::{
    B64, Clock as _, Dimension, EvidenceLevel, Hex, Purpose, Region, UnixMillis, Uscc,
    clock::SystemClock,
    message::{Evidence, Statement, VERSION, revoke_hash},
};
use gw_sm::{
    KeyPair,
    cert::{certs_from_pem, key_from_pem},
};
use hsm_api::{Entropy as _, OsEntropy};
use serde_json::{Value, json};
use std::time::Duration;

/// Statement and what it is signed with. The fields are open: a test changes what it likes before `upload`.
pub struct Agreement {
    /// S
    pub statement: Statement,
    /// the enterprise's preimage of `revoke_hash`
    pub preimage: Hex<32>,
    key: KeyPair,
    chain: Vec<B64>,
}

/// Random bytes.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    OsEntropy.fill(&mut out)?;
    Ok(out)
}

/// Now, as the gateways read it.
pub fn now() -> UnixMillis {
    SystemClock.now()
}

impl Agreement {
    /// Enterprise `n`, from 1, lets bank-suzhou look at three dimensions in both bureaus, `uses` times.
    pub fn of(c: &Consortium, n: usize, uses: u32) -> Result<Self> {
        let file = |end: &str| c.file(&format!("enterprises/enterprise-{n}.{end}"));
        let key = key_from_pem(&std::fs::read_to_string(file("key"))?).map_err(|e| anyhow!("{e}"))?;
        let chain = certs_from_pem(&std::fs::read(file("pem"))?).map_err(|e| anyhow!("{e}"))?;
        let preimage = Hex(random()?);
        let at = now();
        let statement = Statement {
            v: VERSION,
            consortium: "yrd-dev".parse()?,
            subject: Uscc::parse(&subject(c, n)?)?,
            holder: "bank-suzhou".parse()?,
            purposes: vec![Purpose::PreLoan, Purpose::PostLoan],
            dimensions: vec![Dimension::Basic, Dimension::Tax, Dimension::Financing],
            regions: vec![Region::parse("330100")?, Region::parse("340100")?],
            not_before: UnixMillis(at.0 - 60_000),
            not_after: at.plus(Duration::from_secs(3600)),
            max_uses: uses,
            level: EvidenceLevel::Signed,
            revoke_hash: revoke_hash(&preimage),
            salt: Hex(random()?),
        };
        Ok(Self { statement, preimage, key, chain: chain.into_iter().map(B64).collect() })
    }

    /// The same after a change.
    pub fn with(mut self, change: impl FnOnce(&mut Statement)) -> Self {
        change(&mut self.statement);
        self
    }

    /// E: signed now, over the statement as it is.
    pub fn evidence(&self) -> Result<Evidence> {
        let signature = self.key.sign(&self.statement.signing_input()?)?;
        Ok(Evidence::Signed { signature, chain: self.chain.clone() })
    }

    /// The body of an upload.
    pub fn upload(&self) -> Result<Value> {
        Ok(json!({ "statement": self.statement, "evidence": self.evidence()? }))
    }

    /// The body of a query that it allows.
    pub fn query(&self, authorization: &str) -> Value {
        json!({
            "authorization_id": authorization, "subject": self.statement.subject,
            "purpose": "01", "dimensions": ["basic", "tax", "financing"],
        })
    }
}

/// Company code of enterprise `n`, from 1.
pub fn subject(c: &Consortium, n: usize) -> Result<String> {
    let all = subjects(c)?;
    all.get(n.wrapping_sub(1)).cloned().with_context(|| format!("there is no enterprise {n}"))
}

/// Company codes of all enterprises with keys.
pub fn subjects(c: &Consortium) -> Result<Vec<String>> {
    let index: Value = serde_json::from_slice(&std::fs::read(c.file("enterprises/index.json"))?)?;
    let all = index.as_array().context("enterprises/index.json is no list")?;
    Ok(all.iter().filter_map(|e| e["subject"].as_str()).map(str::to_owned).collect())
}
