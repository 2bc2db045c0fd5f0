//! Whether the enrolled node key lies in the enrolled signing chip.

use super::Context;
use crate::{
    attest_structure::{Signs, Subject, parse_attested, parse_chip_key},
    evidence::{Bundle, NodeKey, certify_extra_data},
    hash::Bank,
    verdict::{CheckName as N, Sheet},
};
use gw_proto::{B64, HexBytes, Signature};

const EXPECTED: &str = "the enrolled node key, certified by the enrolled signing chip";

pub(super) fn check(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>) {
    let allowed = context.policy.get().uncertified_node_key;
    let outcome = match (&bundle.claims.node_key, &context.enrolled.signing_key) {
        (NodeKey::NotCertified { reason }, None) if allowed => {
            return sheet.fine(N::NodeKey, format!("by the enrolment ceremony only: {reason}"));
        }
        (NodeKey::NotCertified { reason }, _) => Err(format!("not certified: {reason}")),
        (NodeKey::Certified { .. }, None) => Err("certified by a chip that was not enrolled".to_owned()),
        (NodeKey::Certified { public_area, signer, attested, signature, hash }, Some(enrolled)) => {
            let certificate = Certificate { public_area, signer, attested, signature, hash: *hash };
            certificate.check(enrolled, context)
        }
    };
    match outcome {
        Ok(()) => sheet.fine(N::NodeKey, "certified"),
        Err(found) => drop(sheet.check(N::NodeKey, false, EXPECTED, found)),
    }
}

struct Certificate<'a> {
    public_area: &'a B64,
    signer: &'a B64,
    attested: &'a B64,
    signature: &'a Signature,
    hash: Bank,
}

impl Certificate<'_> {
    fn check(&self, enrolled: &HexBytes, context: &Context<'_>) -> Result<(), String> {
        let signer = parse_chip_key(&self.signer.0).map_err(|e| format!("signing chip's key: {e}"))?;
        if signer.name() != enrolled.0 {
            return Err(format!("signed by another chip's key {}", hex::encode(signer.name())));
        }
        let wrong = signer.wrong_attributes(Signs::OnlyAttestations);
        if !wrong.is_empty() {
            return Err(format!("signing chip's key: {}", wrong.join(", ")));
        }
        let verified = signer.verifies(&self.attested.0, self.hash, self.signature);
        verified.map_err(|e| format!("certificate: {e}"))?;
        let said = parse_attested(&self.attested.0).map_err(|e| format!("certificate: {e}"))?;
        let asked = context.challenge;
        let expected = certify_extra_data(&asked.nonce, &asked.device, &asked.channel);
        if said.extra_data != expected.map_err(|e| e.to_string())? {
            return Err("a certificate made for another challenge".to_owned());
        }
        let Subject::Certify { name } = &said.subject else {
            return Err(format!("a statement of kind {}", said.subject.as_str()));
        };
        self.key(name, context)
    }

    fn key(&self, certified: &[u8], context: &Context<'_>) -> Result<(), String> {
        let node = parse_chip_key(&self.public_area.0).map_err(|e| format!("node key: {e}"))?;
        if node.name() != certified {
            return Err(format!("a certificate of another key, {}", hex::encode(certified)));
        }
        let wrong = node.wrong_attributes(Signs::Messages);
        if !wrong.is_empty() {
            return Err(format!("node key: {}", wrong.join(", ")));
        }
        let public = node.public_key().map_err(|e| format!("node key: {e}"))?;
        if public != context.enrolled.node_key {
            return Err(format!("another node key, {}", public.id()));
        }
        Ok(())
    }
}
