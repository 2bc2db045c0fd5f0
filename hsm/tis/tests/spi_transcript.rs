//! What the driver puts on SPI, byte for byte, wait states included.

use embedded_hal_mock::eh1::{
    delay::NoopDelay,
    digital::{Mock as Pin, State, Transaction as Edge},
    spi::{Mock as Spi, Transaction},
};
use hsm_tis::{Cause, Config, Locality, SpiRegisters, Step, Tis};

type Bytes = Transaction<u8>;

const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 0x0c, 0, 0, 0x01, 0x7b, 0, 8];
const RESPONSE: [u8; 20] =
    [0x80, 0x01, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 8, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe];

/// The header, `waits` polls until the chip lets go (0: at once), and the data.
fn read(header: [u8; 4], waits: usize, data: &[u8]) -> Vec<Bytes> {
    let mut all = address(header, waits);
    all.push(Bytes::transfer_in_place(vec![0; data.len()], data.to_vec()));
    all.push(Bytes::flush());
    all
}

fn write(header: [u8; 4], waits: usize, data: &[u8]) -> Vec<Bytes> {
    let mut all = address(header, waits);
    all.push(Bytes::write_vec(data.to_vec()));
    all.push(Bytes::flush());
    all
}

fn address(header: [u8; 4], waits: usize) -> Vec<Bytes> {
    let last = u8::from(waits == 0);
    let mut all = vec![Bytes::transfer_in_place(header.to_vec(), vec![0xff, 0xff, 0xff, last])];
    all.extend((1..=waits).map(|n| Bytes::transfer_in_place(vec![0], vec![u8::from(n == waits)])));
    all
}

/// Access valid, who are you, give up what locality 0 has, ask for it.
fn opening() -> Vec<Vec<Bytes>> {
    vec![
        read([0x80, 0xd4, 0x00, 0x00], 0, &[0xa1]),
        read([0x83, 0xd4, 0x0f, 0x00], 0, &[0xd1, 0x15, 0x1b, 0x00]),
        read([0x80, 0xd4, 0x0f, 0x04], 0, &[0x16]),
        read([0x83, 0xd4, 0x00, 0x14], 0, &[0x00, 0x06, 0x00, 0x30]),
        read([0x80, 0xd4, 0x00, 0x00], 0, &[0xa1]),
        write([0x00, 0xd4, 0x00, 0x18], 0, &[0x40]),
        write([0x00, 0xd4, 0x00, 0x00], 0, &[0x20]),
        read([0x80, 0xd4, 0x10, 0x00], 0, &[0x81]),
        read([0x80, 0xd4, 0x20, 0x00], 0, &[0x81]),
        read([0x80, 0xd4, 0x30, 0x00], 0, &[0x81]),
        read([0x80, 0xd4, 0x40, 0x00], 0, &[0x81]),
        write([0x00, 0xd4, 0x00, 0x00], 0, &[0x02]),
        read([0x80, 0xd4, 0x00, 0x00], 0, &[0x81]),
        read([0x80, 0xd4, 0x00, 0x00], 0, &[0xa1]),
    ]
}

/// A whole command: bursts of 8, three wait states before the FIFO.
fn exchange() -> Vec<Vec<Bytes>> {
    vec![
        write([0x00, 0xd4, 0x00, 0x18], 1, &[0x40]), // commandReady
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x04, 0, 0, 0x04]), // not yet valid
        write([0x00, 0xd4, 0x00, 0x18], 0, &[0x40]), //
        read([0x83, 0xd4, 0x00, 0x18], 2, &[0xc4, 8, 0, 0x04]), // ready, burst 8
        write([0x07, 0xd4, 0x00, 0x24], 3, &GET_RANDOM[..8]), //
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x8c, 0, 0, 0x04]), // burst 0: ask again
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x8c, 8, 0, 0x04]), //
        write([0x02, 0xd4, 0x00, 0x24], 3, &GET_RANDOM[8..11]), //
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x8c, 5, 0, 0x04]), // Expect: one more
        write([0x00, 0xd4, 0x00, 0x24], 3, &GET_RANDOM[11..]), //
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x84, 0, 0, 0x04]), // no more
        write([0x00, 0xd4, 0x00, 0x18], 0, &[0x20]), // tpmGo
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x84, 0, 0, 0x04]), // executing
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x94, 20, 0, 0x04]), // dataAvail
        read([0x89, 0xd4, 0x00, 0x24], 3, &RESPONSE[..10]), //
        read([0x89, 0xd4, 0x00, 0x24], 3, &RESPONSE[10..]), //
        read([0x83, 0xd4, 0x00, 0x18], 0, &[0x84, 0, 0, 0x04]), // nothing left
        write([0x00, 0xd4, 0x00, 0x18], 0, &[0x40]), // idle
    ]
}

