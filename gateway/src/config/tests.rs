//! The example loads; each bad configuration gives exactly these words.

use super::*;

const BASE: &str = "/etc/xinguan";

fn messages(text: &str) -> String {
    match parse(text, "gw.toml", Path::new(BASE)) {
        Ok(_) => "accepted".to_owned(),
        Err(e) => e.to_string(),
    }
}

/// The example with one line replaced; it must be there.
fn with(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example no longer contains `{from}`");
    EXAMPLE.replacen(from, to, 1)
}

/// Its keystore is the one thing that a release build refuses.
#[test]
#[cfg(not(feature = "dev"))]
fn the_example_needs_a_development_build() {
    assert_eq!(
        messages(EXAMPLE),
        "gw.toml: 1 problem(s)\n  keystore.kind: `development` is not in this build; \
         use the board's keystore; software keys exist only in development builds"
    );
}

#[test]
#[cfg(feature = "dev")]
fn the_example_means_what_it_says() {
    let c = parse(EXAMPLE, "gw.toml", Path::new(BASE)).unwrap();
    assert_eq!(c.node.roles, [Role::Institution, Role::Source]);
    assert_eq!(c.node.data_dir, Path::new("/etc/xinguan/data"));
    assert_eq!(c.listen.man.as_ref().unwrap().limits.max_streams, 256, "a default of defaults.toml");
    assert_eq!(c.listen.bank.as_ref().unwrap().limits.idle_timeout, Duration::from_secs(60));
    assert_eq!(c.identity.extra_names, [HostName::Ip("10.1.0.5".parse().unwrap())]);
    assert_eq!(c.weakened.len(), 1, "software keys are said loudly: {:?}", c.weakened);
}

/// Every default stands in the example with the same value, so that "Default …" there stays true.
#[test]
fn the_example_shows_the_defaults() {
    fn walk(path: &str, default: &toml::Value, example: &toml::Value) {
        let Some(table) = default.as_table() else {
            assert_eq!(default, example, "{path}");
            return;
        };
        for (key, value) in table {
            let path = format!("{path}.{key}");
            // limits of man and admin are said to be "the same"; extra_names shows a value
            if path.ends_with("man.limits") || path.ends_with("admin.limits") || key == "extra_names" {
                continue;
            }
            walk(&path, value, example.get(key).unwrap_or_else(|| panic!("{path} is not in the example")));
        }
    }
    walk("", &toml::from_str(DEFAULTS).unwrap(), &toml::from_str(EXAMPLE).unwrap());
}

#[test]
fn what_does_not_parse_is_said_with_its_place() {
    let cases = [
        ("[node]\nid = \n", "gw.toml:2:6: "),
        (
            "[node]\nid = \"a\"\nnmae = \"x\"\n",
            "gw.toml:3:1: unknown field `nmae`, expected one of `id`, `institution`, `region`, `roles`, `data_dir`; remove or correct the key; xinguan.example.toml lists all",
        ),
        (
            "[query]\n  budget_ms = \"10s\"\n",
            "gw.toml:2:15: invalid type: string \"10s\", expected u64; give a value of the expected type; xinguan.example.toml shows one",
        ),
        (
            "[query]\nbudget_ms = -1\n",
            "gw.toml:2:13: invalid value: integer `-1`, expected u64; give a value of the expected type; xinguan.example.toml shows one",
        ),
        ("[node]\n# 信关\nid = \"a\" 信\n", "gw.toml:3:10: "),
        ("[node]\nid = \"a\"\nid = \"b\"\n", "gw.toml:3:1: duplicate key"),
    ];
    for (text, expected) in cases {
        let found = messages(text);
        assert!(found.starts_with(expected), "{text:?}\nfound    {found}\nexpected {expected}");
    }
}

#[test]
fn an_empty_file_lists_all_that_is_missing() {
    insta::assert_snapshot!(messages(""));
}

