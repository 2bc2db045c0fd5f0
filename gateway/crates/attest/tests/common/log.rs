//! Writes event logs as firmware does (crypto-agile format: SHA-1, SHA-256, SM3).

use gw_attest::Bank;

pub const NO_ACTION: u32 = 3;
pub const SEPARATOR: u32 = 4;
pub const S_CRTM_VERSION: u32 = 8;
pub const IPL: u32 = 13;
pub const VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
pub const BOOT_APPLICATION: u32 = 0x8000_0003;
pub const EFI_ACTION: u32 = 0x8000_0007;

#[derive(Clone, Debug)]
pub struct BootSpec {
    pub pcr: u8,
    pub kind: u32,
    pub data: Vec<u8>,
    pub digest: [u8; 32],
    pub sm3: [u8; 32],
}

pub fn event(pcr: u8, kind: u32, data: &[u8]) -> BootSpec {
    BootSpec { pcr, kind, data: data.to_vec(), digest: [0; 32], sm3: [0; 32] }
}

impl BootSpec {
    /// What was measured.
    pub fn of(mut self, content: &[u8]) -> Self {
        self.digest = Bank::Sha256.digest(&[content]);
        self.sm3 = Bank::Sm3.digest(&[content]);
        self
    }
    pub fn of_data(self) -> Self {
        let data = self.data.clone();
        self.of(&data)
    }
}

/// UEFI_VARIABLE_DATA of the global variable namespace.
pub fn variable(pcr: u8, name: &str, value: &[u8]) -> BootSpec {
    let guid = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |n: usize| u64::try_from(n).unwrap().to_le_bytes();
    let data = [&guid[..], &length(units.len() / 2), &length(value.len()), &units, value].concat();
    event(pcr, VARIABLE_DRIVER_CONFIG, &data)
}

fn u32le(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap().to_le_bytes()
}

/// The header, listing these hashes and sizes.
pub fn header(algorithms: &[(u16, u16)]) -> Vec<u8> {
    let list: Vec<u8> =
        algorithms.iter().flat_map(|(id, size)| [id.to_le_bytes(), size.to_le_bytes()].concat()).collect();
    let spec =
        [b"Spec ID Event03\0", &[0; 4][..], &[0, 2, 0, 2], &u32le(algorithms.len()), &list, &[0]].concat();
    [&[0; 4], &NO_ACTION.to_le_bytes()[..], &[0; 20], &u32le(spec.len()), &spec].concat()
}

pub fn event2(e: &BootSpec) -> Vec<u8> {
    // nobody judges SHA-1: any bytes
    let digests = [&[4, 0][..], &[0x11; 20], &[0x0b, 0], &e.digest, &[0x12, 0], &e.sm3].concat();
    let (pcr, kind) = (u32::from(e.pcr).to_le_bytes(), e.kind.to_le_bytes());
    [&pcr[..], &kind, &u32le(3), &digests, &u32le(e.data.len()), &e.data].concat()
}

pub const ALGORITHMS: [(u16, u16); 3] = [(4, 20), (0x0b, 32), (0x12, 32)];

pub fn write(events: &[BootSpec]) -> Vec<u8> {
    let mut out = header(&ALGORITHMS);
    events.iter().for_each(|e| out.extend(event2(e)));
    out
}
