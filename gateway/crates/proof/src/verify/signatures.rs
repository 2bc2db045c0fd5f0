//! Certificate chains, and the signatures of the report and of each reply.

use super::{Checks, Keys, Stop, TrustFile, fail, failed, hold, skipped};
use crate::{verdict::CheckName, verify_leaf};
use gw_proto::{
    NodeId, PublicKey,
    merkle::LeafKind,
    message::SignedReply,
    report::{Answer, NodeCertificates},
};
use gw_sm::cert::{Expect, verify_chain};
use std::collections::BTreeSet;

/// Runs them; gives the keys of the nodes whose certificates hold.
pub(super) fn check<'a>(answer: &'a Answer, trust: &TrustFile, checks: &mut Checks) -> Keys<'a> {
    let mut signers = BTreeSet::from([&answer.report.node]);
    signers.extend(answer.replies.iter().map(|r| &r.reply.source));
    let mut keys = Keys::new();
    for node in signers {
        let result = certificate(answer, trust, node);
        let good = "chain to a root of the trust file, valid at the report's time";
        if let Some(key) = checks.take(CheckName::Certificate, Some(node), good, result) {
            keys.insert(node, key);
        }
    }
    let node = &answer.report.node;
    let good = format!("by node {node}, for the operator that asked");
    checks.take(CheckName::ReportSignature, None, &good, report(answer, keys.get(node)));
    for signed in &answer.replies {
        let source = &signed.reply.source;
        let result = reply(signed, keys.get(source));
        checks.take(CheckName::ReplySignature, Some(source), "by the source's node key", result);
    }
    keys
}

fn certificate(answer: &Answer, trust: &TrustFile, node: &NodeId) -> Result<PublicKey, Stop> {
    let mut of_node = answer.certificates.iter().filter(|c| c.node == *node);
    let chain = match (of_node.next(), of_node.next()) {
        (Some(NodeCertificates { chain, .. }), None) => chain,
        (None, _) => return failed("no certificate is given for this node"),
        _ => return failed("certificates are given twice for this node"),
    };
    let chain: Vec<&[u8]> = chain.iter().map(|c| c.0.as_slice()).collect();
    let roots: Vec<&[u8]> = trust.roots.iter().map(|c| c.0.as_slice()).collect();
    let cert = verify_chain(&chain, &roots, answer.report.created, Expect::NodeKey).map_err(fail)?;
    hold(cert.subject.common_name.as_deref() == Some(node.as_str()), "the certificate names another node")?;
    Ok(cert.public_key)
}

fn report(answer: &Answer, key: Option<&PublicKey>) -> Result<(), Stop> {
    let Some(key) = key else { return skipped("the node's certificate is not verified") };
    let digest = answer.report.digest().map_err(fail)?;
    let audience = answer.report.operator_tag.to_string();
    verify_leaf(&answer.proof, key, LeafKind::Report, &audience, &digest).map_err(fail)
}

/// For the asker that the reply names; whether that is ours is another check.
fn reply(signed: &SignedReply, key: Option<&PublicKey>) -> Result<(), Stop> {
    let Some(key) = key else { return skipped("the source's certificate is not verified") };
    let digest = signed.reply.digest().map_err(fail)?;
    verify_leaf(&signed.proof, key, LeafKind::Reply, signed.reply.asker.as_str(), &digest).map_err(fail)
}
