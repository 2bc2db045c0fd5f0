//! A transaction as FISCO BCOS 3's `sendTransaction` takes it: TARS encoding.
//!
//! Field numbers are those of FISCO-BCOS `bcos-tars-protocol/tars/Transaction.tars` (3.0 to 3.16):
//! `TransactionData {1 version, 2 chainID, 3 groupID, 4 blockLimit, 5 nonce, 6 to, 7 input, 8 abi}` and
//! `Transaction {1 data, 2 dataHash, 3 signature, 4 importTime, 5 attribute, 7 sender, 8 extraData}`.
//!
//! Every field starts with a head of one byte, tag ‖ type (four bits each; all our tags are below 15).
//! Integers take the shortest of 0, 1, 2, 4, 8 bytes, big-endian; a text has a length of one byte, or of
//! four beyond 255; a byte vector is a "simple list": head, `0x00`, length as an integer, bytes; a nested
//! struct ends with `0x0b`.
//!
//! The nonce is a string on the wire. Since 3.3 it is any bytes, hashed as they are and shown by the RPC as
//! their hex digits; before 3.3 it had to be a decimal number. [`Transaction::nonce`] holds the hex digits.

use crate::fisco::Transaction;

/// The largest transaction in TARS form that is written or read.
pub const MAX_TRANSACTION_BYTES: usize = 64 * 1024;

/// Why a transaction is not written or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarsError {
    /// Larger than 64 KiB.
    #[error("transaction of {found} bytes, at most {MAX_TRANSACTION_BYTES} are taken")]
    TooLarge {
        /// bytes found
        found: usize,
    },
    /// The bytes end inside a field.
    #[error("transaction ends inside a field at byte {at}")]
    Truncated {
        /// offset
        at: usize,
    },
    /// A field of another type than the struct says.
    #[error("{field}: TARS type {found} at byte {at} is not the one of this field")]
    Type {
        /// the field's name
        field: &'static str,
        /// the type found
        found: u8,
        /// offset
        at: usize,
    },
    /// A repeated, unordered or unknown field.
    #[error("field {tag} at byte {at} is repeated, out of order or unknown")]
    Order {
        /// the tag found
        tag: u8,
        /// offset
        at: usize,
    },
    /// An integer or a length that takes more bytes than it needs.
    #[error("{field}: not in its shortest form at byte {at}")]
    NotShortest {
        /// the field's name
        field: &'static str,
        /// offset
        at: usize,
    },
    /// A value that this field cannot have.
    #[error("{field}: {what}")]
    Value {
        /// the field's name
        field: &'static str,
        /// what is wrong
        what: &'static str,
    },
    /// The transaction has no `data`.
    #[error("the transaction has no data field")]
    NoData,
}

mod kind {
    pub(super) const INT1: u8 = 0;
    pub(super) const INT2: u8 = 1;
    pub(super) const INT4: u8 = 2;
    pub(super) const INT8: u8 = 3;
    pub(super) const TEXT1: u8 = 6;
    pub(super) const TEXT4: u8 = 7;
    pub(super) const STRUCT: u8 = 10;
    pub(super) const END: u8 = 11;
    pub(super) const ZERO: u8 = 12;
    pub(super) const BYTES: u8 = 13;
}

