//! The RPC's documents against real ones of FISCO BCOS: same members, same types, same spelling.

use super::*;
use crate::dev::rpc;
use serde_json::{Value, json};

async fn ask(b: &Bench, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string();
    let answer: Value =
        serde_json::from_slice(&rpc::answer(&b.ledger, &someone(), body.as_bytes()).await).unwrap();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
    answer
}

async fn result(b: &Bench, method: &str, params: Value) -> Value {
    let answer = ask(b, method, params).await;
    assert_eq!(answer.get("error"), None, "{method}");
    answer["result"].clone()
}

/// Same members at every depth, same JSON types, and hexadecimal with 0x where the real one has it.
fn same_shape(ours: &Value, real: &Value, at: &str) {
    match (ours, real) {
        (Value::Object(o), Value::Object(r)) => {
            let keys = |m: &serde_json::Map<String, Value>| {
                m.keys().cloned().collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(keys(o), keys(r), "members of {at}");
            for (key, value) in o {
                same_shape(value, &r[key], &format!("{at}.{key}"));
            }
        }
        (Value::Array(o), Value::Array(r)) => {
            for (a, b) in o.iter().zip(r) {
                same_shape(a, b, &format!("{at}[]"));
            }
        }
        (Value::String(o), Value::String(r)) => {
            if !o.is_empty() && !r.is_empty() {
                assert_eq!(o.starts_with("0x"), r.starts_with("0x"), "{at}: `{o}` and `{r}`");
                assert_eq!(o.len() == 66, r.len() == 66, "{at}: a digest");
            }
        }
        (Value::Number(o), Value::Number(r)) => assert_eq!(o.is_u64(), r.is_u64(), "{at}"),
        (o, r) => panic!("{at}: {o} where the real one has {r}"),
    }
}

fn real(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn documents_look_like_fiscos() {
    let mut b = Bench::new();
    let tx = b.submit_one();
    b.submit_one();
    b.make();
    let block = real(include_str!("../../../../../../tests/fixtures/fisco/fisco-bcos-3.3-sm-block2.json"));
    let header = result(&b, "getBlockByNumber", json!(["group0", "", 1, true, false])).await;
    same_shape(&header, &block, "header");
    let hash = header["hash"].as_str().unwrap();
    assert_eq!(result(&b, "getBlockByHash", json!(["group0", "", hash, true, true])).await, header);
    assert_eq!(result(&b, "getBlockHashByNumber", json!(["group0", "", 1])).await, json!(hash));

    let full = result(&b, "getBlockByNumber", json!(["group0", "", 1, false, false])).await;
    let hashes = result(&b, "getBlockByNumber", json!(["group0", "", 1, false, true])).await;
    assert_eq!(hashes["transactions"][0], json!(tx.hash));
    assert_eq!(full["transactions"].as_array().unwrap().len(), 2);
    let (mut rest, header) = (full.clone(), header.as_object().unwrap().clone());
    let transactions = rest.as_object_mut().unwrap().remove("transactions").unwrap();
    assert_eq!(rest, Value::Object(header));

    let real_tx =
        real(include_str!("../../../../../../tests/fixtures/fisco/fisco-bcos-3-keccak-transaction.json"));
    let proved = result(&b, "getTransaction", json!(["group0", "", tx.hash, true])).await;
    same_shape(&proved, &real_tx, "transaction");
    let mut bare = real_tx.clone();
    bare.as_object_mut().unwrap().retain(|k, _| k != "txProof" && k != "transactionProof");
    let plain = result(&b, "getTransaction", json!(["group0", "", tx.hash])).await;
    same_shape(&plain, &bare, "transaction without proof");
    assert_eq!(transactions[0], plain);
    assert_eq!(serde_json::from_value::<Transaction>(plain).unwrap(), tx);

    let real_receipt =
        real(include_str!("../../../../../../tests/fixtures/fisco/fisco-bcos-3.3-sm-block2-receipt.json"));
    let receipt = result(&b, "getTransactionReceipt", json!(["group0", "", tx.hash, true])).await;
    same_shape(&receipt, &real_receipt, "receipt");
    let ours: Receipt = serde_json::from_value(receipt).unwrap();
    assert_eq!(ours, b.block(1).receipts[0]);
    assert_eq!(result(&b, "getBlockNumber", json!(["group0", ""])).await, json!(1));
}

/// Block 0's members are those of FISCO's, which has no parents, sealers and signatures there.
#[tokio::test]
async fn block_0_looks_like_fiscos() {
    let b = Bench::new();
    let header = result(&b, "getBlockByNumber", json!(["group0", "", 0, true, false])).await;
    let block = real(include_str!("../../../../../../tests/fixtures/fisco/fisco-bcos-3.3-sm-block2.json"));
    same_shape(&header, &block, "block 0");
    for empty in ["parentInfo", "sealerList", "consensusWeights", "signatureList"] {
        assert_eq!(header[empty], json!([]), "{empty}");
    }
}

#[tokio::test]
async fn it_says_that_it_is_a_development_ledger() {
    let b = Bench::new();
    let info = result(&b, "getGroupInfo", json!(["group0"])).await;
    assert_eq!((&info["chainID"], &info["groupID"]), (&json!("chain0"), &json!("group0")));
    assert_eq!(info["nodeList"][0]["name"], json!(NAME));
    assert!(info["genesisConfig"].as_str().unwrap().contains("never for real data"));
    assert!(info["nodeList"][0]["iniConfig"].as_str().unwrap().contains("never for real data"));
    assert_eq!(result(&b, "getGroupInfo", json!(["group9"])).await, Value::Null);
    let version = json!(["group0", "", "compatibility_version"]);
    assert_eq!(result(&b, "getSystemConfigByKey", version).await["value"], json!(NAME));
    let list = result(&b, "getSealerList", json!(["group0", ""])).await;
    assert_eq!(list.as_array().unwrap().len(), 4);
    assert_eq!(list[0]["nodeID"].as_str().unwrap().len(), 128);
    let b0 = result(&b, "getBlockByNumber", json!(["group0", "", 0, true, false])).await;
    assert!(b0["extraData"].as_str().unwrap().contains(&hex::encode(NAME)));
}

#[tokio::test]
async fn what_is_not_there_has_fiscos_code() {
    let mut b = Bench::new();
    let tx = b.tx();
    let unknown = format!("0x{}", "ab".repeat(32));
    for (method, params, code) in [
        ("getBlockByNumber", json!(["group0", "", 1, false, false]), 3006),
        ("getBlockByNumber", json!(["group0", "", i64::MAX, false, false]), 3006),
        ("getBlockByNumber", json!(["group0", "", u64::MAX, false, false]), -32602),
        ("getBlockHashByNumber", json!(["group0", "", 1]), 3006),
        ("getBlockByHash", json!(["group0", "", unknown, true]), 3008),
        ("getTransaction", json!(["group0", "", unknown, true]), 3008),
        ("getTransactionReceipt", json!(["group0", "", tx.hash, true]), 3008),
        ("getSystemConfigByKey", json!(["group0", "", "gas"]), 3003),
        ("sendTransaction", json!(["group0", "", "0x00", false]), 10003),
    ] {
        let answer = ask(&b, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], json!(code), "{method} {params}");
        assert!(answer.get("result").is_none());
    }
}

/// Without anyone who makes blocks, `sendTransaction` waits up to its deadline; the transaction stays.
#[tokio::test]
async fn no_block_in_time() {
    let mut c = config();
    c.submit_wait = Duration::from_millis(20);
    let mut b = Bench::with(c);
    let tx = b.tx();
    let data = format!("0x{}", hex::encode(tars::encode_transaction(&tx).unwrap()));
    let send = json!(["group0", "", data, false]);
    assert_eq!(ask(&b, "sendTransaction", send.clone()).await["error"]["code"], json!(10010));
    assert_eq!(ask(&b, "sendTransaction", send.clone()).await["error"]["code"], json!(10004));
    b.make();
    assert_eq!(ask(&b, "sendTransaction", send).await["error"]["code"], json!(10005));
}
