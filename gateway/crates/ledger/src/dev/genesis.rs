//! Block 0 and the genesis document of a development ledger.

use super::{DevError, NAME};
use gw_proto::{
    ConsortiumId, PublicKey, Scheme,
    fisco::BlockHeader,
    genesis::{Engine, Genesis, Governance, Sealer},
    sm3,
};

/// FISCO BCOS 3.3.0 as a number: the version whose headers these are.
pub(super) const BLOCK_VERSION: u32 = 0x0303_0000;
/// 32 zero bytes: the roots of block 0.
const ZERO: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// What a chain is called.
#[derive(Debug, Clone)]
pub struct Names {
    /// the consortium
    pub consortium: ConsortiumId,
    /// chainID: 1 to 32 letters, digits, `-` or `_`
    pub chain: String,
    /// groupID, likewise
    pub group: String,
}

/// The genesis document of a new development ledger. The same arguments give the same document.
pub fn genesis(names: &Names, sealers: &[PublicKey], governance: Governance) -> Result<Genesis, DevError> {
    for (what, name) in [("chain", &names.chain), ("group", &names.group)] {
        let good = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !good {
            return Err(DevError::Genesis(format!("{what} name is not 1 to 32 letters, digits, `-` or `_`")));
        }
    }
    if sealers.is_empty() || sealers.iter().any(|k| k.scheme != Scheme::Sm2Sm3) {
        return Err(DevError::Genesis("sealers' keys must be SM2 keys, at least one".to_owned()));
    }
    let mut genesis = Genesis {
        v: 1,
        consortium: names.consortium.clone(),
        engine: Engine::Development,
        chain: names.chain.clone(),
        group: names.group.clone(),
        contract: contract_address(),
        block0: gw_proto::Hex([0; 32]),
        sealers: sealers.iter().map(|k| Sealer { key: k.point, weight: 1 }).collect(),
        governance,
        rules: 3,
    };
    genesis.block0 = block0(&genesis)?.compute_hash()?;
    Ok(genesis)
}

/// Nothing runs at this address: the ledger keeps inputs, it executes nothing.
fn contract_address() -> String {
    let digest = sm3(format!("{NAME}/records").as_bytes()).to_string();
    format!("0x{}", digest.get(24..).unwrap_or_default())
}

/// Block 0 in FISCO's shape: no parents, no signatures, the chain's settings as extra data.
pub(super) fn block0(genesis: &Genesis) -> Result<BlockHeader, DevError> {
    let mut text = format!(
        "[{NAME}]\none process, no consensus: never for real data\n\
         [chain]\nsm_crypto:1\nchainID: {}\ngroupID: {}\ncontract: {}\n[consensus]\n",
        genesis.chain, genesis.group, genesis.contract
    );
    for (i, s) in genesis.sealers.iter().enumerate() {
        text.push_str(&format!("node.{i}:{},{}\n", s.key, s.weight));
    }
    let mut header = BlockHeader {
        version: BLOCK_VERSION,
        hash: String::new(),
        number: 0,
        parent_info: Vec::new(),
        txs_root: ZERO.to_owned(),
        receipts_root: ZERO.to_owned(),
        state_root: ZERO.to_owned(),
        gas_used: "0".to_owned(),
        timestamp: 0,
        sealer: 0,
        sealer_list: Vec::new(),
        extra_data: format!("0x{}", hex::encode(text)),
        consensus_weights: Vec::new(),
        signature_list: Vec::new(),
    };
    header.hash = format!("0x{}", header.compute_hash()?);
    Ok(header)
}
