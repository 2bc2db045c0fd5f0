//! One suite for every `Disk`; what a file adds; and that the simulated one really loses things.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests may fail the test"
)]

use gw_store::disk::SimPlan;
use gw_store::{Disk, FileDisk, MemDisk, SimDisk, StoreError};

fn each(check: fn(&dyn Disk)) {
    check(&MemDisk::new());
    check(&SimDisk::new(1, SimPlan::default()));
    let folder = tempfile::tempdir().unwrap();
    check(&FileDisk::open(&folder.path().join("disk")).unwrap());
}

fn all(d: &dyn Disk) -> Vec<u8> {
    let mut out = vec![0; d.len().unwrap() as usize];
    d.read_at(0, &mut out).unwrap();
    out
}

#[test]
fn writes_are_read_and_grow_it() {
    each(|d| {
        assert!(d.is_empty().unwrap());
        d.write_at(0, b"hello").unwrap();
        d.write_at(3, b"p!").unwrap();
        assert_eq!(all(d), b"help!");
        d.write_at(7, b"x").unwrap();
        assert_eq!(all(d), b"help!\0\0x");
        d.write_at(99, b"").unwrap();
        assert_eq!(d.len().unwrap(), 8, "writing nothing does not grow it");
        let mut two = [0; 2];
        d.read_at(1, &mut two).unwrap();
        assert_eq!(&two, b"el");
        d.read_at(8, &mut []).unwrap();
        d.sync().unwrap();
    });
}

#[test]
fn resizing_cuts_and_extends_with_zeros() {
    each(|d| {
        d.write_at(0, b"abcdef").unwrap();
        d.resize(2).unwrap();
        d.resize(4).unwrap();
        assert_eq!(all(d), b"ab\0\0", "what was cut does not come back");
        d.resize(0).unwrap();
        assert!(d.is_empty().unwrap());
    });
}

#[test]
fn reading_past_the_end_and_absurd_positions_are_errors() {
    each(|d| {
        d.write_at(0, b"abc").unwrap();
        let mut two = [0; 2];
        for at in [2, 3, 1 << 30, u64::MAX - 1, u64::MAX] {
            let e = d.read_at(at, &mut two).unwrap_err();
            assert!(
                matches!(e, StoreError::OutOfRange { end: 3, .. } | StoreError::Io { .. }),
                "{at}: {e:?}"
            );
        }
        for at in [1 << 41, u64::MAX] {
            assert!(matches!(d.write_at(at, b"x"), Err(StoreError::TooLarge { .. })), "{at}");
            assert!(matches!(d.resize(at), Err(StoreError::TooLarge { .. })), "{at}");
        }
        assert_eq!(all(d), b"abc");
    });
}

mod file {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn two_cannot_open_it_and_what_is_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let first = FileDisk::open(&path).unwrap();
        first.write_at(0, b"kept").unwrap();
        first.sync().unwrap();
        let e = FileDisk::open(&path).err().unwrap();
        assert!(matches!(e, StoreError::InUse { .. }), "{e:?}");
        assert!(e.to_string().contains("journal"));
        drop(first);
        assert_eq!(all(&FileDisk::open(&path).unwrap()), b"kept");
    }

    #[test]
    fn only_its_user_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(FileDisk::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        drop(FileDisk::open(&path).unwrap());
        assert_eq!(mode(), 0o600, "a file made readable by others is closed again");
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_its_place_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("no/such/file"), folder.path().to_owned()] {
            let e = FileDisk::open(&path).err().unwrap();
            assert!(matches!(e, StoreError::Open { .. }), "{e:?}");
            assert!(e.to_string().contains("check that its folder exists"));
        }
    }
}

mod simulated {
    use super::*;

    const FINE: SimPlan =
        SimPlan { freeze_at_sync: None, freeze_at_write: None, fail_write: None, fail_sync: None };

