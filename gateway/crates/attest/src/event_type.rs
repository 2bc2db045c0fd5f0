//! Names of the firmware's event types, and what their data tell people.

use crate::{error::one_line, eventlog::BootEvent, hash::Bank};

/// TCG event types (PC Client firmware profile 1.05, 10.4.1), and whether the digest is that of the data.
const TYPES: &[(u32, &str, Data)] = &[
    (0x0000_0000, "EV_PREBOOT_CERT", Data::Free),
    (0x0000_0001, "EV_POST_CODE", Data::Free),
    (0x0000_0004, "EV_SEPARATOR", Data::Measured),
    (0x0000_0005, "EV_ACTION", Data::Measured),
    (0x0000_0006, "EV_EVENT_TAG", Data::Free),
    (0x0000_0007, "EV_S_CRTM_CONTENTS", Data::Free),
    (0x0000_0008, "EV_S_CRTM_VERSION", Data::Measured),
    (0x0000_0009, "EV_CPU_MICROCODE", Data::Free),
    (0x0000_000a, "EV_PLATFORM_CONFIG_FLAGS", Data::Free),
    (0x0000_000b, "EV_TABLE_OF_DEVICES", Data::Free),
    (0x0000_000c, "EV_COMPACT_HASH", Data::Free),
    (0x0000_000d, "EV_IPL", Data::Free),
    (0x0000_000e, "EV_IPL_PARTITION_DATA", Data::Free),
    (0x0000_000f, "EV_NONHOST_CODE", Data::Free),
    (0x0000_0010, "EV_NONHOST_CONFIG", Data::Free),
    (0x0000_0011, "EV_NONHOST_INFO", Data::Free),
    (0x0000_0012, "EV_OMIT_BOOT_DEVICE_EVENTS", Data::Free),
    (0x0000_0013, "EV_POST_CODE2", Data::Free),
    (0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG", Data::Measured),
    (0x8000_0002, "EV_EFI_VARIABLE_BOOT", Data::Free),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION", Data::Free),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER", Data::Free),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER", Data::Free),
    (0x8000_0006, "EV_EFI_GPT_EVENT", Data::Measured),
    (0x8000_0007, "EV_EFI_ACTION", Data::Measured),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB", Data::Free),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES", Data::Free),
    (0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2", Data::Free),
    (0x8000_000b, "EV_EFI_HANDOFF_TABLES2", Data::Free),
    (0x8000_000c, "EV_EFI_VARIABLE_BOOT2", Data::Measured),
    (0x8000_000d, "EV_EFI_GPT_EVENT2", Data::Measured),
    (0x8000_0010, "EV_EFI_HCRTM_EVENT", Data::Free),
    (0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY", Data::Measured),
    (0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB", Data::Free),
    (0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG", Data::Free),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    /// the digest is that of the data: a description can be proved
    Measured,
    /// the data only describe
    Free,
}

fn row(kind: u32) -> Option<&'static (u32, &'static str, Data)> {
    TYPES.iter().find(|(k, _, _)| *k == kind)
}

/// The type's name; none if this verifier does not know it.
pub fn type_name(kind: u32) -> Option<&'static str> {
    row(kind).map(|(_, name, _)| *name)
}

/// Whether the event's data are other than what was measured, where the type says that they are it.
pub fn is_lying(event: &BootEvent<'_>, bank: Bank) -> bool {
    let measured = matches!(row(event.kind), Some((_, _, Data::Measured)));
    measured && bank.digest(&[event.data]) != event.digest
}

/// One line for people. It proves nothing.
pub fn describe(event: &BootEvent<'_>) -> String {
    let name = type_name(event.kind).map_or_else(|| format!("type {:#010x}", event.kind), str::to_owned);
    let detail = match event.kind {
        0x8000_0001 | 0x8000_0002 | 0x8000_000c | 0x8000_00e0 => variable_name(event.data),
        0x0000_0008 => Some(utf16(event.data)),
        0x0000_0005 | 0x0000_000d | 0x8000_0007 => Some(String::from_utf8_lossy(event.data).into_owned()),
        _ => None,
    };
    let detail = detail.filter(|d| !d.is_empty()).map(|d| format!(" {}", d.trim_end_matches('\0')));
    one_line(&format!("{name}{}", detail.unwrap_or_default()))
}

/// UEFI_VARIABLE_DATA: GUID, count of UTF-16 units, count of bytes, name, value.
fn variable_name(data: &[u8]) -> Option<String> {
    let units = u64::from_le_bytes(data.get(16..24)?.try_into().ok()?);
    let bytes = usize::try_from(units).ok()?.checked_mul(2)?;
    data.get(32..32_usize.checked_add(bytes)?).map(utf16)
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)));
    char::decode_utf16(units.take(200)).map(|c| c.unwrap_or('\u{fffd}')).collect()
}
