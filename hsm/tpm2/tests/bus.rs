//! Somebody on the wire: he listens, changes bits, substitutes keys, or says nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail the test")]

mod common;

use common::{Dice, Simulator, Tapped};
use gw_proto::Scheme;
use hsm_api::{HsmError, KeyPurpose, KeyStore as _, seal::SealTo, sign_message};
use hsm_tpm2::{Entity, Options, Secret, Tpm2KeyStore, TpmError, commands};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

fn secret(byte: u8) -> Secret {
    Secret::new(vec![byte; 32].into()).unwrap()
}

/// Everything that crosses the bus from the first salted session on is searched for what must not.
#[test]
fn a_listener_learns_no_secret() {
    let chip = Simulator::start();
    let heard = Arc::new(Mutex::new(Vec::<u8>::new()));
    let tape = heard.clone();
    let listening = Tapped::new(chip.swtpm(), move |command, pass| {
        let answer = pass(command)?;
        tape.lock().unwrap().extend([&command[..], &answer[..]].concat());
        Ok(answer)
    });
    let options = Options { key_auth: secret(0x41), ..chip.options_over(Arc::new(listening)) };
    let store = Tpm2KeyStore::init(options).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    sign_message(&*key, b"m").unwrap();
    let sealed_secret = *b"sealed: nobody on the bus reads this";
    let sealed = store.sealer().seal(&sealed_secret, &SealTo { pcrs: vec![0], floor: None }).unwrap();
    assert_eq!(*store.sealer().unseal(&sealed).unwrap(), sealed_secret);
    let mut random = [0; 64];
    store.entropy().fill(&mut random).unwrap();
    let new = secret(0x42);
    store
        .with_chip(|chip, _| {
            commands::management::change_auth(chip, &Entity::owner(), &Secret::empty(), &new)
        })
        .unwrap();
    let heard = heard.lock().unwrap();
    let hears = |what: &[u8]| what.windows(8).any(|w| heard.windows(8).any(|h| h == w));
    assert!(!hears(&sealed_secret) && !hears(&random) && !hears(&[0x42; 32]) && !hears(&[0x41; 32]));
    // the search finds what does cross in clear
    assert!(hears(&key.public_key().point.0[..32]));
}

/// 1,000 schedules of flipped bits.
#[test]
fn flipped_bits_are_noticed_and_the_next_operation_works() {
    let (dice, seed) = Dice::fresh();
    println!("seed {seed}");
    let dice = Arc::new(Mutex::new(dice));
    let armed = Arc::new(AtomicBool::new(false));
    let flips = Arc::new(AtomicUsize::new(0));
    let chip = Simulator::start();
    let (d, a, f) = (dice.clone(), armed.clone(), flips.clone());
    let hurry: Arc<AtomicBool> = Arc::default();
    let h = hurry.clone();
    let mut bad = Tapped::new(chip.swtpm(), move |command, pass| {
        let flip = |bytes: &mut Vec<u8>| {
            let mut dice = d.lock().unwrap();
            if a.load(Ordering::SeqCst) && !bytes.is_empty() && dice.below(3) == 0 {
                let (at, bit) = (dice.below(bytes.len()), dice.below(8));
                bytes[at] ^= 1 << bit;
                f.fetch_add(1, Ordering::SeqCst);
                h.store(true, Ordering::SeqCst);
            }
        };
        flip(command);
        let answer = pass(command);
        h.store(false, Ordering::SeqCst);
        let mut answer = answer?;
        flip(&mut answer);
        h.store(false, Ordering::SeqCst);
        Ok(answer)
    });
    bad.hurry = hurry;
    let options =
        Options { key_auth: secret(3), budget: Duration::from_secs(20), ..chip.options_over(Arc::new(bad)) };
    let store = Tpm2KeyStore::init(options).unwrap();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::EcdsaP256Sha256).unwrap();
    let world = World {
        keys: [("sm2", Scheme::Sm2Sm3), ("p256", Scheme::EcdsaP256Sha256)]
            .map(|(name, scheme)| store.create_key(name, KeyPurpose::Node, scheme).unwrap()),
        sealed: store.sealer().seal(b"sealed", &SealTo { pcrs: vec![7], floor: None }).unwrap(),
        pcrs: store.read_pcrs(&[0, 7]).unwrap(),
        counter: store.sealer().counter().unwrap(),
        attestor: store.attestor("ak").unwrap(),
        store,
    };
    let mut named = 0;
    for round in 0..1000 {
        let operation = dice.lock().unwrap().below(OPERATIONS);
        armed.store(true, Ordering::SeqCst);
        let result = world.try_one(operation, round);
        armed.store(false, Ordering::SeqCst);
        named += usize::from(result.is_err());
        let next = dice.lock().unwrap().below(OPERATIONS);
        if let Err(e) = world.try_one(next, round) {
            panic!("seed {seed}, schedule {round}: operation {next} after {operation} ({result:?}): {e}");
        }
    }
    let flips = flips.load(Ordering::SeqCst);
    println!("{flips} bits flipped in 1000 schedules, {named} named errors");
    assert!(flips > 500 && named > 200, "the flips did not reach the chip");
}

