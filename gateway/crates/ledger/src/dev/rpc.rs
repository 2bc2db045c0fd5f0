//! JSON-RPC 2.0: the subset of FISCO BCOS 3's methods that the adapter uses, its parameters and its codes.
//!
//! Parameters stand in an array: group, node, then the method's own. The node is empty or [`NAME`]. A trailing
//! flag that is absent is false, as in FISCO. Batches are not supported.

use super::{Block, Client, DevError, DevLedger, NAME, Refusal, core::Fate, shapes};
use gw_proto::{Height, canon::Digest, tars::MAX_TRANSACTION_BYTES};
use serde_json::{Value, json};
use std::sync::Arc;

/// The most bytes of a request's body: the largest transaction in hex, and what stands around it.
pub(super) const MAX_BODY: usize = 2 * MAX_TRANSACTION_BYTES + 4096;

/// An error of JSON-RPC form.
#[derive(Debug)]
struct RpcError {
    code: i64,
    message: String,
}

fn error(code: i64, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into() }
}

const PARSE: i64 = -32700;
const REQUEST: i64 = -32600;
const METHOD: i64 = -32601;
const PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
const NO_NODE: i64 = -32000;
/// FISCO's `LedgerError`: a wrong argument, a block that is not there, another thing that is not there
const ARGUMENT: i64 = 3003;
const NO_BLOCK: i64 = 3006;
const NOT_FOUND: i64 = 3008;
/// FISCO's `TransactionStatus`: dropped by its limit, or still waiting at the deadline
const LIMIT_PASSED: i64 = 10001;
const POOL_TIMEOUT: i64 = 10010;

impl From<DevError> for RpcError {
    fn from(e: DevError) -> Self {
        tracing::error!(error = &e as &dyn std::error::Error, "development ledger: cannot read a block");
        error(INTERNAL, "the development ledger cannot read that block; see its log")
    }
}

impl From<Refusal> for RpcError {
    fn from(r: Refusal) -> Self {
        error(r.code(), r.to_string())
    }
}

/// A request's method and parameters, checked.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    BlockNumber,
    Block { number: u64, only_header: bool, only_hashes: bool },
    BlockByHash { hash: Digest, only_header: bool, only_hashes: bool },
    BlockHash { number: u64 },
    Transaction { hash: Digest, proof: bool },
    Receipt { hash: Digest, proof: bool },
    Send { transaction: Vec<u8>, proof: bool },
    GroupInfo { known: bool },
    SystemConfig { key: String },
    Sealers,
}

/// Answers one request's body. Total: every body gets a JSON-RPC answer.
pub(super) async fn answer(ledger: &Arc<DevLedger>, client: &Client, body: &[u8]) -> Vec<u8> {
    let (id, outcome) = match parse_request(body) {
        Err(e) => (Value::Null, Err(e)),
        Ok((id, method, params)) => {
            let outcome = match parse_call(&ledger.genesis().group, &method, &params) {
                Ok(call) => run(ledger, client, call).await,
                Err(e) => Err(e),
            };
            (id, outcome)
        }
    };
    let answer = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(e) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": e.code, "message": e.message}}),
    };
    answer.to_string().into_bytes()
}

fn parse_request(body: &[u8]) -> Result<(Value, String, Vec<Value>), RpcError> {
    let request: Value = serde_json::from_slice(body).map_err(|_| error(PARSE, "not JSON"))?;
    let Value::Object(mut request) = request else {
        return Err(error(REQUEST, "not a single JSON-RPC request object"));
    };
    if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(error(REQUEST, "`jsonrpc` is not \"2.0\""));
    }
    let id = match request.remove("id") {
        None | Some(Value::Null) => Value::Null,
        Some(Value::Number(n)) => Value::Number(n),
        Some(Value::String(s)) if s.len() <= 64 => Value::String(s),
        Some(_) => return Err(error(REQUEST, "`id` is neither a number nor a short text")),
    };
    let Some(Value::String(method)) = request.remove("method") else {
        return Err(error(REQUEST, "`method` is not a text"));
    };
    let Some(Value::Array(params)) = request.remove("params") else {
        return Err(error(REQUEST, "`params` is not an array"));
    };
    Ok((id, method, params))
}

