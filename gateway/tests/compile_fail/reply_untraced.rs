//! A signed reply leaves before its trace is durable, or is taken out of its stage.
use xinguan::stages::*;

fn skip(signed: answer::SignedReplyAndTrail) {
    let _ = answer::to_gateway(signed);
}

fn take_out(signed: answer::SignedReplyAndTrail) -> gw_proto::message::SignedReply {
    signed.message
}

fn main() {}
