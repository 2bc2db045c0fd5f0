//! hsm-conformance
