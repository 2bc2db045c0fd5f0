//! Commands beside the keystore's own, errors with remedies, and tpm2-tools as a second opinion.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::Simulator;
use gw_proto::Scheme;
use hsm_api::{HsmError, KeyPurpose, KeyStore as _, sign_message};
use hsm_tpm2::{
    Entity, Options, Secret, Tpm2KeyStore, TpmError,
    commands::{self, keys, management, policy, storage},
    template,
};
use tpm2_protocol::data::TpmCc;

fn secret(byte: u8) -> Secret {
    Secret::new(vec![byte; 32].into()).unwrap()
}

/// What tpm2-tools read on the same chip is what we read.
#[test]
fn tpm2_tools_agree() {
    let chip = Simulator::start();
    let store = chip.init();
    store.extend_pcr(16, &[9; 32]).unwrap();
    let pcrs = store.read_pcrs(&[0, 16]).unwrap();
    let pin = store.pin().unwrap();
    let info = store.chip_info().unwrap();
    assert!(info.sm2 && info.manufacturer == "IBM" && info.transient_slots == 3, "{info:?}");
    store.disconnect().unwrap();
    let said = |name: &str, args: &[&str]| {
        let out = chip.tool(name, args);
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let public = said("tpm2_readpublic", &["-c", "0x81005847"]);
    assert!(public.contains(&hex::encode(&pin)), "{public}");
    let values = said("tpm2_pcrread", &["sha256:0,16"]).to_lowercase();
    for (_, value) in &pcrs {
        assert!(values.contains(&hex::encode(value)), "{values}");
    }
    // the tools leave objects behind, there being no resource manager: we sweep
    for _ in 0..3 {
        chip.tool("tpm2_createprimary", &["-C", "o", "-G", "ecc", "-c", "left.ctx"]);
    }
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    sign_message(&*key, b"m").unwrap();
}

#[test]
fn ecdh_gives_both_sides_the_same_secret() {
    let chip = Simulator::start();
    let store = chip.init();
    let z = store
        .with_chip(|chip, parent| {
            let none = Secret::empty();
            let ours = keys::create(chip, parent, &none, &[], &template::agreement())?;
            let theirs = keys::create(chip, parent, &none, &[], &template::agreement())?;
            let mut z = Vec::new();
            for (mine, other) in [(&ours, &theirs), (&theirs, &ours)] {
                let point = template::point(&template::parse(&other.public).unwrap()).unwrap();
                let key = keys::load(chip, parent, mine)?;
                z.push(*keys::ecdh_z(chip, &key.entity, &none, &point)?);
                // a point that is not on the curve
                assert!(keys::ecdh_z(chip, &key.entity, &none, &[7; 64]).is_err());
                commands::flush(chip, key.entity.handle)?;
            }
            Ok(z)
        })
        .unwrap();
    assert_eq!(z[0], z[1]);
    assert_ne!(z[0], [0; 32]);
}

/// A wrong lockout authorization locks that authority; the error says for how long.
#[test]
fn lockout_says_how_long() {
    let chip = Simulator::start();
    let store = chip.init();
    let lockout = store.lockout().unwrap();
    assert!(!lockout.locked && !lockout.lockout_auth_set && lockout.most > 0, "{lockout:?}");
    store
        .with_chip(|c, _| management::change_auth(c, &Entity::lockout(), &Secret::empty(), &secret(1)))
        .unwrap();
    assert!(store.lockout().unwrap().lockout_auth_set);
    let e = store.erase(&secret(2)).unwrap_err();
    assert!(matches!(e, TpmError::WrongAuth { command: "Clear" }), "{e}");
    let e = store.erase(&secret(1)).unwrap_err();
    let wait = store.lockout().unwrap().lockout_recovers_after.as_secs();
    assert!(wait > 0 && e.to_string().contains(&format!("{wait} s")), "{e}");
    // the keystore's own keys are not concerned
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    sign_message(&*key, b"m").unwrap();
}

/// Guessing at a guarded key of another program locks such keys; ours are exempt.
#[test]
fn guessing_locks_others_not_us() {
    let chip = Simulator::start();
    let store = chip.init();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    let ok = |name: &str, args: &[&str]| {
        let out = chip.tool(name, args);
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    };
    ok("tpm2_dictionarylockout", &["--setup-parameters", "--max-tries=2", "--recovery-time=777"]);
    ok("tpm2_nvdefine", &["0x1500001", "-s", "8", "-p", "right", "-a", "authread|authwrite"]);
    for _ in 0..2 {
        assert!(!chip.tool("tpm2_nvread", &["0x1500001", "-P", "wrong"]).status.success());
    }
    sign_message(&*key, b"m").unwrap();
    let state = store.lockout().unwrap();
    assert!(state.locked && state.wait().contains("777 s"), "{state:?}");
    let e = store
        .with_chip(|c, _| {
            let index = storage::nv_public(c, 0x0150_0001, "")?;
            storage::nv_read(c, &index, &index.entity, &secret(7))
        })
        .unwrap_err();
    assert!(matches!(&e, TpmError::Lockout { wait } if wait.contains("777 s")), "{e}");
    store.with_chip(|c, _| management::reset_lockout(c, &Secret::empty())).unwrap();
    assert!(!store.lockout().unwrap().locked);
}

#[test]
fn erasing_ends_all_keys() {
    let chip = Simulator::start();
    let store = chip.init();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let pin = store.pin();
    store.erase(&Secret::empty()).unwrap();
    assert!(matches!(sign_message(&*key, b"m"), Err(HsmError::Closed(_))));
    let e = Tpm2KeyStore::open(Options { pinned: pin, ..chip.options() }).unwrap_err();
    assert!(matches!(e, TpmError::PinMismatch { .. }), "a cleared chip is another one: {e}");
}

/// A box may be allowed to erase its chip without knowing the lockout authorization.
#[test]
fn erasing_by_policy() {
    let chip = Simulator::start();
    let store = chip.init();
    let allowed = policy::Digest::start().command_code(TpmCc::Clear);
    store
        .with_chip(|c, _| {
            management::change_auth(c, &Entity::lockout(), &Secret::empty(), &secret(1))?;
            management::set_lockout_policy(c, &secret(1), &allowed.0)
        })
        .unwrap();
    store.with_chip(|c, _| management::clear_by_policy(c)).unwrap();
    store.disconnect().unwrap();
    let e = Tpm2KeyStore::open(chip.options()).unwrap_err();
    assert!(matches!(e, TpmError::PinMismatch { .. }), "{e}");
    // without a policy it is refused
    let other = Simulator::start();
    let e = other.init().with_chip(|c, _| management::clear_by_policy(c)).unwrap_err();
    assert!(matches!(e, TpmError::Policy { .. } | TpmError::Code { .. }), "{e}");
}

#[test]
fn the_owners_value_is_needed_and_changes() {
    let chip = Simulator::start();
    let owned = Options { owner_auth: secret(5), ..chip.options() };
    let store = chip.init();
    store
        .with_chip(|c, _| management::change_auth(c, &Entity::owner(), &Secret::empty(), &secret(5)))
        .unwrap();
    // the storage key is removed, and made again with the owner's value only
    store.with_chip(|c, storage| keys::evict_control(c, &secret(5), storage, storage.handle)).unwrap();
    let pin = store.pin();
    store.disconnect().unwrap();
    let e = Tpm2KeyStore::open(chip.options()).unwrap_err();
    assert!(matches!(e, TpmError::WrongAuth { command: "CreatePrimary" }), "{e}");
    let again = Tpm2KeyStore::open(owned).unwrap();
    assert_eq!(again.pin(), pin, "the same key from the same seed");
}

#[test]
fn a_full_nv_is_named() {
    let chip = Simulator::start();
    let store = chip.init();
    let filled = store.with_chip(|c, _| {
        for n in 0..2000 {
            storage::define_counter(c, &Secret::empty(), 0x0150_0000 + n, &[])?;
        }
        Ok(())
    });
    let e = filled.unwrap_err();
    assert!(matches!(e, TpmError::NvFull), "{e}");
    store.chip_info().unwrap();
}

#[test]
fn a_handle_that_others_use_is_not_taken() {
    let chip = Simulator::start();
    let made = chip.tool("tpm2_createprimary", &["-C", "o", "-G", "rsa", "-c", "x.ctx"]);
    // the tools do not start a chip
    assert!(!made.status.success());
    drop(chip.init());
    std::fs::remove_file(chip.path("keys.json")).unwrap();
    for args in [
        ["tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "x.ctx"].as_slice(),
        &["tpm2_evictcontrol", "-C", "o", "-c", "x.ctx", "0x81000099"],
    ] {
        let out = chip.tool(args[0], &args[1..]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let e = Tpm2KeyStore::init(Options { storage_handle: 0x8100_0099, ..chip.options() }).unwrap_err();
    assert!(matches!(e, TpmError::HandleTaken { handle: 0x8100_0099, .. }), "{e}");
    let e = Tpm2KeyStore::init(Options { counter_index: 0x01c0_0002, ..chip.options() });
    drop(e.unwrap());
}

#[test]
fn what_is_not_there_is_named() {
    let chip = Simulator::stopped();
    let e = Tpm2KeyStore::init(chip.options()).unwrap_err();
    assert!(matches!(e, TpmError::Connect { .. }), "{e}");
    let e = Tpm2KeyStore::open(chip.options()).unwrap_err();
    assert!(matches!(e, TpmError::Io { operation: "read", .. }), "{e}");
}