fn parse_call(group: &str, method: &str, params: &[Value]) -> Result<Call, RpcError> {
    let p = Params(params);
    if method == "getGroupInfo" {
        return Ok(Call::GroupInfo { known: p.text(0)? == group });
    }
    let call = match method {
        "getBlockNumber" => Call::BlockNumber,
        "getSealerList" => Call::Sealers,
        "getBlockByNumber" => {
            Call::Block { number: p.number(2)?, only_header: p.flag(3)?, only_hashes: p.flag(4)? }
        }
        "getBlockByHash" => {
            Call::BlockByHash { hash: p.hash(2)?, only_header: p.flag(3)?, only_hashes: p.flag(4)? }
        }
        "getBlockHashByNumber" => Call::BlockHash { number: p.number(2)? },
        "getTransaction" => Call::Transaction { hash: p.hash(2)?, proof: p.flag(3)? },
        "getTransactionReceipt" => Call::Receipt { hash: p.hash(2)?, proof: p.flag(3)? },
        "sendTransaction" => Call::Send { transaction: p.bytes(2)?, proof: p.flag(3)? },
        "getSystemConfigByKey" => Call::SystemConfig { key: p.text(2)?.to_owned() },
        _ => return Err(error(METHOD, "the development ledger has no such method")),
    };
    // FISCO: a wrong group has no node
    if p.text(0)? != group || !matches!(p.text(1)?, "" | NAME) {
        return Err(error(
            NO_NODE,
            format!("no such group and node; this is {NAME}, its group is `{group}`"),
        ));
    }
    Ok(call)
}

struct Params<'a>(&'a [Value]);

impl<'a> Params<'a> {
    fn text(&self, at: usize) -> Result<&'a str, RpcError> {
        match self.0.get(at) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(s)) => Ok(s),
            Some(_) => Err(error(PARAMS, format!("parameter {at} is not a text"))),
        }
    }
    fn flag(&self, at: usize) -> Result<bool, RpcError> {
        match self.0.get(at) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(b)) => Ok(*b),
            Some(_) => Err(error(PARAMS, format!("parameter {at} is neither true nor false"))),
        }
    }
    fn number(&self, at: usize) -> Result<u64, RpcError> {
        match self.0.get(at).and_then(Value::as_i64) {
            Some(n) => u64::try_from(n).map_err(|_| error(ARGUMENT, "Wrong argument")),
            None => Err(error(PARAMS, format!("parameter {at} is not a block number"))),
        }
    }
    fn hash(&self, at: usize) -> Result<Digest, RpcError> {
        let text = self.text(at)?;
        let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        Digest::parse(&digits).map_err(|_| error(PARAMS, format!("parameter {at} is not a hash")))
    }
    fn bytes(&self, at: usize) -> Result<Vec<u8>, RpcError> {
        let text = self.text(at)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map_err(|_| error(PARAMS, format!("parameter {at} is not hexadecimal")))
    }
}

async fn run(ledger: &Arc<DevLedger>, client: &Client, call: Call) -> Result<Value, RpcError> {
    match call {
        Call::Send { transaction, proof } => send(ledger, client, transaction, proof).await,
        call => {
            let ledger = ledger.clone();
            blocking(move || look_up(&ledger, &call)).await
        }
    }
}

/// Files and signatures block: not on the threads that serve connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(error(INTERNAL, "the development ledger is stopping")),
    }
}

fn look_up(ledger: &DevLedger, call: &Call) -> Result<Value, RpcError> {
    match call {
        Call::BlockNumber => Ok(json!(ledger.claimed_head())),
        Call::Block { number, only_header, only_hashes } => {
            let block = block_at(ledger, *number)?;
            Ok(shape(&block, *only_header, *only_hashes))
        }
        Call::BlockByHash { hash, only_header, only_hashes } => {
            let number = ledger.number_of(&format!("0x{hash}"));
            let block = block_at(ledger, number.ok_or_else(|| error(NOT_FOUND, "no such block"))?)?;
            Ok(shape(&block, *only_header, *only_hashes))
        }
        Call::BlockHash { number } => Ok(json!(block_at(ledger, *number)?.header.hash)),
        Call::Transaction { hash, proof } => {
            let (block, at) = block_of(ledger, hash)?;
            shapes::transaction(&block, at, *proof).ok_or_else(|| error(NOT_FOUND, "no such transaction"))
        }
        Call::Receipt { hash, proof } => {
            let (block, at) = block_of(ledger, hash)?;
            shapes::receipt(&block, at, *proof).ok_or_else(|| error(NOT_FOUND, "no such receipt"))
        }
        Call::GroupInfo { known: true } => Ok(shapes::group_info(ledger)),
        Call::GroupInfo { known: false } => Ok(Value::Null),
        Call::SystemConfig { key } => {
            shapes::system_config(ledger, key).ok_or_else(|| error(ARGUMENT, "no such setting"))
        }
        Call::Sealers => Ok(shapes::sealers(ledger)),
        Call::Send { .. } => Err(error(INTERNAL, "not a look-up")),
    }
}

fn shape(block: &Block, only_header: bool, only_hashes: bool) -> Value {
    if only_header { shapes::header(&block.header) } else { shapes::block(block, only_hashes) }
}

fn block_at(ledger: &DevLedger, number: u64) -> Result<Block, RpcError> {
    ledger.block(Height(number))?.ok_or_else(|| error(NO_BLOCK, format!("no block {number} yet")))
}

