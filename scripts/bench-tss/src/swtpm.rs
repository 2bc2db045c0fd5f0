//! A simulator of one's own on two TCP ports, for as long as the value lives.

use hsm_tpm2::transport::swtpm::{Address, Swtpm};
use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const START: Duration = Duration::from_secs(10);

/// swtpm with a new chip.
pub struct Simulator {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Simulator {
    /// Starts it; it listens when this returns.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            let port = free_pair()?;
            let mut child = spawn(folder.path(), port)?;
            if listens(&mut child, port, deadline) {
                return Ok(Self { folder, child, port });
            }
            // another program was quicker with one of the ports
            stop(&mut child);
        }
        Err("swtpm does not listen".into())
    }

    /// The data channel; the control channel is one port higher, where tpm2-tss looks for it.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Our own way to it.
    pub fn transport(&self) -> Swtpm {
        Swtpm { server: Address::Tcp(self.address()), control: None }
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    // it may have ended by itself
    let _ = child.kill();
    let _ = child.wait();
}

/// Two neighbouring ports that were free a moment ago.
fn free_pair() -> std::io::Result<u16> {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
}

fn spawn(folder: &Path, port: u16) -> Result<Child, Box<dyn Error>> {
    let on = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
    Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--tpmstate", &format!("dir={}", folder.display())])
        .args(["--server", &on(port), "--ctrl", &on(port + 1)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("swtpm does not start ({e}): apt-get install swtpm").into())
}

/// Asks at the control channel: on the data channel it would be a client.
fn listens(child: &mut Child, port: u16, deadline: Instant) -> bool {
    let (_keep, nothing) = mpsc::channel::<()>();
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return true;
        }
        let _over = nothing.recv_timeout(Duration::from_millis(10));
    }
    false
}
