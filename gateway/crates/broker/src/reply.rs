//! Whether one reply is believed: the right words, from the right node, over the right connection.

use crate::exchange::Terms;
use gw_proof::{ItemError, ProofError, check_items, verify_leaf};
use gw_proto::{
    Digest, Height, Hex,
    canon::{self, domain},
    merkle::LeafKind,
    message::{MAX_REPLY_BYTES, ReplyStatus, SignedReply, VERSION},
    record::Node,
};

/// Why a reply is not believed. Never carries what the reply says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// Another version.
    #[error("version {found}, expected {VERSION}")]
    Version {
        /// version found
        found: u32,
    },
    /// Another node answers than the one that was asked.
    #[error("it names another source than the node that was asked")]
    Source,
    /// It is for another asker.
    #[error("it is for another asker")]
    Asker,
    /// It is for another use.
    #[error("it is for another report id")]
    ReportId,
    /// It answers a request that we did not make to this node.
    #[error("it answers another request than ours")]
    Request,
    /// It was made for another connection.
    #[error("it is bound to another connection")]
    Channel,
    /// The source's state was older than the reservation.
    #[error("it was released at height {found}, before the reservation at {reserved_at}")]
    Height {
        /// the reply's height
        found: Height,
        /// the reservation's
        reserved_at: Height,
    },
    /// It says empty and carries items.
    #[error("it says that it is empty, and carries items")]
    NotEmpty,
    /// The catalogue's name is no version.
    #[error("its catalogue version is malformed")]
    Catalogue,
    /// An item is not sane, or of a dimension that was not asked for.
    #[error("items: {0}")]
    Items(#[from] ItemError),
    /// No canonical form.
    #[error("it has no canonical form")]
    Canon,
    /// Larger than 1 MiB.
    #[error("it has {found} bytes, at most {MAX_REPLY_BYTES} are taken")]
    Size {
        /// bytes found
        found: usize,
    },
    /// The signature does not hold.
    #[error("signature: {0}")]
    Proof(#[from] ProofError),
}

/// Checks a reply of `source` to one of `requests` (leaf hashes of what we sent it in this attempt), which
/// came over the connection with exporter value `channel`. Cheap checks first, the signature last.
pub fn check_reply(
    terms: &Terms,
    source: &Node,
    signed: &SignedReply,
    channel: &Hex<32>,
    requests: &[Digest],
) -> Result<(), ReplyFault> {
    let r = &signed.reply;
    if r.v != VERSION {
        return Err(ReplyFault::Version { found: r.v });
    }
    if r.source != source.id {
        return Err(ReplyFault::Source);
    }
    if r.asker != terms.asker {
        return Err(ReplyFault::Asker);
    }
    if r.report_id != terms.report_id {
        return Err(ReplyFault::ReportId);
    }
    if !requests.contains(&r.request_leaf) {
        return Err(ReplyFault::Request);
    }
    if r.channel != *channel {
        return Err(ReplyFault::Channel);
    }
    if r.height < terms.reserved_at {
        return Err(ReplyFault::Height { found: r.height, reserved_at: terms.reserved_at });
    }
    if r.status == ReplyStatus::Empty && !r.items.is_empty() {
        return Err(ReplyFault::NotEmpty);
    }
    if !is_version(&r.catalogue) {
        return Err(ReplyFault::Catalogue);
    }
    check_items(&r.items, &terms.dimensions)?;
    let body = canon::jcs(r).map_err(|_| ReplyFault::Canon)?;
    if body.len() > MAX_REPLY_BYTES {
        return Err(ReplyFault::Size { found: body.len() });
    }
    let digest = canon::domain_digest(domain::REPLY, &body);
    Ok(verify_leaf(&signed.proof, &source.key, LeafKind::Reply, terms.asker.as_str(), &digest)?)
}

fn is_version(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use gw_proto::Dimension;

    #[test]
    fn an_honest_reply_is_believed_and_every_lie_has_its_name() {
        let (node, request, channel) = (node(1), Hex([6; 32]), Hex([7; 32]));
        let honest = signed(reply(&node.id, request, channel), &key_of(&node.id));
        let check = |s: &SignedReply| check_reply(&terms(), &node, s, &channel, &[Hex([1; 32]), request]);
        assert_eq!(check(&honest), Ok(()));
        let found = 1_100;
        let expected: [&dyn Fn(&ReplyFault) -> bool; LIES] = [
            &|f| *f == ReplyFault::Version { found: 2 },
            &|f| *f == ReplyFault::Source,
            &|f| *f == ReplyFault::Asker,
            &|f| *f == ReplyFault::ReportId,
            &|f| *f == ReplyFault::Request,
            &|f| *f == ReplyFault::Channel,
            &|f| *f == ReplyFault::Height { found: Height(9), reserved_at: Height(10) },
            &|f| *f == ReplyFault::NotEmpty,
            &|f| *f == ReplyFault::Catalogue,
            &|f| *f == ReplyFault::Items(ItemError::Dimension { index: 0, dimension: Dimension::Legal }),
            &|f| matches!(f, ReplyFault::Size { found: bytes } if *bytes > found * 1_000),
            &|f| matches!(f, ReplyFault::Proof(ProofError::KeyId { .. })),
            &|f| *f == ReplyFault::Proof(ProofError::Digest),
            &|f| matches!(f, ReplyFault::Proof(ProofError::Kind { .. })),
        ];
        for (which, fits) in expected.iter().enumerate() {
            let fault = check(&lie(&node.id, request, channel, which)).unwrap_err();
            assert!(fits(&fault), "lie {which}: {fault}");
        }
    }

    #[test]
    fn a_reply_to_nothing_we_sent_is_refused() {
        let (node, channel) = (node(1), Hex([7; 32]));
        let s = signed(reply(&node.id, Hex([6; 32]), channel), &key_of(&node.id));
        assert_eq!(check_reply(&terms(), &node, &s, &channel, &[]), Err(ReplyFault::Request));
    }
}
