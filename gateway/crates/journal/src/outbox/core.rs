//! The outbox on its disk, one batch at a time: no thread, no waiting.

use super::{
    NAME, OutboxItem, OutboxOptions, OutboxRecovered,
    place::{FIRST_START, Place, disk_error},
};
use crate::{
    core::chain_text,
    error::JournalError,
    frame::Frame,
    log::{Log, MAX_BATCH_BYTES, Placed, encode_all},
    worker::Work,
};
use gw_proto::B64;
use gw_store::Disk;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{oneshot, watch};

const KIND_PUSH: u8 = 16;
const KIND_DONE: u8 = 17;

/// What one job asks for.
pub(super) enum Op {
    Push { kind: String, bytes: Arc<[u8]> },
    Done(u64),
}

/// An operation, and who waits for the item's id.
pub(super) struct Job {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<u64, JournalError>>,
}

impl Job {
    pub(super) fn answer(self, result: Result<u64, JournalError>) {
        // who no longer waits has dropped its end
        let _ = self.reply.send(result);
    }
}

#[derive(Serialize, Deserialize)]
struct PushPayload {
    id: u64,
    kind: String,
    data: B64,
}

#[derive(Serialize, Deserialize)]
struct DonePayload {
    id: u64,
}

/// A pending item, and what it takes in the file.
#[derive(Clone)]
struct Pending {
    kind: String,
    bytes: Arc<[u8]>,
    size: u64,
}

fn item((id, p): (&u64, &Pending)) -> OutboxItem {
    OutboxItem { id: *id, kind: p.kind.clone(), bytes: p.bytes.clone() }
}

/// What readers see: never ahead of what is durable.
pub(super) struct Published {
    items: Mutex<BTreeMap<u64, Pending>>,
    count: watch::Sender<usize>,
}

impl Published {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn items(&self, limit: usize) -> Vec<OutboxItem> {
        self.lock().iter().take(limit).map(item).collect()
    }
    pub(super) fn items_of(&self, kind: &str, after: u64, limit: usize) -> Vec<OutboxItem> {
        let from = after.saturating_add(1);
        self.lock().range(from..).filter(|(_, p)| p.kind == kind).take(limit).map(item).collect()
    }
    pub(super) fn held(&self) -> (usize, u64) {
        let items = self.lock();
        (items.len(), items.values().map(|p| p.bytes.len() as u64).sum())
    }
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}

pub(super) struct Core {
    disk: Arc<dyn Disk>,
    options: OutboxOptions,
    place: Place,
    log: Log,
    next_id: u64,
    /// content of the pending items, and what their frames take in the file
    held: u64,
    framed: u64,
    pub(super) published: Arc<Published>,
}

/// Kind and payload of an entry.
type Frameless = (u8, Vec<u8>);

/// One entry of a batch, decided but not yet written.
enum Step {
    Add(u64, Pending),
    Remove(u64),
}

