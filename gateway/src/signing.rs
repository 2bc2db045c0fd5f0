//! The Merkle batch signer: one thread per device, one signature for all who wait.
//!
//! A chip makes some ten signatures a second. An idle signer signs at once; while the device is busy,
//! leaves gather (at most 1024) and go under the next signature together. Nothing waits for a batch to
//! fill. Batches of records for the ledger ([`BatchSigner::sign_message`]) go through the same thread, in
//! turns with the trees, so that neither starves the other.
//!
//! A device that fails, or whose signature does not verify, closes the signer for good: a chip that
//! errs once is not asked again until the process starts anew and its self test passes.

use gw_proto::{
    Clock, Digest, Hex, Signature,
    merkle::{Leaf, LeafKind, MAX_LEAVES, ROOT_CONTEXT, Root, SignedLeaf},
};
use hsm_api::{Blame, Entropy, HsmError, Signer};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::oneshot;

/// How much may wait for the device.
#[derive(Debug, Clone, Copy)]
pub struct QueueSize {
    /// leaves: four full trees; more would not be signed within a request's deadline anyway
    pub leaves: usize,
    /// whole messages: each costs a signature of its own, so six seconds of a slow chip
    pub messages: usize,
}

impl Default for QueueSize {
    fn default() -> Self {
        Self { leaves: 4 * 1024, messages: 64 }
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The queue is full, or the device says that it is busy.
    #[error("the signing device is busy; try again in a moment")]
    Busy,
    /// The device failed; the signer stays closed.
    #[error("the signer is closed ({0}); check the device with `xinguan doctor`, then restart")]
    Closed(String),
    /// The deadline passed before the device came to it.
    #[error("the signing device did not answer within the request's time")]
    Timeout,
    /// The audience is longer than 128 bytes.
    #[error("the audience is longer than 128 bytes")]
    Audience,
    /// No thread for the device.
    #[error("no thread for the signing device: {0}")]
    Thread(String),
}

impl SigningError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        if matches!(self, Self::Audience) { Blame::Caller } else { Blame::Device }
    }
    /// Whether the same call may succeed later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Busy | Self::Timeout)
    }
}

/// What the signer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignerStats {
    /// signatures made by the device
    pub signatures: u64,
    /// leaves under them
    pub leaves: u64,
    /// calls refused because the queue was full
    pub busy: u64,
    /// waiting now
    pub waiting: usize,
}

/// The handle to a device's thread. Clones share it; the thread ends with the last one.
#[derive(Clone)]
pub struct BatchSigner(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    public_key: gw_proto::PublicKey,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    size: QueueSize,
    signatures: AtomicU64,
    leaves: AtomicU64,
    busy: AtomicU64,
}

#[derive(Default)]
struct Queue {
    leaves: VecDeque<Job<NewLeaf, SignedLeaf>>,
    messages: VecDeque<Job<Vec<u8>, Signature>>,
    closed: Option<String>,
}

struct NewLeaf {
    kind: LeafKind,
    audience: String,
    digest: Digest,
}

struct Job<T, R> {
    what: T,
    deadline: Instant,
    reply: oneshot::Sender<Result<R, SigningError>>,
}

