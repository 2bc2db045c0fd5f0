//! One fsynced append-only file: a title, then a frame per block.
//!
//! frame = length u32be ‖ its complement ‖ SM3(payload) ‖ payload. At most one frame is not yet synced at any
//! time, so a power loss damages at most the last one, any part of it. A bad frame with no good one after it
//! is therefore a torn tail and is dropped; with one, it is damage to a block that was answered for, and the
//! file is refused.

use super::{DevError, NAME};
use gw_proto::canon::{Digest, sm3};
use gw_store::Disk;
use std::sync::Arc;

/// The most bytes of a frame's payload: above any block that the bounds allow.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;
/// length, complement and digest
const FRAME_HEAD: usize = 4 + 4 + 32;
/// How much is read at once while looking for a frame after a bad one.
const SCAN: usize = 64 * 1024;

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    at: u64,
    len: usize,
}

pub(super) struct BlockLog {
    disk: Arc<dyn Disk>,
    end: u64,
    closed: bool,
}

fn title(genesis: &Digest) -> Vec<u8> {
    [NAME.as_bytes(), b"/file/1\n", &genesis.0].concat()
}

fn size(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// What stands at a position.
enum Frame {
    Good(Span, Vec<u8>),
    End,
    Torn,
}

impl BlockLog {
    /// Opens it, makes it if it is empty, cuts a torn tail, and hands every payload to `each`.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        genesis: &Digest,
        mut each: impl FnMut(Span, &[u8]) -> Result<(), DevError>,
    ) -> Result<Self, DevError> {
        let title = title(genesis);
        let mut log = Self { disk, end: size(title.len()), closed: false };
        let len = log.disk.len()?;
        let mut found = vec![0u8; title.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
        log.disk.read_at(0, &mut found)?;
        if found != title {
            // a title that was never synced: a prefix of it, or zeros, and nothing after
            let torn = len <= log.end && found.iter().zip(&title).all(|(f, t)| f == t || *f == 0);
            if !torn {
                return Err(DevError::OtherChain);
            }
            log.disk.resize(0)?;
            log.disk.write_at(0, &title)?;
            log.disk.sync()?;
            return Ok(log);
        }
        loop {
            match log.frame_at(log.end, len)? {
                Frame::Good(span, payload) => {
                    each(span, &payload)?;
                    log.end = span.at + size(span.len);
                }
                Frame::End => {
                    // the last frame may be one that the process wrote, but did not live to sync
                    log.disk.sync()?;
                    return Ok(log);
                }
                Frame::Torn => {
                    tracing::warn!(
                        at = log.end,
                        dropped = len - log.end,
                        "development ledger: dropped a block that a power loss tore"
                    );
                    log.disk.resize(log.end)?;
                    log.disk.sync()?;
                    return Ok(log);
                }
            }
        }
    }

    /// Writes a frame; it survives a power loss when this returns. After a failure the log stays closed.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<Span, DevError> {
        if self.closed {
            return Err(DevError::Closed);
        }
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= MAX_PAYLOAD && !payload.is_empty())
            .ok_or(DevError::Config("a block of this size cannot be kept: lower the block's bounds"))?
            .to_be_bytes();
        let frame = [&length[..], &length.map(|b| !b), &sm3(payload).0, payload].concat();
        let written = self.disk.write_at(self.end, &frame).and_then(|()| self.disk.sync());
        if let Err(e) = written {
            self.closed = true;
            return Err(e.into());
        }
        let span = Span { at: self.end + size(FRAME_HEAD), len: payload.len() };
        self.end += size(frame.len());
        Ok(span)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads a payload back, and checks it again.
    pub(super) fn read(&self, span: Span) -> Result<Vec<u8>, DevError> {
        let start = span.at.saturating_sub(size(FRAME_HEAD));
        match self.frame_at(start, span.at + size(span.len))? {
            Frame::Good(found, payload) if found == span => Ok(payload),
            _ => Err(DevError::Damaged { at: start, what: "a block reads back differently".to_owned() }),
        }
    }

    fn frame_at(&self, at: u64, file: u64) -> Result<Frame, DevError> {
        let left = file.saturating_sub(at);
        if left == 0 {
            return Ok(Frame::End);
        }
        if left < size(FRAME_HEAD) {
            return Ok(Frame::Torn);
        }
        let (mut length, mut complement, mut digest) = ([0u8; 4], [0u8; 4], [0u8; 32]);
        self.disk.read_at(at, &mut length)?;
        self.disk.read_at(at + 4, &mut complement)?;
        self.disk.read_at(at + 8, &mut digest)?;
        let body = at + size(FRAME_HEAD);
        let Some(len) = length_of(length, complement) else {
            return self.torn_or_damaged(at, file, "a block has no valid length");
        };
        if size(len) > left - size(FRAME_HEAD) {
            return self.torn_or_damaged(at, file, "a block is cut");
        }
        let mut payload = vec![0u8; len];
        self.disk.read_at(body, &mut payload)?;
        if sm3(&payload).0 == digest {
            return Ok(Frame::Good(Span { at: body, len }, payload));
        }
        self.torn_or_damaged(at, file, "a block does not match its checksum")
    }

    /// Damaged if a good frame follows anywhere: payloads are JSON, they hold no frame by chance.
    fn torn_or_damaged(&self, at: u64, file: u64, what: &str) -> Result<Frame, DevError> {
        let mut chunk = vec![0u8; SCAN];
        let mut from = at + 1;
        while from + size(FRAME_HEAD) <= file {
            let n = usize::try_from(file - from).unwrap_or(usize::MAX).min(SCAN);
            let part = chunk.get_mut(..n).unwrap_or_default();
            self.disk.read_at(from, part)?;
            for (i, head) in part.windows(8).enumerate() {
                let start = from + size(i);
                if let [a, b, c, d, e, f, g, h] = *head
                    && length_of([a, b, c, d], [e, f, g, h]).is_some()
                    && self.good_at(start, file)?
                {
                    return Err(DevError::Damaged { at, what: what.to_owned() });
                }
            }
            from += size(n.saturating_sub(7).max(1)); // heads across chunks
        }
        Ok(Frame::Torn)
    }

    fn good_at(&self, at: u64, file: u64) -> Result<bool, DevError> {
        let left = file.saturating_sub(at);
        let (mut head, mut digest) = ([0u8; 8], [0u8; 32]);
        if left < size(FRAME_HEAD) {
            return Ok(false);
        }
        self.disk.read_at(at, &mut head)?;
        self.disk.read_at(at + 8, &mut digest)?;
        let [a, b, c, d, e, f, g, h] = head;
        let len = length_of([a, b, c, d], [e, f, g, h]).filter(|l| size(*l) <= left - size(FRAME_HEAD));
        let Some(len) = len else { return Ok(false) };
        let mut payload = vec![0u8; len];
        self.disk.read_at(at + size(FRAME_HEAD), &mut payload)?;
        Ok(sm3(&payload).0 == digest)
    }
}

