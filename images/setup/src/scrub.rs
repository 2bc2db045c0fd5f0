//! Takes out of a text what must not leave the box: secrets, and company codes.
//!
//! Written for what our own programs print. It errs towards taking out too much.

use gw_proto::Uscc;

/// Words in a setting's name whose value is taken out.
const SECRET_NAMES: &[&str] =
    &["password", "passphrase", "secret", "token", "owner_auth", "key_auth", "pin", "private"];
/// In place of a secret.
pub const REMOVED: &str = "[removed]";
/// In place of a company code.
pub const CODE: &str = "[company code]";

/// The text without secrets and company codes, at most its last `max` bytes.
pub fn scrub(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut in_key = false;
    for line in tail(text, max).lines() {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
            in_key = true;
            out.push_str(REMOVED);
        } else if !in_key {
            out.push_str(&codes(&setting(line)));
        }
        if in_key && line.contains("-----END") {
            in_key = false;
        }
        out.push('\n');
    }
    out
}

/// Whole lines at the end: what happened last is what is asked about.
fn tail(text: &str, max: usize) -> &str {
    let Some(from) = text.len().checked_sub(max).filter(|n| *n > 0) else { return text };
    let at = text.bytes().enumerate().skip(from).find(|(_, b)| *b == b'\n').map(|(n, _)| n + 1);
    at.and_then(|n| text.get(n..)).unwrap_or_default()
}

/// `name = value` and `"name": value`, where the name says that it is secret. Names of files stay: they are none.
fn setting(line: &str) -> String {
    let Some(at) = line.find(['=', ':']) else { return line.to_owned() };
    let (name, rest) = line.split_at(at);
    let name_low = name.to_lowercase();
    let secret = SECRET_NAMES.iter().any(|s| name_low.contains(s));
    let file = name_low.trim_end().trim_end_matches('"').ends_with("_file");
    if secret && !file {
        let mark = rest.chars().next().map(String::from).unwrap_or_default();
        return format!("{name}{mark} {REMOVED}");
    }
    line.to_owned()
}

/// Any 18 characters that are a company code (GB 32100), also inside longer words.
fn codes(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let candidate = rest.get(..18).filter(|t| Uscc::parse(&t.to_uppercase()).is_ok());
        if candidate.is_some() {
            out.push_str(CODE);
            rest = rest.get(18..).unwrap_or_default();
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REAL: &str = "91350100M000100Y43"; // the standard's own example

    #[test]
    fn settings_that_are_secret() {
        let text = "pin = \"000b9f\"\npassword=\"x y\"\n  \"owner_auth\": \"abc\",\npassphrase_file = \"passphrase\"\nid = \"bank\"\n";
        let out = scrub(text, 1000);
        for secret in ["000b9f", "x y", "abc"] {
            assert!(!out.contains(secret), "{out}");
        }
        assert!(out.contains("passphrase_file = \"passphrase\"") && out.contains("id = \"bank\""), "{out}");
    }

    #[test]
    fn keys_and_codes() {
        let text = format!(
            "a {REAL} b{REAL}c\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\nend\n"
        );
        let out = scrub(&text, 1000);
        assert_eq!(out, format!("a {CODE} b{CODE}c\n{REMOVED}\n\n\nend\n"));
        assert!(!scrub(&REAL.to_lowercase(), 100).contains("m000100y"));
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(scrub("first\nsecond\nthird\n", 8), "third\n");
        assert_eq!(scrub("first\nsecond\n", 100), "first\nsecond\n");
    }

    proptest! {
        #[test]
        fn no_code_gets_through(before in "\\PC{0,30}", after in "\\PC{0,30}") {
            let out = scrub(&format!("{before}{REAL}{after}"), 1000);
            prop_assert!(!out.contains(REAL), "{out}");
        }
    }
}
