//! What backends share: names, files, pools of sessions.
//!
//! Nothing here knows a device. Users of keystores need none of it, unless they keep a file beside a chip.

pub mod file;
mod pool;
mod secret;

pub use pool::{Connect, Limits, Pool};
pub use secret::{SecretError, read_secret_line};

/// The longest name of a key, in characters.
pub const MAX_NAME: usize = 64;

/// Whether a key may have this name: 1 to 64 characters of a-z, 0-9 and hyphen.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A name that was asked for, for a message: bounded.
pub fn clip(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_few_characters_and_an_end() {
        for good in ["a", "node-2", &"9".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Node", "a b", "a_b", "信", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
            assert!(clip(bad).chars().count() <= MAX_NAME);
        }
    }
}
