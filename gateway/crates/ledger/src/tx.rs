//! Building and account-signing the transactions that carry batches.
//!
//! The account pays and carries no authority: what a record may do rests on the batch's own signatures.

use gw_proto::{
    Hex, PublicKey, Scheme, Signature,
    canon::{Digest, sm3},
    fisco::{self, FiscoError, Transaction},
    genesis::Genesis,
};
use hsm_api::{HsmError, Signer};

/// Bytes of an account signature: r ‖ s ‖ public key.
const SIGNATURE_BYTES: usize = 128;

/// Why a transaction is not built, or an account's signature not believed.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// The account's key is of another scheme.
    #[error("account keys are SM2 keys; this one is of scheme {found:?}")]
    Scheme {
        /// the scheme found
        found: Scheme,
    },
    /// The transaction has no hash.
    #[error("transaction cannot be hashed: {0}")]
    Hash(#[from] FiscoError),
    /// The keystore did not sign.
    #[error("account key did not sign")]
    Sign(#[source] HsmError),
    /// The signature is not r ‖ s ‖ public key in hex.
    #[error("account signature is not 0x and {} hex digits (r, s, public key)", 2 * SIGNATURE_BYTES)]
    Shape,
    /// The signature does not hold.
    #[error("account signature does not verify")]
    Signature,
}

/// A transaction that calls `put(payload)` on the record contract, signed by the submitter's account.
///
/// `nonce` is randomness. On the wire it becomes 16 printable characters (96 bits): since FISCO BCOS 3.3 a
/// nonce may be any bytes, but text is what every SDK and explorer has been tried with.
pub fn build_transaction(
    genesis: &Genesis,
    payload: &[u8],
    block_limit: i64,
    nonce: [u8; 16],
    account: &dyn Signer,
) -> Result<Transaction, TxError> {
    let key = *account.public_key();
    if key.scheme != Scheme::Sm2Sm3 {
        return Err(TxError::Scheme { found: key.scheme });
    }
    let mut tx = Transaction {
        version: 0,
        hash: String::new(),
        chain_id: genesis.chain.clone(),
        group_id: genesis.group.clone(),
        block_limit,
        nonce: hex::encode(printable(nonce)),
        to: genesis.contract.clone(),
        input: format!("0x{}", hex::encode(fisco::encode_put_input(payload))),
        abi: String::new(),
        signature: "0x".to_owned(),
    };
    let hash = tx.compute_hash()?;
    tx.hash = format!("0x{hash}");
    let signature = hsm_api::sign_message(account, &hash.0).map_err(TxError::Sign)?;
    tx.signature = format!("0x{signature}{}", key.point);
    Ok(tx)
}

/// Six bits of each byte, as base64url's characters.
fn printable(nonce: [u8; 16]) -> [u8; 16] {
    nonce.map(|b| match b & 0x3f {
        v @ 0..=25 => b'A' + v,
        v @ 26..=51 => b'a' + (v - 26),
        v @ 52..=61 => b'0' + (v - 52),
        62 => b'-',
        _ => b'_',
    })
}

/// An account's address: the last 20 bytes of SM3 of its public key.
pub fn account_address(key: &PublicKey) -> Hex<20> {
    let digest = sm3(&key.point.0);
    let mut out = [0u8; 20];
    for (o, d) in out.iter_mut().zip(digest.0.iter().skip(12)) {
        *o = *d;
    }
    Hex(out)
}

/// Which key signed, as the transaction says; not checked.
pub fn account_key(tx: &Transaction) -> Result<(PublicKey, Signature), TxError> {
    let text = tx.signature.strip_prefix("0x").ok_or(TxError::Shape)?;
    let Hex(bytes) = Hex::<SIGNATURE_BYTES>::parse(text).map_err(|_| TxError::Shape)?;
    let (mut rs, mut point) = ([0u8; 64], [0u8; 64]);
    for (i, b) in bytes.into_iter().enumerate() {
        let half = if i < 64 { &mut rs } else { &mut point };
        if let Some(o) = half.get_mut(i % 64) {
            *o = b;
        }
    }
    Ok((PublicKey { scheme: Scheme::Sm2Sm3, point: Hex(point) }, Hex(rs)))
}

/// Checks the account's signature over `hash`, which the caller has computed; gives the sender's address.
pub fn verify_account(tx: &Transaction, hash: &Digest) -> Result<Hex<20>, TxError> {
    let (key, signature) = account_key(tx)?;
    gw_sm::verify(&key, &hash.0, &signature).map_err(|_| TxError::Signature)?;
    Ok(account_address(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FISCO-BCOS-DOC's transaction on an SM chain: its account's signature holds (tests/fixtures/fisco).
    #[test]
    fn a_real_account_signature() {
        let text = include_str!("../../../../tests/fixtures/fisco/sendtransaction-sm.hex");
        let bytes = hex::decode(text.trim().trim_start_matches("0x")).unwrap();
        let mut tx = gw_proto::tars::decode_transaction(&bytes).unwrap();
        let hash = tx.compute_hash().unwrap();
        assert_eq!(tx.hash, format!("0x{hash}"));
        verify_account(&tx, &hash).unwrap();
        let mut other = hash;
        other.0[0] ^= 1;
        assert!(matches!(verify_account(&tx, &other), Err(TxError::Signature)));
        tx.signature.truncate(200);
        assert!(matches!(verify_account(&tx, &hash), Err(TxError::Shape)));
    }

    #[test]
    fn a_nonce_is_sixteen_printable_characters() {
        let mut nonce = [0u8; 16];
        for (i, b) in nonce.iter_mut().enumerate() {
            *b = u8::try_from(i * 17).unwrap();
        }
        let text = printable(nonce);
        assert!(text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        let all: std::collections::BTreeSet<u8> = (0..=255u8).map(|b| printable([b; 16])[0]).collect();
        assert_eq!(all.len(), 64);
    }
}
