//! A real TPM 2.0 in software behind the registers: swtpm, by its TCP socket.

use crate::processor::{Executed, Processor, code_only};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
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

/// swtpm cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot connect to swtpm at {address}; start it: swtpm socket --tpm2 --server type=tcp,port=… --flags not-need-init,startup-clear"
)]
pub struct SwtpmError {
    /// where it should be
    pub address: SocketAddr,
    /// what the system says
    pub source: io::Error,
}

/// swtpm's command channel, and, if given, its control channel.
#[derive(Debug)]
pub struct Swtpm {
    commands: TcpStream,
    control: Option<SocketAddr>,
    us: u64,
}

impl Swtpm {
    /// Connects. Each command is modelled to take `us`. With `control`, a reset of the chip is one of swtpm
    /// (which then waits for `TPM2_Startup`); without, swtpm does not notice it.
    ///
    /// # Errors
    /// [`SwtpmError`]
    pub fn connect(commands: SocketAddr, control: Option<SocketAddr>, us: u64) -> Result<Self, SwtpmError> {
        let failed = |source| SwtpmError { address: commands, source };
        let stream = dial(commands).map_err(failed)?;
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

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn power_cycle(control: SocketAddr) -> io::Result<()> {
    let mut stream = dial(control)?;
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
        if let Some(control) = self.control {
            let _ = power_cycle(control);
        }
    }
}
