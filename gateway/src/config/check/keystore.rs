//! `[keystore]`: one section per kind, and only that of the chosen kind.

use super::{super::keystore::*, value::Notes};
use crate::config::raw::{RawKeystore, RawPkcs11, RawSdf, RawSdfKey, RawTpm2};
use hsm_api::KeyPurpose;
use std::{collections::BTreeSet, path::PathBuf};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Development,
    Tpm2,
    Pkcs11,
    Sdf,
}

const KINDS: [(&str, Kind); 4] =
    [("tpm2", Kind::Tpm2), ("pkcs11", Kind::Pkcs11), ("sdf", Kind::Sdf), ("development", Kind::Development)];

pub(super) fn keystore(n: &mut Notes, raw: RawKeystore) -> Option<Keystore> {
    let kind = n.word("keystore.kind", raw.kind.clone(), &KINDS);
    strangers(n, kind, &raw);
    let node_key = n.text("keystore.node_key", raw.node_key.clone(), 64);
    let account_key = n.text("keystore.account_key", raw.account_key.clone(), 64);
    if node_key.is_some() && node_key == account_key {
        n.problem(
            "keystore.account_key",
            "the same key as keystore.node_key",
            "use a key of its own: the account pays and carries no authority",
        );
    }
    let attestation_key = n.text("keystore.attestation_key", raw.attestation_key.clone(), 64);
    if attestation_key.is_some() && [&node_key, &account_key].contains(&&attestation_key) {
        n.problem(
            "keystore.attestation_key",
            "the same key as another",
            "use a key of its own: it signs only what the chip says of itself",
        );
    }
    let backend = match kind? {
        Kind::Development => development(n, raw),
        Kind::Tpm2 => tpm2(n, raw.path, raw.tpm2.unwrap_or_default()).map(Backend::Tpm2),
        Kind::Pkcs11 => pkcs11(n, raw.pkcs11.unwrap_or_default()).map(Backend::Pkcs11),
        Kind::Sdf => sdf(n, raw.sdf.unwrap_or_default()).map(Backend::Sdf),
    };
    Some(Keystore {
        backend: backend?,
        node_key: node_key?,
        account_key: account_key?,
        attestation_key: attestation_key?,
    })
}

/// A section of another kind is a mistake: its writer believes that it counts.
fn strangers(n: &mut Notes, kind: Option<Kind>, raw: &RawKeystore) {
    let Some(kind) = kind else { return };
    let written = [
        ("keystore.path", raw.path.is_some(), [Kind::Development, Kind::Tpm2].contains(&kind)),
        ("keystore.passphrase_file", raw.passphrase_file.is_some(), kind == Kind::Development),
        ("keystore.tpm2", raw.tpm2.is_some(), kind == Kind::Tpm2),
        ("keystore.pkcs11", raw.pkcs11.is_some(), kind == Kind::Pkcs11),
        ("keystore.sdf", raw.sdf.is_some(), kind == Kind::Sdf),
    ];
    for (key, there, wanted) in written {
        if there && !wanted {
            n.problem(key, "not used by this kind of keystore", "drop it, or choose its kind");
        }
    }
}

fn development(n: &mut Notes, raw: RawKeystore) -> Option<Backend> {
    if cfg!(feature = "dev") {
        n.weak("keystore.kind = \"development\": the node key is a file, not in a chip");
    } else {
        n.problem(
            "keystore.kind",
            "`development` is not in this build",
            "use the board's keystore; software keys exist only in development builds",
        );
    }
    let path = n.path("keystore.path", raw.path);
    let passphrase_file = n.path("keystore.passphrase_file", raw.passphrase_file);
    Some(Backend::Development { path: path?, passphrase_file: passphrase_file? })
}

fn tpm2(n: &mut Notes, path: Option<String>, raw: RawTpm2) -> Option<Tpm2> {
    let index = n.path("keystore.path", path);
    let device = tpm_device(n, raw.device);
    let pin = match raw.pin {
        None => {
            n.weak("keystore.tpm2.pin is not set: an exchanged chip is believed as its index file says");
            Some(None)
        }
        Some(text) => n.parsed("keystore.tpm2.pin", Some(text), parse_pin).map(Some),
    };
    let owner_auth_file = optional_path(n, "keystore.tpm2.owner_auth_file", raw.owner_auth_file);
    let key_auth_file = optional_path(n, "keystore.tpm2.key_auth_file", raw.key_auth_file);
    Some(Tpm2 {
        index: index?,
        device: device?,
        pin: pin?,
        owner_auth_file: owner_auth_file?,
        key_auth_file: key_auth_file?,
    })
}

