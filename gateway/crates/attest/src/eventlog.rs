//! The firmware's event log (TCG PC Client firmware profile 1.05, 10): read, bounded, nothing believed.
//!
//! Only digests are evidence. Types and data are the attester's words, kept to show people.

use crate::{
    error::AttestError,
    evidence::MAX_BOOT_LOG_BYTES,
    hash::{Bank, digest_bytes},
};

/// The most events that are read; real logs have some hundred.
pub const MAX_EVENTS: usize = 8192;
const MAX_ALGORITHMS: u32 = 8;
const PCRS: u32 = 24;
/// EV_NO_ACTION: information, not extended
const NO_ACTION: u32 = 3;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// One extended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootEvent<'a> {
    /// extended into this PCR
    pub pcr: u8,
    /// TCG event type, as claimed
    pub kind: u32,
    /// digest in the bank that was asked for
    pub digest: [u8; 32],
    /// event data, as claimed
    pub data: &'a [u8],
}

/// What a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog<'a> {
    /// the last byte of PCR 0 before its first event
    pub startup_locality: u8,
    /// extended events, in order
    pub events: Vec<BootEvent<'a>>,
}

/// Reads a whole log for one bank.
pub fn parse_boot_log(bytes: &[u8], bank: Bank) -> Result<BootLog<'_>, AttestError> {
    if bytes.len() > MAX_BOOT_LOG_BYTES {
        let what = "the event log";
        return Err(AttestError::Size { what, found: bytes.len(), limit: MAX_BOOT_LOG_BYTES });
    }
    let mut reader = Reader { whole: bytes.len(), rest: bytes, event: 0 };
    let algorithms = header(&mut reader)?;
    if !algorithms.iter().any(|(id, _)| *id == bank.alg_id()) {
        return Err(AttestError::LogBank { bank });
    }
    let mut log = BootLog { startup_locality: 0, events: Vec::new() };
    let mut locality = None;
    while !reader.rest.is_empty() {
        reader.event += 1;
        if reader.event > MAX_EVENTS {
            let what = "the event log";
            return Err(AttestError::TooMany { what, found: reader.event, limit: MAX_EVENTS });
        }
        let event = event(&mut reader, &algorithms, bank)?;
        if event.kind != NO_ACTION {
            log.events.push(event);
        } else if let Some(rest) = event.data.strip_prefix(STARTUP_LOCALITY) {
            let value = startup_locality(&reader, event.pcr, rest, locality.is_some(), &log.events)?;
            locality = Some(value);
        }
    }
    log.startup_locality = locality.unwrap_or(0);
    Ok(log)
}