fn block_of(ledger: &DevLedger, hash: &Digest) -> Result<(Block, usize), RpcError> {
    let (number, at) = ledger.place_of(hash).ok_or_else(|| error(NOT_FOUND, "no such transaction"))?;
    Ok((block_at(ledger, number)?, at))
}

/// Takes the transaction and answers with its receipt once its block is synced, like FISCO.
async fn send(
    ledger: &Arc<DevLedger>,
    client: &Client,
    transaction: Vec<u8>,
    proof: bool,
) -> Result<Value, RpcError> {
    let deadline = tokio::time::Instant::now() + ledger.config().submit_wait;
    let mut head = ledger.watch_head();
    let (taker, who) = (ledger.clone(), client.clone());
    let hash = blocking(move || Ok(taker.submit(&who, &transaction)?)).await?;
    loop {
        head.mark_unchanged();
        match ledger.fate_of(&hash) {
            Fate::InBlock => {
                let ledger = ledger.clone();
                return blocking(move || {
                    let (block, at) = block_of(&ledger, &hash)?;
                    shapes::submitted(&block, at, proof)
                        .ok_or_else(|| error(INTERNAL, "its receipt is not served"))
                })
                .await;
            }
            Fate::Gone => return Err(error(LIMIT_PASSED, "dropped: its blockLimit has passed")),
            Fate::Waiting => {}
        }
        match tokio::time::timeout_at(deadline, head.changed()).await {
            Ok(Ok(())) => {}
            _ => return Err(error(POOL_TIMEOUT, "no block was made in time; it still waits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, params: Value) -> Result<Call, i64> {
        let Value::Array(params) = params else { panic!("an array") };
        parse_call("group0", method, &params).map_err(|e| e.code)
    }

    #[test]
    fn parameters_as_fisco_takes_them() {
        assert_eq!(call("getBlockNumber", json!(["group0", ""])), Ok(Call::BlockNumber));
        assert_eq!(call("getBlockNumber", json!(["group0"])), Ok(Call::BlockNumber));
        assert_eq!(call("getBlockNumber", json!(["group0", NAME])), Ok(Call::BlockNumber));
        let block = Call::Block { number: 4, only_header: false, only_hashes: true };
        assert_eq!(call("getBlockByNumber", json!(["group0", "", 4, false, true])), Ok(block));
        let header = Call::Block { number: 4, only_header: true, only_hashes: false };
        assert_eq!(call("getBlockByNumber", json!(["group0", "", 4, true])), Ok(header));
        let upper = format!("0x{}", "AB".repeat(32));
        let hash = gw_proto::Hex([0xab; 32]);
        assert_eq!(
            call("getTransactionReceipt", json!(["group0", "", upper, true])),
            Ok(Call::Receipt { hash, proof: true })
        );
        assert_eq!(call("getGroupInfo", json!(["other"])), Ok(Call::GroupInfo { known: false }));
    }

    #[test]
    fn wrong_parameters_have_fiscos_codes() {
        for (method, params, code) in [
            ("getBlockNumber", json!(["group1", ""]), NO_NODE),
            ("getBlockNumber", json!([]), NO_NODE),
            ("getBlockNumber", json!(["group0", "node0"]), NO_NODE),
            ("getBlockNumber", json!([7]), PARAMS),
            ("getBlockByNumber", json!(["group0", "", "4"]), PARAMS),
            ("getBlockByNumber", json!(["group0", "", -1]), ARGUMENT),
            ("getBlockByNumber", json!(["group0", "", 1, 1]), PARAMS),
            ("getTransaction", json!(["group0", "", "0x12"]), PARAMS),
            ("sendTransaction", json!(["group0", "", "xyz"]), PARAMS),
            ("eth_blockNumber", json!(["group0", ""]), METHOD),
        ] {
            assert_eq!(call(method, params.clone()), Err(code), "{method} {params}");
        }
    }

    #[test]
    fn requests_that_are_none() {
        for (body, code) in [
            ("", PARSE),
            ("{", PARSE),
            (&"[".repeat(1000), PARSE),
            ("[]", REQUEST),
            ("7", REQUEST),
            (r#"{"jsonrpc":"1.0","method":"m","params":[]}"#, REQUEST),
            (r#"{"jsonrpc":"2.0","method":7,"params":[]}"#, REQUEST),
            (r#"{"jsonrpc":"2.0","method":"m","params":{}}"#, REQUEST),
            (r#"{"jsonrpc":"2.0","method":"m"}"#, REQUEST),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m","params":[]}"#, REQUEST),
        ] {
            assert_eq!(parse_request(body.as_bytes()).unwrap_err().code, code, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), method in "[a-zA-Z]{0,24}") {
            let _ = parse_request(&bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = parse_call("group0", &method, &[json!("group0"), json!(""), json!(text)]);
        }
    }
}