const OPERATIONS: usize = 7;

struct World {
    store: Tpm2KeyStore,
    keys: [Arc<dyn hsm_api::Signer>; 2],
    sealed: Vec<u8>,
    pcrs: Vec<(u8, [u8; 32])>,
    counter: u64,
    attestor: Arc<dyn hsm_api::attest::Attestor>,
}

impl World {
    /// A right result or an error; a wrong result ends the test.
    fn try_one(&self, operation: usize, round: usize) -> Result<(), HsmError> {
        let message = round.to_be_bytes();
        match operation {
            0 | 1 => {
                let key = &self.keys[operation];
                let signature = sign_message(&**key, &message)?;
                gw_sm::verify(key.public_key(), &message, &signature).unwrap();
            }
            2 => {
                let mut out = [0; 32];
                self.store.entropy().fill(&mut out)?;
                assert_ne!(out, [0; 32]);
            }
            3 => assert_eq!(*self.store.sealer().unseal(&self.sealed)?, *b"sealed"),
            4 => assert_eq!(self.store.read_pcrs(&[0, 7])?, self.pcrs),
            5 => assert_eq!(self.store.sealer().counter()?, self.counter),
            _ => {
                let quote = self.attestor.quote(&message, &[0, 7])?;
                use sha2::Digest as _;
                let digest: [u8; 32] = sha2::Sha256::digest(&quote.statement.attested).into();
                let key = self.attestor.attestation_key().public;
                gw_sm::verify_digest(&key, &digest, &quote.statement.signature).unwrap();
                assert_eq!(quote.pcrs, self.pcrs);
            }
        }
        Ok(())
    }
}

/// Somebody in the middle shows a storage key of his own, whose salt he could read.
#[test]
fn a_substituted_storage_key_is_refused() {
    let (chip, his) = (Simulator::start(), Simulator::start());
    let store = chip.init();
    let pin = store.pin();
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    his.init().disconnect().unwrap();
    let mut options = chip.options_over(Arc::new(his.swtpm()));
    for pinned in [pin, None] {
        options.pinned = pinned;
        let e = Tpm2KeyStore::open(options.clone()).unwrap_err();
        assert!(matches!(e, TpmError::PinMismatch { .. }), "{e}");
        assert!(e.to_string().contains("re-enrol"));
    }
}

/// Retry codes in front of the real answers.
#[test]
fn retry_codes_are_waited_out() {
    let chip = Simulator::start();
    let count = AtomicU32::new(0);
    let grudging = Tapped::new(chip.swtpm(), move |command, pass| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        match n % 3 {
            0 => {
                Ok([&[0x80, 1, 0, 0, 0, 10, 0, 0, 0x09][..], &[0x22 - 0x1a * u8::from(n.is_multiple_of(2))]]
                    .concat())
            }
            _ => pass(command),
        }
    });
    let store = Tpm2KeyStore::init(chip.options_over(Arc::new(grudging))).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    for n in 0..5u8 {
        let signature = sign_message(&*key, &[n]).unwrap();
        gw_sm::verify(key.public_key(), &[n], &signature).unwrap();
    }
}

/// A chip that works on a signature until it is told to stop, and answers TPM_RC_CANCELED then.
#[test]
fn a_command_is_cancelled_from_another_thread() {
    let chip = Simulator::start();
    chip.init().disconnect().unwrap();
    let slow = Arc::new(SlowSigner { inner: chip.swtpm(), working: Arc::default(), told: Arc::default() });
    let store = Tpm2KeyStore::open(chip.options_over(slow.clone())).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let (arrived, arrivals) = std::sync::mpsc::channel();
    *slow.working.lock().unwrap() = Some(arrived);
    std::thread::scope(|scope| {
        let signing = scope.spawn(|| sign_message(&*key, b"m"));
        arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
        store.cancel().unwrap();
        assert!(matches!(signing.join().unwrap(), Err(HsmError::Cancelled)));
    });
    *slow.working.lock().unwrap() = None;
    // nothing to cancel is no error, and the next one is not cancelled
    store.cancel().unwrap();
    sign_message(&*key, b"m").unwrap();
}

type Working = Arc<Mutex<Option<std::sync::mpsc::Sender<()>>>>;