/// Runs `work` against the transcript; one low and one high edge for each transfer.
fn against(
    transfers: &[Vec<Bytes>],
    config: Config,
    work: impl FnOnce(&mut Tis<SpiRegisters<Spi<u8>, Pin>, NoopDelay>),
) {
    let mut spi = Spi::new(&transfers.concat());
    let mut edges = vec![Edge::set(State::High)];
    edges.extend(transfers.iter().flat_map(|_| [Edge::set(State::Low), Edge::set(State::High)]));
    let mut cs = Pin::new(&edges);
    let bus = SpiRegisters::new(spi.clone(), cs.clone(), 10_000_000);
    work(&mut Tis::new(bus, NoopDelay::new(), config));
    spi.done();
    cs.done();
}

#[test]
fn a_command_and_its_response() {
    let transfers = [opening(), exchange()].concat();
    against(&transfers, Config { vendor: Some(0x15d1), ..Config::default() }, |tis| {
        let mut response = [0; 64];
        let size = tis.transmit(&GET_RANDOM, &mut response, 1_000_000).unwrap();
        assert_eq!(response[..size], RESPONSE);
        let chip = tis.identity().unwrap();
        assert_eq!(
            (chip.vendor, chip.device, chip.revision, chip.capability),
            (0x15d1, 0x1b, 0x16, 0x3000_0600)
        );
    });
}

/// The second command needs no locality again.
#[test]
fn the_locality_is_kept() {
    let transfers = [opening(), exchange(), exchange()].concat();
    against(&transfers, Config::default(), |tis| {
        for _ in 0..2 {
            let mut response = [0; 64];
            assert_eq!(tis.transmit(&GET_RANDOM, &mut response, 1_000_000), Ok(RESPONSE.len()));
        }
    });
}

/// Nothing is asked of a chip of another vendor beyond who it is.
#[test]
fn another_vendor() {
    against(&opening()[..2], Config { vendor: Some(0x1050), ..Config::default() }, |tis| {
        let error = tis.open().unwrap_err();
        assert_eq!(
            (error.step, error.cause),
            (Step::Open, Cause::WrongVendor { expected: 0x1050, found: 0x15d1 })
        );
        assert_eq!(
            error.to_string(),
            "TPM, opening the interface: the chip is of vendor 0x15d1, but 0x1050 is pinned; put the right chip in, or pin this one"
        );
    });
}

/// Page, locality and register of each header follow the configuration.
#[test]
fn another_locality() {
    let transfers = [read([0x80, 0xd4, 0x20, 0x00], 0, &[0x81]), read([0x83, 0xd4, 0x2f, 0x00], 0, &[0; 4])];
    against(&transfers, Config { locality: Locality::Two, ..Config::default() }, |tis| {
        assert_eq!(tis.open().unwrap_err().cause, Cause::NoChip { did_vid: 0 });
    });
}

/// Refused before anything is on the bus.
#[test]
fn commands_that_are_none() {
    let (mut spi, mut cs) = (Spi::new(&[]), Pin::new(&[]));
    let bus = SpiRegisters::new(spi.clone(), cs.clone(), 10_000_000);
    let mut tis = Tis::new(bus, NoopDelay::new(), Config::default());
    let mut response = [0; 64];
    let mut short_size = GET_RANDOM;
    short_size[5] = 11;
    for command in [&GET_RANDOM[..9], &GET_RANDOM[..11], &short_size] {
        let error = tis.transmit(command, &mut response, 1).unwrap_err();
        assert_eq!((error.step, error.cause), (Step::Check, Cause::CommandSize { length: command.len() }));
        assert!(!error.may_have_run());
    }
    let error = tis.transmit(&GET_RANDOM, &mut response[..9], 1).unwrap_err();
    assert_eq!(error.cause, Cause::ResponseBuffer { capacity: 9 });
    spi.done();
    cs.done();
}
