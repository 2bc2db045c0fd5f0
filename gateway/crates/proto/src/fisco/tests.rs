//! Real vectors, and the splits that FISCO's hashes leave open.

use super::*;
use crate::{
    bytes::Hex,
    canon::{self, Digest},
    genesis::{Engine, Genesis, Governance},
    ids::ConsortiumId,
};
use proptest::prelude::*;
use sha3::Digest as _;

fn fixture<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/../../../tests/fixtures/fisco/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn genesis() -> Genesis {
    Genesis {
        v: 1,
        consortium: ConsortiumId::parse("test").unwrap(),
        engine: Engine::Development,
        chain: "chain0".into(),
        group: "group0".into(),
        contract: format!("0x{}", "5a".repeat(20)),
        block0: Hex([0; 32]),
        sealers: vec![],
        governance: Governance { threshold: 1, keys: vec![] },
        rules: 1,
    }
}

fn ours(payload: &[u8]) -> Transaction {
    let g = genesis();
    Transaction {
        version: 0,
        hash: String::new(),
        chain_id: g.chain,
        group_id: g.group,
        block_limit: 600,
        nonce: "0123456789abcdef0123456789abcdef".into(),
        to: g.contract,
        input: write_0x(&encode_put_input(payload)),
        abi: String::new(),
        signature: "0x".into(),
    }
}

fn skip(tx: &Transaction) -> SkipReason {
    match tx.payload(&genesis()) {
        Err(FiscoError::Skip(reason)) => reason,
        other => panic!("expected a skip, got {other:?}"),
    }
}

#[test]
fn a_real_header() {
    let header: BlockHeader = fixture("fisco-bcos-3.3-sm-block2.json");
    assert_eq!(write_0x(&header.compute_hash().unwrap().0), header.hash);
    let mut changed = header.clone();
    changed.timestamp += 1;
    assert_ne!(write_0x(&changed.compute_hash().unwrap().0), header.hash);
}

#[test]
fn a_real_receipt_is_the_root_of_its_block() {
    let header: BlockHeader = fixture("fisco-bcos-3.3-sm-block2.json");
    let receipt: Receipt = fixture("fisco-bcos-3.3-sm-block2-receipt.json");
    let hash = receipt.compute_hash().unwrap();
    assert_eq!(write_0x(&hash.0), receipt.hash);
    assert_eq!(write_0x(&merkle_root(&[hash]).0), header.receipts_root);
    let transaction = parse_digest("transactionHash", &receipt.transaction_hash).unwrap();
    assert_eq!(write_0x(&merkle_root(&[transaction]).0), header.txs_root);
}

#[test]
fn a_real_transaction_of_a_keccak_chain() {
    let tx: Transaction = fixture("fisco-bcos-3-keccak-transaction.json");
    let hash = sha3::Keccak256::digest(tx.preimage().unwrap());
    assert_eq!(write_0x(&hash), tx.hash);
    assert_ne!(write_0x(&tx.compute_hash().unwrap().0), tx.hash, "SM3 is another hash");
}

#[test]
fn a_payload_survives_and_its_frame_is_canonical() {
    for payload in [&b""[..], b"x", &[7; 31], &[7; 32], &[7; 33], &[7; 32 * 1024]] {
        assert_eq!(ours(payload).payload(&genesis()).unwrap(), payload);
    }
    assert_eq!(skip(&ours(&[7; 32 * 1024 + 1])), SkipReason::TooLarge);
}

#[test]
fn what_is_not_ours_is_named() {
    let mut tx = ours(b"x");
    tx.chain_id = "chain1".into();
    assert_eq!(skip(&tx), SkipReason::OtherChain);
    assert!(!tx.is_of_chain(&genesis()).unwrap());

    let mut tx = ours(b"x");
    tx.to = format!("0x{}", "5b".repeat(20));
    assert_eq!(skip(&tx), SkipReason::OtherContract);
    assert!(tx.is_of_chain(&genesis()).unwrap());

    for nonce in ["", "00", "0123456789abcdef0123456789abcdef00"] {
        let mut tx = ours(b"x");
        tx.nonce = nonce.into();
        assert_eq!(skip(&tx), SkipReason::OtherContract, "{nonce}");
    }
    let mut tx = ours(b"x");
    tx.abi = "[]".into();
    assert_eq!(skip(&tx), SkipReason::NotCanonical, "something after the input");

    let mut tx = ours(b"x");
    tx.version = 1;
    assert_eq!(
        tx.payload(&genesis()),
        Err(FiscoError::Version { what: "transaction", found: 1 }),
        "its hash is unknown, so it cannot be skipped"
    );
}

