//! Exit codes: what a service manager or a script learns from the end of `xinguan`.

/// How the program ended. The numbers are part of the interface: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// done, or drained and stopped as asked
    Ok = 0,
    /// a check found something that fails (`doctor`, `verify`); the program itself worked
    CheckFailed = 1,
    /// wrong command line (clap uses the same number)
    Usage = 2,
    /// the configuration, or a file it names, is not acceptable: restarting does not help
    BadConfig = 3,
    /// the keystore cannot be opened or has no such key
    Keystore = 4,
    /// state or journal cannot be opened or written: look at the disk
    Storage = 5,
    /// an address cannot be listened on
    Listen = 6,
    // 7 is kept free: a gateway whose ledger contradicts itself stays up, so that its admin listener can say why
    /// the case was opened: the box stays closed until an operator releases it
    Tampered = 8,
    /// a mistake of this program
    Internal = 70,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
