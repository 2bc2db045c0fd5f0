//! A TPM's TIS registers in front of any command processor, with faults.
