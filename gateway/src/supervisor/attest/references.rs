//! Reference manifests, their makers, the chips' manufacturers: read once at start.
//!
//! A manifest counts if enough makers signed it and, once governance has listed any on the ledger, if it is listed there.

use crate::config::{Problem, Verifier};
use gw_attest::{
    endorsement::Manufacturers,
    reference::{MAX_MANIFEST_BYTES, Makers, TrustedManifest},
};
use gw_policy::{StateError, View};
use gw_proto::{Digest, Standing, genesis::Governance, record::ReferenceManifest};
use std::{borrow::Cow, collections::BTreeSet, path::Path};

/// A list of makers' keys is smaller.
const MAX_MAKERS_BYTES: u64 = 64 * 1024;
/// So is a file of some hundred certificates.
const MAX_MANUFACTURERS_BYTES: u64 = 1024 * 1024;
/// Releases that are valid at once are few.
const MAX_MANIFESTS: usize = 256;

/// What should be measured.
#[derive(Debug, Clone)]
pub struct References {
    /// signatures hold; whether they are in date is for each verdict
    manifests: Vec<TrustedManifest>,
    /// each as it was signed, and its digest: goes with what is exported
    signed: Vec<(Digest, Vec<u8>)>,
    /// whose chips may be enrolled; none: whatever the operator brings
    pub manufacturers: Option<Manufacturers>,
}

impl References {
    /// Reads all; every file in the folder must be a manifest that enough makers signed.
    pub fn load(config: &Verifier) -> Result<Self, Vec<Problem>> {
        let makers = self::makers(&config.makers).map_err(|p| vec![p])?;
        let manufacturers = config.manufacturers.as_deref().map(manufacturers).transpose();
        let manufacturers = manufacturers.map_err(|p| vec![p])?;
        let mut this = Self { manifests: Vec::new(), signed: Vec::new(), manufacturers };
        let mut problems = Vec::new();
        for path in files(&config.manifests).map_err(|p| vec![p])? {
            let bytes = read(&path, u64::try_from(MAX_MANIFEST_BYTES).unwrap_or(u64::MAX));
            let parsed = bytes.and_then(|bytes| {
                let manifest = TrustedManifest::parse(&bytes, &makers).map_err(|e| e.to_string())?;
                let digest = manifest.get().digest().map_err(|e| e.to_string())?;
                Ok((manifest, (digest, bytes)))
            });
            match parsed {
                Ok((manifest, signed)) => {
                    this.manifests.push(manifest);
                    this.signed.push(signed);
                }
                Err(what) => problems.push(manifest_problem(format!("{}: {what}", path.display()))),
            }
        }
        if problems.is_empty() { Ok(this) } else { Err(problems) }
    }

    /// Those that count now: all, until governance has listed one; then those that are listed and not withdrawn.
    pub fn in_force(&self, view: &View<'_>) -> Result<Cow<'_, [TrustedManifest]>, StateError> {
        Ok(self.among(&view.references()?))
    }

    fn among(&self, listed: &[ReferenceManifest]) -> Cow<'_, [TrustedManifest]> {
        if listed.is_empty() {
            return Cow::Borrowed(&self.manifests);
        }
        let active = listed.iter().filter(|r| r.standing == Standing::Active);
        let active: BTreeSet<Digest> = active.map(|r| r.digest).collect();
        let all = self.manifests.iter().zip(&self.signed);
        all.filter(|(_, (digest, _))| active.contains(digest)).map(|(m, _)| m.clone()).collect()
    }

    /// The signed form of a manifest.
    pub fn signed(&self, manifest: &TrustedManifest) -> Option<&[u8]> {
        let at = self.manifests.iter().position(|m| m == manifest)?;
        self.signed.get(at).map(|(_, bytes)| bytes.as_slice())
    }
}

/// Makers of a file.
pub fn makers(path: &Path) -> Result<Makers, Problem> {
    let problem = |what: String| Problem {
        key: "supervisor.attestation.makers".to_owned(),
        what: format!("{}: {what}", path.display()),
        remedy: "give JSON {\"threshold\": k, \"keys\": [{\"scheme\", \"point\"}, …]}".to_owned(),
    };
    let bytes = read(path, MAX_MAKERS_BYTES).map_err(problem)?;
    let of: Governance = serde_json::from_slice(&bytes).map_err(|e| problem(e.to_string()))?;
    let threshold = usize::try_from(of.threshold).unwrap_or(usize::MAX);
    Makers::new(of.keys, threshold).map_err(|e| problem(e.to_string()))
}

