//! gw-proof
