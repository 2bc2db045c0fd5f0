//! The bounded queue to the one thread that owns a disk.
//!
//! Two bounds: `capacity` for what anybody sends, and one reserved place for the outcome of each open
//! intent, so that an outcome is never refused. While the thread syncs, jobs gather; it then takes all of
//! them for the next sync (group commit).

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Why a job was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Busy,
    Closed(String),
}

struct Job<J> {
    job: J,
    size: usize,
    reserved: bool,
}

struct State<J> {
    jobs: VecDeque<Job<J>>,
    /// jobs that are not in a reserved place
    common: usize,
    reserved: usize,
    closing: bool,
    dead: Option<String>,
}

pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    capacity: usize,
    max_reserved: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new(capacity: usize, max_reserved: usize) -> Self {
        let state = State { jobs: VecDeque::new(), common: 0, reserved: 0, closing: false, dead: None };
        Self { state: Mutex::new(state), ready: Condvar::new(), capacity, max_reserved }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a job.
    pub(crate) fn push(&self, job: J, size: usize) -> Result<(), Refused> {
        let mut s = self.lock();
        s.check()?;
        self.push_common(&mut s, job, size)
    }

    /// Sends a job and reserves a place for the one that must follow it.
    pub(crate) fn push_and_reserve(&self, job: J, size: usize) -> Result<(), Refused> {
        let mut s = self.lock();
        s.check()?;
        if s.reserved >= self.max_reserved {
            return Err(Refused::Busy);
        }
        self.push_common(&mut s, job, size)?;
        s.reserved += 1;
        Ok(())
    }

    fn push_common(&self, s: &mut State<J>, job: J, size: usize) -> Result<(), Refused> {
        if s.common >= self.capacity {
            return Err(Refused::Busy);
        }
        s.common += 1;
        s.jobs.push_back(Job { job, size, reserved: false });
        self.ready.notify_one();
        Ok(())
    }

    /// Sends a job into a place reserved before; refused only if the thread has died.
    pub(crate) fn push_reserved(&self, job: J, size: usize) -> Result<(), Refused> {
        let mut s = self.lock();
        if let Some(why) = &s.dead {
            return Err(Refused::Closed(why.clone()));
        }
        s.jobs.push_back(Job { job, size, reserved: true });
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes as many as fit into one sync, at least one; none when all is done.
    pub(crate) fn take(&self, max_bytes: usize) -> Option<Vec<J>> {
        let mut s = self.lock();
        while s.jobs.is_empty() {
            if s.closing {
                return None;
            }
            s = self.ready.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut out, mut bytes) = (Vec::new(), 0usize);
        while let Some(next) = s.jobs.front() {
            bytes = bytes.saturating_add(next.size);
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            if let Some(taken) = s.jobs.pop_front() {
                if taken.reserved {
                    s.reserved = s.reserved.saturating_sub(1);
                } else {
                    s.common = s.common.saturating_sub(1);
                }
                out.push(taken.job);
            }
        }
        Some(out)
    }

    /// No further job is taken; the thread ends when the queue is empty. No guard is open then: each holds
    /// the worker.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.ready.notify_all();
    }

    /// The thread ends now. Gives back what it will not do.
    pub(crate) fn die(&self, why: &str) -> Vec<J> {
        let mut s = self.lock();
        s.dead.get_or_insert_with(|| why.to_owned());
        s.jobs.drain(..).map(|j| j.job).collect()
    }

    /// Why the thread has ended, if it has.
    pub(crate) fn death(&self) -> Option<String> {
        self.lock().dead.clone()
    }
}

impl<J> State<J> {
    fn check(&self) -> Result<(), Refused> {
        match &self.dead {
            Some(why) => Err(Refused::Closed(why.clone())),
            None if self.closing => Err(Refused::Closed("shut down".to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_busy_but_outcomes_have_their_place() {
        let q = Queue::new(2, 1);
        q.push_and_reserve('i', 1).unwrap();
        assert_eq!(q.push_and_reserve('j', 1), Err(Refused::Busy), "one intent may be open");
        q.push('a', 1).unwrap();
        assert_eq!(q.push('b', 1), Err(Refused::Busy));
        q.push_reserved('o', 1).unwrap();
        assert_eq!(q.take(100), Some(vec!['i', 'a', 'o']));
        q.push_and_reserve('j', 1).unwrap();
    }

    #[test]
    fn a_batch_is_bounded_but_never_empty() {
        let q = Queue::new(9, 0);
        for size in [5, 5, 50, 1] {
            q.push(size, size).unwrap();
        }
        assert_eq!(q.take(10), Some(vec![5, 5]));
        assert_eq!(q.take(10), Some(vec![50]));
        assert_eq!(q.take(10), Some(vec![1]));
    }

    #[test]
    fn closing_finishes_what_is_queued_and_dying_does_not() {
        let q = Queue::new(9, 9);
        q.push('x', 1).unwrap();
        q.close();
        assert!(matches!(q.push('y', 1), Err(Refused::Closed(_))));
        assert_eq!(q.take(9), Some(vec!['x']));
        assert_eq!(q.take(9), None);

        let q = Queue::new(9, 9);
        q.push('x', 1).unwrap();
        assert_eq!(q.die("first"), ['x']);
        q.die("second");
        assert_eq!(q.push('y', 1), Err(Refused::Closed("first".into())));
        assert_eq!(q.push_reserved('y', 1), Err(Refused::Closed("first".into())));
        assert_eq!(q.death().as_deref(), Some("first"));
    }
}
