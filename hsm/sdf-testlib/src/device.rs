//! The device: handles, access rights, keys, signing. Numbers instead of pointers.

use crate::settings::{ATTEMPTS, Key, Settings, folder};
use gw_proto::{Hex, PublicKey, Scheme};
use gw_sm::KeyPair;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A return code of GM/T 0018, appendix A.
pub type Code = u32;

/// Success.
pub const OK: Code = 0;
/// SDR_UNKNOWERR
pub const UNKNOWN: Code = 0x0100_0001;
/// SDR_COMMFAIL
pub const NO_COMMUNICATION: Code = 0x0100_0003;
/// SDR_OPENSESSION
pub const NO_SESSION: Code = 0x0100_0006;
/// SDR_PARDENY
pub const NO_RIGHT: Code = 0x0100_0007;
/// SDR_KEYNOTEXIST
pub const NO_KEY: Code = 0x0100_0008;
/// SDR_VERIFYERR
pub const NOT_VERIFIED: Code = 0x0100_000e;
/// SDR_RANDERR
pub const NO_RANDOM: Code = 0x0100_0017;
/// SDR_PRKRERR
pub const WRONG_PASSWORD: Code = 0x0100_0018;
/// SDR_INARGERR
pub const BAD_INPUT: Code = 0x0100_001d;
/// Vendors have codes of their own; this one is for handles that are none.
pub const BAD_HANDLE: Code = 0x0100_0020;
/// … and this one for a wrong password.
pub const VENDOR_PASSWORD: Code = 0x0100_0101;

/// What can be made to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// no call reaches the device
    Lost,
    /// signatures do not verify
    BadSignature,
    /// the exported public half is another key's
    OtherPublic,
    /// random bytes repeat
    StuckRandom,
    /// no random bytes
    NoRandom,
    /// a wrong password gives a code of the vendor's own
    VendorCodes,
    /// verifies every signature
    VerifiesAll,
    /// numbers lie at the left end of their fields
    LeftAligned,
}

impl Fault {
    /// By its name in the settings.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lost" => Self::Lost,
            "bad-signature" => Self::BadSignature,
            "other-public" => Self::OtherPublic,
            "stuck-random" => Self::StuckRandom,
            "no-random" => Self::NoRandom,
            "vendor-codes" => Self::VendorCodes,
            "verifies-all" => Self::VerifiesAll,
            "left-aligned" => Self::LeftAligned,
            _ => return None,
        })
    }
}

enum Handle {
    Device { boot: u32 },
    Session { boot: u32, rights: BTreeSet<u32> },
}

#[derive(Default)]
struct Handles {
    last: usize,
    open: BTreeMap<usize, Handle>,
}

static HANDLES: Mutex<Handles> = Mutex::new(Handles { last: 0, open: BTreeMap::new() });

fn handles() -> MutexGuard<'static, Handles> {
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handles {
    fn add(&mut self, handle: Handle) -> usize {
        self.last += 1;
        self.open.insert(self.last, handle);
        self.last
    }
    fn sessions(&self) -> usize {
        self.open.values().filter(|h| matches!(h, Handle::Session { .. })).count()
    }
}

/// The device as it is now; an error while no call reaches it.
fn reach() -> Result<Settings, Code> {
    let settings = Settings::load().ok_or(UNKNOWN)?;
    if settings.has(Fault::Lost) { Err(NO_COMMUNICATION) } else { Ok(settings) }
}

/// A live session.
fn session(handle: usize) -> Result<Settings, Code> {
    let settings = reach()?;
    match handles().open.get(&handle) {
        Some(Handle::Session { boot, .. }) if *boot == settings.boot => Ok(settings),
        _ => Err(BAD_HANDLE),
    }
}

/// Gives a device handle.
pub fn open_device() -> Result<usize, Code> {
    let boot = reach()?.boot;
    Ok(handles().add(Handle::Device { boot }))
}

/// Gives a session handle.
pub fn open_session(device: usize) -> Result<usize, Code> {
    let settings = reach()?;
    let mut handles = handles();
    match handles.open.get(&device) {
        Some(Handle::Device { boot }) if *boot == settings.boot => {}
        _ => return Err(BAD_HANDLE),
    }
    if settings.sessions.is_some_and(|most| handles.sessions() >= most) {
        return Err(NO_SESSION);
    }
    Ok(handles.add(Handle::Session { boot: settings.boot, rights: BTreeSet::new() }))
}

