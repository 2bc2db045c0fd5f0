//! Does E prove S?

use crate::refusal::Refusal;
use crate::view::View;
use gw_proto::message::{Evidence, MAX_CHAIN, Statement};
use gw_proto::{B64, EvidenceLevel, Signature, UnixMillis};
use gw_sm::cert::{Anchors, CertError, Expect, VerifiedCert, verify_chain};

/// Checks that the evidence is of the statement's level and proves it. `at` is when the certificates must be
/// in date: at an upload now, at a request the time at which the chain took the authorization.
///
/// Asserted evidence proves nothing here: the document is produced to the supervisor on demand, and the policy
/// caps what it is good for.
pub fn check_evidence(
    view: &View<'_>,
    statement: &Statement,
    evidence: &Evidence,
    at: UnixMillis,
) -> Result<(), Refusal> {
    let (claimed, proved) = (statement.level, evidence.level());
    if claimed > proved {
        return Err(Refusal::LevelAboveProof { claimed, proved });
    }
    if claimed < proved {
        return Err(Refusal::LevelMismatch { claimed, proved });
    }
    match evidence {
        Evidence::Asserted { .. } => Ok(()),
        Evidence::Signed { signature, chain } => {
            let signer = find_signer(view, EvidenceLevel::Signed, chain, at)?;
            // the enterprise's own key: its certificate names it
            if signer.subject.serial_number.as_deref() != Some(statement.subject.expose()) {
                return Err(Refusal::EvidenceSubject);
            }
            check_signature(&signer, statement, signature)
        }
        // a seal service's certificate names the service
        Evidence::Sealed { signature, chain } => {
            let signer = find_signer(view, EvidenceLevel::Sealed, chain, at)?;
            check_signature(&signer, statement, signature)
        }
    }
}

/// The end entity of a chain under an active evidence root of this level.
fn find_signer(
    view: &View<'_>,
    level: EvidenceLevel,
    chain: &[B64],
    at: UnixMillis,
) -> Result<VerifiedCert, Refusal> {
    if chain.len() > MAX_CHAIN {
        let (what, found) = ("certificates of the evidence", chain.len());
        return Err(Refusal::EvidenceChain(CertError::TooMany { what, found, limit: MAX_CHAIN }));
    }
    let listed = view.evidence_roots(level)?;
    // governance may list what this program cannot read: that root is of no use, the others still are
    let roots: Vec<&[u8]> = listed
        .iter()
        .map(|r| r.certificate.0.as_slice())
        .filter(|der| Anchors::new(&[*der]).is_ok())
        .collect();
    let chain: Vec<&[u8]> = chain.iter().map(|c| c.0.as_slice()).collect();
    if roots.is_empty() {
        return Err(Refusal::EvidenceChain(CertError::UnknownIssuer));
    }
    verify_chain(&chain, &roots, at, Expect::EvidenceSigner).map_err(Refusal::EvidenceChain)
}

fn check_signature(
    signer: &VerifiedCert,
    statement: &Statement,
    signature: &Signature,
) -> Result<(), Refusal> {
    let input = statement.signing_input().map_err(|_| Refusal::NotCanonical)?;
    gw_sm::verify(&signer.public_key, &input, signature).map_err(|_| Refusal::EvidenceSignature)
}
