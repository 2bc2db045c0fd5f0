//! The calls themselves.
//!
//! A [`Session`] is used by one thread at a time and holds its [`Device`] open, which holds the [`SdfLibrary`].

use crate::{
    Code, FfiError, Layout,
    layout::{Buffer, Probe},
};
use std::{
    ffi::{c_int, c_uint, c_void},
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::Arc,
};

/// SGD_SM2_1: signing with SM2.
const SGD_SM2_1: c_uint = 0x0002_0100;
/// The most random bytes asked for in one call: some devices have no more room.
const MAX_RANDOM: usize = 1024;
/// DEVICEINFO: 40 + 16 + 16 bytes of text, seven numbers of four bytes.
const INFO_TEXTS: [usize; 3] = [40, 16, 16];

type OpenDevice = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type OpenSession = unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> c_int;
type Close = unsafe extern "C" fn(*mut c_void) -> c_int;
type GetDeviceInfo = unsafe extern "C" fn(*mut c_void, *mut u8) -> c_int;
type GenerateRandom = unsafe extern "C" fn(*mut c_void, c_uint, *mut u8) -> c_int;
type GetAccessRight = unsafe extern "C" fn(*mut c_void, c_uint, *mut u8, c_uint) -> c_int;
type ReleaseAccessRight = unsafe extern "C" fn(*mut c_void, c_uint) -> c_int;
type ExportSignPublicKey = unsafe extern "C" fn(*mut c_void, c_uint, *mut u8) -> c_int;
type InternalSign = unsafe extern "C" fn(*mut c_void, c_uint, *mut u8, c_uint, *mut u8) -> c_int;
type ExternalVerify = unsafe extern "C" fn(*mut c_void, c_uint, *mut u8, *mut u8, c_uint, *mut u8) -> c_int;

/// A loaded library. It stays loaded until the process ends: libraries start threads of their own, and
/// unloading the code under them crashes.
pub struct SdfLibrary {
    path: PathBuf,
    library: ManuallyDrop<libloading::Library>,
}

impl SdfLibrary {
    /// Loads it. What it does while it is loaded is its own.
    pub fn load(path: &Path) -> Result<Arc<Self>, FfiError> {
        // SAFETY: the operator names the library in the configuration, as the code that is to be trusted with
        // the keys; its initializers run with this process's rights, which is what loading it means
        let library = unsafe { libloading::Library::new(path) };
        let library = library.map_err(|source| FfiError::Load { path: path.to_owned(), source })?;
        Ok(Arc::new(Self { path: path.to_owned(), library: ManuallyDrop::new(library) }))
    }

    /// Whether it has a function, by its C name.
    pub fn has(&self, symbol: &str) -> bool {
        // SAFETY: the symbol is looked for, not used
        unsafe { self.library.get::<OpenDevice>(symbol.as_bytes()) }.is_ok()
    }

    /// A function by its C name; `F` must be its type.
    ///
    /// # Safety
    ///
    /// `F` must be the function pointer type that GM/T 0018 gives `symbol`.
    unsafe fn function<F: Copy>(&self, symbol: &'static str) -> Result<F, FfiError> {
        // SAFETY: the caller gives the standard's type; the library is never unloaded, so that the pointer
        // may outlive the symbol
        let found = unsafe { self.library.get::<F>(symbol.as_bytes()) };
        found.map(|f| *f).map_err(|_| FfiError::Symbol { path: self.path.clone(), symbol })
    }

    /// SDF_OpenDevice.
    pub fn open_device(self: &Arc<Self>) -> Result<Arc<Device>, FfiError> {
        const CALL: &str = "SDF_OpenDevice";
        // SAFETY: GM/T 0018: int SDF_OpenDevice(void **phDeviceHandle)
        let open = unsafe { self.function::<OpenDevice>(CALL) }?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a local that outlives the call
        check(CALL, unsafe { open(&raw mut handle) })?;
        let handle = NonNull::new(handle).ok_or(FfiError::NoHandle { call: CALL })?;
        Ok(Arc::new(Device { library: self.clone(), handle }))
    }
}

impl std::fmt::Debug for SdfLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SdfLibrary({})", self.path.display())
    }
}

/// An open device; closed when its last session is.
pub struct Device {
    library: Arc<SdfLibrary>,
    handle: NonNull<c_void>,
}

// SAFETY: the handle is an opaque number to us; the standard lets a process share a device among threads, each
// with sessions of its own
unsafe impl Send for Device {}
// SAFETY: as above; the only call on the shared handle is SDF_OpenSession
unsafe impl Sync for Device {}

