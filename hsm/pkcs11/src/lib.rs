//! PKCS#11 modules as a keystore.
//!
//! # What an operator does
//!
//! 1. Initialize a token and its user PIN with the vendor's tool; the gateway never does that.
//! 2. Put the PIN into a file of one line that only the gateway's user can read (mode 600).
//! 3. Say in the configuration which module, which token, which PIN file ([`Pkcs11Options`]).
//!
//! # What a key looks like on the token
//!
//! A key pair has CKA_LABEL = its name. CKA_ID begins with `xg`, then version, purpose, scheme, and a digest
//! over these and the name ([`keys`]): a renamed key, or one with another purpose written in, is refused.
//! Both halves are made with CKA_MODIFIABLE = CKA_COPYABLE = false where the token takes that, so that the
//! token keeps them as they are. The private half is sensitive and not extractable; one that is not is
//! refused when loaded.
//!
//! # A PIN that is wrong
//!
//! It is tried once. Then the keystore stays closed until it is opened anew, and a token on which a wrong PIN
//! was given (CKF_USER_PIN_COUNT_LOW) is not tried at all unless [`Pkcs11Options::login_after_wrong_pin`] says
//! so; one with a single try left (CKF_USER_PIN_FINAL_TRY) never. A restart loop so cannot lock a token.
//!
//! # SM2
//!
//! No mechanism for SM2 is in the standard. Vendors define their own: the numbers are configuration
//! ([`Sm2Mechanisms`]). No token with SM2 was at hand: that part was tried on SoftHSM2 as far as that goes (a
//! token without the mechanism, a key that is on another curve), never with a signature.
//!
//! # A token that is lost
//!
//! The call that notices gives an error that names the token; the next one logs in again. Some modules
//! remember a token that is gone, or see one that is back only when started anew: where nothing else in the
//! process uses the module, it is.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | which module, token, PIN file, mechanisms |
//! | `library` | loads a module once per process |
//! | `token` | finds the token, logs in, opens sessions |
//! | [`keys`] | what a key looks like on the token |
//! | [`store`] | [`Pkcs11KeyStore`]: make, load, list, sign, draw |
//! | [`error`] | what can fail, where, and what to do |

pub mod error;
pub mod keys;
mod library;
pub mod options;
pub mod store;
mod token;

pub use error::{PinTrouble, Pkcs11Error};
pub use options::{Pkcs11Options, Sm2Mechanisms, TokenName};
pub use store::Pkcs11KeyStore;
