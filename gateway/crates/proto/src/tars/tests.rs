//! Against a real transaction, and by property.

use super::*;
use proptest::prelude::*;

/// FISCO-BCOS-DOC's example of `sendTransaction` on an SM chain (tests/fixtures/fisco/README.md).
fn real() -> Vec<u8> {
    let text = include_str!("../../../../../tests/fixtures/fisco/sendtransaction-sm.hex");
    hex::decode(text.trim().trim_start_matches("0x")).unwrap()
}

fn sample() -> Transaction {
    Transaction {
        version: 0,
        hash: format!("0x{}", "ab".repeat(32)),
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        block_limit: 507,
        nonce: "00ff".repeat(8),
        to: "0x41a1281dba209614f2ada8ecc75fd957ad179d7b".into(),
        input: "0x4ed3885e00".into(),
        abi: String::new(),
        signature: format!("0x{}", "cd".repeat(128)),
    }
}

#[test]
fn a_real_transaction_reads_and_writes_back_to_the_byte() {
    let bytes = real();
    let tx = decode_transaction(&bytes).unwrap();
    assert_eq!((tx.chain_id.as_str(), tx.group_id.as_str(), tx.block_limit), ("chain0", "group0", 507));
    assert_eq!(tx.to, "");
    assert!(tx.abi.starts_with("[{\"inputs\":[]") && tx.input.starts_with("0x60806040"));
    assert_eq!(encode_transaction(&tx).unwrap(), bytes);
    // its claimed hash is the SM3 of the fields in PROTOCOL.md's order: the nonce as the wire has it
    let mut m = 0i32.to_be_bytes().to_vec();
    m.extend_from_slice(b"chain0group0");
    m.extend_from_slice(&507i64.to_be_bytes());
    m.extend_from_slice(&hex::decode(&tx.nonce).unwrap());
    m.extend_from_slice(&hex::decode(tx.input.trim_start_matches("0x")).unwrap());
    m.extend_from_slice(tx.abi.as_bytes());
    assert_eq!(tx.hash, format!("0x{}", crate::sm3(&m)));
}

#[test]
fn what_sdks_add_is_read_and_dropped() {
    let plain = encode_transaction(&sample()).unwrap();
    let mut more = plain.clone();
    more.extend_from_slice(&[0x43, 0, 0, 1, 0x8d, 0x5f, 0x5e, 0x10, 0xe3]); // importTime
    more.extend_from_slice(&[0x50, 1]); // attribute
    more.extend_from_slice(&[0x7d, 0, 0, 1, 0xaa]); // sender
    assert_eq!(decode_transaction(&more).unwrap(), sample());
    more.extend_from_slice(&[0x90, 1]); // type 1: another kind of transaction
    assert_eq!(
        decode_transaction(&more),
        Err(TarsError::Value { field: "type", what: "only 0 is supported" })
    );
}

#[test]
fn second_forms_are_refused() {
    let good = encode_transaction(&sample()).unwrap();
    let with = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|w| w == from).unwrap();
        let mut b = good.clone();
        b.splice(at..at + from.len(), to.iter().copied());
        decode_transaction(&b)
    };
    // blockLimit 507 in four bytes
    assert!(matches!(
        with(&[0x41, 1, 0xfb], &[0x42, 0, 0, 1, 0xfb]),
        Err(TarsError::NotShortest { field: "blockLimit", .. })
    ));
    // chainID with a length of four bytes
    assert!(matches!(with(&[0x26, 6], &[0x27, 0, 0, 0, 6]), Err(TarsError::NotShortest { .. })));
    // version 1 has fields that the hash covers and we do not hold
    assert!(matches!(with(&[0x1a, 0x1c], &[0x1a, 0x10, 1]), Err(TarsError::Value { .. })));
    // chainID twice; groupID missing its order
    assert!(matches!(with(b"\x36\x06group0", b"\x26\x06group0"), Err(TarsError::Order { tag: 2, .. })));
    // an unknown field at the end, and a stray byte
    let mut b = good.clone();
    b.extend_from_slice(&[0x60, 1]);
    assert_eq!(decode_transaction(&b), Err(TarsError::Order { tag: 6, at: good.len() }));
    b.truncate(good.len());
    b.push(0x0b);
    assert!(decode_transaction(&b).is_err());
    assert_eq!(decode_transaction(&[]), Err(TarsError::NoData));
    assert!(matches!(
        decode_transaction(&vec![0; MAX_TRANSACTION_BYTES + 1]),
        Err(TarsError::TooLarge { .. })
    ));
}

#[test]
fn every_cut_is_refused_or_drops_whole_fields() {
    let good = encode_transaction(&sample()).unwrap();
    let data_end = good.len() - (4 + 32) - (5 + 128);
    for n in 0..good.len() {
        let ends_after_a_field = n == data_end || n == data_end + 4 + 32;
        assert_eq!(decode_transaction(&good[..n]).is_ok(), ends_after_a_field, "cut at {n}");
    }
}

#[test]
fn what_is_not_hex_is_not_written() {
    for (field, value) in [(0, "0xZZ"), (1, "5"), (2, "12"), (0, "0xAB"), (3, "0x1234")] {
        let mut tx = sample();
        match field {
            0 => tx.input = value.into(),
            1 => tx.nonce = value.into(),
            2 => tx.signature = value.into(),
            _ => tx.hash = value.into(),
        }
        assert!(matches!(encode_transaction(&tx), Err(TarsError::Value { .. })), "{field} {value}");
    }
    let mut tx = sample();
    tx.input = format!("0x{}", "00".repeat(MAX_TRANSACTION_BYTES));
    assert!(matches!(encode_transaction(&tx), Err(TarsError::TooLarge { .. })));
}

prop_compose! {
    fn any_transaction()(
        chain in ".{0,300}", group in "[a-z0-9]{0,8}", block_limit: i64,
        nonce in prop::collection::vec(any::<u8>(), 0..300), to in "(0x[0-9a-f]{40})?",
        input in prop::collection::vec(any::<u8>(), 0..2000), abi in ".{0,20}",
        hash in prop::option::of(any::<[u8; 32]>()),
        signature in prop::collection::vec(any::<u8>(), 0..200),
    ) -> Transaction {
        Transaction {
            version: 0,
            hash: format!("0x{}", hash.map(hex::encode).unwrap_or_default()),
            chain_id: chain, group_id: group, block_limit, nonce: hex::encode(nonce), to,
            input: format!("0x{}", hex::encode(input)), abi,
            signature: format!("0x{}", hex::encode(signature)),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(tx in any_transaction()) {
        prop_assert_eq!(decode_transaction(&encode_transaction(&tx).unwrap()).unwrap(), tx);
    }
    #[test]
    fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_transaction(&bytes);
    }
    /// Any change of a good transaction is refused, or reads as something that writes back stably.
    #[test]
    fn changed_bytes_are_refused_or_stable(tx in any_transaction(), at: prop::sample::Index, by in 1u8..) {
        let mut bytes = encode_transaction(&tx).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(changed) = decode_transaction(&bytes) {
            let again = encode_transaction(&changed).unwrap();
            prop_assert_eq!(decode_transaction(&again).unwrap(), changed);
        }
    }
}
