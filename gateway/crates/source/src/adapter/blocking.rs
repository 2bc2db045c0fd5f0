//! An adapter on the blocking pool: bounded readers, bounded queue, busy beyond.

use super::{FetchLimits, Snapshot, SourceAdapter};
use crate::SourceError;
use gw_proto::{Dimension, Uscc};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs a blocking adapter for async callers.
#[derive(Clone)]
pub struct BlockingSource {
    adapter: Arc<dyn SourceAdapter>,
    readers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    limit: usize,
}

impl std::fmt::Debug for BlockingSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingSource").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl BlockingSource {
    /// At most `readers` (≥ 1) read at once, at most `queue` more wait. `readers` = the adapter's connections.
    pub fn new(adapter: Arc<dyn SourceAdapter>, readers: usize, queue: usize) -> Self {
        let readers = readers.clamp(1, 64);
        let limit = readers + queue.min(4096);
        let (readers, places) = (Arc::new(Semaphore::new(readers)), Arc::new(Semaphore::new(limit)));
        Self { adapter, readers, places, limit }
    }

    /// The adapter itself, for `check` at start.
    pub fn adapter(&self) -> &Arc<dyn SourceAdapter> {
        &self.adapter
    }

    /// [`SourceAdapter::fetch`] off the runtime. Busy at once when the queue is full; waiting ends at the
    /// deadline. A caller that goes away does not free its reader before the read has really ended.
    pub async fn fetch(
        &self,
        subject: Uscc,
        dimensions: Vec<Dimension>,
        limits: FetchLimits,
    ) -> Result<Snapshot, SourceError> {
        let busy = |_| SourceError::Busy { limit: self.limit };
        let place = self.places.clone().try_acquire_owned().map_err(busy)?;
        let turn = self.readers.clone().acquire_owned();
        let reader = match tokio::time::timeout_at(limits.deadline.into(), turn).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(SourceError::Ended),
            Err(_) => return Err(SourceError::Deadline { place: "the queue of readers".to_owned() }),
        };
        let adapter = self.adapter.clone();
        let read = move || {
            let _held = (place, reader);
            adapter.fetch(&subject, &dimensions, &limits)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| SourceError::Ended)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckReport, FakeSource};
    use gw_proto::{Clock, clock::SystemClock};
    use std::{sync::mpsc, time::Duration};

    /// Says when a read begins, and reads until it is let go.
    struct Gate {
        began: mpsc::SyncSender<()>,
        go: std::sync::Mutex<mpsc::Receiver<()>>,
        inner: FakeSource,
    }
    impl SourceAdapter for Gate {
        fn fetch(&self, s: &Uscc, d: &[Dimension], l: &FetchLimits) -> Result<Snapshot, SourceError> {
            self.began.send(()).unwrap();
            self.go.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
            self.inner.fetch(s, d, l)
        }
        fn check(&self) -> Result<CheckReport, SourceError> {
            self.inner.check()
        }
    }

    #[tokio::test]
    async fn beyond_readers_and_queue_it_is_busy_and_waiting_ends() {
        let (began_tx, began) = mpsc::sync_channel(8);
        let (go, go_rx) = mpsc::sync_channel(8);
        let inner = FakeSource::new(Arc::new(SystemClock));
        let gate = Gate { began: began_tx, go: std::sync::Mutex::new(go_rx), inner };
        let source = BlockingSource::new(Arc::new(gate), 1, 1);
        let subject = Uscc::parse("91350100M000100Y43").unwrap();
        let ask = |source: &BlockingSource, limits| {
            let (source, subject) = (source.clone(), subject.clone());
            async move { source.fetch(subject, Dimension::ALL.to_vec(), limits).await }
        };
        let later = FetchLimits::until(SystemClock.instant() + Duration::from_secs(60));
        let first = tokio::spawn(ask(&source, later));
        let began = tokio::task::spawn_blocking(move || {
            began.recv_timeout(Duration::from_secs(20)).unwrap();
            began
        })
        .await
        .unwrap();

        // the reader is taken: the next waits in the queue until its own deadline, which has passed
        let passed = FetchLimits::until(SystemClock.instant());
        let waited = ask(&source, passed).await;
        assert!(matches!(waited, Err(SourceError::Deadline { .. })), "{waited:?}");

        // one in the queue, and the queue is full
        let mut second = Box::pin(ask(&source, later));
        assert!(futures_poll_once(&mut second).is_none());
        assert!(matches!(ask(&source, later).await, Err(SourceError::Busy { limit: 2 })));

        // a caller that goes away leaves the queue, but its running read keeps the reader
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(futures_poll_once(&mut second).is_none());
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap().items, []);
        drop(began);
    }

    fn futures_poll_once<F: Future + Unpin>(f: &mut F) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(f).poll(&mut cx) {
            std::task::Poll::Ready(v) => Some(v),
            std::task::Poll::Pending => None,
        }
    }
}
