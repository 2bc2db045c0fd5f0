//! `xinguan check-config FILE`: everything that is wrong with a configuration, before it is used.
//!
//! Text first (syntax, then all semantic problems), then the files it names. Nothing is opened for
//! writing, no key is unlocked, nothing is sent. See `doctor` for what only the running world can tell.

use super::Exit;
use crate::config::{self, Config, Database, Material, Postgres, read_certificates};
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
    let keys = config.keystore.backend.private_files().into_iter();
    let keys = keys.map(|(key, path)| (key, path, "make it with `xinguan dev pki` or `xinguan hsm init`"));
    let server = postgresql(config);
    let password = server.and_then(|s| s.password_file.as_ref()).map(|path| {
        (
            "supervisor.postgresql.password_file",
            path,
            "write the password into its first line, and: chmod 600",
        )
    });
    for (key, path, remedy) in keys.chain(password) {
        match std::fs::metadata(path) {
            Err(e) => found.push((key, format!("{}: {e}", path.display()), remedy)),
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
    if let Some(Err(what)) = server.and_then(|s| s.roots.as_ref()).map(|roots| read_certificates(roots)) {
        let remedy = "give a PEM file of the roots of the server's certificate";
        found.push(("supervisor.postgresql.roots", what, remedy));
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

fn postgresql(config: &Config) -> Option<&Postgres> {
    match &config.supervisor.as_ref()?.database {
        Database::Postgres(server) => Some(server),
        Database::Sqlite(_) => None,
    }
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

    #[test]
    #[cfg(feature = "dev")]
    fn the_files_of_a_database_server_are_looked_at() {
        use crate::config::{PostgresHost, Supervisor};
        let folder = tempfile::tempdir().unwrap();
        let [password, roots] = ["password", "roots.pem"].map(|name| folder.path().join(name));
        let mut config = config::parse(config::EXAMPLE, "gw.toml", Path::new("/")).unwrap();
        let server = Postgres {
            host: PostgresHost::Name("db".to_owned()),
            port: 5432,
            database: "x".to_owned(),
            user: "x".to_owned(),
            password_file: Some(password.clone()),
            roots: Some(roots.clone()),
            connections: 1,
        };
        config.supervisor = Some(Supervisor { database: Database::Postgres(server), attestation: None });
        let told = || {
            let all = files(&config).into_iter().filter(|(key, ..)| key.starts_with("supervisor."));
            all.map(|(key, what, _)| format!("{key}: {what}")).collect::<Vec<_>>()
        };
        assert_eq!(told().len(), 2, "{:?}", told());
        std::fs::write(&password, "secret").unwrap();
        std::fs::write(&roots, "no certificate").unwrap();
        let [open, none] = told().try_into().unwrap();
        assert!(open.contains("is open to other users") && !open.contains("secret"), "{open}");
        assert!(none.starts_with("supervisor.postgresql.roots: "), "{none}");
    }
}
