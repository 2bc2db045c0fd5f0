//! Reference manifests, their makers, the chips' manufacturers: read once at start.

use crate::config::{Problem, Verifier};
use gw_attest::{
    endorsement::Manufacturers,
    reference::{MAX_MANIFEST_BYTES, Makers, TrustedManifest},
};
use gw_proto::genesis::Governance;
use std::path::Path;

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
    pub manifests: Vec<TrustedManifest>,
    /// each as it was signed: goes with what is exported
    pub signed: Vec<Vec<u8>>,
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
                Ok((manifest, bytes))
            });
            match parsed {
                Ok((manifest, bytes)) => {
                    this.manifests.push(manifest);
                    this.signed.push(bytes);
                }
                Err(what) => problems.push(manifest_problem(format!("{}: {what}", path.display()))),
            }
        }
        if problems.is_empty() { Ok(this) } else { Err(problems) }
    }

    /// The signed form of the manifest that a claimed release is judged by: the highest of its name.
    pub fn signed_of(&self, release: &str) -> Option<&[u8]> {
        let all = self.manifests.iter().zip(&self.signed);
        let named = all.filter(|(m, _)| m.get().release == release);
        named.max_by_key(|(m, _)| m.get().number).map(|(_, bytes)| bytes.as_slice())
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
