//! JSON as FISCO BCOS 3's RPC gives it: the members of its blocks, transactions and receipts.

use super::{Block, DevLedger, NAME};
use crate::tx::{account_address, account_key};
use gw_proto::{
    canon::{Digest, sm3},
    fisco::{BlockHeader, Receipt, Transaction},
};
use serde_json::{Map, Value, json};

fn object(value: impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

pub(super) fn header(header: &BlockHeader) -> Value {
    Value::Object(object(header))
}

pub(super) fn block(block: &Block, only_hashes: bool) -> Value {
    let mut out = object(&block.header);
    let transactions: Vec<Value> = if only_hashes {
        block.transactions.iter().map(|t| json!(t.hash)).collect()
    } else {
        (0..block.transactions.len()).filter_map(|i| transaction(block, i, false)).collect()
    };
    out.insert("transactions".to_owned(), Value::Array(transactions));
    Value::Object(out)
}

pub(super) fn transaction(block: &Block, at: usize, with_proof: bool) -> Option<Value> {
    let tx = block.transactions.get(at)?;
    let mut out = object(tx);
    out.insert("from".to_owned(), json!(sender(tx)));
    out.insert("importTime".to_owned(), json!(block.imported.get(at)));
    out.insert("extraData".to_owned(), json!(""));
    if with_proof {
        let leaves = block.transactions.iter().map(|t| digest_of(&t.hash)).collect::<Option<Vec<_>>>()?;
        out.insert("transactionProof".to_owned(), json!([])); // kept by FISCO for old clients, empty
        out.insert("txProof".to_owned(), json!(proof(&leaves, at)));
    }
    Some(Value::Object(out))
}

pub(super) fn receipt(block: &Block, at: usize, with_proof: bool) -> Option<Value> {
    let tx = block.transactions.get(at)?;
    let receipt = block.receipts.get(at)?;
    let mut out = sent(tx, receipt);
    out.insert("transactionProof".to_owned(), if with_proof { json!([]) } else { Value::Null });
    if with_proof {
        out.insert("receiptProof".to_owned(), json!([]));
        out.insert("txReceiptProof".to_owned(), json!(receipt_proof(block, at)?));
    }
    Some(Value::Object(out))
}

/// What `sendTransaction` answers: like a receipt, but FISCO puts the proof under both of its names.
pub(super) fn submitted(block: &Block, at: usize, with_proof: bool) -> Option<Value> {
    let mut out = sent(block.transactions.get(at)?, block.receipts.get(at)?);
    if with_proof {
        let proof = receipt_proof(block, at)?;
        out.insert("txReceiptProof".to_owned(), json!(proof));
        out.insert("receiptProof".to_owned(), json!(proof));
    }
    Some(Value::Object(out))
}

fn sent(tx: &Transaction, receipt: &Receipt) -> Map<String, Value> {
    let mut out = object(receipt);
    out.insert("checksumContractAddress".to_owned(), json!(receipt.contract_address));
    out.insert("message".to_owned(), json!(""));
    out.insert("from".to_owned(), json!(sender(tx)));
    out.insert("to".to_owned(), json!(tx.to));
    out.insert("input".to_owned(), json!(tx.input));
    out.insert("extraData".to_owned(), json!(""));
    out
}

fn sender(tx: &Transaction) -> String {
    account_key(tx).map(|(key, _)| format!("0x{}", account_address(&key))).unwrap_or_default()
}

fn receipt_proof(block: &Block, at: usize) -> Option<Vec<String>> {
    let leaves = block.receipts.iter().map(|r| digest_of(&r.hash)).collect::<Option<Vec<_>>>()?;
    Some(proof(&leaves, at))
}

fn digest_of(text: &str) -> Option<Digest> {
    Digest::parse(text.strip_prefix("0x")?).ok()
}

/// FISCO's proof list: for each level the number of siblings as four bytes, then the siblings, the own node
/// among them; a tree of one leaf is that leaf alone. Hex without 0x.
fn proof(leaves: &[Digest], at: usize) -> Vec<String> {
    if leaves.len() == 1 {
        return leaves.iter().map(Digest::to_string).collect();
    }
    let (mut out, mut level, mut at) = (Vec::new(), leaves.to_vec(), at);
    while level.len() > 1 {
        let pair: &[Digest] = level.chunks(2).nth(at / 2).unwrap_or_default();
        out.push(format!("{:08x}", pair.len()));
        out.extend(pair.iter().map(Digest::to_string));
        level = level.chunks(2).map(|p| sm3(&p.iter().flat_map(|d| d.0).collect::<Vec<u8>>())).collect();
        at /= 2;
    }
    out
}

pub(super) fn group_info(ledger: &DevLedger) -> Value {
    let genesis = ledger.genesis();
    let development = "a development ledger: one process, no consensus, never for real data";
    json!({
        "chainID": genesis.chain,
        "groupID": genesis.group,
        "genesisConfig": json!({"consensusType": NAME, "smCrypto": true, "note": development}).to_string(),
        "iniConfig": "",
        "nodeList": [{
            "name": NAME,
            "nodeID": ledger.sealer_list().first().map(|k| k.trim_start_matches("0x")),
            "type": 1, // an SM node
            "microService": false,
            "iniConfig": json!({
                "binaryInfo": {"version": NAME, "note": development},
                "chainID": genesis.chain, "groupID": genesis.group, "smCryptoType": true,
            }).to_string(),
            "serviceInfo": [],
            "featureKeys": [],
            "supportConfigs": [],
            "protocol": {"compatibilityVersion": super::genesis::BLOCK_VERSION},
        }],
    })
}

pub(super) fn sealers(ledger: &DevLedger) -> Value {
    let sealers = ledger.sealer_list();
    let sealers = sealers.iter().map(|k| k.trim_start_matches("0x"));
    sealers.map(|k| json!({"nodeID": k, "weight": 1, "termWeight": 0})).collect()
}

/// `getSystemConfigByKey`; FISCO gives numbers as text.
pub(super) fn system_config(ledger: &DevLedger, key: &str) -> Option<Value> {
    let value = match key {
        "tx_count_limit" => ledger.config().block_transactions.to_string(),
        "consensus_leader_period" => "1".to_owned(),
        "compatibility_version" => NAME.to_owned(),
        _ => return None,
    };
    Some(json!({"blockNumber": 0, "value": value}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::fisco::merkle_root;

    /// FISCO's own check of a proof list: each group must hold the hash so far, and hashes to the next.
    fn holds(proof: &[String], leaf: Digest, root: Digest) -> bool {
        let mut hash = leaf;
        let mut rest = proof;
        if rest.len() == 1 {
            return rest[0] == root.to_string() && leaf == root;
        }
        while let Some((count, tail)) = rest.split_first() {
            let count = usize::from_str_radix(count, 16).unwrap();
            let (group, tail) = tail.split_at(count);
            if !group.contains(&hash.to_string()) {
                return false;
            }
            hash = sm3(&hex::decode(group.concat()).unwrap());
            rest = tail;
        }
        hash == root
    }

    #[test]
    fn proof_lists_lead_to_the_root() {
        for n in 1..=17u8 {
            let leaves: Vec<Digest> = (0..n).map(|i| sm3(&[i])).collect();
            for at in 0..leaves.len() {
                assert!(holds(&proof(&leaves, at), leaves[at], merkle_root(&leaves)), "{at} of {n}");
            }
            assert!(!holds(&proof(&leaves, 0), sm3(b"other"), merkle_root(&leaves)));
        }
    }
}