/// What `sendTransaction` carries, before it is written as hex. Fails if a text field is not what it should
/// be (hex digits), if the version is not 0, or beyond 64 KiB. Empty fields are left out, as FISCO's SDKs do.
pub fn encode_transaction(tx: &Transaction) -> Result<Vec<u8>, TarsError> {
    if tx.version != 0 {
        return Err(TarsError::Value { field: "version", what: "only version 0 is supported" });
    }
    let mut w = Writer(Vec::with_capacity(tx.input.len() / 2 + 512));
    w.head(1, kind::STRUCT);
    w.int(1, 0);
    w.text(2, "chainID", tx.chain_id.as_bytes())?;
    w.text(3, "groupID", tx.group_id.as_bytes())?;
    if tx.block_limit != 0 {
        w.int(4, tx.block_limit);
    }
    w.text(5, "nonce", &parse_hex("nonce", &tx.nonce)?)?;
    w.text(6, "to", tx.to.as_bytes())?;
    w.bytes(7, "input", &parse_hex0x("input", &tx.input)?)?;
    w.text(8, "abi", tx.abi.as_bytes())?;
    w.head(0, kind::END);
    w.bytes(2, "dataHash", &hash_bytes(parse_hex0x("dataHash", &tx.hash)?)?)?;
    w.bytes(3, "signature", &parse_hex0x("signature", &tx.signature)?)?;
    if w.0.len() > MAX_TRANSACTION_BYTES {
        return Err(TarsError::TooLarge { found: w.0.len() });
    }
    Ok(w.0)
}

/// Reads what `sendTransaction` carries: total, bounded, fields in order and once, shortest forms only,
/// nothing after the end. What the hash does not cover and [`Transaction`] does not hold (import time,
/// attribute, sender, extra data) is checked for its type and dropped. Whether hash and signature hold is
/// not decided here; an absent hash or signature reads as `0x`.
pub fn decode_transaction(bytes: &[u8]) -> Result<Transaction, TarsError> {
    if bytes.len() > MAX_TRANSACTION_BYTES {
        return Err(TarsError::TooLarge { found: bytes.len() });
    }
    let mut r = Reader { bytes, at: 0 };
    let mut last = 0u8;
    let mut tx: Option<Transaction> = None;
    let (mut hash, mut signature): (&[u8], &[u8]) = (&[], &[]);
    while let Some(head) = r.next_head(&mut last)? {
        match head.tag {
            1 => tx = Some(decode_data(&mut r, head)?),
            2 => hash = hash_bytes(r.bytes(head, "dataHash")?)?,
            3 => signature = r.bytes(head, "signature")?,
            4 => drop(r.int(head, "importTime")?),
            5 => drop(r.int32(head, "attribute")?),
            7 => drop(r.bytes(head, "sender")?),
            8 => drop(r.text(head, "extraData")?),
            9 => zero("type", r.int(head, "type")?)?,
            10 => empty("extraTransactionBytes", r.bytes(head, "extraTransactionBytes")?)?,
            11 => empty("extraTransactionHash", r.bytes(head, "extraTransactionHash")?)?,
            _ => return Err(TarsError::Order { tag: head.tag, at: head.at }),
        }
    }
    let mut tx = tx.ok_or(TarsError::NoData)?;
    tx.hash = format!("0x{}", hex::encode(hash));
    tx.signature = format!("0x{}", hex::encode(signature));
    Ok(tx)
}

fn decode_data(r: &mut Reader<'_>, head: Head) -> Result<Transaction, TarsError> {
    if head.kind != kind::STRUCT {
        return Err(head.wrong("data"));
    }
    let mut tx = Transaction {
        version: 0,
        hash: String::new(),
        chain_id: String::new(),
        group_id: String::new(),
        block_limit: 0,
        nonce: String::new(),
        to: String::new(),
        input: "0x".to_owned(),
        abi: String::new(),
        signature: String::new(),
    };
    let mut last = 0u8;
    loop {
        let Some(head) = r.next_head(&mut last)? else {
            return Err(TarsError::Truncated { at: r.at });
        };
        match head.tag {
            0 if head.kind == kind::END => return Ok(tx),
            1 => zero("version", i64::from(r.int32(head, "version")?))?,
            2 => tx.chain_id = utf8("chainID", r.text(head, "chainID")?)?,
            3 => tx.group_id = utf8("groupID", r.text(head, "groupID")?)?,
            4 => tx.block_limit = r.int(head, "blockLimit")?,
            5 => tx.nonce = hex::encode(r.text(head, "nonce")?),
            6 => tx.to = utf8("to", r.text(head, "to")?)?,
            7 => tx.input = format!("0x{}", hex::encode(r.bytes(head, "input")?)),
            8 => tx.abi = utf8("abi", r.text(head, "abi")?)?,
            // only later versions have these, but some SDKs write their zero into version 0
            9 => no_value("value", r.text(head, "value")?)?,
            10 => no_value("gasPrice", r.text(head, "gasPrice")?)?,
            11 => zero("gasLimit", r.int(head, "gasLimit")?)?,
            12 => no_value("maxFeePerGas", r.text(head, "maxFeePerGas")?)?,
            13 => no_value("maxPriorityFeePerGas", r.text(head, "maxPriorityFeePerGas")?)?,
            14 => empty("extension", r.bytes(head, "extension")?)?,
            _ => return Err(TarsError::Order { tag: head.tag, at: head.at }),
        }
    }
}

