//! Records into batches, transactions to endpoints, and what became of them: each exactly once.

use super::*;
use crate::{
    endpoint::{Ledger, RawBlock},
    error::{Blame, LedgerError},
    submit::{EXPIRES_AFTER, SubmitConfig, Submitter},
};
use async_trait::async_trait;
use futures_util::future::join_all;
use gw_policy::{Fate, RefusalReason, View};
use hsm_api::Signer;
use std::{collections::BTreeSet, future::Future, sync::Mutex};
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(60);

/// A chain whose blocks a test makes out of what the endpoints were given; a state that has all of them.
struct Desk {
    world: World,
    fakes: Vec<Arc<FakeLedger>>,
    handle: StateHandle,
    entropy: Arc<Counter>,
    cancel: CancellationToken,
    /// every transaction that stands in a block made here
    included: Vec<fisco::Transaction>,
}

impl Desk {
    fn new(endpoints: usize) -> Self {
        let mut world = World::standard();
        let grant = world.by("bank-1", vec![Record::Authorization(world.authorization(1, 1))]);
        world.add(2_000, vec![grant]);
        let (handle, _) = world.fresh();
        world.commit_all(&handle);
        let fake = |i| FakeLedger::new(&format!("fake{i}"), world.chain.clone());
        let fakes = (0..endpoints).map(fake).collect();
        let (entropy, cancel) = (Counter::new(), CancellationToken::new());
        Self { world, fakes, handle, entropy, cancel, included: Vec::new() }
    }

    fn ledgers(&self) -> Vec<Arc<dyn Ledger>> {
        self.fakes.iter().map(|f| f.clone() as Arc<dyn Ledger>).collect()
    }

    fn submitter(&self, node: &str) -> Submitter {
        self.submitter_with(SubmitConfig::new(node_id(node)), self.ledgers())
    }

    fn submitter_with(&self, config: SubmitConfig, ledgers: Vec<Arc<dyn Ledger>>) -> Submitter {
        let (submitter, task) = self.idle(config, ledgers);
        tokio::spawn(task.run(self.cancel.clone()));
        submitter
    }

    fn idle(
        &self,
        config: SubmitConfig,
        ledgers: Vec<Arc<dyn Ledger>>,
    ) -> (Submitter, crate::submit::SubmitterTask) {
        let seed = NODES.iter().find(|n| n.0 == config.node.as_str()).unwrap().3;
        let node: Arc<dyn Signer> = Arc::new(FakeSigner(fake_key(seed).unwrap()));
        let account: Arc<dyn Signer> = Arc::new(FakeSigner(fake_key(98).unwrap()));
        Submitter::new(config, ledgers, self.handle.clone(), node, account, self.entropy.clone()).unwrap()
    }

    /// What the endpoints were given since, each transaction once, as pools that talk to each other hold it.
    fn pooled(&self) -> Vec<fisco::Transaction> {
        let mut seen: BTreeSet<String> = self.included.iter().map(|tx| tx.hash.clone()).collect();
        let all = self.fakes.iter().flat_map(|f| f.take_pool());
        all.filter(|tx| seen.insert(tx.hash.clone())).collect()
    }

    fn include(&mut self, transactions: Vec<fisco::Transaction>) {
        self.included.extend(transactions.clone());
        let ms = self.world.head_time().0 - START + 1_000;
        self.world.add(ms, transactions);
        self.world.commit_all(&self.handle);
    }

    fn make_block(&mut self) {
        let transactions = self.pooled();
        if !transactions.is_empty() {
            self.include(transactions);
        }
    }

    /// Empty blocks, signed by as few as suffice.
    fn grow(&mut self, count: u64) {
        for _ in 0..count {
            let plan = Plan { signers: Some(vec![0, 1, 2]), ..Plan::at(self.world.head_time(), vec![]) };
            self.world.chain.add(plan).unwrap();
        }
        self.world.commit_all(&self.handle);
    }

