//! An SDF library of ours, for tests.
