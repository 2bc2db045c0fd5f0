//! A consortium in a temporary folder: made, configured, started, killed, asked.

use super::{
    caller::{self, Ask, Caller, Outcome, Reply},
    cases,
    ports::Ports,
    process::{self, Process},
    tpm::Tpms,
    wait,
};
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{ExitStatus, Output},
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

/// The development ledger's name among the processes.
pub const LEDGER: &str = "ledger";
/// The bank in 苏州.
pub const BANK: &str = "bank-suzhou-1";
/// The bureau in 杭州.
pub const HANGZHOU: &str = "bureau-hangzhou-1";
/// The bureau in 合肥.
pub const HEFEI: &str = "bureau-hefei-1";
/// The supervisor in 上海.
pub const SUPERVISOR: &str = "pboc-shanghai-1";
/// The supervisor in 杭州, where a consortium has two.
pub const SECOND_SUPERVISOR: &str = "pboc-hangzhou-1";
/// A listed bank whose gateway no test starts: its keys are there to be stolen.
pub const OTHER_BANK: &str = "bank-nanjing-1";

/// All that [`Consortium::start_all`] starts, besides the ledger.
const GATEWAYS: [&str; 4] = [BANK, HANGZHOU, HEFEI, SUPERVISOR];
/// Opening an argon2 keystore and reaching a bound TLS key, in a debug build on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// Which cryptography.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// SM2, SM3, SM4
    Sm,
    /// P-256, SHA-256, AES-GCM
    International,
}

impl Profile {
    /// As configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sm => "sm",
            Self::International => "international",
        }
    }
}

/// A gateway's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// the institution's own systems
    Bank,
    /// other gateways
    Man,
    /// administration
    Admin,
}

impl Listener {
    /// As configurations and `xinguan dev operations` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Man => "man",
            Self::Admin => "admin",
        }
    }
}

/// A consortium and its running processes.
pub struct Consortium {
    profile: Profile,
    ports: Ports,
    folder: TempDir,
    processes: RefCell<BTreeMap<String, Process>>,
}

impl Consortium {
    /// Makes one; nothing runs yet. Limits are wide, so that only tests of limits meet them.
    pub fn make(profile: Profile) -> Result<Self> {
        Self::make_with(profile, &[])
    }

    /// The same with each gateway's keys in a TPM; the supervisor judges their evidence.
    pub fn make_on(profile: Profile, tpms: &Tpms) -> Result<Self> {
        Self::make_with(profile, &["--hsm", "swtpm", "--tpm-dir", &tpms.folder().to_string_lossy()])
    }

    /// The same with a second supervisor, which [`start_all`](Self::start_all) does not start.
    pub fn make_with_two_supervisors(profile: Profile, tpms: &Tpms) -> Result<Self> {
        let folder = tpms.folder().to_string_lossy().into_owned();
        Self::make_with(profile, &["--hsm", "swtpm", "--tpm-dir", &folder, "--second-supervisor"])
    }

    fn make_with(profile: Profile, more: &[&str]) -> Result<Self> {
        let (ports, mut folder) = (Ports::take()?, TempDir::with_prefix("xinguan-blackbox-")?);
        // to look at what a failed test leaves
        if std::env::var_os("XINGUAN_KEEP").is_some() {
            folder.disable_cleanup(true);
            cases::say(&format!("kept: {}", folder.path().display()));
        }
        let this = Self { profile, ports, folder, processes: RefCell::default() };
        std::fs::create_dir(this.path("logs"))?;
        let (out, base) = (this.path("consortium"), this.ports.base().to_string());
        let out = out.to_string_lossy();
        let arguments = [
            "dev",
            "consortium",
            "--out",
            &out,
            "--profile",
            profile.name(),
            "--base-port",
            &base,
            "--enterprises",
            "20",
        ];
        process::run_well(&[&arguments[..], more].concat())?;
        for gateway in GATEWAYS {
            this.configure(gateway, wide_limits)?;
        }
        Ok(this)
    }

    /// Makes one and starts everything.
    pub fn running(profile: Profile) -> Result<Self> {
        let this = Self::make(profile)?;
        this.start_all()?;
        Ok(this)
    }

    // ---- places ----

