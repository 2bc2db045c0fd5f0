//! Return codes of GM/T 0018 (appendix A), by name.

/// SDR_BASE: the standard's codes begin here.
const BASE: u32 = 0x0100_0000;

/// What a call returned; not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

macro_rules! codes {
    ($($name:ident = $offset:literal, $text:literal;)*) => {
        impl Code {
            $(#[doc = $text] pub const $name: Self = Self(BASE + $offset);)*
            /// The standard's name; none for a vendor's own code.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(concat!("SDR_", stringify!($name))),)*
                    _ => None,
                }
            }
            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "a code of the vendor's own; see its manual",
                }
            }
        }
    };
}

codes! {
    UNKNOWERR = 0x01, "unknown error";
    NOTSUPPORT = 0x02, "the device does not support this call";
    COMMFAIL = 0x03, "no communication with the device";
    HARDFAIL = 0x04, "the device's module does not answer";
    OPENDEVICE = 0x05, "the device cannot be opened";
    OPENSESSION = 0x06, "a session cannot be opened";
    PARDENY = 0x07, "no right to use the private key";
    KEYNOTEXIST = 0x08, "there is no key at this index";
    ALGNOTSUPPORT = 0x09, "the device does not support the algorithm";
    ALGMODNOTSUPPORT = 0x0a, "the device does not support the algorithm's mode";
    PKOPERR = 0x0b, "a public-key operation failed";
    SKOPERR = 0x0c, "a private-key operation failed";
    SIGNERR = 0x0d, "signing failed";
    VERIFYERR = 0x0e, "the signature does not verify";
    SYMOPERR = 0x0f, "a symmetric operation failed";
    STEPERR = 0x10, "a step of an operation is missing";
    FILESIZEERR = 0x11, "a file is too long";
    FILENOEXIST = 0x12, "there is no such file";
    FILEOFSERR = 0x13, "an offset is outside of the file";
    KEYTYPEERR = 0x14, "the key is of another type";
    KEYERR = 0x15, "the key is wrong";
    ENCDATAERR = 0x16, "the encrypted data is wrong";
    RANDERR = 0x17, "no random bytes";
    PRKRERR = 0x18, "the right to use the private key is refused: wrong password";
    MACERR = 0x19, "a MAC failed";
    FILEEXISTS = 0x1a, "there is such a file already";
    FILEWERR = 0x1b, "a file cannot be written";
    NOBUFFER = 0x1c, "a buffer is too small";
    INARGERR = 0x1d, "an argument is wrong";
    OUTARGERR = 0x1e, "an output argument is wrong";
}

impl Code {
    /// None is success.
    pub fn of(returned: i32) -> Option<Self> {
        // the codes are defined as unsigned, the return type as int
        match returned.cast_unsigned() {
            0 => None,
            code => Some(Self(code)),
        }
    }
    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:#010x} {})", self.text(), self.0, self.name().unwrap_or("vendor"))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_success_and_others_have_names() {
        assert_eq!(Code::of(0), None);
        assert_eq!(Code::of(0x0100_0018), Some(Code::PRKRERR));
        assert_eq!(Code::PRKRERR.name(), Some("SDR_PRKRERR"));
        assert_eq!(Code::OUTARGERR.number(), 0x0100_001e);
        let vendor = Code::of(-1).unwrap();
        assert_eq!((vendor.name(), vendor.number()), (None, u32::MAX));
        assert!(vendor.to_string().contains("0xffffffff"), "{vendor}");
    }
}
