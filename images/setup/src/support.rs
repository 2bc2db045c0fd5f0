//! The support bundle: what a stranger needs to help, and nothing that he must not see.
//!
//! One JSON file: each part's text with the SM3 of it, and a list of the parts first. No part is signed by the node key: no command
//! of the gateway signs for others yet. The digest of the whole is said on the console, so that a changed file is noticed.

use crate::{
    SetupError,
    files::Files,
    places::{Places, read_bytes},
    scrub::scrub,
};
use gw_proto::{Digest, sm3};
use serde::Serialize;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The most bytes of one part.
pub const MAX_PART: usize = 256 << 10;
const FORMAT: &str = "xinguan support 1";

/// One part.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// what it is
    pub name: String,
    /// of `text`
    pub sm3: Digest,
    /// scrubbed
    pub text: String,
}

/// The whole file.
#[derive(Debug, Clone, Serialize)]
pub struct Bundle {
    format: &'static str,
    /// why nobody's signature is here
    signed: &'static str,
    /// names, first: a person sees what he hands over
    contains: Vec<String>,
    parts: Vec<Part>,
}

/// What programs say, gathered by the caller: name, text.
pub type Gathered = Vec<(String, String)>;

/// Makes the file. Every text is scrubbed here, wherever it came from.
pub fn bundle(gathered: Gathered) -> Bundle {
    let part = |(name, text): (String, String)| {
        let text = scrub(&text, MAX_PART);
        Part { name, sm3: sm3(text.as_bytes()), text }
    };
    let parts: Vec<Part> = gathered.into_iter().map(part).collect();
    Bundle {
        format: FORMAT,
        signed: "no: compare the digest with what the console said",
        contains: parts.iter().map(|p| format!("{}: {} bytes", p.name, p.text.len())).collect(),
        parts,
    }
}

impl Bundle {
    /// What is in it, for the console.
    pub fn contains(&self) -> &[String] {
        &self.contains
    }
    /// The file's bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, SetupError> {
        serde_json::to_vec_pretty(self).map_err(|e| SetupError::unfit("support bundle", e.to_string()))
    }
}

/// What lies in files: the image's claims, versions, units that run, the configuration.
pub fn from_files(places: &Places) -> Gathered {
    let mut out = Vec::new();
    for (name, path) in [
        ("claims.json", "/run/xinguan-image/claims.json"),
        ("os-release", "/usr/lib/os-release"),
        ("release.json", "/usr/lib/xinguan/release.json"),
        ("kernel", "/proc/version"),
        ("uptime", "/proc/uptime"),
        ("memory", "/proc/meminfo"),
        ("mounts", "/proc/self/mountinfo"),
    ] {
        let text = read_bytes(&places.at(path), MAX_PART as u64)
            .map_or_else(|e| format!("not there: {e}\n"), |b| String::from_utf8_lossy(&b).into_owned());
        out.push((name.to_owned(), text));
    }
    out.push(("units".to_owned(), units(places)));
    out.extend(configuration(places));
    out
}

/// Units that have processes now, by their control groups.
fn units(places: &Places) -> String {
    let mut names: Vec<String> = fs::read_dir(places.at("/sys/fs/cgroup/system.slice"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| n.ends_with(".service"))
        .take(256)
        .collect();
    names.sort();
    names.join("\n") + "\n"
}

/// Text files of the configuration; certificates and lists by their digests only.
fn configuration(places: &Places) -> Gathered {
    let Ok(files) = Files::load(&places.config()) else {
        return vec![("configuration".into(), "cannot be read\n".into())];
    };
    let shown = |name: &str| name.ends_with(".toml") || name.starts_with("network/");
    let texts = files.iter().filter(|(n, _)| shown(n));
    let mut out: Gathered =
        texts.map(|(n, b)| (format!("config/{n}"), String::from_utf8_lossy(b).into_owned())).collect();
    let others: String =
        files.iter().filter(|(n, _)| !shown(n)).map(|(n, b)| format!("{} {n}\n", sm3(b))).collect();
    out.push(("config digests".into(), others));
    out
}

/// What a program says, at most [`MAX_PART`] bytes; one that does not end in time is ended.
pub fn from_program(program: &Path, arguments: &[&str], within: Duration) -> String {
    let command = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match command {
        Ok(child) => child,
        Err(e) => return format!("cannot be run: {e}\n"),
    };
    let said = crate::judge::read_within(&mut child, MAX_PART as u64, within);
    let _ = child.wait();
    said.map_or_else(|| "did not end in time\n".to_owned(), |b| String::from_utf8_lossy(&b).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "91350100M000100Y43";

    /// Secrets and company codes are planted wherever a part comes from; none may come out.
    #[test]
    fn nothing_planted_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path());
        for folder in [
            "/config/network",
            "/run/xinguan-image",
            "/usr/lib/xinguan",
            "/proc/self",
            "/sys/fs/cgroup/system.slice/xinguan.service",
        ] {
            fs::create_dir_all(places.at(folder)).unwrap();
        }
        let planted = [
            ("/config/xinguan.toml", format!("pin = \"SECRET-1\"\n# about {CODE}\nid = \"bank-suzhou-1\"\n")),
            ("/config/network/10.network", "[WireGuard]\nPrivateKey=SECRET-2\n".to_owned()),
            ("/config/node.pem", "-----BEGIN PRIVATE KEY-----\nSECRET-3\n".to_owned()),
            ("/run/xinguan-image/claims.json", format!("{{\"claim\":\"x\",\"saw\":\"{CODE}\"}}\n")),
            ("/proc/version", "Linux\npassword: SECRET-4\n".to_owned()),
        ];
        for (path, text) in &planted {
            fs::write(places.at(path), text).unwrap();
        }
        let mut gathered = from_files(&places);
        gathered.push(("doctor".into(), format!("token=SECRET-5\nsubject {CODE} asked\nclock ok\n")));
        let bundle = bundle(gathered);
        let text = String::from_utf8(bundle.to_json().unwrap()).unwrap();
        assert!(!text.contains("SECRET-"), "{text}");
        assert!(!text.contains(CODE), "{text}");
        for kept in ["bank-suzhou-1", "clock ok", "xinguan.service", "node.pem", "Linux"] {
            assert!(text.contains(kept), "{kept} is missing: {text}");
        }
        let first = text.find("\"contains\"").unwrap();
        assert!(first < text.find("\"parts\"").unwrap());
        assert_eq!(bundle.contains().len(), bundle.parts.len());
        for part in &bundle.parts {
            assert_eq!(part.sm3, sm3(part.text.as_bytes()));
        }
    }

    #[test]
    fn parts_are_bounded() {
        let out = bundle(vec![("long".into(), "a line\n".repeat(MAX_PART))]);
        assert!(out.parts.iter().all(|p| p.text.len() <= MAX_PART));
    }
}
