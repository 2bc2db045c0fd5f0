//! Sessions to a device: bounded, reused, and made anew when the device was lost.
//!
//! One connection holds many sessions; a session works for one caller at a time. When a call says that the
//! device is lost, connection and sessions are given up and the call is made once more on a new connection:
//! a device that is back works at once, one that is not gives its error. A new connection is made only when
//! no session of the old one is in use, because a C library may free what a running call still needs.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How to reach a device.
pub trait Connect: Send + Sync {
    /// What sessions are opened on; dropped after the last of them.
    type Connection: Send + Sync;
    /// What calls are made with.
    type Session: Send;
    /// Why it fails.
    type Error;
    /// Reaches the device and authenticates. Called by one thread at a time, with no session open.
    fn connect(&self) -> Result<Self::Connection, Self::Error>;
    /// Opens one more session; it must keep the connection alive.
    fn open(&self, connection: &Arc<Self::Connection>) -> Result<Self::Session, Self::Error>;
    /// Whether the connection and its sessions are of no use after this.
    fn is_lost(&self, error: &Self::Error) -> bool;
    /// What a caller gets for whom no session came free in time.
    fn busy(&self) -> Self::Error;
}

/// How far a pool goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// the most sessions at a time; at least 1
    pub sessions: usize,
    /// how long a caller waits for one
    pub patience: Duration,
}

impl Default for Limits {
    /// Four sessions, five seconds: a chip is slow, and what waits longer than its request's deadline is lost.
    fn default() -> Self {
        Self { sessions: 4, patience: Duration::from_secs(5) }
    }
}

/// The sessions to one device.
pub struct Pool<C: Connect> {
    device: C,
    limits: Limits,
    state: Mutex<State<C>>,
    changed: Condvar,
}

struct State<C: Connect> {
    connection: Option<Arc<C::Connection>>,
    /// counts connections: a session of an older one is dropped, not reused
    generation: u64,
    idle: Vec<C::Session>,
    in_use: usize,
    connecting: bool,
}

impl<C: Connect> Pool<C> {
    /// No connection is made before the first call.
    pub fn new(device: C, limits: Limits) -> Self {
        let limits = Limits { sessions: limits.sessions.max(1), ..limits };
        let state = State { connection: None, generation: 0, idle: Vec::new(), in_use: 0, connecting: false };
        Self { device, limits, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The device.
    pub fn device(&self) -> &C {
        &self.device
    }

    /// Calls `work` with a session; a second time, with a new one, if the device was lost in between.
    pub fn with<T>(&self, work: impl Fn(&mut C::Session) -> Result<T, C::Error>) -> Result<T, C::Error> {
        match self.attempt(&work) {
            Err(e) if self.device.is_lost(&e) => self.attempt(&work),
            other => other,
        }
    }

    fn attempt<T>(&self, work: impl Fn(&mut C::Session) -> Result<T, C::Error>) -> Result<T, C::Error> {
        let mut lease = self.lease()?;
        let result = match lease.session()? {
            Some(session) => work(session),
            None => Err(self.device.busy()),
        };
        lease.end(result.as_ref().err());
        result
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place among the sessions, and makes the connection if there is none.
    fn lease(&self) -> Result<Lease<'_, C>, C::Error> {
        let deadline = Instant::now() + self.limits.patience;
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.connection.clone() {
                if state.in_use < self.limits.sessions {
                    state.in_use += 1;
                    let (generation, session) = (state.generation, state.idle.pop());
                    return Ok(Lease { pool: self, connection: Some(connection), generation, session });
                }
            } else if !state.connecting && state.in_use == 0 {
                state.connecting = true;
                drop(state);
                self.connect()?;
                state = self.lock();
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.device.busy());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Connects without holding the lock, so that those who wait still see their deadlines.
    fn connect(&self) -> Result<(), C::Error> {
        let ended = Connecting { pool: self };
        let connection = self.device.connect()?;
        let mut state = self.lock();
        state.connection = Some(Arc::new(connection));
        state.generation += 1;
        drop(state);
        drop(ended);
        Ok(())
    }
}

/// Whatever happens while connecting, the next caller may try.
struct Connecting<'a, C: Connect> {
    pool: &'a Pool<C>,
}

impl<C: Connect> Drop for Connecting<'_, C> {
    fn drop(&mut self) {
        self.pool.lock().connecting = false;
        self.pool.changed.notify_all();
    }
}

/// A place among the sessions; given back on every way out, a panic's too.
struct Lease<'a, C: Connect> {
    pool: &'a Pool<C>,
    connection: Option<Arc<C::Connection>>,
    generation: u64,
    session: Option<C::Session>,
}

impl<C: Connect> Lease<'_, C> {
    fn session(&mut self) -> Result<Option<&mut C::Session>, C::Error> {
        if let (None, Some(connection)) = (&self.session, &self.connection) {
            match self.pool.device.open(connection) {
                Ok(session) => self.session = Some(session),
                Err(e) => {
                    self.give_up(&e);
                    return Err(e);
                }
            }
        }
        Ok(self.session.as_mut())
    }

    /// A session that failed is not used again: an operation may be left open in it.
    fn end(mut self, error: Option<&C::Error>) {
        if let Some(e) = error {
            self.give_up(e);
            return;
        }
        let session = self.session.take();
        let mut state = self.pool.lock();
        if state.generation == self.generation && state.connection.is_some() {
            state.idle.extend(session);
        }
    }

    fn give_up(&mut self, error: &C::Error) {
        self.session = None;
        if !self.pool.device.is_lost(error) {
            return;
        }
        let mut state = self.pool.lock();
        if state.generation == self.generation {
            let old = (std::mem::take(&mut state.idle), state.connection.take());
            drop(state);
            drop(old);
        }
    }
}

