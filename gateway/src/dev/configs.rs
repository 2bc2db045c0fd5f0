//! The configuration files of a development consortium's gateways.

use super::consortium::{Member, Ports};
use gw_proto::Role;
use std::fmt::Write as _;

/// An operator's line.
pub struct OperatorLine {
    /// name
    pub name: String,
    /// SM3 of the key's SubjectPublicKeyInfo, hex
    pub spki: String,
    /// roles
    pub roles: &'static [&'static str],
}

/// How a development consortium attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attests {
    /// not at all
    No,
    /// and enrolments rest on the operator
    Yes,
    /// by chips of pinned manufacturers
    Endorsed,
}

/// One gateway's TOML. Paths are relative to the file.
pub fn gateway(
    member: &Member,
    ports: Ports,
    profile: &str,
    keystore: &str,
    ledger_url: &str,
    operators: &[OperatorLine],
    attests: Attests,
) -> String {
    let mut t =
        String::from("# Made by `xinguan dev consortium`: a development consortium, never for real data.\n");
    let roles: Vec<String> = member.roles.iter().map(|r| format!("\"{}\"", role_name(*r))).collect();
    let _ = write!(
        t,
        "\n[node]\nid = \"{}\"\ninstitution = \"{}\"\nregion = \"{}\"\nroles = [{}]\ndata_dir = \"data\"\n\
         \n{keystore}\
         \n[trust]\ngenesis = \"../../genesis.json\"\nman_roots = \"../../pki/man-root.pem\"\nadmin_roots = \"inside-root.pem\"\n",
        member.node,
        member.institution,
        member.region,
        roles.join(", ")
    );
    let is = |r: Role| member.roles.contains(&r);
    if is(Role::Institution) {
        t.push_str("bank_roots = \"inside-root.pem\"\n");
    }
    let names = if ports.address.is_loopback() { String::new() } else { format!(", \"{}\"", ports.address) };
    let _ = write!(
        t,
        "\n[identity]\nnode_ca_chain = \"node-ca.pem\"\nextra_names = [\"127.0.0.1\", \"localhost\"{names}]\n"
    );
    if is(Role::Institution) {
        let _ =
            write!(t, "\n[listen.bank]\naddress = \"{}\"\nprofile = \"{profile}\"\n", ports.at(ports.bank));
    }
    if is(Role::Source) || is(Role::Supervisor) {
        let _ = write!(t, "\n[listen.man]\naddress = \"{}\"\nprofile = \"{profile}\"\n", ports.at(ports.man));
    }
    let _ = write!(t, "\n[listen.admin]\naddress = \"{}\"\nprofile = \"{profile}\"\n", ports.at(ports.admin));
    for o in operators {
        let roles: Vec<String> = o.roles.iter().map(|r| format!("\"{r}\"")).collect();
        let _ = write!(
            t,
            "\n[[operators]]\nname = \"{}\"\nspki = \"{}\"\nroles = [{}]\n",
            o.name,
            o.spki,
            roles.join(", ")
        );
    }
    let _ = write!(
        t,
        "\n[ledger]\n# one development ledger, one endpoint: a real gateway follows two of different owners\n\
         endpoints = [{{ url = \"{ledger_url}\", owner = \"development\" }}]\nsingle_endpoint_ok = true\npoll_ms = 100\n\
         profile = \"{profile}\"\nroots = \"../../pki/man-root.pem\"\n"
    );
    if is(Role::Source) {
        t.push_str("\n[source]\nmapping = \"mapping.toml\"\ndatabase = \"bureau.sqlite\"\n");
    }
    if is(Role::Supervisor) {
        t.push_str("\n[supervisor]\ndatabase = \"supervisor.sqlite\"\n");
        if attests != Attests::No {
            t.push_str(&super::reference::section(attests == Attests::Endorsed));
        }
    }
    if attests != Attests::No {
        t.push_str("\n[attestation]\n# often, so that there is something to see\ninterval_s = 5\n");
    }
    t.push_str("\n[telemetry]\nlevel = \"info\"\nformat = \"json\"\n");
    t
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Institution => "institution",
        Role::Source => "source",
        Role::Supervisor => "supervisor",
    }
}
