//! Keys and signatures as libraries lay them out: fields of 64 bytes, or of 32.
//!
//! GM/T 0018 has `ECCrefPublicKey { u32 bits; x[64]; y[64] }` and `ECCSignature { r[64]; s[64] }`, each number at
//! the right end of its field. Libraries after the older header (FISCO BCOS has that) use fields of 32 bytes.
//! Nothing in the interface says which: [`Probe`] finds out by what a call writes.

/// What a library is given to write a structure into: the largest known has 132 bytes.
pub const ROOM: usize = 512;
/// The curve's size, which a key says of itself.
const BITS: u32 = 256;

/// How long the fields are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 64 bytes, numbers at the right end: the standard's
    Wide,
    /// 32 bytes
    Narrow,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-byte", self.field())
    }
}

/// A structure to be written by, or given to, a library.
#[derive(Clone)]
#[repr(C, align(8))]
pub struct Buffer(pub(crate) [u8; ROOM]);

impl Buffer {
    /// Filled with one value.
    pub fn filled(with: u8) -> Self {
        Self([with; ROOM])
    }
}

impl Layout {
    fn field(self) -> usize {
        match self {
            Self::Wide => 64,
            Self::Narrow => 32,
        }
    }

    /// x ‖ y of a key that a call wrote; none if it is not in this layout.
    pub fn read_key(self, buffer: &Buffer) -> Option<[u8; 64]> {
        let (bits, rest) = buffer.0.split_first_chunk::<4>()?;
        if u32::from_ne_bytes(*bits) != BITS {
            return None;
        }
        self.read_pair(rest)
    }

    /// r ‖ s of a signature that a call wrote; none if it is not in this layout.
    pub fn read_signature(self, buffer: &Buffer) -> Option<[u8; 64]> {
        self.read_pair(&buffer.0)
    }

    fn read_pair(self, bytes: &[u8]) -> Option<[u8; 64]> {
        let (first, rest) = bytes.split_at_checked(self.field())?;
        let (second, _) = rest.split_at_checked(self.field())?;
        let mut out = [0; 64];
        for (to, field) in out.chunks_mut(32).zip([first, second]) {
            let (padding, number) = field.split_at_checked(self.field() - 32)?;
            if padding.iter().any(|b| *b != 0) {
                return None;
            }
            to.copy_from_slice(number);
        }
        Some(out)
    }

    /// A key for a call to read.
    pub fn write_key(self, point: &[u8; 64]) -> Buffer {
        let mut out = Buffer::filled(0);
        if let Some((bits, rest)) = out.0.split_first_chunk_mut::<4>() {
            *bits = BITS.to_ne_bytes();
            self.write_pair(point, rest);
        }
        out
    }

    /// A signature for a call to read.
    pub fn write_signature(self, signature: &[u8; 64]) -> Buffer {
        let mut out = Buffer::filled(0);
        self.write_pair(signature, &mut out.0);
        out
    }

    fn write_pair(self, pair: &[u8; 64], to: &mut [u8]) {
        for (field, number) in to.chunks_mut(self.field()).zip(pair.chunks(32)) {
            if let Some(end) = field.get_mut(self.field() - 32..) {
                end.copy_from_slice(number);
            }
        }
    }
}

/// The same key, exported twice into buffers that were filled differently: what is equal was written.
pub struct Probe<'a> {
    /// exported into a buffer filled with one value
    pub first: &'a Buffer,
    /// exported into a buffer filled with another
    pub second: &'a Buffer,
}

impl Probe<'_> {
    /// Which layout it is, by how far it reaches; what was seen otherwise.
    pub fn layout(&self) -> Result<Layout, String> {
        let same: Vec<bool> = self.first.0.iter().zip(&self.second.0).map(|(a, b)| a == b).collect();
        let end = same.iter().rposition(|s| *s).map_or(0, |last| last + 1);
        let layout = match end {
            68 => Layout::Narrow,
            132 => Layout::Wide,
            end => return Err(format!("{end} bytes were written")),
        };
        match layout.read_key(self.first) {
            Some(_) => Ok(layout),
            None => Err(format!("{end} bytes were written, but no key of {BITS} bits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> [u8; 64] {
        std::array::from_fn(|i| u8::try_from(i).unwrap() + 1)
    }

    /// What a library would leave in a buffer filled with `fill`.
    fn exported(layout: Layout, fill: u8) -> Buffer {
        let key = layout.write_key(&point());
        let mut out = Buffer::filled(fill);
        let length = 4 + 2 * layout.field();
        out.0[..length].copy_from_slice(&key.0[..length]);
        out
    }

    #[test]
    fn each_layout_reads_what_it_writes_and_not_the_others() {
        for layout in [Layout::Wide, Layout::Narrow] {
            assert_eq!(layout.read_key(&layout.write_key(&point())), Some(point()));
            assert_eq!(layout.read_signature(&layout.write_signature(&point())), Some(point()));
        }
        assert_eq!(Layout::Wide.read_key(&Layout::Narrow.write_key(&point())), None);
        assert_eq!(Layout::Wide.read_signature(&Layout::Narrow.write_signature(&point())), None);
    }

    /// The standard's own picture: numbers at the right end.
    #[test]
    fn fields_lie_where_the_standard_has_them() {
        let wide = Layout::Wide.write_key(&point());
        assert_eq!(wide.0[..4], 256u32.to_ne_bytes());
        assert_eq!((wide.0[35], wide.0[36], wide.0[67]), (0, 1, 32));
        assert_eq!((wide.0[99], wide.0[100], wide.0[131], wide.0[132]), (0, 33, 64, 0));
        let narrow = Layout::Narrow.write_key(&point());
        assert_eq!((narrow.0[4], narrow.0[35], narrow.0[36], narrow.0[67], narrow.0[68]), (1, 32, 33, 64, 0));
    }

    #[test]
    fn the_layout_is_told_by_what_is_written() {
        for layout in [Layout::Wide, Layout::Narrow] {
            let (first, second) = (exported(layout, 0xa5), exported(layout, 0x5a));
            assert_eq!(Probe { first: &first, second: &second }.layout(), Ok(layout));
        }
    }

    /// A number that ends in the filler is written all the same.
    #[test]
    fn bytes_that_equal_the_filler_do_not_mislead() {
        let mut key = point();
        key[63] = 0xa5;
        let make = |fill| {
            let mut out = Buffer::filled(fill);
            out.0[..68].copy_from_slice(&Layout::Narrow.write_key(&key).0[..68]);
            out
        };
        let (first, second) = (make(0xa5), make(0x5a));
        assert_eq!(Probe { first: &first, second: &second }.layout(), Ok(Layout::Narrow));
    }

    #[test]
    fn what_fits_neither_is_said() {
        let nothing = Probe { first: &Buffer::filled(1), second: &Buffer::filled(2) };
        assert!(nothing.layout().unwrap_err().contains("0 bytes"));
        let (mut first, mut second) = (exported(Layout::Wide, 0xa5), exported(Layout::Wide, 0x5a));
        for b in [&mut first, &mut second] {
            b.0[140] = 7;
        }
        assert!(Probe { first: &first, second: &second }.layout().unwrap_err().contains("141 bytes"));
        // a key of 512 bits is not this curve's
        let (mut first, mut second) = (exported(Layout::Wide, 0xa5), exported(Layout::Wide, 0x5a));
        for b in [&mut first, &mut second] {
            b.0[..4].copy_from_slice(&512u32.to_ne_bytes());
        }
        assert!(Probe { first: &first, second: &second }.layout().unwrap_err().contains("no key"));
    }
}