    /// Waits for something while blocks are made of what is submitted.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(Duration::from_millis(100)) => self.make_block(),
            }
        }
    }

    /// The records of each transaction in a block.
    fn batches(&self) -> Vec<SignedBatch> {
        let of = |tx: &fisco::Transaction| SignedBatch::parse(&tx.payload(self.world.genesis()).unwrap());
        self.included.iter().map(|tx| of(tx).unwrap()).collect()
    }

    /// How many uses of the authorization are spent.
    fn spent(&self) -> u32 {
        let id = self.world.authorization(1, 1).id;
        View::new(&self.handle.read()).authorization(&id).unwrap().unwrap().spent
    }

    fn reservation(&self, report: u8) -> Reservation {
        Reservation {
            report_id: ReportId(Hex([report; 32])),
            authz_id: self.world.authorization(1, 1).id,
            commitment: Commitment(Hex([report; 32])),
            deadline: UnixMillis(self.world.head_time().0 + 300_000),
        }
    }
}

fn beat(seen: u64) -> Record {
    Record::Heartbeat(Heartbeat { seen: Height(seen) })
}

/// A record of about this many bytes, refused for it by its fate.
fn large(fill: &str, bytes: usize) -> Record {
    Record::Standing(StandingChange {
        institution: InstitutionId::parse("bank").unwrap(),
        standing: Standing::Blocked,
        reason: fill.repeat(bytes),
    })
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_shares_a_transaction_of_at_most_64_records() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("source-1");
    let calls = (0..100).map(|i| {
        let submitter = submitter.clone();
        async move { submitter.record(vec![beat(i)], WAIT).await }
    });
    let results = desk.during(join_all(calls)).await;
    let batches = desk.batches();
    assert_eq!(batches.iter().map(|b| b.batch.records.len()).collect::<Vec<_>>(), [64, 36]);
    for (i, recorded) in results.iter().map(|r| r.as_ref().unwrap()).enumerate() {
        let batch = &batches[i / 64].batch;
        assert_eq!(recorded.first_record as usize, i % 64);
        assert_eq!(batch.records[i % 64], beat(i as u64));
        let ahead = Fate::Refused(RefusalReason::HeightAhead);
        let fate = if i <= 2 { Fate::Accepted } else { ahead };
        assert_eq!(recorded.fates, [fate], "each call is told of its own record");
        assert_eq!(batch.expires_height, Height(2 + EXPIRES_AFTER));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_stays_below_32_kib() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("pboc-1");
    let calls = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|fill| {
        let submitter = submitter.clone();
        async move { submitter.record(vec![large(fill, 10_000)], WAIT).await }
    });
    let results = desk.during(join_all(calls)).await;
    let refused = [Fate::Refused(RefusalReason::TextInvalid)];
    assert!(results.iter().all(|r| r.as_ref().is_ok_and(|r| r.fates == refused)), "{results:?}");
    let batches = desk.batches();
    assert_eq!(batches.iter().map(|b| b.batch.records.len()).collect::<Vec<_>>(), [3, 3, 2]);
    assert!(batches.iter().all(|b| b.to_bytes().unwrap().len() <= MAX_BATCH_BYTES));
    // the largest that is taken still makes a batch that every follower takes
    let (mut low, mut high) = (30_000, 33_000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        match desk.during(submitter.record(vec![large("x", middle)], WAIT)).await {
            Ok(_) => low = middle,
            Err(LedgerError::BatchFull { .. }) => high = middle,
            Err(e) => panic!("{middle}: {e}"),
        }
    }
    let largest = desk.batches().iter().map(|b| b.to_bytes().unwrap().len()).max().unwrap();
    assert!((MAX_BATCH_BYTES - 1024..=MAX_BATCH_BYTES).contains(&largest), "{largest}");
}

