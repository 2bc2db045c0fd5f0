//! The whole way: a build's files → manifest → signatures of openssl → what the verifier takes; and Authenticode
//! against osslsigncode.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "helpers of tests may fail the test")]

use gw_attest::{
    Bank,
    reference::{Makers, Manifest, TrustedManifest, Want},
};
use gw_proto::genesis::Governance;
use image_manifest::{compare::differences, pe::authenticode};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn run(folder: &Path, program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program} does not start ({e}): apt-get install openssl osslsigncode"))
}

fn must(folder: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    let out = run(folder, program, args);
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn ours(folder: &Path, args: &[&str]) -> Output {
    run(folder, env!("CARGO_BIN_EXE_image-manifest"), args)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A PE32+ program for UEFI: headers, and two sections that stand in the file the other way round.
fn program(seed: u8) -> Vec<u8> {
    let mut file = vec![0; 512 * 3];
    put(&mut file, 0, b"MZ");
    put(&mut file, 0x3c, &64u32.to_le_bytes());
    put(&mut file, 64, b"PE\0\0");
    put(&mut file, 68, &0x8664u16.to_le_bytes());
    put(&mut file, 70, &2u16.to_le_bytes());
    put(&mut file, 84, &240u16.to_le_bytes());
    let optional = 88;
    put(&mut file, optional, &0x20bu16.to_le_bytes());
    for (at, value) in [(32, 0x1000u32), (36, 512), (56, 0x3000), (60, 512), (108, 16)] {
        put(&mut file, optional + at, &value.to_le_bytes());
    }
    put(&mut file, optional + 68, &10u16.to_le_bytes());
    for (number, (name, place)) in [(b".text\0\0\0", 1024u32), (b".data\0\0\0", 512)].into_iter().enumerate()
    {
        let header = optional + 240 + 40 * number;
        put(&mut file, header, name);
        put(&mut file, header + 8, &512u32.to_le_bytes());
        put(&mut file, header + 12, &(0x1000 * (u32::try_from(number).unwrap() + 1)).to_le_bytes());
        put(&mut file, header + 16, &512u32.to_le_bytes());
        put(&mut file, header + 20, &place.to_le_bytes());
    }
    for (i, byte) in file.iter_mut().enumerate().skip(512) {
        *byte = u8::try_from(i % 251).unwrap() ^ seed;
    }
    file
}

/// PK, KEK and db's keys as images/build/keys.sh makes them, and makers of both schemes.
fn keys(folder: &Path) {
    for name in ["PK", "KEK", "db", "verity"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let args =
            ["req", "-x509", "-newkey", "rsa:2048", "-sha256", "-days", "30", "-noenc", "-subj", "/CN=TEST"];
        must(folder, "openssl", &[&args[..], &["-keyout", &key, "-out", &certificate]].concat());
    }
    for (name, curve) in [("p256", "P-256"), ("sm2", "SM2"), ("other", "P-256")] {
        let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
        let curve = format!("ec_paramgen_curve:{curve}");
        must(folder, "openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", &key]);
        must(folder, "openssl", &["pkey", "-in", &key, "-pubout", "-out", &public]);
    }
}

const DIGESTS: [&str; 2] = [
    "203000be836830943f313655647afb10568bfe7c3542902ff008ba1c5c83eb5a",
    "5c2e9fafb7a3b47c75b74339d8e563524100ba370e7db059fc6ea362fda4ec8a",
];

/// What the image's builder does, with files of a test.
fn make(folder: &Path) -> Vec<u8> {
    for (name, content) in
        [("loader", program(0)), ("kernel", program(7)), ("xinguan", b"the gateway".to_vec())]
    {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let [root, pcr11] = DIGESTS;
    let args = [
        "make",
        "--release",
        "1.4.2",
        "--number",
        "3",
        "--from",
        "1790000000",
        "--days",
        "365",
        "--architecture",
        "x86-64",
        "--root-hash",
        root,
        "--pcr11",
        pcr11,
        "--program",
        "xinguan",
        "--loader",
        "loader",
        "--kernel",
        "kernel",
        "--owner",
        "6c7a6f0e-8d2f-4c0b-9d51-2f6f0b0e9a01",
        "--pk",
        "PK.crt",
        "--kek",
        "KEK.crt",
        "--db",
        "db.crt",
        "--db",
        "verity.crt",
    ];
    let out = ours(folder, &args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn sign(folder: &Path, key: &str, extra: &[&str]) {
    let (key, out) = (format!("{key}.key"), format!("{key}.sig"));
    must(folder, "openssl", &[&["dgst"], extra, &["-sign", &key, "-out", &out, "input"]].concat());
}

#[test]
fn signed_by_openssl_in_both_schemes_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    keys(at);
    std::fs::write(at.join("manifest.json"), make(at)).unwrap();
    let input = ours(at, &["input", "manifest.json"]).stdout;
    std::fs::write(at.join("input"), &input).unwrap();
    sign(at, "p256", &["-sha256"]);
    sign(at, "sm2", &["-sm3", "-sigopt", "distid:1234567812345678"]);
    sign(at, "other", &["-sha256"]);
    let seal = |keys: [&str; 2], signatures: [&str; 2]| {
        let args = ["seal", "manifest.json", "--key", keys[0], "--signature", signatures[0]];
        ours(at, &[&args[..], &["--key", keys[1], "--signature", signatures[1]]].concat())
    };
    let sealed = seal(["p256.pub", "sm2.pub"], ["p256.sig", "sm2.sig"]);
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    let mixed = seal(["p256.pub", "sm2.pub"], ["other.sig", "sm2.sig"]);
    assert!(!mixed.status.success() && mixed.stdout.is_empty(), "another key's signature");
    std::fs::write(at.join("reference.json"), &sealed.stdout).unwrap();

    let makers = |threshold: &str, keys: &[&str]| {
        let out = ours(at, &[&["makers", "--threshold", threshold], keys].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let of: Governance = serde_json::from_slice(&out.stdout).unwrap();
        (Makers::new(of.keys, usize::try_from(of.threshold).unwrap()).unwrap(), out.stdout)
    };
    let (both, list) = makers("2", &["p256.pub", "sm2.pub"]);
    let trusted = TrustedManifest::parse(&sealed.stdout, &both).unwrap();
    assert_eq!((trusted.get().release.as_str(), trusted.get().number), ("1.4.2", 3));
    assert!(TrustedManifest::parse(&sealed.stdout, &makers("2", &["p256.pub", "other.pub"]).0).is_err());
    assert!(TrustedManifest::parse(&sealed.stdout, &makers("1", &["other.pub"]).0).is_err());
    let mut changed: serde_json::Value = serde_json::from_slice(&sealed.stdout).unwrap();
    changed["manifest"]["number"] = 4.into();
    assert!(TrustedManifest::parse(&serde_json::to_vec(&changed).unwrap(), &both).is_err());
    let mut unsigned = changed;
    unsigned["signatures"] = serde_json::json!([]);
    assert!(TrustedManifest::parse(&serde_json::to_vec(&unsigned).unwrap(), &both).is_err());

    // what governance lists is what openssl computes over the same bytes
    std::fs::write(at.join("makers.json"), list).unwrap();
    let said = ours(at, &["check", "reference.json", "--makers", "makers.json"]);
    let said = String::from_utf8(said.stdout).unwrap();
    let sm3 = String::from_utf8(must(at, "openssl", &["dgst", "-sm3", "-r", "input"])).unwrap();
    let digest = sm3.split_whitespace().next().unwrap();
    assert!(digest.len() == 64 && said.contains(&format!("digest {digest}\n")), "{said} {sm3}");
}

#[test]
fn the_digest_of_a_program_is_osslsigncodes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    keys(at);
    let file = program(1);
    std::fs::write(at.join("in"), &file).unwrap();
    let args = ["sign", "-h", "sha256", "-certs", "db.crt", "-key", "db.key", "-in", "in", "-out", "out"];
    must(at, "osslsigncode", &args);
    let signed = std::fs::read(at.join("out")).unwrap();
    assert!(signed.len() > file.len());
    let said = run(at, "osslsigncode", &["verify", "-in", "out"]).stdout;
    let said = String::from_utf8(said).unwrap().to_lowercase();
    let theirs = said.lines().find_map(|l| l.strip_prefix("calculated message digest :")).unwrap().trim();
    let of = |file: &[u8]| hex::encode(authenticode("a test", file, Bank::Sha256).unwrap());
    assert_eq!(of(&signed), theirs);
    assert_eq!(of(&file), theirs, "signing changes the digest");
    // neither checksum nor place and content of the signatures count, all else does
    let optional = 88;
    for (at, counts) in [
        (optional + 64, false),
        (optional + 112 + 32, false),
        (signed.len() - 9, false),
        (600, true),
        (1500, true),
        (66, true),
        (optional + 16, true),
    ] {
        let mut other = signed.clone();
        other[at] ^= 1;
        let same = authenticode("a test", &other, Bank::Sha256).map(hex::encode).is_ok_and(|d| d == theirs);
        assert_ne!(same, counts, "byte {at}");
    }
    for length in (0..file.len()).step_by(7) {
        let cut = authenticode("a test", &file[..length], Bank::Sha256);
        assert!(cut.is_err(), "{length} bytes are no program");
    }
}

/// What a box would log that measures all of this; PCR 11 ends before systemd's phases.
fn log(manifest: &Manifest) -> Vec<(u8, [u8; 32])> {
    let mut events = Vec::new();
    for reference in manifest.pcrs.iter().filter(|p| p.pcr < 8) {
        let Want::Events(all) = &reference.want else { panic!("by value") };
        for event in all {
            let gw_attest::reference::ExpectedDigest::OneOf(digests) = &event.digest else {
                panic!("approved")
            };
            events.push((reference.pcr, digests.sha256[0].0));
        }
    }
    events
}

fn written(events: &[(u8, [u8; 32])]) -> Vec<u8> {
    let spec = [b"Spec ID Event03\0", &[0; 4][..], &[0, 2, 0, 2], &1u32.to_le_bytes(), &[0x0b, 0, 32, 0, 0]]
        .concat();
    let size = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut out = [&[0; 4], &3u32.to_le_bytes()[..], &[0; 20], &size(spec.len()), &spec].concat();
    for (pcr, digest) in events {
        let header = [u32::from(*pcr), 0x8000_0001, 1].map(u32::to_le_bytes).concat();
        out.extend([&header[..], &[0x0b, 0], digest, &size(0)].concat());
    }
    out
}

#[test]
fn a_log_that_differs_is_told_by_pcr_and_event() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let mut manifest: Manifest = serde_json::from_slice(&make(folder.path())).unwrap();
    assert_eq!(manifest.pcrs.iter().map(|p| p.pcr).collect::<Vec<_>>(), [4, 7, 11, 12, 14]);
    // of PCR 11 a test has no sections: the firmware's part is empty here
    let phases = [b"enter-initrd".as_slice(), b"leave-initrd"];
    let bank = Bank::Sha256;
    let value = phases.iter().fold([0; 32], |v, p| bank.extend(&v, &bank.digest(&[*p])));
    let Want::Value { digests, .. } = &mut manifest.pcrs[2].want else { panic!("by events") };
    digests.sha256 = vec![gw_proto::Hex(value)];
    let good = log(&manifest);
    let told = |events: &[(u8, [u8; 32])]| differences(&manifest, &written(events), bank).unwrap();
    assert_eq!(told(&good), Vec::<String>::new());
    let mut other = good.clone();
    other[3].1[0] ^= 1;
    assert!(told(&other)[0].starts_with("PCR 4, event 3: expected kernel image, "), "{:?}", told(&other));
    let mut more = good.clone();
    more.push((7, [1; 32]));
    assert!(told(&more)[0].starts_with("PCR 7, event 7: expected nothing more, "), "{:?}", told(&more));
    let fewer = &good[..good.len() - 1];
    assert!(
        told(fewer)[0].contains("event 6: expected signer of what was started, the log has nothing more")
    );
    let mut added = good.clone();
    added.push((12, [1; 32]));
    assert!(told(&added)[0].starts_with("PCR 12: additions to the command line"), "{:?}", told(&added));
}

/// PCRs that the build cannot foretell come from a good box of the board.
#[test]
fn firmware_is_taken_from_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    keys(at);
    make(at);
    std::fs::write(at.join("log"), written(&[(0, [1; 32]), (2, [2; 32]), (0, [3; 32])])).unwrap();
    let read = |name: &str| std::fs::read(at.join(name)).unwrap();
    let der = |name: &str| gw_sm::cert::certs_from_pem(&read(name)).unwrap().remove(0);
    let digest = |text: &str| gw_proto::Hex::parse(text).unwrap();
    let build = image_manifest::expected::Build {
        release: "1".into(),
        number: 1,
        not_before: gw_proto::UnixMillis(1),
        not_after: gw_proto::UnixMillis(2),
        architecture: "x86-64".into(),
        root_hash: digest(DIGESTS[0]),
        program: read("xinguan"),
        loader: read("loader"),
        kernel: read("kernel"),
        pcr11: digest(DIGESTS[1]),
        signer: der("db.crt"),
        keys: image_manifest::secure_boot::Keys {
            owner: [1; 16],
            pk: der("PK.crt"),
            kek: vec![der("KEK.crt")],
            db: vec![der("db.crt")],
            dbx: Vec::new(),
        },
        board: Some((read("log"), vec![0, 2])),
    };
    let manifest = image_manifest::expected::manifest(&build).unwrap();
    let counts = manifest.pcrs.iter().map(|p| match &p.want {
        Want::Events(events) => (p.pcr, events.len()),
        Want::Value { .. } => (p.pcr, 0),
    });
    assert_eq!(counts.collect::<Vec<_>>(), [(0, 2), (2, 1), (4, 4), (7, 7), (11, 0), (12, 0), (14, 2)]);
}
