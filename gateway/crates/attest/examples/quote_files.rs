//! One bundle of a simulated chip as files that programs of others read, and how long they and we take with it.
//!
//! ```text
//! quote_files FOLDER                      writes them: scripts/interop
//! quote_files FOLDER measure XINGUAN N    … and judges them N times with each: scripts/bench
//! ```
//!
//! `key.pem quote.msg quote.sig quote.pcrs qualification` are what tpm2_checkquote and keylime take; `appraisal.json
//! makers.json` what `xinguan attest verify` takes. The chip is swtpm with a P-256 attestation key.
#![expect(clippy::print_stdout, reason = "a program that says what it measured")]
#![expect(clippy::indexing_slicing, reason = "a program for scripts: what fails here fails the script")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for scripts: what fails here fails the script"
)]

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "each program uses its part")]
mod common;

use base64::Engine as _;
use common::{CHANNEL, Device, Known, Machine, PCRS, log, makers, manifest, signed};
use gw_attest::{Bundle, attest_structure::parse_chip_key};
use gw_proto::{B64, Scheme};
use serde_json::json;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Events of a PCR that nobody asks for, as a rack server's firmware logs them: replayed all the same.
const MORE_EVENTS: usize = 80;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [folder] => drop(write(Path::new(folder))),
        [folder, "measure", xinguan, rounds] => measure(Path::new(folder), xinguan, rounds.parse().unwrap()),
        _ => panic!("usage: quote_files FOLDER [measure XINGUAN ROUNDS]"),
    }
}

fn write(folder: &Path) -> (Known, Vec<u8>) {
    std::fs::create_dir_all(folder).unwrap();
    let device = Device::new(Scheme::EcdsaP256Sha256);
    let mut machine = Machine::good();
    for _ in 0..MORE_EVENTS {
        machine.boot.push(log::event(3, log::EFI_ACTION, &[0x55; 120]).of_data());
    }
    device.boot(&machine);
    let bundle = device.attest(device.claims(&machine), &PCRS);
    let known = Known::of(&device);
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let key = parse_chip_key(&bundle.claims.attestation_key.0).unwrap().public_key().unwrap();
    let spki = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let spki = [hex::decode(spki).unwrap(), key.point.0.to_vec()].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    put("key.pem", format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").as_bytes());
    put("quote.msg", &bundle.quote.attested.0);
    // TPMT_SIGNATURE: ECDSA, SHA-256, r and s
    let (r, s) = bundle.quote.signature.0.split_at(32);
    put("quote.sig", &[&[0, 0x18, 0, 0x0b, 0, 32][..], r, &[0, 32], s].concat());
    put("quote.pcrs", &pcrs(&bundle));
    put("qualification", hex::encode(bundle.claims.extra_data(&CHANNEL).unwrap()).as_bytes());
    let [a, b, _] = makers();
    let keys: Vec<_> = makers().iter().map(|k| *k.public_key()).collect();
    put("makers.json", json!({ "threshold": 2, "keys": keys }).to_string().as_bytes());
    let bytes = bundle.to_json().unwrap();
    let appraisal = json!({
        "v": 1, "bundle": B64(bytes.clone()), "challenge": known.challenge, "tls_node": known.tls_node,
        "enrolled": known.enrolled, "rules": known.rules, "manifest": B64(signed(&manifest(), &[&a, &b])),
        "previous": null, "at": known.now,
    });
    put("appraisal.json", appraisal.to_string().as_bytes());
    (known, bytes)
}

/// The values as tpm2-tools write them: C structures with room for 16 selections and for 8 digests of 64 bytes in each list.
fn pcrs(bundle: &Bundle) -> Vec<u8> {
    let mut select = [0u8; 3];
    PCRS.iter().for_each(|p| select[usize::from(p / 8)] |= 1 << (p % 8));
    let mut out = 1u32.to_le_bytes().to_vec();
    out.extend([0x0b, 0, 3, select[0], select[1], select[2], 0, 0]);
    out.resize(4 + 16 * 8, 0);
    let lists = bundle.quote.pcrs.chunks(8);
    out.extend(u32::try_from(lists.len()).unwrap().to_le_bytes());
    for list in lists {
        out.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
        for slot in 0..8 {
            let value = list.get(slot).map(|p| p.value.0.to_vec()).unwrap_or_default();
            out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            out.extend(value);
            let filled = list.get(slot).map_or(0, |_| 32);
            out.extend(vec![0; 64 - filled]);
        }
    }
    out
}

/// In turn, so that both meet the same machine.
fn measure(folder: &Path, xinguan: &str, rounds: u32) {
    let (known, bytes) = write(folder);
    let qualification = std::fs::read_to_string(folder.join("qualification")).unwrap();
    let theirs =
        ["-u", "key.pem", "-m", "quote.msg", "-s", "quote.sig", "-f", "quote.pcrs", "-g", "sha256", "-q"];
    let theirs = [&theirs[..], &[&qualification]].concat();
    let ours = ["attest", "verify", "appraisal.json", "--offline", "--makers", "makers.json"];
    let mut times: [Vec<Duration>; 3] = Default::default();
    let manifests: Vec<_> = known.manifests.iter().map(common::trusted).collect();
    for _ in 0..rounds {
        times[0].push(run(folder, "tpm2_checkquote", &theirs));
        times[1].push(run(folder, xinguan, &ours));
        let began = Instant::now();
        let verdict = known.judge_by(&manifests, &bytes);
        times[2].push(began.elapsed());
        assert!(verdict.passed(), "{}", verdict.render());
    }
    let [theirs, process, inside] = times.map(|mut t| {
        t.sort();
        t[t.len() / 2].as_secs_f64() * 1000.0
    });
    println!(
        "One bundle of {} bytes ({} events in its log), {rounds} rounds in turn, medians",
        bytes.len(),
        MORE_EVENTS + 7
    );
    println!("tpm2_checkquote, the quote alone, a process          {theirs:9.3} ms");
    println!(
        "xinguan attest verify, all checks, a process         {process:9.3} ms  ratio {:.2}",
        theirs / process
    );
    println!(
        "the verifier's function, all checks, in its process  {inside:9.3} ms  ratio {:.2}",
        theirs / inside
    );
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Duration {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap_or_else(|e| panic!("{program} does not start: {e}"));
    assert!(status.success(), "{program}: {status}");
    began.elapsed()
}