    /// A file or folder of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// A file or folder of the consortium.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("consortium").join(name)
    }
    /// A gateway's configuration.
    pub fn config(&self, gateway: &str) -> PathBuf {
        self.file(&format!("gateways/{gateway}/xinguan.toml"))
    }
    /// Which cryptography.
    pub fn profile(&self) -> Profile {
        self.profile
    }
    /// One of the hundred ports that nobody uses: 0 to 9.
    pub fn spare_port(&self, n: u16) -> u16 {
        self.ports.base() + 1 + n
    }
    /// Where a listener listens.
    pub fn address(&self, gateway: &str, listener: Listener) -> Result<SocketAddr> {
        let table = self.configuration(gateway)?;
        let text = table.get("listen").and_then(|l| l.get(listener.name())).and_then(|l| l.get("address"));
        let text = text.and_then(|a| a.as_str());
        Ok(text.with_context(|| format!("{gateway} has no {} listener", listener.name()))?.parse()?)
    }
    /// The ledger's address.
    pub fn ledger_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.base()))
    }

    // ---- configuration ----

    fn configuration(&self, gateway: &str) -> Result<toml::Table> {
        Ok(std::fs::read_to_string(self.config(gateway))?.parse()?)
    }
    /// Changes a configuration file; a gateway that runs does not notice.
    pub fn configure(&self, gateway: &str, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
        let mut table = self.configuration(gateway)?;
        change(&mut table);
        Ok(std::fs::write(self.config(gateway), toml::to_string(&table)?)?)
    }

    // ---- processes ----

    /// Starts the ledger and all gateways but the other bank's, and waits until they are ready.
    pub fn start_all(&self) -> Result<()> {
        self.start(LEDGER)?;
        for gateway in GATEWAYS {
            self.start(gateway)?;
        }
        for gateway in GATEWAYS {
            self.wait_ready(gateway)?;
        }
        Ok(())
    }

    /// Starts one process; the ledger is waited for, a gateway is not.
    pub fn start(&self, name: &str) -> Result<()> {
        let log = self.log_file(name);
        if name == LEDGER {
            let folder = self.path("consortium");
            let arguments = ["ledger", "dev", "--folder", &folder.to_string_lossy()];
            self.keep(name, Process::start(name, &arguments, &log)?);
            return wait::until("the ledger listens", Duration::from_secs(20), || {
                self.alive(name)?;
                Ok(std::net::TcpStream::connect(self.ledger_address()).map(drop)?)
            });
        }
        let config = self.config(name);
        let arguments = ["run", "--config", &config.to_string_lossy()];
        self.keep(name, Process::start(name, &arguments, &log)?);
        Ok(())
    }

    fn keep(&self, name: &str, process: Process) {
        self.processes.borrow_mut().insert(name.to_owned(), process);
    }
    fn take(&self, name: &str) -> Result<Process> {
        self.processes.borrow_mut().remove(name).with_context(|| format!("{name} does not run"))
    }
    fn alive(&self, name: &str) -> Result<()> {
        let mut all = self.processes.borrow_mut();
        all.get_mut(name).with_context(|| format!("{name} does not run"))?.alive()
    }

    /// The process id of one that runs.
    pub fn pid(&self, name: &str) -> Result<u32> {
        Ok(self.processes.borrow().get(name).with_context(|| format!("{name} does not run"))?.pid())
    }

    /// Starts one and waits until it is ready.
    pub fn start_ready(&self, gateway: &str) -> Result<()> {
        self.start(gateway)?;
        self.wait_ready(gateway)
    }
    /// Tells it to stop, and waits until it has.
    pub fn stop(&self, name: &str) -> Result<ExitStatus> {
        self.take(name)?.stop()
    }
    /// kill -9.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.take(name)?.kill()
    }
    /// Waits until it ends by itself.
    pub fn ended(&self, name: &str) -> Result<ExitStatus> {
        self.take(name)?.ended(READY)
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&self, gateway: &str) -> Result<()> {
        // one that has ended is not waited for
        wait::until(&format!("{gateway} is ready"), READY, || {
            if let Err(ended) = self.alive(gateway) {
                return Ok(Err(ended));
            }
            let reply = self.admin(gateway, &Ask::get("/readyz"))?.answer()?;
            reply.success(200).map(|_| Ok(()))
        })?
    }

    // ---- callers and calls ----

    /// A client that `xinguan dev consortium` has made: of an institution, by name.
    pub fn client(&self, institution: &str, name: &str) -> Caller {
        let folder = self.file(&format!("clients/{institution}"));
        Caller::of(&folder, name, &folder.join("gateway-root.pem"))
    }
    /// The bank's credit system: may upload, ask and view.
    pub fn credit_system(&self) -> Caller {
        self.client("bank-suzhou", "credit-system")
    }
    /// One request.
    pub fn call(&self, caller: &Caller, gateway: &str, listener: Listener, ask: &Ask) -> Result<Outcome> {
        let address = self.address(gateway, listener)?;
        let url = format!("https://{address}{}", ask.path());
        caller::send(self.profile, caller, &url, ask, self.folder.path())
    }
    /// One request of the bank's credit system to its gateway.
    pub fn bank(&self, ask: &Ask) -> Result<Reply> {
        self.call(&self.credit_system(), BANK, Listener::Bank, ask)?.answer()
    }
    /// Requests of the bank's credit system, all at the same time.
    pub fn bank_together(&self, asks: &[Ask]) -> Result<Vec<Reply>> {
        let (caller, address) = (self.credit_system(), self.address(BANK, Listener::Bank)?);
        let (profile, scratch) = (self.profile, self.folder.path());
        let one = |ask: &Ask| {
            let url = format!("https://{address}{}", ask.path());
            caller::send(profile, &caller, &url, ask, scratch)?.answer()
        };
        let one = &one;
        std::thread::scope(|s| {
            let running: Vec<_> = asks.iter().map(|a| s.spawn(move || one(a))).collect();
            let ended = running.into_iter().map(|r| r.join().map_err(|_| anyhow!("a caller panicked")));
            ended.map(|r| r?).collect()
        })
    }
    /// A request of the bank's credit system that runs while the test goes on.
    pub fn bank_later(&self, ask: Ask) -> Result<JoinHandle<Result<Outcome>>> {
        let (caller, address) = (self.credit_system(), self.address(BANK, Listener::Bank)?);
        let (profile, scratch) = (self.profile, self.folder.path().to_owned());
        let url = format!("https://{address}{}", ask.path());
        Ok(std::thread::spawn(move || caller::send(profile, &caller, &url, &ask, &scratch)))
    }
    /// One request of the gateway's own operator to its admin listener.
    pub fn admin(&self, gateway: &str, ask: &Ask) -> Result<Outcome> {
        self.call(&self.client(institution_of(gateway), "operator"), gateway, Listener::Admin, ask)
    }
    /// `/admin/v1/status`.
    pub fn status(&self, gateway: &str) -> Result<Value> {
        self.admin(gateway, &Ask::get("/admin/v1/status"))?.answer()?.success(200)
    }
    /// A Prometheus value by its whole name with labels; 0 if it is not there.
    pub fn metric(&self, gateway: &str, name: &str) -> Result<f64> {
        let reply = self.admin(gateway, &Ask::get("/metrics"))?.answer()?;
        ensure!(reply.status == 200, "metrics: HTTP {}", reply.status);
        let text = String::from_utf8(reply.body)?;
        let found = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        Ok(found.map(str::parse).transpose()?.unwrap_or(0.0))
    }

    // ---- what the bank does all day ----

    /// Uploads; the authorization's id.
    pub fn authorize(&self, upload: &Value) -> Result<String> {
        let state = self.bank(&Ask::post("/v1/authorizations", upload))?.success(201)?;
        Ok(state["authorization_id"].as_str().context("no authorization_id")?.to_owned())
    }
    /// How many uses the verified ledger counts as spent.
    pub fn spent(&self, authorization: &str) -> Result<u64> {
        let found = self.bank(&Ask::get(&format!("/v1/authorizations/{authorization}")))?.success(200)?;
        found["uses_spent"].as_u64().context("no uses_spent")
    }
    /// A supervisor's look at a firm.
    pub fn look(&self, subject: &str) -> Result<Value> {
        let ask = Ask::post("/admin/v1/looks", &json!({ "subject": subject, "reason": "black-box test" }));
        let auditor = self.client("pboc-shanghai", "auditor");
        self.call(&auditor, SUPERVISOR, Listener::Admin, &ask)?.answer()?.success(200)
    }
    /// `xinguan verify` on an answer.
    pub fn verify(&self, answer: &[u8]) -> Result<Output> {
        let file = self.path("answer.json");
        std::fs::write(&file, answer)?;
        let (file, trust) = (file.to_string_lossy().into_owned(), self.file("trust.json"));
        process::run(&["verify", &file, "--trust", &trust.to_string_lossy()])
    }

    // ---- logs ----

    fn log_file(&self, name: &str) -> PathBuf {
        self.path(&format!("logs/{name}.log"))
    }
    /// All that a process has logged.
    pub fn log(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.log_file(name))?)
    }
    /// Every log: (file, content).
    pub fn logs(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.path("logs"))? {
            let path = entry?.path();
            all.push((path.clone(), std::fs::read(path)?));
        }
        Ok(all)
    }
}

