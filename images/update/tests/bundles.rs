//! Bad bundles, each refused for its own reason.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{Chance, DAY, NOW, Recipe, SM2_KEY, find, keys, root, signers, trust, verify, verify_at};
use gw_proto::UnixMillis;
use hsm_api::Signer as _;
use image_update::{Seen, Trust, UpdateError, make, record::Content};
use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

/// A bundle that must be refused, for a box that has seen nothing.
fn refused(recipe: &Recipe) -> UpdateError {
    verify(recipe.make().path(), &trust(), Seen::default()).unwrap_err()
}

/// Changes one JSON file.
fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Replaces a bundle's targets metadata by one with these entries, properly signed.
fn reseal(folder: &Path, recipe: &Recipe, entries: &[(&str, Content)]) {
    let (release, online) = (keys(&recipe.release), keys(&recipe.online));
    let version = recipe.versions.targets;
    let targets = make::targets(entries, version, recipe.expires, &signers(&release)).unwrap();
    make::seal(folder, &targets, recipe.versions, recipe.expires, &signers(&online)).unwrap();
}

#[test]
fn a_good_bundle() {
    for release in [&[11, 12][..], &[12, 13], &[11, 12, 13]] {
        let recipe = Recipe { release: release.to_vec(), ..Recipe::default() };
        let bundle = verify(recipe.make().path(), &trust(), Seen::default()).unwrap();
        assert_eq!(bundle.manifest, recipe.manifest);
        assert_eq!(bundle.seen, recipe.versions);
        assert_eq!((bundle.root.len, bundle.verity.len), (1_100_001, 20_000));
    }
}

#[test]
fn one_signature_is_not_enough() {
    let one = refused(&Recipe { release: vec![12], ..Recipe::default() });
    assert!(
        matches!(&one, UpdateError::Signatures { role, valid: 1, needed: 2 } if role == "targets"),
        "{one}"
    );
    let stranger = refused(&Recipe { release: vec![12, 99], ..Recipe::default() });
    assert!(matches!(stranger, UpdateError::Signatures { valid: 1, .. }), "{stranger}");
    let online = refused(&Recipe { online: vec![99], ..Recipe::default() });
    assert!(
        matches!(&online, UpdateError::Signatures { role, valid: 0, .. } if role == "timestamp"),
        "{online}"
    );
}

#[test]
fn one_key_does_not_sign_twice() {
    let recipe = Recipe { release: vec![12, 12], ..Recipe::default() };
    assert!(matches!(refused(&recipe), UpdateError::Metadata { .. }));
}

#[test]
fn a_wrong_signature_does_not_count() {
    // the online key signs a snapshot over altered targets, as a thief of that key would
    let recipe = Recipe::default();
    let dir = recipe.make();
    let path = find(dir.path(), "metadata", ".targets.json");
    edit(&path, |v| v["signed"]["targets"]["uki.efi"]["length"] = 1.into());
    let altered = fs::read(&path).unwrap();
    let online = keys(&recipe.online);
    make::seal(dir.path(), &altered, recipe.versions, recipe.expires, &signers(&online)).unwrap();
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::Signatures { valid: 0, needed: 2, .. }), "{e}");
}

#[test]
fn a_weak_root_of_trust() {
    let weak = Trust { root: root(1, 1, UnixMillis(NOW.0 + DAY), &[1]), sm2: None };
    let recipe = Recipe { roots: vec![weak.root.clone()], ..Recipe::default() };
    let e = verify(recipe.make().path(), &weak, Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::WeakRoot { threshold: 1, keys: 3, .. }), "{e}");
}

#[test]
fn expired() {
    let old = Recipe { expires: UnixMillis(NOW.0 - 1000), ..Recipe::default() };
    let e = refused(&old);
    assert!(matches!(e, UpdateError::Expired { role: "timestamp", .. }), "{e}");
    // the caller's clock counts, to the second
    let dir = Recipe::default().make();
    let end = Recipe::default().expires;
    verify_at(dir.path(), &trust(), Seen::default(), UnixMillis(end.0 - 1)).unwrap();
    assert!(verify_at(dir.path(), &trust(), Seen::default(), end).is_err());
    let e = verify_at(dir.path(), &trust(), Seen::default(), UnixMillis(NOW.0 + 2000 * DAY)).unwrap_err();
    assert!(matches!(e, UpdateError::Expired { role: "root", .. }), "{e}");
}

