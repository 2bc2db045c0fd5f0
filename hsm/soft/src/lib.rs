//! Development software keystore: private keys in one encrypted file. Never in a release build.
//!
//! Whoever reads the file and its passphrase has the keys; so has whoever reads the process's memory. What
//! is signed with them is marked as development by [`hsm_api::StoreInfo`].
//!
//! | module | what |
//! |---|---|
//! | [`store`] | [`SoftKeyStore`]: make, load, list, sign |
//! | `file` | the encrypted file: Argon2id, XChaCha20-Poly1305, replaced atomically |
//! | [`passphrase`] | [`Passphrase`], from a file named in the configuration |
//! | [`error`] | what can fail, where, and what to do |

pub mod error;
mod file;
pub mod passphrase;
pub mod store;

pub use error::SoftError;
pub use file::KdfCost;
pub use passphrase::Passphrase;
pub use store::{NAME, SoftKeyStore, SoftOptions};