#[tokio::test(start_paused = true)]
async fn what_no_batch_holds_is_refused_before_anything_is_signed() {
    let desk = Desk::new(1);
    let submitter = desk.submitter("source-1");
    for records in [vec![], (0..65).map(beat).collect(), vec![large("x", 33_000)]] {
        let error = submitter.submit(records).await.unwrap_err();
        assert!(matches!(error, LedgerError::BatchFull { .. }), "{error}");
        assert_eq!(error.blame(), Blame::Caller);
    }
    assert_eq!(desk.pooled(), []);
}

#[tokio::test(start_paused = true)]
async fn records_of_one_call_stay_together() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("source-1");
    let calls = [40u64, 30, 20].map(|count| {
        let submitter = submitter.clone();
        async move { submitter.record((0..count).map(beat).collect(), WAIT).await.unwrap() }
    });
    let results = desk.during(join_all(calls)).await;
    let places: Vec<_> = results.iter().map(|r| (r.tx_index, r.first_record, r.fates.len())).collect();
    assert_eq!(places, [(0, 0, 40), (1, 0, 30), (1, 30, 20)]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_record_has_one_effect() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("bank-1");
    let reservation = desk.reservation(7);
    let record = || Record::Reservation(desk.reservation(7));
    let records = vec![record(), record()];
    let recorded = desk.during(submitter.record(records, WAIT)).await.unwrap();
    assert_eq!(recorded.fates, [Fate::Accepted, Fate::Repeated]);
    // later, in a batch of its own, with another id: its content is known
    let again = desk.during(submitter.reserve(reservation, WAIT)).await.unwrap();
    assert_eq!((again.fate, again.height), (Fate::Accepted, recorded.height));
    assert_eq!(desk.spent(), 1);
    // the same report id with other content is another's
    let other = Reservation { commitment: Commitment(Hex([9; 32])), ..desk.reservation(7) };
    let error = desk.during(submitter.reserve(other, WAIT)).await.unwrap_err();
    assert!(matches!(error, LedgerError::RecordRefused(RefusalReason::Conflict)), "{error}");
    assert_eq!(desk.spent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_busy() {
    let desk = Desk::new(1);
    let config = SubmitConfig { queue: 2, ..SubmitConfig::new(node_id("source-1")) };
    let (submitter, task) = desk.idle(config, desk.ledgers());
    let waiting: Vec<_> = (0..2)
        .map(|i| {
            let submitter = submitter.clone();
            tokio::spawn(async move { submitter.submit(vec![beat(i)]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let error = submitter.submit(vec![beat(3)]).await.unwrap_err();
    assert!(matches!(error, LedgerError::Busy), "{error}");
    assert!(error.may_retry());
    // they were only waiting
    tokio::spawn(task.run(desk.cancel.clone()));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    submitter.submit(vec![beat(3)]).await.unwrap();
}

/// Both endpoints take the transaction, and their answers are lost.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_effect() {
    let mut desk = Desk::new(2);
    desk.fakes.iter().for_each(|f| f.set_mute(true));
    let submitter = desk.submitter("bank-1");
    let reservation = desk.reservation(7);
    // no block for two seconds: it is offered again and again
    let waiting = {
        let submitter = submitter.clone();
        tokio::spawn(async move { submitter.reserve(reservation, WAIT).await })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished());
    let offered: Vec<_> = desk.fakes.iter().map(|f| f.take_pool()).collect();
    assert_eq!(offered[0].len(), 1, "the same transaction each time");
    assert_eq!(offered[0], offered[1]);
    desk.include(offered[0].clone());
    let state = desk.during(waiting).await.unwrap().unwrap();
    assert_eq!((state.fate, state.height), (Fate::Accepted, desk.world.chain.head()));
    assert_eq!(desk.included.len(), 1);
    assert_eq!(desk.spent(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_given_up() {
    let desk = Desk::new(2);
    desk.fakes.iter().for_each(|f| f.set_down(true));
    let submitter = desk.submitter("source-1");
    let before = tokio::time::Instant::now();
    let error = submitter.submit(vec![beat(1)]).await.unwrap_err();
    assert!(matches!(&error, LedgerError::NotTaken { last } if last.contains("cannot connect")), "{error}");
    let after = before.elapsed().as_secs();
    assert!((19..=21).contains(&after), "after {after} s of the paused clock");
    // back in time: it is taken
    let waiting = {
        let submitter = submitter.clone();
        tokio::spawn(async move { submitter.submit(vec![beat(2)]).await })
    };
    tokio::time::sleep(Duration::from_secs(10)).await;
    desk.fakes[1].set_down(false);
    waiting.await.unwrap().unwrap();
    assert_eq!(desk.fakes[1].take_pool().len(), 1);
}

/// An endpoint that may have taken it: nobody may say that nothing was recorded.
#[tokio::test(start_paused = true)]
async fn what_somebody_may_have_taken_is_of_unknown_fate() {
    let mut desk = Desk::new(2);
    desk.fakes[0].set_mute(true);
    desk.fakes[1].set_down(true);
    let submitter = desk.submitter("bank-1");
    let error = submitter.reserve(desk.reservation(7), WAIT).await.unwrap_err();
    assert!(matches!(error, LedgerError::FateUnknown), "{error}");
    // and indeed
    desk.make_block();
    assert_eq!(desk.spent(), 1);
}

/// Answers with these codes first, then hands on; or hangs.
struct Stubborn {
    codes: Mutex<Vec<i64>>,
    hangs: bool,
    behind: Arc<FakeLedger>,
}

#[async_trait]
impl Ledger for Stubborn {
    fn endpoint(&self) -> &str {
        "stubborn"
    }
    async fn head(&self) -> Result<Height, LedgerError> {
        self.behind.head().await
    }
    async fn block(&self, height: Height) -> Result<RawBlock, LedgerError> {
        self.behind.block(height).await
    }
    async fn submit(&self, tx: &fisco::Transaction) -> Result<Digest, LedgerError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let code = self.codes.lock().unwrap().pop();
        let Some(code) = code else { return self.behind.submit(tx).await };
        let (endpoint, message) = ("stubborn".into(), "no".into());
        Err(LedgerError::Refused { endpoint, method: "sendTransaction", code, message })
    }
}

fn stubborn(desk: &Desk, codes: &[i64], hangs: bool) -> Arc<dyn Ledger> {
    Arc::new(Stubborn { codes: Mutex::new(codes.to_vec()), hangs, behind: desk.fakes[0].clone() })
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_tried_again_and_a_final_refusal_is_not() {
    let mut desk = Desk::new(1);
    let config = || SubmitConfig::new(node_id("source-1"));
    let submitter = desk.submitter_with(config(), vec![stubborn(&desk, &[10002, 10002], false)]);
    let recorded = desk.during(submitter.record(vec![beat(1)], WAIT)).await.unwrap();
    assert_eq!(recorded.fates, [Fate::Accepted]);
    let submitter = desk.submitter_with(config(), vec![stubborn(&desk, &[10002, 10008], false)]);
    let before = tokio::time::Instant::now();
    let error = submitter.submit(vec![beat(1)]).await.unwrap_err();
    assert!(matches!(&error, LedgerError::NotTaken { last } if last.contains("10008")), "{error}");
    assert!(before.elapsed() < Duration::from_secs(1), "of the paused clock");
    assert_eq!(desk.pooled(), []);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_passed_over() {
    let mut desk = Desk::new(1);
    let ledgers = vec![stubborn(&desk, &[], true), desk.fakes[0].clone() as Arc<dyn Ledger>];
    let submitter = desk.submitter_with(SubmitConfig::new(node_id("source-1")), ledgers);
    desk.during(submitter.record(vec![beat(1)], WAIT)).await.unwrap();
    // from now on the one that works comes first
    let before = tokio::time::Instant::now();
    desk.during(submitter.record(vec![beat(2)], WAIT)).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "of the paused clock");
}

/// "Taken" is only a word: one that drops what it takes must not keep it from the chain.
#[tokio::test(start_paused = true)]
async fn what_does_not_appear_is_offered_to_another() {
    let mut desk = Desk::new(2);
    let dropping = desk.fakes.remove(0);
    let ledgers = vec![dropping.clone() as Arc<dyn Ledger>, desk.fakes[0].clone()];
    let submitter = desk.submitter_with(SubmitConfig::new(node_id("bank-1")), ledgers);
    let state = desk.during(submitter.reserve(desk.reservation(7), WAIT)).await.unwrap();
    assert_eq!(state.fate, Fate::Accepted);
    assert_eq!(dropping.take_pool(), desk.included, "the same transaction");
    assert_eq!(desk.spent(), 1);
    // it is not asked first any more
    let other = Record::Authorization(desk.world.authorization(2, 1));
    desk.during(submitter.record(vec![other], WAIT)).await.unwrap();
    assert_eq!(dropping.take_pool(), []);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_leaves_the_fate_open() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("bank-1");
    let error = submitter.reserve(desk.reservation(7), Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(error, LedgerError::FateUnknown), "{error}");
    assert!(!error.may_retry());
    assert_eq!(desk.spent(), 0);
    // the block comes later: it counts as spent, and asking again finds it
    desk.make_block();
    let state = desk.during(submitter.reserve(desk.reservation(7), WAIT)).await.unwrap();
    assert_eq!((state.fate, state.height), (Fate::Accepted, Height(3)));
    assert_eq!(desk.spent(), 1);
}

/// No block took it up to its limit: it can be submitted again, and the old one has no effect any more.
#[tokio::test(start_paused = true)]
async fn after_its_limit_it_is_submitted_again() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("bank-1");
    let first = {
        let (submitter, reservation) = (submitter.clone(), desk.reservation(7));
        tokio::spawn(async move { submitter.reserve(reservation, WAIT).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let old = desk.pooled();
    assert_eq!((old.len(), old[0].block_limit), (1, 2 + i64::try_from(EXPIRES_AFTER).unwrap()));
    desk.grow(EXPIRES_AFTER);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!first.is_finished(), "block {} may still hold it", desk.handle.cursor().height.0 + 1);
    desk.grow(1);
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, LedgerError::Expired { height: Height(502) }), "{error}");
    assert!(error.may_retry());
    let state = desk.during(submitter.reserve(desk.reservation(7), WAIT)).await.unwrap();
    assert_eq!((state.fate, desk.spent()), (Fate::Accepted, 1));
    // a chain that took the old one all the same
    let hash = old[0].compute_hash().unwrap();
    desk.include(old);
    let found = desk.handle.find_transaction(&hash).unwrap();
    let expired = vec![Fate::Refused(RefusalReason::BatchExpired)];
    assert_eq!(found.outcome, crate::state::TxOutcome::Applied(expired));
    assert_eq!(desk.spent(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_chains_refusals_are_told() {
    let mut desk = Desk::new(1);
    let bank = desk.submitter("bank-1");
    let unknown = Reservation { authz_id: desk.world.authorization(5, 1).id, ..desk.reservation(7) };
    let error = desk.during(bank.reserve(unknown, WAIT)).await.unwrap_err();
    assert!(matches!(error, LedgerError::RecordRefused(RefusalReason::UnknownAuthorization)), "{error}");
    assert_eq!((error.blame(), error.may_retry()), (Blame::Caller, false));
    // a refusal that the chain keeps comes as the reservation's state
    let late = Reservation { deadline: at(0), ..desk.reservation(8) };
    let state = desk.during(bank.reserve(late, WAIT)).await.unwrap();
    assert_eq!(state.fate, Fate::Refused(RefusalReason::DeadlineInvalid));
    assert_eq!(desk.spent(), 0);
    let source = desk.submitter("source-1");
    let mine = Record::Authorization(desk.world.authorization(6, 1));
    let fate = desk.during(source.write(mine, WAIT)).await.unwrap();
    assert_eq!(fate, Fate::Refused(RefusalReason::WriterNotAllowed));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_the_chain_failed_has_no_effect() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("bank-1");
    let waiting = {
        let (submitter, reservation) = (submitter.clone(), desk.reservation(7));
        tokio::spawn(async move { submitter.reserve(reservation, WAIT).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let plan = Plan { statuses: vec![16], ..Plan::at(desk.world.head_time(), desk.pooled()) };
    desk.world.chain.add(plan).unwrap();
    desk.world.commit_all(&desk.handle);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(&error, LedgerError::NoEffect(why) if why.contains("status 16")), "{error}");
    assert_eq!(desk.spent(), 0);
}

/// Two boxes of one bank: the chain's order decides who gets the last use, and a shared report id is one use.
#[tokio::test(start_paused = true)]
async fn two_submitters_share_what_the_chain_decides() {
    let mut desk = Desk::new(2);
    let (one, two) = (desk.submitter("bank-1"), desk.submitter("bank-1"));
    let (seven, eight) = (desk.reservation(7), desk.reservation(8));
    let race = async { tokio::join!(one.reserve(seven, WAIT), two.reserve(eight, WAIT)) };
    let (seven, eight) = desk.during(race).await;
    let fates = [seven.unwrap().fate, eight.unwrap().fate];
    let used_up = Fate::Refused(RefusalReason::UsedUp);
    assert!(fates == [Fate::Accepted, used_up] || fates == [used_up, Fate::Accepted], "{fates:?}");
    assert_eq!(desk.spent(), 1);
    let winner = if fates[0] == Fate::Accepted { 7 } else { 8 };
    let (a, b) = (desk.reservation(winner), desk.reservation(winner));
    let race = async { tokio::join!(one.reserve(a, WAIT), two.reserve(b, WAIT)) };
    let (a, b) = desk.during(race).await;
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(desk.spent(), 1);
}

#[tokio::test(start_paused = true)]
async fn governance_hands_over_what_it_has_signed() {
    let mut desk = Desk::new(1);
    let submitter = desk.submitter("source-1");
    let record = Record::Institution(Institution {
        id: InstitutionId::parse("second-bank").unwrap(),
        name: "second".into(),
        region: Region::parse("320500").unwrap(),
        standing: Standing::Active,
    });
    let batch = desk.world.sign(Writer::Governance, &[key(21), key(22)], vec![record.clone()]);
    let recorded = desk.during(submitter.record_batch(batch.clone(), WAIT)).await.unwrap();
    assert_eq!((recorded.fates, recorded.first_record), (vec![Fate::Accepted], 0));
    assert_eq!(desk.batches(), [batch], "as it was signed");
    let short = desk.world.sign(Writer::Governance, &[key(21)], vec![record]);
    let recorded = desk.during(submitter.record_batch(short, WAIT)).await.unwrap();
    assert_eq!(recorded.fates, [Fate::Refused(RefusalReason::SignatureCount)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_those_who_wait() {
    let desk = Desk::new(1);
    desk.fakes[0].set_down(true);
    let submitter = desk.submitter("source-1");
    let waiting: Vec<_> = (0..40)
        .map(|i| {
            let submitter = submitter.clone();
            tokio::spawn(async move { submitter.submit((0..64).map(|j| beat(i + j)).collect()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    desk.cancel.cancel();
    for call in waiting {
        assert!(matches!(call.await.unwrap(), Err(LedgerError::Stopped)));
    }
    assert!(matches!(submitter.submit(vec![beat(1)]).await, Err(LedgerError::Stopped)));
}
