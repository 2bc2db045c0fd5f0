//! Descriptions, registry, schema, overlay and docs/porting.md agree with each other.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use board_linux::{BOARDS, Description, schema};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn boards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
fn porting() -> String {
    fs::read_to_string(boards().join("../docs/porting.md")).unwrap()
}
fn json(text: &str) -> serde_json::Value {
    serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap()
}
fn validator() -> jsonschema::Validator {
    let text = fs::read_to_string(boards().join("board.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn the_schema_beside_the_descriptions_is_the_codes() {
    let kept = fs::read_to_string(boards().join("board.schema.json")).unwrap_or_default();
    assert!(
        kept == schema(),
        "boards/board.schema.json is old; write it again: \
         cargo run -p board-linux --example board-schema > boards/board.schema.json"
    );
}

#[test]
fn every_description_fits_the_schema() {
    let validator = validator();
    for (name, text) in BOARDS {
        let errors: Vec<_> = validator.iter_errors(&json(text)).map(|e| e.to_string()).collect();
        assert_eq!(errors, [] as [&str; 0], "{name}");
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let (validator, good) = (validator(), BOARDS[0].1);
    for (from, to) in [
        ("revision = \"rev-a\"", "revison = \"rev-a\""),
        ("status = \"untried on hardware\"", "status = \"fine\""),
        ("mode = \"poll\"", "mode = \"sometimes\""),
        ("speed_hz = 10_000_000", "speed_hz = \"fast\""),
        ("timeout_s = 60", "timeout_s = 1"),
        ("input = \"temp1\"", "input = \"curr1\""),
        ("source = \"dmi\"", ""),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        assert!(!validator.is_valid(&json(&bad)), "the schema takes {to:?}");
        assert!(Description::parse(&bad, "b").is_err(), "the parser takes {to:?}");
    }
}

/// A board is added by one folder and one line: neither may be forgotten.
#[test]
fn each_folder_has_its_line_and_each_line_its_folder() {
    let mut files = BTreeSet::new();
    for folder in fs::read_dir(boards()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
            if file.extension().is_some_and(|e| e == "toml") && stem.starts_with("rev-") {
                files.insert(format!("{}/{stem}", folder.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    let lines: BTreeSet<_> = BOARDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, lines);
    for (name, text) in BOARDS {
        let toml: toml::Value = toml::from_str(text).unwrap();
        let said = format!("{}/{}", toml["board"].as_str().unwrap(), toml["revision"].as_str().unwrap());
        assert_eq!(*name, said);
    }
}

/// Rack boards stay marked until somebody has one.
#[test]
fn no_rack_board_claims_to_have_been_tried() {
    for (name, text) in BOARDS.iter().filter(|(n, _)| n.contains("rack")) {
        let toml: toml::Value = toml::from_str(text).unwrap();
        assert_eq!(toml["status"].as_str(), Some("untried on hardware"), "{name}");
    }
}

/// Compiles the overlay and finds in the blob what the description relies on: 32 names, ours at B0 to B7.
#[test]
fn the_device_tree_overlay_compiles_and_names_the_lines() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir.path().join("o.dtbo");
    let out = Command::new("dtc")
        .args(["-@", "-I", "dts", "-O", "dtb", "-o"])
        .arg(&blob)
        .arg(boards().join("arm-rack/rev-a.dtso"))
        .output()
        .expect("dtc cannot be started: install the apt package device-tree-compiler");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let (_, text) = BOARDS.iter().find(|(n, _)| *n == "arm-rack/rev-a").unwrap();
    let used: BTreeSet<_> = text.split("line = \"").skip(1).filter_map(|t| t.split('"').next()).collect();
    let bank_b = [
        "HSM_CS_N",
        "HSM_RST_N",
        "TAMPER_SW",
        "RECOVERY_N",
        "LED_POWER",
        "LED_SERVING",
        "LED_FAULT",
        "LED_TAMPER",
    ];
    assert_eq!(used, BTreeSet::from(bank_b));
    // a flattened tree's property: its length, the offset of its name, its bytes
    let mut names = vec![0; 8];
    bank_b.iter().for_each(|n| names.extend([n.as_bytes(), &[0]].concat()));
    names.extend([0; 16]);
    let blob = fs::read(blob).unwrap();
    let at = blob.windows(names.len()).position(|w| w == names).expect("the names in their places");
    let length = u32::from_be_bytes(blob[at - 8..at - 4].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), names.len(), "exactly 32 names");
}

#[test]
fn the_porting_guide_shows_the_lights_as_they_are() {
    let table = board_api::meaning_table();
    assert!(porting().contains(&table), "docs/porting.md does not hold this table:\n{table}");
}

#[test]
fn the_porting_guides_example_is_a_board() {
    let guide = porting();
    let example = guide.split("```toml\n").nth(1).and_then(|t| t.split("```").next()).unwrap();
    Description::parse(example, "docs/porting.md").unwrap();
    let errors: Vec<_> = validator().iter_errors(&json(example)).map(|e| e.to_string()).collect();
    assert_eq!(errors, [] as [&str; 0]);
}

#[test]
fn the_porting_guide_names_every_section_and_every_board() {
    let guide = porting();
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    for section in schema["properties"].as_object().unwrap().keys() {
        assert!(guide.contains(&format!("`{section}`")), "docs/porting.md is silent on {section}");
    }
    for (name, _) in BOARDS {
        assert!(guide.contains(&format!("`{name}`")), "docs/porting.md is silent on {name}");
    }
}