impl Core {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        options: &OutboxOptions,
    ) -> Result<(Self, OutboxRecovered), JournalError> {
        let (place, created) = Place::settle(&*disk, &options.owner)?;
        let (mut items, mut next_id) = (BTreeMap::new(), place.next_id);
        let layout = place.layout(&options.owner)?;
        let (log, tail) =
            Log::recover(disk.clone(), layout, &mut |at, frame| replay(&mut items, &mut next_id, at, frame))?;
        let (held, framed) =
            (items.values().map(|p| p.bytes.len() as u64).sum(), items.values().map(|p| p.size).sum());
        let recovered = OutboxRecovered { created, pending: items.len(), dropped_bytes: tail };
        let published =
            Arc::new(Published { count: watch::Sender::new(items.len()), items: Mutex::new(items) });
        let options = options.clone();
        Ok((Self { disk, options, place, log, next_id, held, framed, published }, recovered))
    }

    /// One sync for the batch; then clears away what is done, if it is most of the file.
    fn commit_batch(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let (mut entries, mut steps, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let (mut count, mut held) = (self.published.lock().len(), self.held);
        for job in jobs {
            match self.prepare(&job.op, count, held, &steps) {
                Ok(Some((step, entry))) => {
                    if let Step::Add(_, p) = &step {
                        count += 1;
                        held += p.bytes.len() as u64;
                        self.next_id += 1;
                    }
                    steps.push(step);
                    entries.push(entry);
                    waiting.push(job);
                }
                // removed before
                Ok(None) => job.answer(Ok(0)),
                Err(e) => job.answer(Err(e)),
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        match self.log.append(&entries) {
            Ok(placed) => {
                let ids = self.apply(steps, &placed);
                waiting.into_iter().zip(ids).for_each(|(job, id)| job.answer(Ok(id)));
            }
            Err(e) => {
                let why = chain_text(&e);
                waiting.into_iter().for_each(|j| j.answer(Err(closed(&why))));
                return Err(why);
            }
        }
        if self.is_mostly_done() {
            self.compact().map_err(|e| chain_text(&e))?;
        }
        Ok(())
    }

    /// Decides whether an operation is taken, and what is written for it.
    fn prepare(
        &self,
        op: &Op,
        count: usize,
        held: u64,
        steps: &[Step],
    ) -> Result<Option<(Step, Frameless)>, JournalError> {
        match op {
            Op::Push { kind, bytes } => {
                self.check_room(count, held + bytes.len() as u64)?;
                let pending = Pending { kind: kind.clone(), bytes: bytes.clone(), size: 0 };
                let entry = push_entry(self.next_id, &pending)?;
                Ok(Some((Step::Add(self.next_id, pending), entry)))
            }
            Op::Done(id) => {
                let removed = steps.iter().any(|s| matches!(s, Step::Remove(r) if r == id));
                if removed || !self.published.lock().contains_key(id) {
                    return Ok(None);
                }
                let payload = serde_json::to_vec(&DonePayload { id: *id });
                let payload = payload.map_err(|e| JournalError::Encode(e.to_string()))?;
                Ok(Some((Step::Remove(*id), (KIND_DONE, payload))))
            }
        }
    }

    fn check_room(&self, count: usize, held: u64) -> Result<(), JournalError> {
        let full = |found, max, unit| Err(JournalError::Full { log: NAME, found, max, unit });
        if count >= self.options.max_items {
            return full(count as u64 + 1, self.options.max_items as u64, "items");
        }
        if held > self.options.max_bytes {
            return full(held, self.options.max_bytes, "bytes");
        }
        Ok(())
    }

    fn apply(&mut self, steps: Vec<Step>, placed: &[Placed]) -> Vec<u64> {
        let mut items = self.published.lock();
        let mut ids = Vec::with_capacity(steps.len());
        for (step, p) in steps.into_iter().zip(placed) {
            match step {
                Step::Add(id, mut pending) => {
                    pending.size = p.size;
                    self.held += pending.bytes.len() as u64;
                    self.framed += p.size;
                    items.insert(id, pending);
                    ids.push(id);
                }
                Step::Remove(id) => {
                    if let Some(gone) = items.remove(&id) {
                        self.held = self.held.saturating_sub(gone.bytes.len() as u64);
                        self.framed = self.framed.saturating_sub(gone.size);
                    }
                    ids.push(id);
                }
            }
        }
        self.published.count.send_replace(items.len());
        ids
    }

    fn is_mostly_done(&self) -> bool {
        let finished = (self.log.end - self.place.start).saturating_sub(self.framed);
        finished > self.options.compact_above && finished > self.framed
    }

    /// Writes the pending items in front of the log, or behind it if there is no room, then moves the
    /// place. A crash before that leaves the old log as it was; after it, the new one is complete.
    fn compact(&mut self) -> Result<(), JournalError> {
        let items = self.published.lock().clone();
        // a copy's payload is the same, so its frame is as long as the original's
        let front = self.place.start - FIRST_START >= self.framed;
        let place = Place {
            generation: self.place.generation + 1,
            start: if front { FIRST_START } else { self.log.end },
            next_id: self.next_id,
            continues: self.log.head,
        };
        let layout = place.layout(&self.options.owner)?;
        let mut head = layout.head;
        let mut end = place.start;
        let mut batch = Vec::new();
        let mut batch_size = 0;
        let disk = self.disk.clone();
        let mut write = |batch: &mut Vec<(u8, Vec<u8>)>| -> Result<(), JournalError> {
            let (bytes, placed) = encode_all(&layout, head, end, batch);
            disk.write_at(end, &bytes).map_err(disk_error)?;
            end += bytes.len() as u64;
            head = placed.last().map_or(head, |p| p.head);
            batch.clear();
            Ok(())
        };
        for (id, pending) in &items {
            if batch_size + pending.size > MAX_BATCH_BYTES as u64 {
                write(&mut batch)?;
                batch_size = 0;
            }
            batch_size += pending.size;
            batch.push(push_entry(*id, pending)?);
        }
        write(&mut batch)?;
        disk.sync().map_err(disk_error)?;
        place.write(&*disk, &self.options.owner)?;
        if front {
            // what lay behind is of no use any more; durable before anything new is written over it
            disk.resize(end).and_then(|()| disk.sync()).map_err(disk_error)?;
        }
        self.place = place;
        self.log = Log::resume(disk.clone(), layout, head, end);
        Ok(())
    }
}

impl Work for Core {
    type Job = Job;
    const NAME: &'static str = NAME;
    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        self.commit_batch(jobs)
    }
    fn refuse(job: Job, why: &str) {
        job.answer(Err(closed(why)));
    }
}

fn closed(why: &str) -> JournalError {
    JournalError::Closed { log: NAME, why: why.to_owned() }
}

fn push_entry(id: u64, p: &Pending) -> Result<Frameless, JournalError> {
    let payload = PushPayload { id, kind: p.kind.clone(), data: B64(p.bytes.to_vec()) };
    let payload = serde_json::to_vec(&payload).map_err(|e| JournalError::Encode(e.to_string()))?;
    Ok((KIND_PUSH, payload))
}

/// What an entry changes in the state.
fn replay(
    items: &mut BTreeMap<u64, Pending>,
    next_id: &mut u64,
    at: u64,
    frame: Frame,
) -> Result<(), JournalError> {
    let size = frame.size();
    let damaged = |_| JournalError::Broken { log: NAME, offset: at, what: "the entry is not readable" };
    match frame.kind {
        KIND_PUSH => {
            let p: PushPayload = serde_json::from_slice(&frame.payload).map_err(damaged)?;
            *next_id = (*next_id).max(p.id.saturating_add(1));
            items.insert(p.id, Pending { kind: p.kind, bytes: p.data.0.into(), size });
        }
        KIND_DONE => {
            let d: DonePayload = serde_json::from_slice(&frame.payload).map_err(damaged)?;
            items.remove(&d.id);
        }
        // a newer release wrote what this one cannot deliver; it must not be lost by a clearing
        _ => {
            let what = "an entry of a newer release; start that release again";
            return Err(JournalError::Broken { log: NAME, offset: at, what });
        }
    }
    Ok(())
}
