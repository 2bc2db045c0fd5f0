//! The published example of a Merkle batch: the same here and in an independent Python program.
//!
//! To make `tests/fixtures/merkle/example.json` anew, run the ignored test and keep what it prints.

// a module, so that clippy knows the helpers for tests
#[cfg(test)]
mod example {
    use gw_proof::{build, verify_leaf};
    use gw_proto::{
        Hex, PublicKey, Scheme, UnixMillis,
        merkle::{Leaf, LeafKind, ROOT_CONTEXT, Root, SignedLeaf},
        sm3,
    };
    use std::{path::PathBuf, process::Command};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        about: String,
        key: Hex<64>,
        leaves: Vec<Leaf>,
        signed: SignedLeaf,
    }

    type Spoil = fn(&mut Example);

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/merkle")
    }

    fn published() -> Example {
        serde_json::from_slice(&std::fs::read(folder().join("example.json")).unwrap()).unwrap()
    }

    /// Five leaves, so that one node moves up twice; a Chinese audience, so that lengths count bytes.
    fn leaves() -> Vec<Leaf> {
        let leaf = |i: u8, kind, audience: &str| Leaf {
            kind,
            audience: audience.into(),
            salt: sm3(&[b's', i]),
            digest: sm3(&[b'd', i]),
        };
        vec![
            leaf(0, LeafKind::Request, "src-hangzhou"),
            leaf(1, LeafKind::Request, "src-hefei"),
            leaf(2, LeafKind::Reply, "gw-suzhou"),
            leaf(3, LeafKind::Report, "柜员"),
            leaf(4, LeafKind::Report, ""),
        ]
    }

    fn make() -> Example {
        let key = gw_sm::KeyPair::from_secret(Scheme::Sm2Sm3, sm3(b"example").0).unwrap();
        let tree = build(&leaves()).unwrap();
        let root = Root {
            context: ROOT_CONTEXT.into(),
            key_id: key.public_key().id(),
            size: 5,
            time: UnixMillis(1_790_000_000_000),
            root: tree.root(),
        };
        let mut signed = SignedLeaf {
            leaf: leaves().remove(2),
            index: 2,
            path: tree.path(2).unwrap(),
            root,
            signature: Hex([0; 64]),
        };
        signed.signature = key.sign(&signed.root_signing_input().unwrap()).unwrap();
        let about = "A batch of five leaves, one of them with its path; check with check.py".into();
        Example { about, key: key.public_key().point, leaves: leaves(), signed }
    }

    #[test]
    #[ignore = "prints the example anew; run with --ignored --nocapture"]
    fn print_the_example() {
        println!("{}", serde_json::to_string_pretty(&make()).unwrap());
    }

    #[test]
    fn the_published_example_holds() {
        let e = published();
        assert_eq!(e.leaves, leaves());
        assert_eq!(build(&e.leaves).unwrap().root(), e.signed.root.root);
        let key = PublicKey { scheme: Scheme::Sm2Sm3, point: e.key };
        let leaf = &e.leaves[2];
        verify_leaf(&e.signed, &key, LeafKind::Reply, "gw-suzhou", &leaf.digest).unwrap();
    }

    fn python(document: &std::path::Path) -> Option<std::process::Output> {
        let run = Command::new("python3").arg(folder().join("check.py")).arg(document).output();
        match run {
            Ok(output) => Some(output),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("python3 is not there: the independent check did not run");
                None
            }
            Err(e) => panic!("python3: {e}"),
        }
    }

    /// Another language, another SM3, another SM2: agrees on the good example and refuses spoilt ones.
    #[test]
    fn an_independent_program_agrees() {
        let Some(output) = python(&folder().join("example.json")) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), format!("{} ok", published().signed.root.root), "{output:?}");

        let spoil: [(&str, Spoil); 6] = [
            ("leaves", |e| e.leaves[4].audience.push('x')),
            ("path", |e| e.signed.path.reverse()),
            ("index", |e| e.signed.index = 3),
            ("leaf", |e| e.signed.leaf.kind = LeafKind::Request),
            ("time", |e| e.signed.root.time.0 += 1),
            ("signature", |e| e.signed.signature.0[63] ^= 1),
        ];
        for (what, change) in spoil {
            let mut e = published();
            change(&mut e);
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("spoilt-{what}.json"));
            std::fs::write(&file, serde_json::to_vec(&e).unwrap()).unwrap();
            let output = python(&file).unwrap();
            assert!(!output.status.success(), "{what}: the spoilt example passed");
            assert!(String::from_utf8_lossy(&output.stderr).contains("does not hold"), "{what}: {output:?}");
        }
    }
}
