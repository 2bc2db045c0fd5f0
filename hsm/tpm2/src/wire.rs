//! Bytes of commands and responses; buffers are wiped.
//!
//! Public structures are those of `tpm2-protocol`. What may be secret (authorization values, sealed data,
//! salts) is written and read here instead: that crate's buffers are `Copy`, print themselves and are not
//! wiped (docs/decisions/0020).

use crate::{error::TpmError, rc};
use tpm2_protocol::{TpmMarshal, TpmUnmarshal, TpmWriter, data::TpmCc};
use zeroize::{Zeroize as _, Zeroizing};

/// The longest command or response that we send or take (TPM_PT_MAX_COMMAND_SIZE of real chips is less).
pub const MAX_BYTES: usize = 4096;
pub(crate) const HEADER_BYTES: usize = 10;
pub(crate) const NO_SESSIONS: u16 = 0x8001;
pub(crate) const SESSIONS: u16 = 0x8002;

/// Parameters in the making. Its buffer never grows, so no copies of secrets stay behind.
pub(crate) struct Params {
    bytes: Zeroizing<Vec<u8>>,
    overflow: bool,
}

impl Params {
    pub(crate) fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(MAX_BYTES)), overflow: false }
    }
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        if self.bytes.len() + bytes.len() > MAX_BYTES {
            self.overflow = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        self
    }
    pub(crate) fn u8(self, v: u8) -> Self {
        self.raw(&[v])
    }
    pub(crate) fn u16(self, v: u16) -> Self {
        self.raw(&v.to_be_bytes())
    }
    pub(crate) fn u32(self, v: u32) -> Self {
        self.raw(&v.to_be_bytes())
    }
    /// TPM2B: length and bytes.
    pub(crate) fn sized(mut self, bytes: &[u8]) -> Self {
        match u16::try_from(bytes.len()) {
            Ok(n) => self.u16(n).raw(bytes),
            Err(_) => {
                self.overflow = true;
                self
            }
        }
    }
    /// A public structure.
    pub(crate) fn put(mut self, value: &impl TpmMarshal) -> Self {
        match marshal(value) {
            Some(bytes) => self.raw(&bytes),
            None => {
                self.overflow = true;
                self
            }
        }
    }
    /// TPM2B around a public structure.
    pub(crate) fn put_sized(mut self, value: &impl TpmMarshal) -> Self {
        match marshal(value) {
            Some(bytes) => self.sized(&bytes),
            None => {
                self.overflow = true;
                self
            }
        }
    }
    pub(crate) fn finish(self, command: TpmCc) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        if self.overflow { Err(TpmError::TooLong { command: rc::name(command) }) } else { Ok(self.bytes) }
    }
}

/// A structure's bytes; none if it does not fit.
pub(crate) fn marshal(value: &impl TpmMarshal) -> Option<Vec<u8>> {
    let mut buffer = [0u8; MAX_BYTES];
    let mut writer = TpmWriter::new(&mut buffer);
    let bytes = value.marshal(&mut writer).ok().map(|()| writer.as_bytes().to_vec());
    buffer.zeroize();
    bytes
}

/// Reads a response from its start; every read says what is missing.
pub(crate) struct Reader<'a> {
    command: TpmCc,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(command: TpmCc, bytes: &'a [u8]) -> Self {
        Self { command, rest: bytes }
    }
    fn short(&self) -> TpmError {
        TpmError::malformed(self.command, "it ends too early")
    }
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], TpmError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*head)
    }
    pub(crate) fn u8(&mut self) -> Result<u8, TpmError> {
        Ok(u8::from_be_bytes(self.array()?))
    }
    pub(crate) fn u16(&mut self) -> Result<u16, TpmError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    pub(crate) fn u32(&mut self) -> Result<u32, TpmError> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    /// TPM2B.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }
    /// A public structure.
    pub(crate) fn structure<T: TpmUnmarshal>(&mut self) -> Result<T, TpmError> {
        let read = T::unmarshal(self.rest);
        let (value, rest) = read.map_err(|e| TpmError::malformed(self.command, e.to_string()))?;
        self.rest = rest;
        Ok(value)
    }
    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), TpmError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(TpmError::malformed(self.command, format!("{} bytes too many", self.rest.len())))
    }
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpm2_protocol::data::TpmsEccPoint;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Params::new().u8(1).u16(2).u32(3).sized(b"four").put(&TpmsEccPoint::default());
        let bytes = bytes.finish(TpmCc::Sign).unwrap();
        let mut r = Reader::new(TpmCc::Sign, &bytes);
        assert_eq!((r.u8().unwrap(), r.u16().unwrap(), r.u32().unwrap()), (1, 2, 3));
        assert_eq!(r.sized().unwrap(), b"four");
        assert!(r.end().is_err());
        let _: TpmsEccPoint = r.structure().unwrap();
        r.end().unwrap();
        assert!(r.u8().is_err());
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = Params::new().u32(7).sized(b"payload").finish(TpmCc::Sign).unwrap();
        for cut in 0..bytes.len() {
            let mut r = Reader::new(TpmCc::Sign, &bytes[..cut]);
            assert!(r.u32().and_then(|_| r.sized()).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_an_error_and_never_reallocated() {
        let full = Params::new().raw(&[1; MAX_BYTES]);
        assert_eq!(full.bytes.capacity(), MAX_BYTES);
        assert!(matches!(full.u8(1).finish(TpmCc::Sign), Err(TpmError::TooLong { command: "Sign" })));
        assert!(Params::new().sized(&[0; 70_000]).finish(TpmCc::Sign).is_err());
    }
}
