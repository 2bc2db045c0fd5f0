//! A SoftHSM2 token of a test's own, in a process of its own.
//!
//! SoftHSM2 finds its tokens by an environment variable, which a test cannot set for itself. So a test that
//! wants a token starts its own binary again, with the variable set, for that one test.

use hsm_api::{HsmError, backend::Limits};
use hsm_pkcs11::{Pkcs11KeyStore, Pkcs11Options, TokenName};
use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

pub(crate) const PIN: &str = "8715309246170953";
pub(crate) const OTHER_PIN: &str = "1112223334445556";
pub(crate) const LABEL: &str = "xinguan";
const SO_PIN: &str = "5550001112223334";
/// Says to the child where its token is.
const FOLDER: &str = "XINGUAN_TEST_TOKEN";

/// Where a token lives.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
}

/// Runs `body` in a process with a token; `test` is the name of the test function that calls this.
pub(crate) fn with_token(test: &str, body: impl FnOnce(&Place)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        body(&Place { folder: folder.into() });
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = Place { folder: folder.path().to_owned() };
    std::fs::create_dir(place.tokens()).unwrap();
    let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\n", place.tokens().display());
    std::fs::write(place.conf(), conf).unwrap();
    place.init_token(LABEL);
    place.write_pin(PIN);
    let output = place
        .command(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(FOLDER, &place.folder)
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // a misspelled name would run no test and succeed
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

pub(crate) fn module() -> PathBuf {
    let known = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
    let found = known.iter().map(PathBuf::from).find(|p| p.exists());
    found.expect("SoftHSM2 is not installed: apt install softhsm2")
}

impl Place {
    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }
    fn conf(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }
    pub(crate) fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }
    pub(crate) fn write_pin(&self, pin: &str) {
        std::fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        std::fs::set_permissions(self.pin_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    pub(crate) fn options(&self) -> Pkcs11Options {
        Pkcs11Options {
            // half of the conformance suite's threads wait
            limits: Limits { sessions: 4, patience: std::time::Duration::from_secs(60) },
            ..Pkcs11Options::new(module(), TokenName::Label(LABEL.into()), self.pin_file())
        }
    }
    pub(crate) fn open(&self) -> Pkcs11KeyStore {
        Pkcs11KeyStore::open(&self.options()).unwrap()
    }
    fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env("SOFTHSM2_CONF", self.conf()).stdin(Stdio::null());
        command
    }
    pub(crate) fn init_token(&self, label: &str) {
        let mut command = self.command("softhsm2-util");
        command.args(["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN]);
        let output = command.output().expect("softhsm2-util is not installed: apt install softhsm2");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    /// OpenSC's tool, logged in: a program of others looks at the token.
    pub(crate) fn pkcs11_tool(&self, arguments: &[&str]) -> Output {
        self.pkcs11_tool_with(PIN, arguments)
    }
    pub(crate) fn pkcs11_tool_with(&self, pin: &str, arguments: &[&str]) -> Output {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(module()).args(["--token-label", LABEL, "--login", "--pin", pin]);
        command.args(arguments).output().expect("pkcs11-tool is not installed: apt install opensc")
    }
    /// What OpenSC says of the token, not logged in.
    pub(crate) fn token_flags(&self) -> String {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(module()).arg("--list-token-slots");
        ok(&command.output().expect("pkcs11-tool is not installed: apt install opensc"))
    }
    /// The token is unplugged, and plugged in again.
    pub(crate) fn unplug(&self) {
        std::fs::rename(self.tokens(), self.folder.join("unplugged")).unwrap();
        std::fs::create_dir(self.tokens()).unwrap();
    }
    pub(crate) fn plug_in(&self) {
        std::fs::remove_dir(self.tokens()).unwrap();
        std::fs::rename(self.folder.join("unplugged"), self.tokens()).unwrap();
    }
}

pub(crate) fn ok(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Why opening fails, and what that becomes for the gateway.
pub(crate) fn refusal(options: &Pkcs11Options) -> (hsm_pkcs11::Pkcs11Error, HsmError) {
    let error = || Pkcs11KeyStore::open(options).unwrap_err();
    (error(), error().into())
}

pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
