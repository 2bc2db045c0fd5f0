//! Finds the token, logs in without ever locking it, opens sessions.

use crate::{
    error::{PinTrouble, Pkcs11Error},
    library::Library,
    options::{Pkcs11Options, TokenName},
};
use cryptoki::{
    error::{Error, RvError},
    object::ObjectHandle,
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::AuthPin,
};
use hsm_api::backend::{Connect, read_secret_line};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The way to one token.
pub(crate) struct Token {
    pub(crate) library: Arc<Library>,
    pub(crate) name: TokenName,
    /// wiped when dropped, hidden in Debug (secrecy)
    pin: AuthPin,
    login_after_wrong_pin: bool,
    /// it has opened this token: if another was wrong since, it was somebody else's
    pin_was_right: AtomicBool,
    /// why the PIN is not tried any more
    pin_trouble: Mutex<Option<PinTrouble>>,
}

/// A token that is logged in to, as long as this session is open: log-in counts for all of the process.
pub(crate) struct Connection {
    pub(crate) slot: Slot,
    _login: Mutex<Session>,
}

/// One session, and the handles that it has seen.
pub(crate) struct TokenSession {
    pub(crate) session: Session,
    /// private keys by name
    pub(crate) handles: BTreeMap<String, ObjectHandle>,
    /// after the session: closing the last one logs out
    pub(crate) connection: Arc<Connection>,
}

impl Token {
    pub(crate) fn new(options: &Pkcs11Options) -> Result<Self, Pkcs11Error> {
        let pin = read_secret_line(&options.pin_file)?;
        Ok(Self {
            library: Library::load(&options.module)?,
            name: options.token.clone(),
            // a copy of its own: turning the string into a box would leave one behind
            pin: AuthPin::new(Box::from(pin.as_str())),
            login_after_wrong_pin: options.login_after_wrong_pin,
            pin_was_right: AtomicBool::new(false),
            pin_trouble: Mutex::new(None),
        })
    }

    pub(crate) fn failed(&self, error: &Error) -> Pkcs11Error {
        Pkcs11Error::call(&self.name, error)
    }

    fn find(&self) -> Result<(Slot, TokenInfo), Pkcs11Error> {
        let pkcs11 = &self.library.pkcs11;
        let slots = pkcs11.get_slots_with_token().map_err(|e| self.failed(&e))?;
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for slot in slots.into_iter().take(256) {
            // a slot that cannot say what it holds does not hide the others
            let Ok(info) = pkcs11.get_token_info(slot) else { continue };
            if !info.token_initialized() {
                continue;
            }
            seen.push(format!("`{}` (serial number {})", info.label(), info.serial_number()));
            if self.is_wanted(&info) {
                found.push((slot, info));
            }
        }
        match (found.len(), found.pop()) {
            (1, Some(token)) => Ok(token),
            (0, _) => {
                let seen = if seen.is_empty() { "no initialized token".to_owned() } else { seen.join(", ") };
                Err(Pkcs11Error::NoToken { wanted: self.name.clone(), seen })
            }
            (count, _) => Err(Pkcs11Error::TwoTokens { wanted: self.name.clone(), count }),
        }
    }

    fn is_wanted(&self, info: &TokenInfo) -> bool {
        match &self.name {
            TokenName::Label(l) => info.label() == l.trim_end(),
            TokenName::Serial(s) => info.serial_number() == s.trim_end(),
        }
    }

    fn pin(&self, trouble: PinTrouble) -> Pkcs11Error {
        Pkcs11Error::Pin { token: self.name.clone(), trouble }
    }

