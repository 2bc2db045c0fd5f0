//! What people type at the first start, checked; and the files that are written for it.
//!
//! Every check answers with what is wrong, where, and what would be right, in both languages.

use crate::{SetupError, code::Code, files::Files, links::Link};
use gw_proto::{InstitutionId, NodeId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where the answers are kept for the provisioning file that comes later.
pub const FILE: &str = "setup.json";
const MAX_TIME_SERVERS: usize = 4;

/// One sentence in both languages. A screen without Chinese letters shows the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Chinese
    pub zh: String,
    /// English
    pub en: String,
}

/// Both languages of one sentence.
pub fn said(zh: impl Into<String>, en: impl Into<String>) -> Said {
    Said { zh: zh.into(), en: en.into() }
}

/// An address and how many of its bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// the box's own
    pub address: IpAddr,
    /// bits of the network
    pub prefix: u8,
}

/// One of the box's two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// the card, by its own address: names change with slots
    pub mac: String,
    /// `10.1.0.5/24`
    pub address: String,
    /// `10.1.0.1`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// All answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// towards the institution's own systems
    pub inside: Side,
    /// towards the metropolitan-area network
    pub man: Side,
    /// by address: the box has no name service
    pub time_servers: Vec<IpAddr>,
    /// as on the ledger
    pub institution: String,
    /// as on the ledger
    pub node: String,
    /// whose provisioning file counts
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// `1 10.1.0.5/24` or `2 10.200.3.7/24 10.200.3.1`: a card's number, the box's address, the next router.
pub fn parse_side(text: &str, links: &[Link]) -> Result<Side, Said> {
    let mut words = text.split_whitespace();
    let number = words.next().unwrap_or_default();
    let link = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).and_then(|n| links.get(n));
    let Some(link) = link else {
        return Err(said(
            format!("“{number}”不是网卡编号：请输入 1 到 {}", links.len()),
            format!("`{number}` is no number of a card: type 1 to {}", links.len()),
        ));
    };
    let cidr = parse_cidr(words.next().unwrap_or_default())?;
    let gateway = words.next().map(|text| parse_gateway(text, cidr)).transpose()?;
    if let Some(more) = words.next() {
        return Err(said(
            format!("“{more}”多余：编号、地址/前缀、网关，用空格分开"),
            format!("`{more}` is too much: number, address/prefix, gateway, with blanks between"),
        ));
    }
    Ok(Side { mac: link.mac.clone(), address: format!("{}/{}", cidr.address, cidr.prefix), gateway })
}

/// A host's address with its network's length.
pub fn parse_cidr(text: &str) -> Result<Cidr, Said> {
    let form = || {
        said(
            format!("“{text}”不是地址/前缀，例如 10.1.0.5/24"),
            format!("`{text}` is no address with a prefix, like 10.1.0.5/24"),
        )
    };
    let (address, prefix) = text.split_once('/').ok_or_else(form)?;
    let address: IpAddr = address.parse().map_err(|_| form())?;
    let prefix: u8 = prefix.parse().map_err(|_| form())?;
    let cidr = Cidr { address, prefix };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if !(8..bits).contains(&prefix) {
        return Err(said(
            format!("前缀 /{prefix} 不可用：8 到 {}", bits - 1),
            format!("the prefix /{prefix} cannot be used: 8 to {}", bits - 1),
        ));
    }
    if !is_host(address) || cidr.is_network_or_broadcast() {
        return Err(said(
            format!("{address} 不能作为本机地址：请用该网段内的主机地址"),
            format!("{address} cannot be a box's address: use that of a host in its network"),
        ));
    }
    Ok(cidr)
}

