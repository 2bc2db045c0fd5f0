//! Files that the configuration names: what is bent, and the role that is blamed.

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use common::{CONFIG, Device, Known, Machine, PCRS, failed};
use gw_attest::{
    Bank,
    decide::ApprovedFiles,
    evidence::{FILE, Measured, file_measurement},
};
use gw_proto::{Digest, Hex, Scheme};

/// As the machine of these tests has it.
const OWN_PCR: u8 = 12;
const ROOTS: &str = "trust.man_roots";
const MAPPING: &str = "source.mapping";

fn event(bank: Bank, role: &str, file: u8) -> Measured {
    let digest = file_measurement(bank, role, &Hex([file; 32]));
    Measured { pcr: OWN_PCR, component: format!("{FILE}{role}"), digest }
}

fn approved(configuration: Digest, files: &[(&str, u8)]) -> ApprovedFiles {
    let files = files.iter().map(|(role, file)| ((*role).to_owned(), Hex([*file; 32]))).collect();
    ApprovedFiles { configuration, files }
}

#[test]
fn a_file_is_measured_once_as_approved_and_else_its_role_is_named() {
    let device = Device::new(Scheme::Sm2Sm3);
    let bank = device.attest(device.claims(&Machine::good()), &PCRS).quote.bank;
    let both = approved(CONFIG, &[(ROOTS, 1), (MAPPING, 2)]);
    let one = std::slice::from_ref(&both);
    let judge = |measured: &[(&str, u8)], enrolled: &[ApprovedFiles]| {
        let mut machine = Machine::good();
        machine.own.extend(measured.iter().map(|(role, file)| event(bank, role, *file)));
        device.boot(&machine);
        let mut known = Known::of(&device);
        known.enrolled.files = enrolled.to_vec();
        let verdict = known.judge(&device.attest(device.claims(&machine), &PCRS).to_json().unwrap());
        assert_eq!(verdict.passed(), failed(&verdict).is_empty(), "{}", verdict.render());
        failed(&verdict)
    };
    let blamed =
        |roles: &[&str]| roles.iter().map(|r| format!("configuration-file [{r}]")).collect::<Vec<_>>();
    let good = [(MAPPING, 2), (ROOTS, 1)];
    assert_eq!(judge(&good, one), blamed(&[]));
    assert_eq!(judge(&[], &[]), blamed(&[]), "a release that measures none");
    // an older approval of the same configuration counts, another configuration's does not
    let newer = approved(CONFIG, &[(ROOTS, 9), (MAPPING, 2)]);
    assert_eq!(judge(&good, &[both.clone(), newer.clone()]), blamed(&[]));
    assert_eq!(
        judge(&good, &[approved(Hex([1; 32]), &[(ROOTS, 1), (MAPPING, 2)])]),
        blamed(&[MAPPING, ROOTS])
    );
    // changed, left out, added, twice, under another's name
    assert_eq!(judge(&[(MAPPING, 2), (ROOTS, 7)], one), blamed(&[ROOTS]));
    assert_eq!(judge(&[(MAPPING, 2)], one), blamed(&[ROOTS]));
    assert_eq!(judge(&[], one), blamed(&[MAPPING, ROOTS]));
    assert_eq!(judge(&[good[0], good[1], ("trust.genesis", 3)], one), blamed(&["trust.genesis"]));
    assert_eq!(judge(&[good[0], good[1], (ROOTS, 1)], one), blamed(&[ROOTS]));
    assert_eq!(judge(&[(MAPPING, 1), (ROOTS, 2)], one), blamed(&[MAPPING, ROOTS]));
    assert_eq!(judge(&good, &[]), blamed(&[MAPPING, ROOTS]), "enrolled before files were measured");
}