#[test]
#[cfg(feature = "dev")]
fn every_problem_has_key_and_remedy() {
    let cases = [
        ("id = \"bank-suzhou-1\"", "id = \"Bank_1\""),
        ("region = \"320500\"", "region = \"32050\""),
        ("roles = [\"institution\", \"source\"]", "roles = [\"institution\", \"supervisor\"]"),
        ("roles = [\"institution\", \"source\"]", "roles = [\"institution\"]"),
        ("roles = [\"institution\", \"source\"]", "roles = [\"source\"]"),
        ("roles = [\"institution\", \"source\"]", "roles = [\"bank\", \"source\", \"source\"]"),
        ("kind = \"development\"", "kind = \"tpm\""),
        ("account_key = \"account\"", "account_key = \"node\""),
        ("bank_roots = \"bank-roots.pem\"", "bank_roots = \"man-roots.pem\""),
        ("bank_roots = \"bank-roots.pem\"", ""),
        ("tls_lifetime_hours = 24", "tls_lifetime_hours = 48"),
        ("extra_names = [\"10.1.0.5\"]", "extra_names = [\"*.bank.example\"]"),
        ("address = \"10.1.0.5:8443\"", "address = \"localhost:8443\""),
        ("address = \"10.1.0.5:8443\"", "address = \"10.1.0.5:9000\""),
        ("per_address = 128", "per_address = 2000"),
        ("body_timeout_ms = 30000", "body_timeout_ms = 70000"),
        ("header_bytes = 16384", "header_bytes = 100"),
        ("spki = \"66c7", "spki = \"66C7"),
        (
            "spki = \"debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732\"",
            "spki = \"66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0\"",
        ),
        ("name = \"night-shift\"", "name = \"credit-system\""),
        ("roles = [\"operator\", \"auditor\"]", "roles = []"),
        ("owner = \"bank-hangzhou\"", "owner = \"pboc-suzhou\""),
        ("https://10.200.0.12:8545", "https://10.200.0.11:8545"),
        ("https://10.200.0.12:8545", "https://user:secret@10.200.0.12:8545"),
        ("https://10.200.0.12:8545", "ftp://10.200.0.12"),
        ("roots = \"ledger-roots.pem\"", ""),
        ("institution = { per_minute = 600, burst = 100 }", "institution = { per_minute = 0, burst = 100 }"),
        ("source_wait_height_ms = 2000", "source_wait_height_ms = 10000"),
        ("mapping = \"mapping.toml\"", ""),
        ("level = \"info\"", "level = \"loud\""),
        ("\"xinguan::listen\" = \"info\"", "\"xinguan::listen\" = \"9\""),
    ];
    let mut all = String::new();
    for (from, to) in cases {
        let found = messages(&with(from, to));
        assert_ne!(found, "accepted", "{from} → {to}");
        assert!(!found.contains("secret"), "a password in a URL is not repeated");
        all += &format!("{from}  →  {to}\n{found}\n\n");
    }
    insta::assert_snapshot!(all);
}

/// The example with another `[keystore]`.
fn with_keystore(section: &str) -> String {
    let begin = EXAMPLE.find("\n[keystore]\n").unwrap();
    let end = EXAMPLE.find("\n[trust]\n").unwrap();
    format!("{}\n{section}\n{}", &EXAMPLE[..begin], &EXAMPLE[end..])
}

/// What the example says of the other kinds, taken out of its comments, is a good configuration.
#[test]
fn the_examples_other_keystores_load() {
    for (kind, backend) in [("tpm2", "tpm2"), ("pkcs11", "pkcs11"), ("sdf", "sdf")] {
        let begin = EXAMPLE.find(&format!("# [keystore.{kind}]")).unwrap();
        let commented = EXAMPLE[begin..].lines().take_while(|l| l.starts_with('#'));
        let lines = commented.map(|l| l.trim_start_matches("# ").trim_start_matches('#'));
        // words of explanation stand behind a second mark
        let settings: Vec<_> = lines.filter(|l| l.contains('=') || l.starts_with([' ', '[', ']'])).collect();
        let settings =
            settings.join("\n").replace("9f…", &"9f".repeat(32)).replace("token_serial", "# token_serial");
        let path = if kind == "tpm2" { "path = \"keys.json\"\n" } else { "" };
        let text = with_keystore(&format!("[keystore]\nkind = \"{kind}\"\n{path}{settings}\n"));
        let config = parse(&text, "gw.toml", Path::new(BASE));
        let config = config.unwrap_or_else(|e| panic!("{kind}: {e}\n{text}"));
        assert_eq!(config.keystore.backend.as_str(), backend);
    }
}

