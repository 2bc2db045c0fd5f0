//! TPM 2.0 as a keystore: keys, attestation, sealing, randomness over any way to a chip.
//!
//! ```no_run
//! use hsm_tpm2::{Options, Tpm2KeyStore, transport::swtpm::{Address, Swtpm}};
//! use std::sync::Arc;
//! # fn main() -> Result<(), hsm_tpm2::TpmError> {
//! let chip = Swtpm { server: Address::Unix("/run/swtpm/socket".into()), control: None };
//! let mut options = Options::new(Arc::new(chip), "/var/lib/xinguan/tpm-keys.json");
//! let pin = Tpm2KeyStore::init(options.clone())?.pin(); // once, at the ceremony
//! options.pinned = pin; // kept in the sealed configuration
//! let store = Tpm2KeyStore::open(options)?;
//! # drop(store); Ok(()) }
//! ```
//!
//! | module | what |
//! |---|---|
//! | `store` | [`Tpm2KeyStore`]: make, load, list, sign; close and erase |
//! | `attestor`, `sealer`, `entropy` | the other traits of `hsm-api` |
//! | `index` | names, purposes and blobs in one file that nobody needs to trust |
//! | `device` | one lock, bounded queue, reconnecting, keys in the chip's few slots |
//! | `chip` | runs commands: repeats, sessions, errors |
//! | `session`, `crypt` | salted HMAC sessions with encrypted parameters |
//! | [`commands`] | the commands of TPM 2.0 part 3, one function each |
//! | [`template`] | the kinds of keys |
//! | `wire`, `rc` | bytes, response codes |
//! | [`transport`] | swtpm's socket, `/dev/tpmrm0`, the TIS driver |

mod attestor;
mod chip;
mod command;
pub mod commands;
mod crypt;
mod device;
mod entropy;
mod error;
mod index;
mod rc;
mod sealer;
mod secret;
mod session;
mod store;
pub mod template;
pub mod transport;
mod wire;

pub use chip::{Auth, Chip, PolicySession};
pub use command::Entity;
pub use error::TpmError;
pub use index::MAX_KEYS;
pub use secret::Secret;
pub use store::{Options, Tpm2KeyStore};
pub use wire::MAX_BYTES;
