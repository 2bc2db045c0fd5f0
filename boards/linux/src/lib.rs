//! Boards under Linux, each described by a TOML.
