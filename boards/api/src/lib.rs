//! What a board gives the gateway.
