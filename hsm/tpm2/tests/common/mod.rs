//! swtpm on a unix socket, for the time of a test.
#![expect(unreachable_pub, reason = "a module of test programs")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]
#![expect(dead_code, reason = "each test program uses its part")]

use hsm_tpm2::{
    Options, Tpm2KeyStore, TpmError,
    transport::{
        Cancel, Connect, Transport,
        swtpm::{Address, Swtpm},
    },
};
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

pub struct Simulator {
    folder: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl Simulator {
    /// A new chip.
    pub fn start() -> Arc<Self> {
        let this = Self::stopped();
        this.power_on();
        this
    }

    /// A new chip without power.
    pub fn stopped() -> Arc<Self> {
        Arc::new(Self { folder: tempfile::tempdir().unwrap(), child: Mutex::new(None) })
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
        let unix = |p: &std::path::Path| format!("type=unixio,path={}", p.display());
        self.spawn(&unix(&socket), &unix(&control));
        until(|| listens(&socket) && listens(&control), "swtpm listens");
    }

    /// The same over TCP.
    pub fn power_on_tcp(&self) -> Swtpm {
        let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (one, two) = (free(), free());
        let (server, control) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        drop((one, two));
        let tcp = |a: SocketAddr| format!("type=tcp,port={},bindaddr={}", a.port(), a.ip());
        self.spawn(&tcp(server), &tcp(control));
        until(|| listens_tcp(server) && listens_tcp(control), "swtpm listens");
        Swtpm { server: Address::Tcp(server), control: Some(Address::Tcp(control)) }
    }

    fn spawn(&self, server: &str, control: &str) {
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.folder.path().display()))
            .args(["--server", server, "--ctrl", control])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm does not start: apt-get install swtpm");
        *self.child.lock().unwrap() = Some(child);
    }

    /// Cuts the power.
    pub fn power_off(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn swtpm(&self) -> Swtpm {
        Swtpm { server: Address::Unix(self.path("tpm")), control: Some(Address::Unix(self.path("tpm.ctrl"))) }
    }

    pub fn options(&self) -> Options {
        self.options_over(Arc::new(self.swtpm()))
    }

    pub fn options_over(&self, transport: Arc<dyn Connect>) -> Options {
        Options { patience: Duration::from_secs(60), ..Options::new(transport, self.path("keys.json")) }
    }

    pub fn init(&self) -> Tpm2KeyStore {
        Tpm2KeyStore::init(self.options()).unwrap()
    }

    /// Runs one of the tpm2-tools on this chip. The keystore must have let it go.
    pub fn tool(&self, name: &str, args: &[&str]) -> Output {
        Command::new(name)
            .args(args)
            .arg("--tcti")
            .arg(format!("swtpm:path={}", self.path("tpm").display()))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{name} does not start ({e}): apt-get install tpm2-tools"))
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Whether somebody accepts connections there (flag SO_ACCEPTCON); asking by connecting would be a client.
fn listens(socket: &std::path::Path) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let path = socket.display().to_string();
    sockets.lines().any(|l| l.ends_with(&path) && l.split_whitespace().nth(3) == Some("00010000"))
}

/// The same for a port on IPv4: state 0A in the kernel's table.
fn listens_tcp(at: SocketAddr) -> bool {
    let SocketAddr::V4(at) = at else { return false };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().any(|l| {
        let fields: Vec<_> = l.split_whitespace().collect();
        fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"0A")
    })
}

/// Runs a program of others in a folder; its output, if it succeeded.
pub fn run(folder: &std::path::Path, name: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(name)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{name} does not start ({e}): apt-get install openssl tpm2-tools"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() { Ok(text) } else { Err(text) }
}

/// Waits for something that nobody announces.
pub fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (_keep, nothing) = mpsc::channel::<()>();
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        let _over = nothing.recv_timeout(Duration::from_millis(5));
    }
}

/// Small, fast, repeatable random numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }
    pub fn fresh() -> (Self, u64) {
        let mut bytes = [0; 8];
        hsm_api::Entropy::fill(&hsm_api::OsEntropy, &mut bytes).unwrap();
        let seed = u64::from_be_bytes(bytes) | 1;
        (Self::new(seed), seed)
    }
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % n
    }
}

type Tap = dyn Fn(&mut Vec<u8>, &mut dyn FnMut(&[u8]) -> Result<Vec<u8>, TpmError>) -> Result<Vec<u8>, TpmError>
    + Send
    + Sync;

/// A transport with somebody on the wire: he gets each command and may send it on.
pub struct Tapped {
    pub inner: Arc<dyn Connect>,
    pub tap: Arc<Tap>,
    /// shortens waiting
    pub hurry: Arc<AtomicBool>,
}

impl Tapped {
    pub fn new(
        inner: impl Connect + 'static,
        tap: impl Fn(
            &mut Vec<u8>,
            &mut dyn FnMut(&[u8]) -> Result<Vec<u8>, TpmError>,
        ) -> Result<Vec<u8>, TpmError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { inner: Arc::new(inner), tap: Arc::new(tap), hurry: Arc::default() }
    }
}

impl Connect for Tapped {
    fn connect(&self, budget: Duration) -> Result<Box<dyn Transport>, TpmError> {
        let inner = self.inner.connect(budget)?;
        Ok(Box::new(TappedWay { inner, tap: self.tap.clone(), hurry: self.hurry.clone() }))
    }
    fn place(&self) -> String {
        self.inner.place()
    }
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
}

struct TappedWay {
    inner: Box<dyn Transport>,
    tap: Arc<Tap>,
    hurry: Arc<AtomicBool>,
}

impl Transport for TappedWay {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        let (inner, hurry) = (&mut self.inner, &self.hurry);
        let mut pass = |bytes: &[u8]| {
            let mut buffer = vec![0; hsm_tpm2::MAX_BYTES];
            let hurried = budget.min(Duration::from_millis(150));
            let budget = if hurry.load(Ordering::SeqCst) { hurried } else { budget };
            let length = inner.transmit(bytes, &mut buffer, budget)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        let answer = (self.tap)(&mut command.to_vec(), &mut pass)?;
        response.get_mut(..answer.len()).unwrap().copy_from_slice(&answer);
        Ok(answer.len())
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        self.inner.canceller()
    }
}
