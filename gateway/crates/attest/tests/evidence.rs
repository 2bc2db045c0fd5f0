//! Evidence of a real (simulated) chip: judged good by us, its parts checked by programs of others.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use base64::Engine as _;
use common::{Device, Known, Machine, NOW, PCRS, chip::program, failed, node};
use gw_attest::{
    Bundle, CheckName, Outcome,
    attest_structure::parse_chip_key,
    decide::Policy,
    decide_silence,
    evidence::{MAX_BUNDLE_BYTES, PROFILE},
    verdict::LASTS,
};
use gw_proto::{PublicKey, Scheme, UnixMillis};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn good_evidence_of_both_schemes_passes_every_check() {
    for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
        let device = Device::new(scheme);
        let machine = Machine::good();
        device.boot(&machine);
        let mut known = Known::of(&device);
        let json = device.attest(device.claims(&machine), &PCRS).to_json().unwrap();
        let verdict = known.judge(&json);
        assert!(verdict.passed(), "{}", verdict.render());
        assert_eq!(verdict.good_until, Some(NOW.plus(LASTS)));
        // every check stands in it once, but the one of silence
        let names: Vec<_> = verdict.checks.iter().map(|c| c.name).collect();
        let all: Vec<_> = CheckName::ALL.iter().copied().filter(|n| *n != CheckName::Silence).collect();
        let set: BTreeSet<_> = names.iter().copied().collect();
        assert_eq!((names.len(), set), (all.len(), all.into_iter().collect()));
        // after a restart the counters have gone on
        known.previous = verdict.counters.clone();
        device.boot(&machine);
        let json = device.attest(device.claims(&machine), &PCRS).to_json().unwrap();
        let again = known.judge(&json);
        assert!(again.passed(), "{}", again.render());
        assert_ne!(again.counters.unwrap().counters.resets, verdict.counters.unwrap().counters.resets);
        // a verdict is kept and read again
        let text = serde_json::to_string(&known.judge(&json)).unwrap();
        assert_eq!(serde_json::from_str::<gw_attest::Verdict>(&text).unwrap(), known.judge(&json));
    }
}