#[test]
fn rolled_back() {
    let dir = Recipe::default().make();
    let seen = Recipe::default().versions;
    verify(dir.path(), &trust(), seen).unwrap();
    for (role, newer) in [
        ("root", Seen { root: 2, ..seen }),
        ("timestamp", Seen { timestamp: 8, ..seen }),
        ("snapshot", Seen { snapshot: 8, ..seen }),
        ("targets", Seen { targets: 8, ..seen }),
    ] {
        let e = verify(dir.path(), &trust(), newer).unwrap_err();
        assert!(matches!(e, UpdateError::RolledBack { role: r, .. } if r == role), "{role}: {e}");
    }
}

#[test]
fn roots_rotate_under_the_old_keys() {
    let later = UnixMillis(NOW.0 + 2000 * DAY);
    let versions = Seen { root: 2, ..Recipe::default().versions };
    let by = |signers: &[u8]| Recipe {
        roots: vec![trust().root, root(2, 2, later, signers)],
        versions,
        ..Recipe::default()
    };
    let bundle = verify(by(&[2, 3]).make().path(), &trust(), Seen::default()).unwrap();
    assert_eq!(bundle.seen.root, 2);
    let e = refused(&by(&[2]));
    assert!(matches!(&e, UpdateError::Signatures { role, .. } if role == "root"), "{e}");
}

#[test]
fn truncated_at_random_points() {
    let seed = 0x7472_756e;
    let (mut chance, recipe) = (Chance(seed), Recipe { sm2: Some(SM2_KEY), ..Recipe::default() });
    let trust = Trust { sm2: Some(*common::Key::sm2(SM2_KEY).public_key()), ..trust() };
    for round in 0..20 {
        let dir = recipe.make();
        let mut files: Vec<_> = ["metadata", "targets"]
            .iter()
            .flat_map(|f| fs::read_dir(dir.path().join(f)).unwrap().map(|f| f.unwrap().path()))
            .filter(|p| !p.ends_with("1.root.json")) // the box has its own
            .collect();
        files.sort();
        let file = &files[chance.index(files.len())];
        let bytes = fs::read(file).unwrap();
        let at = chance.index(bytes.len());
        fs::write(file, &bytes[..at]).unwrap();
        // images are read when they are copied
        let found = verify(dir.path(), &trust, Seen::default()).and_then(|b| {
            common::sim::Machine::new(seed, common::sim::Cut::default()).updater().apply(&b, &mut |_, _| ())
        });
        let e = found.expect_err(&format!("seed {seed}, round {round}: {} cut at {at}", file.display()));
        assert!(
            matches!(
                e,
                UpdateError::Metadata { .. }
                    | UpdateError::TargetDamaged { .. }
                    | UpdateError::CountersignatureWrong { .. }
            ),
            "seed {seed}, round {round}: {} cut at {at}: {e:?}",
            file.display()
        );
    }
}

#[test]
fn the_sm2_countersignature() {
    let pinned = Trust { sm2: Some(*common::Key::sm2(SM2_KEY).public_key()), ..trust() };
    let with = |sm2| Recipe { sm2, ..Recipe::default() }.make();
    let good = with(Some(SM2_KEY));
    verify(good.path(), &pinned, Seen::default()).unwrap();
    // not asked for, it may be there
    verify(good.path(), &trust(), Seen::default()).unwrap();
    let e = verify(with(None).path(), &pinned, Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::CountersignatureMissing { .. }), "{e}");
    let e = verify(with(Some(99)).path(), &pinned, Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::CountersignatureWrong { .. }), "{e}");
    // a good signature, but of other targets
    let other =
        Recipe { sm2: Some(SM2_KEY), manifest: common::manifest("2.0.1"), ..Recipe::default() }.make();
    let name = find(good.path(), "metadata", ".sm2");
    fs::copy(find(other.path(), "metadata", ".sm2"), &name).unwrap();
    let e = verify(good.path(), &pinned, Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::CountersignatureWrong { .. }), "{e}");
    // a pinned key of the other scheme is no SM2 key
    let odd = Trust { sm2: Some(*common::Key::p256(SM2_KEY).public_key()), ..trust() };
    let e = verify(with(Some(SM2_KEY)).path(), &odd, Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::CountersignatureWrong { .. }), "{e}");
}

