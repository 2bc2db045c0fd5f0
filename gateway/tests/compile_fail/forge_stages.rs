//! A type that says what it has passed, made by hand out of what its maker has.
use xinguan::stages::*;

fn reserved(permitted: authorize::PermittedQuery, reservation: gw_policy::ReservationState) {
    let _ = reserve::ReservedQuery { permitted, reservation };
}

fn released(fetched: fetch::Fetched, height: gw_proto::Height, hash: gw_proto::Digest) {
    let _ = release::Released { height, hash };
    let _ = fetched;
}

fn main() {}
