//! The journal on its disk, one batch at a time: no thread, no waiting.

use crate::{
    entry::{Entry, Finished, KIND_INTENT, KIND_OUTCOME, KIND_SEEN, Outcome, SeenHeight},
    error::JournalError,
    frame::{Frame, HEAD, TAIL},
    journal::{JournalOptions, OpenIntent, Receipt, Recovered, Verified},
    log::{Head, Layout, Log, MAX_BATCH_BYTES, Scan, is_torn_copy},
    worker::Work,
};
use gw_proto::{UnixMillis, canon::domain, domain_digest};
use gw_store::Disk;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

pub(crate) const NAME: &str = "journal";
/// The format that this program writes.
pub(crate) const FORMAT: u32 = 1;
const MAGIC: &[u8; 16] = b"XINGUAN-JOURNAL\0";
const HEADER: usize = 64;
/// Every so many entries the position is kept in memory, so that reading need not start at the beginning.
const MARK_EVERY: u64 = 256;
/// The most open intents that a recovery hands out with their content.
const MAX_REPORTED: usize = 4096;

/// What one job asks for.
pub(crate) enum Op {
    Intent { ticket: u64, payload: Vec<u8> },
    Outcome { of: Target, at: UnixMillis, outcome: Outcome },
    Plain { kind: u8, payload: Vec<u8>, seen: Option<SeenHeight> },
}

/// Which intent an outcome is for. A guard may be dropped before its intent has an index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Ticket(u64),
    Index(u64),
}

/// An operation, and who waits for it.
pub(crate) struct Job {
    pub(crate) op: Op,
    pub(crate) reply: Option<oneshot::Sender<Result<Receipt, JournalError>>>,
}

impl Job {
    pub(crate) fn answer(self, result: Result<Receipt, JournalError>) {
        if let Some(reply) = self.reply {
            // who no longer waits has dropped its end
            let _ = reply.send(result);
        }
    }
}

/// What readers see: never ahead of what is durable.
pub(crate) struct Published(Mutex<View>);

#[derive(Clone)]
pub(crate) struct View {
    pub(crate) layout: Layout,
    pub(crate) head: Head,
    pub(crate) end: u64,
    pub(crate) seen: Option<SeenHeight>,
    pub(crate) open: usize,
    /// position of entries 1, 257, 513 …
    marks: Vec<u64>,
}

impl Published {
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// An entry at or before `index`, and its position.
    pub(crate) fn mark_before(&self, index: u64) -> (u64, u64) {
        let slot = index.saturating_sub(1) / MARK_EVERY;
        match usize::try_from(slot).ok().and_then(|s| self.marks.get(s)) {
            Some(at) => (slot * MARK_EVERY + 1, *at),
            None => (1, self.layout.start),
        }
    }
    fn place(&mut self, index: u64, at: u64) {
        if (index - 1).is_multiple_of(MARK_EVERY) {
            self.marks.push(at);
        }
    }
    fn note_seen(&mut self, seen: SeenHeight) {
        if self.seen.is_none_or(|s| s.height < seen.height) {
            self.seen = Some(seen);
        }
    }
}

pub(crate) struct Core {
    log: Log,
    max_bytes: u64,
    open: BTreeSet<u64>,
    tickets: BTreeMap<u64, u64>,
    pub(crate) published: Arc<Published>,
}