    /// Whether the PIN may be tried at all.
    fn check_pin(&self, info: &TokenInfo) -> Result<(), Pkcs11Error> {
        if let Some(trouble) = *self.pin_trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(self.pin(trouble));
        }
        let trusted = self.login_after_wrong_pin || self.pin_was_right.load(Ordering::Relaxed);
        PinFlags::of(info).trouble(trusted).map_or(Ok(()), |trouble| Err(self.pin(trouble)))
    }

    fn log_in(&self, session: &Session) -> Result<(), Pkcs11Error> {
        let trouble = match session.login(UserType::User, Some(&self.pin)) {
            // another keystore of this process was first
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                self.pin_was_right.store(true, Ordering::Relaxed);
                return Ok(());
            }
            Err(Error::Pkcs11(code, call)) => match code {
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => PinTrouble::Refused,
                RvError::PinLocked => PinTrouble::Locked,
                RvError::PinExpired => PinTrouble::Expired,
                RvError::UserPinNotInitialized => PinTrouble::NotSet,
                _ => return Err(self.failed(&Error::Pkcs11(code, call))),
            },
            Err(e) => return Err(self.failed(&e)),
        };
        // nothing else costs a try
        if trouble == PinTrouble::Refused {
            *self.pin_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
        Err(self.pin(trouble))
    }

    fn reach(&self) -> Result<Connection, Pkcs11Error> {
        let (slot, info) = self.find()?;
        self.check_pin(&info)?;
        let session = self.library.pkcs11.open_ro_session(slot).map_err(|e| self.failed(&e))?;
        self.log_in(&session)?;
        Ok(Connection { slot, _login: Mutex::new(session) })
    }
}

impl Connect for Token {
    type Connection = Connection;
    type Session = TokenSession;
    type Error = Pkcs11Error;

    fn connect(&self) -> Result<Connection, Pkcs11Error> {
        match self.reach() {
            Err(e @ (Pkcs11Error::NoToken { .. } | Pkcs11Error::Lost { .. })) => {
                if self.library.restart()? {
                    self.reach()
                } else {
                    Err(e)
                }
            }
            other => other,
        }
    }

    fn open(&self, connection: &Arc<Connection>) -> Result<TokenSession, Pkcs11Error> {
        let session = self.library.pkcs11.open_ro_session(connection.slot).map_err(|e| self.failed(&e))?;
        Ok(TokenSession { session, handles: BTreeMap::new(), connection: connection.clone() })
    }

    fn is_lost(&self, error: &Pkcs11Error) -> bool {
        matches!(error, Pkcs11Error::Lost { .. } | Pkcs11Error::Gone { .. })
    }

    fn busy(&self) -> Pkcs11Error {
        Pkcs11Error::Busy { token: self.name.clone() }
    }
}

/// What a token says of its user PIN (PKCS#11 2.40, CK_TOKEN_INFO, table 5).
#[derive(Debug, Clone, Copy, Default)]
struct PinFlags {
    initialized: bool,
    count_low: bool,
    final_try: bool,
    locked: bool,
}

impl PinFlags {
    fn of(info: &TokenInfo) -> Self {
        Self {
            initialized: info.user_pin_initialized(),
            count_low: info.user_pin_count_low(),
            final_try: info.user_pin_final_try(),
            locked: info.user_pin_locked(),
        }
    }

    /// Why the PIN must not be tried. `trusted`: it was right before, or the operator says that it is now.
    fn trouble(self, trusted: bool) -> Option<PinTrouble> {
        if self.locked {
            Some(PinTrouble::Locked)
        } else if self.final_try {
            Some(PinTrouble::LastTry)
        } else if !self.initialized {
            Some(PinTrouble::NotSet)
        } else if self.count_low && !trusted {
            Some(PinTrouble::WrongBefore)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SoftHSM never sets the last two flags: here is all that a token can say.
    #[test]
    fn the_last_try_is_never_ours() {
        for bits in 0..32u8 {
            let bit = |n: u8| bits >> n & 1 == 1;
            let (trusted, low, last, locked, set) = (bit(0), bit(1), bit(2), bit(3), bit(4));
            let flags = PinFlags { initialized: set, count_low: low, final_try: last, locked };
            let found = flags.trouble(trusted);
            let may_try = set && !locked && !last && (trusted || !low);
            assert_eq!(found.is_none(), may_try, "{flags:?}");
            assert_eq!(matches!(found, Some(PinTrouble::Locked)), locked, "{flags:?}");
            assert_eq!(matches!(found, Some(PinTrouble::LastTry)), last && !locked, "{flags:?}");
        }
    }
}
