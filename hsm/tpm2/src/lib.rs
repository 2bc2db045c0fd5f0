//! TPM 2.0 as a keystore: commands, sessions, transports.