fn tpm_device(n: &mut Notes, raw: Option<String>) -> Option<TpmDevice> {
    const KEY: &str = "keystore.tpm2.device";
    let text = n.text(KEY, raw, 256)?;
    let device = match text.split_once(':') {
        None if text == "board" => TpmDevice::Board,
        None if text.starts_with('/') => TpmDevice::Kernel(PathBuf::from(text)),
        Some(("swtpm", at)) => match at.parse() {
            Ok(address) => TpmDevice::SwtpmTcp(address),
            Err(_) => TpmDevice::SwtpmUnix(n.path(KEY, Some(at.to_owned()))?),
        },
        Some(("spi-sim", at)) if cfg!(feature = "dev") => {
            TpmDevice::SpiSim(n.path(KEY, Some(at.to_owned()))?)
        }
        _ => {
            n.problem(
                KEY,
                format!("`{}` names no way to a TPM", super::value::clip(&text)),
                "give \"/dev/tpmrm0\", \"board\", or a simulator as \"swtpm:/path/of/its/socket\" or \"swtpm:127.0.0.1:2321\"",
            );
            return None;
        }
    };
    if matches!(device, TpmDevice::SwtpmUnix(_) | TpmDevice::SwtpmTcp(_) | TpmDevice::SpiSim(_)) {
        n.weak("keystore.tpm2.device is a simulator: its keys are in files of this machine");
    }
    Some(device)
}

/// A TPM's name: two bytes of algorithm and a digest (TPM 2.0 part 1, 16).
fn parse_pin(text: &str) -> Result<Vec<u8>, String> {
    let bytes = hex::decode(text).map_err(|_| "not hexadecimal".to_owned())?;
    if (18..=66).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(format!("{} bytes: a name has 34 with SHA-256 or SM3", bytes.len()))
    }
}

fn pkcs11(n: &mut Notes, raw: RawPkcs11) -> Option<Pkcs11> {
    let module = n.path("keystore.pkcs11.module", raw.module);
    let pin_file = n.path("keystore.pkcs11.pin_file", raw.pin_file);
    let token = match (raw.token_label, raw.token_serial) {
        (Some(label), None) => n.text("keystore.pkcs11.token_label", Some(label), 32).map(Pkcs11Token::Label),
        (None, serial) => n.text("keystore.pkcs11.token_serial", serial, 16).map(Pkcs11Token::Serial),
        (Some(_), Some(_)) => {
            n.problem("keystore.pkcs11.token_serial", "there beside token_label", "name the token by one");
            None
        }
    };
    let login_after_wrong_pin = raw.login_after_wrong_pin.unwrap_or(false);
    if login_after_wrong_pin {
        n.weak("keystore.pkcs11.login_after_wrong_pin: a restart loop can lock the token");
    }
    let sm2 = match (raw.sm2_sign, raw.sm2_generate) {
        (None, None) => Some(None),
        (sign, generate) => {
            let sign = n.number("keystore.pkcs11.sm2_sign", sign, 1, u64::from(u32::MAX));
            let generate = n.number("keystore.pkcs11.sm2_generate", generate, 1, u64::from(u32::MAX));
            (|| Some(Some(Pkcs11Sm2 { sign: sign?, generate: generate? })))()
        }
    };
    Some(Pkcs11 { module: module?, token: token?, pin_file: pin_file?, login_after_wrong_pin, sm2: sm2? })
}

fn sdf(n: &mut Notes, raw: RawSdf) -> Option<Sdf> {
    let library = n.path("keystore.sdf.library", raw.library);
    let layouts = [("auto", None), ("64", Some(64)), ("32", Some(32))];
    let layout = n.word("keystore.sdf.layout", Some(raw.layout.unwrap_or_else(|| "auto".into())), &layouts);
    let keys = raw.keys.unwrap_or_default();
    if keys.is_empty() || keys.len() > 64 {
        let what = format!("{} keys", keys.len());
        n.problem("keystore.sdf.keys", what, "list 1 to 64 as { name, index, purpose, password_file }");
        return None;
    }
    let mut seen = BTreeSet::new();
    let keys: Vec<_> = keys.into_iter().enumerate().map(|(i, k)| sdf_key(n, i, k, &mut seen)).collect();
    Some(Sdf { library: library?, layout: layout?, keys: keys.into_iter().collect::<Option<_>>()? })
}

fn sdf_key(n: &mut Notes, i: usize, raw: RawSdfKey, seen: &mut BTreeSet<String>) -> Option<SdfKey> {
    let key = |field: &str| format!("keystore.sdf.keys[{i}].{field}");
    let purposes =
        [("node", KeyPurpose::Node), ("storage", KeyPurpose::Storage), ("account", KeyPurpose::Account)];
    let name = n.text(&key("name"), raw.name, 64);
    let index = n.number(&key("index"), raw.index, 0, u64::from(u32::MAX));
    let purpose = n.word(&key("purpose"), raw.purpose, &purposes);
    let password_file = optional_path(n, &key("password_file"), raw.password_file);
    if let Some(name) = &name
        && !seen.insert(name.clone())
    {
        n.problem(&key("name"), "listed twice", "give each key a name of its own");
    }
    let index = u32::try_from(index?).ok();
    Some(SdfKey { name: name?, index: index?, purpose: purpose?, password_file: password_file? })
}

fn optional_path(n: &mut Notes, key: &str, raw: Option<String>) -> Option<Option<PathBuf>> {
    match raw {
        None => Some(None),
        Some(text) => n.path(key, Some(text)).map(Some),
    }
}
