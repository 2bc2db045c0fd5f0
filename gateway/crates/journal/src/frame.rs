//! One entry as bytes: a head, a JSON payload, and the hash that chains it to the entry before.
//!
//! ```text
//! magic 4 │ kind 1 │ zero 3 │ length 4 │ log tag 8 │ index 8 │ first 8 │ previous hash 32 │ payload │ hash 32
//! ```
//! Integers are big-endian. `hash` = SM3("xinguan/journal/1" ‖ 0 ‖ everything before it), so it covers the
//! previous hash. `tag` is the beginning of the log's own seed: bytes of another log, or of an earlier place
//! of this one, are never taken for its entries. `first` is the index of the first entry that was made
//! durable by the same sync: it tells a torn last write from damage to entries that were durable.

use gw_proto::{Digest, Hex, canon::domain, domain_digest};
use gw_store::{Disk, StoreError};

/// 0xF5 never occurs in UTF-8, so no payload contains a frame.
pub(crate) const MAGIC: [u8; 4] = [0xf5, b'X', b'J', 0x01];
/// Bytes before the payload.
pub(crate) const HEAD: usize = 68;
/// Bytes after it.
pub(crate) const TAIL: usize = 32;
/// The largest payload: an outbox item of 64 KiB as base64, and room.
pub(crate) const MAX_PAYLOAD: usize = 128 * 1024;
/// The largest frame.
pub(crate) const MAX_FRAME: usize = HEAD + MAX_PAYLOAD + TAIL;

/// The beginning of a log's seed.
pub(crate) type Tag = [u8; 8];

/// A frame that is consistent in itself; whether it stands in its place is the log's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) tag: Tag,
    pub(crate) index: u64,
    pub(crate) first: u64,
    pub(crate) prev: Digest,
    pub(crate) payload: Vec<u8>,
    pub(crate) hash: Digest,
}

/// What precedes the payload, without magic and length.
pub(crate) struct Place {
    pub(crate) tag: Tag,
    pub(crate) index: u64,
    pub(crate) first: u64,
    pub(crate) prev: Digest,
}

/// The first bytes of a digest.
pub(crate) fn tag_of(seed: &Digest) -> Tag {
    let mut tag = [0; 8];
    tag.iter_mut().zip(seed.0).for_each(|(t, s)| *t = s);
    tag
}

/// Appends a frame to `out` and gives its hash. The caller has bounded the payload.
pub(crate) fn encode(kind: u8, place: &Place, payload: &[u8], out: &mut Vec<u8>) -> Digest {
    let from = out.len();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&place.tag);
    out.extend_from_slice(&place.index.to_be_bytes());
    out.extend_from_slice(&place.first.to_be_bytes());
    out.extend_from_slice(&place.prev.0);
    out.extend_from_slice(payload);
    let hash = domain_digest(domain::JOURNAL, out.get(from..).unwrap_or_default());
    out.extend_from_slice(&hash.0);
    hash
}

/// The length of a payload, if these bytes begin a frame.
fn payload_length(head: &[u8]) -> Option<usize> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (length, _) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let [kind, zeros @ ..] = kind;
    (*magic == MAGIC && *kind != 0 && *zeros == [0; 3] && length <= MAX_PAYLOAD).then_some(length)
}

/// Parses a whole frame; none if it is not consistent in itself.
fn parse(bytes: &[u8]) -> Option<Frame> {
    let (covered, hash) = bytes.split_last_chunk::<TAIL>()?;
    let (head, payload) = covered.split_at_checked(HEAD)?;
    if payload_length(head)? != payload.len() || domain_digest(domain::JOURNAL, covered).0 != *hash {
        return None;
    }
    let number = |from: usize| head.get(from..)?.first_chunk::<8>().map(|b| u64::from_be_bytes(*b));
    Some(Frame {
        kind: *head.get(4)?,
        tag: *head.get(12..)?.first_chunk::<8>()?,
        index: number(20)?,
        first: number(28)?,
        prev: Hex(*head.get(36..)?.first_chunk::<32>()?),
        payload: payload.to_vec(),
        hash: Hex(*hash),
    })
}

impl Frame {
    /// Bytes on the disk.
    pub(crate) fn size(&self) -> u64 {
        (HEAD + self.payload.len() + TAIL) as u64
    }
}