impl Cidr {
    fn number(self) -> u128 {
        number(self.address)
    }
    fn host_bits(self) -> u32 {
        (if self.address.is_ipv4() { 32 } else { 128 }) - u32::from(self.prefix)
    }
    /// Whether an address lies in this network.
    pub fn holds(self, other: IpAddr) -> bool {
        let shift = self.host_bits();
        self.address.is_ipv4() == other.is_ipv4() && self.number() >> shift == number(other) >> shift
    }
    fn is_network_or_broadcast(self) -> bool {
        let mask = (1u128 << self.host_bits()) - 1;
        let host = self.number() & mask;
        self.host_bits() > 1 && (host == 0 || (self.address.is_ipv4() && host == mask))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn is_host(address: IpAddr) -> bool {
    let broadcast =
        matches!(address, IpAddr::V4(a) if a.is_broadcast() || a.octets()[0] == 0 || a.octets()[0] >= 240);
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || broadcast)
}

fn parse_gateway(text: &str, cidr: Cidr) -> Result<IpAddr, Said> {
    let gateway: Option<IpAddr> = text.parse().ok();
    match gateway.filter(|g| cidr.holds(*g) && *g != cidr.address && is_host(*g)) {
        Some(gateway) => Ok(gateway),
        None => Err(said(
            format!("网关“{text}”不可用：须为本网段 {}/{} 内的另一个地址", cidr.address, cidr.prefix),
            format!(
                "the gateway `{text}` cannot be used: it must be another address in {}/{}",
                cidr.address, cidr.prefix
            ),
        )),
    }
}

/// The MAN's side: another card than the inside, another network, a gateway.
pub fn check_man(man: &Side, inside: &Side) -> Result<(), Said> {
    let (Ok(a), Ok(b)) = (parse_cidr(&man.address), parse_cidr(&inside.address)) else {
        return Err(said("地址不可用", "the addresses cannot be used"));
    };
    if man.mac == inside.mac {
        return Err(said("与内网同一网卡：请选另一块网卡", "the same card as the inside: choose another"));
    }
    if a.holds(b.address) || b.holds(a.address) {
        return Err(said(
            "与内网网段重叠：两侧须为不同网段",
            "the same network as the inside: the two sides must be apart",
        ));
    }
    if man.gateway.is_none() {
        return Err(said(
            "缺少网关：编号、地址/前缀、网关",
            "no gateway: type number, address/prefix and gateway",
        ));
    }
    Ok(())
}

/// Addresses of time servers; none is allowed.
pub fn parse_time_servers(text: &str) -> Result<Vec<IpAddr>, Said> {
    let words: Vec<&str> = text.split([' ', ',', '，', '、']).filter(|w| !w.is_empty()).collect();
    if words.len() > MAX_TIME_SERVERS {
        return Err(said(format!("最多 {MAX_TIME_SERVERS} 个"), format!("at most {MAX_TIME_SERVERS}")));
    }
    let one = |word: &&str| match word.parse::<IpAddr>() {
        Ok(address) if is_host(address) => Ok(address),
        _ => Err(said(
            format!("“{word}”不是地址：本机没有域名服务，请输入 IP 地址"),
            format!("`{word}` is no address: the box has no name service, type an IP address"),
        )),
    };
    words.iter().map(one).collect()
}

/// `bank-suzhou/bank-suzhou-1`.
pub fn parse_ids(text: &str) -> Result<(String, String), Said> {
    let form = |why: String| {
        said(
            format!(
                "“{text}”不可用：机构/节点，如 bank-suzhou/bank-suzhou-1，小写字母、数字和连字符（{why}）"
            ),
            format!("`{text}` cannot be used: institution/node, like bank-suzhou/bank-suzhou-1; {why}"),
        )
    };
    let (institution, node) = text.trim().split_once('/').ok_or_else(|| form("no `/`".into()))?;
    InstitutionId::parse(institution).map_err(|e| form(e.to_string()))?;
    NodeId::parse(node).map_err(|e| form(e.to_string()))?;
    Ok((institution.to_owned(), node.to_owned()))
}

/// A code, or nothing.
pub fn parse_code(text: &str) -> Result<Option<String>, Said> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match Code::parse(text) {
        Ok(code) => Ok(Some(code.to_string())),
        Err(e) => Err(said(
            match e {
                crate::code::CodeError::Form => {
                    "编码为 18 位字母数字（无 I、L、O、U），如 7K3M9Q-0XYZ12-3ABCDE"
                }
                crate::code::CodeError::Check => "校验位不符：有一位输错，或相邻两位颠倒",
            },
            e.to_string(),
        )),
    }
}

impl Answers {
    /// The network's files, and these answers for the provisioning file that comes later.
    pub fn files(&self) -> Result<Files, SetupError> {
        let mut files = Files::new();
        files.put("network/10-inside.network", self.network(&self.inside, false))?;
        files.put("network/20-man.network", self.network(&self.man, true))?;
        files.put(FILE, self.to_json()?)?;
        Ok(files)
    }
    /// As they are kept.
    pub fn to_json(&self) -> Result<Vec<u8>, SetupError> {
        serde_json::to_vec_pretty(self).map_err(|e| SetupError::unfit(FILE, e.to_string()))
    }
    /// systemd.network(5). Nothing is taken from the network: no DHCP, no router advertisements, no link-local addresses.
    fn network(&self, side: &Side, time: bool) -> String {
        let mut text = format!(
            "[Match]\nMACAddress={}\n\n[Network]\nAddress={}\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n",
            side.mac, side.address
        );
        if let Some(gateway) = side.gateway {
            text.push_str(&format!("Gateway={gateway}\n"));
        }
        for server in self.time_servers.iter().filter(|_| time) {
            text.push_str(&format!("NTP={server}\n"));
        }
        text
    }
    /// What stands as `@NAME@` in a provisioning file's `xinguan.toml`.
    pub fn fill(&self, template: &str) -> Result<String, SetupError> {
        let host = |side: &Side| parse_cidr(&side.address).map(|c| c.address);
        let unfit = |_| SetupError::unfit(FILE, "an address in it cannot be used");
        let (inside, man) = (host(&self.inside).map_err(unfit)?, host(&self.man).map_err(unfit)?);
        // also in front of a port
        let shown = |a: IpAddr| if a.is_ipv4() { a.to_string() } else { format!("[{a}]") };
        Ok(template
            .replace("@INSTITUTION@", &self.institution)
            .replace("@NODE@", &self.node)
            .replace("@INSIDE@", &shown(inside))
            .replace("@MAN@", &shown(man)))
    }
    /// Reads kept answers; every one is checked as if it were typed.
    pub fn parse(bytes: &[u8]) -> Result<Self, SetupError> {
        let answers: Self =
            serde_json::from_slice(bytes).map_err(|e| SetupError::unfit(FILE, e.to_string()))?;
        let unfit = |s: Said| SetupError::unfit(FILE, s.en);
        for side in [&answers.inside, &answers.man] {
            let cidr = parse_cidr(&side.address).map_err(unfit)?;
            side.gateway.map(|g| parse_gateway(&g.to_string(), cidr)).transpose().map_err(unfit)?;
            if !crate::links::is_mac(&side.mac) {
                return Err(SetupError::unfit(FILE, "a card's address is none"));
            }
        }
        check_man(&answers.man, &answers.inside).map_err(unfit)?;
        parse_ids(&format!("{}/{}", answers.institution, answers.node)).map_err(unfit)?;
        parse_code(answers.code.as_deref().unwrap_or_default()).map_err(unfit)?;
        Ok(answers)
    }
}