/// Closes either kind.
pub fn close(handle: usize) -> Result<(), Code> {
    handles().open.remove(&handle).map(drop).ok_or(BAD_HANDLE)
}

/// Whether a session may ask what the device is.
pub fn info(handle: usize) -> Result<(), Code> {
    session(handle).map(drop)
}

/// Random bytes, or what a broken source gives.
pub fn random(handle: usize, out: &mut [u8]) -> Result<(), Code> {
    let settings = session(handle)?;
    if settings.has(Fault::NoRandom) {
        return Err(NO_RANDOM);
    }
    if settings.has(Fault::StuckRandom) {
        out.fill(7);
        return Ok(());
    }
    getrandom::fill(out).map_err(|_| NO_RANDOM)
}

fn key(settings: &Settings, index: u32) -> Result<&Key, Code> {
    settings.keys.get(&index).ok_or(NO_KEY)
}

fn pair(key: &Key) -> Result<KeyPair, Code> {
    KeyPair::from_secret(Scheme::Sm2Sm3, key.secret).map_err(|_| UNKNOWN)
}

/// The password opens the key for this session.
pub fn access_right(handle: usize, index: u32, password: &[u8]) -> Result<(), Code> {
    let settings = session(handle)?;
    if key(&settings, index)?.password.as_bytes() != password {
        count_attempt();
        return Err(if settings.has(Fault::VendorCodes) { VENDOR_PASSWORD } else { WRONG_PASSWORD });
    }
    match handles().open.get_mut(&handle) {
        Some(Handle::Session { rights, .. }) => {
            rights.insert(index);
            Ok(())
        }
        _ => Err(BAD_HANDLE),
    }
}

fn count_attempt() {
    let Some(folder) = folder() else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(ATTEMPTS));
    if let Ok(mut file) = file {
        let _ = file.write_all(b"wrong password\n");
    }
}

/// The session gives its right back.
pub fn release_right(handle: usize, index: u32) -> Result<(), Code> {
    session(handle)?;
    match handles().open.get_mut(&handle) {
        Some(Handle::Session { rights, .. }) => rights.remove(&index).then_some(()).ok_or(NO_RIGHT),
        _ => Err(BAD_HANDLE),
    }
}

/// The public half at an index.
pub fn public_key(handle: usize, index: u32) -> Result<([u8; 64], Settings), Code> {
    let settings = session(handle)?;
    let mut key = key(&settings, index)?.clone();
    if settings.has(Fault::OtherPublic) {
        key.secret = [0x77; 32];
    }
    Ok((pair(&key)?.public_key().point.0, settings))
}

/// Signs e, if this session has the right to.
pub fn sign(handle: usize, index: u32, e: &[u8]) -> Result<([u8; 64], Settings), Code> {
    let settings = session(handle)?;
    let pair = pair(key(&settings, index)?)?;
    let entitled = match handles().open.get(&handle) {
        Some(Handle::Session { rights, .. }) => rights.contains(&index),
        _ => return Err(BAD_HANDLE),
    };
    if !entitled {
        return Err(NO_RIGHT);
    }
    let e: &[u8; 32] = e.try_into().map_err(|_| BAD_INPUT)?;
    let mut signature = pair.sign_digest(e).map_err(|_| UNKNOWN)?.0;
    if let (true, Some(last)) = (settings.has(Fault::BadSignature), signature.last_mut()) {
        *last ^= 1;
    }
    Ok((signature, settings))
}

/// Whether r ‖ s over e verifies by x ‖ y.
pub fn verify(handle: usize, point: [u8; 64], e: &[u8], signature: [u8; 64]) -> Result<(), Code> {
    let settings = session(handle)?;
    let key = PublicKey { scheme: Scheme::Sm2Sm3, point: Hex(point) };
    let e: &[u8; 32] = e.try_into().map_err(|_| BAD_INPUT)?;
    if settings.has(Fault::VerifiesAll) {
        return Ok(());
    }
    gw_sm::verify_digest(&key, e, &Hex(signature)).map_err(|_| NOT_VERIFIED)
}

/// Whether structures of this session's device have short fields.
pub fn is_narrow(handle: usize) -> Result<bool, Code> {
    Ok(session(handle)?.narrow)
}
