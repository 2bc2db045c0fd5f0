//! What goes wrong, and when: at which bytes of the bus.

/// Faults for a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    faults: Vec<Fault>,
    spare_payload: bool,
}

/// One fault. Bytes on the bus are counted from 0 when the plan is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// first byte
    pub from: u64,
    /// first byte no longer affected; without meaning for what happens once
    pub until: u64,
    /// what
    pub kind: FaultKind,
}

/// Kinds of faults. "Once" ones happen at [`Fault::from`], the others last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A bit from the chip always reads the same.
    StuckMiso {
        /// 0 to 7
        bit: u8,
        /// as 1
        high: bool,
    },
    /// A bit to the chip is always the same. (On I2C: from the host, address included.)
    StuckMosi {
        /// 0 to 7
        bit: u8,
        /// as 1
        high: bool,
    },
    /// Once: a bit from the chip is inverted.
    FlipMiso {
        /// 0 to 7
        bit: u8,
    },
    /// Once: a bit to the chip is inverted.
    FlipMosi {
        /// 0 to 7
        bit: u8,
    },
    /// Once: the chip sees its select go away and come back (on I2C: a stop).
    Glitch,
    /// Once: the chip sees nothing of the rest of the transfer, the host reads an idle line.
    Short,
    /// The host's controller reports a failure.
    Controller,
    /// I2C: no acknowledge.
    Refuse,
    /// SPI: wait states without end.
    EndlessWait,
    /// Once: a higher locality takes the chip (or, where there is but one, it is just gone).
    LoseLocality,
    /// Once: the chip is reset.
    Reset,
    /// The chip does not become ready.
    NeverReady,
    /// A command does not end.
    NeverDone,
    /// The burst count is 0.
    NoBurst,
    /// `stsValid` is 0.
    StatusInvalid,
}

impl FaultKind {
    /// Changes, loses or doubles bits on the wire, as against a chip or controller that misbehaves.
    #[must_use]
    pub const fn is_on_wire(self) -> bool {
        matches!(
            self,
            Self::StuckMiso { .. }
                | Self::StuckMosi { .. }
                | Self::FlipMiso { .. }
                | Self::FlipMosi { .. }
                | Self::Glitch
                | Self::Short
        )
    }

    const fn is_once(self) -> bool {
        matches!(
            self,
            Self::FlipMiso { .. }
                | Self::FlipMosi { .. }
                | Self::Glitch
                | Self::Short
                | Self::LoseLocality
                | Self::Reset
        )
    }
}

impl Fault {
    fn acts(&self, at: u64) -> bool {
        if self.kind.is_once() { at == self.from } else { (self.from..self.until).contains(&at) }
    }
}

impl FaultPlan {
    /// These faults, anywhere.
    #[must_use]
    pub const fn new(faults: Vec<Fault>) -> Self {
        Self { faults, spare_payload: false }
    }

    /// One lasting fault from the first byte on.
    #[must_use]
    pub fn always(kind: FaultKind) -> Self {
        Self::new(vec![Fault { from: 0, until: u64::MAX, kind }])
    }

    /// One fault at a byte.
    #[must_use]
    pub fn at(from: u64, kind: FaultKind) -> Self {
        Self::new(vec![Fault { from, until: from + 1, kind }])
    }

    /// Bits are not bent in the data of FIFO transfers, nor in the wait states before it, where SPI has no means
    /// to notice it.
    #[must_use]
    pub const fn sparing_payload(mut self) -> Self {
        self.spare_payload = true;
        self
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// True if a fault of this kind acts at this byte.
    pub(crate) fn has(&self, at: u64, kind: FaultKind) -> bool {
        self.faults.iter().any(|f| f.kind == kind && f.acts(at))
    }

    /// A byte from the chip, as the host sees it.
    pub(crate) fn miso(&self, at: u64, byte: u8, payload: bool) -> u8 {
        self.bend(at, byte, payload, |kind, b| match kind {
            FaultKind::StuckMiso { bit, high } => stuck(b, bit, high),
            FaultKind::FlipMiso { bit } => b ^ mask(bit),
            _ => b,
        })
    }

    /// A byte to the chip, as the chip sees it.
    pub(crate) fn mosi(&self, at: u64, byte: u8, payload: bool) -> u8 {
        self.bend(at, byte, payload, |kind, b| match kind {
            FaultKind::StuckMosi { bit, high } => stuck(b, bit, high),
            FaultKind::FlipMosi { bit } => b ^ mask(bit),
            _ => b,
        })
    }

    fn bend(&self, at: u64, byte: u8, payload: bool, how: impl Fn(FaultKind, u8) -> u8) -> u8 {
        if payload && self.spare_payload {
            return byte;
        }
        self.faults.iter().filter(|f| f.acts(at)).fold(byte, |b, f| how(f.kind, b))
    }
}

const fn mask(bit: u8) -> u8 {
    1 << (bit & 7)
}

const fn stuck(byte: u8, bit: u8, high: bool) -> u8 {
    if high { byte | mask(bit) } else { byte & !mask(bit) }
}