struct SlowSigner {
    inner: hsm_tpm2::transport::swtpm::Swtpm,
    working: Working,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told(Mutex<bool>, std::sync::Condvar);

impl hsm_tpm2::transport::Cancel for Told {
    fn cancel(&self) -> Result<(), TpmError> {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
        Ok(())
    }
}

impl hsm_tpm2::transport::Connect for SlowSigner {
    fn connect(&self, budget: Duration) -> Result<Box<dyn hsm_tpm2::transport::Transport>, TpmError> {
        let inner = hsm_tpm2::transport::Connect::connect(&self.inner, budget)?;
        Ok(Box::new(SlowWay { inner, working: self.working.clone(), told: self.told.clone() }))
    }
    fn place(&self) -> String {
        "slow".to_owned()
    }
    fn is_shared(&self) -> bool {
        false
    }
}

struct SlowWay {
    inner: Box<dyn hsm_tpm2::transport::Transport>,
    working: Working,
    told: Arc<Told>,
}

impl hsm_tpm2::transport::Transport for SlowWay {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        let signs = command.get(6..10) == Some(&[0, 0, 1, 0x5d]);
        let working = self.working.lock().unwrap().clone();
        if let (true, Some(arrived)) = (signs, working) {
            arrived.send(()).unwrap();
            let told = self.told.0.lock().unwrap();
            let (mut told, late) = self.told.1.wait_timeout_while(told, budget, |t| !*t).unwrap();
            assert!(!late.timed_out(), "nobody cancelled");
            *told = false;
            let cancelled = [0x80, 1, 0, 0, 0, 10, 0, 0, 0x09, 0x09];
            response[..10].copy_from_slice(&cancelled);
            return Ok(10);
        }
        self.inner.transmit(command, response, budget)
    }
    fn canceller(&self) -> Option<Arc<dyn hsm_tpm2::transport::Cancel>> {
        Some(self.told.clone())
    }
}

/// swtpm's own control channel; it works on one command at a time, so the command is done by then.
#[test]
fn cancelling_by_the_control_channel_harms_nothing() {
    let chip = Simulator::start();
    let store = chip.init();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    std::thread::scope(|scope| {
        let signing = scope.spawn(|| {
            for n in 0..50u8 {
                match sign_message(&*key, &[n]) {
                    Ok(signature) => gw_sm::verify(key.public_key(), &[n], &signature).unwrap(),
                    Err(e) => assert!(matches!(e, HsmError::Cancelled), "{e}"),
                }
            }
        });
        for _ in 0..10 {
            store.cancel().unwrap();
        }
        signing.join().unwrap();
    });
    sign_message(&*key, b"m").unwrap();
}

/// A chip that does not answer: a named error when the budget is spent, and the next call works.
#[test]
fn silence_ends_with_the_budget() {
    let chip = Simulator::start();
    chip.init().disconnect().unwrap();
    let silent = Arc::new(AtomicBool::new(false));
    let s = silent.clone();
    let way = Tapped::new(chip.swtpm(), move |command, pass| {
        if s.load(Ordering::SeqCst) {
            // not even a header: the chip waits for the rest
            command.truncate(4);
        }
        pass(command)
    });
    let options = Options { budget: Duration::from_millis(500), ..chip.options_over(Arc::new(way)) };
    let store = Tpm2KeyStore::open(options).unwrap();
    silent.store(true, Ordering::SeqCst);
    let e = store.read_pcrs(&[0]).unwrap_err();
    assert!(matches!(e, TpmError::TimedOut { command: "PCR_Read", .. }), "{e}");
    silent.store(false, Ordering::SeqCst);
    store.read_pcrs(&[0]).unwrap();
}

/// The self test of the chip fails: the keystore does not open, and says what the chip says.
#[test]
fn a_failing_chip_stays_closed() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    let b = broken.clone();
    let way = Tapped::new(chip.swtpm(), move |command, pass| {
        let failing = b.load(Ordering::SeqCst);
        match command.get(6..10) {
            // SelfTest: TPM_RC_FAILURE; GetTestResult: two bytes and a code
            Some([0, 0, 1, 0x43]) if failing => Ok(vec![0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]),
            Some([0, 0, 1, 0x7c]) if failing => {
                Ok(vec![0x80, 1, 0, 0, 0, 18, 0, 0, 0, 0, 0, 2, 0xab, 0xcd, 0, 0, 1, 1])
            }
            _ => pass(command),
        }
    });
    let options = chip.options_over(Arc::new(way));
    let e = Tpm2KeyStore::open(options.clone()).unwrap_err();
    assert!(e.to_string().contains("data abcd") && e.to_string().contains("power-cycle"), "{e}");
    broken.store(false, Ordering::SeqCst);
    let store = Tpm2KeyStore::open(options).unwrap();
    let key = store.load_key("node", KeyPurpose::Node).unwrap();
    sign_message(&*key, b"m").unwrap();
    // one that fails while it is open closes, and stays closed
    broken.store(true, Ordering::SeqCst);
    assert!(matches!(store.self_test(), Err(TpmError::FailureMode { .. })));
    broken.store(false, Ordering::SeqCst);
    assert!(matches!(sign_message(&*key, b"m"), Err(HsmError::Closed(_))));
}

/// A random source that repeats closes the keystore; salts and nonces would repeat too.
#[test]
fn a_stuck_random_source_stays_closed() {
    struct Stuck;
    impl hsm_api::Entropy for Stuck {
        fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
            out.fill(3);
            Ok(())
        }
    }
    let chip = Simulator::start();
    let e = Tpm2KeyStore::init(Options { entropy: Arc::new(Stuck), ..chip.options() }).unwrap_err();
    assert!(matches!(e, TpmError::Closed(_)) && !chip.path("keys.json").exists(), "{e}");
}
