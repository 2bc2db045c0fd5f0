//! The program on a box of files: the questions before a real terminal, a network on trial, a stick.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);
const SETUP: &str = env!("CARGO_BIN_EXE_xinguan-setup");

/// The gateway that judges: `XINGUAN_BIN`, which scripts/test sets, or the one beside our program.
fn gateway() -> PathBuf {
    let given = std::env::var_os("XINGUAN_BIN").map(PathBuf::from);
    let found = given.unwrap_or_else(|| Path::new(SETUP).with_file_name("xinguan"));
    assert!(found.is_file(), "no {}: run `cargo build -p xinguan --features dev`", found.display());
    found
}

fn new_box() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for folder in ["config", "run/systemd", "var/lib/xinguan", "proc/sys/kernel/random"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    boot(&dir, "boot-1");
    for n in 1..=2 {
        let card = at(&format!("sys/class/net/enp{n}s0"));
        fs::create_dir_all(card.join("device")).unwrap();
        fs::write(card.join("address"), format!("52:54:00:00:00:0{n}\n")).unwrap();
        fs::write(card.join("carrier"), format!("{}\n", n % 2)).unwrap();
    }
    dir
}

fn boot(dir: &TempDir, id: &str) {
    fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), id).unwrap();
}

fn setup(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(SETUP).arg("--root").arg(dir.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A person at a terminal; the program is ended with it.
struct Person {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    program: Child,
}

impl Person {
    fn sit_down(dir: &TempDir) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let program = Command::new(SETUP)
            .arg("--root")
            .arg(dir.path())
            .args(["wizard", "--console", &name, "--xinguan"])
            .arg(gateway())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let keyboard = File::from(ours);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, receive) = sync_channel(1024);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = screen.read(&mut bytes) {
                if send.send(bytes.get(..n).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, screen: receive, seen: String::new(), program }
    }
    /// Waits until something stands on the screen that was not there before.
    fn sees(&mut self, wanted: &str) {
        let deadline = Instant::now() + WITHIN;
        while !self.seen.contains(wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.screen.recv_timeout(left);
            let bytes =
                bytes.unwrap_or_else(|e| panic!("`{wanted}` is not on the screen ({e}):\n{}", self.seen));
            self.seen.push_str(&text(&bytes));
        }
        let at = self.seen.find(wanted).unwrap() + wanted.len();
        self.seen.drain(..at);
    }
    fn types(&mut self, line: &str) {
        self.sees("> ");
        writeln!(self.keyboard, "{line}").unwrap();
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The example configuration, with what only this box knows left open.
fn template() -> String {
    let example = include_str!("../../../gateway/xinguan.example.toml");
    let mut out = String::new();
    let mut section = String::new();
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        }
        if section == "source" || section == "keystore" {
            continue;
        }
        let line = match (section.as_str(), line.split(" = ").next().unwrap_or_default()) {
            ("node", "id") => "id = \"@NODE@\"",
            ("node", "institution") => "institution = \"@INSTITUTION@\"",
            ("node", "roles") => "roles = [\"institution\"]",
            ("listen.bank", "address") => "address = \"@INSIDE@:8443\"",
            ("listen.man", "address") => "address = \"@MAN@:9443\"",
            ("listen.admin", "address") => "address = \"@INSIDE@:9000\"",
            _ => line,
        };
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("[keystore]\nkind = \"tpm2\"\npath = \"/var/lib/xinguan/tpm-keys.json\"\n[keystore.tpm2]\ndevice = \"/dev/tpmrm0\"\n");
    out
}

#[test]
fn seven_lines_configure_a_box() {
    let dir = new_box();
    let config = dir.path().join("config");
    fs::write(config.join("template.toml"), template()).unwrap();
    let mut person = Person::sit_down(&dir);
    person.sees("本机尚未配置");
    person.sees("this box has no configuration");
    person.types("1");
    person.sees("enp1s0  52:54:00:00:00:01  网线已接");
    person.sees("enp2s0  52:54:00:00:00:02  无信号");
    person.types("1 10.1.0.5/24");
    person.types("1 10.200.3.7/24 10.200.3.1");
    person.sees("✗ 与内网同一网卡");
    person.types("2 10.200.3.7/24 10.200.3.1");
    person.types("10.200.0.4");
    person.types("bank-suzhou/bank-suzhou-7");
    person.types("");
    person.sees("节点   bank-suzhou/bank-suzhou-7");
    assert!(!config.join("setup.json").exists(), "nothing is written before the last question");
    person.types("yes");
    person.sees("本机重启后生成密钥");
    assert!(person.program.wait().unwrap().success());
    assert!(!config.join("setup.json").exists(), "who asks writes nothing");
    let written = setup(&dir, &["answers", "--xinguan", gateway().to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let toml = fs::read_to_string(config.join("xinguan.toml")).unwrap();
    assert!(
        toml.contains("id = \"bank-suzhou-7\"\n") && toml.contains("address = \"10.200.3.7:9443\"\n"),
        "{toml}"
    );
    assert!(
        fs::read_to_string(config.join("network/20-man.network")).unwrap().contains("Gateway=10.200.3.1\n")
    );
    assert!(dir.path().join("run/xinguan-setup/restart").exists());
    assert!(!config.join("next").exists());
}

#[test]
fn what_the_gateway_refuses_is_not_written() {
    let dir = new_box();
    let config = dir.path().join("config");
    // a listener needs a number as its port
    fs::write(config.join("template.toml"), template().replace("@INSIDE@:8443", "@INSIDE@:none")).unwrap();
    let mut person = Person::sit_down(&dir);
    for _ in 0..2 {
        person.types("2");
        person.types("1 10.1.0.5/24");
        person.types("2 10.200.3.7/24 10.200.3.1");
        person.types("");
        person.types("bank-suzhou/bank-suzhou-7");
        person.types("");
        person.types("yes");
        person.sees("Not accepted: ");
        person.sees("listen.bank.address: ");
    }
    assert!(!dir.path().join("run/xinguan-setup/answers").exists());
    // a request that did not come from the questions
    fs::create_dir_all(dir.path().join("run/xinguan-setup")).unwrap();
    for request in ["", "{}", "{\"node\":1}"] {
        fs::write(dir.path().join("run/xinguan-setup/answers"), request).unwrap();
        assert_eq!(setup(&dir, &["answers"]).status.code(), Some(1));
        assert!(!dir.path().join("run/xinguan-setup/answers").exists(), "it is not tried for ever");
    }
    assert!(!config.join("xinguan.toml").exists() && !config.join("network").exists());
    assert!(!dir.path().join("run/xinguan-setup/restart").exists());
}

fn network(dir: &TempDir) -> Vec<String> {
    let files = fs::read_dir(dir.path().join("run/systemd/network")).unwrap();
    let mut names: Vec<_> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_network_is_confirmed_or_comes_back() {
    let dir = new_box();
    let at = |path: &str| dir.path().join(path);
    assert!(setup(&dir, &["boot"]).status.success());
    assert_eq!(network(&dir), ["90-waiting.network"], "cards are up, without addresses");
    fs::create_dir(at("config/network")).unwrap();
    fs::write(at("config/network/old.network"), "[Match]\n").unwrap();
    assert!(setup(&dir, &["boot"]).status.success());
    assert_eq!(network(&dir), ["old.network"]);

    let request = at("run/request.json");
    let ask =
        |files: &str| fs::write(&request, format!("{{\"confirm_within_s\":600,\"files\":{files}}}")).unwrap();
    let apply = || setup(&dir, &["network", "apply", request.to_str().unwrap(), "--consume"]);
    ask("{\"new.network\":\"[Match]\\n\"}");
    let out = apply();
    assert!(text(&out.stdout).contains("confirm it within 600 s"), "{out:?}");
    assert_eq!(network(&dir), ["new.network"]);
    assert!(!request.exists());
    ask("{\"third.network\":\"[Match]\\n\"}");
    let out = apply();
    assert!(text(&out.stderr).contains("a network is on trial already"), "{out:?}");
    assert!(!request.exists(), "a refused request is not tried for ever");

    // the system starts anew before anybody confirms
    boot(&dir, "boot-2");
    let out = setup(&dir, &["boot"]);
    assert!(text(&out.stdout).contains("the old one is back"), "{out:?}");
    assert_eq!(network(&dir), ["old.network"]);

    ask("{\"new.network\":\"[Match]\\n\"}");
    assert!(apply().status.success());
    let mut watch =
        Command::new(SETUP).arg("--root").arg(dir.path()).args(["network", "watch"]).spawn().unwrap();
    assert!(setup(&dir, &["network", "confirm"]).status.success());
    assert!(watch.wait().unwrap().success());
    boot(&dir, "boot-3");
    assert!(setup(&dir, &["boot"]).status.success());
    assert_eq!(network(&dir), ["new.network"]);
    assert!(!setup(&dir, &["network", "confirm"]).status.success());
    for bad in ["{\"../x.network\":\"\"}", "{}", "{\"x.service\":\"\"}", "[]"] {
        ask(bad);
        assert_eq!(apply().status.code(), Some(1), "{bad}");
        assert_eq!(network(&dir), ["new.network"]);
    }
}

#[test]
fn the_watch_ends_with_the_trial() {
    let dir = new_box();
    let folder = dir.path().join("new");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("new.network"), "[Match]\n").unwrap();
    let from = folder.to_str().unwrap();
    assert_eq!(setup(&dir, &["network", "apply", from]).status.code(), Some(1), "no time was given");
    assert_eq!(setup(&dir, &["network", "apply", from, "--confirm-within", "9"]).status.code(), Some(1));
    assert!(setup(&dir, &["network", "apply", from, "--confirm-within", "10"]).status.success());
    let pending = dir.path().join("config/pending.json");
    // the same start's clock has passed it
    fs::write(&pending, "{\"boot\":\"boot-1\",\"deadline_ms\":1}").unwrap();
    assert_eq!(setup(&dir, &["network", "watch"]).status.code(), Some(3));
    assert!(text(&setup(&dir, &["network", "confirm"]).stderr).contains("too late"));
    assert!(setup(&dir, &["network", "take-back"]).status.success());
    assert_eq!(network(&dir), ["90-waiting.network"]);
    assert!(!pending.exists());
}

#[test]
fn a_stick_from_the_supervisor_configures_a_box() {
    let dir = new_box();
    let at = |path: &str| dir.path().join(path);
    let key = gw_sm::KeyPair::from_secret(gw_proto::Scheme::Sm2Sm3, [5; 32]).unwrap();
    fs::write(at("signer.pem"), &**gw_sm::cert::key_to_pem(&key).unwrap()).unwrap();
    let toml = template().replace("@NODE@", "bank-suzhou-1").replace("@INSTITUTION@", "bank-suzhou");
    let toml = toml.replace("@INSIDE@", "10.1.0.5").replace("@MAN@", "10.200.3.7");
    for folder in ["bundle", "stick", "usr/lib/xinguan"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("bundle/xinguan.toml"), toml).unwrap();
    let out = at("stick/xinguan.provision");
    let (signer, bundle) = (at("signer.pem"), at("bundle"));
    let (signer, bundle, out) = (signer.to_str().unwrap(), bundle.to_str().unwrap(), out.to_str().unwrap());
    let make = |number: &str| {
        let common =
            ["provision", "make", bundle, "--out", out, "--institution", "bank-suzhou", "--key", signer];
        setup(&dir, &[&common[..], &["--number", number]].concat())
    };
    fs::write(at("bundle/leak.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
    assert!(text(&make("1").stderr).contains("private key"));
    fs::remove_file(at("bundle/leak.pem")).unwrap();
    assert!(make("1").status.success());
    let said = text(&setup(&dir, &["provision", "code", signer]).stdout);
    let (code, pins) = said.split_once('\n').unwrap();
    let shown = setup(&dir, &["provision", "show", out, "--code", code]);
    assert!(text(&shown.stdout).contains("number 1, for bank-suzhou"), "{shown:?}");
    let gateway = gateway();
    let take = || {
        setup(
            &dir,
            &["provision", "take", at("stick").to_str().unwrap(), "--xinguan", gateway.to_str().unwrap()],
        )
    };
    assert!(text(&take().stderr).contains("knows nobody's key yet"));
    fs::write(at("usr/lib/xinguan/provisioners.json"), pins).unwrap();
    let taken = take();
    assert!(text(&taken.stdout).contains("number 1 is in place"), "{taken:?}");
    assert!(
        text(&taken.stdout).contains("still missing, until the enrolment brings it: trust.genesis"),
        "{taken:?}"
    );
    assert!(at("config/xinguan.toml").exists() && at("run/xinguan-setup/restart").exists());
    assert!(text(&take().stdout).contains("was taken before"));
    let mode = fs::metadata(at("var/lib/xinguan/setup/provision.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "nobody else writes our records");
}

#[test]
fn a_box_is_backed_up_and_replaced_by_two_people() {
    let dir = new_box();
    let at = |path: &str| dir.path().join(path);
    let person = |n: u8| gw_sm::KeyPair::from_secret(gw_proto::Scheme::Sm2Sm3, [n; 32]).unwrap();
    for n in 1..=2 {
        fs::write(at(&format!("{n}.pem")), &**gw_sm::cert::key_to_pem(&person(n)).unwrap()).unwrap();
    }
    let people = [*person(1).public_key(), *person(2).public_key()];
    fs::create_dir_all(at("sys/class/dmi/id")).unwrap();
    fs::write(at("sys/class/dmi/id/product_serial"), "XG 0001\n").unwrap();
    fs::write(
        at("config/xinguan.toml"),
        "[keystore.tpm2]\npin = \"000b9f\"\n[identity]\nnode_ca_chain = \"node-ca.pem\"\n",
    )
    .unwrap();
    fs::write(at("config/node-ca.pem"), "old").unwrap();
    fs::write(at("config/backup-recipients.json"), serde_json::to_vec(&people).unwrap()).unwrap();
    fs::create_dir(at("stick")).unwrap();
    let gateway = gateway();
    let out = setup(&dir, &["export", at("stick").to_str().unwrap(), "--xinguan", gateway.to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    let said = text(&out.stdout);
    assert!(
        said.find("config/xinguan.toml: ").unwrap() < said.find("xg-0001-support.json").unwrap(),
        "{said}"
    );
    let support = fs::read_to_string(at("stick/xg-0001-support.json")).unwrap();
    assert!(support.contains("xinguan 0.") && !support.contains("000b9f"), "{support}");
    assert!(said.contains(&gw_proto::sm3(support.as_bytes()).to_string()), "{said}");

    let open = |file: &str, key: &str, out: &str| {
        let (file, key, out) = (at(file), at(key), at(out));
        let paths = [file.to_str().unwrap(), "--key", key.to_str().unwrap(), "--out", out.to_str().unwrap()];
        setup(&dir, &[&["open"][..], &paths[..], &["--new-serial", "XG-0002"]].concat())
    };
    assert!(
        text(&open("stick/xg-0001-backup.json", "2.pem", "half").stderr)
            .contains("the other person is first")
    );
    assert!(open("stick/xg-0001-backup.json", "1.pem", "half").status.success());
    let done = open("half", "2.pem", "restored");
    assert!(text(&done.stdout).contains("enrol anew"), "{done:?}");
    assert!(!fs::read_to_string(at("restored/xinguan.toml")).unwrap().contains("pin"));
    assert!(fs::read_to_string(at("restored/enrol-anew.json")).unwrap().contains("XG-0002"));
    assert!(!at("restored/node-ca.pem").exists());
}

#[test]
fn a_reset_needs_this_boxs_number() {
    let dir = new_box();
    let at = |path: &str| dir.path().join(path);
    for folder in ["sys/class/dmi/id", "run/xinguan"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("sys/class/dmi/id/product_serial"), "XG-0001\n").unwrap();
    fs::write(at("config/xinguan.toml"), "x").unwrap();
    let request = at("run/xinguan/factory-reset");
    let reset = |typed: &str| {
        fs::write(&request, typed).unwrap();
        setup(&dir, &["reset", request.to_str().unwrap()])
    };
    let out = reset("XG-0002");
    assert!(text(&out.stderr).contains("this box is `XG-0001`"), "{out:?}");
    assert!(
        at("config/xinguan.toml").exists() && !request.exists() && !at("run/xinguan/clear-data-key").exists()
    );
    let out = reset("XG-0001");
    assert!(out.status.success(), "{out:?}");
    assert!(text(&out.stdout).contains("1 files of the configuration are overwritten"), "{out:?}");
    assert_eq!(fs::read_dir(at("config")).unwrap().count(), 0);
    assert!(at("run/xinguan/clear-data-key").exists());
    // the power went in the middle of it
    fs::write(at("config/xinguan.toml"), "x").unwrap();
    fs::write(at("config/reset.pending"), "").unwrap();
    assert!(text(&setup(&dir, &["boot"]).stdout).contains("interrupted factory reset was completed"));
    assert_eq!(fs::read_dir(at("config")).unwrap().count(), 0);
}
