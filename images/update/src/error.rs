//! What can go wrong with an update, where, and what to do.

use crate::slot::SlotName;
use gw_store::StoreError;
use std::path::PathBuf;

/// Why an update was refused or stopped. Nothing here leaves the running system without its boot entry.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The bundle's folder, or a file in it, cannot be read.
    #[error("cannot read `{path}` of the bundle; check that the medium is inserted and the copy complete")]
    Unreadable {
        /// which
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// A file that no part of the metadata names, a link, a device, a folder within.
    #[error("`{name}` does not belong into a bundle; copy the bundle again, without other files")]
    UnknownFile {
        /// which, relative to the bundle
        name: String,
    },
    /// More metadata than any release has.
    #[error("{what} of {found} bytes or more, at most {max} are taken; this is no bundle of ours")]
    MetadataTooBig {
        /// which file, or all together
        what: String,
        /// bytes or files found
        found: u64,
        /// bytes or files allowed
        max: u64,
    },
    /// The root of trust in the image asks for less than two of three keys.
    #[error("the trusted root asks for {threshold} of {keys} keys for {role}; at least 2 of 3 are required")]
    WeakRoot {
        /// root or targets
        role: String,
        /// signatures it asks for
        threshold: u64,
        /// keys it lists
        keys: usize,
    },
    /// Too few good signatures on one role's metadata.
    #[error(
        "the bundle's {role} has {valid} valid signatures, {needed} are needed; ask the supplier for a complete bundle"
    )]
    Signatures {
        /// root, timestamp, snapshot, targets
        role: String,
        /// signatures that verify
        valid: u64,
        /// signatures asked for
        needed: u64,
    },
    /// Any other flaw of the metadata: malformed, missing, inconsistent.
    #[error("the bundle's metadata is not consistent; copy the bundle again or ask the supplier")]
    Metadata {
        /// what the verifier says
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Metadata past its date.
    #[error(
        "the bundle's {role} expired at {expired}, now is {now}; get a fresh bundle, or correct the clock"
    )]
    Expired {
        /// which role
        role: &'static str,
        /// its date, RFC 3339
        expired: String,
        /// the caller's time, RFC 3339
        now: String,
    },
    /// Older metadata than this box has seen.
    #[error("the bundle's {role} is version {found}, this box has seen {seen}; get the newest bundle")]
    RolledBack {
        /// which role
        role: &'static str,
        /// version in the bundle
        found: u64,
        /// version seen before
        seen: u64,
    },
    /// An SM2 key is pinned and the bundle has no countersignature.
    #[error("the bundle lacks the SM2 countersignature `{name}` that the configuration demands")]
    CountersignatureMissing {
        /// file looked for
        name: String,
    },
    /// The countersignature is not of the pinned key over these targets.
    #[error("the SM2 countersignature `{name}` is not of the pinned key over this bundle")]
    CountersignatureWrong {
        /// file
        name: String,
    },
    /// A target that is no part of a release, or whose name leads elsewhere.
    #[error(
        "the bundle names a target `{name}`; a release has root.img, verity.img, uki.efi and release.json"
    )]
    TargetName {
        /// as it stands in the metadata
        name: String,
    },
    /// The metadata names fewer targets than a release has.
    #[error("the bundle names no `{name}`")]
    TargetMissing {
        /// which
        name: &'static str,
    },
    /// A target file is absent, shorter or longer than signed, or has other bytes.
    #[error("`{name}` is not what was signed: {why}; copy the bundle again")]
    TargetDamaged {
        /// which
        name: &'static str,
        /// length or digest
        why: String,
    },
    /// The signed release manifest cannot be understood.
    #[error("release.json cannot be understood ({why}); this box may be too old for it")]
    Manifest {
        /// what is wrong
        why: String,
    },
    /// For another kind of machine.
    #[error("the bundle is for {found}, this box is {ours}; get the one for {ours}")]
    Architecture {
        /// in the bundle
        found: String,
        /// of this box
        ours: String,
    },
    /// Released to an earlier ring only.
    #[error(
        "the bundle is released to rings up to {found}, this box is in ring {ours}; wait for the next ring"
    )]
    Ring {
        /// last ring of the release
        found: u8,
        /// ring of this box
        ours: u8,
    },
    /// Its anti-rollback number is below the floor.
    #[error(
        "anti-rollback number {number} is below this box's floor {floor}: such a system could not open its data"
    )]
    BelowFloor {
        /// of the release
        number: u64,
        /// of this box
        floor: u64,
    },
    /// Not newer than what runs: the boot loader would not choose it.
    #[error("version {found} is not newer than {running}, which runs; to go back, use rollback")]
    NotNewer {
        /// of the bundle
        found: String,
        /// that runs
        running: String,
    },
    /// This box has tried it and given it up, or was told to leave it.
    #[error(
        "version {found} was tried on this box and given up; get a newer one, or ask for another trial with a file `RETRY` beside the bundle"
    )]
    GivenUp {
        /// of the bundle
        found: String,
    },
    /// A target does not fit where it must go.
    #[error("`{name}` has {found} bytes, its place has {max}")]
    TooLarge {
        /// which
        name: &'static str,
        /// its bytes
        found: u64,
        /// bytes of the place
        max: u64,
    },
    /// The running slot has no boot entry: nothing is changed before that is repaired.
    #[error(
        "the running slot {slot} has no boot entry; nothing was changed, since there would be no way back"
    )]
    NoWayBack {
        /// that runs
        slot: SlotName,
    },
    /// What was read back is not what was written.
    #[error(
        "`{name}` reads back otherwise than written; the disk is failing: replace it. The running system is untouched"
    )]
    ReadBack {
        /// which
        name: &'static str,
    },
    /// The slot to go to is not good.
    #[error("slot {slot} is not fit to go back to: {why}")]
    NotGood {
        /// which
        slot: SlotName,
        /// why
        why: String,
    },
    /// Too early to confirm or to update again: the boot loader still counts this system's tries, or has given it up.
    #[error(
        "the running system is not yet accepted by the boot loader ({why}); wait until boot-complete.target is reached, or reboot"
    )]
    NotAccepted {
        /// what was found
        why: String,
    },
    /// One of our own records cannot be read.
    #[error("the record `{name}` is damaged ({why}); remove it: it is written anew by the next update")]
    Record {
        /// which
        name: String,
        /// what is wrong
        why: String,
    },
    /// A boot entry or a record cannot be read, written, renamed or removed.
    #[error("{operation} failed on `{path}`; check space and health of that file system")]
    Folder {
        /// list, read, write, sync, rename, remove
        operation: &'static str,
        /// where
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// A partition cannot be read or written.
    #[error("the partition of `{name}` failed; the running system is untouched")]
    Partition {
        /// whose place it is
        name: &'static str,
        /// what failed
        source: StoreError,
    },
    /// The signing key failed, or is of the wrong kind. Only where bundles are made.
    #[error("cannot sign {what}: {why}")]
    Signing {
        /// which role
        what: String,
        /// what failed
        why: String,
    },
    /// The settings, or a file that they name, cannot be used.
    #[error("`{path}`: {why}; this file comes with the image and is not to be changed")]
    Settings {
        /// which file
        path: PathBuf,
        /// what is wrong
        why: String,
    },
    /// The TPM's counter.
    #[error(transparent)]
    Floor(#[from] image_floor::FloorError),
    /// Another update runs.
    #[error("another update has `{path}` locked; wait for it")]
    Busy {
        /// lock
        path: PathBuf,
    },
}

impl From<tough::error::Error> for UpdateError {
    fn from(e: tough::error::Error) -> Self {
        use tough::{error::Error as E, schema::Error as S};
        match &e {
            E::VerifyMetadata { role, source: S::SignatureThreshold { threshold, valid, .. }, .. } => {
                Self::Signatures { role: role.to_string(), valid: *valid, needed: *threshold }
            }
            _ => Self::Metadata { source: Box::new(e) },
        }
    }
}