#[test]
fn keystore_mistakes_are_named() {
    let cases = [
        "kind = \"tpm2\"",
        "kind = \"tpm2\"\npath = \"k\"\npassphrase_file = \"p\"\n[keystore.tpm2]\ndevice = \"tpm0\"",
        "kind = \"tpm2\"\npath = \"k\"\n[keystore.tpm2]\ndevice = \"/dev/tpmrm0\"\npin = \"12\"",
        "kind = \"tpm2\"\npath = \"k\"\n[keystore.tpm2]\ndevice = \"/dev/tpmrm0\"\npin = \"xyz\"",
        "kind = \"pkcs11\"",
        "kind = \"pkcs11\"\n[keystore.pkcs11]\nmodule = \"m\"\npin_file = \"p\"\ntoken_label = \"a\"\ntoken_serial = \"b\"\nsm2_sign = 1",
        "kind = \"sdf\"\n[keystore.sdf]\nlibrary = \"l\"\nlayout = \"16\"\nkeys = []",
        "kind = \"sdf\"\n[keystore.sdf]\nlibrary = \"l\"\nkeys = [{ name = \"a\", index = 1, purpose = \"tls\" }, { name = \"a\", index = 2, purpose = \"node\" }]",
        "kind = \"sdf\"\n[keystore.tpm2]\ndevice = \"board\"",
    ];
    let mut all = String::new();
    for case in cases {
        let found = messages(&with_keystore(&format!("[keystore]\n{case}")));
        assert_ne!(found, "accepted", "{case}");
        all += &format!("{case}\n→ {found}\n\n");
    }
    insta::assert_snapshot!(all);
}

#[test]
#[cfg(feature = "dev")]
fn boards_are_built_in_or_described() {
    let with_board = |section: &str| messages(&format!("{EXAMPLE}\n{section}"));
    assert_eq!(with_board("[board]\nname = \"qemu-x86/rev-a\""), "accepted");
    assert_eq!(with_board("[board]\nfile = \"my.toml\""), "accepted");
    assert_eq!(with_board("[board]\nname = \"case-file:case\""), "accepted");
    assert_eq!(with_board("[board]\nname = \"qemu-x86/rev-a\"\nclear_storage_key = \"f\""), "accepted");
    for bad in ["[board]", "[board]\nname = \"x\"", "[board]\nname = \"qemu-x86/rev-a\"\nfile = \"f\""] {
        let found = with_board(bad);
        assert!(found.contains("board") && found.contains("1 problem"), "{found}");
    }
}

#[test]
#[cfg(feature = "dev")]
fn one_owner_is_loud() {
    let text = with("owner = \"bank-hangzhou\"", "owner = \"pboc-suzhou\"").replacen(
        "single_endpoint_ok = false",
        "single_endpoint_ok = true",
        1,
    );
    let c = parse(&text, "gw.toml", Path::new(BASE)).unwrap();
    assert!(c.weakened.iter().any(|w| w.contains("single_endpoint_ok")));
}

#[test]
fn a_supervisor_needs_its_own_sections() {
    let text = with("roles = [\"institution\", \"source\"]", "roles = [\"supervisor\"]");
    let found = messages(&text);
    for key in ["listen.bank: ", "source: there", "supervisor: missing"] {
        assert!(found.contains(key), "{key} in {found}");
    }
}

