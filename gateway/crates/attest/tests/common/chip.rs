//! swtpm on a unix socket, for the time of a test.

use hsm_tpm2::{
    Options, Tpm2KeyStore,
    transport::swtpm::{Address, Swtpm},
};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

pub struct Simulator {
    folder: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl Simulator {
    /// A new chip.
    pub fn start() -> Arc<Self> {
        Self::on(tempfile::tempdir().unwrap())
    }

    /// A chip whose state lies in a folder already.
    pub fn on(folder: tempfile::TempDir) -> Arc<Self> {
        let this = Self { folder, child: Mutex::new(None) };
        this.power_on();
        Arc::new(this)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it with the state that it has; ready when this returns.
    pub fn power_on(&self) {
        let (socket, control) = (self.path("tpm"), self.path("tpm.ctrl"));
        for old in [&socket, &control] {
            drop(std::fs::remove_file(old));
        }
        let at = |path: &Path| format!("type=unixio,path={}", path.display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init"])
            .args(["--tpmstate", &format!("dir={}", self.folder.path().display())])
            .args(["--server", &at(&socket), "--ctrl", &at(&control)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm does not start: apt-get install swtpm");
        *self.child.lock().unwrap() = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        let (_keep, nothing) = mpsc::channel::<()>();
        while !(listens(&socket) && listens(&control)) {
            assert!(Instant::now() < deadline, "swtpm never listens");
            let _over = nothing.recv_timeout(Duration::from_millis(5));
        }
    }

    /// Cuts the power.
    pub fn power_off(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn init(&self) -> Tpm2KeyStore {
        let address = Address::Unix(self.path("tpm"));
        let chip = Swtpm { server: address, control: Some(Address::Unix(self.path("tpm.ctrl"))) };
        let options = Options::new(Arc::new(chip), self.path("keys.json"));
        Tpm2KeyStore::init(Options { patience: Duration::from_secs(60), ..options }).unwrap()
    }

    /// Runs one of the tpm2-tools on this chip. The keystore must have let it go.
    pub fn tool(&self, name: &str, args: &[&str]) {
        let tcti = format!("swtpm:path={}", self.path("tpm").display());
        let out = program(self.folder.path(), name, &[args, &["--tcti", &tcti]].concat());
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Whether somebody accepts connections there (flag SO_ACCEPTCON); asking by connecting would be a client.
fn listens(socket: &Path) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let path = socket.display().to_string();
    sockets.lines().any(|l| l.ends_with(&path) && l.split_whitespace().nth(3) == Some("00010000"))
}

/// Runs a program of others in a folder.
pub fn program(folder: &Path, name: &str, args: &[&str]) -> Output {
    Command::new(name)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{name} does not start ({e}): apt-get install openssl tpm2-tools"))
}
