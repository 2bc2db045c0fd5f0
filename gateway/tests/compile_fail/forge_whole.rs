//! The same with every field in place: they are private.
use xinguan::stages::*;

fn answered(message: gw_proto::report::Answer) -> answer::Answered<gw_proto::report::Answer> {
    answer::Answered { message, quotas: Vec::new() }
}

fn permitted(other: authorize::PermittedQuery, opening: gw_proto::message::Opening) -> authorize::PermittedQuery {
    authorize::PermittedQuery { opening, ..other }
}

fn identified(accepted: Accepted, node: gw_proto::record::Node) {
    let _ = identify::IdentifiedNode { accepted, node };
}

fn main() {}
