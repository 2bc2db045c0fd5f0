//! The C functions of GM/T 0018 that a gateway needs, by their names and types in the standard.

use crate::{
    device::{self, BAD_INPUT, Code, Fault, OK},
    settings::Settings,
};
use std::ffi::{c_int, c_uint, c_void};

/// SGD_SM2_1
const SGD_SM2_1: c_uint = 0x0002_0100;
/// Bits of the curve, in ECCrefPublicKey.
const BITS: u32 = 256;

fn returned(result: Result<(), Code>) -> c_int {
    result.err().unwrap_or(OK).cast_signed()
}

fn number(handle: *mut c_void) -> usize {
    handle.addr()
}

/// Writes a handle where the caller wants it.
///
/// # Safety
///
/// `to` must be null or valid for a write.
unsafe fn give(handle: Result<usize, Code>, to: *mut *mut c_void) -> Result<(), Code> {
    if to.is_null() {
        return Err(BAD_INPUT);
    }
    let handle = std::ptr::without_provenance_mut(handle?);
    // SAFETY: not null; the caller says that it is valid
    unsafe { to.write(handle) };
    Ok(())
}

/// Bytes that the caller gives.
///
/// # Safety
///
/// `from` must be null or valid for reads of `length` bytes.
unsafe fn take(from: *const u8, length: usize) -> Result<Vec<u8>, Code> {
    if from.is_null() || length > 4096 {
        return Err(BAD_INPUT);
    }
    // SAFETY: not null; the caller says that it is valid
    Ok(unsafe { std::slice::from_raw_parts(from, length) }.to_vec())
}

/// Bytes for the caller.
///
/// # Safety
///
/// `to` must be null or valid for writes of as many bytes.
unsafe fn put(bytes: &[u8], to: *mut u8) -> Result<(), Code> {
    if to.is_null() {
        return Err(BAD_INPUT);
    }
    // SAFETY: not null; the caller says that it is valid, and it is not ours
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    Ok(())
}

/// Two numbers in fields of 64 or 32 bytes, at the right end.
fn fields(pair: &[u8; 64], settings: &Settings) -> Vec<u8> {
    let (first, second) = pair.split_at(32);
    let padding = vec![0; if settings.narrow { 0 } else { 32 }];
    if settings.has(Fault::LeftAligned) {
        return [first, &padding, second, &padding].concat();
    }
    [&padding, first, &padding, second].concat()
}

fn numbers(fields: &[u8]) -> Result<[u8; 64], Code> {
    let (first, second) = fields.split_at_checked(fields.len() / 2).ok_or(BAD_INPUT)?;
    let end = |f: &[u8]| f.get(f.len().saturating_sub(32)..).map(<[u8]>::to_vec).ok_or(BAD_INPUT);
    [end(first)?, end(second)?].concat().try_into().map_err(|_| BAD_INPUT)
}

/// Opens the device.
///
/// # Safety
///
/// The pointer must be null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_OpenDevice(device: *mut *mut c_void) -> c_int {
    // SAFETY: as this function's
    returned(unsafe { give(device::open_device(), device) })
}

/// Closes the device.
#[unsafe(no_mangle)]
pub extern "C" fn SDF_CloseDevice(device: *mut c_void) -> c_int {
    returned(device::close(number(device)))
}

/// Opens a session.
///
/// # Safety
///
/// The second pointer must be null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_OpenSession(device: *mut c_void, session: *mut *mut c_void) -> c_int {
    // SAFETY: as this function's
    returned(unsafe { give(device::open_session(number(device)), session) })
}

/// Closes a session.
#[unsafe(no_mangle)]
pub extern "C" fn SDF_CloseSession(session: *mut c_void) -> c_int {
    returned(device::close(number(session)))
}

