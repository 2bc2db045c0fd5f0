//! A real TPM 2.0 in software behind the registers: swtpm, by its sockets.

use crate::processor::{Executed, Processor, code_only};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

/// `TPM_RC_FAILURE`: what a chip says that cannot do anything any more.
const FAILURE: u32 = 0x101;
const HEADER: usize = 10;
const MAX_RESPONSE: usize = 4096;
/// A prime of an RSA key may take long.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// `CMD_INIT` of swtpm's control channel, without flags: power off and on.
const CMD_INIT: [u8; 8] = [0, 0, 0, 2, 0, 0, 0, 0];

/// Where one of swtpm's channels is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `type=tcp,port=…`
    Tcp(SocketAddr),
    /// `type=unixio,path=…`
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Endpoint {
    fn dial(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// swtpm cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot connect to swtpm at {at}; start it: swtpm socket --tpm2 --server … --ctrl … --flags not-need-init,startup-clear"
)]
pub struct SwtpmError {
    /// where it should be
    pub at: Endpoint,
    /// what the system says
    pub source: io::Error,
}

/// swtpm's command channel, and, if given, its control channel.
pub struct Swtpm {
    commands: Box<dyn Stream>,
    control: Option<Endpoint>,
    us: u64,
}

impl fmt::Debug for Swtpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swtpm").field("control", &self.control).field("us", &self.us).finish_non_exhaustive()
    }
}

impl Swtpm {
    /// Connects. Each command is modelled to take `us`. With `control`, a reset of the chip is one of swtpm
    /// (which then waits for `TPM2_Startup`); without, swtpm does not notice it.
    ///
    /// # Errors
    /// [`SwtpmError`]
    pub fn connect(commands: &Endpoint, control: Option<Endpoint>, us: u64) -> Result<Self, SwtpmError> {
        let stream = commands.dial().map_err(|source| SwtpmError { at: commands.clone(), source })?;
        Ok(Self { commands: stream, control, us })
    }

    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.commands.write_all(command)?;
        let mut response = vec![0; HEADER];
        self.commands.read_exact(&mut response)?;
        let size = response.get(2..6).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(HEADER..=MAX_RESPONSE).contains(&size) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        response.resize(size, 0);
        self.commands.read_exact(response.get_mut(HEADER..).unwrap_or_default())?;
        Ok(response)
    }
}

fn power_cycle(control: &Endpoint) -> io::Result<()> {
    let mut stream = control.dial()?;
    stream.write_all(&CMD_INIT)?;
    let mut result = [0; 4];
    stream.read_exact(&mut result)?;
    if result == [0; 4] { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}

impl Processor for Swtpm {
    /// If swtpm is gone, the chip is in failure mode.
    fn execute(&mut self, command: &[u8]) -> Executed {
        let response = self.ask(command).unwrap_or_else(|_| code_only(FAILURE));
        Executed { response, us: self.us }
    }

    /// If that fails, swtpm goes on as it was: the next command tells.
    fn reset(&mut self) {
        if let Some(control) = &self.control {
            let _ = power_cycle(control);
        }
    }
}
