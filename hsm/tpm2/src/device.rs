//! One device: a lock with a bounded queue, a chip that is connected when it is needed, keys in its slots.

use crate::{
    chip::{self, Chip},
    command::Entity,
    commands::{
        self,
        keys::{self, Blob, Object},
        management::{self, ChipInfo},
    },
    error::TpmError,
    rc,
    secret::Secret,
    session::SaltKey,
    template,
    transport::{Cancel, Connect},
};
use hsm_api::Entropy;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How the device is used.
pub(crate) struct DeviceOptions {
    pub(crate) transport: Arc<dyn Connect>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// the storage key's persistent handle
    pub(crate) storage_handle: u32,
    pub(crate) owner_auth: Secret,
    /// the longest time for one command
    pub(crate) budget: Duration,
    /// how many callers may wait
    pub(crate) queue: usize,
    /// how long a caller waits for his turn
    pub(crate) patience: Duration,
}

/// A chip behind a lock.
pub(crate) struct Device {
    options: DeviceOptions,
    /// the storage key's name, known from the first connection on
    pin: Mutex<Option<Vec<u8>>>,
    line: Mutex<Line>,
    freed: Condvar,
    state: Mutex<State>,
    canceller: Mutex<Option<Arc<dyn Cancel>>>,
    closed: Mutex<Option<String>>,
}

struct Line {
    busy: bool,
    waiting: usize,
}

struct State {
    open: Option<Open>,
}

/// A connected chip, started and with salted sessions.
pub(crate) struct Open {
    pub(crate) chip: Chip,
    pub(crate) info: ChipInfo,
    /// the parent of all keys
    pub(crate) storage: Entity,
    /// most recently used last
    loaded: Vec<Loaded>,
}

struct Loaded {
    private: Vec<u8>,
    entity: Entity,
}

