//! Signed bundles, two slots, and the way back: the engine of `xinguan-update`.
//!
//! | module | what |
//! |---|---|
//! | [`bundle`] | from a folder of files to a verified [`Bundle`]: TUF, SM2 countersignature, bounds |
//! | [`manifest`] | what a release says of itself |
//! | [`slot`] | slots, versions, boot entries and their counters |
//! | [`updater`] | [`Updater`]: status, check, apply, rollback, confirm |
//! | [`record`] | what a box keeps: versions seen, what is in a slot, the anti-rollback floor |
//! | [`folder`], [`partition`] | the few calls on files and block devices beneath |
//! | [`settings`] | where a box keeps all that |
//! | [`make`] | making bundles, for the build and for tests |
//! | [`error`] | what can go wrong, where, and what to do |
//!
//! The promise: whenever the power goes, the system that runs now can be booted and is complete, and the same
//! update can be applied again. `tests/power.rs` cuts it at every write and every sync.

pub mod bundle;
pub mod error;
pub mod folder;
pub mod make;
pub mod manifest;
pub mod partition;
pub mod record;
pub mod settings;
pub mod slot;
pub mod updater;

pub use bundle::{Bundle, BundleFiles, Seen, Trust};
pub use error::UpdateError;
pub use folder::{DirFolder, Folder};
pub use manifest::{Architecture, Manifest};
pub use partition::Partition;
pub use record::{ChipFloor, FileFloor, Floor};
pub use settings::Settings;
pub use slot::{Entry, SlotName, Tries, Version};
pub use updater::{Slot, SlotStatus, Status, Updater};
