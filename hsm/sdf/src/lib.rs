//! SDF (GM/T 0018) devices as a keystore.
//!
//! # What an operator does
//!
//! 1. Install the vendor's library and set the device up with the vendor's tool.
//! 2. Make the SM2 signing key pairs there, at indices of the device, each with a password. SDF has no call
//!    that makes a key with a name or at an index, so [`KeyStore::create_key`](hsm_api::KeyStore::create_key)
//!    refuses and says what to make where.
//! 3. Put each password into a file of one line that only the gateway's user can read (mode 600).
//! 4. Say in the configuration which key is at which index and what it is for ([`SdfOptions`], [`SdfKey`]). The
//!    device knows neither name nor purpose: the configuration binds them, so it must be sealed with the box.
//!
//! # What is checked
//!
//! When it is opened: two draws of random bytes differ; the device verifies a signature of the standard and
//! refuses it on another digest, where it has the call for that. When a key is loaded: it signs once, and that
//! verifies with its public half by our own code. When a session first uses a key, also after a loss: its
//! public half is still the same.
//!
//! # A password that is wrong
//!
//! It is tried once; devices lock after a few. From then on that key is refused until the keystore is opened
//! anew. GM/T 0018 lets nobody ask how many tries are left, so a restart tries once more: correct the file
//! before restarting.
//!
//! # What was tried
//!
//! `hsm-sdf-testlib` only, a library of ours written to the standard. **Neither SoftSDF nor a real device was at
//! hand.**
//!
//! | module | what |
//! |---|---|
//! | [`options`] | which library, layout, keys |
//! | `device` | opens the device and sessions, access rights |
//! | [`store`] | [`SdfKeyStore`]: load, list, sign, draw |
//! | [`error`] | what can fail, where, and what to do |

mod device;
pub mod error;
pub mod options;
pub mod store;

pub use error::SdfError;
pub use hsm_sdf_ffi::Layout;
pub use options::{SdfKey, SdfOptions};
pub use store::SdfKeyStore;
