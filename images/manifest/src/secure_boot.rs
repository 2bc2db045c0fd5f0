//! PCR 7: which keys the firmware accepts, and whose signature it accepted (UEFI 2.10, 32.4.1; firmware profile 1.05, 3.3.4.8).

use crate::ManifestError;
use gw_attest::Bank;

/// GUIDs as they lie in memory.
type Guid = [u8; 16];
/// EFI_GLOBAL_VARIABLE.
const GLOBAL: Guid =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const DATABASE: Guid =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
/// EFI_CERT_X509_GUID.
const X509: Guid =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// EFI_CERT_SHA256_GUID.
const SHA256: Guid =
    [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];
/// The owner under which virt-fw-vars writes the list below.
const OVMF: Guid =
    [0xa3, 0xa8, 0xba, 0xa0, 0x1d, 0x04, 0xa8, 0x48, 0xbc, 0x87, 0xc3, 0x6d, 0x12, 0x1b, 0x5e, 0x3d];

/// What is in the firmware's variables.
#[derive(Debug, Clone)]
pub struct Keys {
    /// owner of our entries, as the text form has it: `6c7a6f0e-…`
    pub owner: Guid,
    /// platform key, DER
    pub pk: Vec<u8>,
    /// key exchange keys, DER
    pub kek: Vec<Vec<u8>>,
    /// what may be started, DER, in order
    pub db: Vec<Vec<u8>>,
    /// the list of what may not be started, as it is in the variable
    pub dbx: Vec<u8>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// for people
    pub component: String,
    /// what is hashed
    pub measured: Vec<u8>,
}

/// The events of a start with Secure Boot on, in edk2's order; `signer` of db signed all that was started.
pub fn events(keys: &Keys, signer: &[u8]) -> Result<Vec<Event>, ManifestError> {
    let lists = |all: &[Vec<u8>]| all.iter().map(|c| list(&keys.owner, c)).collect::<Result<Vec<_>, _>>();
    let rows = [
        ("Secure Boot is on", GLOBAL, "SecureBoot", vec![1]),
        ("platform key", GLOBAL, "PK", list(&keys.owner, &keys.pk)?),
        ("key exchange keys", GLOBAL, "KEK", lists(&keys.kek)?.concat()),
        ("keys that may sign boot programs (db)", DATABASE, "db", lists(&keys.db)?.concat()),
        ("boot programs that are refused (dbx)", DATABASE, "dbx", keys.dbx.clone()),
    ];
    let event = |component: &str, measured| Event { component: component.to_owned(), measured };
    let mut all: Vec<Event> =
        rows.into_iter().map(|(c, guid, name, data)| event(c, variable(&guid, name, &data))).collect();
    all.push(event("separator of PCR 7", vec![0; 4]));
    let entry = [&keys.owner[..], signer].concat();
    all.push(event("signer of what was started", variable(&DATABASE, "db", &entry)));
    Ok(all)
}

/// The dbx that virt-fw-vars gives a firmware without one: nothing real, the digest of nothing.
pub fn empty_dbx() -> Vec<u8> {
    let entry = [&OVMF[..], &Bank::Sha256.digest(&[])].concat();
    signature_list(&SHA256, &entry).unwrap_or_default()
}

/// A GUID of text: three little-endian groups, then bytes.
pub fn guid(text: &str) -> Option<Guid> {
    let bytes = hex::decode(text.replace('-', "")).ok()?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes.as_slice() else { return None };
    [&[*d, *c, *b, *a, *f, *e, *h, *g], rest].concat().try_into().ok()
}

/// EFI_SIGNATURE_LIST with one certificate, as enrolment tools write them.
fn list(owner: &Guid, certificate: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let what = "a certificate of the firmware's variables".to_owned();
    if certificate.first() != Some(&0x30) {
        return Err(ManifestError::Certificate { what });
    }
    let entry = [&owner[..], certificate].concat();
    signature_list(&X509, &entry).ok_or(ManifestError::Certificate { what })
}

/// The list of one entry: type, size of all, no header, size of an entry.
fn signature_list(kind: &Guid, entry: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(entry.len()).ok()?;
    let whole = size.checked_add(28)?;
    Some([&kind[..], &whole.to_le_bytes(), &[0; 4], &size.to_le_bytes(), entry].concat())
}

/// UEFI_VARIABLE_DATA (firmware profile 1.05, 10.2.6).
fn variable(guid: &Guid, name: &str, value: &[u8]) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).to_le_bytes();
    [&guid[..], &length(units.len() / 2), &length(value.len()), &units, value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_as_firmware_measures_it() {
        let measured = variable(&GLOBAL, "SecureBoot", &[1]);
        assert_eq!(measured.len(), 16 + 8 + 8 + 20 + 1);
        assert_eq!(measured.get(16..24), Some(&10u64.to_le_bytes()[..]), "the name in characters");
        assert_eq!(measured.get(24..32), Some(&1u64.to_le_bytes()[..]), "the value in bytes");
        // the digest of that event in public logs of OVMF and of real boards
        let digest = hex::encode(Bank::Sha256.digest(&[&measured]));
        assert_eq!(digest, "ccfc4bb32888a345bc8aeadaba552b627d99348c767681ab3141f5b01e40a40e");
    }

    #[test]
    fn lists_have_the_sizes_that_uefi_gives_them() {
        let owner = guid("6c7a6f0e-8d2f-4c0b-9d51-2f6f0b0e9a01").unwrap();
        assert_eq!(hex::encode(owner), "0e6f7a6c2f8d0b4c9d512f6f0b0e9a01");
        let one = list(&owner, &[0x30, 1, 2]).unwrap();
        assert_eq!(hex::encode(&one[16..28]), "2f0000000000000013000000");
        assert!(list(&owner, b"PEM").is_err());
        assert_eq!(empty_dbx().len(), 76);
        assert!(guid("6c7a").is_none());
    }
}