/// A frame's length, if it is one.
fn length_of(length: [u8; 4], complement: [u8; 4]) -> Option<usize> {
    let len = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let valid = length == complement.map(|b| !b) && len > 0 && len <= MAX_PAYLOAD;
    valid.then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::Hex;
    use gw_store::MemDisk;

    const GENESIS: Digest = Hex([7; 32]);

    fn open(bytes: Vec<u8>) -> (Result<BlockLog, DevError>, Vec<Vec<u8>>, Arc<MemDisk>) {
        let disk = Arc::new(MemDisk::with_content(bytes));
        let mut seen = Vec::new();
        let log = BlockLog::open(disk.clone(), &GENESIS, |_, p| {
            seen.push(p.to_vec());
            Ok(())
        });
        (log, seen, disk)
    }

    fn three() -> (Vec<u8>, usize) {
        let (log, _, disk) = open(Vec::new());
        let mut log = log.unwrap();
        log.append(b"first block").unwrap();
        log.append(&[0, 0, 0]).unwrap();
        let before = disk.content().len();
        log.append(&[b'x'; 300]).unwrap();
        (disk.content(), before)
    }

    #[test]
    fn what_was_appended_reads_back() {
        let (bytes, _) = three();
        let (log, seen, _) = open(bytes);
        assert_eq!(seen, [b"first block".to_vec(), vec![0, 0, 0], vec![b'x'; 300]]);
        let mut log = log.unwrap();
        let span = log.append(b"fourth").unwrap();
        assert_eq!(log.read(span).unwrap(), b"fourth");
    }

    /// The last frame cut at every byte, and lost to zeros from every byte on: it is dropped, the rest stays,
    /// and appending goes on.
    #[test]
    fn a_torn_tail_at_every_byte() {
        let (bytes, before) = three();
        for at in before..bytes.len() {
            let cut = bytes[..at].to_vec();
            let mut zeros = bytes.clone();
            zeros[at..].fill(0);
            let mut later = zeros.clone();
            later.resize(bytes.len() + 5000, 0);
            for torn in [cut, zeros, later] {
                let (log, seen, disk) = open(torn);
                assert_eq!(seen.len(), 2, "torn at {at}");
                assert_eq!(disk.content(), bytes[..before], "torn at {at}");
                log.unwrap().append(b"again").unwrap();
                let (again, seen, _) = open(disk.content());
                assert!(again.is_ok());
                assert_eq!(seen.last().unwrap(), b"again");
            }
        }
    }

    /// A changed byte before the last frame loses blocks that were answered for: never cut silently.
    #[test]
    fn damage_before_the_last_frame_is_refused() {
        let (bytes, before) = three();
        for at in 0..before {
            let mut b = bytes.clone();
            b[at] ^= 1;
            let (log, _, disk) = open(b.clone());
            assert!(log.is_err(), "byte {at}");
            assert_eq!(disk.content(), b, "byte {at}: refused, but changed");
        }
    }

    #[test]
    fn a_torn_title_is_written_again_and_another_chain_is_refused() {
        let whole = title(&GENESIS);
        for at in 0..whole.len() {
            let (log, _, disk) = open(whole[..at].to_vec());
            assert!(log.is_ok(), "cut at {at}");
            assert_eq!(disk.content(), whole);
            let mut zeros = whole.clone();
            zeros[at..].fill(0);
            assert!(open(zeros).0.is_ok());
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(matches!(open(other).0, Err(DevError::OtherChain)));
        assert!(matches!(open(b"some other file".to_vec()).0, Err(DevError::OtherChain)));
    }

    #[test]
    fn after_a_failed_sync_it_stays_closed() {
        let (log, _, _) = open(Vec::new());
        let mut log = log.unwrap();
        log.disk = Arc::new(Broken);
        assert!(matches!(log.append(b"x"), Err(DevError::Store(_))));
        assert!(log.is_closed());
        assert!(matches!(log.append(b"x"), Err(DevError::Closed)));
    }

    struct Broken;
    impl Disk for Broken {
        fn len(&self) -> Result<u64, gw_store::StoreError> {
            Ok(0)
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> Result<(), gw_store::StoreError> {
            Ok(())
        }
        fn write_at(&self, _: u64, _: &[u8]) -> Result<(), gw_store::StoreError> {
            Ok(())
        }
        fn resize(&self, _: u64) -> Result<(), gw_store::StoreError> {
            Ok(())
        }
        fn sync(&self) -> Result<(), gw_store::StoreError> {
            Err(gw_store::StoreError::Closed { path: "disk".into() })
        }
    }

    proptest::proptest! {
        /// Power lost inside any sync or write, any sectors of the last frame lost: what was answered for is
        /// there, in order, and at most one block that was not.
        #[test]
        fn power_loss_keeps_what_was_answered_for(
            sizes in proptest::collection::vec(1usize..3000, 1..8), seed: u64, at in 2u64..9, in_write: bool,
        ) {
            use gw_store::{SimDisk, disk::SimPlan};
            let plan = if in_write {
                SimPlan { freeze_at_write: Some(at), ..SimPlan::default() }
            } else {
                SimPlan { freeze_at_sync: Some(at), ..SimPlan::default() }
            };
            let disk = SimDisk::new(seed, plan);
            let mut log = BlockLog::open(Arc::new(disk.clone()), &GENESIS, |_, _| Ok(())).unwrap();
            let payloads: Vec<Vec<u8>> = (1u8..).zip(&sizes).map(|(i, n)| vec![i; *n]).collect();
            let answered = payloads.iter().take_while(|p| log.append(p).is_ok()).count();
            let after = disk.after_power_loss(SimPlan::default());
            let mut seen = Vec::new();
            BlockLog::open(Arc::new(after), &GENESIS, |_, p| { seen.push(p.to_vec()); Ok(()) }).unwrap();
            proptest::prop_assert!(seen.len() >= answered && seen.len() <= answered + 1);
            proptest::prop_assert_eq!(&seen[..], &payloads[..seen.len()]);
        }
    }
}
