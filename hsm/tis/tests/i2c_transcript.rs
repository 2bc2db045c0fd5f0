//! What the driver puts on I2C, byte for byte: its registers, the checksum, a chip that is busy.

use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::{
    delay::NoopDelay,
    i2c::{Mock, Transaction},
};
use hsm_tis::{Cause, Config, DEFAULT_ADDRESS as CHIP, I2cRegisters, Step, Tis};

const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 0x0c, 0, 0, 0x01, 0x7b, 0, 2];
const RESPONSE: [u8; 14] = [0x80, 0x01, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 2, 0xab, 0xcd];

/// CRC-16 "KERMIT" of both, by Python's `binascii.crc_hqx` with all bits reversed.
const COMMAND_CRC: [u8; 2] = [0xdc, 0x1c];
const RESPONSE_CRC: [u8; 2] = [0xbb, 0xa0];

fn read(register: u8, data: &[u8]) -> Vec<Transaction> {
    vec![Transaction::write(CHIP, vec![register]), Transaction::read(CHIP, data.to_vec())]
}

fn write(register: u8, data: &[u8]) -> Vec<Transaction> {
    vec![Transaction::write(CHIP, [&[register], data].concat())]
}

/// Written, then read back.
fn set(register: u8, value: u8) -> Vec<Transaction> {
    [write(register, &[value]), read(register, &[value])].concat()
}

fn opening() -> Vec<Transaction> {
    let capability = [0x82, 0x28, 0x1e, 0x00]; // guard time 20 µs, after everything
    let mut all = vec![
        read(0x30, &capability),
        read(0x30, &capability),
        set(0x40, 1), // checksum on
        set(0x00, 0), // LOC_SEL
        read(0x04, &[0x81]),
        read(0x48, &[0xd1, 0x15, 0x1c, 0x00]),
        read(0x4c, &[0x01]),
        read(0x30, &capability),
        read(0x04, &[0x81]),
    ];
    for locality in 1..5 {
        all.push(set(0x00, locality));
        all.push(read(0x04, &[0x81]));
    }
    all.push(set(0x00, 0));
    all.push(write(0x04, &[0x02]));
    all.push(read(0x04, &[0xa1]));
    all.concat()
}

fn sending() -> Vec<Transaction> {
    [
        write(0x18, &[0x40]),
        read(0x18, &[0xc4, 64, 0, 0]),
        write(0x24, &GET_RANDOM[..11]),
        read(0x18, &[0x8c, 64, 0, 0]),
        write(0x24, &GET_RANDOM[11..]),
        read(0x18, &[0x84, 64, 0, 0]),
    ]
    .concat()
}

fn answering(command_crc: [u8; 2]) -> Vec<Transaction> {
    [
        read(0x44, &command_crc),
        write(0x18, &[0x20]),
        read(0x18, &[0x94, 14, 0, 0]),
        read(0x24, &RESPONSE[..10]),
        read(0x24, &RESPONSE[10..]),
        read(0x18, &[0x84, 0, 0, 0]),
        read(0x44, &RESPONSE_CRC),
        write(0x18, &[0x40]),
    ]
    .concat()
}

fn against(transfers: &[Transaction], work: impl FnOnce(&mut Tis<I2cRegisters<Mock>, NoopDelay>)) {
    let mut i2c = Mock::new(transfers);
    let bus = I2cRegisters::new(i2c.clone(), CHIP, 400_000);
    work(&mut Tis::new(bus, NoopDelay::new(), Config::default()));
    i2c.done();
}

#[test]
fn a_command_and_its_response() {
    let transfers = [opening(), sending(), answering(COMMAND_CRC)].concat();
    against(&transfers, |tis| {
        let mut response = [0; 64];
        let size = tis.transmit(&GET_RANDOM, &mut response, 1_000_000).unwrap();
        assert_eq!(response[..size], RESPONSE);
    });
}

/// A busy chip does not acknowledge its address.
#[test]
fn a_busy_chip_is_asked_again() {
    let busy = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let mut transfers = vec![Transaction::write(CHIP, vec![0x30]).with_error(busy)];
    transfers.push(Transaction::write(CHIP, vec![0x30]).with_error(busy));
    transfers.extend(opening());
    against(&transfers, |tis| assert_eq!(tis.open().unwrap().vendor, 0x15d1));
}

/// The chip does not execute what arrived changed.
#[test]
fn a_command_with_another_checksum() {
    let wrong = [!COMMAND_CRC[0], COMMAND_CRC[1]];
    let transfers = [opening(), sending(), read(0x44, &wrong), write(0x18, &[0x40])].concat();
    against(&transfers, |tis| {
        let error = tis.transmit(&GET_RANDOM, &mut [0; 64], 1_000_000).unwrap_err();
        let (host, chip) = (u16::from_be_bytes(COMMAND_CRC), u16::from_be_bytes(wrong));
        assert_eq!((error.step, error.cause), (Step::Send, Cause::CommandChecksum { host, chip }));
        assert!(!error.may_have_run());
    });
}
