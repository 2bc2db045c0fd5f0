//! gw-broker
