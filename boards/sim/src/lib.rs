//! A simulated board.
