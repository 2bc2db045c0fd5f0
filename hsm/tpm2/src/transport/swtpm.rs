//! swtpm's sockets: raw TPM commands on one, control messages on the other.

use super::{Cancel, Connect, Transport};
use crate::{error::TpmError, wire::HEADER_BYTES};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Where a socket is.
#[derive(Debug, Clone)]
pub enum Address {
    /// `--server type=unixio,path=…`
    Unix(PathBuf),
    /// `--server type=tcp,port=…`
    Tcp(SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// A simulator reached by its sockets.
#[derive(Debug, Clone)]
pub struct Swtpm {
    /// the data channel
    pub server: Address,
    /// the control channel, if it is to be used for cancelling
    pub control: Option<Address>,
}

impl Connect for Swtpm {
    fn connect(&self, budget: Duration) -> Result<Box<dyn Transport>, TpmError> {
        let stream = open(&self.server, budget)?;
        let canceller = self.control.clone().map(|c| Arc::new(Control(c)) as Arc<dyn Cancel>);
        Ok(Box::new(Socket { stream, place: self.place(), canceller }))
    }
    fn place(&self) -> String {
        format!("swtpm {}", self.server)
    }
    fn is_shared(&self) -> bool {
        false
    }
}

trait Stream: Read + Write + Send {
    fn set_timeouts(&self, budget: Duration) -> std::io::Result<()>;
}

impl Stream for UnixStream {
    fn set_timeouts(&self, budget: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(budget))?;
        self.set_write_timeout(Some(budget))
    }
}

impl Stream for TcpStream {
    fn set_timeouts(&self, budget: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(budget))?;
        self.set_write_timeout(Some(budget))
    }
}

fn open(address: &Address, budget: Duration) -> Result<Box<dyn Stream>, TpmError> {
    let failed = |source| TpmError::Connect { place: format!("swtpm {address}"), source };
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).map_err(failed)?)),
        Address::Tcp(to) => {
            let stream = TcpStream::connect_timeout(to, budget).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            Ok(Box::new(stream))
        }
    }
}

struct Socket {
    stream: Box<dyn Stream>,
    place: String,
    canceller: Option<Arc<dyn Cancel>>,
}

impl Socket {
    fn lost(&self, e: &std::io::Error, budget: Duration) -> TpmError {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                TpmError::TimedOut { command: "a command", budget }
            }
            _ => TpmError::Lost { place: self.place.clone(), what: e.to_string() },
        }
    }

    /// Fills the buffer; the deadline holds for all of it, however it trickles in.
    fn read_exact(&mut self, mut out: &mut [u8], deadline: Instant) -> std::io::Result<()> {
        while !out.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_timeouts(left)?;
            match self.stream.read(out) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => out = out.get_mut(n..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Transport for Socket {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        let deadline = Instant::now() + budget;
        let bad = |what: String| TpmError::Malformed { command: "a command", what };
        self.stream.set_timeouts(budget).map_err(|e| self.lost(&e, budget))?;
        self.stream.write_all(command).map_err(|e| self.lost(&e, budget))?;
        let short = || bad("no room for a header".to_owned());
        let header = response.get_mut(..HEADER_BYTES).ok_or_else(short)?;
        self.read_exact(header, deadline).map_err(|e| self.lost(&e, budget))?;
        let length = super::response_length(header).ok_or_else(short)?;
        let body = response
            .get_mut(HEADER_BYTES..length)
            .ok_or_else(|| bad(format!("it says that it has {length} bytes")))?;
        self.read_exact(body, deadline).map_err(|e| self.lost(&e, budget))?;
        Ok(length)
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        self.canceller.clone()
    }
}

/// CMD_CANCEL_TPM_CMD of swtpm's control protocol (`tpm_ioctl.h`).
const CANCEL_COMMAND: u32 = 9;
const CONTROL_BUDGET: Duration = Duration::from_secs(2);

struct Control(Address);

impl Cancel for Control {
    fn cancel(&self) -> Result<(), TpmError> {
        let mut stream = open(&self.0, CONTROL_BUDGET)?;
        let place = format!("swtpm control {}", self.0);
        let lost = |e: std::io::Error| TpmError::Lost { place: place.clone(), what: e.to_string() };
        stream.set_timeouts(CONTROL_BUDGET).map_err(lost)?;
        stream.write_all(&CANCEL_COMMAND.to_be_bytes()).map_err(lost)?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).map_err(lost)?;
        match u32::from_be_bytes(answer) {
            0 => Ok(()),
            code => Err(TpmError::Lost { place, what: format!("it answers {code:#x} to `cancel`") }),
        }
    }
}