fn manufacturers(path: &Path) -> Result<Manufacturers, Problem> {
    let problem = |what: String| Problem {
        key: "supervisor.attestation.manufacturers".to_owned(),
        what: format!("{}: {what}", path.display()),
        remedy: "give the manufacturers' certificates in PEM, at least one root among them".to_owned(),
    };
    let bytes = read(path, MAX_MANUFACTURERS_BYTES).map_err(problem)?;
    let all = gw_sm::cert::certs_from_pem(&bytes).map_err(|e| problem(e.to_string()))?;
    Manufacturers::new(all.iter().map(Vec::as_slice)).map_err(|e| problem(e.to_string()))
}

fn manifest_problem(what: String) -> Problem {
    Problem {
        key: "supervisor.attestation.manifests".to_owned(),
        what,
        remedy: "take the manifest as its makers published it, or correct supervisor.attestation.makers"
            .to_owned(),
    }
}

/// The `.json` files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, Problem> {
    let failed = |e: std::io::Error| manifest_problem(format!("{}: {e}", folder.display()));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "json") {
            all.push(path);
        }
    }
    if all.len() > MAX_MANIFESTS {
        return Err(manifest_problem(format!("{}: more than {MAX_MANIFESTS} files", folder.display())));
    }
    all.sort();
    Ok(all)
}

/// At most `max` bytes of a file.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(max.saturating_add(1)).read_to_end(&mut out).map_err(|e| e.to_string())?;
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > max {
        return Err(format!("larger than {max} bytes"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_attest::reference::{Manifest, ManifestSignature, PcrReference, SignedManifest, VERSION, Want};
    use gw_proto::{Hex, Scheme, UnixMillis};

    fn of(makers: &Makers, maker: &gw_sm::KeyPair, number: u32) -> (TrustedManifest, (Digest, Vec<u8>)) {
        let manifest = Manifest {
            v: VERSION,
            release: "1.4.2".to_owned(),
            number,
            not_before: UnixMillis(1),
            not_after: UnixMillis(2),
            image: None,
            pcrs: vec![PcrReference { pcr: 4, want: Want::Events(Vec::new()) }],
        };
        let digest = manifest.digest().unwrap();
        let signature = maker.sign(&manifest.signing_input().unwrap()).unwrap();
        let signatures = vec![ManifestSignature { key: maker.public_key().id(), signature }];
        let bytes = serde_json::to_vec(&SignedManifest { manifest, signatures }).unwrap();
        (TrustedManifest::parse(&bytes, makers).unwrap(), (digest, bytes))
    }

    #[test]
    fn once_the_ledger_lists_manifests_no_others_count() {
        let maker = gw_sm::KeyPair::from_secret(Scheme::Sm2Sm3, [1; 32]).unwrap();
        let makers = Makers::new(vec![*maker.public_key()], 1).unwrap();
        let (manifests, signed): (Vec<_>, Vec<_>) =
            [1, 2].map(|n| of(&makers, &maker, n)).into_iter().unzip();
        let digests: Vec<Digest> = signed.iter().map(|(d, _)| *d).collect();
        let all = References { manifests, signed, manufacturers: None };
        let listed = |digest, standing| ReferenceManifest { digest, release: "1.4.2".to_owned(), standing };
        let numbers = |listed: &[ReferenceManifest]| {
            all.among(listed).iter().map(|m| m.get().number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[]), [1, 2], "a ledger that lists none leaves it to the files");
        assert_eq!(numbers(&[listed(digests[1], Standing::Active)]), [2]);
        assert_eq!(numbers(&[listed(Hex([7; 32]), Standing::Active)]), [0; 0], "another one is listed");
        let withdrawn = [listed(digests[0], Standing::Active), listed(digests[1], Standing::Blocked)];
        assert_eq!(numbers(&withdrawn), [1]);
        let used = all.among(&withdrawn).first().cloned().unwrap();
        assert_eq!(all.signed(&used), Some(all.signed[0].1.as_slice()));
    }
}
