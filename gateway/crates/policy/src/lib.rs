//! gw-policy