/// Writes DEVICEINFO: 100 bytes.
///
/// # Safety
///
/// `info` must be null or valid for writes of 100 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_GetDeviceInfo(session: *mut c_void, info: *mut u8) -> c_int {
    let text = |text: &str, length: usize| {
        let mut field = text.as_bytes().to_vec();
        field.resize(length, 0);
        field
    };
    let mut bytes = [text("Xinguan tests", 40), text("in memory", 16), text("0001", 16)].concat();
    bytes.resize(100, 0);
    // SAFETY: as this function's
    returned(device::info(number(session)).and_then(|()| unsafe { put(&bytes, info) }))
}

/// Random bytes.
///
/// # Safety
///
/// `out` must be null or valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_GenerateRandom(session: *mut c_void, length: c_uint, out: *mut u8) -> c_int {
    let draw = || {
        let length = usize::try_from(length).map_err(|_| BAD_INPUT)?;
        if length > 4096 {
            return Err(BAD_INPUT);
        }
        let mut bytes = vec![0; length];
        device::random(number(session), &mut bytes)?;
        // SAFETY: as this function's
        unsafe { put(&bytes, out) }
    };
    returned(draw())
}

/// Opens a key for this session.
///
/// # Safety
///
/// `password` must be null or valid for reads of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_GetPrivateKeyAccessRight(
    session: *mut c_void,
    index: c_uint,
    password: *mut u8,
    length: c_uint,
) -> c_int {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // SAFETY: as this function's
    let password = unsafe { take(password, length) };
    returned(password.and_then(|p| device::access_right(number(session), index, &p)))
}

/// Closes a key for this session.
#[unsafe(no_mangle)]
pub extern "C" fn SDF_ReleasePrivateKeyAccessRight(session: *mut c_void, index: c_uint) -> c_int {
    returned(device::release_right(number(session), index))
}

/// Writes ECCrefPublicKey: 132 or 68 bytes.
///
/// # Safety
///
/// `key` must be null or valid for writes of that many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_ExportSignPublicKey_ECC(
    session: *mut c_void,
    index: c_uint,
    key: *mut u8,
) -> c_int {
    let export = || {
        let (point, settings) = device::public_key(number(session), index)?;
        let bytes = [&BITS.to_ne_bytes()[..], &fields(&point, &settings)].concat();
        // SAFETY: as this function's
        unsafe { put(&bytes, key) }
    };
    returned(export())
}

/// Signs e and writes ECCSignature: 128 or 64 bytes.
///
/// # Safety
///
/// `data` must be null or valid for reads of `length` bytes, `signature` null or valid for that many writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_InternalSign_ECC(
    session: *mut c_void,
    index: c_uint,
    data: *mut u8,
    length: c_uint,
    signature: *mut u8,
) -> c_int {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let sign = || {
        // SAFETY: as this function's
        let e = unsafe { take(data, length) }?;
        let (pair, settings) = device::sign(number(session), index, &e)?;
        // SAFETY: as this function's
        unsafe { put(&fields(&pair, &settings), signature) }
    };
    returned(sign())
}

/// Verifies with a key from outside.
///
/// # Safety
///
/// `key` and `signature` must be null or point to the structures of the device's layout, `data` null or to
/// `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SDF_ExternalVerify_ECC(
    session: *mut c_void,
    algorithm: c_uint,
    key: *mut u8,
    data: *mut u8,
    length: c_uint,
    signature: *mut u8,
) -> c_int {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let verify = || {
        let both = if device::is_narrow(number(session))? { 64 } else { 128 };
        // SAFETY: as this function's
        let (key, e) = unsafe { (take(key, 4 + both)?, take(data, length)?) };
        // SAFETY: as this function's
        let signature = unsafe { take(signature, both) }?;
        let (bits, point) = key.split_first_chunk::<4>().ok_or(BAD_INPUT)?;
        if algorithm != SGD_SM2_1 || u32::from_ne_bytes(*bits) != BITS {
            return Err(BAD_INPUT);
        }
        device::verify(number(session), numbers(point)?, &e, numbers(&signature)?)
    };
    returned(verify())
}
