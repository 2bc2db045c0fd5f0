//! The ioctls of Linux' watchdog device: the unsafe part, nothing else.
//!
//! No safe crate has them. Numbers and types are those of the kernel's `uapi/linux/watchdog.h`, which is stable;
//! see its `watchdog-api.rst`. The file may be any file: a driver that does not know the number answers `ENOTTY`.

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::{ffi::c_int, fs::File, io};

/// `WDIOC_SETTIMEOUT`: seconds in, seconds as the hardware rounds them out.
const SET_TIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);

/// Sets the time-out in seconds. Returns what the hardware took, which may be another value.
#[expect(unsafe_code, reason = "an ioctl without a safe wrapper anywhere")]
pub fn set_timeout(device: &File, seconds: i32) -> io::Result<i32> {
    let mut value: c_int = seconds;
    // SAFETY: the kernel reads and writes one c_int at the pointer for this number; `value` is one, is initialized and
    // outlives the call. A driver that gives the number another meaning would not be a watchdog; 'W' 6 is no other
    // in-kernel interface's.
    unsafe { ioctl(device, Updater::<SET_TIMEOUT, c_int>::new(&mut value)) }?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_kernels() {
        // _IOWR('W', 6, int) on x86-64 and aarch64: direction 3, size 4, type 0x57, number 6
        assert_eq!(SET_TIMEOUT, 0xc004_5706);
    }

    #[test]
    fn a_file_that_is_no_watchdog_says_so() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(set_timeout(&file, 30).unwrap_err().raw_os_error(), Some(25), "ENOTTY");
    }
}
