//! `/dev/tpmrm0`: the kernel owns the chip and gives each opener handles of his own.

use super::{Cancel, Connect, Transport};
use crate::error::TpmError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// A TPM that the kernel drives.
#[derive(Debug, Clone)]
pub struct DeviceFile {
    /// `/dev/tpmrm0`; `/dev/tpm0` has no resource manager and only one opener
    pub path: PathBuf,
    /// whether it has a resource manager
    pub resource_manager: bool,
}

impl Connect for DeviceFile {
    fn connect(&self, _budget: Duration) -> Result<Box<dyn Transport>, TpmError> {
        // reads of the device block in the kernel without a time limit, unless they are polled for
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&self.path);
        let file = file.map_err(|source| TpmError::Connect { place: self.place(), source })?;
        Ok(Box::new(Device { file, place: self.place() }))
    }
    fn place(&self) -> String {
        self.path.display().to_string()
    }
    fn is_shared(&self) -> bool {
        self.resource_manager
    }
}

struct Device {
    file: File,
    place: String,
}

impl Device {
    fn lost(&self, e: &std::io::Error) -> TpmError {
        TpmError::Lost { place: self.place.clone(), what: e.to_string() }
    }

    fn wait(&self, budget: Duration) -> Result<(), TpmError> {
        let limit = Timespec::try_from(budget).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
        let mut files = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut files, Some(&limit)) {
            Ok(0) => Err(TpmError::TimedOut { command: "a command", budget }),
            Ok(_) => Ok(()),
            Err(e) => Err(self.lost(&e.into())),
        }
    }
}

impl Transport for Device {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        // the driver takes a command in one write and gives the response in one read
        let written = self.file.write(command).map_err(|e| self.lost(&e))?;
        if written != command.len() {
            let what = format!("it took {written} of {} bytes", command.len());
            return Err(TpmError::Lost { place: self.place.clone(), what });
        }
        self.wait(budget)?;
        self.file.read(response).map_err(|e| self.lost(&e))
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A pipe opened for reading and writing gives back what is written, in one piece, and nothing before.
    #[test]
    fn it_writes_waits_and_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tpm");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let device = DeviceFile { path: path.clone(), resource_manager: true };
        assert!(device.is_shared());
        let mut way = device.connect(Duration::from_secs(1)).unwrap();
        let mut response = [0; 64];
        let length = way.transmit(b"command", &mut response, Duration::from_secs(10)).unwrap();
        assert_eq!(&response[..length], b"command");
        let silent = Device { file: File::open("/dev/null").unwrap(), place: "null".into() };
        silent.wait(Duration::from_millis(10)).unwrap();
        let pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let e = Device { file: pipe, place: "pipe".into() }.wait(Duration::from_millis(10)).unwrap_err();
        assert!(matches!(e, TpmError::TimedOut { .. }), "{e}");
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let device = DeviceFile { path: "/dev/no-such-tpm".into(), resource_manager: true };
        let e = device.connect(Duration::from_secs(1)).err().unwrap();
        assert!(e.to_string().contains("/dev/no-such-tpm"), "{e}");
    }
}
