//! A library and its device of a test's own, in a folder.

use hsm_api::{KeyPurpose, backend::Limits};
use hsm_sdf::{SdfKey, SdfKeyStore, SdfOptions};
use hsm_sdf_testlib::settings;
use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

pub(crate) const PASSWORDS: [(&str, u32, &str); 3] =
    [("node", 1, "8715309246170953"), ("account", 2, "1112223334445556"), ("storage", 9, "5550001112223334")];
pub(crate) const SECRETS: [[u8; 32]; 3] = [[0x11; 32], [0x22; 32], [0x33; 32]];

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A device with three keys.
    pub(crate) fn new(layout: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        // cargo puts the library of a dependency beside the tests
        let built = std::env::current_exe().unwrap().with_file_name("libhsm_sdf_testlib.so");
        std::fs::copy(&built, place.library()).expect("cargo has built hsm-sdf-testlib for this test");
        place.set(layout, &[]);
        for (name, _, password) in PASSWORDS {
            place.write_password(name, password);
        }
        place
    }
    pub(crate) fn library(&self) -> PathBuf {
        self.folder.path().join("libsdf.so")
    }
    /// What the device is from now on: its layout, keys, and more lines.
    pub(crate) fn set(&self, layout: &str, more: &[&str]) {
        let mut text = format!("layout {layout}\n");
        for ((_, index, password), secret) in PASSWORDS.iter().zip(SECRETS) {
            text += &format!("key {index} {} {password}\n", hex::encode(secret));
        }
        self.set_text(&(text + &more.join("\n")));
    }
    pub(crate) fn set_text(&self, text: &str) {
        // replaced as a whole: calls in other threads read it all the time
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join(settings::FILE)).unwrap();
    }
    /// How often the device has seen a wrong password.
    pub(crate) fn wrong_passwords(&self) -> usize {
        let file = std::fs::read_to_string(self.folder.path().join(settings::ATTEMPTS));
        file.map_or(0, |text| text.lines().count())
    }
    pub(crate) fn password_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.password"))
    }
    pub(crate) fn write_password(&self, name: &str, password: &str) {
        let path = self.password_file(name);
        std::fs::write(&path, format!("{password}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    pub(crate) fn options(&self) -> SdfOptions {
        let purposes = [KeyPurpose::Node, KeyPurpose::Account, KeyPurpose::Storage];
        let keys = PASSWORDS.iter().zip(purposes).map(|((name, index, _), purpose)| SdfKey {
            name: (*name).to_owned(),
            purpose,
            index: *index,
            password_file: Some(self.password_file(name)),
        });
        let limits = Limits { sessions: 4, patience: Duration::from_secs(60) };
        SdfOptions { limits, ..SdfOptions::new(self.library(), keys.collect()) }
    }
    pub(crate) fn open(&self) -> SdfKeyStore {
        SdfKeyStore::open(&self.options()).unwrap()
    }
    pub(crate) fn open_error(&self) -> hsm_sdf::SdfError {
        SdfKeyStore::open(&self.options()).unwrap_err()
    }
    /// Takes a function's name out of the library, as if it had never had it.
    pub(crate) fn without(&self, symbol: &str) {
        let bytes = std::fs::read(self.library()).unwrap();
        let (name, other) = (format!("\0{symbol}\0"), format!("\0X{}\0", symbol.trim_start_matches('S')));
        let mut rest = &bytes[..];
        let mut out = Vec::with_capacity(bytes.len());
        while let Some(at) = rest.windows(name.len()).position(|w| w == name.as_bytes()) {
            let (before, found) = rest.split_at(at);
            out.extend_from_slice(before);
            out.extend_from_slice(other.as_bytes());
            rest = found.split_at(name.len()).1;
        }
        assert!(!out.is_empty(), "{symbol} is not in the library");
        out.extend_from_slice(rest);
        std::fs::write(self.library(), out).unwrap();
    }
}
