//! The file as it is written: every key optional, nothing decided.
//!
//! Adding a key? Five places: here, `defaults.toml` (or a "missing" check), `mod.rs` (validated form),
//! `check.rs`, and `xinguan.example.toml`.

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) node: Option<RawNode>,
    pub(super) board: Option<RawBoard>,
    pub(super) keystore: Option<RawKeystore>,
    pub(super) trust: Option<RawTrust>,
    pub(super) identity: Option<RawIdentity>,
    pub(super) listen: Option<RawListen>,
    pub(super) operators: Option<Vec<RawOperator>>,
    pub(super) ledger: Option<RawLedger>,
    pub(super) limits: Option<RawLimits>,
    pub(super) query: Option<RawQuery>,
    pub(super) source: Option<RawSource>,
    pub(super) supervisor: Option<RawSupervisor>,
    pub(super) attestation: Option<RawAttestation>,
    pub(super) telemetry: Option<RawTelemetry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNode {
    pub(super) id: Option<String>,
    pub(super) institution: Option<String>,
    pub(super) region: Option<String>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) data_dir: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBoard {
    pub(super) name: Option<String>,
    pub(super) file: Option<String>,
    pub(super) clear_storage_key: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeystore {
    pub(super) kind: Option<String>,
    pub(super) path: Option<String>,
    pub(super) passphrase_file: Option<String>,
    pub(super) node_key: Option<String>,
    pub(super) account_key: Option<String>,
    pub(super) attestation_key: Option<String>,
    pub(super) tpm2: Option<RawTpm2>,
    pub(super) pkcs11: Option<RawPkcs11>,
    pub(super) sdf: Option<RawSdf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTpm2 {
    pub(super) device: Option<String>,
    pub(super) pin: Option<String>,
    pub(super) owner_auth_file: Option<String>,
    pub(super) key_auth_file: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPkcs11 {
    pub(super) module: Option<String>,
    pub(super) token_label: Option<String>,
    pub(super) token_serial: Option<String>,
    pub(super) pin_file: Option<String>,
    pub(super) login_after_wrong_pin: Option<bool>,
    pub(super) sm2_sign: Option<u64>,
    pub(super) sm2_generate: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSdf {
    pub(super) library: Option<String>,
    pub(super) layout: Option<String>,
    pub(super) keys: Option<Vec<RawSdfKey>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSdfKey {
    pub(super) name: Option<String>,
    pub(super) index: Option<u64>,
    pub(super) purpose: Option<String>,
    pub(super) password_file: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    pub(super) genesis: Option<String>,
    pub(super) man_roots: Option<String>,
    pub(super) man_crl: Option<Vec<String>>,
    pub(super) bank_roots: Option<String>,
    pub(super) bank_crl: Option<Vec<String>>,
    pub(super) admin_roots: Option<String>,
    pub(super) admin_crl: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) node_ca_chain: Option<String>,
    pub(super) tls_lifetime_hours: Option<u64>,
    pub(super) extra_names: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) bank: Option<RawListener>,
    pub(super) man: Option<RawListener>,
    pub(super) admin: Option<RawListener>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) address: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) limits: Option<RawListenLimits>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListenLimits {
    pub(super) max_connections: Option<u64>,
    pub(super) per_address: Option<u64>,
    pub(super) max_handshakes: Option<u64>,
    pub(super) new_per_second_per_address: Option<u64>,
    pub(super) new_burst_per_address: Option<u64>,
    pub(super) handshake_timeout_ms: Option<u64>,
    pub(super) header_timeout_ms: Option<u64>,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) body_chunk_timeout_ms: Option<u64>,
    pub(super) body_timeout_ms: Option<u64>,
    pub(super) exchange_timeout_ms: Option<u64>,
    pub(super) body_bytes: Option<u64>,
    pub(super) header_bytes: Option<u64>,
    pub(super) max_headers: Option<u64>,
    pub(super) max_streams: Option<u64>,
    pub(super) drain_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperator {
    pub(super) name: Option<String>,
    pub(super) spki: Option<String>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) person: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub(super) endpoints: Option<Vec<RawEndpoint>>,
    pub(super) single_endpoint_ok: Option<bool>,
    pub(super) poll_ms: Option<u64>,
    pub(super) profile: Option<String>,
    pub(super) roots: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub(super) url: Option<String>,
    pub(super) owner: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuota {
    pub(super) per_minute: Option<u64>,
    pub(super) burst: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) institution: Option<RawQuota>,
    pub(super) operator: Option<RawQuota>,
    pub(super) subject: Option<RawQuota>,
    pub(super) authorization: Option<RawQuota>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuery {
    pub(super) budget_ms: Option<u64>,
    pub(super) source_wait_height_ms: Option<u64>,
    pub(super) idempotency_window_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) mapping: Option<String>,
    pub(super) database: Option<String>,
    pub(super) max_parallel: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSupervisor {
    pub(super) database: Option<String>,
    pub(super) postgresql: Option<RawPostgres>,
    pub(super) attestation: Option<RawVerifier>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPostgres {
    pub(super) host: Option<String>,
    pub(super) port: Option<u64>,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) roots: Option<String>,
    pub(super) connections: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVerifier {
    pub(super) manifests: Option<String>,
    pub(super) makers: Option<String>,
    pub(super) manufacturers: Option<String>,
    pub(super) pcrs: Option<Vec<u64>>,
    pub(super) floor: Option<u64>,
    pub(super) silence_s: Option<u64>,
    pub(super) uncertified_node_key: Option<bool>,
    pub(super) proposals_expire_s: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttestation {
    pub(super) interval_s: Option<u64>,
    pub(super) event_log: Option<String>,
    pub(super) peers: Option<String>,
    pub(super) lapsed: Option<String>,
    pub(super) unjudged: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTelemetry {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) targets: Option<std::collections::BTreeMap<String, String>>,
}
