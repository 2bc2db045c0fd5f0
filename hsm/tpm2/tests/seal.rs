//! Sealing to PCRs and to a floor under the counter, on a simulated chip.

mod common;

use common::Simulator;
use hsm_api::seal::SealTo;
use hsm_tpm2::Tpm2KeyStore;

const SECRET: &[u8] = b"the key of the data partition...";

fn pcrs(pcrs: &[u8]) -> SealTo {
    SealTo { pcrs: pcrs.to_vec(), floor: None }
}

#[test]
fn it_opens_in_the_state_it_was_sealed_to_and_in_no_other() {
    let chip = Simulator::start();
    let store = chip.init();
    let sealer = store.sealer();
    store.extend_pcr(16, &[1; 32]).unwrap();
    let sealed = sealer.seal(SECRET, &pcrs(&[16, 0])).unwrap();
    assert!(!sealed.windows(8).any(|w| SECRET.windows(8).any(|s| s == w)));
    for _ in 0..4 {
        assert_eq!(*sealer.unseal(&sealed).unwrap(), SECRET);
    }
    store.extend_pcr(16, &[2; 32]).unwrap();
    for _ in 0..4 {
        let e = sealer.unseal(&sealed).unwrap_err();
        assert!(e.to_string().contains("PCRs differ"), "{e}");
    }
    // power off and on: PCR 16 begins anew, and may be led to the same value
    chip.power_off();
    chip.power_on();
    drop(sealer.unseal(&sealed));
    store.extend_pcr(16, &[1; 32]).unwrap();
    assert_eq!(*sealer.unseal(&sealed).unwrap(), SECRET);
}

#[test]
fn a_raised_floor_shuts_out_what_is_older() {
    let chip = Simulator::start();
    let store = chip.init();
    let sealer = store.sealer();
    let now = sealer.counter().unwrap();
    let floor = |floor| SealTo { pcrs: vec![7], floor: Some(floor) };
    let old = sealer.seal(SECRET, &floor(now)).unwrap();
    let new = sealer.seal(b"new", &floor(now + 1)).unwrap();
    assert_eq!(*sealer.unseal(&old).unwrap(), SECRET);
    assert_eq!(sealer.raise_counter().unwrap(), now + 1);
    let e = sealer.unseal(&old).unwrap_err();
    assert!(e.to_string().contains("floor is higher"), "{e}");
    assert_eq!(*sealer.unseal(&new).unwrap(), *b"new");
    let only = SealTo { pcrs: vec![], floor: Some(now + 1) };
    let only = sealer.seal(b"x", &only).unwrap();
    assert_eq!(*sealer.unseal(&only).unwrap(), *b"x");
    // the counter is not lost with the power
    chip.power_off();
    chip.power_on();
    store.disconnect().unwrap();
    let again = Tpm2KeyStore::open(chip.options()).unwrap();
    assert_eq!(again.sealer().counter().unwrap(), now + 1);
    assert!(again.sealer().unseal(&old).is_err());
}

#[test]
fn what_was_changed_or_sealed_elsewhere_does_not_open() {
    let chip = Simulator::start();
    let sealer = chip.init().sealer();
    let sealed = sealer.seal(SECRET, &SealTo { pcrs: vec![7], floor: Some(9) }).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealer.unseal(&changed).is_err(), "byte {at}");
    }
    assert_eq!(*sealer.unseal(&sealed).unwrap(), SECRET);
    let other = Simulator::start();
    assert!(other.init().sealer().unseal(&sealed).is_err());
}

#[test]
fn sizes_and_states_are_checked_first() {
    let chip = Simulator::start();
    let sealer = chip.init().sealer();
    for length in [0, 129] {
        let e = sealer.seal(&vec![1; length], &pcrs(&[0])).unwrap_err();
        assert!(e.to_string().contains("1 to 128 bytes"), "{e}");
    }
    let longest = vec![1; 128];
    let sealed = sealer.seal(&longest, &pcrs(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 23, 9])).unwrap();
    assert_eq!(*sealer.unseal(&sealed).unwrap(), longest);
    assert!(sealer.seal(b"x", &pcrs(&[])).unwrap_err().to_string().contains("nothing to seal to"));
    assert!(sealer.seal(b"x", &pcrs(&[24])).unwrap_err().to_string().contains("no PCR 24"));
    assert!(sealer.unseal(b"").is_err() && sealer.unseal(&[0; 10_000]).is_err());
}
