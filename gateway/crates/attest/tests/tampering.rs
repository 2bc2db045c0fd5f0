//! The catalogue of tamperings: what is bent, and the checks that fail by it, by name, and no others.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail the test")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{CHANNEL, Device, Known, Machine, NOW, NUMBER, PCRS, RELEASE, failed, log, manifest, node};
use gw_attest::{
    Bank, Bundle,
    evidence::{Claims, NodeKey, Pcr, Software},
    verdict::Previous,
};
use gw_proto::{B64, Hex, HexBytes, Scheme, UnixMillis};
use hsm_api::{KeyPurpose, KeyStore as _};

/// A row: name, how to bend, what fails.
type Row<'a, T> = (&'a str, &'a dyn Fn(&mut T), &'a [&'a str]);

const SCHEMES: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

struct Stage {
    device: Device,
    machine: Machine,
    known: Known,
}

impl Stage {
    fn new(scheme: Scheme) -> Self {
        let device = Device::new(scheme);
        let machine = Machine::good();
        device.boot(&machine);
        let known = Known::of(&device);
        Self { device, machine, known }
    }

    fn claims(&self) -> Claims {
        self.device.claims(&self.machine)
    }

    fn good(&self) -> Bundle {
        self.device.attest(self.claims(), &PCRS)
    }

    fn expect(&self, name: &str, known: &Known, bundle: &Bundle, expected: &[&str]) {
        let verdict = known.judge(&bundle.to_json().unwrap());
        assert_eq!(failed(&verdict), expected, "{name} ({:?})\n{}", self.device.scheme, verdict.render());
        assert!(!verdict.passed() && verdict.good_until.is_none(), "{name}");
    }
}

/// Somebody on the way, or on the box's disk, changes a bundle after the quote.
#[test]
fn changed_after_the_quote() {
    let rows: &[Row<'_, Bundle>] = &[
        ("PCR flipped", &|b| b.quote.pcrs[2].value.0[0] ^= 1, &["pcr-digest", "log-replay [PCR 4]"]),
        ("PCR left out", &|b| b.quote.pcrs.truncate(b.quote.pcrs.len() - 1), &["pcr-values", "pcr-digest"]),
        ("PCR told twice", &|b| b.quote.pcrs.push(b.quote.pcrs[6].clone()), &["pcr-values", "pcr-digest"]),
        ("signature", &|b| b.quote.signature.0[40] ^= 1, &["signature"]),
        ("magic", &|b| b.quote.attested.0[0] ^= 1, &["signature", "magic"]),
        ("truncated statement", &|b| b.quote.attested.0.truncate(100), &["signature", "attest-form"]),
        ("statement with more behind", &|b| b.quote.attested.0.push(0), &["signature", "attest-form"]),
        ("another hash than the key's", &|b| b.quote.hash = Bank::Sm3, &["signature", "pcr-digest"]),
        (
            "wrong bank",
            &|b| b.quote.bank = Bank::Sm3,
            &[
                "pcr-bank",
                "log-replay [PCR 0]",
                "log-replay [PCR 4]",
                "log-replay [PCR 7]",
                "log-replay [PCR 9]",
                "log-replay [PCR 11]",
                "log-replay [PCR 12]",
                "component [firmware]",
                "component [option-roms]",
                "component [boot-loader]",
                "component [secure-boot]",
                "component [kernel-command-line]",
                "component [xinguan]",
                "component [configuration]",
                "inventory [inventory]",
                "configuration [configuration]",
            ],
        ),
        ("nonce in the claims", &|b| b.claims.eat_nonce.0[0] ^= 1, &["nonce", "extra-data"]),
        ("device in the claims", &|b| b.claims.device = node("gw-nanjing"), &["device", "extra-data"]),
        ("release in the claims", &|b| b.claims.release.push('1'), &["extra-data", "release-known"]),
        (
            "a certificate added to the chain",
            &|b| b.claims.endorsement_chain.push(B64(vec![1])),
            &["extra-data"],
        ),
        (
            "another chip's certificate",
            &|b| b.claims.endorsement_chain[0].0.push(1),
            &["endorsement-certificate", "extra-data"],
        ),
        (
            "an entry of the inventory",
            &|b| b.claims.inventory[0].version.push('1'),
            &["extra-data", "inventory [inventory]"],
        ),
        (
            "the certificate of the node key",
            &|b| edit_certificate(b, |a| a[20] ^= 1),
            &["extra-data", "node-key"],
        ),
        (
            "attestation key's area",
            &|b| b.claims.attestation_key.0.truncate(60),
            &["attestation-key-form", "extra-data"],
        ),
    ];
    for scheme in SCHEMES {
        let stage = Stage::new(scheme);
        let good = stage.good();
        for (name, bend, expected) in rows {
            let mut bundle = good.clone();
            bend(&mut bundle);
            stage.expect(name, &stage.known, &bundle, expected);
        }
    }
}

fn edit_certificate(bundle: &mut Bundle, edit: impl Fn(&mut Vec<u8>)) {
    let NodeKey::Certified { attested, .. } = &mut bundle.claims.node_key else { panic!("none") };
    edit(&mut attested.0);
}

/// True evidence, but of another moment, session, device, or release than may be.
#[test]
fn true_but_not_what_was_asked() {
    let rows: &[Row<'_, Known>] = &[
        ("replayed quote", &|k| k.challenge.nonce.0[0] ^= 1, &["nonce", "node-key"]),
        ("nonce of another device", &|k| k.challenge.device = node("gw-nanjing"), &["device", "node-key"]),
        ("answer too late", &|k| k.challenge.expires = NOW, &["nonce-fresh"]),
        ("relayed from another session", &|k| k.challenge.channel.0[0] ^= 1, &["extra-data", "node-key"]),
        ("TLS binding of another node", &|k| k.tls_node = node("gw-nanjing"), &["tls-node"]),
        ("unknown release", &|k| k.manifests.clear(), &["release-known"]),
        ("release expired", &|k| k.manifests[0].not_after = NOW, &["release-in-date"]),
        ("release of tomorrow", &|k| k.manifests[0].not_before = UnixMillis(NOW.0 + 1), &["release-in-date"]),
        ("older release than the floor", &|k| k.rules.floor = NUMBER + 1, &["release-floor"]),
        ("bank that policy refuses", &|k| k.rules.banks = vec![Bank::Sm3], &["pcr-bank"]),
        ("missing PCR", &|k| k.rules.pcrs.extend([3]), &["pcr-selection", "reference-pcrs"]),
        ("manifest without a PCR", &|k| drop(k.manifests[0].pcrs.pop()), &["reference-pcrs"]),
        ("another chip enrolled", &|k| k.enrolled.attestation_key.0[9] ^= 1, &["attestation-key-enrolled"]),
        (
            "another signing chip enrolled",
            &|k| k.enrolled.signing_key = Some(HexBytes(vec![7])),
            &["node-key"],
        ),
        ("another node key enrolled", &|k| k.enrolled.node_key.point.0[9] ^= 1, &["node-key"]),
        ("no signing chip enrolled", &|k| k.enrolled.signing_key = None, &["node-key"]),
        (
            "configuration not approved",
            &|k| k.enrolled.configurations = vec![Hex([1; 32])],
            &["component [configuration]", "configuration [configuration]"],
        ),
    ];
    for scheme in SCHEMES {
        let stage = Stage::new(scheme);
        let bundle = stage.good();
        for (name, bend, expected) in rows {
            let mut known = stage.known.clone();
            bend(&mut known);
            stage.expect(name, &known, &bundle, expected);
        }
    }
}

/// The box lies: its claims are bent before the chip quotes them.
#[test]
fn lies_under_a_good_quote() {
    fn boot(c: &mut Claims, bend: impl Fn(&mut Vec<log::BootSpec>)) {
        let mut events = Machine::good().boot;
        bend(&mut events);
        c.boot_log = Some(B64(log::write(&events)));
    }
    let rows: &[Row<'_, Claims>] = &[
        (
            "event changed",
            &|c| boot(c, |e| e[2] = e[2].clone().of(b"another kernel")),
            &["log-replay [PCR 4]", "component [kernel]"],
        ),
        (
            "event removed",
            &|c| boot(c, |e| drop(e.remove(1))),
            &["log-replay [PCR 4]", "component [boot-loader]"],
        ),
        (
            "event added",
            &|c| boot(c, |e| e.insert(2, log::event(4, log::EFI_ACTION, b"more").of_data())),
            &["log-replay [PCR 4]", "component [event 1 of PCR 4, not in the release]"],
        ),
        (
            "events reordered",
            &|c| boot(c, |e| e.swap(1, 2)),
            &["log-replay [PCR 4]", "component [boot-loader]"],
        ),
        ("last event gone", &|c| boot(c, |e| drop(e.pop())), &["log-replay [PCR 9]", "component [initrd]"]),
        ("log truncated", &|c| c.boot_log.as_mut().unwrap().0.truncate(600), &["event-log"]),
        (
            "log absent",
            &|c| c.boot_log = None,
            &[
                "log-replay [PCR 0]",
                "log-replay [PCR 4]",
                "log-replay [PCR 7]",
                "log-replay [PCR 9]",
                "component [firmware]",
                "component [boot-loader]",
                "component [secure-boot]",
                "component [kernel-command-line]",
            ],
        ),
        ("unknown event", &|c| boot(c, |e| e[6].kind = 0x1234), &["known-events"]),
        (
            "digest right, description lying",
            &|c| boot(c, |e| *e[3].data.last_mut().unwrap() = 0),
            &["event-description [PCR 7]"],
        ),
        (
            "another name in the own log",
            &|c| c.measured[0].component = "old-xinguan".to_owned(),
            &["event-description [PCR 11]"],
        ),
        (
            "inventory under another name",
            &|c| c.measured[1].component = "stock".to_owned(),
            &["event-description [PCR 11]", "inventory [inventory]"],
        ),
        ("own log names a PCR that software resets", &|c| c.measured[0].pcr = 16, &["event-log"]),
        ("software left out", &|c| drop(c.inventory.pop()), &["inventory [inventory]"]),
        (
            "configuration is another approved one",
            &|c| c.configuration = Hex([1; 32]),
            &["configuration [configuration]"],
        ),
        (
            "node key not certified",
            &|c| c.node_key = NodeKey::NotCertified { reason: "HSM".to_owned() },
            &["node-key"],
        ),
        ("release unknown", &|c| c.release = "2027.1".to_owned(), &["release-known"]),
    ];
    for scheme in SCHEMES {
        let stage = Stage::new(scheme);
        for (name, bend, expected) in rows {
            let mut claims = stage.claims();
            bend(&mut claims);
            stage.expect(name, &stage.known, &stage.device.attest(claims, &PCRS), expected);
        }
        let mut claims = stage.claims();
        claims.node_key = stage.device.certified("other-node");
        stage.expect(
            "another key certified",
            &stage.known,
            &stage.device.attest(claims, &PCRS),
            &["node-key"],
        );
        let fewer = stage.device.attest(stage.claims(), &PCRS[..6]);
        stage.expect("a PCR not quoted", &stage.known, &fewer, &["pcr-selection"]);
    }
}

/// The box runs something else, and says so truthfully.
#[test]
fn a_machine_that_differs_is_named_by_its_component() {
    let rows: &[Row<'_, Machine>] = &[
        (
            "Secure Boot off",
            &|m| m.boot[3] = log::variable(7, "SecureBoot", &[0]).of_data(),
            &["component [secure-boot]"],
        ),
        (
            "debug boot",
            &|m| m.boot.insert(4, log::event(7, log::EFI_ACTION, b"UEFI Debug Mode").of_data()),
            &["component [event 1 of PCR 7, not in the release]"],
        ),
        (
            "other kernel command line",
            &|m| m.boot[5] = m.boot[5].clone().of(b"init=/bin/sh"),
            &["component [kernel-command-line]"],
        ),
        ("other kernel", &|m| m.boot[2] = m.boot[2].clone().of(b"older kernel"), &["component [kernel]"]),
        ("initrd not measured", &|m| drop(m.boot.pop()), &["component [initrd]"]),
        ("other program", &|m| m.own[0].digest.0[0] ^= 1, &["component [xinguan]"]),
        (
            "more software",
            &|m| {
                let more = Software { name: "sshd".into(), version: "9".into(), digest: Hex([1; 32]) };
                m.inventory.push(more);
                m.measure();
            },
            &["component [inventory]"],
        ),
        (
            "configuration changed",
            &|m| {
                m.configuration = Hex([2; 32]);
                m.measure();
            },
            &["component [configuration]", "configuration [configuration]"],
        ),
        (
            "option ROM",
            &|m| m.boot.push(log::event(2, log::BOOT_APPLICATION, b"rom").of(b"rom")),
            &["component [option-roms]"],
        ),
    ];
    let stage = Stage::new(Scheme::Sm2Sm3);
    for (name, bend, expected) in rows {
        let mut machine = Machine::good();
        bend(&mut machine);
        stage.device.boot(&machine);
        let bundle = stage.device.attest(stage.device.claims(&machine), &PCRS);
        stage.expect(name, &stage.known, &bundle, expected);
    }
    // an older release is good for as long as the floor allows it, and not under the newer one's name
    let mut older = Machine::good();
    older.boot[2] = older.boot[2].clone().of(b"older kernel");
    stage.device.boot(&older);
    let mut known = stage.known.clone();
    let mut old = manifest();
    (old.release, old.number) = ("2026.10.1".to_owned(), NUMBER - 1);
    let kernel = older.boot[2].digest;
    set_kernel(&mut old, kernel);
    known.manifests.push(old);
    known.rules.floor = NUMBER - 1;
    let mut claims = stage.device.claims(&older);
    claims.release = "2026.10.1".to_owned();
    let bundle = stage.device.attest(claims.clone(), &PCRS);
    let verdict = known.judge(&bundle.to_json().unwrap());
    assert!(verdict.passed(), "{}", verdict.render());
    known.rules.floor = NUMBER;
    stage.expect("below the floor", &known, &bundle, &["release-floor"]);
    claims.release = RELEASE.to_owned();
    let bundle = stage.device.attest(claims, &PCRS);
    stage.expect("under the newer one's name", &known, &bundle, &["component [kernel]"]);
}

fn set_kernel(manifest: &mut gw_attest::reference::Manifest, digest: [u8; 32]) {
    use gw_attest::reference::{Digests, ExpectedDigest, Want};
    let Want::Events(events) = &mut manifest.pcrs[2].want else { panic!("by value") };
    events[1].digest = ExpectedDigest::OneOf(Digests { sha256: vec![Hex(digest)], sm3: vec![] });
}

/// systemd measures into the kernel image's PCR after the firmware has closed its log: a signed value says all.
#[test]
fn a_pcr_judged_by_its_value_needs_no_whole_log() {
    use gw_attest::reference::{Digests, Want};
    let stage = Stage::new(Scheme::Sm2Sm3);
    let mut machine = Machine::good();
    machine.boot.push(log::event(2, log::IPL, b".linux\0").of(b"kernel section"));
    stage.device.boot(&machine);
    stage.device.store.extend_pcr(2, &Bank::Sha256.digest(&[b"enter-initrd"])).unwrap();
    let bundle = stage.device.attest(stage.device.claims(&machine), &PCRS);
    let mut known = stage.known.clone();
    let value = bundle.quote.pcrs.iter().find(|p| p.pcr == 2).unwrap().value;
    let Want::Value { digests, .. } = &mut known.manifests[0].pcrs[1].want else { panic!("by events") };
    *digests = Digests { sha256: vec![value], sm3: vec![] };
    let verdict = known.judge(&bundle.to_json().unwrap());
    assert!(verdict.passed(), "{}", verdict.render());
    stage.expect("another value", &stage.known, &bundle, &["component [option-roms]"]);
}

/// Keys that may not attest, each of them really in a chip.
#[test]
fn wrong_keys_are_refused_by_name() {
    for scheme in SCHEMES {
        let stage = Stage::new(scheme);
        // a key that signs anything signs a statement of its owner's making
        let forger = stage.device.store.load_key("node", KeyPurpose::Node).unwrap();
        let mut bundle = stage.good();
        bundle.claims.attestation_key = stage.device.public_area("node");
        let forged = stage.forge(bundle, &*forger);
        let mut known = stage.known.clone();
        stage.expect(
            "key not restricted",
            &known,
            &forged,
            &["attestation-key-enrolled", "attestation-key-attributes"],
        );
        // even if it was enrolled by mistake
        let area = gw_attest::attest_structure::parse_chip_key(&forged.claims.attestation_key.0).unwrap();
        known.enrolled.attestation_key = HexBytes(area.name().to_vec());
        stage.expect("enrolled though not restricted", &known, &forged, &["attestation-key-attributes"]);
        // another chip says the same
        let other = Stage::new(scheme);
        let mut claims = other.claims();
        claims.node_key = stage.device.certified("node");
        let swapped = other.device.attest(claims, &PCRS);
        stage.expect("key of another chip", &stage.known, &swapped, &["attestation-key-enrolled"]);
        // a statement of the right key, but of another kind
        let mut bundle = stage.good();
        let NodeKey::Certified { attested, signature, .. } = &bundle.claims.node_key else { panic!("none") };
        (bundle.quote.attested, bundle.quote.signature) = (attested.clone(), *signature);
        stage.expect("certificate as a quote", &stage.known, &bundle, &["attest-type", "extra-data"]);
    }
}

impl Stage {
    fn claims_extra(&self, bundle: &Bundle) -> [u8; 32] {
        bundle.claims.extra_data(&CHANNEL).unwrap()
    }

    /// Puts the claims' digest where the old one stood, and signs with a key of one's own.
    fn forge(&self, mut bundle: Bundle, key: &dyn hsm_api::Signer) -> Bundle {
        let old = gw_attest::attest_structure::parse_attested(&bundle.quote.attested.0).unwrap().extra_data;
        let new = self.claims_extra(&bundle);
        let at = bundle.quote.attested.0.windows(32).position(|w| w == old).unwrap();
        bundle.quote.attested.0[at..at + 32].copy_from_slice(&new);
        let digest = bundle.quote.hash.digest(&[&bundle.quote.attested.0]);
        bundle.quote.signature = key.sign_digest(&digest).unwrap();
        bundle
    }
}

/// `tpm2_createak -G ecc -s sm2` makes the SM2 scheme on P-256.
#[test]
fn a_p256_key_posing_as_sm2_is_refused() {
    let stage = Stage::new(Scheme::Sm2Sm3);
    let (device, mut known) = (&stage.device, stage.known.clone());
    let claims = stage.claims();
    device.store.disconnect().unwrap();
    device.chip.tool("tpm2_createek", &["-G", "ecc", "-c", "ek.ctx"]);
    let args = ["-C", "ek.ctx", "-G", "ecc", "-s", "sm2", "-c", "posing.ctx", "-u", "posing.pub"];
    device.chip.tool("tpm2_createak", &args);
    let area = std::fs::read(device.chip.path("posing.pub")).unwrap()[2..].to_vec();
    let name = gw_attest::attest_structure::parse_chip_key(&area).unwrap().name().to_vec();
    let mut bundle = device.attest(Claims { attestation_key: B64(area), ..claims }, &PCRS);
    bundle.quote.pcrs.sort_by_key(|p: &Pcr| p.pcr);
    known.enrolled.attestation_key = HexBytes(name);
    let verdict = known.judge(&bundle.to_json().unwrap());
    assert_eq!(failed(&verdict), ["attestation-key-scheme", "signature"], "{}", verdict.render());
    assert!(verdict.failed().next().unwrap().found.contains("sm2 scheme on curve P-256"));
}

/// Counters of the last evidence against those of a real quote.
#[test]
fn counters_going_back_have_names() {
    let stage = Stage::new(Scheme::Sm2Sm3);
    let bundle = stage.good();
    let verdict = stage.known.judge(&bundle.to_json().unwrap());
    let last = verdict.counters.unwrap();
    let rows: &[Row<'_, Previous>] = &[
        (
            "reset counter going back",
            &|p| p.counters.resets = p.counters.resets.wrapping_add(1),
            &["reset-count"],
        ),
        (
            "restart counter going back",
            &|p| p.counters.restarts = p.counters.restarts.wrapping_add(1),
            &["restart-count"],
        ),
        ("clock reset without restart", &|p| p.counters.clock_ms += 1, &["clock"]),
    ];
    for (name, bend, expected) in rows {
        let mut known = stage.known.clone();
        let mut previous = last.clone();
        bend(&mut previous);
        known.previous = Some(previous);
        stage.expect(name, &known, &bundle, expected);
    }
}
