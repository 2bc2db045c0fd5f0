//! The packet filter's openings, out of the gateway's configuration: each listener's address and port, nothing else.
//!
//! Only the addresses are read here. Whether the rest is right was judged before, by `xinguan check-config`.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// More listeners than the gateway knows are a mistake.
const MAX_LISTENERS: usize = 16;

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    listen: BTreeMap<String, Listener>,
}

#[derive(Deserialize)]
struct Listener {
    address: Option<SocketAddr>,
}

/// Rules for nft(8): they replace those of the chain `opened`.
pub(crate) fn rules(configuration: &str) -> Result<String, String> {
    let read: Configuration = toml::from_str(configuration).map_err(|e| e.to_string())?;
    if read.listen.len() > MAX_LISTENERS {
        return Err(format!("{} listeners, at most {MAX_LISTENERS} are taken", read.listen.len()));
    }
    let mut out = String::from("flush chain inet xinguan opened\n");
    for (name, listener) in &read.listen {
        if let Some(address) = listener.address {
            out.push_str(&rule(name, address)?);
        }
    }
    Ok(out)
}

fn rule(name: &str, address: SocketAddr) -> Result<String, String> {
    // it becomes a comment between quotation marks
    if name.is_empty() || name.len() > 32 || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Err("a listener's name is not of small letters".to_owned());
    }
    let to = match address.ip() {
        ip if ip.is_unspecified() => String::new(),
        IpAddr::V4(ip) => format!("ip daddr {ip} "),
        IpAddr::V6(ip) => format!("ip6 daddr {ip} "),
    };
    Ok(format!("add rule inet xinguan opened {to}tcp dport {} accept comment \"{name}\"\n", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[node]\nid = \"x\"\n[listen.bank]\naddress = \"10.0.2.15:8443\"\n[listen.bank.limits]\nconnections = 3\n\
        [listen.man]\naddress = \"[2001:db8::1]:9443\"\n[listen.admin]\naddress = \"0.0.0.0:9000\"\n";

    #[test]
    fn each_listener_opens_its_own_address_only() {
        let lines = rules(TWO).unwrap();
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "flush chain inet xinguan opened",
                "add rule inet xinguan opened tcp dport 9000 accept comment \"admin\"",
                "add rule inet xinguan opened ip daddr 10.0.2.15 tcp dport 8443 accept comment \"bank\"",
                "add rule inet xinguan opened ip6 daddr 2001:db8::1 tcp dport 9443 accept comment \"man\"",
            ]
        );
    }

    #[test]
    fn without_listeners_nothing_opens() {
        assert_eq!(rules("[node]\nid = \"x\"\n").unwrap(), "flush chain inet xinguan opened\n");
    }

    #[test]
    fn what_is_written_there_never_becomes_a_rule() {
        for bad in [
            "[listen.\"a\\\" ; add rule\"]\naddress = \"1.2.3.4:1\"",
            "[listen.bank]\naddress = \"0.0.0.0:1 accept\"",
            "[listen.BANK]\naddress = \"0.0.0.0:1\"",
            "listen = 3",
            "\u{0}",
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
        let many: String = (0..17).map(|i| format!("[listen.{}]\n", "a".repeat(i + 1))).collect();
        assert!(rules(&many).is_err());
    }
}
