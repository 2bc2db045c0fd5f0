//! An SDF library of ours, for tests: keys in memory, both layouts, faults on demand.
//!
//! Written to GM/T 0018 from its description, so that the other side is not tested against itself alone; no
//! substitute for a device. **Never part of an image**: only tests depend on it. Neither SoftSDF nor a real
//! device has been tried.
//!
//! A test copies the library into a folder of its own and writes [`settings::FILE`] beside it; each call reads
//! that file anew, so that a test changes the device while it is in use.
//!
//! | module | what |
//! |---|---|
//! | [`settings`] | the file beside the library: keys, layout, faults |
//! | [`device`] | handles, access rights, signing: no pointers |
//! | [`abi`] | the C functions |
#![deny(unsafe_op_in_unsafe_fn)]

pub mod abi;
pub mod device;
pub mod settings;
