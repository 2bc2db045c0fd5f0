//! Event logs: our replay agrees with `tpm2_eventlog`; what is wrong with a log has its own error.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use common::{
    chip::program,
    log::{self, BootSpec, event, header, variable, write},
};
use gw_attest::{AttestError, Bank, event_type::describe, eventlog::parse_boot_log, replay::Replay};

fn locality(of: u8) -> BootSpec {
    event(0, log::NO_ACTION, &[b"StartupLocality\0", &[of][..]].concat())
}

fn boot() -> Vec<BootSpec> {
    vec![
        locality(3),
        event(0, log::S_CRTM_VERSION, b"1\0.\x002\0\0\0").of_data(),
        event(4, log::BOOT_APPLICATION, &boot_data()).of(b"loader image"),
        event(4, log::EFI_ACTION, b"Calling EFI Application from Boot Option").of_data(),
        variable(7, "SecureBoot", &[1]).of_data(),
        event(7, log::SEPARATOR, &[0; 4]).of_data(),
        event(9, log::IPL, b"grub_cmd: linux\0").of(b"linux"),
    ]
}

/// UEFI_IMAGE_LOAD_EVENT with an empty device path.
fn boot_data() -> Vec<u8> {
    [[0x11_u64, 0x22, 0, 4].map(u64::to_le_bytes).concat(), vec![0x7f, 0xff, 4, 0]].concat()
}

/// PCRs that `tpm2_eventlog` replays in a bank: the lines under `pcrs:`.
fn theirs(log: &[u8], bank: &str) -> Vec<(u8, String)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log"), log).unwrap();
    let out = program(folder.path(), "tpm2_eventlog", &["log"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let all = text.split_once("\npcrs:").unwrap().1;
    let lines = all.lines().skip_while(|l| l.trim() != format!("{bank}:")).skip(1);
    let values =
        lines.map_while(|l| l.split_once(": 0x").map(|(n, v)| (n.trim().parse().unwrap(), v.to_owned())));
    values.collect()
}

/// Without a startup locality: tpm2-tools before 5.6 extend that event, which the profile forbids (their
/// issues 3146 and 3256).
#[test]
fn our_replay_agrees_with_tpm2_eventlog() {
    let bytes = write(&boot()[1..]);
    for (bank, name) in [(Bank::Sha256, "sha256"), (Bank::Sm3, "sm3_256")] {
        let replay = Replay::of(bank, Some(&bytes), &[]).unwrap();
        let theirs = theirs(&bytes, name);
        let numbers: Vec<u8> = theirs.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [0, 4, 7, 9], "{name}");
        for (pcr, value) in theirs {
            assert_eq!(hex::encode(replay.pcr(pcr)), value, "PCR {pcr} of {name}");
        }
    }
}

/// PCR 0 after one event of SHA-256("x"), started at a locality; values by Python's hashlib.
#[test]
fn pcr_0_starts_with_the_startup_locality() {
    for (from, value) in [
        (0, "7f85193790de75e46b70bfec3614098f47332a6993dabac6e38ad35f47df5da4"),
        (3, "93b926837fe63434d8143492e6df77850b3360b737abee02c1750e29a4a105c3"),
        (4, "97a33585c03c02dabae14a6a74ad668163bf892cf52e8b222080eeede170386e"),
    ] {
        let bytes = write(&[locality(from), event(0, log::SEPARATOR, b"x").of_data()]);
        let replay = Replay::of(Bank::Sha256, Some(&bytes), &[]).unwrap();
        assert_eq!(hex::encode(replay.pcr(0)), value, "locality {from}");
    }
}

