//! What the chip layer does with answers, on a transport that plays them back.

use super::*;
use crate::{commands::management, transport::Cancel};
use hsm_api::OsEntropy;
use std::{collections::VecDeque, sync::Mutex};

/// Answers in order; then none any more.
struct Script {
    answers: VecDeque<Result<Vec<u8>, TpmError>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Transport for Script {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        self.sent.lock().unwrap().push(command.to_vec());
        let none = || Err(TpmError::TimedOut { command: "a command", budget });
        let answer = self.answers.pop_front().unwrap_or_else(none)?;
        response[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        None
    }
}

fn bare(code: u32) -> Vec<u8> {
    [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

fn chip(answers: Vec<Vec<u8>>) -> (Chip, Arc<Mutex<Vec<Vec<u8>>>>) {
    let sent = Arc::default();
    let script = Script { answers: answers.into_iter().map(Ok).collect(), sent: Arc::clone(&sent) };
    (Chip::new(Box::new(script), Arc::new(OsEntropy), Duration::from_millis(300)), sent)
}

#[test]
fn a_command_is_sent_again_while_the_chip_asks_for_it() {
    let (mut chip, sent) = chip(vec![bare(0x922), bare(0x908), bare(0x90a), bare(0)]);
    management::shutdown(&mut chip).unwrap();
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|s| *s == sent[0]));
    // TPM2_Shutdown(CLEAR), part 3, 9.4
    assert_eq!(sent[0], [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 0]);
}

#[test]
fn a_chip_that_asks_for_ever_is_busy_at_the_deadline() {
    let (mut chip, _) = chip(vec![bare(0x922); 1000]);
    let e = management::shutdown(&mut chip).unwrap_err();
    assert!(matches!(e, TpmError::StillBusy { command: "Shutdown", .. }), "{e}");
    assert!(matches!(e.into(), hsm_api::HsmError::Busy));
}

#[test]
fn a_chip_that_says_nothing_is_named_with_the_command() {
    let (mut chip, _) = chip(vec![]);
    let e = management::shutdown(&mut chip).unwrap_err();
    assert!(matches!(e, TpmError::TimedOut { command: "Shutdown", .. }), "{e}");
}

#[test]
fn failure_mode_is_named_with_the_test_result() {
    let result = [&[0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4][..], &[0, 0, 1, 1]].concat();
    let (mut failing, _) = chip(vec![bare(0x101), result]);
    let e = management::self_test(&mut failing).unwrap_err();
    assert!(e.to_string().contains("test result 0x101, data 01020304"), "{e}");
    let result = [&[0x80, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0][..], &[0, 0, 1, 1]].concat();
    let (mut untested, _) = chip(vec![bare(0), result]);
    assert!(matches!(management::self_test(&mut untested), Err(TpmError::FailureMode { .. })));
}

#[test]
fn what_is_no_answer_of_a_tpm_2_is_malformed() {
    let cases: [&[u8]; 8] = [
        &[],
        &[0x80],
        &[0x80, 1, 0, 0, 0, 10, 0, 0, 0],
        &[0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0],
        &[0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0x80, 3, 0, 0, 0, 10, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 10, 0, 0, 0, 0],
        &[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0, 9],
    ];
    for case in cases {
        let (mut chip, _) = chip(vec![case.to_vec()]);
        let e = management::algorithms(&mut chip).unwrap_err();
        assert!(matches!(e, TpmError::Malformed { command: "GetCapability", .. }), "{case:x?}: {e}");
    }
    let (mut old, _) = chip(vec![vec![0, 0xc4, 0, 0, 0, 10, 0, 0, 0, 30]]);
    let e = management::startup(&mut old).unwrap_err();
    assert!(e.to_string().contains("TPM 1.2"), "{e}");
}

#[test]
fn a_capability_list_must_have_the_length_it_says() {
    // a vendor's algorithm that nobody knows does not spoil the list
    let list = |count: u8| {
        let items = [0xfe, 0xdc, 0, 0, 0, 0, 0, 0x1b, 0, 0, 0, 1];
        [&[0x80, 1, 0, 0, 0, 31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, count][..], &items].concat()
    };
    let (mut good, _) = chip(vec![list(2)]);
    assert_eq!(management::algorithms(&mut good).unwrap(), [0xfedc, 0x001b]);
    for count in [0, 1, 3, 255] {
        let (mut bad, _) = chip(vec![list(count)]);
        assert!(matches!(management::algorithms(&mut bad), Err(TpmError::Malformed { .. })), "{count}");
    }
}

/// Bytes of any kind come in: no answer makes it panic, and none is taken for a random number.
#[test]
fn no_answer_makes_it_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..5_000 {
        let answers = (0..4)
            .map(|_| {
                let length = usize::try_from(next() % 64).unwrap();
                let mut bytes: Vec<u8> = (0..length).map(|_| next().to_be_bytes()[0]).collect();
                // most have a plausible header, to get further
                if bytes.len() >= 10 && next() % 4 != 0 {
                    bytes[..2].copy_from_slice(&[0x80, 1 + (next() % 2) as u8]);
                    let length = u32::try_from(bytes.len()).unwrap();
                    bytes[2..6].copy_from_slice(&length.to_be_bytes());
                    bytes[6..10].copy_from_slice(&[0; 4]);
                }
                bytes
            })
            .collect();
        let (mut chip, _) = chip(answers);
        let mut out = [0; 16];
        assert!(management::random(&mut chip, &mut out).is_err());
        assert_eq!(out, [0; 16]);
    }
}
