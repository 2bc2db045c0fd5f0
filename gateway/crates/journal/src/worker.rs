//! The one thread that owns a disk, and its end.

use crate::{
    error::JournalError,
    log::MAX_BATCH_BYTES,
    queue::{Queue, Refused},
};
use std::{sync::Arc, thread::JoinHandle};
use tokio::sync::oneshot;

/// What the thread does: batches of jobs, each with one sync.
pub(crate) trait Work: Send + 'static {
    /// What callers send.
    type Job: Send + 'static;
    /// journal or outbox
    const NAME: &'static str;
    /// Does a batch and answers its jobs. After an error it is not called again.
    fn commit(&mut self, jobs: Vec<Self::Job>) -> Result<(), String>;
    /// Answers a job that will not be done.
    fn refuse(job: Self::Job, why: &str);
}

/// The handle of the thread; its drop waits for what is under way, so that the disk may be opened again.
pub(crate) struct Worker<W: Work> {
    queue: Arc<Queue<W::Job>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Work> Worker<W> {
    pub(crate) fn spawn(mut work: W, queue: Queue<W::Job>) -> Result<Self, JournalError> {
        let queue = Arc::new(queue);
        let ours = queue.clone();
        let run = move || {
            let last_words = LastWords::<W>(&ours);
            while let Some(jobs) = ours.take(MAX_BATCH_BYTES) {
                if let Err(why) = work.commit(jobs) {
                    tracing::error!(log = W::NAME, %why, "closed: nothing more is recorded");
                    last_words.say(&why);
                    return;
                }
            }
            last_words.say("shut down");
        };
        let thread = std::thread::Builder::new().name(W::NAME.to_owned()).spawn(run);
        let thread = thread.map_err(|e| closed::<W>(&format!("its thread cannot start: {e}")))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(crate) fn push(&self, job: W::Job, size: usize) -> Result<(), JournalError> {
        self.queue.push(job, size).map_err(refused::<W>)
    }
    pub(crate) fn push_and_reserve(&self, job: W::Job, size: usize) -> Result<(), JournalError> {
        self.queue.push_and_reserve(job, size).map_err(refused::<W>)
    }
    pub(crate) fn push_reserved(&self, job: W::Job, size: usize) -> Result<(), JournalError> {
        self.queue.push_reserved(job, size).map_err(refused::<W>)
    }
    /// Why the thread has ended, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.queue.death()
    }
    /// Waits for the answer to a job. The thread answers every job or dies; then the queue knows why.
    pub(crate) async fn wait<T>(
        &self,
        answer: oneshot::Receiver<Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        answer.await.unwrap_or_else(|_| {
            Err(closed::<W>(&self.failure().unwrap_or_else(|| "its thread ended".to_owned())))
        })
    }
}

impl<W: Work> Drop for Worker<W> {
    fn drop(&mut self) {
        self.queue.close();
        // at most the sync under way and those of what is queued
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn closed<W: Work>(why: &str) -> JournalError {
    JournalError::Closed { log: W::NAME, why: why.to_owned() }
}

fn refused<W: Work>(r: Refused) -> JournalError {
    match r {
        Refused::Busy => JournalError::Busy { log: W::NAME },
        Refused::Closed(why) => closed::<W>(&why),
    }
}

/// However the thread ends, nobody waits for it forever.
struct LastWords<'a, W: Work>(&'a Queue<W::Job>);

impl<W: Work> LastWords<'_, W> {
    fn say(&self, why: &str) {
        self.0.die(why).into_iter().for_each(|job| W::refuse(job, why));
    }
}

impl<W: Work> Drop for LastWords<'_, W> {
    fn drop(&mut self) {
        self.say("its thread panicked");
    }
}