impl BatchSigner {
    /// Starts the device's thread.
    pub fn spawn(
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        size: QueueSize,
    ) -> Result<Self, SigningError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            size,
            signatures: AtomicU64::new(0),
            leaves: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        });
        let public_key = *signer.public_key();
        let device = Device { signer, clock, entropy, shared: Arc::clone(&shared) };
        std::thread::Builder::new()
            .name("signing-device".into())
            .spawn(move || device.run())
            .map_err(|e| SigningError::Thread(e.to_string()))?;
        Ok(Self(Arc::new(Handle { shared, public_key })))
    }

    /// The public half of the key that signs.
    pub fn public_key(&self) -> &gw_proto::PublicKey {
        &self.0.public_key
    }

    /// Signs one message's digest as a leaf for one audience.
    pub async fn sign(
        &self,
        kind: LeafKind,
        audience: &str,
        digest: Digest,
        deadline: Instant,
    ) -> Result<SignedLeaf, SigningError> {
        if audience.len() > 128 {
            return Err(SigningError::Audience);
        }
        let leaf = NewLeaf { kind, audience: audience.to_owned(), digest };
        let limit = self.0.shared.size.leaves;
        self.ask(leaf, deadline, limit, |q| &mut q.leaves).await
    }

    /// Signs one message by itself: a batch of records, a statement. Costs a whole signature.
    pub async fn sign_message(&self, message: Vec<u8>, deadline: Instant) -> Result<Signature, SigningError> {
        let limit = self.0.shared.size.messages;
        self.ask(message, deadline, limit, |q| &mut q.messages).await
    }

    /// What it has done so far.
    pub fn stats(&self) -> SignerStats {
        let s = &self.0.shared;
        let q = s.lock();
        SignerStats {
            signatures: s.signatures.load(Ordering::Relaxed),
            leaves: s.leaves.load(Ordering::Relaxed),
            busy: s.busy.load(Ordering::Relaxed),
            waiting: q.leaves.len() + q.messages.len(),
        }
    }

    /// Why it is closed, if it is: readiness asks this.
    pub fn closed(&self) -> Option<String> {
        self.0.shared.lock().closed.clone()
    }

    /// Closes it on purpose: a tamper input, a drain. Whoever waits is told so.
    pub fn close(&self, reason: &str) {
        self.0.shared.close(reason);
    }

    async fn ask<T, R>(
        &self,
        what: T,
        deadline: Instant,
        limit: usize,
        of: impl Fn(&mut Queue) -> &mut VecDeque<Job<T, R>>,
    ) -> Result<R, SigningError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.0.shared.lock();
            if let Some(reason) = &queue.closed {
                return Err(SigningError::Closed(reason.clone()));
            }
            let line = of(&mut queue);
            if line.len() >= limit {
                self.0.shared.busy.fetch_add(1, Ordering::Relaxed);
                return Err(SigningError::Busy);
            }
            line.push_back(Job { what, deadline, reply });
        }
        self.0.shared.work.notify_one();
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            // dropped without an answer: a panicking backend took the thread down
            Ok(Err(_)) => Err(SigningError::Closed("the device's thread ended".into())),
            Err(_) => Err(SigningError::Timeout),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close("shut down");
    }
}

impl std::fmt::Debug for BatchSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchSigner({})", self.0.public_key.id())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // the queue is whole between any two statements, so a panic elsewhere does not spoil it
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason stays; all who wait are told.
    fn close(&self, reason: &str) {
        let (leaves, messages, reason) = {
            let mut q = self.lock();
            let reason = q.closed.get_or_insert_with(|| reason.to_owned()).clone();
            (std::mem::take(&mut q.leaves), std::mem::take(&mut q.messages), reason)
        };
        refuse(leaves, &SigningError::Closed(reason.clone()));
        refuse(messages, &SigningError::Closed(reason));
        self.work.notify_all();
    }
}

fn refuse<T, R>(jobs: impl IntoIterator<Item = Job<T, R>>, error: &SigningError) {
    for job in jobs {
        // a receiver that is gone needs no answer
        drop(job.reply.send(Err(error.clone())));
    }
}

/// What the thread owns.
struct Device {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shared: Arc<Shared>,
}

enum Turn {
    Tree(Vec<Job<NewLeaf, SignedLeaf>>),
    Message(Job<Vec<u8>, Signature>),
}

impl Device {
    fn run(self) {
        // Closes on every way out, a panicking backend included: nobody waits for a thread that is gone.
        struct CloseAtEnd(Arc<Shared>);
        impl Drop for CloseAtEnd {
            fn drop(&mut self) {
                self.0.close("the device's thread ended");
            }
        }
        let _guard = CloseAtEnd(Arc::clone(&self.shared));
        let mut tree_was_last = false;
        while let Some(turn) = self.next_turn(tree_was_last) {
            tree_was_last = matches!(turn, Turn::Tree(_));
            match turn {
                Turn::Tree(jobs) => self.sign_tree(jobs),
                Turn::Message(job) => self.sign_one(job),
            }
        }
    }

