//! `xinguan check-config FILE`: everything that is wrong with a configuration, before it is used.
//!
//! Text first (syntax, then all semantic problems), then the files it names. Nothing is opened for
//! writing, no key is unlocked, nothing is sent. See `doctor` for what only the running world can tell.

use super::Exit;
use crate::config::{self, Config, Material};
use std::{io::Write, path::Path};

/// Prints what it finds to `out`.
pub fn run(path: &Path, out: &mut dyn Write) -> std::io::Result<Exit> {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(error) => {
            writeln!(out, "{error}")?;
            if let Some(why) = std::error::Error::source(&error) {
                writeln!(out, "  because: {why}")?;
            }
            return Ok(Exit::BadConfig);
        }
    };
    let mut failed = false;
    if let Err(problems) = Material::load(&config) {
        failed = true;
        writeln!(out, "{}: {} problem(s) in the files it names", path.display(), problems.len())?;
        for problem in problems {
            writeln!(out, "  {problem}")?;
        }
    }
    for (key, what, remedy) in files(&config) {
        failed = true;
        writeln!(out, "  {key}: {what}; {remedy}")?;
    }
    for weak in &config.weakened {
        writeln!(out, "weaker than the default: {weak}")?;
    }
    if failed {
        return Ok(Exit::BadConfig);
    }
    let roles: Vec<_> = config.node.roles.iter().map(|r| format!("{r:?}").to_lowercase()).collect();
    writeln!(
        out,
        "{}: good; node {} of {} ({})",
        path.display(),
        config.node.id,
        config.node.institution,
        roles.join(", ")
    )?;
    Ok(Exit::Ok)
}

/// Files whose content is others' to read: there, and not open to everybody.
fn files(config: &Config) -> Vec<(&'static str, String, &'static str)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for (key, path) in config.keystore.backend.private_files() {
        match std::fs::metadata(path) {
            Err(e) => found.push((
                key,
                format!("{}: {e}", path.display()),
                "make it with `xinguan dev pki` or `xinguan hsm init`",
            )),
            Ok(m) if m.permissions().mode() & 0o077 != 0 => found.push((
                key,
                format!(
                    "{} is open to other users (mode {:o})",
                    path.display(),
                    m.permissions().mode() & 0o777
                ),
                "chmod go-rwx it",
            )),
            Ok(_) => {}
        }
    }
    if let Some(source) = &config.source {
        for (key, path) in [("source.mapping", &source.mapping), ("source.database", &source.database)] {
            if let Err(e) = std::fs::metadata(path) {
                found.push((key, format!("{}: {e}", path.display()), "check the path and its permissions"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(text: &str) -> (Exit, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.toml");
        std::fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let exit = run(&path, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_is_judged_before_files() {
        let (exit, out) = run_on("[node]\nid = 3\n");
        assert_eq!(exit, Exit::BadConfig);
        assert!(out.contains("gw.toml:2:6: invalid type"), "{out}");
        let (exit, out) = run_on("");
        assert_eq!(exit, Exit::BadConfig);
        assert!(out.contains("node.id: missing"), "{out}");
    }

    #[test]
    #[cfg(feature = "dev")]
    fn absent_files_are_all_listed() {
        let (exit, out) = run_on(config::EXAMPLE);
        assert_eq!(exit, Exit::BadConfig);
        for key in [
            "trust.genesis",
            "trust.man_roots",
            "trust.bank_roots",
            "trust.admin_roots",
            "ledger.roots",
            "identity.node_ca_chain",
            "keystore.path",
            "keystore.passphrase_file",
            "source.mapping",
            "source.database",
        ] {
            assert!(out.contains(&format!("  {key}: ")), "{key} in {out}");
        }
        assert!(out.contains("weaker than the default: keystore.kind"), "{out}");
    }
}
