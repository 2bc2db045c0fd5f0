//! The driver to a real TPM 2.0 implementation: swtpm behind the registers, over SPI and over I2C.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use hsm_tis::{Config, DEFAULT_ADDRESS, I2cRegisters, RegisterBus, SpiRegisters, Tis};
use hsm_tis_model::{Endpoint, Model, ModelConfig, ModelDelay, Swtpm};
use std::{
    process::{Child, Command},
    sync::mpsc,
    time::{Duration, Instant},
};

const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 0x0c, 0, 0, 0x01, 0x7b, 0, 16];
/// `TPM_CAP_TPM_PROPERTIES`, one, from `TPM_PT_FAMILY_INDICATOR`.
const GET_FAMILY: [u8; 22] =
    [0x80, 0x01, 0, 0, 0, 0x16, 0, 0, 0x01, 0x7a, 0, 0, 0, 6, 0, 0, 0x01, 0x00, 0, 0, 0, 1];
const STARTUP_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 0x0c, 0, 0, 0x01, 0x44, 0, 0];
/// `TPM_RC_INITIALIZE`
const NOT_STARTED: [u8; 10] = [0x80, 0x01, 0, 0, 0, 0x0a, 0, 0, 0x01, 0x00];
const SUCCESS: [u8; 4] = [0; 4];
const BUDGET_US: u32 = 2_000_000;
const START: Duration = Duration::from_secs(20);

/// swtpm on sockets in a folder of its own; ends with this value.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("type=unixio,path={}", folder.path().join(name).display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--server", &at("commands"), "--ctrl", &at("control")])
            .args(["--tpmstate", &format!("dir={}", folder.path().display())])
            .spawn()
            .expect("swtpm starts (package swtpm)");
        Self { child, folder }
    }

    fn connect(&self) -> Swtpm {
        let end = |name: &str| Endpoint::Unix(self.folder.path().join(name));
        let (_keep, pause) = mpsc::channel::<()>();
        let begin = Instant::now();
        loop {
            match Swtpm::connect(&end("commands"), Some(end("control")), 600) {
                Ok(swtpm) => return swtpm,
                Err(e) if begin.elapsed() > START => panic!("{e}: {}", e.source),
                Err(_) => _ = pause.recv_timeout(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask<B: RegisterBus>(tis: &mut Tis<B, ModelDelay>, command: &[u8]) -> Vec<u8> {
    let mut response = vec![0; 4096];
    let size = tis.transmit(command, &mut response, BUDGET_US).unwrap();
    response.truncate(size);
    response
}

fn talk<B: RegisterBus>(model: &Model, mut tis: Tis<B, ModelDelay>) {
    let (first, second) = (ask(&mut tis, &GET_RANDOM), ask(&mut tis, &GET_RANDOM));
    for random in [&first, &second] {
        assert_eq!((random.len(), &random[6..10], &random[10..12]), (28, &SUCCESS[..], &[0, 16][..]));
    }
    assert_ne!(first, second);
    let family = ask(&mut tis, &GET_FAMILY);
    assert_eq!(family[6..10], SUCCESS);
    assert!(family.ends_with(b"\x00\x00\x01\x002.0\0"), "{family:02x?}");

    // a chip that is reset wants to be started again, and then works
    model.reset();
    assert_eq!(ask(&mut tis, &GET_RANDOM), NOT_STARTED);
    assert_eq!(ask(&mut tis, &STARTUP_CLEAR)[6..10], SUCCESS);
    assert_eq!(ask(&mut tis, &GET_RANDOM)[6..10], SUCCESS);
}

#[test]
fn over_spi() {
    let server = Server::start();
    let model = Model::new(ModelConfig { vary: Some(1), ..ModelConfig::default() }, server.connect());
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    talk(&model, Tis::new(bus, model.delay(), Config::default()));
}

#[test]
fn over_i2c() {
    let server = Server::start();
    let model = Model::new(ModelConfig { vary: Some(2), ..ModelConfig::default() }, server.connect());
    let bus = I2cRegisters::new(model.i2c(), DEFAULT_ADDRESS, 400_000);
    talk(&model, Tis::new(bus, model.delay(), Config::default()));
}

#[test]
fn without_a_server() {
    let nowhere = Endpoint::Unix("/nonexistent/swtpm".into());
    let error = Swtpm::connect(&nowhere, None, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot connect to swtpm at /nonexistent/swtpm; start it: swtpm socket")
    );
}