/// The turn of one caller; the next one's when it is dropped.
struct Turn<'a>(&'a Device);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.line).busy = false;
        self.0.freed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    pub(crate) fn new(options: DeviceOptions, pin: Option<Vec<u8>>) -> Self {
        Self {
            options,
            pin: Mutex::new(pin),
            line: Mutex::new(Line { busy: false, waiting: 0 }),
            freed: Condvar::new(),
            state: Mutex::new(State { open: None }),
            canceller: Mutex::new(None),
            closed: Mutex::new(None),
        }
    }

    pub(crate) fn place(&self) -> String {
        self.options.transport.place()
    }
    pub(crate) fn owner_auth(&self) -> &Secret {
        &self.options.owner_auth
    }
    pub(crate) fn entropy(&self) -> Arc<dyn Entropy> {
        self.options.entropy.clone()
    }
    /// The storage key's name, once a chip was seen.
    pub(crate) fn pin(&self) -> Option<Vec<u8>> {
        lock(&self.pin).clone()
    }

    /// Waits for its turn; a full line, or one that does not move, is busy.
    fn queue(&self) -> Result<Turn<'_>, TpmError> {
        let deadline = Instant::now() + self.options.patience;
        let mut line = lock(&self.line);
        if line.busy && line.waiting >= self.options.queue {
            return Err(TpmError::Queue);
        }
        line.waiting += 1;
        while line.busy {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                line.waiting -= 1;
                return Err(TpmError::Queue);
            }
            let woken = self.freed.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner);
            line = woken.0;
        }
        line.waiting -= 1;
        line.busy = true;
        Ok(Turn(self))
    }

    /// Runs `work` on the connected chip. What the chip forgot in between (a reset, handles flushed by
    /// others) is brought back once, and so is room in its slots; then `work` is done again. Commands that a chip
    /// refuses for these reasons had no effect, so `work` must change something only in its last command.
    pub(crate) fn with<T>(
        &self,
        mut work: impl FnMut(&mut Open) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let _turn = self.queue()?;
        self.refuse_if_closed()?;
        let mut state = lock(&self.state);
        let mut result = self.attempt(&mut state, &mut work);
        if result.as_ref().is_err_and(rc::is_memory)
            && let Some(open) = &mut state.open
        {
            open.flush_keys();
            open.chip.drop_sessions();
            result = self.attempt(&mut state, &mut work);
        }
        // a new connection also sweeps out what nobody knows of: handles whose numbers were lost on the bus
        if result.as_ref().is_err_and(|e| e.is_stale() || rc::is_memory(e)) {
            state.open = None;
            result = self.attempt(&mut state, &mut work);
        }
        if let Err(e) = &mut result {
            self.after_failure(&mut state, e);
        }
        // a tamper switch may have closed it meanwhile: what was made then does not leave
        self.refuse_if_closed()?;
        result
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        work: &mut impl FnMut(&mut Open) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let open = match &mut state.open {
            Some(open) => open,
            none => none.insert(self.connect()?),
        };
        work(open)
    }

    fn after_failure(&self, state: &mut State, e: &mut TpmError) {
        if let (TpmError::Lockout { wait }, Some(open)) = (&mut *e, &mut state.open)
            && let Ok(info) = management::lockout(&mut open.chip)
        {
            *wait = info.wait();
        }
        if e.breaks_link() || e.is_stale() || rc::is_memory(e) {
            state.open = None;
            *lock(&self.canceller) = None;
        } else if let Some(open) = &mut state.open {
            // no HMAC covers the handle in an answer to Load: a changed one shows when it is used
            open.flush_keys();
        }
    }

    fn refuse_if_closed(&self) -> Result<(), TpmError> {
        match &*lock(&self.closed) {
            Some(why) => Err(TpmError::Closed(why.clone())),
            None => Ok(()),
        }
    }

    /// From now on nothing is signed; session keys are wiped, as soon as a command in flight is done.
    pub(crate) fn close(&self, why: &str) {
        lock(&self.closed).get_or_insert_with(|| why.to_owned());
        drop(self.cancel());
        lock(&self.state).open = None;
    }

    /// Lets the chip go; the next call connects again.
    pub(crate) fn disconnect(&self) -> Result<(), TpmError> {
        let _turn = self.queue()?;
        let mut state = lock(&self.state);
        if let Some(mut open) = state.open.take() {
            open.flush_keys();
            open.chip.drop_sessions();
            // behind a resource manager the chip's power is the kernel's business; a chip that is gone is let go
            if !self.options.transport.is_shared() {
                drop(management::shutdown(&mut open.chip));
            }
        }
        *lock(&self.canceller) = None;
        Ok(())
    }

    /// Asks the chip to stop what it is doing; nothing to do if it is idle.
    pub(crate) fn cancel(&self) -> Result<(), TpmError> {
        let busy = lock(&self.line).busy;
        let canceller = lock(&self.canceller).clone();
        match canceller {
            Some(c) if busy => c.cancel(),
            None if busy => Err(TpmError::CannotCancel { place: self.place() }),
            _ => Ok(()),
        }
    }

    /// Connects, starts the chip, and checks that it is the pinned one.
    fn connect(&self) -> Result<Open, TpmError> {
        let o = &self.options;
        let transport = o.transport.connect(o.budget)?;
        *lock(&self.canceller) = transport.canceller();
        let mut chip = Chip::new(transport, o.entropy.clone(), o.budget);
        management::startup(&mut chip)?;
        if !o.transport.is_shared() {
            chip::sweep(&mut chip)?;
        }
        let info = management::info(&mut chip)?;
        let storage = self.storage_key(&mut chip)?;
        let point = template::point(&storage.public)
            .ok_or_else(|| TpmError::Lacks { what: "elliptic storage key".to_owned() })?;
        chip.salt_with(SaltKey { handle: storage.entity.handle, point });
        Ok(Open { chip, info, storage: storage.entity, loaded: Vec::new() })
    }

    /// The storage key, if it is the pinned one, or if there is no pin yet.
    fn storage_key(&self, chip: &mut Chip) -> Result<Object, TpmError> {
        let handle = self.options.storage_handle;
        let found = match keys::read_public(chip, handle) {
            Ok(object) => object,
            // nothing there: a new chip, or one whose persistent objects were removed
            Err(TpmError::Stale { .. }) => self.make_storage_key(chip)?,
            Err(e) => return Err(e),
        };
        let mut pin = lock(&self.pin);
        match &*pin {
            Some(expected) if *expected != found.entity.name => Err(TpmError::PinMismatch {
                expected: hex::encode(expected),
                found: hex::encode(&found.entity.name),
            }),
            Some(_) => Ok(found),
            None if is_storage_key(&found) => {
                *pin = Some(found.entity.name.clone());
                Ok(found)
            }
            None => Err(TpmError::HandleTaken { handle, found: hex::encode(&found.entity.name) }),
        }
    }

    /// Makes the storage key from the owner's seed, always the same one, and persists it.
    fn make_storage_key(&self, chip: &mut Chip) -> Result<Object, TpmError> {
        let auth = &self.options.owner_auth;
        let made = keys::create_primary(chip, &Entity::owner(), auth, &template::storage())?;
        let handle = self.options.storage_handle;
        let kept = keys::evict_control(chip, auth, &made.entity, handle);
        commands::flush(chip, made.entity.handle)?;
        kept?;
        let entity = Entity { handle, name: made.entity.name };
        Ok(Object { entity, public: made.public })
    }
}

/// A key made by our template has all of it but the point.
fn is_storage_key(object: &Object) -> bool {
    let mut like = template::storage();
    like.unique = object.public.unique.clone();
    like == object.public
}

impl Open {
    /// How many keys stay loaded: a parent that lies in NV needs a slot while it is used.
    fn places(&self) -> usize {
        usize::try_from(self.info.transient_slots).unwrap_or(3).saturating_sub(1).max(1)
    }

    /// A key of ours, in a slot of the chip.
    pub(crate) fn key(&mut self, blob: &Blob) -> Result<Entity, TpmError> {
        if let Some(at) = self.loaded.iter().position(|l| l.private == blob.private) {
            let used = self.loaded.remove(at);
            let entity = used.entity.clone();
            self.loaded.push(used);
            return Ok(entity);
        }
        let most = self.places().saturating_sub(1);
        while self.loaded.len() > most {
            self.flush_oldest();
        }
        let object = keys::load(&mut self.chip, &self.storage, blob)?;
        self.loaded.push(Loaded { private: blob.private.clone(), entity: object.entity.clone() });
        Ok(object.entity)
    }

    fn flush_oldest(&mut self) {
        if !self.loaded.is_empty() {
            let oldest = self.loaded.remove(0);
            drop(commands::flush(&mut self.chip, oldest.entity.handle));
        }
    }

    /// Frees all slots.
    pub(crate) fn flush_keys(&mut self) {
        while !self.loaded.is_empty() {
            self.flush_oldest();
        }
    }
}
