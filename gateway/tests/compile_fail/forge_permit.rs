//! A permit made, changed or used twice outside of `gw_policy`.
use gw_policy::Permit;

fn change(real: Permit, asker: gw_proto::InstitutionId) -> Permit {
    Permit { asker, ..real }
}

fn twice(real: &Permit) -> Permit {
    real.clone()
}

fn from_the_wire(json: &str) -> Permit {
    serde_json::from_str(json).unwrap()
}

fn main() {}