impl Core {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: &JournalOptions,
    ) -> Result<(Self, Recovered), JournalError> {
        let header = header(&options.owner)?;
        let created = settle_header(&*disk, &header, &options.owner)?;
        let layout = layout(&header);
        let mut view =
            View { layout, head: layout.head, end: layout.start, seen: None, open: 0, marks: Vec::new() };
        let mut open = BTreeMap::new();
        let (log, tail) = Log::recover(disk.clone(), layout, &mut |at, frame| {
            replay(&mut view, &mut open, at, frame);
            Ok(())
        })?;
        (view.head, view.end, view.open) = (log.head, log.end, open.len());
        let recovered = Recovered {
            created,
            entries: log.head.index,
            dropped_bytes: tail,
            dropped_at: (tail > 0).then_some(log.end),
            more_open: open.len().saturating_sub(MAX_REPORTED),
            open_intents: read_open(&*disk, &view, &open)?,
            seen: view.seen,
        };
        let core = Self {
            log,
            max_bytes: options.max_bytes,
            open: open.into_keys().collect(),
            tickets: BTreeMap::new(),
            published: Arc::new(Published(Mutex::new(view))),
        };
        Ok((core, recovered))
    }

    fn commit_batch(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let (mut entries, mut seen, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = self.log.end;
        for mut job in jobs {
            let index = self.log.head.index + 1 + entries.len() as u64;
            match self.prepare(&mut job.op, index, end) {
                Ok((kind, payload, height)) => {
                    end += frame_size(&payload);
                    seen.extend(height);
                    entries.push((kind, payload));
                    waiting.push(job);
                }
                Err(e) => job.answer(Err(e)),
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        match self.log.append(&entries) {
            Ok(placed) => {
                let mut view = self.published.view();
                placed.iter().for_each(|p| view.place(p.head.index, p.at));
                seen.into_iter().for_each(|s| view.note_seen(s));
                (view.head, view.end, view.open) = (self.log.head, self.log.end, self.open.len());
                drop(view);
                for (job, p) in waiting.into_iter().zip(placed) {
                    job.answer(Ok(Receipt { index: p.head.index, head: p.head.into() }));
                }
                Ok(())
            }
            Err(e) => {
                let why = chain_text(&e);
                waiting.into_iter().for_each(|j| j.answer(Err(closed(&why))));
                Err(why)
            }
        }
    }

    /// Decides whether an operation is taken, and what is written for it at `index`.
    fn prepare(
        &mut self,
        op: &mut Op,
        index: u64,
        end: u64,
    ) -> Result<(u8, Vec<u8>, Option<SeenHeight>), JournalError> {
        match op {
            Op::Intent { ticket, payload } => {
                self.check_room(payload, end)?;
                self.open.insert(index);
                self.tickets.insert(*ticket, index);
                Ok((KIND_INTENT, std::mem::take(payload), None))
            }
            Op::Plain { kind, payload, seen } => {
                self.check_room(payload, end)?;
                Ok((*kind, std::mem::take(payload), *seen))
            }
            // outcomes are written even into a full journal: there are no more of them than intents
            Op::Outcome { of, at, outcome } => {
                let intent = match of {
                    Target::Index(i) => Some(*i),
                    Target::Ticket(t) => self.tickets.remove(t),
                };
                let Some(intent) = intent.filter(|i| self.open.contains(i)) else {
                    let index = if let Target::Index(i) = of { *i } else { 0 };
                    return Err(JournalError::NoSuchIntent { index });
                };
                let entry = Entry::Outcome(Finished { intent, at: *at, outcome: outcome.clone() });
                let (kind, payload) = entry.encode()?;
                self.open.remove(&intent);
                Ok((kind, payload, None))
            }
        }
    }

    fn check_room(&self, payload: &[u8], end: u64) -> Result<(), JournalError> {
        let found = end + frame_size(payload);
        if found > self.max_bytes {
            return Err(JournalError::Full { log: NAME, found, max: self.max_bytes, unit: "bytes" });
        }
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

pub(crate) fn frame_size(payload: &[u8]) -> u64 {
    (HEAD + payload.len() + TAIL) as u64
}

fn closed(why: &str) -> JournalError {
    JournalError::Closed { log: NAME, why: why.to_owned() }
}

/// An error with all its sources: it is kept as text, because every waiting caller gets it.
pub(crate) fn chain_text(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// magic ‖ version ‖ length of the owner's name ‖ name ‖ zeros.
fn header(owner: &str) -> Result<[u8; HEADER], JournalError> {
    let mut out = Vec::from(MAGIC);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    let length = u8::try_from(owner.len()).ok().filter(|l| *l <= 43);
    out.push(length.ok_or_else(|| JournalError::Encode("the owner's name has at most 43 bytes".into()))?);
    out.extend_from_slice(owner.as_bytes());
    out.resize(HEADER, 0);
    out.try_into().map_err(|_| JournalError::Encode("header".into()))
}

fn layout(header: &[u8; HEADER]) -> Layout {
    Layout {
        name: NAME,
        start: HEADER as u64,
        head: Head { index: 0, digest: domain_digest(domain::JOURNAL, header) },
        max_tail: Some(MAX_BATCH_BYTES as u64),
    }
}

/// Checks the header, or writes it where there is none. Says whether the journal is new.
fn settle_header(disk: &dyn Disk, wanted: &[u8; HEADER], owner: &str) -> Result<bool, JournalError> {
    let disk_error = |source| JournalError::Disk { log: NAME, source };
    let len = disk.len().map_err(disk_error)?;
    let mut found = vec![0; usize::try_from(len).unwrap_or(HEADER).min(HEADER)];
    disk.read_at(0, &mut found).map_err(disk_error)?;
    if found == wanted {
        return Ok(false);
    }
    // no entry can follow a header that was never durable
    if len <= HEADER as u64 && is_torn_copy(&found, wanted) {
        disk.resize(0).and_then(|()| disk.write_at(0, wanted)).map_err(disk_error)?;
        disk.sync().map_err(disk_error)?;
        return Ok(true);
    }
    Err(header_error(&found, owner))
}

fn header_error(found: &[u8], wanted: &str) -> JournalError {
    match parse_header(found) {
        None => JournalError::NotOurs { log: NAME },
        Some((FORMAT, found)) => {
            JournalError::Owner { log: NAME, found: found.to_owned(), wanted: wanted.to_owned() }
        }
        Some((found, _)) => JournalError::Version { log: NAME, found, known: FORMAT },
    }
}

/// Version and owner.
fn parse_header(found: &[u8]) -> Option<(u32, &str)> {
    let rest = found.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first()?;
    let owner = rest.get(..usize::from(*length))?;
    Some((u32::from_be_bytes(*version), std::str::from_utf8(owner).ok()?))
}

/// What an entry changes in the state.
fn replay(view: &mut View, open: &mut BTreeMap<u64, u64>, at: u64, frame: Frame) {
    view.place(frame.index, at);
    match frame.kind {
        KIND_INTENT => {
            open.insert(frame.index, at);
        }
        KIND_OUTCOME | KIND_SEEN => match Entry::decode(frame.kind, frame.payload) {
            Entry::Outcome(f) => {
                open.remove(&f.intent);
            }
            Entry::SeenHeight(s) => view.note_seen(s),
            _ => {}
        },
        _ => {}
    }
}

fn read_open(
    disk: &dyn Disk,
    view: &View,
    open: &BTreeMap<u64, u64>,
) -> Result<Vec<OpenIntent>, JournalError> {
    let mut reader = crate::frame::Reader::new(disk, view.end);
    let mut out = Vec::new();
    for (index, at) in open.iter().take(MAX_REPORTED) {
        let frame = reader.frame(*at).map_err(|e| view.layout.disk_error(e))?;
        let entry = frame.map(|f| Entry::decode(f.kind, f.payload));
        let intent = if let Some(Entry::Intent(i)) = entry { Some(i) } else { None };
        out.push(OpenIntent { index: *index, intent });
    }
    Ok(out)
}

/// Checks a journal without changing it.
pub(crate) fn verify(disk: &dyn Disk) -> Result<Verified, JournalError> {
    let mut bytes = [0; HEADER];
    disk.read_at(0, &mut bytes).map_err(|source| JournalError::Disk { log: NAME, source })?;
    let (version, owner) = parse_header(&bytes).ok_or(JournalError::NotOurs { log: NAME })?;
    if version != FORMAT || header(owner)? != bytes {
        return Err(header_error(&bytes, owner));
    }
    let mut open = BTreeSet::new();
    let Scan { head, tail, .. } = layout(&bytes).scan(disk, &mut |_, frame| {
        match Entry::decode(frame.kind, frame.payload) {
            Entry::Intent(_) => {
                open.insert(frame.index);
            }
            Entry::Outcome(f) => {
                open.remove(&f.intent);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(Verified { owner: owner.to_owned(), head: head.into(), torn_bytes: tail, open_intents: open.len() })
}