    /// Waits for work; trees and messages take turns when both wait. `None` when closed.
    fn next_turn(&self, tree_was_last: bool) -> Option<Turn> {
        let mut q = self.shared.lock();
        loop {
            if q.closed.is_some() {
                return None;
            }
            if (q.leaves.is_empty() || tree_was_last)
                && let Some(job) = q.messages.pop_front()
            {
                return Some(Turn::Message(job));
            }
            if !q.leaves.is_empty() {
                let most = usize::try_from(MAX_LEAVES).unwrap_or(usize::MAX).min(q.leaves.len());
                return Some(Turn::Tree(q.leaves.drain(..most).collect()));
            }
            q = self.shared.work.wait(q).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Callers who gave up or are late cost nothing.
    fn sign_tree(&self, jobs: Vec<Job<NewLeaf, SignedLeaf>>) {
        let now = self.clock.instant();
        let (jobs, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|j| wanted(j, now));
        refuse(late, &SigningError::Timeout);
        if jobs.is_empty() {
            return;
        }
        match self.make_tree(&jobs) {
            Ok(leaves) => {
                for (job, leaf) in jobs.into_iter().zip(leaves) {
                    drop(job.reply.send(Ok(leaf)));
                }
            }
            Err(e) => self.failed(jobs, &e),
        }
    }

    fn make_tree(&self, jobs: &[Job<NewLeaf, SignedLeaf>]) -> Result<Vec<SignedLeaf>, HsmError> {
        let leaves = jobs
            .iter()
            .map(|j| {
                let mut salt = Hex([0; 32]);
                self.entropy.fill(&mut salt.0)?;
                Ok(Leaf { kind: j.what.kind, audience: j.what.audience.clone(), salt, digest: j.what.digest })
            })
            .collect::<Result<Vec<_>, HsmError>>()?;
        let tree = gw_proof::build(&leaves).map_err(|e| HsmError::Device(e.to_string()))?;
        let key_id = self.signer.public_key().id();
        let (size, time) = (tree.size(), self.clock.now());
        let root = Root { context: ROOT_CONTEXT.into(), key_id, size, time, root: tree.root() };
        let input = gw_proto::signing_input(gw_proto::canon::domain::ROOT, &root)
            .map_err(|e| HsmError::Device(e.to_string()))?;
        let signature = self.device_sign(&input)?;
        self.shared.leaves.fetch_add(u64::from(size), Ordering::Relaxed);
        let signed = (0..size).zip(leaves).map(|(index, leaf)| SignedLeaf {
            leaf,
            index,
            path: tree.path(index).unwrap_or_default(),
            root: root.clone(),
            signature,
        });
        Ok(signed.collect())
    }

    fn sign_one(&self, job: Job<Vec<u8>, Signature>) {
        if !wanted(&job, self.clock.instant()) {
            return refuse([job], &SigningError::Timeout);
        }
        match self.device_sign(&job.what) {
            Ok(signature) => drop(job.reply.send(Ok(signature))),
            Err(e) => self.failed(vec![job], &e),
        }
    }

    fn device_sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        let signature = hsm_api::sign_message(&*self.signer, message)?;
        // A faulty signature can give away the key (fault attacks on ECDSA and SM2), and peers would
        // refuse it anyway. Checking costs a fraction of what a chip takes to sign.
        gw_sm::verify(self.signer.public_key(), message, &signature)
            .map_err(|_| HsmError::Device("it returned a signature that does not verify".into()))?;
        self.shared.signatures.fetch_add(1, Ordering::Relaxed);
        Ok(signature)
    }

    /// A busy device refuses these jobs; any other failure closes the signer, before anybody hears of it.
    fn failed<T, R>(&self, jobs: Vec<Job<T, R>>, error: &HsmError) {
        if error.may_retry() {
            return refuse(jobs, &SigningError::Busy);
        }
        self.shared.close(&error.to_string());
        refuse(jobs, &SigningError::Closed(error.to_string()));
    }
}

fn wanted<T, R>(job: &Job<T, R>, now: Instant) -> bool {
    job.deadline > now && !job.reply.is_closed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{PublicKey, Scheme, sm3};
    use gw_sm::KeyPair;
    use std::{sync::mpsc, time::Duration};

    /// A device that signs when the test lets it: one permit, one signature.
    struct GatedSigner {
        key: KeyPair,
        permits: Mutex<mpsc::Receiver<Permit>>,
        entered: AtomicU64,
    }
    enum Permit {
        Sign,
        Fail,
        Busy,
        Lie,
        Panic,
    }
    impl Signer for GatedSigner {
        fn public_key(&self) -> &PublicKey {
            self.key.public_key()
        }
        fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
            self.entered.fetch_add(1, Ordering::SeqCst);
            let permit = self.permits.lock().unwrap().recv_timeout(Duration::from_secs(30));
            match permit {
                Ok(Permit::Sign) => self.key.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string())),
                Ok(Permit::Fail) => Err(HsmError::Device("self test failed".into())),
                Ok(Permit::Busy) => Err(HsmError::Busy),
                Ok(Permit::Lie) => Ok(Hex([7; 64])),
                Ok(Permit::Panic) => panic!("backend bug"),
                Err(_) => Err(HsmError::Device("the test let nothing through".into())),
            }
        }
    }

    struct CountingEntropy(AtomicU64);
    impl Entropy for CountingEntropy {
        fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            out.copy_from_slice(&sm3(&n.to_be_bytes()).0[..out.len()]);
            Ok(())
        }
    }

    struct Rig {
        signer: BatchSigner,
        device: Arc<GatedSigner>,
        permits: mpsc::Sender<Permit>,
    }

    fn rig(size: QueueSize) -> Rig {
        let (permits, rx) = mpsc::channel();
        let key = KeyPair::from_secret(Scheme::Sm2Sm3, [7; 32]).unwrap();
        let device = Arc::new(GatedSigner { key, permits: Mutex::new(rx), entered: AtomicU64::new(0) });
        let clock = Arc::new(gw_proto::clock::SystemClock);
        let entropy = Arc::new(CountingEntropy(AtomicU64::new(0)));
        let signer = BatchSigner::spawn(Arc::clone(&device) as _, clock, entropy, size).unwrap();
        Rig { signer, device, permits }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// Polls until `what` holds; fails after ten seconds.
    async fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline, "waited ten seconds in vain");
            tokio::task::yield_now().await;
        }
    }

    type Pending<T> = tokio::task::JoinHandle<Result<T, SigningError>>;

    fn ask(r: &Rig, i: u32) -> Pending<SignedLeaf> {
        let signer = r.signer.clone();
        tokio::spawn(async move {
            let audience = format!("source-{i}");
            signer.sign(LeafKind::Request, &audience, sm3(&i.to_be_bytes()), soon()).await
        })
    }

    fn ask_message(r: &Rig, text: &'static str) -> Pending<Signature> {
        let signer = r.signer.clone();
        tokio::spawn(async move { signer.sign_message(text.into(), soon()).await })
    }

    #[tokio::test]
    async fn an_idle_signer_signs_at_once() {
        let r = rig(QueueSize::default());
        r.permits.send(Permit::Sign).unwrap();
        let s = ask(&r, 1).await.unwrap().unwrap();
        assert_eq!((s.root.size, s.index, s.path.len()), (1, 0, 0));
        gw_proof::verify_leaf(
            &s,
            r.signer.public_key(),
            LeafKind::Request,
            "source-1",
            &sm3(&1u32.to_be_bytes()),
        )
        .unwrap();
    }

    #[tokio::test]
    async fn five_hundred_share_two_signatures() {
        let r = rig(QueueSize::default());
        let first = ask(&r, 0);
        until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
        let rest: Vec<_> = (1..500).map(|i| ask(&r, i)).collect();
        until(|| r.signer.stats().waiting == 499).await;
        r.permits.send(Permit::Sign).unwrap();
        r.permits.send(Permit::Sign).unwrap();
        let mut salts = std::collections::BTreeSet::new();
        for (i, task) in std::iter::once(first).chain(rest).enumerate() {
            let s = task.await.unwrap().unwrap();
            let digest = sm3(&u32::try_from(i).unwrap().to_be_bytes());
            let key = r.signer.public_key();
            gw_proof::verify_leaf(&s, key, LeafKind::Request, &format!("source-{i}"), &digest).unwrap();
            assert!(salts.insert(s.leaf.salt), "a salt came twice");
        }
        let stats = r.signer.stats();
        assert_eq!((stats.signatures, stats.leaves, stats.waiting), (2, 500, 0));
    }

    #[tokio::test]
    async fn more_than_a_full_tree_takes_one_signature_more() {
        let r = rig(QueueSize::default());
        let first = ask(&r, 0);
        until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
        let rest: Vec<_> = (1..=1_025).map(|i| ask(&r, i)).collect();
        until(|| r.signer.stats().waiting == 1_025).await;
        for _ in 0..3 {
            r.permits.send(Permit::Sign).unwrap();
        }
        let mut sizes = std::collections::BTreeMap::new();
        for task in std::iter::once(first).chain(rest) {
            *sizes.entry(task.await.unwrap().unwrap().root.size).or_insert(0) += 1;
        }
        assert_eq!(sizes, [(1, 2), (1_024, 1_024)].into());
    }

    #[tokio::test]
    async fn messages_and_trees_take_turns() {
        let r = rig(QueueSize::default());
        let first = ask(&r, 0);
        until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
        let messages = [ask_message(&r, "one"), ask_message(&r, "two")];
        let leaf = ask(&r, 1);
        until(|| r.signer.stats().waiting == 3).await;
        // tree (first), message, tree, message: neither kind waits for all of the other
        r.permits.send(Permit::Sign).unwrap();
        r.permits.send(Permit::Sign).unwrap();
        first.await.unwrap().unwrap();
        until(|| messages[0].is_finished()).await;
        r.permits.send(Permit::Sign).unwrap();
        leaf.await.unwrap().unwrap();
        until(|| r.device.entered.load(Ordering::SeqCst) == 4).await;
        assert_eq!(r.signer.stats().waiting, 0);
        r.permits.send(Permit::Sign).unwrap();
        for (task, text) in messages.into_iter().zip(["one", "two"]) {
            let signature = task.await.unwrap().unwrap();
            gw_sm::verify(r.signer.public_key(), text.as_bytes(), &signature).unwrap();
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_and_recovers() {
        let r = rig(QueueSize { leaves: 2, messages: 1 });
        let first = ask(&r, 0);
        until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
        let (a, b, m) = (ask(&r, 1), ask(&r, 2), ask_message(&r, "one"));
        until(|| r.signer.stats().waiting == 3).await;
        assert_eq!(ask(&r, 3).await.unwrap(), Err(SigningError::Busy));
        assert_eq!(ask_message(&r, "two").await.unwrap(), Err(SigningError::Busy));
        assert_eq!(r.signer.stats().busy, 2);
        for _ in 0..4 {
            r.permits.send(Permit::Sign).unwrap();
        }
        for task in [first, a, b, ask(&r, 4)] {
            // the last one may be refused only if it came before the queue moved
            let outcome = task.await.unwrap();
            assert!(matches!(outcome, Ok(_) | Err(SigningError::Busy)), "{outcome:?}");
        }
        m.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_failed_device_stays_closed() {
        for permit in [Permit::Fail, Permit::Lie, Permit::Panic] {
            let r = rig(QueueSize::default());
            let first = ask(&r, 0);
            until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
            let (leaf, message) = (ask(&r, 1), ask_message(&r, "one"));
            until(|| r.signer.stats().waiting == 2).await;
            r.permits.send(permit).unwrap();
            assert!(matches!(first.await.unwrap(), Err(SigningError::Closed(_))));
            assert!(matches!(leaf.await.unwrap(), Err(SigningError::Closed(_))));
            assert!(matches!(message.await.unwrap(), Err(SigningError::Closed(_))));
            // even though the device would now work again
            r.permits.send(Permit::Sign).ok();
            assert!(matches!(ask(&r, 2).await.unwrap(), Err(SigningError::Closed(_))));
            assert!(matches!(ask_message(&r, "two").await.unwrap(), Err(SigningError::Closed(_))));
            assert_eq!(r.device.entered.load(Ordering::SeqCst), 1);
            assert!(r.signer.closed().is_some());
        }
    }

    #[tokio::test]
    async fn a_busy_device_is_not_a_failed_one() {
        let r = rig(QueueSize::default());
        r.permits.send(Permit::Busy).unwrap();
        assert_eq!(ask(&r, 0).await.unwrap(), Err(SigningError::Busy));
        r.permits.send(Permit::Sign).unwrap();
        ask(&r, 1).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_gave_up_or_is_late_costs_no_signature() {
        let r = rig(QueueSize::default());
        let first = ask(&r, 0);
        until(|| r.device.entered.load(Ordering::SeqCst) == 1).await;
        let late = r.signer.sign(LeafKind::Reply, "bank-suzhou", sm3(b"late"), Instant::now()).await;
        assert_eq!(late, Err(SigningError::Timeout));
        let gave_up = ask_message(&r, "gave up");
        until(|| r.signer.stats().waiting == 2).await;
        gave_up.abort();
        assert!(gave_up.await.unwrap_err().is_cancelled());
        let last = ask(&r, 1);
        until(|| r.signer.stats().waiting == 3).await;
        r.permits.send(Permit::Sign).unwrap();
        r.permits.send(Permit::Sign).unwrap();
        first.await.unwrap().unwrap();
        // alone in its tree: the late leaf is not under it, and the message was never signed
        assert_eq!(last.await.unwrap().unwrap().root.size, 1);
        assert_eq!(r.signer.stats().signatures, 2);
    }

    #[tokio::test]
    async fn a_long_audience_is_the_callers_fault() {
        let r = rig(QueueSize::default());
        let e = r.signer.sign(LeafKind::Reply, &"x".repeat(129), sm3(b"x"), soon()).await.unwrap_err();
        assert_eq!((e.blame(), e.may_retry()), (Blame::Caller, false));
    }

    #[tokio::test]
    async fn the_thread_ends_with_the_last_handle() {
        let r = rig(QueueSize::default());
        let device = Arc::downgrade(&r.device);
        drop(r);
        until(|| device.upgrade().is_none()).await;
    }
}
