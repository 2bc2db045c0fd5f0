//! Authenticode: the digest of a PE program without its checksum and signatures (Microsoft's "Windows Authenticode
//! Portable Executable Signature Format", 2008).
//!
//! It is what firmware extends into PCR 4 (TCG PC Client firmware profile 1.05, 10.4.4), and what a signature is over.

use crate::ManifestError;
use gw_attest::Bank;

const PE32_PLUS: u16 = 0x20b;
/// Of the optional header of PE32+.
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const DIRECTORY_COUNT: usize = 108;
const DIRECTORIES: usize = 112;
/// The directory's entry of the signatures.
const CERTIFICATES: usize = 4;
const SECTION_HEADER: usize = 40;
/// Windows' own limit; a kernel image has a dozen.
const MAX_SECTIONS: usize = 96;

/// The digest in a bank. `what` names the file in errors.
pub fn authenticode(what: &str, file: &[u8], bank: Bank) -> Result<[u8; 32], ManifestError> {
    let parts = hashed(file).map_err(|detail| ManifestError::Program { what: what.to_owned(), detail })?;
    Ok(bank.digest(&parts))
}

/// The parts that count, in order.
fn hashed(file: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let coff = offset(file, 0x3c)?.checked_add(4).ok_or("it ends early")?;
    if file.get(coff.saturating_sub(4)..coff) != Some(b"PE\0\0") {
        return Err("no PE header");
    }
    let optional = add(coff, 20)?;
    if half(file, optional)? != PE32_PLUS {
        return Err("it is not PE32+ (64 bits)");
    }
    if offset(file, add(optional, DIRECTORY_COUNT)?)? <= CERTIFICATES {
        return Err("it has no room for signatures");
    }
    let checksum = add(optional, CHECKSUM)?;
    let directory = add(optional, DIRECTORIES + 8 * CERTIFICATES)?;
    let headers = offset(file, add(optional, SIZE_OF_HEADERS)?)?;
    let mut parts = vec![
        cut(file, 0, checksum)?,
        cut(file, add(checksum, 4)?, directory)?,
        cut(file, add(directory, 8)?, headers)?,
    ];
    let mut sum = headers;
    let sections = add(optional, usize::from(half(file, add(coff, 16)?)?))?;
    for (start, size) in sections_by_place(file, sections, usize::from(half(file, add(coff, 2)?)?))? {
        parts.push(cut(file, start, add(start, size)?)?);
        sum = add(sum, size)?;
    }
    let signatures = offset(file, add(directory, 4)?)?;
    let end = file.len().checked_sub(signatures).ok_or("its signatures are longer than the file")?;
    if sum > end {
        return Err("its sections overlap");
    }
    parts.push(cut(file, sum, end)?);
    Ok(parts)
}

/// (offset, size) of those that have content, as they stand in the file.
fn sections_by_place(file: &[u8], table: usize, count: usize) -> Result<Vec<(usize, usize)>, &'static str> {
    if count > MAX_SECTIONS {
        return Err("more than 96 sections");
    }
    let mut all = Vec::new();
    for number in 0..count {
        let header = add(table, number * SECTION_HEADER)?;
        let (size, start) = (offset(file, add(header, 16)?)?, offset(file, add(header, 20)?)?);
        if size > 0 {
            all.push((start, size));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn add(a: usize, b: usize) -> Result<usize, &'static str> {
    a.checked_add(b).ok_or("it ends early")
}

fn cut(file: &[u8], from: usize, to: usize) -> Result<&[u8], &'static str> {
    file.get(from..to).ok_or("it ends early")
}

fn half(file: &[u8], at: usize) -> Result<u16, &'static str> {
    let bytes = cut(file, at, add(at, 2)?)?;
    Ok(u16::from_le_bytes(bytes.try_into().map_err(|_| "it ends early")?))
}

fn offset(file: &[u8], at: usize) -> Result<usize, &'static str> {
    let bytes = cut(file, at, add(at, 4)?)?;
    let value = u32::from_le_bytes(bytes.try_into().map_err(|_| "it ends early")?);
    usize::try_from(value).map_err(|_| "it ends early")
}