    #[test]
    fn what_was_synced_survives_whatever_the_seed() {
        for seed in 0..200 {
            let d = SimDisk::new(seed, FINE);
            d.write_at(0, b"synced").unwrap();
            d.sync().unwrap();
            d.write_at(6, b"not synced").unwrap();
            let after = d.after_power_loss(FINE);
            assert_eq!(&all(&after)[..6], b"synced");
        }
    }

    /// Over the seeds every fate is seen: whole, lost, torn, and a later write kept while an earlier is lost.
    #[test]
    fn what_was_not_synced_may_be_kept_lost_torn_or_reordered() {
        let (mut kept, mut lost, mut torn, mut reordered) = (0, 0, 0, 0);
        for seed in 0..400 {
            let d = SimDisk::new(seed, SimPlan { freeze_at_sync: Some(1), ..FINE });
            d.write_at(0, &[1; 2000]).unwrap();
            d.write_at(2000, &[2; 2000]).unwrap();
            d.sync().unwrap_err();
            assert!(d.is_frozen());
            assert!(d.read_at(0, &mut [0]).is_err() && d.write_at(0, b"x").is_err() && d.sync().is_err());
            let content = all(&d.after_power_loss(FINE));
            let ones = content.iter().filter(|b| **b == 1).count();
            let twos = content.iter().filter(|b| **b == 2).count();
            kept += u32::from(ones == 2000 && twos == 2000);
            lost += u32::from(ones == 0 && twos == 0);
            torn += u32::from((1..2000).contains(&ones));
            reordered += u32::from(ones == 0 && twos == 2000);
        }
        assert!(kept > 0 && lost > 0 && torn > 0 && reordered > 0, "{kept} {lost} {torn} {reordered}");
    }

    #[test]
    fn a_restart_keeps_what_was_seen_but_does_not_make_it_durable() {
        let mut gone = 0;
        for seed in 0..50 {
            let d = SimDisk::new(seed, FINE);
            d.write_at(0, b"abc").unwrap();
            let restarted = d.after_restart(FINE);
            assert_eq!(all(&restarted), b"abc");
            assert!(d.len().is_err(), "the old handle is dead");
            gone += u32::from(all(&restarted.after_power_loss(FINE)) != b"abc");
        }
        assert!(gone > 0);
    }

    /// As on Linux: the pages of a failed fsync count as clean, so the next fsync does not write them.
    #[test]
    fn a_failed_sync_closes_it_and_a_later_sync_proves_nothing() {
        let mut gone = 0;
        for seed in 0..50 {
            let d = SimDisk::new(seed, SimPlan { fail_sync: Some(1), ..FINE });
            d.write_at(0, b"abc").unwrap();
            assert!(matches!(d.sync(), Err(StoreError::Io { operation: "sync", .. })));
            assert!(matches!(d.sync(), Err(StoreError::Closed { .. })));
            assert!(matches!(d.write_at(0, b"x"), Err(StoreError::Closed { .. })));
            let restarted = d.after_restart(FINE);
            restarted.sync().unwrap();
            gone += u32::from(all(&restarted.after_power_loss(FINE)) != b"abc");
            restarted.write_at(0, b"abc").unwrap();
            restarted.sync().unwrap();
            assert_eq!(all(&restarted.after_power_loss(FINE)), b"abc", "written again it is durable");
        }
        assert!(gone > 0);
    }

    #[test]
    fn a_failed_write_closes_it() {
        let d = SimDisk::new(1, SimPlan { fail_write: Some(2), ..FINE });
        d.write_at(0, b"abc").unwrap();
        assert!(matches!(d.write_at(3, b"def"), Err(StoreError::Io { operation: "write", .. })));
        assert!(matches!(d.read_at(0, &mut [0]), Err(StoreError::Closed { .. })));
    }

    #[test]
    fn power_lost_inside_a_write_stops_everything() {
        let d = SimDisk::new(1, SimPlan { freeze_at_write: Some(1), ..FINE });
        assert!(d.write_at(0, b"abc").is_err());
        assert!(d.is_frozen());
    }
}