fn utf8(field: &'static str, bytes: &[u8]) -> Result<String, TarsError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| TarsError::Value { field, what: "not UTF-8" })
}

fn zero(field: &'static str, value: i64) -> Result<(), TarsError> {
    if value == 0 { Ok(()) } else { Err(TarsError::Value { field, what: "only 0 is supported" }) }
}

fn empty(field: &'static str, value: &[u8]) -> Result<(), TarsError> {
    if value.is_empty() {
        Ok(())
    } else {
        Err(TarsError::Value { field, what: "must be empty in version 0" })
    }
}

fn no_value(field: &'static str, value: &[u8]) -> Result<(), TarsError> {
    if matches!(value, b"" | b"0" | b"0x0") {
        Ok(())
    } else {
        Err(TarsError::Value { field, what: "must be zero in version 0" })
    }
}

fn hash_bytes<B: AsRef<[u8]>>(bytes: B) -> Result<B, TarsError> {
    if matches!(bytes.as_ref().len(), 0 | 32) {
        Ok(bytes)
    } else {
        Err(TarsError::Value { field: "dataHash", what: "neither absent nor 32 bytes" })
    }
}

fn parse_hex(field: &'static str, text: &str) -> Result<Vec<u8>, TarsError> {
    if text.len() > 2 * MAX_TRANSACTION_BYTES {
        return Err(TarsError::TooLarge { found: text.len() / 2 });
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(TarsError::Value { field, what: "not lower-case hexadecimal" });
    }
    hex::decode(text).map_err(|_| TarsError::Value { field, what: "not lower-case hexadecimal" })
}

fn parse_hex0x(field: &'static str, text: &str) -> Result<Vec<u8>, TarsError> {
    let digits = text.strip_prefix("0x").ok_or(TarsError::Value { field, what: "does not start with 0x" })?;
    parse_hex(field, digits)
}

struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, tag: u8, kind: u8) {
        self.0.push(tag << 4 | kind);
    }
    fn int(&mut self, tag: u8, value: i64) {
        if value == 0 {
            self.head(tag, kind::ZERO);
        } else if let Ok(v) = i8::try_from(value) {
            self.head(tag, kind::INT1);
            self.0.extend_from_slice(&v.to_be_bytes());
        } else if let Ok(v) = i16::try_from(value) {
            self.head(tag, kind::INT2);
            self.0.extend_from_slice(&v.to_be_bytes());
        } else if let Ok(v) = i32::try_from(value) {
            self.head(tag, kind::INT4);
            self.0.extend_from_slice(&v.to_be_bytes());
        } else {
            self.head(tag, kind::INT8);
            self.0.extend_from_slice(&value.to_be_bytes());
        }
    }
    fn text(&mut self, tag: u8, field: &'static str, value: &[u8]) -> Result<(), TarsError> {
        if value.is_empty() {
            return Ok(());
        }
        if let Ok(len) = u8::try_from(value.len()) {
            self.head(tag, kind::TEXT1);
            self.0.push(len);
        } else {
            let len = u32::try_from(value.len()).map_err(|_| TarsError::Value { field, what: "too long" })?;
            self.head(tag, kind::TEXT4);
            self.0.extend_from_slice(&len.to_be_bytes());
        }
        self.0.extend_from_slice(value);
        Ok(())
    }
    fn bytes(&mut self, tag: u8, field: &'static str, value: &[u8]) -> Result<(), TarsError> {
        if value.is_empty() {
            return Ok(());
        }
        let len = i32::try_from(value.len()).map_err(|_| TarsError::Value { field, what: "too long" })?;
        self.head(tag, kind::BYTES);
        self.head(0, kind::INT1); // of what the list is
        self.int(0, i64::from(len));
        self.0.extend_from_slice(value);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Head {
    tag: u8,
    kind: u8,
    at: usize,
}

impl Head {
    fn wrong(self, field: &'static str) -> TarsError {
        TarsError::Type { field, found: self.kind, at: self.at }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], TarsError> {
        let end = self.at.checked_add(n).ok_or(TarsError::Truncated { at: self.at })?;
        let out = self.bytes.get(self.at..end).ok_or(TarsError::Truncated { at: self.at })?;
        self.at = end;
        Ok(out)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TarsError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| TarsError::Truncated { at })
    }
    fn head(&mut self) -> Result<Head, TarsError> {
        let at = self.at;
        let [b] = self.array()?;
        Ok(Head { tag: b >> 4, kind: b & 0x0f, at })
    }
    /// The next field of a struct, or `None` at the end of the bytes; tags must ascend.
    fn next_head(&mut self, last: &mut u8) -> Result<Option<Head>, TarsError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let head = self.head()?;
        let end = head.tag == 0 && head.kind == kind::END;
        if head.tag <= *last && !end {
            return Err(TarsError::Order { tag: head.tag, at: head.at });
        }
        *last = head.tag;
        Ok(Some(head))
    }
    fn int(&mut self, head: Head, field: &'static str) -> Result<i64, TarsError> {
        let (value, shortest) = match head.kind {
            kind::ZERO => (0, true),
            kind::INT1 => {
                let v = i8::from_be_bytes(self.array()?);
                (i64::from(v), v != 0)
            }
            kind::INT2 => {
                let v = i16::from_be_bytes(self.array()?);
                (i64::from(v), i8::try_from(v).is_err())
            }
            kind::INT4 => {
                let v = i32::from_be_bytes(self.array()?);
                (i64::from(v), i16::try_from(v).is_err())
            }
            kind::INT8 => {
                let v = i64::from_be_bytes(self.array()?);
                (v, i32::try_from(v).is_err())
            }
            _ => return Err(head.wrong(field)),
        };
        if shortest { Ok(value) } else { Err(TarsError::NotShortest { field, at: head.at }) }
    }
    fn int32(&mut self, head: Head, field: &'static str) -> Result<i32, TarsError> {
        i32::try_from(self.int(head, field)?).map_err(|_| head.wrong(field))
    }
    fn text(&mut self, head: Head, field: &'static str) -> Result<&'a [u8], TarsError> {
        let len = match head.kind {
            kind::TEXT1 => {
                let [len] = self.array()?;
                usize::from(len)
            }
            kind::TEXT4 => {
                let len = u32::from_be_bytes(self.array()?);
                if len <= u32::from(u8::MAX) {
                    return Err(TarsError::NotShortest { field, at: head.at });
                }
                usize::try_from(len).map_err(|_| TarsError::Truncated { at: head.at })?
            }
            _ => return Err(head.wrong(field)),
        };
        self.take(len)
    }
    fn bytes(&mut self, head: Head, field: &'static str) -> Result<&'a [u8], TarsError> {
        if head.kind != kind::BYTES {
            return Err(head.wrong(field));
        }
        let element = self.head()?;
        if (element.tag, element.kind) != (0, kind::INT1) {
            return Err(element.wrong(field));
        }
        let length = self.head()?;
        if length.tag != 0 {
            return Err(TarsError::Order { tag: length.tag, at: length.at });
        }
        let len = self.int32(length, field)?;
        let len = usize::try_from(len).map_err(|_| TarsError::Value { field, what: "negative length" })?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests;
