//! gw-ledger
