//! hsm-soft
