//! Network cards that are there: names, addresses, whether a cable is in.

use crate::places::{Places, read_text};
use std::fs;

/// More cards than any board has.
const MAX_LINKS: usize = 32;

/// One card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `enp1s0`
    pub name: String,
    /// `52:54:00:00:00:01`
    pub mac: String,
    /// whether a cable is in; none while the card is down
    pub carrier: Option<bool>,
}

/// All cards of the board, by name; nothing that software made.
pub fn links(places: &Places) -> Vec<Link> {
    let folder = places.at("/sys/class/net");
    let mut found: Vec<Link> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let text = |file: &str| read_text(&entry.path().join(file), 64).map(|t| t.trim().to_owned());
            let mac = text("address").ok().filter(|m| is_mac(m))?;
            let carrier = text("carrier").ok().map(|c| c == "1");
            Some(Link { name: entry.file_name().into_string().ok()?, mac, carrier })
        })
        .take(MAX_LINKS)
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Six octets, not all zero.
pub fn is_mac(text: &str) -> bool {
    let octets: Vec<_> = text.split(':').collect();
    octets.len() == 6
        && octets.iter().all(|o| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit()))
        && octets.iter().any(|o| *o != "00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cards_count() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path());
        for (name, mac, carrier, card) in [
            ("enp2s0", "52:54:00:00:00:02\n", "0\n", true),
            ("enp1s0", "52:54:00:00:00:01\n", "1\n", true),
            ("lo", "00:00:00:00:00:00\n", "1\n", false),
            ("strange", "nonsense\n", "1\n", true),
        ] {
            let at = places.at("/sys/class/net").join(name);
            fs::create_dir_all(if card { at.join("device") } else { at.clone() }).unwrap();
            fs::write(at.join("address"), mac).unwrap();
            fs::write(at.join("carrier"), carrier).unwrap();
        }
        let found = links(&places);
        let short: Vec<_> = found.iter().map(|l| (l.name.as_str(), l.carrier)).collect();
        assert_eq!(short, [("enp1s0", Some(true)), ("enp2s0", Some(false))]);
    }
}
