//! A manifest out of a build's files: which PCRs, and what of them the build knows.

use crate::{ManifestError, pe, secure_boot};
use gw_attest::{
    Bank,
    event_type::describe,
    eventlog::parse_boot_log,
    evidence::{CONFIGURATION, INVENTORY, Software, inventory_measurement},
    reference::{Digests, Expected, ExpectedDigest, Image, Manifest, PcrReference, VERSION, Want},
};
use gw_proto::{Hex, UnixMillis, sm3};

const BANKS: [Bank; 2] = [Bank::Sha256, Bank::Sm3];
/// What systemd extends when the initrd is left; of the image's units no other extends PCR 11 after `enter-initrd`.
const LEAVE_INITRD: &[u8] = b"leave-initrd";
/// The name of the gateway in its own inventory.
const PROGRAM: &str = "xinguan";

/// What a build knows.
#[derive(Debug, Clone)]
pub struct Build {
    /// the release's name, as the gateway in it reports it
    pub release: String,
    /// anti-rollback number
    pub number: u32,
    /// valid from
    pub not_before: UnixMillis,
    /// valid until, exclusive
    pub not_after: UnixMillis,
    /// `x86-64` or `arm64`
    pub architecture: String,
    /// of dm-verity
    pub root_hash: Hex<32>,
    /// the gateway's program as it is in the root
    pub program: Vec<u8>,
    /// the boot loader as it is on the ESP
    pub loader: Vec<u8>,
    /// the kernel image
    pub kernel: Vec<u8>,
    /// PCR 11 in SHA-256 once the initrd has begun: ukify's
    pub pcr11: Hex<32>,
    /// the firmware's keys
    pub keys: secure_boot::Keys,
    /// the certificate in db whose key signed boot loader and kernel image
    pub signer: Vec<u8>,
    /// event log of a box of this board that is known to be good, and the PCRs to take from it
    pub board: Option<(Vec<u8>, Vec<u8>)>,
}

/// The manifest, not signed.
pub fn manifest(build: &Build) -> Result<Manifest, ManifestError> {
    let program = sm3(&build.program);
    let mut pcrs = board(build)?;
    pcrs.extend([boot_programs(build)?, secure_boot_state(build)?, kernel(build), additions(), own(build)?]);
    pcrs.sort_by_key(|p| p.pcr);
    Ok(Manifest {
        v: VERSION,
        release: build.release.clone(),
        number: build.number,
        not_before: build.not_before,
        not_after: build.not_after,
        image: Some(Image { architecture: build.architecture.clone(), root_hash: build.root_hash, program }),
        pcrs,
    })
}

/// PCR 4: the firmware says that it hands over, then each program that it starts.
fn boot_programs(build: &Build) -> Result<PcrReference, ManifestError> {
    let program = |what: &str, file: &[u8]| {
        let mut digests = Digests::default();
        digests.sha256.push(Hex(pe::authenticode(what, file, Bank::Sha256)?));
        digests.sm3.push(Hex(pe::authenticode(what, file, Bank::Sm3)?));
        Ok::<_, ManifestError>(expected(what, digests))
    };
    let events = vec![
        expected("handing over to the boot loader", of(b"Calling EFI Application from Boot Option")),
        expected("separator of PCR 4", of(&[0; 4])),
        program("boot loader", &build.loader)?,
        program("kernel image", &build.kernel)?,
    ];
    Ok(PcrReference { pcr: 4, want: Want::Events(events) })
}

/// PCR 7.
fn secure_boot_state(build: &Build) -> Result<PcrReference, ManifestError> {
    let events = secure_boot::events(&build.keys, &build.signer)?;
    let events = events.iter().map(|e| expected(&e.component, of(&e.measured))).collect();
    Ok(PcrReference { pcr: 7, want: Want::Events(events) })
}

/// PCR 11: the sections of the kernel image, then systemd's phases; by its value, since the firmware's log lacks these.
fn kernel(build: &Build) -> PcrReference {
    let phase = Bank::Sha256.digest(&[LEAVE_INITRD]);
    let value = Hex(Bank::Sha256.extend(&build.pcr11.0, &phase));
    let component = "kernel, initrd and command line (PCR 11)".to_owned();
    PcrReference {
        pcr: 11,
        want: Want::Value { component, digests: Digests { sha256: vec![value], sm3: vec![] } },
    }
}

/// PCR 12: what is added to the kernel's command line, and credentials. Nothing.
fn additions() -> PcrReference {
    let zeros = vec![Hex([0; 32])];
    let component = "additions to the command line (PCR 12)".to_owned();
    let digests = Digests { sha256: zeros.clone(), sm3: zeros };
    PcrReference { pcr: 12, want: Want::Value { component, digests } }
}

/// PCR 14: the gateway's own.
fn own(build: &Build) -> Result<PcrReference, ManifestError> {
    let inventory =
        [Software { name: PROGRAM.to_owned(), version: build.release.clone(), digest: sm3(&build.program) }];
    let mut digests = Digests::default();
    digests.sha256.push(inventory_measurement(Bank::Sha256, &inventory)?);
    digests.sm3.push(inventory_measurement(Bank::Sm3, &inventory)?);
    let configuration =
        Expected { component: CONFIGURATION.to_owned(), digest: ExpectedDigest::ApprovedConfiguration };
    Ok(PcrReference { pcr: 14, want: Want::Events(vec![expected(INVENTORY, digests), configuration]) })
}

/// PCRs that only the board's maker could foretell, as a good box of that board has measured them.
fn board(build: &Build) -> Result<Vec<PcrReference>, ManifestError> {
    let Some((log, wanted)) = &build.board else { return Ok(Vec::new()) };
    let read = |bank| parse_boot_log(log, bank).map(|l| l.events);
    let (sha256, sm3) = (read(Bank::Sha256)?, read(Bank::Sm3).unwrap_or_default());
    let reference = |pcr: &u8| {
        let mut events = Vec::new();
        for (number, event) in sha256.iter().enumerate().filter(|(_, e)| e.pcr == *pcr) {
            let digests = Digests {
                sha256: vec![Hex(event.digest)],
                sm3: sm3.get(number).map(|e| Hex(e.digest)).into_iter().collect(),
            };
            events.push(expected(&format!("firmware: {}", describe(event)), digests));
        }
        PcrReference { pcr: *pcr, want: Want::Events(events) }
    };
    Ok(wanted.iter().map(reference).collect())
}

fn expected(component: &str, digests: Digests) -> Expected {
    let component: String = component.chars().take(100).collect();
    Expected { component, digest: ExpectedDigest::OneOf(digests) }
}

/// Of these bytes, in both banks.
fn of(bytes: &[u8]) -> Digests {
    let [sha256, sm3] = BANKS.map(|b| vec![Hex(b.digest(&[bytes]))]);
    Digests { sha256, sm3 }
}