impl Device {
    /// SDF_OpenSession.
    pub fn open_session(self: &Arc<Self>) -> Result<Session, FfiError> {
        const CALL: &str = "SDF_OpenSession";
        // SAFETY: GM/T 0018: int SDF_OpenSession(void *hDeviceHandle, void **phSessionHandle)
        let open = unsafe { self.library.function::<OpenSession>(CALL) }?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the device is open as long as `self` lives; the pointer is to a local
        check(CALL, unsafe { open(self.handle.as_ptr(), &raw mut handle) })?;
        let handle = NonNull::new(handle).ok_or(FfiError::NoHandle { call: CALL })?;
        Ok(Session { device: self.clone(), handle })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: GM/T 0018: int SDF_CloseDevice(void *hDeviceHandle)
        let Ok(close) = (unsafe { self.library.function::<Close>("SDF_CloseDevice") }) else { return };
        // a device that is gone cannot be closed: nothing follows from it
        // SAFETY: sessions hold the device, so that none is open any more; nobody uses the handle afterwards
        let _ = unsafe { close(self.handle.as_ptr()) };
    }
}

/// What a device says of itself (DEVICEINFO).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// who made it
    pub issuer: String,
    /// model
    pub name: String,
    /// serial number
    pub serial: String,
}

/// An open session.
pub struct Session {
    device: Arc<Device>,
    handle: NonNull<c_void>,
}

// SAFETY: a session may be used by any thread, one at a time: it is Send, not Sync
unsafe impl Send for Session {}

impl Session {
    fn library(&self) -> &SdfLibrary {
        &self.device.library
    }

