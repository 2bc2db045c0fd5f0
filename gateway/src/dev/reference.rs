//! The reference manifest of a development build: what this very program measures on a simulated chip.
//!
//! The image build writes the real ones (images/manifest). A simulated chip has no firmware: its PCRs hold zeros.

use super::pki::{fresh_key, write_private};
use crate::attester::{RELEASE, measure};
use anyhow::{Result, anyhow};
use gw_attest::{
    Bank,
    evidence::{CONFIGURATION, INVENTORY, inventory_measurement},
    reference::{
        Digests, Expected, ExpectedDigest, Manifest, ManifestSignature, PcrReference, SignedManifest,
        VERSION, Want,
    },
};
use gw_proto::{Hex, Scheme, Standing, UnixMillis, genesis::Governance, record::ReferenceManifest};
use std::{path::Path, time::Duration};

/// PCRs of the firmware that a simulated chip leaves alone.
const EMPTY: [(u8, &str); 4] =
    [(0, "firmware"), (2, "option ROMs"), (4, "boot loader"), (7, "Secure Boot state")];
const LASTS: Duration = Duration::from_secs(90 * 24 * 3600);

/// `[supervisor.attestation]` of a development consortium; `endorsed`: manufacturers are pinned.
pub(super) fn section(endorsed: bool) -> String {
    let mut pcrs: Vec<String> = EMPTY.iter().map(|(pcr, _)| pcr.to_string()).collect();
    pcrs.push(measure::OWN_PCR.to_string());
    let pinned = if endorsed { "manufacturers = \"../../attestation/manufacturers.pem\"\n" } else { "" };
    format!(
        "\n[supervisor.attestation]\nmanifests = \"../../attestation/manifests\"\n\
         makers = \"../../attestation/makers.json\"\n{pinned}pcrs = [{}]\nfloor = 1\nsilence_s = 1800\n",
        pcrs.join(", ")
    )
}

/// A maker's key, the list of makers, and one signed manifest, for governance to list.
pub(super) fn make(folder: &Path, now: UnixMillis) -> Result<ReferenceManifest> {
    let maker = fresh_key(Scheme::Sm2Sm3)?;
    let pem = gw_sm::cert::key_to_pem(&maker).map_err(|e| anyhow!("{e}"))?;
    write_private(&folder.join("maker.key"), pem.as_bytes())?;
    let makers = Governance { threshold: 1, keys: vec![*maker.public_key()] };
    write_private(&folder.join("makers.json"), &serde_json::to_vec_pretty(&makers)?)?;
    let manifest = manifest(now)?;
    let digest = manifest.digest()?;
    let signature = maker.sign(&manifest.signing_input()?)?;
    let signatures = vec![ManifestSignature { key: maker.public_key().id(), signature }];
    let signed = serde_json::to_vec_pretty(&SignedManifest { manifest, signatures })?;
    write_private(&folder.join(format!("manifests/{RELEASE}.json")), &signed)?;
    Ok(ReferenceManifest { digest, release: RELEASE.to_owned(), standing: Standing::Active })
}

fn manifest(now: UnixMillis) -> Result<Manifest> {
    let empty = |(pcr, name): (u8, &str)| {
        let zeros = vec![Hex([0; 32])];
        let digests = Digests { sha256: zeros.clone(), sm3: zeros };
        PcrReference { pcr, want: Want::Value { component: format!("{name} (PCR {pcr})"), digests } }
    };
    let mut pcrs: Vec<PcrReference> = EMPTY.into_iter().map(empty).collect();
    let inventory = measure::inventory()?;
    let of = |bank| Ok::<_, anyhow::Error>(vec![inventory_measurement(bank, &inventory)?]);
    let digests = Digests { sha256: of(Bank::Sha256)?, sm3: of(Bank::Sm3)? };
    let event = |component: &str, digest| Expected { component: component.to_owned(), digest };
    let own = vec![
        event(INVENTORY, ExpectedDigest::OneOf(digests)),
        event(CONFIGURATION, ExpectedDigest::ApprovedConfiguration),
    ];
    pcrs.push(PcrReference { pcr: measure::OWN_PCR, want: Want::Events(own) });
    Ok(Manifest {
        v: VERSION,
        release: RELEASE.to_owned(),
        number: 1,
        not_before: UnixMillis(now.0.saturating_sub(3_600_000)),
        not_after: now.plus(LASTS),
        image: None,
        pcrs,
    })
}