impl<C: Connect> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        self.session = None;
        self.connection = None;
        self.pool.lock().in_use -= 1;
        self.pool.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    };

    #[derive(Debug, PartialEq, Eq)]
    enum Fail {
        Lost,
        Work,
        Busy,
    }

    /// Counts what is open, and can be unplugged.
    #[derive(Default)]
    struct Device {
        gone: AtomicBool,
        connections: Arc<AtomicUsize>,
        connects: AtomicUsize,
        sessions: Arc<AtomicUsize>,
        most: AtomicUsize,
    }

    struct Counted(Arc<AtomicUsize>);
    impl Counted {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, SeqCst);
            Self(count.clone())
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }

    struct Session {
        /// which connection it belongs to
        number: usize,
        stale: bool,
        _open: Counted,
        _connection: Arc<(usize, Counted)>,
    }

    impl Connect for &Device {
        type Connection = (usize, Counted);
        type Session = Session;
        type Error = Fail;
        fn connect(&self) -> Result<(usize, Counted), Fail> {
            assert_eq!(self.sessions.load(SeqCst), 0, "sessions are open while connecting");
            assert_eq!(self.connections.load(SeqCst), 0, "two connections");
            if self.gone.load(SeqCst) {
                return Err(Fail::Lost);
            }
            Ok((self.connects.fetch_add(1, SeqCst), Counted::new(&self.connections)))
        }
        fn open(&self, connection: &Arc<(usize, Counted)>) -> Result<Session, Fail> {
            if self.gone.load(SeqCst) {
                return Err(Fail::Lost);
            }
            let open = Counted::new(&self.sessions);
            self.most.fetch_max(self.sessions.load(SeqCst), SeqCst);
            Ok(Session { number: connection.0, stale: false, _open: open, _connection: connection.clone() })
        }
        fn is_lost(&self, error: &Fail) -> bool {
            *error == Fail::Lost
        }
        fn busy(&self) -> Fail {
            Fail::Busy
        }
    }

    fn pool(device: &Device, sessions: usize, patience: Duration) -> Pool<&Device> {
        Pool::new(device, Limits { sessions, patience })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn sessions_are_reused_and_bounded() {
        let device = Device::default();
        let pool = pool(&device, 3, LONG);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..50 {
                        pool.with(|_| {
                            assert!(inside.fetch_add(1, SeqCst) < 3);
                            std::thread::yield_now();
                            inside.fetch_sub(1, SeqCst);
                            Ok(())
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(device.connects.load(SeqCst), 1);
        assert!(device.most.load(SeqCst) <= 3);
        drop(pool);
        assert_eq!((device.sessions.load(SeqCst), device.connections.load(SeqCst)), (0, 0));
    }

    #[test]
    fn several_work_at_the_same_time() {
        let device = Device::default();
        let (pool, meet) = (pool(&device, 2, LONG), Barrier::new(2));
        std::thread::scope(|s| {
            for _ in 0..2 {
                // neither would return alone
                s.spawn(|| pool.with(|_| Ok(meet.wait())).map(drop).unwrap());
            }
        });
    }

    #[test]
    fn who_waits_too_long_is_told_that_it_is_busy() {
        let device = Device::default();
        let pool = pool(&device, 1, Duration::from_millis(20));
        let result = pool.with(|_| Ok(pool.with(|_| Ok(()))));
        assert_eq!(result, Ok(Err(Fail::Busy)));
        assert_eq!(pool.with(|_| Ok(1)), Ok(1));
    }

    #[test]
    fn a_failed_session_is_not_used_again_and_the_connection_stays() {
        let device = Device::default();
        let pool = pool(&device, 1, LONG);
        let spoil = |s: &mut Session| {
            s.stale = true;
            Err::<(), _>(Fail::Work)
        };
        assert_eq!(pool.with(spoil), Err(Fail::Work));
        assert_eq!(pool.with(|s| Ok((s.stale, s.number))), Ok((false, 0)));
    }

    #[test]
    fn a_lost_device_is_an_error_and_one_that_is_back_works_at_once() {
        let device = Device::default();
        let pool = pool(&device, 2, LONG);
        let work = |s: &mut Session| if device.gone.load(SeqCst) { Err(Fail::Lost) } else { Ok(s.number) };
        assert_eq!(pool.with(work), Ok(0));
        device.gone.store(true, SeqCst);
        assert_eq!(pool.with(work), Err(Fail::Lost));
        assert_eq!(pool.with(work), Err(Fail::Lost));
        device.gone.store(false, SeqCst);
        assert_eq!(pool.with(work), Ok(1));
        // its sessions died with a reset, the device is there: nobody notices
        let once = AtomicBool::new(true);
        let reset = |s: &mut Session| if once.swap(false, SeqCst) { Err(Fail::Lost) } else { Ok(s.number) };
        assert_eq!(pool.with(reset), Ok(2));
    }

    #[test]
    fn losses_under_load_end_in_one_new_connection_each() {
        let device = Device::default();
        let pool = pool(&device, 4, LONG);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for i in 0..200 {
                        // sessions of connection n fail once the n-th loss has come
                        let done =
                            pool.with(|s| if i == 100 && s.number == 0 { Err(Fail::Lost) } else { Ok(()) });
                        done.unwrap();
                    }
                });
            }
        });
        assert_eq!(device.connects.load(SeqCst), 2);
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let device = Device::default();
        let pool = pool(&device, 1, LONG);
        let broken = std::thread::scope(|s| {
            s.spawn(|| pool.with(|_| -> Result<(), Fail> { panic!("on purpose") })).join()
        });
        assert!(broken.is_err());
        assert_eq!(pool.with(|_| Ok(1)), Ok(1));
    }
}