/// A program that we did not write agrees: OpenSSL checks the countersignature.
#[test]
fn openssl_checks_the_countersignature() {
    let dir = Recipe { sm2: Some(SM2_KEY), ..Recipe::default() }.make();
    let key = common::Key::sm2(SM2_KEY);
    // SubjectPublicKeyInfo of an SM2 key (OIDs id-ecPublicKey, sm2p256v1), then the point
    let mut spki = hex::decode("3059301306072a8648ce3d020106082a811ccf5501822d03420004").unwrap();
    spki.extend_from_slice(&key.public_key().point.0);
    let public = dir.path().join("key.der");
    fs::write(&public, spki).unwrap();
    let mut check = Command::new("openssl");
    check.args(["dgst", "-sm3", "-keyform", "DER", "-sigopt", "distid:1234567812345678", "-verify"]);
    check.arg(&public).arg("-signature").arg(find(dir.path(), "metadata", ".sm2"));
    let good = check.arg(find(dir.path(), "metadata", ".targets.json")).output();
    let good = good.expect("openssl is missing; apt-get install openssl");
    assert!(
        good.status.success(),
        "{}{}",
        String::from_utf8_lossy(&good.stdout),
        String::from_utf8_lossy(&good.stderr)
    );
}

#[test]
fn files_that_do_not_belong() {
    for place in ["metadata/8.targets.json", "metadata/2.root.json.bak", "targets/extra", "readme.txt"] {
        let dir = Recipe::default().make();
        fs::write(dir.path().join(place), b"x").unwrap();
        let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
        assert!(matches!(&e, UpdateError::UnknownFile { name } if name == place), "{place}: {e}");
    }
    let dir = Recipe::default().make();
    fs::create_dir(dir.path().join("targets/more")).unwrap();
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::UnknownFile { .. }), "{e}");
    let dir = Recipe::default().make();
    let file = find(dir.path(), "targets", ".root.img");
    fs::rename(&file, dir.path().with_extension("away")).unwrap();
    symlink(dir.path().with_extension("away"), &file).unwrap();
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    fs::remove_file(dir.path().with_extension("away")).unwrap();
    assert!(matches!(e, UpdateError::UnknownFile { .. }), "a link: {e}");
}

#[test]
fn target_names_lead_nowhere_else() {
    let recipe = Recipe::default();
    for name in
        ["../../../etc/passwd", "/etc/passwd", "x/../root.img", "root.img/", "./uki.efi", "a\nb", "fifth"]
    {
        let dir = recipe.make();
        let content = make::add_bytes(dir.path(), "fifth", b"x").unwrap();
        reseal(dir.path(), &recipe, &[(name, content)]);
        let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
        assert!(matches!(&e, UpdateError::TargetName { name: n } if n == name), "{name}: {e}");
    }
    let dir = recipe.make();
    reseal(dir.path(), &recipe, &[]);
    let extra: Vec<_> =
        fs::read_dir(dir.path().join("targets")).unwrap().map(|f| f.unwrap().path()).collect();
    extra.iter().for_each(|f| fs::remove_file(f).unwrap());
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::TargetMissing { .. }), "{e}");
}

#[test]
fn metadata_too_big() {
    let dir = Recipe::default().make();
    fs::write(dir.path().join("metadata/timestamp.json"), vec![b' '; 300 << 10]).unwrap();
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::MetadataTooBig { .. }), "{e}");
    let dir = Recipe::default().make();
    (0..80).for_each(|n| fs::write(dir.path().join(format!("metadata/{n}.x")), b"").unwrap());
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::MetadataTooBig { .. }), "{e}");
    // a release.json without end is not read to its end
    let (dir, recipe) = (Recipe::default().make(), Recipe::default());
    let content = make::add_bytes(dir.path(), "release.json", &vec![b' '; 17 << 10]).unwrap();
    let others: Vec<_> = ["root.img", "verity.img", "uki.efi"]
        .into_iter()
        .map(|name| {
            let bytes = fs::read(find(dir.path(), "targets", name)).unwrap();
            (name, make::add_bytes(dir.path(), name, &bytes).unwrap())
        })
        .collect();
    fs::read_dir(dir.path().join("targets")).unwrap().for_each(|f| {
        let f = f.unwrap().path();
        let small = fs::metadata(&f).unwrap().len() < 1000;
        if small {
            fs::remove_file(f).unwrap();
        }
    });
    reseal(dir.path(), &recipe, &[others, vec![("release.json", content)]].concat());
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::TooLarge { name: "release.json", .. }), "{e}");
}

#[test]
fn the_right_bytes_at_the_wrong_length() {
    let recipe = Recipe::default();
    let dir = recipe.make();
    let path = find(dir.path(), "targets", "release.json");
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(b' ');
    fs::write(&path, &bytes).unwrap();
    let e = verify(dir.path(), &trust(), Seen::default()).unwrap_err();
    assert!(matches!(e, UpdateError::TargetDamaged { name: "release.json", .. }), "{e}");
}