/// SubjectPublicKeyInfo in PEM.
fn pem(key: &PublicKey) -> String {
    let prefix = match key.scheme {
        Scheme::Sm2Sm3 => "3059301306072a8648ce3d020106082a811ccf5501822d03420004",
        Scheme::EcdsaP256Sha256 => "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
    };
    let spki = [hex::decode(prefix).unwrap(), key.point.0.to_vec()].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn tpm2_checkquote_verifies_the_same_quote() {
    let device = Device::new(Scheme::EcdsaP256Sha256);
    let machine = Machine::good();
    device.boot(&machine);
    let bundle = device.attest(device.claims(&machine), &PCRS);
    assert!(Known::of(&device).judge(&bundle.to_json().unwrap()).passed());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let key = parse_chip_key(&bundle.claims.attestation_key.0).unwrap().public_key().unwrap();
    write("key.pem", pem(&key).as_bytes());
    write("quote.msg", &bundle.quote.attested.0);
    // TPMT_SIGNATURE: ECDSA, SHA-256, r and s
    let (r, s) = bundle.quote.signature.0.split_at(32);
    write("quote.sig", &[&[0, 0x18, 0, 0x0b, 0, 32][..], r, &[0, 32], s].concat());
    let qualification = |bundle: &Bundle| hex::encode(bundle.claims.extra_data(&common::CHANNEL).unwrap());
    let check = |nonce: &str| {
        let args = ["-u", "key.pem", "-m", "quote.msg", "-s", "quote.sig", "-g", "sha256", "-q", nonce];
        program(folder.path(), "tpm2_checkquote", &args).status.success()
    };
    assert!(check(&qualification(&bundle)));
    let mut other = bundle.clone();
    other.claims.release.push('x');
    assert!(!check(&qualification(&other)), "tpm2_checkquote was not really asked");
}

/// SEQUENCE { r, s }.
fn der(signature: &[u8; 64]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let digits: Vec<u8> = half.iter().copied().skip_while(|b| *b == 0).collect();
        let sign = digits.first().is_none_or(|b| *b >= 0x80);
        let body = [vec![0; usize::from(sign)], digits].concat();
        [vec![2, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

/// OpenSSL's `pkeyutl` takes an SM2 digest as it is: no Z.
#[test]
fn openssl_verifies_the_same_sm2_quote() {
    let device = Device::new(Scheme::Sm2Sm3);
    let machine = Machine::good();
    device.boot(&machine);
    let bundle = device.attest(device.claims(&machine), &PCRS);
    assert!(Known::of(&device).judge(&bundle.to_json().unwrap()).passed());
    let folder = tempfile::tempdir().unwrap();
    let key = parse_chip_key(&bundle.claims.attestation_key.0).unwrap().public_key().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("key.pem", pem(&key).as_bytes());
    write("sig.der", &der(&bundle.quote.signature.0));
    let check = |attested: &[u8]| {
        write("digest", &bundle.quote.hash.digest(&[attested]));
        let args =
            ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-in", "digest", "-sigfile", "sig.der"];
        program(folder.path(), "openssl", &args).status.success()
    };
    assert!(check(&bundle.quote.attested.0));
    assert!(!check(&[&bundle.quote.attested.0[..], &[0]].concat()), "openssl was not really asked");
}

#[test]
fn silence_is_a_failure_by_name() {
    let rules = gw_attest::decide::Rules {
        banks: vec![gw_attest::Bank::Sm3],
        pcrs: BTreeSet::from([0]),
        floor: 0,
        uncertified_node_key: false,
        interval_ms: 60_000,
    };
    let policy = Policy::new(rules.clone()).unwrap();
    let at = |after: u64| decide_silence(&node("gw-suzhou"), NOW, &policy, UnixMillis(NOW.0 + after));
    assert_eq!(at(60_000), None);
    let verdict = at(60_001).unwrap();
    assert!(!verdict.passed());
    assert_eq!((failed(&verdict), verdict.good_until), (vec!["silence".to_owned()], None));
    // rules that rest on nothing are refused
    for bad in [
        gw_attest::decide::Rules { pcrs: BTreeSet::from([0, 16]), ..rules.clone() },
        gw_attest::decide::Rules { pcrs: BTreeSet::new(), ..rules.clone() },
        gw_attest::decide::Rules { banks: vec![], ..rules },
    ] {
        assert!(Policy::new(bad).is_err());
    }
}

#[test]
fn bytes_that_are_no_bundle_are_refused_by_name() {
    let device = Device::new(Scheme::Sm2Sm3);
    let machine = Machine::good();
    let known = Known::of(&device);
    let bundle = device.attest(device.claims(&machine), &PCRS);
    let json = String::from_utf8(bundle.to_json().unwrap()).unwrap();
    let twice = json.replacen("{", &format!("{{\"eat_profile\":\"{PROFILE}\","), 1);
    let other = json.replacen("evidence/1", "evidence/2", 1);
    let more = json.replacen("{", "{\"more\":0,", 1);
    let deep = format!("{{\"claims\":{}", "[".repeat(500_000));
    let huge = vec![b' '; 100 << 20];
    let name = |bytes: &[u8]| {
        let verdict = known.judge(bytes);
        assert!(verdict.checks.iter().all(|c| c.outcome != Outcome::Ok) && !verdict.passed());
        failed(&verdict)
    };
    for cut in [0, 1, json.len() / 2, json.len() - 1] {
        assert_eq!(name(&json.as_bytes()[..cut]), ["bundle-form"], "cut at {cut}");
    }
    for bad in [&twice, &other, &more, &deep] {
        assert_eq!(name(bad.as_bytes()), ["bundle-form"]);
    }
    assert_eq!(name(&huge), ["bundle-size"]);
    let mut long = bundle.clone();
    long.claims.measured = vec![common::measured(11, "x", common::NONCE); 1025];
    assert_eq!(name(&long.to_json().unwrap()), ["bundle-form"]);
    assert!(json.len() < MAX_BUNDLE_BYTES / 50, "real evidence is small: {}", json.len());
}

/// Whatever single byte changes: refused, or the same bundle in other words.
#[test]
fn no_flipped_byte_passes_with_another_meaning() {
    for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
        let device = Device::new(scheme);
        let machine = Machine::good();
        device.boot(&machine);
        let known = Known::of(&device);
        let bundle = device.attest(device.claims(&machine), &PCRS);
        let json = bundle.to_json().unwrap();
        assert!(known.judge(&json).passed());
        let manifests: Vec<_> = known.manifests.iter().map(common::trusted).collect();
        let places = (any::<prop::sample::Index>(), 1..=255u8);
        let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |((place, flip) in places)| {
            let mut changed = json.clone();
            let at = place.index(changed.len());
            changed[at] ^= flip;
            let same = Bundle::parse(&changed).is_ok_and(|read| read == bundle);
            let verdict = known.judge_by(&manifests, &changed);
            prop_assert!(!verdict.passed() || same, "byte {} xor {:#04x} passes", at, flip);
        });
    }
}

proptest! {
    /// Total on anything, also on what starts right.
    #[test]
    fn parsers_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), start in 0..4usize) {
        let prefix: &[u8] = [&b""[..], b"\xff\x54\x43\x47\x80\x18", b"\x00\x23\x00\x0b", b"{\"claims\":"][start];
        let all = [prefix, &bytes].concat();
        drop(gw_attest::attest_structure::parse_attested(&all));
        drop(gw_attest::attest_structure::parse_chip_key(&all));
        drop(Bundle::parse(&all));
        drop(gw_attest::reference::TrustedManifest::parse(&all, &common::two_of_three()));
        let log = [common::log::header(&common::log::ALGORITHMS), bytes].concat();
        for log in [&log, &all] {
            drop(gw_attest::eventlog::parse_boot_log(log, gw_attest::Bank::Sha256));
        }
    }
}
