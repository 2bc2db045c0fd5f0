//! gw-store