/// Reads frames up to `end`, through a window so that small frames do not cost a call each.
pub(crate) struct Reader<'a> {
    disk: &'a dyn Disk,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

const WINDOW: usize = 512 * 1024;

impl<'a> Reader<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, end: u64) -> Self {
        Self { disk, end, window: Vec::new(), window_at: 0 }
    }

    /// The frame at a position; none if there is no consistent frame.
    pub(crate) fn frame(&mut self, at: u64) -> Result<Option<Frame>, StoreError> {
        let Some(length) = self.bytes(at, HEAD)?.and_then(payload_length) else {
            return Ok(None);
        };
        Ok(self.bytes(at, HEAD + length + TAIL)?.and_then(parse))
    }

    /// The first position at or after `from` where a frame may begin.
    pub(crate) fn find_magic(&mut self, mut from: u64) -> Result<Option<u64>, StoreError> {
        while let Some(left) = self.end.checked_sub(from).filter(|l| *l >= HEAD as u64) {
            let size = usize::try_from(left).unwrap_or(WINDOW).min(WINDOW / 2);
            let Some(bytes) = self.bytes(from, size)? else { return Ok(None) };
            if let Some(i) = bytes.windows(MAGIC.len()).position(|w| w == MAGIC) {
                return Ok(Some(from + i as u64));
            }
            // the next part overlaps, so that a magic across the border is seen
            from += (size - (MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    }

    fn bytes(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>, StoreError> {
        if at.saturating_add(len as u64) > self.end {
            return Ok(None);
        }
        let offset = at.checked_sub(self.window_at).and_then(|o| usize::try_from(o).ok());
        let inside = offset.filter(|o| o.saturating_add(len) <= self.window.len());
        let offset = match inside {
            Some(o) => o,
            None => {
                let size = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(WINDOW.max(len));
                self.window.resize(size, 0);
                self.disk.read_at(at, &mut self.window)?;
                self.window_at = at;
                0
            }
        };
        Ok(self.window.get(offset..).and_then(|w| w.get(..len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_store::MemDisk;

    fn place(index: u64) -> Place {
        Place { tag: [7; 8], index, first: index, prev: Hex([9; 32]) }
    }

    #[test]
    fn a_frame_is_read_as_written_and_every_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        let hash = encode(3, &place(5), b"{\"a\":1}", &mut bytes);
        let frame = parse(&bytes).unwrap();
        assert_eq!((frame.kind, frame.index, frame.first, frame.hash), (3, 5, 5, hash));
        assert_eq!(
            (frame.tag, frame.prev, frame.payload.as_slice()),
            ([7; 8], Hex([9; 32]), &b"{\"a\":1}"[..])
        );
        assert_eq!(frame.size(), bytes.len() as u64);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), None);
        }
    }

    #[test]
    fn a_length_above_the_bound_is_no_frame_and_allocates_nothing() {
        let mut bytes = Vec::new();
        encode(1, &place(1), b"{}", &mut bytes);
        bytes[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        let disk = MemDisk::with_content(bytes.clone());
        assert_eq!(Reader::new(&disk, bytes.len() as u64).frame(0).unwrap(), None);
    }

    #[test]
    fn frames_are_found_across_windows() {
        let mut bytes = vec![0xf5; 3 * WINDOW];
        let at = (WINDOW + WINDOW / 2 - 2) as u64;
        bytes.truncate(WINDOW + WINDOW / 2 - 2);
        encode(1, &place(1), &vec![b' '; MAX_PAYLOAD], &mut bytes);
        let end = bytes.len() as u64;
        let disk = MemDisk::with_content(bytes);
        let mut reader = Reader::new(&disk, end);
        assert_eq!(reader.find_magic(0).unwrap(), Some(at));
        assert_eq!(reader.frame(at).unwrap().unwrap().payload.len(), MAX_PAYLOAD);
        assert_eq!(reader.find_magic(at + 1).unwrap(), None);
        assert_eq!(reader.frame(at + 1).unwrap(), None);
        assert_eq!(reader.frame(u64::MAX).unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            parse(&bytes);
            let end = bytes.len() as u64;
            let disk = MemDisk::with_content(bytes);
            let mut r = Reader::new(&disk, end);
            r.frame(0).unwrap();
            r.find_magic(0).unwrap();
        }
    }
}
