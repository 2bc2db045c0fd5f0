//! gw-journal