/// A supervisor's file with these lines instead of `[supervisor]`.
fn supervised(section: &str) -> String {
    let text = with("roles = [\"institution\", \"source\"]", "roles = [\"supervisor\"]");
    format!("{text}\n{section}\n")
}

#[test]
fn where_a_supervisor_keeps_things_is_said_once_and_safely() {
    let server = |lines: &str| {
        supervised(&format!("[supervisor.postgresql]\ndatabase = \"xinguan\"\nuser = \"xinguan\"\n{lines}"))
    };
    let about = |text: &str| {
        let found = messages(text);
        let ours: Vec<&str> = found.lines().filter(|l| l.contains("supervisor.")).collect();
        ours.join("\n")
    };
    for good in [
        supervised("[supervisor]\ndatabase = \"supervisor.sqlite\""),
        server("host = \"/run/postgresql\""),
        server("host = \"127.0.0.1\"\npassword_file = \"secret\""),
        server("host = \"::1\"\nport = 5433\nconnections = 1"),
        server("host = \"db.pboc.example\"\nroots = \"roots.pem\"\npassword_file = \"secret\""),
    ] {
        assert_eq!(about(&good), "", "{good}");
    }
    for (bad, key, what) in [
        (supervised("[supervisor]"), "supervisor.database", "missing"),
        (
            supervised("[supervisor]\ndatabase = \"a\"\n[supervisor.postgresql]\nhost = \"/run\""),
            "supervisor.database",
            "beside [supervisor.postgresql]",
        ),
        (server(""), "supervisor.postgresql.host", "missing"),
        (server("host = \"localhost\""), "supervisor.postgresql.roots", "in clear"),
        (server("host = \"10.1.2.3\""), "supervisor.postgresql.roots", "in clear"),
        (server("host = \"/run\"\nroots = \"a\""), "supervisor.postgresql.roots", "a socket has no TLS"),
        (server("host = \"not a name\""), "supervisor.postgresql.host", "neither an address"),
        (server("host = \"/run\"\nport = 70000"), "supervisor.postgresql.port", "out of range"),
        (server("host = \"/run\"\nconnections = 0"), "supervisor.postgresql.connections", "out of range"),
    ] {
        let found = about(&bad);
        assert!(found.contains(key) && found.contains(what), "{bad}\n{found}");
    }
    let unknown = server("host = \"/run\"\npassword = \"hunter2\"");
    let refused = parse(&unknown, "gw.toml", Path::new(BASE)).unwrap_err().to_string();
    assert!(!refused.contains("hunter2"), "a password in the file is not repeated: {refused}");
}

#[test]
fn a_huge_or_absent_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.toml");
    std::fs::write(&path, vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
    assert!(matches!(load(&path), Err(ConfigError::TooLarge { .. })));
    assert!(matches!(load(&dir.path().join("none.toml")), Err(ConfigError::Read { .. })));
}

/// A nested table without end, or a long line, ends in an error, not in a crash.
#[test]
fn hostile_toml_is_refused() {
    for text in ["[".repeat(100_000), format!("a = {}", "[".repeat(100_000)), "a.".repeat(50_000)] {
        assert!(matches!(parse(&text, "gw.toml", Path::new(BASE)), Err(ConfigError::Syntax { .. })));
    }
}

#[test]
fn an_auditor_reads_and_acts_on_nothing_and_nobody_else_has_more_than_was_given() {
    use super::OperatorRole as R;
    for given in R::ALL {
        let one = super::Operator {
            name: "n".to_owned(),
            spki: gw_proto::Hex([0; 32]),
            roles: vec![given],
            person: None,
        };
        for needed in R::ALL {
            let reads = (given, needed) == (R::Auditor, R::View);
            assert_eq!(one.has(needed), given == needed || reads, "{given:?} {needed:?}");
        }
        assert_eq!(one.person(), "n");
        let held = super::Operator { person: Some("p".to_owned()), ..one };
        assert_eq!(held.person(), "p");
    }
}
