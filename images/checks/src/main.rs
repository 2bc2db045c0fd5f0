//! Runs inside the booted image: checks what images/README.md claims, says what state the box is in.
//!
//! `image-checks claims [--json FILE]`: one line for each claim, and one JSON object for each into FILE.
//! `image-checks status`: for the person at the console.
//! `image-checks health SECONDS`: waits until the system is healthy; fails if it cannot become so, or not in that time.
//! `image-checks firewall CONFIGURATION RULES`: the packet filter's openings, for nft(8).
//! `image-checks confinement`: tries what the gateway must not be able to do; for the image's tests, in a unit like the gateway's.
//! `image-checks eventlog`: the firmware's event log in hexadecimal; likewise for the tests.
//! All change nothing else.

mod claims;
mod confinement;
mod firewall;
mod health;
mod mounts;
mod status;
mod tree;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};
use tree::Tree;

const USAGE: &str = "usage: image-checks claims [--json FILE] | status | health SECONDS \
    | firewall CONFIGURATION RULES | confinement | eventlog";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tree = Tree::new(Path::new("/"));
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["claims"] => check(&tree, None),
        ["claims", "--json", file] => check(&tree, Some(Path::new(file))),
        ["status"] => say(&status::lines(&tree)).map(|()| true),
        ["health", seconds] => match seconds.parse() {
            Ok(seconds) => healthy(&tree, Duration::from_secs(seconds)),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
        },
        ["firewall", configuration, rules] => firewall(&tree, configuration, Path::new(rules)),
        ["confinement"] => {
            let (lines, good) = confinement::lines();
            say(&lines).map(|()| good)
        }
        ["eventlog"] => event_log(&tree),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            let _ = writeln!(io::stderr(), "image-checks: {e}");
            ExitCode::from(2)
        }
    }
}

fn say(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn healthy(tree: &Tree, within: Duration) -> io::Result<bool> {
    let (line, good) = match health::wait(tree, within) {
        health::Health::Healthy(saw) => (format!("health: good, {saw}"), true),
        health::Health::NotYet(why) => (format!("health: BAD after {} s: {why}", within.as_secs()), false),
        health::Health::Sick(why) => (format!("health: BAD: {why}"), false),
    };
    say(&[line]).map(|()| good)
}

/// TCG PC Client Platform Firmware Profile, 10: as the firmware wrote it.
fn event_log(tree: &Tree) -> io::Result<bool> {
    let log = tree.bytes("/sys/kernel/security/tpm0/binary_bios_measurements")?;
    let hex = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let lines: Vec<_> = log.chunks(64).map(|part| format!("eventlog: {}", hex(part))).collect();
    say(&lines)?;
    say(&[format!("eventlog ends: {} bytes", log.len())]).map(|()| true)
}

fn firewall(tree: &Tree, configuration: &str, rules: &Path) -> io::Result<bool> {
    let wrong = |e: String| io::Error::other(format!("{configuration}: {e}"));
    let text = tree.text(configuration).and_then(|t| firewall::rules(&t)).map_err(wrong)?;
    std::fs::write(rules, &text)?;
    say(&text.lines().map(|l| format!("firewall: {l}")).collect::<Vec<_>>()).map(|()| true)
}

/// True if every claim holds.
fn check(tree: &Tree, json: Option<&Path>) -> io::Result<bool> {
    let mut lines = Vec::new();
    let mut objects = String::new();
    let mut failed = 0;
    for (name, look) in claims::ALL {
        let verdict = look(tree);
        let (word, saw) = match &verdict {
            Ok(saw) => ("holds", saw),
            Err(saw) => ("FAILS", saw),
        };
        failed += usize::from(verdict.is_err());
        lines.push(format!("claim {word} {name}: {saw}"));
        let object = serde_json::json!({ "claim": name, "holds": verdict.is_ok(), "saw": saw });
        objects.push_str(&format!("{object}\n"));
    }
    lines.push(format!("claims: {} hold, {failed} fail", claims::ALL.len() - failed));
    if let Some(path) = json {
        std::fs::write(path, objects)?;
    }
    say(&lines)?;
    Ok(failed == 0)
}