    /// SDF_GetDeviceInfo.
    pub fn device_info(&mut self) -> Result<DeviceInfo, FfiError> {
        const CALL: &str = "SDF_GetDeviceInfo";
        // SAFETY: GM/T 0018: int SDF_GetDeviceInfo(void *hSessionHandle, DEVICEINFO *pstDeviceInfo)
        let get = unsafe { self.library().function::<GetDeviceInfo>(CALL) }?;
        let mut buffer = Buffer::filled(0);
        // SAFETY: the session is open; DEVICEINFO has 100 bytes and alignment 4, the buffer 512 and 8
        check(CALL, unsafe { get(self.handle.as_ptr(), buffer.0.as_mut_ptr()) })?;
        let mut rest = &buffer.0[..];
        let mut texts = INFO_TEXTS.into_iter().map(|length| {
            let (field, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            let field = field.split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(field).trim().to_owned()
        });
        let mut next = || texts.next().unwrap_or_default();
        Ok(DeviceInfo { issuer: next(), name: next(), serial: next() })
    }

    /// SDF_GenerateRandom, in parts that every device takes.
    pub fn random(&mut self, out: &mut [u8]) -> Result<(), FfiError> {
        const CALL: &str = "SDF_GenerateRandom";
        // SAFETY: GM/T 0018: int SDF_GenerateRandom(void *hSessionHandle, unsigned int uiLength,
        // unsigned char *pucRandom)
        let generate = unsafe { self.library().function::<GenerateRandom>(CALL) }?;
        for part in out.chunks_mut(MAX_RANDOM) {
            let length = c_uint::try_from(part.len()).unwrap_or(0);
            // SAFETY: the session is open; `part` has `length` bytes
            check(CALL, unsafe { generate(self.handle.as_ptr(), length, part.as_mut_ptr()) })?;
        }
        Ok(())
    }

    /// SDF_GetPrivateKeyAccessRight: this session may use the key from now on.
    pub fn access_right(&mut self, index: u32, password: &[u8]) -> Result<(), FfiError> {
        const CALL: &str = "SDF_GetPrivateKeyAccessRight";
        // SAFETY: GM/T 0018: int SDF_GetPrivateKeyAccessRight(void *hSessionHandle, unsigned int uiKeyIndex,
        // unsigned char *pucPassword, unsigned int uiPwdLength)
        let get = unsafe { self.library().function::<GetAccessRight>(CALL) }?;
        let too_long = FfiError::Call { call: CALL, code: Code::INARGERR };
        let length = c_uint::try_from(password.len()).map_err(|_| too_long)?;
        // the C prototype lets it write there: a copy, wiped
        let mut password = zeroize::Zeroizing::new(password.to_vec());
        // SAFETY: the session is open; `password` has `length` bytes and outlives the call
        check(CALL, unsafe { get(self.handle.as_ptr(), index, password.as_mut_ptr(), length) })
    }

    /// SDF_ReleasePrivateKeyAccessRight.
    pub fn release_access_right(&mut self, index: u32) -> Result<(), FfiError> {
        const CALL: &str = "SDF_ReleasePrivateKeyAccessRight";
        // SAFETY: GM/T 0018: int SDF_ReleasePrivateKeyAccessRight(void *hSessionHandle, unsigned int uiKeyIndex)
        let release = unsafe { self.library().function::<ReleaseAccessRight>(CALL) }?;
        // SAFETY: the session is open
        check(CALL, unsafe { release(self.handle.as_ptr(), index) })
    }

    fn export(&mut self, index: u32, fill: u8) -> Result<Buffer, FfiError> {
        const CALL: &str = "SDF_ExportSignPublicKey_ECC";
        // SAFETY: GM/T 0018: int SDF_ExportSignPublicKey_ECC(void *hSessionHandle, unsigned int uiKeyIndex,
        // ECCrefPublicKey *pucPublicKey)
        let export = unsafe { self.library().function::<ExportSignPublicKey>(CALL) }?;
        let mut buffer = Buffer::filled(fill);
        // SAFETY: the session is open; the structure has 132 bytes and alignment 4 in its larger layout, the
        // buffer 512 and 8
        check(CALL, unsafe { export(self.handle.as_ptr(), index, buffer.0.as_mut_ptr()) })?;
        Ok(buffer)
    }

    /// Finds out which layout the library has, by the key at this index.
    pub fn detect_layout(&mut self, index: u32) -> Result<Layout, FfiError> {
        let (first, second) = (self.export(index, 0xa5)?, self.export(index, 0x5a)?);
        let probe = Probe { first: &first, second: &second };
        probe.layout().map_err(|seen| FfiError::Undetected { seen })
    }

    /// SDF_ExportSignPublicKey_ECC: x ‖ y of the signing key at an index.
    pub fn sign_public_key(&mut self, index: u32, layout: Layout) -> Result<[u8; 64], FfiError> {
        let buffer = self.export(index, 0)?;
        let call = "SDF_ExportSignPublicKey_ECC";
        layout.read_key(&buffer).ok_or(FfiError::Shape { call, what: "public key", layout })
    }

    /// SDF_InternalSign_ECC: r ‖ s over the 32-byte e = SM3(Z ‖ M), by the signing key at an index.
    pub fn sign(&mut self, index: u32, e: &[u8; 32], layout: Layout) -> Result<[u8; 64], FfiError> {
        const CALL: &str = "SDF_InternalSign_ECC";
        // SAFETY: GM/T 0018: int SDF_InternalSign_ECC(void *hSessionHandle, unsigned int uiISKIndex,
        // unsigned char *pucData, unsigned int uiDataLength, ECCSignature *pucSignature)
        let sign = unsafe { self.library().function::<InternalSign>(CALL) }?;
        let (mut data, mut buffer) = (*e, Buffer::filled(0));
        // SAFETY: the session is open; `data` has 32 bytes; the structure has 128 bytes in its larger layout,
        // the buffer 512
        check(CALL, unsafe {
            sign(self.handle.as_ptr(), index, data.as_mut_ptr(), 32, buffer.0.as_mut_ptr())
        })?;
        layout.read_signature(&buffer).ok_or(FfiError::Shape { call: CALL, what: "signature", layout })
    }

    /// SDF_ExternalVerify_ECC: whether r ‖ s over e verifies by a key given as x ‖ y.
    pub fn verify(
        &mut self,
        point: &[u8; 64],
        e: &[u8; 32],
        signature: &[u8; 64],
        layout: Layout,
    ) -> Result<bool, FfiError> {
        const CALL: &str = "SDF_ExternalVerify_ECC";
        // SAFETY: GM/T 0018: int SDF_ExternalVerify_ECC(void *hSessionHandle, unsigned int uiAlgID,
        // ECCrefPublicKey *pucPublicKey, unsigned char *pucDataInput, unsigned int uiInputLength,
        // ECCSignature *pucSignature)
        let verify = unsafe { self.library().function::<ExternalVerify>(CALL) }?;
        let mut key = layout.write_key(point);
        let mut signature = layout.write_signature(signature);
        let mut data = *e;
        let (key, signature) = (key.0.as_mut_ptr(), signature.0.as_mut_ptr());
        // SAFETY: the session is open; key and signature are buffers of 512 bytes that outlive the call, `data`
        // has 32 bytes
        let returned =
            unsafe { verify(self.handle.as_ptr(), SGD_SM2_1, key, data.as_mut_ptr(), 32, signature) };
        match check(CALL, returned) {
            Ok(()) => Ok(true),
            Err(FfiError::Call { code: Code::VERIFYERR, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: GM/T 0018: int SDF_CloseSession(void *hSessionHandle)
        let Ok(close) = (unsafe { self.library().function::<Close>("SDF_CloseSession") }) else { return };
        // a session of a device that is gone cannot be closed: nothing follows from it
        // SAFETY: the session is open, and nobody uses the handle afterwards
        let _ = unsafe { close(self.handle.as_ptr()) };
    }
}

fn check(call: &'static str, returned: c_int) -> Result<(), FfiError> {
    match Code::of(returned) {
        None => Ok(()),
        Some(code) => Err(FfiError::Call { call, code }),
    }
}
