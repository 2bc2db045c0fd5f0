//! One open chip: sends commands, repeats them when the chip asks for it, keeps its sessions.

use crate::{
    command::{Answer, Command, Entity},
    commands,
    error::TpmError,
    rc::{self, Verdict},
    secret::Secret,
    session::{self, Part, SaltKey, Session},
    transport::{Connect, Transport},
    wire::{HEADER_BYTES, MAX_BYTES, NO_SESSIONS, Params, Reader, SESSIONS},
};
use hsm_api::Entropy;
use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// What proves that a handle may be used.
pub enum Auth<'a> {
    /// its authorization value, shown by an HMAC
    Value(&'a Secret),
    /// its authorization value, and another that it has afterwards
    Changes(&'a Secret, &'a Secret),
    /// a policy session that was led through the entity's policy
    Policy(&'a mut PolicySession),
}

/// A policy session; flushed when the command that uses it is done.
pub struct PolicySession(pub(crate) Session);

impl PolicySession {
    /// For the policy commands, which take it as a handle.
    pub fn entity(&self) -> Entity {
        Entity::fixed(self.0.handle)
    }
}

/// The chip does not yet answer for good: how long until it is asked again, doubled up to the limit.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// One open chip. Not shared: the device's lock is around it.
pub struct Chip {
    transport: Box<dyn Transport>,
    entropy: Arc<dyn Entropy>,
    salt_key: Option<SaltKey>,
    sessions: [Option<Session>; 2],
    /// limits every budget; a test of a broken bus does not want to wait for minutes
    longest: Duration,
    response: Zeroizing<Vec<u8>>,
}

impl Chip {
    pub(crate) fn new(transport: Box<dyn Transport>, entropy: Arc<dyn Entropy>, longest: Duration) -> Self {
        let response = Zeroizing::new(vec![0; MAX_BYTES]);
        Self { transport, entropy, salt_key: None, sessions: [None, None], longest, response }
    }

    /// A chip without a keystore: for what a system needs before it has one. Its sessions are salted to nothing, so
    /// whoever sits on the bus may lie in its name.
    pub fn bare(
        transport: &dyn Connect,
        entropy: Arc<dyn Entropy>,
        longest: Duration,
    ) -> Result<Self, TpmError> {
        let mut chip = Self::new(transport.connect(longest)?, entropy, longest);
        commands::management::startup(&mut chip)?;
        if !transport.is_shared() {
            sweep(&mut chip)?;
        }
        Ok(chip)
    }

    /// From here on sessions are salted to this key.
    pub(crate) fn salt_with(&mut self, key: SaltKey) {
        self.salt_key = Some(key);
        self.drop_sessions();
    }

    /// Runs a command outside of any session: only what must be asked before there is one.
    pub(crate) fn run_plain(&mut self, command: Command) -> Result<Answer, TpmError> {
        let frame = frame(&command, None)?;
        let length = self.exchange(&command, &frame)?;
        let body = self.response.get(HEADER_BYTES..length).unwrap_or_default();
        let (handle, rest) = split_handle(&command, body)?;
        Ok(Answer { code: command.code, handle, params: Zeroizing::new(rest.to_vec()) })
    }

    /// Runs a command in sessions: one for each authorization, at least one. After a failure the sessions are
    /// dropped: the chip may have rolled nonces that we did not see.
    pub(crate) fn run(&mut self, command: Command, auths: &mut [Auth<'_>]) -> Result<Answer, TpmError> {
        for slot in 0..auths.len().max(1) {
            let policy = matches!(auths.get(slot), Some(Auth::Policy(_)));
            if !policy && self.sessions.get(slot).is_some_and(Option::is_none) {
                let session = self.start_session(false)?;
                if let Some(place) = self.sessions.get_mut(slot) {
                    *place = Some(session);
                }
            }
        }
        let mut sessions = std::mem::take(&mut self.sessions);
        let result = self.run_with(command, &mut sessions, auths);
        self.sessions = sessions;
        if result.is_err() {
            self.drop_sessions();
        }
        result
    }

    fn run_with(
        &mut self,
        mut command: Command,
        sessions: &mut [Option<Session>; 2],
        auths: &mut [Auth<'_>],
    ) -> Result<Answer, TpmError> {
        let none = Secret::empty();
        let mut parts = parts(sessions, auths, &none);
        for part in &mut parts {
            part.session.roll(&*self.entropy)?;
        }
        let area = session::authorize(&mut command, &mut parts)?;
        let frame = frame(&command, Some(&area))?;
        let length = self.exchange(&command, &frame)?;
        let body = self.response.get(HEADER_BYTES..length).unwrap_or_default();
        let (handle, rest) = split_handle(&command, body)?;
        let mut reader = Reader::new(command.code, rest);
        let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let mut params = Zeroizing::new(reader.take(size)?.to_vec());
        session::accept(&command, &mut parts, &mut params, reader.rest())?;
        Ok(Answer { code: command.code, handle, params })
    }

    /// Starts a policy session. End it with [`Self::end_policy`].
    pub fn start_policy(&mut self) -> Result<PolicySession, TpmError> {
        self.start_session(true).map(PolicySession)
    }

    /// Flushes a policy session; a chip that went away has forgotten it anyway.
    pub fn end_policy(&mut self, policy: PolicySession) {
        drop(commands::flush(self, policy.0.handle));
    }

    fn start_session(&mut self, policy: bool) -> Result<Session, TpmError> {
        let salt = self.salt_key.as_ref().map(|k| k.salt(&*self.entropy)).transpose()?;
        let nonce = Session::fresh_nonce(&*self.entropy)?;
        let key = self.salt_key.as_ref().map_or(Entity::null().handle, |k| k.handle);
        let encrypted = salt.as_ref().map(|s| &s.encrypted[..]).unwrap_or_default();
        let (handle, nonce_chip) = commands::start_auth_session(self, key, &nonce, encrypted, policy)?;
        let session = Session::started(handle, salt.as_ref(), nonce, &nonce_chip, policy);
        if session.is_err() {
            drop(commands::flush(self, handle));
        }
        session
    }

    /// Flushes the sessions, as far as the chip still answers.
    pub(crate) fn drop_sessions(&mut self) {
        for session in std::mem::take(&mut self.sessions).into_iter().flatten() {
            drop(commands::flush(self, session.handle));
        }
    }

    /// Sends a frame until the chip answers for good or the budget is spent. Gives the response's length.
    fn exchange(&mut self, command: &Command, frame: &[u8]) -> Result<usize, TpmError> {
        let budget = command.budget.min(self.longest);
        let deadline = Instant::now() + budget;
        let mut wait = FIRST_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TpmError::StillBusy { command: command.name(), waited: budget });
            }
            let length = self.transport.transmit(frame, &mut self.response, left);
            let length = length.map_err(|e| named(e, command, budget))?;
            let code = check_header(command, self.response.get(..length).unwrap_or_default())?;
            match rc::judge(command.code, code) {
                Verdict::Done => return Ok(length),
                Verdict::Failed(e) => return Err(e),
                Verdict::Again => pause(wait.min(left)),
            }
            wait = (wait * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Flushes what earlier connections left in the chip. It is ours alone: there is no resource manager.
pub(crate) fn sweep(chip: &mut Chip) -> Result<(), TpmError> {
    const TRANSIENT: u32 = 0x8000_0000;
    const LOADED_SESSIONS: u32 = 0x0200_0000;
    const SAVED_SESSIONS: u32 = 0x0300_0000;
    for kind in [TRANSIENT, LOADED_SESSIONS, SAVED_SESSIONS] {
        for handle in commands::management::handles(chip, kind)? {
            commands::flush(chip, handle)?;
        }
    }
    Ok(())
}

/// A transport does not know which command it carries.
fn named(e: TpmError, command: &Command, budget: Duration) -> TpmError {
    match e {
        TpmError::TimedOut { .. } => TpmError::TimedOut { command: command.name(), budget },
        TpmError::Malformed { what, .. } => TpmError::Malformed { command: command.name(), what },
        other => other,
    }
}

/// Waits without anything to wait for: the chip tells nobody when it is ready.
pub(crate) fn pause(time: Duration) {
    let (_keep, nothing) = mpsc::channel::<()>();
    // an error either way: the time is over
    let _over = nothing.recv_timeout(time);
}

fn parts<'a>(
    sessions: &'a mut [Option<Session>; 2],
    auths: &'a mut [Auth<'_>],
    none: &'a Secret,
) -> Vec<Part<'a>> {
    let mut free = sessions.iter_mut();
    if auths.is_empty() {
        let only = free.find_map(Option::as_mut);
        return only
            .map(|session| Part { session, auth: none, auth_after: None, authorizes: false })
            .into_iter()
            .collect();
    }
    auths
        .iter_mut()
        .zip(free)
        .filter_map(|(auth, slot)| {
            let (session, auth, auth_after) = match auth {
                Auth::Value(v) => (slot.as_mut()?, &**v, None),
                Auth::Changes(before, after) => (slot.as_mut()?, &**before, Some(&**after)),
                Auth::Policy(p) => (&mut p.0, none, None),
            };
            Some(Part { session, auth, auth_after, authorizes: true })
        })
        .collect()
}

fn frame(command: &Command, area: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let mut body = Params::new();
    for h in &command.handles {
        body = body.u32(h.handle);
    }
    if let Some(area) = area {
        body = body.u32(u32::try_from(area.len()).unwrap_or(u32::MAX)).raw(area);
    }
    let body = body.raw(&command.params).finish(command.code)?;
    let tag = if area.is_some() { SESSIONS } else { NO_SESSIONS };
    let size = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    Params::new().u16(tag).u32(size).u32(command.code.value()).raw(&body).finish(command.code)
}

/// Gives the response code of a response whose header fits it.
fn check_header(command: &Command, response: &[u8]) -> Result<u32, TpmError> {
    let mut reader = Reader::new(command.code, response);
    let tag = reader.u16()?;
    let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    let code = reader.u32()?;
    if size != response.len() {
        let what = format!("its header says {size} bytes, it has {}", response.len());
        return Err(TpmError::malformed(command.code, what));
    }
    // TPM_ST_RSP_COMMAND: what a TPM 1.2 says to a command it does not know
    if tag == 0x00c4 {
        return Err(TpmError::Lacks { what: "TPM 2.0 commands (it is a TPM 1.2)".to_owned() });
    }
    if tag != NO_SESSIONS && tag != SESSIONS {
        return Err(TpmError::malformed(command.code, format!("tag {tag:#06x}")));
    }
    Ok(code)
}

fn split_handle<'a>(command: &Command, body: &'a [u8]) -> Result<(u32, &'a [u8]), TpmError> {
    let mut reader = Reader::new(command.code, body);
    let handle = if command.handles_out == 0 { 0 } else { reader.u32()? };
    Ok((handle, reader.rest()))
}

impl std::fmt::Debug for Chip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chip")
    }
}

#[cfg(test)]
mod tests;
