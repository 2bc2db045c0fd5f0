//! The TLS key of this start: made in memory, certified by the node key.
