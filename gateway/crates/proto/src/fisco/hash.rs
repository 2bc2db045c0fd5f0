//! What FISCO BCOS 3 hashes, field by field.
//!
//! Order and widths follow FISCO-BCOS 3.x (`TarsHashable.h`); the real vectors under tests/fixtures/fisco
//! agree. Fields stand without lengths, so an endpoint could present another split of the same bytes, for
//! example a receipt with a digit of its gas moved into its status. Each `check` therefore pins the one
//! split that FISCO itself makes:
//!
//! - header: one parent (none for block 0), gas in decimal digits, time below 2⁵³, no extra data above
//!   block 0; then every offset is determined, and the number of sealers follows from the length;
//! - receipt: gas in decimal digits, contract address of visible ASCII, a status whose first byte is not
//!   visible ASCII (FISCO's are small numbers); then the status starts at the first invisible byte;
//! - transaction: its fields are never looked at, only its bytes: see [`super::input`].

use super::{
    BlockHeader, FiscoError, MAX_FIELD_BYTES, MAX_LOGS, MAX_NAME_BYTES, MAX_SEALERS, Receipt, Transaction,
    text::{parse_0x, parse_digest, parse_fixed, parse_hex},
};
use crate::canon::{self, Digest, MAX_SAFE_INTEGER};

fn bounded(field: &'static str, found: usize, max: usize) -> Result<(), FiscoError> {
    if found > max { Err(FiscoError::TooLarge { field, max, found }) } else { Ok(()) }
}

fn i64be(field: &'static str, value: u64) -> Result<[u8; 8], FiscoError> {
    match i64::try_from(value) {
        Ok(v) if v <= MAX_SAFE_INTEGER => Ok(v.to_be_bytes()),
        _ => Err(FiscoError::Value { field, rule: "must lie below 2^53" }),
    }
}

fn decimal<'a>(field: &'static str, text: &'a str) -> Result<&'a [u8], FiscoError> {
    // 78 digits hold any 256-bit number
    if text.is_empty() || text.len() > 78 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FiscoError::Value { field, rule: "must be 1 to 78 decimal digits" });
    }
    Ok(text.as_bytes())
}

impl BlockHeader {
    /// The bytes that the hash covers.
    pub fn preimage(&self) -> Result<Vec<u8>, FiscoError> {
        self.check()?;
        let mut out = Vec::with_capacity(256 + self.sealer_list.len() * 72);
        out.extend_from_slice(&self.version.to_be_bytes());
        for parent in &self.parent_info {
            out.extend_from_slice(&i64be("parentInfo.blockNumber", parent.block_number)?);
            out.extend_from_slice(&parse_digest("parentInfo.blockHash", &parent.block_hash)?.0);
        }
        out.extend_from_slice(&parse_digest("txsRoot", &self.txs_root)?.0);
        out.extend_from_slice(&parse_digest("receiptsRoot", &self.receipts_root)?.0);
        out.extend_from_slice(&parse_digest("stateRoot", &self.state_root)?.0);
        out.extend_from_slice(&i64be("number", self.number)?);
        out.extend_from_slice(decimal("gasUsed", &self.gas_used)?);
        out.extend_from_slice(&i64be("timestamp", self.timestamp)?);
        out.extend_from_slice(&self.sealer.to_be_bytes());
        for key in &self.sealer_list {
            out.extend_from_slice(&parse_fixed::<64>("sealerList", key)?.0);
        }
        out.extend_from_slice(&parse_0x("extraData", &self.extra_data, MAX_FIELD_BYTES)?);
        for weight in &self.consensus_weights {
            out.extend_from_slice(&i64be("consensusWeights", *weight)?);
        }
        Ok(out)
    }

    /// Its hash on an SM chain.
    pub fn compute_hash(&self) -> Result<Digest, FiscoError> {
        Ok(canon::sm3(&self.preimage()?))
    }