/// Each change of one byte of the frame is seen, whichever byte it is.
#[test]
fn a_frame_with_one_byte_changed_is_skipped() {
    let input = encode_put_input(b"x");
    for at in (0..input.len()).filter(|at| *at != 4 + 64) {
        let mut tx = ours(b"x");
        let mut changed = input.clone();
        changed[at] ^= 1;
        tx.input = write_0x(&changed);
        assert!(tx.payload(&genesis()).is_err(), "byte {at}");
    }
    let mut longer = input.clone();
    longer.extend_from_slice(&[0; 32]);
    let mut tx = ours(b"x");
    tx.input = write_0x(&longer);
    assert_eq!(skip(&tx), SkipReason::NotCanonical, "a trailing word");
}

/// The same hashed bytes under another split give the same payload: an endpoint cannot hide a record.
#[test]
fn another_split_of_the_same_bytes_changes_nothing() {
    let tx = ours(b"revocation");
    let mut moved = tx.clone();
    moved.chain_id = "chain0group".into();
    moved.group_id = "0".into();
    assert_eq!(moved.compute_hash(), tx.compute_hash());
    assert_eq!(moved.payload(&genesis()), tx.payload(&genesis()));

    let mut moved = tx.clone();
    let frame = tx.input.len() - 64;
    moved.input = tx.input[..frame].into();
    moved.abi = String::from_utf8(hex::decode(&tx.input[frame..]).unwrap()).unwrap();
    assert_eq!(moved.compute_hash(), tx.compute_hash());
    assert_eq!(moved.payload(&genesis()), tx.payload(&genesis()));

    let mut moved = tx.clone();
    moved.nonce = format!("{}{}", tx.nonce, hex::encode(&tx.to));
    moved.to = String::new();
    assert_eq!(moved.compute_hash(), tx.compute_hash());
    assert_eq!(moved.payload(&genesis()), tx.payload(&genesis()));
}

#[test]
fn a_receipt_cannot_be_split_another_way() {
    let mut receipt: Receipt = fixture("fisco-bcos-3.3-sm-block2-receipt.json");
    receipt.contract_address = String::new();
    receipt.compute_hash().unwrap();
    // "24363" 00000000 … read as "2436" 33000000: the same bytes with another status
    let mut split = receipt.clone();
    split.gas_used = "2436".into();
    split.status = 0x3300_0000;
    split.output = "0x00".into();
    assert_eq!(split.compute_hash().unwrap_err().to_string(), "status: must be a status that FISCO gives");
    // … or with the status inside the address
    let mut split = receipt.clone();
    split.contract_address = "\0\0\0\0".into();
    assert_eq!(split.compute_hash().unwrap_err().to_string(), "contractAddress: must be visible ASCII");
}

#[test]
fn a_header_cannot_be_split_another_way() {
    let header: BlockHeader = fixture("fisco-bcos-3.3-sm-block2.json");
    // a sealer less, its key and the first weight as extra data
    let mut split = header.clone();
    let key = split.sealer_list.pop().unwrap();
    split.consensus_weights.pop();
    split.extra_data = format!("{key}{}", hex::encode(1u64.to_be_bytes()));
    assert_eq!(split.compute_hash().unwrap_err().to_string(), "extraData: must be empty above block 0");
    let mut split = header.clone();
    split.parent_info.clear();
    assert!(split.compute_hash().is_err());
    let mut split = header;
    split.consensus_weights.pop();
    assert!(split.compute_hash().is_err());
}