/// 10.4.5.3: at most once, before the first measurement of PCR 0; localities 0, 3, and 4 for H-CRTM.
fn startup_locality(
    reader: &Reader<'_>,
    pcr: u8,
    value: &[u8],
    seen: bool,
    events: &[BootEvent<'_>],
) -> Result<u8, AttestError> {
    let refuse = |detail| Err(AttestError::LogLocality { event: reader.event, detail });
    match value {
        _ if seen => refuse("it is given twice"),
        _ if pcr != 0 => refuse("it is not about PCR 0"),
        _ if events.iter().any(|e| e.pcr == 0) => refuse("PCR 0 was measured before"),
        [l @ (0 | 3 | 4)] => Ok(*l),
        [_] => refuse("only 0, 3 and 4 can be"),
        _ => refuse("it is not one byte"),
    }
}

/// The first event, in the old SHA-1 format: which hashes each later event has (10.4.5.1).
fn header(reader: &mut Reader<'_>) -> Result<Vec<(u16, usize)>, AttestError> {
    let bad = |detail: &str| AttestError::LogHeader { detail: detail.to_owned() };
    let (pcr, kind) = (reader.u32()?, reader.u32()?);
    let digest = reader.take(20)?;
    if pcr != 0 || kind != NO_ACTION || digest.iter().any(|b| *b != 0) {
        return Err(bad("the first event is no EV_NO_ACTION of PCR 0 with a zero digest"));
    }
    let length = reader.size()?;
    let data = reader.take(length)?;
    let mut inner = Reader { whole: data.len(), rest: data, event: 0 };
    if inner.take(16).map_err(|_| bad("it is too short"))? != SPEC_ID {
        return Err(bad("it does not say `Spec ID Event03`"));
    }
    let listed = spec_id(&mut inner).map_err(|e| match e {
        AttestError::LogTruncated { .. } => bad("it ends inside its list of hashes"),
        other => other,
    })?;
    if inner.rest.is_empty() { Ok(listed) } else { Err(bad("there is more behind it")) }
}

fn spec_id(inner: &mut Reader<'_>) -> Result<Vec<(u16, usize)>, AttestError> {
    let bad = |detail: String| AttestError::LogHeader { detail };
    let _platform_class = inner.u32()?;
    let version = inner.take(4)?; // minor, major, errata, size of UINTN
    if version.get(1) != Some(&2) {
        return Err(bad("its major version is not 2".to_owned()));
    }
    let count = inner.u32()?;
    if !(1..=MAX_ALGORITHMS).contains(&count) {
        return Err(bad(format!("it lists {count} hashes, 1 to {MAX_ALGORITHMS} are taken")));
    }
    let mut listed: Vec<(u16, usize)> = Vec::new();
    for _ in 0..count {
        let (id, found) = (inner.u16()?, usize::from(inner.u16()?));
        let expected = digest_bytes(id).ok_or(AttestError::LogAlgorithm { id })?;
        if found != expected {
            return Err(AttestError::LogDigestSize { id, expected, found });
        }
        if listed.iter().any(|(other, _)| *other == id) {
            return Err(bad(format!("it lists the hash {id:#06x} twice")));
        }
        listed.push((id, expected));
    }
    let vendor = usize::from(inner.u8()?);
    inner.take(vendor)?;
    Ok(listed)
}

/// TCG_PCR_EVENT2 (10.2.2).
fn event<'a>(
    reader: &mut Reader<'a>,
    algorithms: &[(u16, usize)],
    bank: Bank,
) -> Result<BootEvent<'a>, AttestError> {
    let (pcr, kind) = (reader.u32()?, reader.u32()?);
    let number = reader.event;
    let pcr =
        u8::try_from(pcr).ok().filter(|_| pcr < PCRS).ok_or(AttestError::LogPcr { event: number, pcr })?;
    let count = reader.size()?;
    let wrong = || AttestError::LogDigests { event: number };
    if count != algorithms.len() {
        return Err(wrong());
    }
    let (mut seen, mut digest) = (Vec::new(), None);
    for _ in 0..count {
        let id = reader.u16()?;
        let (_, length) = algorithms.iter().find(|(a, _)| *a == id).ok_or_else(wrong)?;
        let bytes = reader.take(*length)?;
        if seen.contains(&id) {
            return Err(wrong());
        }
        seen.push(id);
        if id == bank.alg_id() {
            digest = bytes.first_chunk::<32>().copied();
        }
    }
    let length = reader.size()?;
    let data = reader.take(length)?;
    Ok(BootEvent { pcr, kind, digest: digest.ok_or_else(wrong)?, data })
}

/// Little-endian, as firmware writes.
struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
    event: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], AttestError> {
        let at = self.whole.saturating_sub(self.rest.len());
        let short = AttestError::LogTruncated { event: self.event, at };
        let (head, rest) = self.rest.split_at_checked(n).ok_or(short)?;
        self.rest = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], AttestError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    fn u8(&mut self) -> Result<u8, AttestError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    fn u16(&mut self) -> Result<u16, AttestError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, AttestError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// A length; one that does not fit is longer than any log.
    fn size(&mut self) -> Result<usize, AttestError> {
        Ok(usize::try_from(self.u32()?).unwrap_or(usize::MAX))
    }
}