/// The institution of a gateway: its id without the number.
pub fn institution_of(gateway: &str) -> &str {
    gateway.strip_suffix("-1").unwrap_or(gateway)
}

/// Sets `a.b.c`, making tables on the way.
pub fn set(table: &mut toml::Table, path: &str, value: impl Into<toml::Value>) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value.into())),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Table::new().into());
            if let Some(inner) = inner.as_table_mut() {
                set(inner, rest, value);
            }
        }
    }
}

/// A quota as configurations have it.
pub fn quota(per_minute: i64, burst: i64) -> toml::Table {
    toml::Table::from_iter([("per_minute".to_owned(), per_minute.into()), ("burst".to_owned(), burst.into())])
}

fn wide_limits(table: &mut toml::Table) {
    for limit in ["institution", "operator", "subject", "authorization"] {
        set(table, &format!("limits.{limit}"), quota(60_000, 10_000));
    }
    let listeners = table.get("listen").and_then(toml::Value::as_table);
    let listeners: Vec<String> = listeners.into_iter().flat_map(|l| l.keys().cloned()).collect();
    for listener in listeners {
        for limit in ["new_per_second_per_address", "new_burst_per_address"] {
            set(table, &format!("listen.{listener}.limits.{limit}"), 10_000);
        }
    }
}