#[test]
fn bounds_hold() {
    let header: BlockHeader = fixture("fisco-bcos-3.3-sm-block2.json");
    let mut large = header.clone();
    large.sealer_list = vec![header.sealer_list[0].clone(); MAX_SEALERS + 1];
    large.consensus_weights = vec![1; MAX_SEALERS + 1];
    assert!(matches!(large.compute_hash(), Err(FiscoError::TooLarge { field: "sealerList", .. })));
    let mut large = ours(b"");
    large.input = format!("0x{}", "00".repeat(MAX_FIELD_BYTES + 1));
    assert!(matches!(large.compute_hash(), Err(FiscoError::TooLarge { field: "input", .. })));
    for (text, what) in [("00", "prefix"), ("0x0", "odd"), ("0xzz", "digit"), ("0x00", "length")] {
        assert!(parse_digest("hash", text).is_err(), "{what}");
    }
}

/// A second implementation, by recursion over the largest power of two: an odd node is hashed alone.
fn slow_root(leaves: &[Digest]) -> Digest {
    fn at_height(leaves: &[Digest], height: u32) -> Vec<u8> {
        if height == 0 {
            return leaves[0].0.to_vec();
        }
        let half = 1usize << (height - 1);
        let mut bytes = at_height(&leaves[..leaves.len().min(half)], height - 1);
        if leaves.len() > half {
            bytes.extend(at_height(&leaves[half..], height - 1));
        }
        canon::sm3(&bytes).0.to_vec()
    }
    let height = leaves.len().next_power_of_two().trailing_zeros();
    Hex(at_height(leaves, height).try_into().unwrap())
}

#[test]
fn an_odd_node_is_hashed_alone() {
    let [a, b, c] = [1u8, 2, 3].map(|b| Hex([b; 32]));
    let ab = canon::sm3(&[a.0, b.0].concat());
    let alone = canon::sm3(&c.0);
    assert_eq!(merkle_root(&[a, b, c]), canon::sm3(&[ab.0, alone.0].concat()));
    assert_eq!(merkle_root(&[a]), a);
    assert_eq!(merkle_root(&[]), Hex([0; 32]));
    assert_eq!(merkle_path(&[a, b, c], 2), vec![ab]);
    assert_eq!(merkle_path(&[a, b, c], 3), vec![]);
}

proptest! {
    #[test]
    fn every_leaf_has_a_path_to_the_root(count in 1usize..70, salt: u8) {
        let leaves: Vec<Digest> =
            (0..count).map(|i| canon::sm3(&[salt, u8::try_from(i).unwrap()])).collect();
        let root = merkle_root(&leaves);
        prop_assert_eq!(root, slow_root(&leaves));
        for (i, leaf) in leaves.iter().enumerate() {
            let path = merkle_path(&leaves, i);
            prop_assert_eq!(merkle_root_from_path(*leaf, i, count, &path), Some(root));
            let other = Hex([salt; 32]);
            prop_assert_ne!(merkle_root_from_path(other, i, count, &path), Some(root));
            if let Some(j) = (0..count).find(|j| *j != i) {
                prop_assert_ne!(merkle_root_from_path(*leaf, j, count, &path), Some(root));
            }
            let mut longer = path.clone();
            longer.push(root);
            prop_assert_eq!(merkle_root_from_path(*leaf, i, count, &longer), None);
            if !path.is_empty() {
                prop_assert_eq!(merkle_root_from_path(*leaf, i, count, &path[1..]), None);
            }
        }
        prop_assert_eq!(merkle_root_from_path(leaves[0], count, count, &[]), None);
    }

    #[test]
    fn any_split_of_the_tail_gives_the_same_payload(payload: Vec<u8>, cut in 0usize..64) {
        let tx = ours(&payload);
        let input = encode_put_input(&payload);
        // move the first bytes of the input into `to`, where they are text
        let cut = cut.min(input.len());
        if let Ok(text) = std::str::from_utf8(&input[..cut]) {
            let mut moved = tx.clone();
            moved.to.push_str(text);
            moved.input = write_0x(&input[cut..]);
            prop_assert_eq!(moved.compute_hash(), tx.compute_hash());
            prop_assert_eq!(moved.payload(&genesis()), tx.payload(&genesis()));
        }
        prop_assert_eq!(tx.payload(&genesis()), Ok(payload));
    }

    #[test]
    fn payload_never_panics(input: Vec<u8>, nonce: Vec<u8>, to: String, abi: String) {
        let tx = Transaction {
            nonce: hex::encode(&nonce), to, abi, input: write_0x(&input), ..ours(b"")
        };
        let _ = tx.payload(&genesis());
    }
}