#[test]
fn events_are_told_to_people_without_being_believed() {
    let bytes = write(&boot());
    let log = parse_boot_log(&bytes, Bank::Sha256).unwrap();
    let told: Vec<_> = log.events.iter().map(describe).collect();
    assert_eq!(
        told,
        [
            "EV_S_CRTM_VERSION 1.2",
            "EV_EFI_BOOT_SERVICES_APPLICATION",
            "EV_EFI_ACTION Calling EFI Application from Boot Option",
            "EV_EFI_VARIABLE_DRIVER_CONFIG SecureBoot",
            "EV_SEPARATOR",
            "EV_IPL grub_cmd: linux",
        ]
    );
    // a long name with a terminal's commands in it
    let evil = event(4, log::EFI_ACTION, &b"\x1b[2J".repeat(1000)).of_data();
    let bytes = write(&[evil, event(1, 0x77, b"")]);
    let log = parse_boot_log(&bytes, Bank::Sha256).unwrap();
    let told = describe(&log.events[0]);
    assert!(told.len() < 400 && !told.chars().any(char::is_control), "{told}");
    assert_eq!(describe(&log.events[1]), "type 0x00000077");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = write(&boot());
    let ends: Vec<usize> = (0..=boot().len()).map(|n| write(&boot()[..n]).len()).collect();
    for cut in 0..bytes.len() {
        let read = parse_boot_log(&bytes[..cut], Bank::Sha256);
        match ends.contains(&cut) {
            // between two events nothing in the log can tell: the replay does
            true => {
                let replay = Replay::of(Bank::Sha256, Some(&bytes[..cut]), &[]).unwrap();
                let whole = Replay::of(Bank::Sha256, Some(&bytes), &[]).unwrap();
                assert!((0..10).any(|p| replay.pcr(p) != whole.pcr(p)), "cut at {cut}");
            }
            false => assert!(matches!(read, Err(AttestError::LogTruncated { .. })), "cut at {cut}: {read:?}"),
        }
    }
}

#[test]
fn what_is_wrong_with_a_log_has_a_name() {
    let of = |bytes: &[u8]| parse_boot_log(bytes, Bank::Sha256).unwrap_err();
    let good = header(&log::ALGORITHMS);
    let with = |e: BootSpec| [good.clone(), log::event2(&e)].concat();
    assert!(matches!(of(&header(&[(0x0b, 32), (0x99, 32)])), AttestError::LogAlgorithm { id: 0x99 }));
    let size = AttestError::LogDigestSize { id: 0x0b, expected: 32, found: 20 };
    assert_eq!(of(&header(&[(0x0b, 20)])), size);
    assert_eq!(of(&header(&[(0x0c, 48)])), AttestError::LogBank { bank: Bank::Sha256 });
    for bad in [header(&[]), header(&[(0x0b, 32), (0x0b, 32)]), header(&[(0x0b, 32); 9])] {
        assert!(matches!(of(&bad), AttestError::LogHeader { .. }));
    }
    // each byte of the signature, the type, the version
    for at in [0, 4, 8, 32, 46, 53] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(of(&bad), AttestError::LogHeader { .. }), "byte {at}: {:?}", of(&bad));
    }
    assert_eq!(of(&with(event(24, 4, b""))), AttestError::LogPcr { event: 1, pcr: 24 });
    // digests of other hashes, twice the same, fewer
    let one = log::event2(&event(4, 4, b""));
    let digests = one.len() - 4 - 32 - 2;
    let mut other = one.clone();
    other[digests] = 0x0c;
    let mut twice = one.clone();
    twice[digests] = 0x0b;
    let mut fewer = one.clone();
    fewer[8] = 2;
    for bad in [other, twice, fewer] {
        assert_eq!(of(&[good.clone(), bad].concat()), AttestError::LogDigests { event: 1 });
    }
    let mut endless = one;
    let size = endless.len() - 4;
    endless[size..].copy_from_slice(&[0xff; 4]);
    assert!(matches!(of(&[good.clone(), endless].concat()), AttestError::LogTruncated { event: 1, .. }));
    // localities
    for bad in [
        vec![locality(0), locality(0)],
        vec![locality(1)],
        vec![event(0, 4, b""), locality(3)],
        vec![BootSpec { pcr: 1, ..locality(3) }],
        vec![event(0, log::NO_ACTION, b"StartupLocality\0")],
    ] {
        assert!(matches!(of(&write(&bad)), AttestError::LogLocality { .. }), "{bad:?}");
    }
    assert!(matches!(of(&vec![0; 600_000]), AttestError::Size { .. }));
    let many = write(&vec![event(1, 4, b""); 4000]);
    assert!(parse_boot_log(&many, Bank::Sha256).is_ok() || many.len() > 512 * 1024);
}
