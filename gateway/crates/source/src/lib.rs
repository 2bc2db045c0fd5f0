//! gw-source