    fn check(&self) -> Result<(), FiscoError> {
        bounded("sealerList", self.sealer_list.len(), MAX_SEALERS)?;
        bounded("signatureList", self.signature_list.len(), MAX_SEALERS)?;
        if self.consensus_weights.len() != self.sealer_list.len() {
            let rule = "must have one weight per sealer";
            return Err(FiscoError::Value { field: "consensusWeights", rule });
        }
        let proposer = usize::try_from(self.sealer).ok();
        if self.number > 0 && proposer.is_none_or(|i| i >= self.sealer_list.len()) {
            return Err(FiscoError::Value { field: "sealer", rule: "must be an index into sealerList" });
        }
        let parents = usize::from(self.number > 0);
        if self.parent_info.len() != parents {
            let rule = "must have one parent, and none for block 0";
            return Err(FiscoError::Value { field: "parentInfo", rule });
        }
        if self.number > 0 && self.extra_data != "0x" {
            return Err(FiscoError::Value { field: "extraData", rule: "must be empty above block 0" });
        }
        Ok(())
    }
}

impl Transaction {
    /// The bytes that the hash covers. Only version 0: later ones hash fields that are not in this shape.
    pub fn preimage(&self) -> Result<Vec<u8>, FiscoError> {
        if self.version != 0 {
            return Err(FiscoError::Version { what: "transaction", found: self.version });
        }
        for (field, text) in [("chainID", &self.chain_id), ("groupID", &self.group_id), ("to", &self.to)] {
            bounded(field, text.len(), MAX_NAME_BYTES)?;
        }
        bounded("abi", self.abi.len(), MAX_FIELD_BYTES)?;
        let input = parse_0x("input", &self.input, MAX_FIELD_BYTES)?;
        let mut out = Vec::with_capacity(256 + input.len() + self.abi.len());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.chain_id.as_bytes());
        out.extend_from_slice(self.group_id.as_bytes());
        out.extend_from_slice(&self.block_limit.to_be_bytes());
        out.extend_from_slice(&parse_hex("nonce", &self.nonce, MAX_NAME_BYTES)?);
        out.extend_from_slice(self.to.as_bytes());
        out.extend_from_slice(&input);
        out.extend_from_slice(self.abi.as_bytes());
        Ok(out)
    }

    /// Its hash on an SM chain.
    pub fn compute_hash(&self) -> Result<Digest, FiscoError> {
        Ok(canon::sm3(&self.preimage()?))
    }
}

impl Receipt {
    /// The bytes that the hash covers. Only version 0.
    pub fn preimage(&self) -> Result<Vec<u8>, FiscoError> {
        self.check()?;
        let output = parse_0x("output", &self.output, MAX_FIELD_BYTES)?;
        let mut out = Vec::with_capacity(128 + output.len());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(decimal("gasUsed", &self.gas_used)?);
        out.extend_from_slice(bare_address(&self.contract_address).as_bytes());
        out.extend_from_slice(&self.status.to_be_bytes());
        out.extend_from_slice(&output);
        for log in &self.log_entries {
            // hashed as shown, never parsed: topics and data stand without lengths
            out.extend_from_slice(log.address.as_bytes());
            for topic in &log.topics {
                out.extend_from_slice(&parse_digest("logEntries.topics", topic)?.0);
            }
            out.extend_from_slice(&parse_0x("logEntries.data", &log.data, MAX_FIELD_BYTES)?);
        }
        out.extend_from_slice(&i64be("blockNumber", self.block_number)?);
        Ok(out)
    }

    /// Its hash on an SM chain.
    pub fn compute_hash(&self) -> Result<Digest, FiscoError> {
        Ok(canon::sm3(&self.preimage()?))
    }

    fn check(&self) -> Result<(), FiscoError> {
        if self.version != 0 {
            return Err(FiscoError::Version { what: "receipt", found: self.version });
        }
        bounded("contractAddress", self.contract_address.len(), MAX_NAME_BYTES)?;
        bounded("logEntries", self.log_entries.len(), MAX_LOGS)?;
        for log in &self.log_entries {
            bounded("logEntries.address", log.address.len(), MAX_NAME_BYTES)?;
            bounded("logEntries.topics", log.topics.len(), MAX_LOGS)?;
        }
        if !bare_address(&self.contract_address).bytes().all(|b| b.is_ascii_graphic()) {
            return Err(FiscoError::Value { field: "contractAddress", rule: "must be visible ASCII" });
        }
        let [first, ..] = self.status.to_be_bytes();
        if first.is_ascii_graphic() {
            return Err(FiscoError::Value { field: "status", rule: "must be a status that FISCO gives" });
        }
        Ok(())
    }
}

/// FISCO hashes the address of a receipt without the 0x that its RPC adds.
fn bare_address(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}
