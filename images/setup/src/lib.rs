//! What people do with a box that has no shell: first start, provisioning, a new network, reset.
//!
//! | module | what |
//! |---|---|
//! | [`places`] | where things lie on the box |
//! | [`folder`] | the few calls beneath a folder of configuration; tests cut its power |
//! | [`files`] | a set of configuration files, bounded and plainly named |
//! | [`commit`] | puts such a set in place: all of it or nothing, wherever the power goes |
//! | [`trial`] | a network on trial: confirmed in time, or the old one comes back |
//! | [`judge`] | what `xinguan check-config` says of a set |
//! | [`code`] | the enrolment code: a key's digest that people can type |
//! | [`bundle`] | the signed provisioning file |
//! | [`provision`] | takes such a file, or says why not |
//! | [`links`] | network cards that are there |
//! | [`answers`] | what people type, checked; what is written for it |
//! | [`console`] | lines on every console, without a shell behind them |
//! | [`wizard`] | the questions of the first start |
//! | [`reset`] | everything that the box knows is destroyed |
//! | [`backup`] | the configuration, sealed to two people |
//! | [`scrub`], [`support`] | what a stranger needs to help, without secrets |

pub mod answers;
pub mod backup;
pub mod bundle;
pub mod code;
pub mod commit;
pub mod console;
pub mod error;
pub mod files;
pub mod folder;
pub mod judge;
pub mod links;
pub mod places;
pub mod provision;
pub mod reset;
pub mod scrub;
pub mod support;
pub mod trial;
pub mod wizard;

pub use error::SetupError;
